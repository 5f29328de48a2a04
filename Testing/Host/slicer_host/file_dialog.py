"""``qt.QFileDialog``'s questions, answered by the test beforehand."""

from collections import deque
from typing import Any, ClassVar


class QFileDialog:
    """Returns the path alone, as PythonQt does. A question without an answer fails.

    Attributes:
        answers: the paths to give, in order; empty text for "Cancel".
    """

    answers: ClassVar[deque[str]] = deque()

    @classmethod
    def getOpenFileName(cls, parent: Any, caption: str, folder: str, filters: str) -> str:
        return cls._answer(caption)

    @classmethod
    def getSaveFileName(cls, parent: Any, caption: str, path: str, filters: str) -> str:
        return cls._answer(caption)

    @classmethod
    def getExistingDirectory(cls, parent: Any, caption: str, folder: str) -> str:
        return cls._answer(caption)

    @classmethod
    def _answer(cls, caption: str) -> str:
        if not cls.answers:
            raise AssertionError(f"The file dialog {caption!r} was opened, and the test gave no answer")
        return cls.answers.popleft()
