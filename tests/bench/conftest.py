"""The fixtures of these tests."""

from bench_cases import facts, make_result, plan, protocol, stack, store, suite_file  # noqa: F401
from curve_cases import papers, result  # noqa: F401
