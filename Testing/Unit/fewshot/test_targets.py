import numpy as np
import pytest
import torch

from SAMFinetuneLogic.fewshot.grids import label_grids
from SAMFinetuneLogic.fewshot.targets import centres, pool_targets
from SAMFinetuneLogic.models.preprocessing import Preprocessing, SliceTransform


def random_slice(seed, classes=2, shape=(3, 6, 5)):
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    owner = rng.integers(0, classes + 1, shape[1:])
    fractions = torch.from_numpy(np.stack([owner == n for n in range(classes + 1)]).astype(np.float32))
    return features, fractions


def test_pooling_is_the_weighted_mean_of_the_cells():
    one, other = random_slice(0), random_slice(1)
    result = pool_targets([one[0], other[0]], [one[1], other[1]], "slices")
    assert result.kinds.tolist() == [0, 1, 2, 0, 1, 2]
    for place, (features, fractions, kind) in enumerate((*s, n) for s in (one, other) for n in range(3)):
        cells = features[:, fractions[kind] > 0].mean(1)
        torch.testing.assert_close(result.vectors[place], cells)


def test_mean_pools_over_all_slices():
    one, other = random_slice(0), random_slice(1)
    result = pool_targets([one[0], other[0]], [one[1], other[1]], "mean")
    joined = torch.cat([one[0][:, one[1][1] > 0], other[0][:, other[1][1] > 0]], 1).mean(1)
    torch.testing.assert_close(result.vectors[1], joined)


def test_components_are_pooled_apart_and_absent_classes_give_nothing():
    features = torch.arange(24.0).reshape(1, 4, 6)
    fractions = torch.zeros(3, 4, 6)
    fractions[0] = 1
    fractions[1, 0, 0:2] = 1
    fractions[1, 3, 4:6] = 1
    result = pool_targets([features], [fractions], "components")
    assert result.kinds.tolist() == [0, 1, 1]
    assert result.vectors[1:, 0].tolist() == [0.5, 22.5]


def test_kmeans_finds_separate_clusters():
    rng = np.random.default_rng(0)
    true = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    rows = np.concatenate([point + rng.normal(0, 0.3, (40, 2)) for point in true])
    found = torch.stack(centres(torch.from_numpy(rows), torch.ones(120, dtype=torch.float64), 3)).numpy()
    distance = np.linalg.norm(found[:, None] - true[None], axis=2)
    assert (distance.min(0) < 0.3).all()


@pytest.mark.parametrize("shape,spacing", [((40, 40), (1.0, 1.0)), ((30, 50), (1.0, 1.0)), ((200, 100), (0.5, 1.0))])
def test_grids_hold_area_fractions_and_know_the_padding(shape, spacing):
    labels = np.zeros(shape, dtype=np.uint8)
    labels[: shape[0] // 2, : shape[1] // 2] = 7
    transform = SliceTransform(shape, spacing, Preprocessing("sam", "longest_pad", 64))
    grids = label_grids(labels, (7, 9), transform, (4, 4))
    assert grids.coarse.shape == (3, 4, 4) and grids.fine.shape == (3, 16, 16)
    content = transform.content_shape[0] * transform.content_shape[1] / 64**2
    assert float(grids.valid.mean()) == pytest.approx(content, abs=0.02)
    assert float(grids.fine[1].mean()) == pytest.approx(content / 4, abs=0.02)
    assert not grids.fine[2].any()
    torch.testing.assert_close(grids.coarse.mean((1, 2)), grids.fine.mean((1, 2)))
