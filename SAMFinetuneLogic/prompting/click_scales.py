"""At which scale to look for the structure that one click means.

A click says where, not how large. A network with a coarse input sees a small structure in a few of its pixels, and then
takes what surrounds it for the answer. So one click is also asked on ever smaller crops around it, for as long as the
network expects a better answer there.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.metrics import iou, tight_box
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.closer_look import ask_on_crop, on_slice, sees_coarsely
from SAMFinetuneLogic.prompting.crops import click_pixels, crop_around_click, touches_inner_sides
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor

SHARES = (1 / 2, 1 / 4, 1 / 8)
"""The crop's side as a share of the slice's longer one, in mm."""
FEWEST_PIXELS = 20
"""Least rows and columns of such a crop: fewer show no surroundings."""
CLEARLY_BETTER = 0.05
"""By so much must the predicted IoU of the first crop's answer be above the slice's. On the development data, with any
such step from 0 to 0.1, one click gains 0.04 to 0.05 in Dice."""
AGREEMENT_WEIGHT, LEAST_CENTRALITY, RATING_POWER = 0.9, 0.05, 0.5
"""How much of a predicted IoU the agreement with the other candidates scales, how central a click counts at least, also
one outside, and the power of the product."""
CENTRALITY_CELLS, THICK_CELLS = 128, 8
"""How central a click is, is told on a grid of at most so many cells a side, if the mask's middle is at least so many
cells from its outline."""
LARGER = 1.4
"""A candidate is called larger than another from so many times its area on."""


def look_around_click(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, first: Candidates
) -> Candidates:
    """The answers to one positive click on the slice and on crops around it, the one at the best scale first.

    A crop's answer counts if it is not empty, keeps off the crop's sides that lie within the slice, and is expected to
    be better than the answer before; than none it always is. The first crop whose answer does not count ends the
    search; but where the largest crop's is empty or cut off, the structure may be smaller still. The other answers
    become the alternatives.

    Args:
        predictor: the one that gave ``first``.
        embedded: the whole slice.
        prompts: those that gave ``first``.
        first: the candidates on the whole slice.

    Returns:
        At most as many candidates as ``first`` has, and none that is empty if there is another; ``first`` itself where
        a click is not all there is, or the network's input is fine enough for the whole slice.
    """
    if not looks_around_click(predictor, prompts):
        return first
    best, found = first, []
    least = first.score + CLEARLY_BETTER if first.mask.any() else -np.inf
    shape, spacing = embedded.image.shape, embedded.image.spacing
    for share in SHARES:
        crop = crop_around_click(prompts.points[0], share, shape, spacing)
        if min(crop.rows, crop.cols) < FEWEST_PIXELS:
            break
        closer = on_slice(predictor, embedded, ask_on_crop(predictor, embedded, prompts, crop), crop)
        found.append(closer)
        if not closer.mask.any() or any(touches_inner_sides(closer.mask[crop.slices], crop, shape)):
            if share == SHARES[0]:
                continue
            break
        if closer.score <= least:
            break
        best, least = closer, closer.score
    return _together(first, found, best) if found else first


def rated(answer: Candidates, click: np.ndarray, spacing: tuple[float, float]) -> Candidates:
    """The candidates rated anew by their agreement and by the place of the click, none above the first.

    The network expects too much of its answers on crops, and of the alternatives most of all. Two things tell better:
    where all scales find the same, it is right; and a click is taken to lie in the middle of what is meant, as those of
    the simulated user do (where it lies anywhere within the structure, nothing is gained). So nine tenths of each
    predicted IoU count as far as the candidate agrees with the others (mean IoU), and the whole is multiplied by the
    root of how central the click is (:func:`centrality`). A power brings the mean near the true one.

    Args:
        answer: to one positive click; a single candidate stays as it is.
        click: (row, col) in the slice's pixels.
        spacing: (row_mm, col_mm).
    """
    if answer.count < 2:
        return answer
    masks = answer.masks
    alike = np.zeros((answer.count, answer.count))
    for one, other in combinations(range(answer.count), 2):
        if masks[one].any():  # two empty ones do not agree
            alike[one, other] = alike[other, one] = iou(masks[one], masks[other])
    agreement = alike.sum(axis=1) / (answer.count - 1)
    central = np.array([max(centrality(mask, click, spacing), LEAST_CENTRALITY) for mask in masks])
    share = ((1 - AGREEMENT_WEIGHT) + AGREEMENT_WEIGHT * agreement) * np.sqrt(central)
    sign = np.sign(answer.predicted_iou)  # a network may also predict less than 0: then what is doubted becomes less
    ratings = sign * (np.abs(answer.predicted_iou) * share**sign) ** RATING_POWER
    ratings = ratings.astype(answer.predicted_iou.dtype)
    return replace(answer, predicted_iou=np.minimum(ratings, ratings[answer.chosen]))


def centrality(mask: np.ndarray, click: np.ndarray, spacing: tuple[float, float]) -> float:
    """How far a click lies from the outline of a mask, as a share of the position farthest from it.

    Of a large mask, every second, third, ... row or column is enough, unless it is thin.

    Args:
        mask: boolean (rows, cols); the slice's border counts as outside.
        click: (row, col) in pixels.
        spacing: (row_mm, col_mm).

    Returns:
        1 in the middle, 0 outside of the mask.
    """
    pixel = click_pixels(click[None], mask.shape)[0]
    if not mask[tuple(pixel)]:
        return 0.0
    low, high = np.split(np.array(tight_box(mask)), 2)
    steps = np.ceil((high - low + 1) / CENTRALITY_CELLS).astype(int)
    for step in (steps, np.ones(2, dtype=int)):
        first = low + (pixel - low) % step  # the click's row and column are among those
        part = mask[first[0] : high[0] + 1 : step[0], first[1] : high[1] + 1 : step[1]]
        # Nothing outside of the mask's box is nearer than its own rim.
        cell = np.multiply(spacing, step)
        distance = ndimage.distance_transform_edt(np.pad(part, 1), sampling=cell)
        if (step == 1).all() or distance.max() >= THICK_CELLS * cell.max():
            break
    return float(distance[tuple((pixel - first) // step + 1)] / distance.max())


def looks_around_click(predictor: SlicePredictor, prompts: SlicePrompts) -> bool:
    """Whether one positive click is all there is, and the network's input so coarse that its scale matters."""
    alone = len(prompts.points) == 1 and prompts.labels[0] == 1 and not len(prompts.boxes)
    return alone and not prompts.drawn and sees_coarsely(predictor)


def _together(first: Candidates, found: list[Candidates], best: Candidates) -> Candidates:
    """At most as many as the slice gave: the best scale's answer, a larger one, a smaller one, then the others.

    Each of them is the one with the highest predicted IoU. On the development data the best of three is so 0.05 to
    0.06 better than the first; the three with the highest predicted IoU are alike, and 0.04 better.
    """
    answers = [best] + [each for each in (first, *found) if each is not best]
    logits = [each for answer in answers for each in answer.slice_logits]  # of a large slice: not copied, but for a few
    coarse = [each for answer in answers for each in answer.logits]
    ratings = np.concatenate([answer.predicted_iou for answer in answers])
    areas = [np.count_nonzero(each > 0) for each in logits]
    ranked = [number for number in np.argsort(-ratings, kind="stable") if areas[number]]
    lead = 0 if areas[0] or not ranked else ranked[0]
    larger = [number for number in ranked if areas[number] > LARGER * areas[lead]]
    smaller = [number for number in ranked if areas[number] * LARGER < areas[lead]]
    order = list(dict.fromkeys([lead, *larger[:1], *smaller[:1], *ranked]))[: first.count]
    return replace(
        best,
        slice_logits=np.stack([logits[number] for number in order]),
        logits=np.stack([coarse[number] for number in order]),
        predicted_iou=ratings[order],
        notices=tuple(dict.fromkeys(notice for each in answers for notice in each.notices)),
    )
