"""Families of shapes, and the scenes that they are put into: what the training images are meant to hold is in them."""

import numpy as np
import pytest
from scipy import ndimage

from SAMFinetuneLogic.synthetic import shapes
from SAMFinetuneLogic.synthetic.label_maps import random_label_tree

SIZE, CENTRE, SEEDS = 96, np.zeros(2), range(20)


def drawn(family, radius=0.5, centre=CENTRE):
    return [family(np.random.default_rng(seed), SIZE, np.array(centre), radius) for seed in SEEDS]


def sides(mask):
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1


def outline_share(mask):
    """Pixels of the outline to those of a disc of the same area."""
    outline = np.count_nonzero(mask & ~ndimage.binary_erosion(mask))
    return outline / (2 * np.pi * np.sqrt(mask.sum() / np.pi))


def test_a_blob_is_one_region_of_about_its_radius():
    masks = drawn(shapes.fourier_blob)

    assert all(ndimage.label(mask)[1] == 1 for mask in masks)
    assert np.median([mask.sum() for mask in masks]) == pytest.approx(np.pi * (0.5 * SIZE / 2) ** 2, rel=0.2)


def test_most_rings_are_closed_walls_of_even_thickness():
    masks = drawn(shapes.ring)

    closed = [ndimage.binary_fill_holes(mask).sum() / mask.sum() > 1.2 for mask in masks]
    assert all(mask.any() for mask in masks) and np.mean(closed) > 0.65
    widths = [2 * ndimage.distance_transform_edt(mask).max() / max(sides(mask)) for mask in masks]
    assert np.median(widths) < 0.25


def test_tubes_are_thin_and_some_branch():
    morphology = pytest.importorskip("skimage.morphology")
    masks = drawn(shapes.tube)

    widths = [2 * ndimage.distance_transform_edt(mask).max() / max(sides(mask)) for mask in masks]
    assert np.median(widths) < 0.4
    lines = [morphology.skeletonize(mask) for mask in masks]
    ends = [np.count_nonzero(line & (ndimage.convolve(line.astype(int), np.ones((3, 3))) == 2)) for line in lines]
    assert sum(count > 2 for count in ends) >= 5 and sum(count <= 2 for count in ends) >= 3


def test_patches_are_more_ragged_than_blobs():
    ragged, smooth = ([outline_share(mask) for mask in drawn(f)] for f in (shapes.ragged_patch, shapes.fourier_blob))

    assert np.median(ragged) > 1.15 * np.median(smooth)


def test_clusters_have_several_parts_and_pairs_mirror_each_other():
    assert np.mean([ndimage.label(mask)[1] > 1 for mask in drawn(shapes.cluster)]) > 0.7
    pairs = drawn(shapes.mirrored_pair, 0.4)
    overlap = [np.count_nonzero(mask & mask[:, ::-1]) / np.count_nonzero(mask | mask[:, ::-1]) for mask in pairs]
    assert np.median(overlap) > 0.6
    assert np.mean([ndimage.label(mask)[1] == 2 for mask in pairs]) > 0.5


def test_every_family_is_drawn(monkeypatch):
    asked = []
    families = [(lambda *_, name=family.__name__: asked.append(name), weight) for family, weight in shapes.SHAPES]
    monkeypatch.setattr(shapes, "SHAPES", tuple(families))
    rng = np.random.default_rng(0)

    for _ in range(400):
        shapes.random_shape(rng, SIZE, CENTRE, 0.3)

    assert set(asked) == {"fourier_blob", "ring", "tube", "ragged_patch", "cluster", "mirrored_pair"}
    assert 400 * 0.4 < asked.count("fourier_blob") < 400 * 0.52


def test_scenes_hold_bodies_with_organs_and_structures_with_nothing_around():
    rng = np.random.default_rng(0)
    bodies = lonely = 0
    for _ in range(60):
        tree = random_label_tree(rng, 64)
        outside = (tree.labels == 0).mean()
        outer = [label for label in range(1, len(tree.parents)) if tree.parents[label] == 0]
        bodies += any(tree.region(label).mean() > 0.25 and tree.structure(label).sum() >= 5 for label in outer)
        lonely += outside > 0.8 and len(outer) <= 4
    assert bodies > 12 and lonely >= 4
