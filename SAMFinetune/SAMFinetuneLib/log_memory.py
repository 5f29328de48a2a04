"""The last messages of this session, for the "Copy log" button."""

import logging
from collections import deque

_LINES = 500


class LogMemory(logging.Handler):
    """Keeps what SAMFinetune logs: times of each stage, warnings, errors."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: deque[str] = deque(maxlen=_LINES)
        for name in ("SAMFinetuneLib", "SAMFinetuneLogic"):
            logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def text(self) -> str:
        """All lines, the oldest first."""
        return "\n".join(self._lines)

    def close(self) -> None:
        """Stop listening."""
        for name in ("SAMFinetuneLib", "SAMFinetuneLogic"):
            logging.getLogger(name).removeHandler(self)
        super().close()
