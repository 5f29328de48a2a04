"""A few slices of a volume are annotated and the model adapts to them; is it better on the other slices?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.annotated import AnnotatedVolume, annotated_volume
from SAMFinetuneLogic.evaluation.baselines.slices import SliceTask
from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Answer, Column, RunContext
from SAMFinetuneLogic.evaluation.protocols.propagate import fill_with_model
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter, Segmenter
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.metrics import dice, first_click, tight_box
from SAMFinetuneLogic.progress import raise_if_cancelled
from SAMFinetuneLogic.propagation.annotations import Annotations

if TYPE_CHECKING:
    from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
    from SAMFinetuneLogic.finetuning.run import FinetuneResult

ADAPTED = "adapted"
IN_USE = "as the gate decides"
UNET = "U-Net"
COUNTS = (3, 5, 9)
TASKS = ("box", "automatic", "filled")
"""What is measured beside one click."""

Labelling = Callable[[int], np.ndarray]
"""The labels (rows, cols) that something gives a slice without prompts."""


@dataclass
class _Memory:
    """What does not depend on the number of annotated slices, of the last case."""

    key: tuple[Any, ...] = ()
    volume: AnnotatedVolume | None = None
    answers: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)


class FinetuneProtocol:
    """Dice on the slices of a volume that were not annotated, before and after adapting to those that were.

    Of a case, the first volume counts. On ``counts`` slices, equally spaced over all that show one of its structures,
    everything is annotated. The product's own way follows: slices are held out for the gate, LoRA of encoder and
    decoder by the recommended preset, and the verdict; adapters without enough evidence count as refused. Then each
    structure's other slices, at most :data:`SAMFinetuneLogic.evaluation.annotated.MAX_TRIED` of them, are segmented
    by one click in its middle (``click``), by its tight box (``box``), and without prompts (``automatic``) by what is
    learned from all annotated slices: the few-shot decoder, or the U-Net. ``filled`` is the structure continued from
    the annotated slices, with first and last slice given. A structure that is on no annotated slice is not measured.

    Rows: the model as it was; the adapted one, whatever the verdict; what the user gets, which is the adapted one
    where the gate accepted it and the model as it was otherwise; and the U-Net. ``gain`` is the difference in
    ``click`` to the model as it was, ``accepted`` the share of accepted adapters, ``seconds`` the time from labels to
    verdict, or the U-Net's training.

    Args:
        counts: of annotated slices.
        tasks: which of :data:`TASKS` are measured.
    """

    name: ClassVar[str] = "finetune"

    def __init__(self, counts: Sequence[int] = COUNTS, tasks: Sequence[str] = TASKS) -> None:
        self.counts = tuple(sorted(set(counts)))
        self.tasks = tuple(task for task in TASKS if task in tasks)
        self._memory = _Memory()

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers depend on beside model and settings."""
        return {"counts": list(self.counts), "tasks": list(self.tasks)}

    def parts(self) -> list["FinetuneProtocol"]:
        """One protocol for each number of slices, so that each is kept by itself."""
        parts = [FinetuneProtocol((count,), self.tasks) for count in self.counts]
        for part in parts:
            part._memory = self._memory
        return parts

    @property
    def columns(self) -> tuple[Column, ...]:
        measured = ("click", *self.tasks, "gain")
        return (
            *(Column(f"{task}_{count}", f"{task} {count}") for count in self.counts for task in measured),
            *(Column(f"accepted_{count}", f"accepted {count}", 2) for count in self.counts),
            *(Column(f"seconds_{count}", f"seconds {count}", 0, False) for count in self.counts),
        )

    @property
    def ranking(self) -> Column:
        count = self.counts[len(self.counts) // 2]
        return Column(f"click_{count}", f"Dice with one click, {count} slices annotated")

    def evaluate_case(self, case: Case, context: RunContext) -> list[Result]:
        model = _model(context.segmenter)
        volume = self._volume(case, context)
        if volume is None:
            return []
        scores: list[dict[str, Scores]] = [{} for _ in volume.structures]
        for done, count in enumerate(self.counts):
            raise_if_cancelled(context.cancelled)
            context.progress(done, len(self.counts))
            for number, found in self._measure(volume, count, model, context).items():
                for method, values in found.items():
                    scores[number].setdefault(method, {}).update(values)
        return [Result.of(each.target, entry) for each, entry in zip(volume.structures, scores, strict=True)]

    def answer(self, case: Case, result: Result, context: RunContext) -> Answer:
        """The answer of the model as it was to one click on the structure's largest slice."""
        model, volume = _model(context.segmenter), self._volume(case, context)
        assert volume is not None
        target = next(each.target for each in volume.structures if each.target.key == result.key)
        click = first_click(target.mask)
        return Answer(target, model.open(target).predict([click]).mask, [click])

    def _volume(self, case: Case, context: RunContext) -> AnnotatedVolume | None:
        key = (case, context.settings.max_labels, context.settings.window, context.segmenter)
        if self._memory.key != key:
            self._memory.volume = None  # never two cases in memory
            self._memory.volume = annotated_volume(case, *key[1:3])
            self._memory.key, self._memory.answers = key, {}
        return self._memory.volume

    def _measure(
        self, volume: AnnotatedVolume, count: int, model: ModelSegmenter, context: RunContext
    ) -> dict[int, dict[str, Scores]]:
        """Scores of the structures, by their number, with ``count`` annotated slices."""
        indices = volume.annotated(count)
        tried = {number: volume.tried(number, indices) for number in range(len(volume.structures))}
        tried = {number: slices for number, slices in tried.items() if slices}
        data = volume.learned(indices)
        if not tried or sum(not entry.is_empty for entry in data.slices) < 2:
            return {}
        began = perf_counter()
        result = _adapt(model, data, context)
        seconds = perf_counter() - began
        adapted, accepted = ModelSegmenter(result.adapted.merged()), result.evidence.accepted
        scores: dict[int, dict[str, Scores]] = {}
        without_prompts: dict[str, Labelling] = {}
        if "automatic" in self.tasks:
            without_prompts = {MODEL: _fewshot(volume, indices, model, context)}
            without_prompts[ADAPTED] = _fewshot(volume, indices, adapted, context)
        for number, slices in tried.items():
            found: dict[str, Scores] = {MODEL: {}, ADAPTED: {}}
            for name, segmenter in ((MODEL, model), (ADAPTED, adapted)):
                raise_if_cancelled(context.cancelled)
                known = self._memory.answers if name == MODEL else {}
                found[name] |= self._prompted(volume, number, slices, segmenter, known, count)
                if "filled" in self.tasks:
                    found[name][f"filled_{count}"] = _filled(volume, number, indices, segmenter)
            scores[number] = found
        for name, labelling in without_prompts.items():
            for number, value in _automatic(volume, tried, labelling, context).items():
                scores[number][name][f"automatic_{count}"] = value
        for found in scores.values():
            found[ADAPTED][f"gain_{count}"] = found[ADAPTED][f"click_{count}"] - found[MODEL][f"click_{count}"]
            found[IN_USE] = dict(found[ADAPTED if accepted else MODEL])
            found[IN_USE].setdefault(f"gain_{count}", 0.0)
            found[IN_USE][f"accepted_{count}"] = float(accepted)
            found[ADAPTED][f"seconds_{count}"] = seconds
        if "automatic" in self.tasks and context.settings.baselines:
            from SAMFinetuneLogic.evaluation.unet import train_unet

            device = model.predictor.model.device
            unet = train_unet(data, range(len(data.slices)), cancelled=context.cancelled, device=device)
            answers = _automatic(volume, tried, lambda k: unet.predict(volume.target(0, k).slice_image), context)
            for number, value in answers.items():
                scores[number][UNET] = {f"automatic_{count}": value, f"seconds_{count}": unet.seconds}
        return scores

    def _prompted(
        self,
        volume: AnnotatedVolume,
        number: int,
        slices: Sequence[int],
        segmenter: ModelSegmenter,
        known: dict[tuple[int, int], tuple[float, float]],
        count: int,
    ) -> Scores:
        """Means over slices of the Dice after one ideal click and, if asked for, after a tight box."""
        for index in slices:
            if (number, index) in known:
                continue
            target = volume.target(number, index)
            opened = segmenter.open(target)
            clicked = dice(target.mask, opened.predict([first_click(target.mask)]).mask)
            boxed = dice(target.mask, opened.predict(box=tight_box(target.mask)).mask) if "box" in self.tasks else 0.0
            known[number, index] = clicked, boxed
        means = np.mean([known[number, index] for index in slices], axis=0)
        scores = {f"click_{count}": float(means[0])}
        return scores | {f"box_{count}": float(means[1])} if "box" in self.tasks else scores


def _adapt(model: ModelSegmenter, data: "LabelledSet", context: RunContext) -> "FinetuneResult":
    """What ``samfinetune finetune`` does with these slices."""
    from SAMFinetuneLogic.finetuning.run import finetune
    from SAMFinetuneLogic.finetuning.schedule import settings_for
    from SAMFinetuneLogic.finetuning.splitting import split
    from SAMFinetuneLogic.finetuning.strategy import Strategy

    parts = split(data)
    strategy = Strategy.of("lora", "encoder_decoder", "recommended")
    settings = settings_for("recommended", len(parts.train))
    return finetune(model.predictor.model, data, parts, strategy, settings, cancelled=context.cancelled)


def _filled(volume: AnnotatedVolume, number: int, indices: Sequence[int], segmenter: ModelSegmenter) -> float:
    """Dice of a structure over the slices of its range that are not annotated."""
    structure = volume.structures[number]
    given = tuple(k for k in indices if structure.truth[k].any())
    drawn = np.zeros(structure.truth.shape, dtype=np.uint8)
    drawn[list(given)] = structure.truth[list(given)]
    annotations = Annotations.of(volume.volume, LabelMap(drawn, volume.volume.ijk_to_ras), "k", given)
    task = SliceTask(volume.volume, volume.window, annotations, structure.first, structure.last)
    filled = fill_with_model(task, segmenter)
    return dice(structure.truth[task.missing], filled[task.missing])


def _fewshot(
    volume: AnnotatedVolume, indices: Sequence[int], segmenter: ModelSegmenter, context: RunContext
) -> Labelling:
    """The few-shot decoder, fitted to the annotated slices."""
    from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
    from SAMFinetuneLogic.fewshot.fitting import fit
    from SAMFinetuneLogic.fewshot.labelling import new_collection
    from SAMFinetuneLogic.fewshot.planes import Plane

    predictor, image = segmenter.predictor, volume.volume
    # What is on none of these slices is no class.
    shown = set(np.unique(volume.labels.voxels[list(indices)]).tolist())
    drawn = replace(volume.labels, segments=tuple(s for s in volume.labels.segments if s.value in shown))
    collection = new_collection(image, drawn, indices, predictor.model, "k", volume.window, predictor.cache)
    fitted = fit(collection, predictor.model, cache=predictor.cache, cancelled=context.cancelled)
    plane = Plane.of(image, "k", volume.window)

    def labels(index: int) -> np.ndarray:
        found = fitted.predict(predictor.embed(plane.image(index)))
        return SlicePrediction(plane.restore(found.probabilities), found.values).labels

    return labels


def _automatic(
    volume: AnnotatedVolume, tried: dict[int, tuple[int, ...]], labelling: Labelling, context: RunContext
) -> dict[int, float]:
    """Mean Dice over the slices of each structure."""
    dices: dict[int, list[float]] = {number: [] for number in tried}
    for index in sorted({k for slices in tried.values() for k in slices}):
        raise_if_cancelled(context.cancelled)
        found = labelling(index)
        for number, slices in tried.items():
            if index in slices:
                dices[number].append(dice(volume.structures[number].truth[index], found == number + 1))
    return {number: float(np.mean(values)) for number, values in dices.items()}


def _model(segmenter: Segmenter | None) -> ModelSegmenter:
    if not isinstance(segmenter, ModelSegmenter):
        raise InputError("This protocol adapts a model; give a loaded model.")
    return segmenter
