"""Geodesic distances against Dijkstra's, and what the maps say."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from SAMFinetuneLogic.models.compact_geodesic import GeodesicMaps, geodesic_distance, prompt_seeds


def by_dijkstra(right, down, seeds):
    height, width = seeds.shape
    number = np.arange(height * width).reshape(height, width)
    first = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    second = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    costs = np.concatenate([right.ravel(), down.ravel()])
    graph = coo_array((costs, (first, second)), shape=(number.size, number.size)).tocsr()
    return dijkstra(graph, directed=False, indices=np.flatnonzero(seeds), min_only=True).reshape(height, width)


@pytest.mark.parametrize("seed", range(5))
def test_many_sweeps_find_the_cheapest_path(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 13, 2)
    right, down = rng.uniform(0.01, 3, (height, width - 1)), rng.uniform(0.01, 3, (height - 1, width))
    seeds = rng.random((2, height, width)) < 0.1
    seeds[:, 0, 0] = True
    found = geodesic_distance(
        torch.from_numpy(right)[None, None], torch.from_numpy(down)[None, None], torch.from_numpy(seeds)[None], 40
    )[0].numpy()
    for each, expected in zip(found, (by_dijkstra(right, down, s) for s in seeds), strict=True):
        np.testing.assert_allclose(each, expected, atol=1e-9)


def test_few_sweeps_never_fall_short_of_the_truth():
    rng = np.random.default_rng(1)
    right, down = rng.exponential(1, (16, 15)), rng.exponential(1, (15, 16))
    seeds = np.zeros((16, 16), dtype=bool)
    seeds[3, 4] = True
    costs = torch.from_numpy(right)[None, None], torch.from_numpy(down)[None, None]
    truth, before = by_dijkstra(right, down, seeds), np.inf
    for sweeps in (1, 2, 4, 8, 30):
        found = geodesic_distance(*costs, torch.from_numpy(seeds)[None, None], sweeps)[0, 0].numpy()
        assert (found >= truth - 1e-9).all() and (found <= before + 1e-9).all()
        before = found
    np.testing.assert_allclose(before, truth, atol=1e-9)


def test_gradients():
    torch.manual_seed(0)
    right = torch.rand(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    down = torch.rand(1, 1, 3, 5, dtype=torch.float64, requires_grad=True)
    seeds = torch.zeros(1, 1, 4, 5, dtype=torch.bool)
    seeds[0, 0, 1, 1] = True
    assert torch.autograd.gradcheck(lambda a, b: geodesic_distance(a, b, seeds), (right, down))


def test_seeds_of_clicks_and_boxes():
    drawn = torch.zeros(3, 5, 16, 16)
    drawn[0, 0, 5, 6] = 1.0
    drawn[0, 1, 9, 9] = 1.0
    drawn[1, 2, 4:12, 2:10] = 1.0
    inside, negative, outside = prompt_seeds(drawn).unbind(1)
    assert inside[0].nonzero().tolist() == [[5, 6]] and negative[0].nonzero().tolist() == [[9, 9]]
    assert outside[0].sum() == 4 * 15
    assert inside[1].nonzero().amin(0).tolist() == [6, 4] and inside[1].nonzero().amax(0).tolist() == [9, 7]
    assert torch.equal(outside[1], drawn[1, 2] == 0)
    assert not inside[2].any() and not negative[2].any()


def test_a_click_leads_within_its_region():
    """A bright square on a dark ground: the click in it leads exactly there, with noise as well."""
    torch.manual_seed(0)
    gray = -torch.ones(1, 1, 64, 64)
    gray[..., 16:48, 12:40] = 1.0
    gray += 0.05 * torch.randn(gray.shape)
    drawn = torch.zeros(1, 5, 32, 32)
    drawn[0, 0, 10, 8] = 1.0
    maps = GeodesicMaps(8)(torch.zeros(1, 8, 16, 16), gray, drawn)
    assert maps.shape == (1, 5, 32, 32)
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[8:24, 6:20] = True
    assert ((maps[0, 3] > 0) ^ expected).sum() <= 0.1 * expected.sum()


def test_without_prompts_nothing_is_said():
    maps = GeodesicMaps(8)(torch.zeros(1, 8, 16, 16), torch.rand(1, 1, 64, 64), torch.zeros(1, 5, 32, 32))
    assert not maps[:, [0, 1, 3, 4]].any()
