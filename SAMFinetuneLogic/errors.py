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
