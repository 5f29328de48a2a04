import numpy as np
import pytest

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.baselines import box as baselines
from SAMFinetuneLogic.evaluation.baselines import optional
from SAMFinetuneLogic.metrics import dice, tight_box


def scene(mask, seed=0):
    """A bright structure in noise, uint8."""
    noise = np.random.default_rng(seed).normal(0, 6, mask.shape)
    return (mask * 110 + 60 + noise).clip(0, 255).astype(np.uint8)


def test_the_ellipse_has_the_area_of_an_ellipse_and_touches_all_sides():
    box = (10, 20, 69, 149)

    mask = baselines.ellipse(np.zeros((100, 200), dtype=np.uint8), box)

    assert mask.sum() == pytest.approx(np.pi / 4 * 60 * 130, rel=0.01)
    assert tight_box(mask) == box
    assert np.array_equal(mask[10:70, 20:150], mask[10:70, 20:150][::-1, ::-1])


def test_the_ellipse_of_a_disc_is_the_disc():
    rows, cols = np.mgrid[:60, :70]
    disc = (rows - 25) ** 2 + (cols - 40) ** 2 < 14.5**2

    assert np.array_equal(baselines.ellipse(scene(disc), tight_box(disc)), disc)


@pytest.mark.parametrize("box", [(3, 3, 3, 3), (0, 0, 0, 9), (0, 0, 9, 9), (8, 8, 9, 9)])
@pytest.mark.parametrize("method", [baselines.ellipse, baselines.random_walker, baselines.grab_cut])
@pytest.mark.parametrize("flat", [True, False])
def test_every_method_answers_every_box(method, box, flat):
    image = np.full((10, 10), 128, dtype=np.uint8)
    if not flat:
        image[2:6, 2:6] = 200

    mask = method(image, box)

    assert mask.shape == image.shape and mask.dtype == bool
    outside = mask.copy()
    outside[box[0] : box[2] + 1, box[1] : box[3] + 1] = False
    assert not outside.any()


@pytest.mark.parametrize("method", [baselines.random_walker, baselines.grab_cut])
def test_a_clear_structure_is_found_where_the_ellipse_fails(method):
    mask = np.zeros((80, 90), dtype=bool)
    mask[20:60, 30:40] = mask[50:60, 30:75] = True  # an L
    mask[30:60, 40:55] = True
    image, box = scene(mask), tight_box(mask)

    assert dice(method(image, box), mask) > dice(baselines.ellipse(image, box), mask) + 0.05


def test_grab_cut_is_repeatable(a_disc):
    image, box = scene(a_disc), (5, 20, 45, 60)

    assert np.array_equal(baselines.grab_cut(image, box), baselines.grab_cut(image, box))


def test_a_missing_library_is_named(monkeypatch, a_disc):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional, "import_module", missing)

    with pytest.raises(InputError, match=r"opencv-python-headless.*--no-baselines"):
        baselines.grab_cut(scene(a_disc), tight_box(a_disc))
