"""Which job folders there are on this machine, so that they are found again after a restart."""

import hashlib
import json
from pathlib import Path

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import write_json
from SAMFinetuneLogic.folders import data_home, homes
from SAMFinetuneLogic.jobs.folder import JobFolder


def _notes(home: Path) -> Path:
    return home / "jobs" / "known"


def device_lock_path(device: str) -> Path:
    """The lock of the job that may use a device; the others wait."""
    return data_home() / "jobs" / f"device-{device.replace(':', '-')}.lock"


def remember(folder: JobFolder) -> None:
    """Note a job's folder. A note that cannot be written is no reason not to work."""
    name = hashlib.sha256(str(folder.path).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    try:
        write_json(_notes(data_home()) / f"{name}.json", {"folder": str(folder.path)})
    except (OutputError, ValueError):
        return


def known_jobs() -> list[JobFolder]:
    """Jobs whose folders are still there, the newest first. Our own notes of folders that are gone are removed."""
    found: dict[Path, JobFolder] = {}
    own = _notes(data_home())
    for note in [note for home in homes() for note in sorted(_notes(home).glob("*.json"))]:
        try:
            folder = JobFolder(Path(json.loads(note.read_text(encoding="utf-8"))["folder"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if folder.exists:
            found[folder.path] = folder
        elif note.parent == own:
            note.unlink(missing_ok=True)
    return sorted(found.values(), key=lambda folder: -(folder.path / "job.json").stat().st_mtime)
