"""What was measured: numbers per structure, and the file that lets a run be resumed."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.targets import Target

Scores = dict[str, float]
"""Metric -> value."""


@dataclass(frozen=True)
class Result:
    """One structure's measurements.

    Attributes:
        case, modality, image, label_map, label, name: which structure.
        axis, index: the slice.
        voxels: the structure's size there.
        scores: method -> metric -> value.
        sweeps: method -> parameter -> metric -> value, for methods that are granted their best parameter.
        candidates: (predicted, true) IoU of each mask that the model offers for an ambiguous prompt.
        traits: what helps to say why it is hard, see :mod:`SAMFinetuneLogic.evaluation.traits`.
    """

    case: str
    modality: str
    image: str
    label_map: str
    label: int
    name: str
    axis: str
    index: int
    voxels: int
    scores: Mapping[str, Scores]
    sweeps: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    candidates: tuple[tuple[float, float], ...] = ()
    traits: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        target: Target,
        scores: Mapping[str, Scores],
        sweeps: Mapping[str, Mapping[str, Scores]] | None = None,
        candidates: Sequence[tuple[float, float]] = (),
        traits: Mapping[str, float] | None = None,
    ) -> "Result":
        """The result for a target."""
        return cls(
            target.case,
            target.modality,
            target.image,
            target.label_map,
            target.label,
            target.name,
            target.slice.axis,
            target.slice.index,
            int(target.mask.sum()),
            scores,
            sweeps or {},
            tuple(candidates),
            traits or {},
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Result":
        """The inverse of :func:`dataclasses.asdict`, also after a detour through JSON."""
        return cls(**{**content, "candidates": tuple((first, second) for first, second in content["candidates"])})

    @property
    def key(self) -> str:
        """As :attr:`Target.key`."""
        return f"{self.case}/{self.image}/{self.label_map}/{self.label}"


class ResultStore:
    """A file with one line of JSON per finished case; an interrupted run goes on after the last of them.

    Args:
        folder: made if need be; runs with other settings have files of their own in it.
        protocol: begins the file's name.
        identity: everything that the numbers depend on, but the case; fit for JSON.

    Raises:
        OutputError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, protocol: str, identity: Mapping[str, Any]) -> None:
        self.path = Path(folder) / f"{protocol}-{_digest(identity)[:16]}.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        except OSError as error:
            raise OutputError(f"Cannot use {self.path} for results: {error.strerror or error}.") from error
        self._whole = not lines or lines[-1].endswith(b"\n")
        self._finished: dict[str, list[Result]] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                self._finished[entry["key"]] = [Result.from_dict(result) for result in entry["results"]]
            except (ValueError, KeyError, TypeError):
                continue  # half a line from a run that was killed: the case is evaluated again

    def get(self, case: Case) -> list[Result] | None:
        """The results of a finished case, None if it is not finished or its files have changed since."""
        return self._finished.get(_case_key(case))

    def put(self, case: Case, results: Sequence[Result]) -> None:
        """Add a finished case.

        Raises:
            OutputError: the file cannot be written.
        """
        key = _case_key(case)
        entry = {"case": case.name, "key": key, "results": [asdict(result) for result in results]}
        text = ("" if self._whole else "\n") + json.dumps(entry) + "\n"
        try:
            with self.path.open("ab") as stream:
                stream.write(text.encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self._whole = True
        self._finished[key] = list(results)


def _case_key(case: Case) -> str:
    """Changes with the case's files, names and modalities."""
    pairs = [
        [_state(pair.image), _state(pair.label), pair.modality, sorted(pair.label_names.items())] for pair in case.pairs
    ]
    return _digest([case.name, pairs])


def _state(path: Path) -> list[list[Any]]:
    files = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
    return [[file.name, (stat := file.stat()).st_size, stat.st_mtime_ns] for file in files]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
