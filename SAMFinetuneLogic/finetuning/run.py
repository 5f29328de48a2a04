"""From labelled slices to a judged adapter on disk: what a job does, and what may also be called directly."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.finetuning.adapt import Adapted, adapt
from SAMFinetuneLogic.finetuning.adapter_files import save_adapter
from SAMFinetuneLogic.finetuning.automatic_base import training_free_base
from SAMFinetuneLogic.finetuning.gate import Evidence, judge
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.loop import Listener, TrainingRecord, ignore, train
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.scoring import automatic_scores, click_and_box_scores, predicted_labels
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.finetuning.strategy import Mode, Strategy
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck

PROMPT_TASK, AUTOMATIC_TASK = "one click", "no prompts; the base by few-shot without training"


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """An adapter with its evidence.

    Attributes:
        adapted: the trained model.
        evidence: the gate's answer.
        training: what happened in training.
        record: what was stored beside the adapter.
    """

    adapted: Adapted
    evidence: Evidence
    training: TrainingRecord
    record: dict[str, Any]


def finetune(
    model: LoadedModel,
    data: LabelledSet,
    split: Split,
    strategy: Strategy,
    settings: LoopSettings,
    mode: Mode = "prompts",
    adapter_folder: Path | None = None,
    checkpoints: Path | None = None,
    listener: Listener = ignore,
    cancelled: CancelCheck | None = None,
) -> FinetuneResult:
    """Adapt a model, judge it on the gate's slices, and store the adapter whatever the verdict.

    What it has to beat is the base with one click on each structure, without losing where the structure is boxed; in
    automatic mode, what the base finds from the same training slices without any training.

    Args:
        model: the base, which stays untouched.
        adapter_folder: where the adapter goes; None stores none.
        checkpoints: folder from which an interrupted call goes on; None keeps none.
        listener: hears of all that happens.

    Raises:
        InputError, ModelError, OutputError: see :func:`SAMFinetuneLogic.finetuning.loop.train`.
        Cancelled: on request.
    """
    gate = data.subset(split.gate)
    torch.manual_seed(settings.seed)  # what a strategy adds may start at random
    adapted = adapt(model, strategy, mode, tuple(segment.name for segment in data.segments))
    training = train(adapted, model, data, split, settings, checkpoints, listener, cancelled)
    listener({"event": "judging", "slices": len(gate.slices)})
    if mode == "prompts":
        before, boxed_before = click_and_box_scores(model, gate, cancelled=cancelled)
        after, boxed_after = click_and_box_scores(adapted.merged(), gate, cancelled=cancelled)
        evidence = judge(before, after, data.segments, PROMPT_TASK, (boxed_before, boxed_after))
    else:
        base = training_free_base(model, data.subset(split.train), cancelled)
        before, after = automatic_scores(
            (base, lambda entry: predicted_labels(adapted, model, entry, data.values)), gate, cancelled
        )
        evidence = judge(before, after, data.segments, AUTOMATIC_TASK)
    record = make_record(data, split, settings, training, evidence)
    if adapter_folder is not None:
        save_adapter(adapted, adapter_folder, record)
    listener({"event": "verdict", "text": evidence.sentence(), "table": evidence.table(), **evidence.to_dict()})
    return FinetuneResult(adapted, evidence, training, record)


def make_record(
    data: LabelledSet, split: Split, settings: LoopSettings, training: TrainingRecord, evidence: Evidence
) -> dict[str, Any]:
    """Where an adapter comes from and how good it is; nothing about the patient."""
    return {
        "software": f"SAMFinetune {__version__}",
        "values": list(data.values),
        "colors": [list(segment.color) for segment in data.segments],
        "windows": [window.to_dict() for window in data.windows],
        "turned": data.turned,
        "axes": sorted({entry.slice.axis for entry in data.slices}),
        "planes": [plane for plane, _ in Counter(entry.plane for entry in data.slices).most_common() if plane],
        "slices": {
            part: [data.title(number) for number in numbers]
            for part, numbers in (("train", split.train), ("validation", split.validation), ("gate", split.gate))
        },
        "settings": settings.to_dict(),
        "training": training.to_dict(),
        "scores": evidence.to_dict(),
    }
