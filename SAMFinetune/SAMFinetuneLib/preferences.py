"""What belongs to the person at this computer, not to the scene: kept in Slicer's settings."""

from pathlib import Path

import qt

from SAMFinetuneLogic.folders import data_home, homes

_PREFIX = "SAMFinetune/"


class Preferences:
    """Settings that outlive Slicer. Each property reads and writes at once."""

    @property
    def device(self) -> str:
        """``auto``, ``cpu``, ``cuda`` or ``mps``."""
        return self._text("device", "auto")

    @device.setter
    def device(self, name: str) -> None:
        self._set("device", name)

    @property
    def model_folder(self) -> Path | None:
        """A folder with model files put there by hand, for computers without internet; None without one."""
        text = self._text("modelFolder", "")
        return Path(text) if text else None

    @model_folder.setter
    def model_folder(self, folder: Path | None) -> None:
        self._set("modelFolder", str(folder or ""))

    @property
    def job_folder(self) -> Path:
        """Where background jobs keep their snapshots and adapters."""
        text = self._text("jobFolder", "")
        chosen = text and Path(text) not in self._usual_job_folders()
        return Path(text) if chosen else data_home() / "jobs"

    @job_folder.setter
    def job_folder(self, folder: Path) -> None:
        self._set("jobFolder", "" if folder in self._usual_job_folders() else str(folder))

    @staticmethod
    def _usual_job_folders() -> list[Path]:
        """Nobody chose these: an earlier version's, which may stand in the settings, gives way to that of today."""
        return [home / "jobs" for home in homes()]

    @property
    def cache_limit_mb(self) -> int:
        """How much memory the embeddings of slices may take, in MB."""
        return int(float(self._text("cacheLimitMB", "512")))

    @cache_limit_mb.setter
    def cache_limit_mb(self, limit: int) -> None:
        self._set("cacheLimitMB", str(int(limit)))

    @property
    def export_folder(self) -> Path:
        """Where the last export went."""
        text = self._text("exportFolder", "")
        return Path(text) if text else Path.home()

    @export_folder.setter
    def export_folder(self, folder: Path) -> None:
        self._set("exportFolder", str(folder))

    @property
    def brush_mm(self) -> float:
        """The diameter of the brush that paints scribbles, in mm."""
        return float(self._text("brushMM", "5"))

    @brush_mm.setter
    def brush_mm(self, diameter: float) -> None:
        self._set("brushMM", str(float(diameter)))

    def _text(self, name: str, default: str) -> str:
        value = qt.QSettings().value(_PREFIX + name, default)
        return default if value is None else str(value)

    def _set(self, name: str, value: str) -> None:
        qt.QSettings().setValue(_PREFIX + name, value)
