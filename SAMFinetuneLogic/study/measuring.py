"""One cell: a model trained by a strategy on a data set, and scored on the slices that are kept apart."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from SAMFinetuneLogic.evaluation.unet import UNetSettings, train_unet
from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.automatic_base import training_free_base
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.finetuning.loop import train
from SAMFinetuneLogic.finetuning.schedule import settings_for
from SAMFinetuneLogic.finetuning.scoring import click_scores, predicted_labels
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.models.device import choose_device
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.study.measurement import Measurement
from SAMFinetuneLogic.study.memory import peak_bytes
from SAMFinetuneLogic.study.plan import StudySettings


def measure_model(
    model: LoadedModel,
    strategy: Strategy | None,
    data: LabelledSet,
    split: Split,
    settings: StudySettings,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> Measurement:
    """Train and score a strategy, or score the model as it is.

    Args:
        strategy: None for the model as it is: in automatic mode, what it finds from the same slices as examples,
            without training.
        split: its gate is the test.
        progress: hears of the steps of training.

    Raises:
        InputError, ModelError: see :func:`SAMFinetuneLogic.finetuning.loop.train`.
        Cancelled: on request.
    """
    test = data.subset(split.gate)
    parameters, steps, seconds = 0, 0, 0.0
    if strategy is None:
        if settings.mode == "prompts":
            by_value = click_dice(model, test, cancelled)
        else:
            by_value = automatic_dice(training_free_base(model, data.subset(split.train), cancelled), test, cancelled)
    else:
        changes = {"steps": settings.steps, "batch": settings.batch, "seed": seed}
        loop = settings_for(settings.preset, len(split.train), settings.mode, **changes)
        torch.manual_seed(seed)  # what a strategy adds may start at random
        names = tuple(segment.name for segment in data.segments)
        adapted = adapt(model, strategy, settings.mode, names)

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                progress(event["step"], event["steps"])

        record = train(adapted, model, data, split, loop, listener=hear, cancelled=cancelled)
        parameters, steps, seconds = adapted.trainable_count(), record.steps, record.seconds
        if settings.mode == "prompts":
            by_value = click_dice(adapted.merged(), test, cancelled)
        else:
            by_value = automatic_dice(
                lambda entry: predicted_labels(adapted, model, entry, data.values), test, cancelled
            )
    return _measurement(by_value, data, split, parameters, steps, seconds, model.device)


def measure_unet(
    data: LabelledSet,
    split: Split,
    seed: int = 0,
    device: str = "auto",
    settings: UNetSettings | None = None,
    cancelled: CancelCheck | None = None,
) -> Measurement:
    """Train and score MONAI's U-Net on the same slices, by a schedule of its own.

    Args:
        settings: of the U-Net, without the seed; None for its default.

    Raises:
        InputError: MONAI is not installed.
        Cancelled: on request.
    """
    settings, place = replace(settings or UNetSettings(), seed=seed), choose_device(device)
    unet = train_unet(data, split.train, settings, cancelled, place)
    by_value = automatic_dice(lambda entry: unet.predict(entry.image), data.subset(split.gate), cancelled)
    return _measurement(by_value, data, split, unet.parameters, settings.steps, unet.seconds, place)


def automatic_dice(
    labelling: Callable[[LabelledSlice], np.ndarray], test: LabelledSet, cancelled: CancelCheck | None = None
) -> dict[int, float]:
    """Dice of each class without prompts.

    A class's Dice is taken over all tested slices of an image at once, so that what is drawn beside it counts on
    those where it is not; then the mean over the images on whose tested slices it is.

    Args:
        labelling: gives the labels (rows, cols) of a slice.

    Returns:
        By the value of the class; a class that is on no tested slice is left out.
    """
    sums: dict[tuple[int, int], np.ndarray] = {}
    for entry in test.slices:
        raise_if_cancelled(cancelled)
        found = labelling(entry)
        for value in test.values:
            truth, answer = entry.labels == value, found == value
            counts = np.array([np.count_nonzero(truth & answer), np.count_nonzero(truth), np.count_nonzero(answer)])
            sums[value, entry.group] = sums.get((value, entry.group), np.zeros(3, dtype=np.int64)) + counts
    by_class: dict[int, list[float]] = {}
    for (value, _), (both, true, drawn) in sums.items():
        if true:
            by_class.setdefault(value, []).append(2 * float(both) / float(true + drawn))
    return {value: float(np.mean(scores)) for value, scores in by_class.items()}


def click_dice(model: LoadedModel, test: LabelledSet, cancelled: CancelCheck | None = None) -> dict[int, float]:
    """Dice of each class with one click: means over its slices, see ``finetuning.scoring.click_scores``."""
    by_class: dict[int, list[float]] = {}
    for score in click_scores(model, test, cancelled=cancelled):
        by_class.setdefault(score.value, []).append(score.dice)
    return {value: float(np.mean(scores)) for value, scores in by_class.items()}


def _measurement(
    by_value: dict[int, float],
    data: LabelledSet,
    split: Split,
    parameters: int,
    steps: int,
    seconds: float,
    device: torch.device,
) -> Measurement:
    names = {segment.value: segment.name for segment in data.segments}
    return Measurement(
        dice=float(np.mean(list(by_value.values()))),
        by_class={names[value]: round(score, 5) for value, score in sorted(by_value.items())},
        parameters=parameters,
        steps=steps,
        seconds=round(seconds, 2),
        memory=peak_bytes(),
        gpu_memory=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        train=len(split.train),
        test=len(split.gate),
    )
