"""The U-Net comparator: it learns what it is shown, and gives the data set's values on the slice's own pixels."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from labelled_data import labelled_set
from small_cases import ball

from SAMFinetuneLogic.errors import Cancelled, InputError
from SAMFinetuneLogic.evaluation.unet import UNetSettings, train_unet
from SAMFinetuneLogic.finetuning.augmenting import Augmentation
from SAMFinetuneLogic.finetuning.labelled_slices import BYTES, LabelledSet, LabelledSlice
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.metrics import dice

pytestmark = pytest.mark.skipif(find_spec("monai") is None, reason="MONAI is not installed")

SMALL = UNetSettings(size=32, channels=(8, 16, 32), residual_units=1, steps=60, batch=4, learning_rate=5e-3)


def discs(count: int = 4, value: int = 7) -> LabelledSet:
    """Slices of 40 x 60 pixels with a bright disc of that value, a dark disc beside it, and noise."""
    slices = []
    for number in range(count):
        rng = np.random.default_rng(number)
        bright = ball((40, 60), (12 + 4 * number, 20 + 3 * number), 9)
        dark = ball((40, 60), (28 - 3 * number, 46), 7)
        pixels = (90 + 80 * bright - 60 * dark + rng.normal(0, 5, bright.shape)).clip(0, 255).astype(np.uint8)
        where = SliceIndex("k", number)
        slices.append(LabelledSlice(pixels, (value * bright).astype(np.uint16), (1.0, 1.0), 0, where))
    return LabelledSet(tuple(slices), (Segment(value, "disc", (1.0, 0.0, 0.0)),), ("phantom",), (BYTES,))


@pytest.fixture(scope="module")
def a_trained_unet():
    return train_unet(discs(), (0, 1, 3), SMALL)


def test_it_learns_a_disc_on_a_slice_that_it_has_not_seen(a_trained_unet):
    unseen = discs().slices[2]
    found = a_trained_unet.predict(unseen.image)
    assert found.shape == (40, 60) and found.dtype == np.uint16
    assert set(np.unique(found)) == {0, 7}
    assert dice(unseen.labels == 7, found == 7) > 0.85
    assert a_trained_unet.seconds > 0


def test_its_parameters_are_those_of_monai(a_trained_unet):
    from monai.networks.nets import UNet  # the fixture has imported it, without ITK

    stock = UNet(spatial_dims=2, in_channels=3, out_channels=2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1)
    assert a_trained_unet.parameters == sum(p.numel() for p in stock.parameters())
    assert not any(parameter.requires_grad for parameter in a_trained_unet.network.parameters())


def test_the_seed_decides_and_the_callers_random_state_stays():
    data, short = discs(), replace(SMALL, steps=3)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    weights = [
        torch.cat([p.flatten() for p in train_unet(data, (0, 1), replace(short, seed=seed)).network.parameters()])
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_several_classes_and_colour():
    data = labelled_set()
    colour = replace(
        data, slices=tuple(replace(entry, pixels=np.repeat(entry.pixels[..., None], 3, 2)) for entry in data.slices)
    )
    plain = replace(SMALL, steps=2, augmentation=Augmentation(0, (1, 1), 0, 0, 0, 1, 0, 0, 0))
    answers = [
        train_unet(each, (0, 1, 2), plain).predict(each.slices[1].image) for each in (data, colour)
    ]  # gray is shown as three equal channels
    assert np.array_equal(*answers)
    assert set(np.unique(answers[0])) <= {0, 1, 2}


def test_what_cannot_be_trained():
    data = discs()
    nothing = replace(data, slices=tuple(replace(s, labels=np.zeros_like(s.labels)) for s in data.slices))
    with pytest.raises(InputError, match="Nothing is labelled"):
        train_unet(nothing, (0, 1), SMALL)
    with pytest.raises(InputError, match="multiple of 4"):
        replace(SMALL, size=30)
    with pytest.raises(Cancelled):
        train_unet(data, (0, 1), SMALL, cancelled=lambda: True)


def test_itk_stays_out():
    """Beside SimpleITK and VTK in one process it aborts the interpreter at its end."""
    code = (
        "import sys\n"
        "from SAMFinetuneLogic.evaluation.baselines.optional import kept_out, optional_module\n"
        "with kept_out('itk'):\n"
        "    optional_module('monai.networks.nets')\n"
        "print('itk' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
