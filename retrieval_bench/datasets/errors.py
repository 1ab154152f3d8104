"""What goes wrong with data, said so that the reader knows the next step."""

from retrieval_bench.errors import RetrievalBenchError


class DataError(RetrievalBenchError):
    """Something is wrong with a data set on disk; the message says what, where, and what to do."""


class DatasetNotFoundError(DataError):
    """The data set's annotation files are not in the folder that was looked in."""


class UnreadableImageError(DataError):
    """A picture is missing, cut short, or no picture."""
