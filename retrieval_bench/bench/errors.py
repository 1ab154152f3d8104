"""What goes wrong around runs and results, said in one line that names the next step."""

from retrieval_bench.errors import RetrievalBenchError


class BenchError(RetrievalBenchError):
    """A suite, a result, a baseline or a published table cannot be used; the command line prints it as one line."""


class RecordError(BenchError):
    """A file does not hold what its schema says; the message names the file and the field."""


class SuiteError(BenchError):
    """A suite cannot be run as it is written."""
