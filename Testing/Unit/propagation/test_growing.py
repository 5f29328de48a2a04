"""Growing along the paths on which the image changes least."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation import growing
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.gray import reduced
from SAMFinetuneLogic.propagation.growing import STEP_COST, GrowthCandidate, enlarged, path_lengths
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate

WINDOW = Window(0, 255, "as_is")


def shortest_paths(gray, start):
    """The same by Dijkstra's algorithm on a graph of all neighbours, from one more node that leads to each seed."""
    number = np.arange(gray.size).reshape(gray.shape)
    starts, ends, costs = [], [], []
    for axis in range(gray.ndim):
        one = np.take(number, range(gray.shape[axis] - 1), axis).ravel()
        other = np.take(number, range(1, gray.shape[axis]), axis).ravel()
        starts.append(one)
        ends.append(other)
        costs.append(np.abs(np.diff(gray, axis=axis)).ravel() + STEP_COST)
    seeds = number[np.isfinite(start)]
    starts.append(np.full(len(seeds), gray.size))
    ends.append(seeds)
    costs.append(start[np.isfinite(start)] + 1)  # zero is no edge
    graph = sparse.coo_matrix(
        (np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends))), shape=(gray.size + 1, gray.size + 1)
    )
    return dijkstra(graph.tocsr(), directed=False, indices=gray.size)[:-1].reshape(gray.shape) - 1


@pytest.mark.parametrize("seed", range(3))
def test_path_lengths_are_those_of_dijkstra(seed):
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 255, (5, 9, 11)).astype(np.float32)
    start = np.full(gray.shape, np.inf, dtype=np.float32)
    start[2][rng.random(gray.shape[1:]) < 0.1] = 0
    start[4] = 150 * seed  # a whole slice that is nearer the less sure
    np.testing.assert_allclose(path_lengths(gray, start), shortest_paths(gray, start), atol=1.0)


def test_without_seeds_nothing_is_near():
    nowhere = np.full((2, 3, 3), np.inf, dtype=np.float32)
    assert np.isinf(path_lengths(np.zeros((2, 3, 3), dtype=np.float32), nowhere)).all()


@pytest.fixture
def a_moving_disc():
    """A bright disc that moves by more than its radius over ten slices."""
    k, j, i = np.indices((10, 64, 64))
    truth = (j - 32) ** 2 + (i - 16 - 3 * k) ** 2 <= 9**2
    gray = 90 + 70 * truth + np.random.default_rng(0).normal(0, 4, truth.shape)
    return truth, Volume(gray.clip(0, 255).astype(np.uint8), np.eye(4))


def fitted(volume, truth, drawn_on, value=1):
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[list(drawn_on)] = value * truth[list(drawn_on)]
    annotations = Annotations.of(volume, LabelMap(drawn, volume.ijk_to_ras), "k")
    extents = {value: extent_of(annotations, value, 0, len(truth) - 1)}
    outline = InterpolationCandidate(extents).fit(annotations)
    return GrowthCandidate(volume, WINDOW, extents).fit(annotations), outline


def test_it_follows_what_interpolation_cannot_know(a_moving_disc):
    truth, volume = a_moving_disc
    grown, outline = fitted(volume, truth, [4])
    for index in (2, 6, 7):
        assert dice(grown.predict(1, index).mask(), truth[index]) > 0.9
    assert dice(outline.predict(1, 7).mask(), truth[7]) < 0.6
    assert grown.distance(1, 7) == 3


def test_a_fine_image_is_grown_on_coarser_cells(a_moving_disc, monkeypatch):
    truth, volume = a_moving_disc
    monkeypatch.setattr(growing, "MAX_SIDE", 24)
    grown, _ = fitted(volume, truth, [4])
    assert dice(grown.predict(1, 6).mask(), truth[6]) > 0.85


def test_beyond_its_extent_there_is_nothing(a_moving_disc):
    truth, volume = a_moving_disc
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[4] = truth[4]
    annotations = Annotations.of(volume, LabelMap(drawn, volume.ijk_to_ras), "k")
    grown = GrowthCandidate(volume, WINDOW, {1: extent_of(annotations, 1, 3, 6)}).fit(annotations)
    assert grown.predict(1, 8).area == 0 and grown.predict(1, 6).area > 0
    assert grown.predict(1, 6).shape == (64, 64)


def test_it_vanishes_towards_an_end_that_is_known(a_moving_disc):
    truth, volume = a_moving_disc
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[1] = truth[1]
    annotations = Annotations.of(volume, LabelMap(drawn, volume.ijk_to_ras), "k")
    noise = np.random.default_rng(1).normal(80, 20, truth.shape)
    plain = Volume(noise.clip(0, 255).astype(np.uint8), np.eye(4))

    def areas(last):
        extents = {1: extent_of(annotations, 1, 0, last)}
        grown = GrowthCandidate(plain, WINDOW, extents).fit(annotations)
        return [grown.predict(1, index).area for index in range(2, 9)]

    # Where nothing but noise is seen the shorter way counts.
    to_the_volumes_end, to_the_range = areas(9), areas(8)
    assert to_the_range[0] == pytest.approx(to_the_volumes_end[0], rel=0.02)
    assert to_the_range[-1] < 0.2 * to_the_volumes_end[-1]


def test_enlarging_gives_a_pixel_the_value_of_the_cell_that_looks_like_it():
    # A bright line one pixel wide, seen by cells of 3 x 3 pixels of which those on the line are brighter.
    pixels = np.zeros((24, 24), dtype=np.float32)
    pixels[:, 11] = 255.0
    cells = np.where(reduced(pixels, (8, 8)) > 40, 1.0, -1.0).astype(np.float32)
    found = enlarged(cells, np.where(pixels > 0, 85.0, 0.0).astype(np.float32))
    # Cells with a third of the line in them have a gray value of 28: the line itself is nearer to that than the rest.
    np.testing.assert_array_equal(found > 0, pixels > 0)
    flat = enlarged(np.full((5, 7), 0.25, dtype=np.float32), pixels)
    np.testing.assert_allclose(flat, 0.25, rtol=1e-5)


def test_enlarging_without_contrast_is_smooth_and_keeps_symmetry():
    rng = np.random.default_rng(4)
    cells = rng.normal(size=(6, 9)).astype(np.float32)
    gray = np.full((21, 30), 70.0, dtype=np.float32)
    found = enlarged(cells, gray)
    np.testing.assert_allclose(found[::-1], enlarged(cells[::-1], gray), atol=1e-5)
    np.testing.assert_allclose(found.T, enlarged(np.ascontiguousarray(cells.T), gray.T), atol=1e-5)
    assert found.min() >= cells.min() - 1e-5 and found.max() <= cells.max() + 1e-5
