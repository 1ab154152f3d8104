"""The root of the errors that are the user's to mend."""


class RetrievalBenchError(Exception):
    """Something the user can mend; the command line prints its message as one line and exits with status 1."""
