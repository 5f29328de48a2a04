"""A few slices of one image are labelled; how well are the same structures found in another, without clicks?"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Case, Manifest
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Answer, Column, RunContext
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter, Segmenter
from SAMFinetuneLogic.evaluation.structures import MAX_LABELS
from SAMFinetuneLogic.evaluation.support import Lesson, lessons_of, read_lesson
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.wording import some_slices

if TYPE_CHECKING:
    from SAMFinetuneLogic.evaluation.baselines.few_labels import SliceAnswer
    from SAMFinetuneLogic.fewshot.collection import SupportCollection
    from SAMFinetuneLogic.prompting.predictor import SlicePredictor

PROTOTYPES = "prototypes, no training"
LOGISTIC = "logistic regression"
PROMPTED_LOGISTIC = "logistic regression, then prompts"
COUNTS = (1, 5)
"""How many slices of the first image are labelled."""


class FewShotProtocol:
    """Dice over a whole image, learned from 1 and from 5 labelled slices of another one.

    The images that teach and those that are segmented are chosen by
    :func:`SAMFinetuneLogic.evaluation.support.lessons_of`, the four largest structures that both have. All methods
    have the same labelled slices and the same embeddings. Of an image with fewer slices all are labelled.
    """

    name: ClassVar[str] = "fewshot"
    columns: ClassVar[tuple[Column, ...]] = tuple(
        Column(f"dice_{count}", f"Dice, {some_slices(count)}") for count in COUNTS
    )
    ranking: ClassVar[Column] = Column(f"dice_{COUNTS[-1]}", f"Dice with {COUNTS[-1]} slices")

    def __init__(self) -> None:
        self._regrouped: tuple[Manifest, Manifest] | None = None
        self._answered: tuple[Case, np.ndarray] | None = None

    def regroup(self, manifest: Manifest) -> Manifest:
        """See :func:`SAMFinetuneLogic.evaluation.support.lessons_of`; the last one is kept."""
        if self._regrouped is None or not any(manifest is known for known in self._regrouped):
            self._regrouped = (manifest, lessons_of(manifest))
        return self._regrouped[1]

    def evaluate_case(self, case: Case, context: RunContext) -> list[Result]:
        predictor = _predictor(context.segmenter)
        lesson = read_lesson(case, context.settings.max_labels or MAX_LABELS, context.settings.window)
        scores: list[dict[str, Scores]] = [{} for _ in lesson.targets]
        methods = _methods(context.settings.baselines)
        earlier: tuple[int, ...] | None = None
        for number, count in enumerate(COUNTS):
            indices = labelled_slices(lesson.support_labels, count)
            if indices != earlier:
                collection = _collection(lesson, indices, predictor)
            for done, (name, learn) in enumerate(methods.items()):
                context.progress(number * len(methods) + done, len(COUNTS) * len(methods))
                if indices == earlier:
                    for entry in scores:
                        entry[name][f"dice_{count}"] = entry[name][f"dice_{COUNTS[number - 1]}"]
                    continue
                found = _segment(lesson, learn(collection, predictor, context.cancelled), predictor, context.cancelled)
                for n, (entry, truth) in enumerate(zip(scores, lesson.truths, strict=True), 1):
                    entry.setdefault(name, {})[f"dice_{count}"] = dice(truth, found == n)
            earlier = indices
        return [Result.of(target, entry) for target, entry in zip(lesson.targets, scores, strict=True)]

    def answer(self, case: Case, result: Result, context: RunContext) -> Answer:
        lesson = read_lesson(case, context.settings.max_labels or MAX_LABELS, context.settings.window)
        if self._answered is None or self._answered[0] != case:
            predictor = _predictor(context.segmenter)
            collection = _collection(lesson, labelled_slices(lesson.support_labels, COUNTS[-1]), predictor)
            learned = _decoder(collection, predictor, context.cancelled)
            self._answered = (case, _segment(lesson, learned, predictor, context.cancelled))
        number = next(n for n, target in enumerate(lesson.targets, 1) if target.key == result.key)
        target = lesson.targets[number - 1]
        return Answer(target, self._answered[1][target.slice.index] == number)


def labelled_slices(labels: LabelMap, count: int) -> tuple[int, ...]:
    """The slices along k that a user labels: equally spaced, or the one that shows most structures and voxels."""
    from SAMFinetuneLogic.fewshot.labelling import slices_to_label

    if count > 1:
        return tuple(slices_to_label(labels, "k", count))
    shown = [(len(np.unique(layer)), np.count_nonzero(layer), -k) for k, layer in enumerate(labels.voxels)]
    return (-max(shown)[2],)


Learning = Callable[["SupportCollection", "SlicePredictor", CancelCheck | None], "SliceAnswer"]


def _methods(with_baselines: bool) -> dict[str, Learning]:
    from SAMFinetuneLogic.evaluation.baselines import few_labels

    methods: dict[str, Learning] = {MODEL: _decoder}
    if with_baselines:
        methods[PROTOTYPES] = lambda collection, predictor, _: few_labels.prototypes(collection, predictor)
        methods[LOGISTIC] = lambda collection, predictor, _: few_labels.logistic_regression(collection, predictor)
        methods[PROMPTED_LOGISTIC] = lambda collection, predictor, _: few_labels.prompted_regression(
            collection, predictor
        )
    return methods


def _decoder(
    collection: "SupportCollection", predictor: "SlicePredictor", cancelled: CancelCheck | None
) -> "SliceAnswer":
    from SAMFinetuneLogic.fewshot.fitting import fit
    from SAMFinetuneLogic.fewshot.settings import FitSettings

    settings = FitSettings(purpose="other_images")
    return fit(collection, predictor.model, settings, cache=predictor.cache, cancelled=cancelled).predict


def _collection(lesson: Lesson, indices: tuple[int, ...], predictor: "SlicePredictor") -> "SupportCollection":
    from SAMFinetuneLogic.fewshot.labelling import new_collection

    return new_collection(
        lesson.support,
        lesson.support_labels,
        indices,
        predictor.model,
        "k",
        lesson.support_window,
        predictor.cache,
    )


def _segment(
    lesson: Lesson, answer: "SliceAnswer", predictor: "SlicePredictor", cancelled: CancelCheck | None
) -> np.ndarray:
    """uint8 (k, j, i) of the query: the numbers of the lesson's structures."""
    from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
    from SAMFinetuneLogic.fewshot.planes import Plane

    plane = Plane.of(lesson.query, "k", lesson.query_window)
    found = np.zeros(lesson.query.shape, dtype=np.uint8)
    for index in range(len(found)):
        raise_if_cancelled(cancelled)
        shown = answer(predictor.embed(plane.image(index)))
        found[index] = SlicePrediction(plane.restore(shown.probabilities), shown.values).labels
    return found


def _predictor(segmenter: Segmenter | None) -> "SlicePredictor":
    if not isinstance(segmenter, ModelSegmenter):
        raise InputError("This protocol compares what is learned on a model's embeddings; give a loaded model.")
    return segmenter.predictor
