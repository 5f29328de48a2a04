"""A few slices of a volume are annotated; how well is the rest filled in?"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.baselines import slices as baselines
from SAMFinetuneLogic.evaluation.baselines.slices import SliceTask
from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Answer, Column, RunContext
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter, Segmenter
from SAMFinetuneLogic.evaluation.structures import COUNTS, Structure, case_structures
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.progress import raise_if_cancelled
from SAMFinetuneLogic.propagation.annotations import Annotations

if TYPE_CHECKING:
    from SAMFinetuneLogic.propagation.options import Method
    from SAMFinetuneLogic.propagation.result import PropagationResult

NO_NETWORK = "without the network"
OUTLINE = "outline alone"
"""This package's methods without a model."""
REVIEWED = 0.1
"""Share of the filled-in slices that is corrected in the order of review, and at equal spacing."""
_SHOWN = 3

BASELINES: dict[str, Callable[[SliceTask], np.ndarray]] = {
    "interpolation": baselines.interpolation,
    "contour interpolation (ITK)": baselines.contour_interpolation,
    "grow from seeds (Slicer)": baselines.grow_from_seeds,
}


class PropagateProtocol:
    """Dice over the slices that were not annotated, with 1, 3, 5 and 9 annotated ones.

    Columns ``given``: the structure's first and last slice are known, and the slices between them count; ``ends``: of
    these, the ones beyond the outermost annotated slices alone. ``open``: first and last are not known, and all slices
    of the volume count. ``beyond``: what was drawn outside of the structure's slices, as a part of its size.
    ``promise``: how far the estimate for the user is from the truth. ``review`` and ``equal``: share of the wrong
    voxels that goes away when a tenth of the slices is corrected, those named first by the review or equally spaced
    ones.
    """

    name: ClassVar[str] = "propagate"
    columns: ClassVar[tuple[Column, ...]] = (
        *(Column(f"given_{count}", f"given {count}") for count in COUNTS),
        *(Column(f"ends_{count}", f"ends {count}") for count in COUNTS[1:]),
        *(Column(f"open_{count}", f"open {count}") for count in COUNTS),
        *(Column(f"beyond_{count}", f"beyond {count}", 2, higher_is_better=False) for count in COUNTS[:2]),
        *(Column(f"promise_{count}", f"promise {count}", higher_is_better=False) for count in COUNTS[1:]),
        Column("review_3", "review 3", 2),
        Column("equal_3", "equal 3", 2),
    )
    ranking: ClassVar[Column] = Column("given_3", "Dice with 3 slices")

    def evaluate_case(self, case: Case, context: RunContext) -> list[Result]:
        results = []
        for structure in case_structures(case, context.settings.max_labels, context.settings.window):
            methods = _methods(context)
            scores: dict[str, Scores] = {name: {} for name in methods}
            for count in COUNTS:
                for name, method in methods.items():
                    raise_if_cancelled(context.cancelled)
                    scores[name] |= _measure(structure, count, method)
            results.append(Result.of(structure.target, {name: found for name, found in scores.items() if found}))
        return results

    def answer(self, case: Case, result: Result, context: RunContext) -> Answer:
        structures = case_structures(case, context.settings.max_labels, context.settings.window)
        structure = next(each for each in structures if each.target.key == result.key)
        assert context.segmenter is not None
        filled, _ = _own(_task(structure, structure.annotated(_SHOWN), True), True, _model(context.segmenter))
        missing = [k for k in structure.present if k not in structure.annotated(_SHOWN)]
        shown = max(missing, key=lambda k: (np.count_nonzero(structure.truth[k]), -k))
        whole = structure.target
        target = Target(
            **{**vars(whole), "slice": SliceIndex("k", shown), "mask": structure.truth[shown]},
        )
        return Answer(target, filled[shown])


Filled = tuple[np.ndarray, "PropagationResult | None"]
Filling = Callable[[SliceTask, bool], Filled]


def _methods(context: RunContext) -> dict[str, Filling]:
    methods: dict[str, Filling] = {}
    if context.segmenter is not None:
        methods[MODEL] = partial(_own, model=_model(context.segmenter))
    if not context.settings.baselines:
        return methods
    simple: dict[str, Callable[[SliceTask], np.ndarray]] = {}
    if not context.of_model:
        methods[NO_NETWORK] = partial(_own, model=None)
        methods[OUTLINE] = partial(_own, model=None, method="interpolate")
        simple |= BASELINES
    if context.segmenter is not None:
        from SAMFinetuneLogic.evaluation.baselines.embeddings import box_to_box, embedding_classifier

        predictor = _model(context.segmenter).predictor
        simple["box to box"] = partial(box_to_box, predictor=predictor)
        simple["logistic regression on embeddings"] = partial(embedding_classifier, predictor=predictor)
    return methods | {name: partial(_baseline, method=method) for name, method in simple.items()}


def _baseline(task: SliceTask, given: bool, method: Callable[[SliceTask], np.ndarray]) -> Filled:
    return method(task), None


def _own(task: SliceTask, given: bool, model: ModelSegmenter | None, method: "Method" = "auto") -> Filled:
    from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume

    labels = LabelMap(task.drawn.astype(np.uint8), task.volume.ijk_to_ras)
    options = PropagationOptions(
        slices=task.annotations.indices,
        first=task.first if given else None,
        last=task.last if given else None,
        method=method,
        jitter=given and len(task.annotations.indices) == _SHOWN,
    )
    loaded, cache = (None, None) if model is None else (model.predictor.model, model.predictor.cache)
    result = propagate_volume(task.volume, labels, loaded, options, task.window, cache)
    return result.labels.mask(1), result


def fill_with_model(task: SliceTask, model: ModelSegmenter) -> np.ndarray:
    """Boolean (k, j, i): the product's propagation from the annotated slices, with first and last slice given."""
    return _own(task, True, model)[0]


def _model(segmenter: Segmenter) -> ModelSegmenter:
    if not isinstance(segmenter, ModelSegmenter):
        raise InputError("This protocol follows structures with a model's network; give a loaded model.")
    return segmenter


def _task(structure: Structure, indices: tuple[int, ...], given: bool) -> SliceTask:
    target = structure.target
    drawn = np.zeros(structure.truth.shape, dtype=np.uint8)
    drawn[list(indices)] = structure.truth[list(indices)]
    annotations = Annotations.of(target.volume, LabelMap(drawn, target.volume.ijk_to_ras), "k", indices)
    first, last = (structure.first, structure.last) if given else (0, len(drawn) - 1)
    return SliceTask(target.volume, target.window, annotations, first, last)


def _measure(structure: Structure, count: int, method: Filling) -> Scores:
    """The scores of a method with ``count`` annotated slices; none where no slice is left to fill in."""
    indices = structure.annotated(count)
    scores: Scores = {}
    for form in ("given", "open"):
        task = _task(structure, indices, form == "given")
        within = [k for k in range(structure.first, structure.last + 1) if k not in indices]
        if not within:
            return {}
        filled, result = method(task, form == "given")
        scores[f"{form}_{count}"] = dice(structure.truth[task.missing], filled[task.missing])
        ends = [k for k in within if not indices[0] < k < indices[-1]]
        if form == "given" and count > 1 and ends:
            scores[f"ends_{count}"] = dice(structure.truth[ends], filled[ends])
        if form == "open" and count in COUNTS[:2]:
            outside = np.count_nonzero(filled[: structure.first]) + np.count_nonzero(filled[structure.last + 1 :])
            scores[f"beyond_{count}"] = outside / np.count_nonzero(structure.truth)
        if form == "given" and result is not None:
            promised = result.estimates[0].dice
            if promised is not None and count > 1:
                scores[f"promise_{count}"] = abs(promised - scores[f"given_{count}"])
            if count == _SHOWN:
                scores |= _review_scores(structure, task, filled, result)
    return scores


def _review_scores(structure: Structure, task: SliceTask, filled: np.ndarray, result: "PropagationResult") -> Scores:
    wrong = {k: int(np.count_nonzero(filled[k] ^ structure.truth[k])) for k in task.missing}
    total, number = sum(wrong.values()), max(1, round(REVIEWED * len(task.missing)))
    if not total:
        return {}
    named = [report.index for report in result.review][:number]
    places = np.round(np.linspace(0, len(task.missing) - 1, number + 2)[1:-1]).astype(int)
    equal = [task.missing[place] for place in places]
    return {
        "review_3": sum(wrong[k] for k in named) / total,
        "equal_3": sum(wrong[k] for k in equal) / total,
    }
