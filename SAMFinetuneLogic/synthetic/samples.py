"""Training samples: two slices of one synthetic examination, and targets drawn from their label maps."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.synthetic.appearance import random_appearance, render
from SAMFinetuneLogic.synthetic.fields import Rng, random_similarity, random_warp, sample_nearest
from SAMFinetuneLogic.synthetic.label_maps import LabelTree, random_label_tree

_AREA_BINS = 6
_SMALLEST = 32
"""Pixels. Smaller structures are looked at on a crop, where they are larger."""
_VISIBLE = 0.3
"""Contrast to the surroundings, in standard deviations of both, below which a structure can hardly be seen."""
_TRIES = 4
_FOCUSED = 0.5
"""Share of pairs that show one structure from close by, as the second look at a prompted structure does."""
_FOCUS_MARGINS = (1.12, 2.4)
"""The close-up's side, as a multiple of the structure's longer side,"""
_SMALLEST_CLOSE_UP = 20
"""and its least side, in pixels of the finer map."""


@dataclass(frozen=True)
class SlicePair:
    """Two slices of one examination, related by a smooth deformation and rendered with one appearance.

    Attributes:
        images: (2, size, size) uint8.
        labels: (2, size, size) uint8.
        structures: (label count, label count) bool; row n holds the labels that belong to structure n.
        focus: the structure that a close-up was made of, 0 for none.
    """

    images: np.ndarray
    labels: np.ndarray
    structures: np.ndarray
    focus: int = 0


def random_pair(rng: Rng, size: int) -> SlicePair:
    """Draw a pair of slices (size, size)."""
    focused = rng.random() < _FOCUSED
    # A close-up is cut from a finer map, so that its outlines are as sharp as those of a whole slice.
    drawn = 2 * size if focused else size
    tree = random_label_tree(rng, drawn)
    positions = random_similarity(rng, drawn, max_turn=0.2, max_scale=1.2, max_shift=0.06)
    moved = sample_nearest(tree.labels, positions, outside="mirror")
    moved = sample_nearest(moved, random_warp(rng, drawn, rng.uniform(0.01, 0.04), rng.uniform(2, 5)))
    focus = 0
    if focused:
        focus, close_up = _focus(rng, tree, size)
        tree.labels, moved = sample_nearest(tree.labels, close_up), sample_nearest(moved, close_up)
    elif rng.random() < 0.25:
        close_up = random_similarity(rng, size, 0.0, 1.0, 0.25)
        close_up = (close_up - size / 2) * rng.uniform(0.35, 0.8) + size / 2
        tree.labels, moved = sample_nearest(tree.labels, close_up), sample_nearest(moved, close_up)
    look = random_appearance(rng, tree)
    trees = [LabelTree(labels, tree.parents) for labels in (tree.labels, moved)]
    return SlicePair(
        images=np.stack([render(rng, each, look) for each in trees]),
        labels=np.stack([each.labels for each in trees]),
        structures=np.stack([tree.structure(label) for label in range(len(tree.parents))]),
        focus=focus,
    )


def _focus(rng: Rng, tree: LabelTree, size: int) -> tuple[int, np.ndarray]:
    """A structure, and positions (2, size, size) in the tree's map of a square around it or around one part of it.

    The square may be larger than the map, whose edges are held. Without any structure it is the whole map, and the
    structure is 0.
    """
    drawn = tree.labels.shape[0]
    shown = [label for label in range(1, len(tree.parents)) if tree.region(label).sum() >= 4 * _SMALLEST]
    if not shown:
        return 0, _square(np.zeros(2), float(drawn), size)
    label = int(rng.choice(shown))
    region = tree.region(label)
    if rng.random() < 0.5:
        parts, found = ndimage.label(region)
        sizes = np.bincount(parts.ravel())[1:]
        region = parts == 1 + rng.choice(found, p=sizes / sizes.sum())
    rows, cols = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    low, high = np.array([rows[0], cols[0]]), np.array([rows[-1], cols[-1]]) + 1
    longer = float((high - low).max())
    side = max(longer * np.exp(rng.uniform(*np.log(_FOCUS_MARGINS))), _SMALLEST_CLOSE_UP)
    side = min(side, max(float(drawn), 1.1 * longer))
    # Not always in the middle, but never cut.
    slack = np.minimum((side - (high - low)) / 2, 0.15 * side)
    centre = (low + high) / 2 + rng.uniform(-1, 1, 2) * slack
    return label, _square(centre - side / 2, side, size)


def _square(corner: np.ndarray, side: float, size: int) -> np.ndarray:
    """Positions (2, size, size) of the pixels of a square with a corner at ``corner``, both in pixels' outer edges."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) * side / size - 0.5
    return np.stack(np.meshgrid(corner[0] + steps, corner[1] + steps, indexing="ij"))


@dataclass(frozen=True)
class Example:
    """One slice with its targets, ready for the network.

    Attributes:
        image: (size, size) uint8.
        valid: (size, size) bool, False where the slice is padding.
        targets: (n, size, size) bool.
        whole: (n,) bool: the target is the whole structure in this slice, not one component of it.
    """

    image: np.ndarray
    valid: np.ndarray
    targets: np.ndarray
    whole: np.ndarray


def draw_examples(rng: Rng, pair: SlicePair, count: int) -> tuple[Example, Example]:
    """Augment a pair and choose ``count`` targets that both slices show (repeated when there are fewer)."""
    images, labels = pair.images, pair.labels
    if rng.random() < 0.5:
        images, labels = images[:, :, ::-1], labels[:, :, ::-1]
    if rng.random() < 0.5:
        images, labels = images[:, ::-1], labels[:, ::-1]
    if rng.random() < 0.5:
        images, labels = images.transpose(0, 2, 1), labels.transpose(0, 2, 1)
    images = _vary_contrast(rng, images)
    chosen = _choose_structures(rng, images, labels, pair, count)
    valid = np.ones(labels.shape[1:], dtype=bool)
    if rng.random() < 0.25:
        side = int(labels.shape[1] * rng.uniform(0.5, 0.95))
        valid[side:] = False
        if rng.random() < 0.5:
            valid = valid.T
    return (
        _example(rng, images[0], labels[0], pair.structures[chosen], valid),
        _example(rng, images[1], labels[1], pair.structures[chosen], valid),
    )


def _vary_contrast(rng: Rng, images: np.ndarray) -> np.ndarray:
    curve = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.15:
        curve = 1 - curve
    low, high = rng.uniform(0, 0.1), rng.uniform(0.8, 1.0)
    return ((low + (high - low) * curve) * 255).astype(np.uint8)[images]


def _choose_structures(rng: Rng, images: np.ndarray, labels: np.ndarray, pair: SlicePair, count: int) -> np.ndarray:
    """Indices of structures, uniform over the logarithm of their area; what fills nearly all is left out.

    What can hardly be seen is seldom chosen: a step on the CPU is too dear to be spent on guessing. The structure
    that a close-up shows comes first if it can be seen.
    """
    structures = pair.structures
    pixels = labels[0].size
    areas = np.stack([np.bincount(each.ravel(), minlength=len(structures)) for each in labels]) @ structures.T
    smallest, largest = areas.min(0), areas.max(0)
    usable = np.flatnonzero((smallest >= _SMALLEST) & (largest <= 0.9 * pixels) & (np.arange(len(structures)) > 0))
    if usable.size == 0:
        # A slice in which only the background is large enough still trains the network on that background.
        return np.zeros(count, dtype=np.intp)
    bins = np.floor(np.log(areas[0][usable] / _SMALLEST) / np.log(pixels / _SMALLEST) * _AREA_BINS).astype(int)
    chosen: list[int] = []
    if pair.focus in usable and _contrast(images[0], structures[pair.focus][labels[0]]) > _VISIBLE:
        chosen.append(pair.focus)
    while len(chosen) < count:
        for _ in range(_TRIES):
            bin_chosen = rng.choice(np.unique(bins))
            candidate = rng.choice(usable[bins == bin_chosen])
            if _contrast(images[0], structures[candidate][labels[0]]) > _VISIBLE or rng.random() < 0.1:
                break
        chosen.append(candidate)
    return np.array(chosen)


def _contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Difference of the means within a mask and in a ring of three pixels around it, in standard deviations."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    around = (slice(max(rows[0] - 4, 0), rows[-1] + 5), slice(max(cols[0] - 4, 0), cols[-1] + 5))
    values, inside = image[around].astype(np.float32), mask[around]
    ring = ndimage.maximum_filter(inside, 7) & ~inside
    if not ring.any():
        return 0.0
    within, without = values[inside], values[ring]
    spread = np.sqrt((within.var() + without.var()) / 2) + 1.0
    return float(abs(within.mean() - without.mean()) / spread)


def _example(rng: Rng, image: np.ndarray, labels: np.ndarray, members: np.ndarray, valid: np.ndarray) -> Example:
    targets, whole = [], []
    for member in members:
        mask = member[labels] & valid
        is_whole = True
        if rng.random() < 0.6:
            components, found = ndimage.label(mask)
            if found > 1:
                sizes = np.bincount(components.ravel())[1:]
                component = rng.choice(found, p=sizes / sizes.sum())
                if sizes[component] >= 8:
                    mask, is_whole = components == component + 1, False
        targets.append(mask)
        whole.append(is_whole)
    return Example(image, valid, np.stack(targets), np.array(whole))
