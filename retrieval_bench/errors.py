"""The root of the errors that are the user's to mend."""


class RetrievalBenchError(Exception):
    """Something the user can mend; the command line prints its message as one line and exits with status 1."""


class OptionError(RetrievalBenchError, ValueError):
    """An option has none of its values, or does not fit the data or the method; the message names what would."""


class DescriptorError(RetrievalBenchError, ValueError):
    """Descriptors that cannot be compared; the message says which and what may have made them so."""


def said(error: BaseException) -> str:
    """The message of an error; a loader's worker sends its whole traceback as the message, of which it is the end."""
    return str(error).rpartition(f"{type(error).__name__}: ")[2].strip()
