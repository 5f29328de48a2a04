"""Running a study: cell after cell, each in a process of its own, those that are finished taken over."""

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import write_json
from SAMFinetuneLogic.finetuning.snapshot import write_snapshot
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.study.datasets import PreparedData
from SAMFinetuneLogic.study.folder import StudyFolder
from SAMFinetuneLogic.study.measurement import Measurement
from SAMFinetuneLogic.study.plan import Cell
from SAMFinetuneLogic.worker.process import child_environment, python_executable

_END_SECONDS = 5.0

CellProgress = Callable[[int, int, str, float], None]
"""Called with the finished cells, all cells, the name of the present one and how far it is (0 to 1)."""


@dataclass(frozen=True)
class Failure:
    """A cell that could not be measured, and the sentence that says why."""

    cell: Cell
    reason: str


def run_cells(
    folder: StudyFolder,
    cells: Sequence[Cell],
    data: Sequence[PreparedData],
    progress: CellProgress,
    cancelled: CancelCheck | None = None,
) -> list[Failure]:
    """Measure the cells that are not finished; their results are in the folder afterwards.

    Args:
        folder: open, and locked by the caller.
        data: the data sets that the cells name.

    Returns:
        The cells that failed. They are tried again the next time.

    Raises:
        OutputError: the folder cannot be written.
        Cancelled: on request, or KeyboardInterrupt; finished cells stay.
    """
    failures = []
    missing = [cell for cell in cells if folder.read(cell) is None]
    done = len(cells) - len(missing)
    names = {prepared.name: number for number, prepared in enumerate(data)}
    written: set[int] = set()
    try:
        for cell in missing:
            raise_if_cancelled(cancelled)
            number = names[cell.data_set]
            place = folder.work / f"data{number}"
            if number not in written:
                write_snapshot(place, data[number].slices, data[number].split)
                written.add(number)
            reason = _run_cell(folder, cell, place, partial(progress, done, len(cells), _title(cell)), cancelled)
            if reason is not None:
                failures.append(Failure(cell, reason))
            done += 1
            progress(done, len(cells), _title(cell), 0.0)
    finally:
        folder.clear_work()
    return failures


def results_of(folder: StudyFolder, cells: Sequence[Cell]) -> list[tuple[Cell, Measurement]]:
    """The finished ones of the cells, in their order."""
    found = [(cell, folder.read(cell)) for cell in cells]
    return [(cell, measurement) for cell, measurement in found if measurement is not None]


def _run_cell(
    folder: StudyFolder, cell: Cell, data: Path, progress: Callable[[float], None], cancelled: CancelCheck | None
) -> str | None:
    """Measure a cell; None if all went well, else the reason."""
    progress(0.0)
    request, log_file = folder.work / "request.json", folder.work / "log.txt"
    content = {
        "data": str(data),
        "model": cell.model.source if cell.model else None,
        "strategy": cell.strategy.to_json() if cell.strategy else None,
        "seed": cell.seed,
        "settings": cell.settings.to_dict(),
        "cell": _title(cell),
        "key": cell.key,
        "result": str(folder.cells / cell.file_name),
    }
    write_json(request, content)
    reason = None
    try:
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [python_executable(), "-m", "SAMFinetuneLogic.study.process", str(request)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=child_environment(),
                text=True,
                encoding="utf-8",
            )
    except OSError as error:
        raise OutputError(f"Cannot start a process for the study: {error.strerror or error}.") from error
    assert process.stdout is not None
    try:
        for line in process.stdout:
            raise_if_cancelled(cancelled)
            told = _told(line)
            reason = str(told["error"]) if "error" in told else reason
            if "step" in told:
                progress(float(told["step"]) / max(1.0, float(told["steps"])))
        code = process.wait()
    finally:
        _end(process)
    if folder.read(cell) is not None:
        return None
    return reason or f"Its process ended unexpectedly (exit code {code}): {_last_line(log_file)}"


def _told(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        content = json.loads(line)
        return content if isinstance(content, dict) else {}
    return {}


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[-1][:300]
    return "perhaps for want of memory."


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _title(cell: Cell) -> str:
    model = f" {cell.model.name}" if cell.model else ""
    return f"{cell.data_set}{model} {cell.method} seed {cell.seed}"
