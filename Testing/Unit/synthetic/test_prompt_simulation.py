"""Simulated prompts against brute force."""

import numpy as np
import torch

from SAMFinetuneLogic.synthetic.prompt_simulation import (
    corrective_clicks,
    depth_inside,
    jitter_boxes,
    pick_pixels,
    random_pixels,
    tight_boxes,
)

GENERATOR = torch.Generator().manual_seed(0)


def random_masks(count=20, size=24):
    rng = np.random.default_rng(7)
    masks = np.zeros((count, size, size), dtype=bool)
    for mask in masks:
        r0, c0 = rng.integers(0, size - 4, 2)
        mask[r0 : r0 + rng.integers(2, 14), c0 : c0 + rng.integers(2, 14)] = True
        mask &= rng.random((size, size)) < 0.97
        mask[r0, c0] = True
    return torch.from_numpy(masks)


def chessboard_depth(mask):
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    depth = np.zeros(mask.shape)
    for row, col in np.argwhere(mask):
        depth[row, col] = np.abs(outside - [row, col]).max(1).min()
    return depth


def test_depth_is_the_chessboard_distance_to_the_outside():
    masks = random_masks()
    for mask, depth in zip(masks.numpy(), depth_inside(masks).numpy(), strict=True):
        assert np.array_equal(depth, chessboard_depth(mask))


def test_central_picks_are_deepest_and_random_picks_inside():
    masks = random_masks()
    depth = depth_inside(masks)
    rows = torch.arange(len(masks))
    x, y = pick_pixels(depth, 1.0, GENERATOR).long().T
    assert torch.equal(depth[rows, y, x], depth.flatten(1).amax(1))
    for picks in (pick_pixels(depth, 0.0, GENERATOR), random_pixels(masks, GENERATOR)):
        x, y = picks.long().T
        assert masks[rows, y, x].all()


def test_random_picks_are_spread_over_the_mask():
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 2:10, 4:12] = True
    picks = {tuple(random_pixels(mask, GENERATOR)[0].tolist()) for _ in range(600)}
    assert len(picks) > 55


def test_boxes_are_first_and_last_pixel():
    masks = random_masks()
    for mask, box in zip(masks.numpy(), tight_boxes(masks).numpy(), strict=True):
        rows, cols = np.nonzero(mask)
        assert box.tolist() == [[cols.min(), rows.min()], [cols.max(), rows.max()]]


def test_moved_boxes_stay_in_the_image_and_upright():
    boxes = tight_boxes(random_masks())
    moved = jitter_boxes(boxes, torch.full((len(boxes),), 0.5), 24, GENERATOR)
    assert (moved >= 0).all() and (moved <= 23).all() and (moved[:, 0] <= moved[:, 1]).all()
    assert torch.equal(jitter_boxes(boxes, torch.zeros(len(boxes)), 24, GENERATOR), boxes)


def test_corrections_hit_the_error_with_the_right_sign():
    targets, predictions = random_masks(), random_masks().roll(3, 0)
    predictions[0] = targets[0]
    clicks, labels = corrective_clicks(targets, predictions, GENERATOR)
    assert labels[0] == -1
    for n in range(1, len(targets)):
        x, y = clicks[n].long()
        assert targets[n, y, x] != predictions[n, y, x]
        assert labels[n] == float(targets[n, y, x])
