"""Errors that a user can act on. Each message is one sentence that says what was wrong and what to do."""


class SAMFinetuneError(Exception):
    """Base class. The command line prints the message on one line and exits with code 2."""


class InputError(SAMFinetuneError):
    """A file or an argument cannot be used as it is."""


class GeometryError(InputError):
    """A position, slice or grid lies outside of, or does not fit, the image."""


class ModelError(SAMFinetuneError):
    """A checkpoint is missing, wrong, or does not fit the request."""


class DownloadError(ModelError):
    """A checkpoint could not be fetched, or what arrived is not what was expected."""


class OutputError(SAMFinetuneError):
    """A result cannot be written: read-only target, no space left, or a file that must not be overwritten."""


class Cancelled(SAMFinetuneError):
    """The user asked to stop. Nothing is lost; finished work is kept."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether want of memory raised an error of Python or PyTorch, whose CPU and MPS raise a plain RuntimeError.

    By name and words: this is also asked where PyTorch is not imported, or could not be.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(each in str(error) for each in words)
