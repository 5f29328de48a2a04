"""Errors on their way between processes: the sentence for the user, and the traceback for the log."""

import traceback
from dataclasses import dataclass

from SAMFinetuneLogic import errors
from SAMFinetuneLogic.errors import ModelError, SAMFinetuneError, is_out_of_memory


@dataclass(frozen=True)
class Failure:
    """What is left of an error.

    Attributes:
        kind: name of its class in :mod:`SAMFinetuneLogic.errors`.
        text: one sentence that says what to do.
        details: the traceback.
        fatal: whether the process cannot go on: memory ran out, or the GPU is in an undefined state.
    """

    kind: str
    text: str
    details: str
    fatal: bool = False

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Describe an error of any kind."""
        details = "".join(traceback.format_exception(error))
        if isinstance(error, SAMFinetuneError):
            return cls(type(error).__name__, str(error), details)
        if is_out_of_memory(error):
            text = (
                "There is not enough memory for this: close other programs, or choose a smaller model or the CPU, "
                "and try again."
            )
            return cls("ModelError", text, details, True)
        if isinstance(error, ImportError):
            text = f"A package that the model needs is missing ({_first_line(error)}): install the dependencies."
            return cls("ModelError", text, details)
        text = f"The model's process met an unexpected error ({type(error).__name__}: {_first_line(error)}); "
        return cls("ModelError", text + "copy the details for a report.", details, "CUDA error" in str(error))

    def to_error(self) -> Exception:
        """The error again; the details are its note."""
        kind = getattr(errors, self.kind, ModelError)
        error: Exception = kind(self.text)
        error.add_note(self.details)
        return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
