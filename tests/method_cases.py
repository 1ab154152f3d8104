"""A small instance of every method, for the tests that all of them must pass."""

from collections.abc import Callable

from retrieval_bench import methods
from retrieval_bench.methods import RetrievalMethod

# One entry a method; a method without one fails the contract test.
CASES: dict[str, Callable[[], RetrievalMethod]] = {
    "ABIR": lambda: methods.ABIR(backbone="squeezenet1_0", weights="none", dim=16, attention_dim=8, resize=72, crop=64),
}
