"""A study's folder: finished cells, from which a killed study goes on, and the report.

``study.json`` says what all cells have in common, ``cells/`` holds a file for each finished one, ``work/`` image slices
and logs while the study runs; ``study.md``, ``study.csv`` and ``study.png`` are the report.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import write_json
from SAMFinetuneLogic.jobs.locks import FileLock
from SAMFinetuneLogic.study.measurement import Measurement
from SAMFinetuneLogic.study.plan import Cell, StudySettings

_MADE_BY_US = ("study.json", "study.lock", "study.md", "study.csv", "study.png", "cells", "work")


class StudyFolder:
    """The folder of one study.

    Args:
        path: need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def cells(self) -> Path:
        return self.path / "cells"

    @property
    def work(self) -> Path:
        """Removed when the study stops."""
        return self.path / "work"

    def lock(self) -> FileLock:
        """Held while a study runs."""
        return FileLock(self.path / "study.lock")

    def check(self, settings: StudySettings, overwrite: bool) -> None:
        """Whether a study of this kind may be kept here.

        Raises:
            OutputError: it is no folder, holds files of others or, without ``overwrite``, a study of another kind.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file: give the name of a folder for the study.")
        if not self.path.exists():
            return
        foreign = sorted(entry.name for entry in self.path.iterdir() if entry.name not in _MADE_BY_US)
        if not (self.path / "study.json").exists() and foreign:
            raise OutputError(f"{self.path} holds other files ({foreign[0]}): choose a new folder for the study.")
        known = self._known()
        if known is not None and known != settings.to_dict() and not overwrite:
            changed = sorted(name for name, value in settings.to_dict().items() if known.get(name, value) != value)
            what = changed[0].replace("_", " ") if changed else "version of SAMFinetune"
            raise OutputError(
                f"The study in {self.path} was made with another {what}: choose another folder, or add --overwrite to "
                "begin it anew."
            )

    def open(self, settings: StudySettings, overwrite: bool) -> None:
        """Make it, after :meth:`check`. With ``overwrite``, finished cells are forgotten.

        Raises:
            OutputError: see :meth:`check`; or it cannot be written.
        """
        self.check(settings, overwrite)
        if overwrite:
            shutil.rmtree(self.cells, ignore_errors=True)
        self.clear_work()
        write_json(self.path / "study.json", settings.to_dict())

    def clear_work(self) -> None:
        """Remove image slices and logs."""
        shutil.rmtree(self.work, ignore_errors=True)

    def read(self, cell: Cell) -> Measurement | None:
        """The result of a cell; None if it is not finished."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads((self.cells / cell.file_name).read_text(encoding="utf-8"))
            if content["key"] == cell.key:
                return Measurement.from_dict(content)
        return None

    def _known(self) -> dict[str, object] | None:
        with suppress(OSError, ValueError):
            content = json.loads((self.path / "study.json").read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {} if (self.path / "study.json").exists() else None
