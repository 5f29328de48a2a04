"""A whole study: from a manifest to the report."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from SAMFinetuneLogic.errors import InputError, ModelError, OutputError
from SAMFinetuneLogic.evaluation.manifest import Manifest
from SAMFinetuneLogic.files import absolute_if_file
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.progress import CancelCheck
from SAMFinetuneLogic.study.datasets import PreparedData, data_sets, read_slices
from SAMFinetuneLogic.study.folder import StudyFolder
from SAMFinetuneLogic.study.plan import StudyModel, StudySettings, make_cells
from SAMFinetuneLogic.study.report import write_report
from SAMFinetuneLogic.study.running import CellProgress, Failure, run_cells
from SAMFinetuneLogic.study.splitting import study_split


@dataclass(frozen=True)
class StudyOutcome:
    """What a study came to.

    Attributes:
        report: the Markdown.
        cells: planned ones, and ``failures`` those that could not be measured.
        taken_over: that were finished before.
    """

    report: str
    cells: int
    failures: tuple[Failure, ...]
    taken_over: int


def run_study(
    path: Path,
    manifest: Manifest,
    models: Sequence[str],
    strategies: Sequence[Strategy],
    seeds: int,
    settings: StudySettings,
    baselines: bool = True,
    overwrite: bool = False,
    progress: CellProgress = lambda done, total, name, share: None,
    tell: Callable[[str], None] = lambda text: None,
    cancelled: CancelCheck | None = None,
) -> StudyOutcome:
    """Measure what is not measured yet, and write the report, also when it is interrupted.

    Args:
        path: of the study's folder.
        models: ids or checkpoint files.
        baselines: also the models without training and, in automatic mode, the U-Net.
        overwrite: begin anew.
        tell: hears sentences for the user.

    Raises:
        InputError: no data set can be used.
        ModelError: a model is missing or cannot be used.
        OutputError: the folder cannot be used, or another study runs in it.
        Cancelled: on request.
    """
    folder = StudyFolder(path)
    folder.check(settings, overwrite)
    bases = _described(models, tell)
    notes: list[str] = []
    prepared = _prepared(manifest, settings, notes, tell)
    unet = baselines and settings.mode == "automatic"
    if unet and importlib.util.find_spec("monai") is None:
        unet = False
        notes.append("The U-Net: MONAI is not installed (pip install 'SAMFinetune[evaluation]').")
        tell(notes[-1])
    facts = [(each.name, each.fingerprint) for each in prepared]
    cells = make_cells(facts, bases, strategies, seeds, settings, baselines, unet)
    with folder.lock() as lock:
        if not lock.acquire():
            raise OutputError(f"Another study runs in {folder.path}: wait for it, or choose another folder.")
        folder.open(settings, overwrite)
        taken_over = sum(folder.read(cell) is not None for cell in cells)
        if taken_over:
            tell(f"{taken_over} of {len(cells)} cells are finished already.")
        failures: list[Failure] = []
        try:
            failures = run_cells(folder, cells, prepared, progress, cancelled)
        finally:
            report = write_report(folder, cells, prepared, settings, failures, notes)
    return StudyOutcome(report, len(cells), tuple(failures), taken_over)


def _described(names: Sequence[str], tell: Callable[[str], None]) -> list[StudyModel]:
    """The models as the study names them; loading them once finds out early what is wrong with them."""
    found: dict[str, StudyModel] = {}
    for name in names:
        loaded = load_model(name, "cpu")
        for text in loaded.warnings:
            tell(f"Note: {text}")
        if loaded.entry.encoder_only:
            raise ModelError(f"{loaded.entry.title} holds no mask decoder: choose another model.")
        title, sha256 = loaded.entry.id, loaded.weights_sha256
        if any(other.name == title for other in found.values()):
            title = f"{title} {sha256[:6]}"  # files in different folders
        found.setdefault(sha256, StudyModel(absolute_if_file(name), title, loaded.entry.backbone, sha256))
    return list(found.values())


def _prepared(
    manifest: Manifest, settings: StudySettings, notes: list[str], tell: Callable[[str], None]
) -> list[PreparedData]:
    """The data sets that can be used; ``notes`` says why the others are not."""
    found = []
    for data_set in data_sets(manifest):
        try:
            slices = read_slices(data_set, settings.mode == "automatic", settings.max_labels)
            split = study_split(slices, settings.shots, settings.test_slices)
            found.append(PreparedData.of(data_set.name, slices, split))
        except InputError as error:
            notes.append(f"Data set {data_set.name}: {error}")
            tell(notes[-1])
    if not found:
        raise InputError(f"No data set of {manifest.path} can be used: {notes[0]}")
    return found
