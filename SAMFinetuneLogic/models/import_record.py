"""The note beside an imported model: its hash, so that a later change of the file is noticed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from SAMFinetuneLogic.files import write_json


@dataclass(frozen=True)
class ImportRecord:
    id: str
    sha256: str
    bytes: int


def record_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def write_record(file: Path, model_id: str, sha256: str) -> None:
    write_json(record_path(file), asdict(ImportRecord(model_id, sha256, file.stat().st_size)))


def read_record(file: Path) -> ImportRecord | None:
    """The record of ``file``, or None where there is none that can be read."""
    try:
        return ImportRecord(**json.loads(record_path(file).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
