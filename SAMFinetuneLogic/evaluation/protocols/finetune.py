"""A few slices of a volume are annotated and the model adapts to them; is it better on the other slices?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.baselines.slices import SliceTask
from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Answer, Column, RunContext
from SAMFinetuneLogic.evaluation.protocols.propagate import _own
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter, Segmenter
from SAMFinetuneLogic.evaluation.structures import Structure, case_structures
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap, default_segment
from SAMFinetuneLogic.metrics import dice, first_click, tight_box
from SAMFinetuneLogic.progress import raise_if_cancelled
from SAMFinetuneLogic.propagation.annotations import Annotations

if TYPE_CHECKING:
    from SAMFinetuneLogic.evaluation.unet import TrainedUNet
    from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
    from SAMFinetuneLogic.finetuning.run import FinetuneResult

ADAPTED = "adapted"
IN_USE = "as the gate decides"
UNET = "U-Net"
COUNTS = (3, 5, 9)
MAX_TESTED = 20
"""Slices of a structure that are measured; of more, equally spaced ones."""


class FinetuneProtocol:
    """Dice on the slices of a volume that were not annotated, before and after adapting to those that were.

    On ``counts`` slices of a label map, equally spaced over all slices that show one of its structures, everything is
    annotated. The product's own way follows: slices are held out for the gate, LoRA of encoder and decoder by the
    recommended preset, and the verdict. Then each structure's other slices are segmented, by one click in its middle
    (``click``), by its tight box (``box``), and all at once, continued from the annotated slices with first and last
    slice given (``filled``).

    Rows: the model as it was; the adapted one, whatever the verdict; and what the user gets, which is the adapted one
    where the gate accepted it and the model as it was otherwise. ``gain`` is the difference in ``click`` to the model
    as it was, ``accepted`` the share of accepted adapters, ``seconds`` the time from labels to verdict.

    Args:
        counts: of annotated slices.
        propagate: whether ``filled`` is measured too, which takes as long as the rest.
    """

    name: ClassVar[str] = "finetune"

    def __init__(self, counts: Sequence[int] = COUNTS, propagate: bool = True) -> None:
        self.counts, self.propagate = tuple(sorted(set(counts))), propagate

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers depend on beside model and settings."""
        return {"counts": list(self.counts), "propagate": self.propagate}

    @property
    def columns(self) -> tuple[Column, ...]:
        kinds = ("click", "box", *(("filled",) if self.propagate else ()))
        measured = tuple(Column(f"{kind}_{count}", f"{kind} {count}") for count in self.counts for kind in kinds)
        learned = tuple(Column(f"automatic_{count}", f"automatic {count}") for count in self.counts)
        gained = tuple(Column(f"gain_{count}", f"gain {count}") for count in self.counts)
        accepted = tuple(Column(f"accepted_{count}", f"accepted {count}", 2) for count in self.counts)
        seconds = tuple(Column(f"seconds_{count}", f"seconds {count}", 0, False) for count in self.counts)
        return (*measured, *learned, *gained, *accepted, *seconds)

    @property
    def ranking(self) -> Column:
        count = self.counts[len(self.counts) // 2]
        return Column(f"click_{count}", f"one click, base model, {count} slices")

    def evaluate_case(self, case: Case, context: RunContext) -> list[Result]:
        model = _model(context.segmenter)
        results = []
        lessons = list(_lessons(case, context))
        for number, lesson in enumerate(lessons):
            scores: list[dict[str, Scores]] = [{} for _ in lesson.structures]
            for done, count in enumerate(self.counts):
                raise_if_cancelled(context.cancelled)
                context.progress(number * len(self.counts) + done, len(lessons) * len(self.counts))
                self._measure(lesson, count, model, context, scores)
            results += [
                Result.of(structure.target, {name: found for name, found in entry.items() if found})
                for structure, entry in zip(lesson.structures, scores, strict=True)
            ]
        return results

    def _measure(
        self,
        lesson: "_Lesson",
        count: int,
        model: ModelSegmenter,
        context: RunContext,
        scores: list[dict[str, Scores]],
    ) -> None:
        """Add the scores with ``count`` annotated slices."""
        from SAMFinetuneLogic.finetuning.splitting import split

        indices = lesson.annotated(count)
        data = lesson.data(indices)
        if sum(not entry.is_empty for entry in data.slices) < 2:
            return
        parts = split(data)
        began = perf_counter()
        result = _adapt(model, data, parts, context)
        seconds = perf_counter() - began
        adapted = ModelSegmenter(result.adapted.merged())
        accepted = result.evidence.accepted
        networks = {MODEL: model, ADAPTED: adapted}
        filled = {name: self._fill(lesson, indices, each) for name, each in networks.items()} if self.propagate else {}
        unet = _unet(data, parts.train, model, context) if context.settings.baselines else None
        for n, (structure, entry) in enumerate(zip(lesson.structures, scores, strict=True)):
            others = [k for k in structure.present if k not in indices]
            if not others:
                continue
            found: dict[str, Scores] = {}
            for name, segmenter in networks.items():
                raise_if_cancelled(context.cancelled)
                found[name] = _prompted(structure, others, segmenter, count)
                if name in filled:
                    whole = [k for k in range(structure.first, structure.last + 1) if k not in indices]
                    found[name][f"filled_{count}"] = dice(structure.truth[whole], filled[name][n][whole])
            found[IN_USE] = dict(found[ADAPTED] if accepted else found[MODEL])
            found[ADAPTED][f"seconds_{count}"] = seconds
            found[IN_USE][f"accepted_{count}"] = float(accepted)
            for name in (ADAPTED, IN_USE):
                found[name][f"gain_{count}"] = found[name][f"click_{count}"] - found[MODEL][f"click_{count}"]
            if unet is not None:
                truth = np.stack([structure.truth[k] for k in _tested(others)])
                answers = np.stack([unet.predict(lesson.image(k)) == n + 1 for k in _tested(others)])
                found[UNET] = {f"automatic_{count}": dice(truth, answers), f"seconds_{count}": unet.seconds}
            for name, values in found.items():
                entry.setdefault(name, {}).update(values)

    def _fill(self, lesson: "_Lesson", indices: tuple[int, ...], model: ModelSegmenter) -> list[np.ndarray]:
        """Each structure continued from the annotated slices, on its own, with its first and last slice given."""
        answers = []
        for structure in lesson.structures:
            drawn = np.zeros(structure.truth.shape, dtype=np.uint8)
            drawn[list(indices)] = structure.truth[list(indices)]
            target = structure.target
            if not drawn.any():
                answers.append(np.zeros(drawn.shape, dtype=bool))
                continue
            annotations = Annotations.of(target.volume, LabelMap(drawn, target.volume.ijk_to_ras), "k", indices)
            task = SliceTask(target.volume, target.window, annotations, structure.first, structure.last)
            answers.append(_own(task, True, model)[0])
        return answers

    def answer(self, case: Case, result: Result, context: RunContext) -> Answer:
        """The base model's answer to one click on the structure's largest slice."""
        model = _model(context.segmenter)
        structures = case_structures(case, context.settings.max_labels, context.settings.window)
        target = next(each.target for each in structures if each.target.key == result.key)
        click = first_click(target.mask)
        return Answer(target, model.open(target).predict([click]).mask, [click])


@dataclass(frozen=True, eq=False)
class _Lesson:
    """The structures of one label map; together they are annotated and adapted to."""

    structures: tuple[Structure, ...]

    def annotated(self, count: int) -> tuple[int, ...]:
        shown = sorted({k for structure in self.structures for k in structure.present})
        places = np.round(np.linspace(0, len(shown) - 1, count + 2)[1:-1]).astype(int)
        return tuple(sorted({shown[place] for place in places}))

    def data(self, indices: Sequence[int]) -> "LabelledSet":
        from SAMFinetuneLogic.finetuning.labelled_slices import labelled_slices

        target = self.structures[0].target
        voxels = np.zeros(self.structures[0].truth.shape, dtype=np.uint8)
        for value, structure in reversed(list(enumerate(self.structures, 1))):
            voxels[structure.truth] = value
        segments = tuple(default_segment(value) for value in range(1, len(self.structures) + 1))
        labels = LabelMap(voxels, target.volume.ijk_to_ras, segments)
        return labelled_slices(target.volume, labels, target.window, "k", indices)

    def image(self, index: int) -> Any:
        from SAMFinetuneLogic.prompting.slice_image import SliceImage

        target = self.structures[0].target
        return SliceImage.of(target.volume, SliceIndex("k", index), target.window)


def _lessons(case: Case, context: RunContext) -> Iterator[_Lesson]:
    structures = case_structures(case, context.settings.max_labels, context.settings.window)
    for _, group in groupby(structures, key=lambda each: (each.target.image, each.target.label_map)):
        yield _Lesson(tuple(group))


def _adapt(model: ModelSegmenter, data: "LabelledSet", parts: Any, context: RunContext) -> "FinetuneResult":
    from SAMFinetuneLogic.finetuning.run import finetune
    from SAMFinetuneLogic.finetuning.schedule import settings_for
    from SAMFinetuneLogic.finetuning.strategy import Strategy

    strategy = Strategy.of("lora", "encoder_decoder", "recommended")
    settings = settings_for("recommended", len(parts.train))
    return finetune(model.predictor.model, data, parts, strategy, settings, cancelled=context.cancelled)


def _unet(data: "LabelledSet", train: Sequence[int], model: ModelSegmenter, context: RunContext) -> "TrainedUNet":
    """Trained on the same slices."""
    from SAMFinetuneLogic.evaluation.unet import train_unet

    return train_unet(data, train, cancelled=context.cancelled, device=model.predictor.model.device)


def _tested(others: Sequence[int]) -> list[int]:
    if len(others) <= MAX_TESTED:
        return list(others)
    return [others[place] for place in np.round(np.linspace(0, len(others) - 1, MAX_TESTED)).astype(int)]


def _prompted(structure: Structure, others: Sequence[int], segmenter: ModelSegmenter, count: int) -> Scores:
    """Means over slices of the Dice after one ideal click, and after a tight box."""
    clicked, boxed = [], []
    for index in _tested(others):
        mask = structure.truth[index]
        whole = structure.target
        target = Target(**{**vars(whole), "slice": SliceIndex("k", index), "mask": mask})
        opened = segmenter.open(target)
        clicked.append(dice(mask, opened.predict([first_click(mask)]).mask))
        boxed.append(dice(mask, opened.predict(box=tight_box(mask)).mask))
    return {f"click_{count}": float(np.mean(clicked)), f"box_{count}": float(np.mean(boxed))}


def _model(segmenter: Segmenter | None) -> ModelSegmenter:
    if not isinstance(segmenter, ModelSegmenter):
        raise InputError("This protocol adapts a model; give a loaded model.")
    return segmenter
