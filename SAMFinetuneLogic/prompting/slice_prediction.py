"""All prompts of one segment on one slice answered at once: scribbles, masks, and several boxes included."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.prompting.box_look import look_into_box
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.click_scales import look_around_click, looks_around_click, rated
from SAMFinetuneLogic.prompting.closer_look import earlier_logits
from SAMFinetuneLogic.prompting.corrections import answer_clicks, corrects
from SAMFinetuneLogic.prompting.islands import without_islands
from SAMFinetuneLogic.prompting.placement import STROKE_LOGIT, SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.refine import refine, refine_others

MOST_SINGLY = 3
"""Of clicks that come at once, at most so many are given one after another, and then all."""


def predict_slice(
    predictor: SlicePredictor,
    embedded: EmbeddedSlice,
    prompts: SlicePrompts,
    feedback: np.ndarray | None = None,
    *,
    refine_small: bool = True,
    refine_alternatives: bool = False,
) -> Candidates:
    """Masks of the structure that the prompts mean, the one to show first.

    SAM takes one box at a time. Several boxes are several parts of one structure: each is answered with the points
    inside of it and all negative points, positive points outside of all boxes make one more part, and the union is
    the one candidate, with the lowest of the predicted IoUs. Mask prompts are not used then, since each of them
    would speak of all parts at once.

    A network with a coarse input answers clicks that come at once as if they had come one after another: up to four
    questions, one more for a box, and as a rule one closer look for each of them.

    Args:
        predictor: the model.
        embedded: the slice.
        prompts: in the slice's pixels.
        feedback: (h, w) low resolution logits of the mask chosen before; it takes the place of the user's mask. One of
            a size that the model does not take is another model's, and left out: the prompts are asked anew.
        refine_small: look closer: at small structures (:mod:`SAMFinetuneLogic.prompting.refine`), into boxes
            (:mod:`SAMFinetuneLogic.prompting.box_look`), at several scales
            (:mod:`SAMFinetuneLogic.prompting.click_scales`), at what is corrected
            (:mod:`SAMFinetuneLogic.prompting.corrections`), and at the gray values around it
            (:mod:`SAMFinetuneLogic.prompting.click_evidence`).
        refine_alternatives: look as closely at the candidates that are not chosen, for who wants to see them.

    Raises:
        InputError: no prompts, or nothing but negative points.
        ModelError: the model takes none of the prompts.
    """
    if feedback is not None and feedback.shape != predictor.model.mask_size:
        feedback = None
    if not prompts.has_target and feedback is None:
        raise InputError("Negative points alone do not say what to segment: add a positive point or a box.")
    if len(prompts.boxes) > 1:
        answers = [(_answer(predictor, embedded, part, None, refine_small), part) for part in _parts(prompts)]
        return _union([_finished(predictor, embedded, part, answer, refine_small) for answer, part in answers])
    mask_prompt = _mask_prompt(predictor, embedded, prompts, feedback)
    answer = _answer(predictor, embedded, prompts, mask_prompt, refine_small)
    looked = mask_prompt is None and looks_around_click(predictor, prompts)
    if refine_small and refine_alternatives and not len(prompts.boxes) and not looked:
        answer = refine_others(predictor, embedded, prompts, answer)
    answer = _finished(predictor, embedded, prompts, answer, refine_small)
    if prompts.mask is not None and "mask" not in predictor.model.entry.prompts:
        notice = f"{predictor.model.entry.title} takes no masks; only the other prompts were used."
        return replace(answer, notices=(*answer.notices, notice))
    return answer


def _answer(
    predictor: SlicePredictor,
    embedded: EmbeddedSlice,
    prompts: SlicePrompts,
    mask_prompt: np.ndarray | None,
    refine_small: bool,
) -> Candidates:
    """The answer to prompts with one box at most; clicks that come at once are answered as one after another.

    A network with a coarse input looks where it found something before, and so must have found something: what a box
    means, or a positive click. Of many clicks only the first few are given singly.
    """
    if not refine_small or mask_prompt is not None or not corrects(predictor, prompts):
        return _predict_part(predictor, embedded, prompts, mask_prompt, refine_small)
    order, answer = list(range(len(prompts.points))), None
    if len(prompts.boxes):
        answer = _predict_part(predictor, embedded, SlicePrompts(boxes=prompts.boxes), None, refine_small)
    else:
        order.insert(0, order.pop(int(np.argmax(prompts.labels == 1))))  # the first positive one leads
    for count in (*range(1, min(len(order), MOST_SINGLY + 1)), len(order)):
        part = SlicePrompts(prompts.points[order[:count]], prompts.labels[order[:count]], prompts.boxes)
        feedback = None if answer is None else answer.mask_logits
        answer = _predict_part(predictor, embedded, part, feedback, refine_small)
    assert answer is not None
    return answer


def _predict_part(
    predictor: SlicePredictor,
    embedded: EmbeddedSlice,
    prompts: SlicePrompts,
    mask_prompt: np.ndarray | None,
    refine_small: bool,
) -> Candidates:
    """One answer of the model; ``prompts`` has one box at most."""
    box = prompts.boxes[0] if len(prompts.boxes) else None
    if refine_small and mask_prompt is None and (answer := look_into_box(predictor, embedded, prompts)) is not None:
        return answer

    def ask(mask: np.ndarray | None) -> Candidates:
        first = predictor.predict(embedded, prompts.points, prompts.labels, box, mask)
        if not refine_small:
            return first
        if mask is not None or not looks_around_click(predictor, prompts):
            return refine(predictor, embedded, prompts, first, mask)
        answer = look_around_click(predictor, embedded, prompts, first)
        return answer if answer.refined else refine(predictor, embedded, prompts, answer)

    if mask_prompt is None or prompts.drawn or not len(prompts.points):
        return ask(mask_prompt)
    return answer_clicks(predictor, embedded, prompts, mask_prompt, ask, refine_small)


def _finished(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, answer: Candidates, refine_small: bool
) -> Candidates:
    """The answer as it is shown: without islands, and rated if it is one to a single click at several scales."""
    answer = without_islands(answer, prompts)
    if not refine_small or not looks_around_click(predictor, prompts):
        return answer
    return rated(answer, prompts.points[0], embedded.image.spacing)


def _mask_prompt(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, feedback: np.ndarray | None
) -> np.ndarray | None:
    """The mask prompt (h, w): the earlier mask, else the user's, with the scribbles drawn over it."""
    transform, mask_size = embedded.transform, predictor.model.mask_size
    if prompts.strokes is None:
        if feedback is not None or prompts.mask is None:
            return feedback
        return transform.mask_to_prompt(prompts.mask, mask_size)[0].cpu().numpy()
    if feedback is not None:
        base = earlier_logits(embedded, feedback)
    elif prompts.mask is not None:
        base = np.where(prompts.mask, STROKE_LOGIT, -STROKE_LOGIT)
    else:
        base = np.zeros_like(prompts.strokes)  # undecided where nothing was drawn
    strokes = _thickened(prompts.strokes, embedded, mask_size)
    drawn = np.where(strokes != 0, strokes, base).astype(np.float32)
    return transform.mask_to_prompt(drawn, mask_size)[0].cpu().numpy()


def _thickened(strokes: np.ndarray, embedded: EmbeddedSlice, mask_size: tuple[int, int]) -> np.ndarray:
    """Strokes as wide as a cell of the mask prompt: averaging over the cell must not wash them out."""
    transform = embedded.transform
    cells = np.array(transform.preprocessing.size) / mask_size / transform.scale  # in pixels of the slice
    footprint = np.ones(2 * np.round(cells / 2).astype(int) + 1, dtype=bool)
    inside = ndimage.binary_dilation(strokes > 0, footprint)
    outside = ndimage.binary_dilation(strokes < 0, footprint)
    thick = STROKE_LOGIT * (inside.astype(np.float32) - outside)
    return np.where(strokes != 0, strokes, thick)


def _parts(prompts: SlicePrompts) -> list[SlicePrompts]:
    """The prompts of each part of a structure with several boxes."""
    positive = prompts.labels == 1
    unused = positive.copy()
    parts = []
    for box in prompts.boxes:
        # Half a pixel more: a click on the box's last pixel is inside.
        inside = ((prompts.points >= box[:2] - 0.5) & (prompts.points <= box[2:] + 0.5)).all(axis=1)
        unused &= ~inside
        used = inside | ~positive
        parts.append(SlicePrompts(prompts.points[used], prompts.labels[used], box[None]))
    if unused.any():
        used = unused | ~positive
        parts.append(SlicePrompts(prompts.points[used], prompts.labels[used]))
    return parts


def _union(answers: Sequence[Candidates]) -> Candidates:
    return Candidates(
        np.max([answer.slice_logits[0] for answer in answers], axis=0)[None],
        np.max([answer.logits[0] for answer in answers], axis=0)[None],
        np.min([answer.predicted_iou[:1] for answer in answers], axis=0),
        notices=tuple(dict.fromkeys(notice for answer in answers for notice in answer.notices)),
        refined=any(answer.refined for answer in answers),
    )
