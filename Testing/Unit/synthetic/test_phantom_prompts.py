"""The demo's prompts lie on their structures, and the score looks at the prompted slices alone."""

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.prompting.placement import box_voxels, slices_of
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt
from SAMFinetuneLogic.synthetic.phantom import Phantom, make_phantom
from SAMFinetuneLogic.synthetic.phantom_prompts import AXIS, phantom_prompts, prompted_dice


@pytest.fixture(scope="module")
def a_phantom() -> Phantom:
    return make_phantom(seed=2, shape=(30, 64, 72), spacing=(5.0, 4.6, 6.0))


def test_there_are_clicks_flat_boxes_and_a_thick_one(a_phantom):
    prompts = phantom_prompts(a_phantom)
    counts = [len(slices_of(a_phantom.volume, prompt, AXIS)) for entry in prompts for prompt in entry.prompts]
    kinds = [type(prompt) for entry in prompts for prompt in entry.prompts]
    assert PointPrompt in kinds and kinds.count(BoxPrompt) >= 3
    assert max(counts) > 3 and counts.count(1) >= 4
    assert len({entry.segment.value for entry in prompts}) == len(prompts) >= 5


def test_clicks_hit_and_boxes_hold_their_structure(a_phantom):
    for entry in phantom_prompts(a_phantom):
        mask = a_phantom.truth.mask(entry.segment.value)
        for prompt in entry.prompts:
            if isinstance(prompt, PointPrompt):
                i, j, k = np.rint(a_phantom.volume.to_ijk(np.array([prompt.position]))[0]).astype(int)
                assert mask[k, j, i]
            else:
                assert isinstance(prompt, BoxPrompt)
                first, last = box_voxels(a_phantom.volume, prompt)
                wanted = mask[first[2] : last[2] + 1]
                _, rows, cols = np.nonzero(wanted)
                assert (cols.min(), cols.max(), rows.min(), rows.max()) == (first[0], last[0], first[1], last[1])


def test_dice_is_that_of_the_prompted_slices(a_phantom):
    prompts, truth = phantom_prompts(a_phantom), a_phantom.truth
    perfect = prompted_dice(truth, truth, a_phantom.volume, prompts, AXIS)
    assert set(perfect.values()) == {1.0}
    liver = prompts[0]
    (index,) = slices_of(a_phantom.volume, liver.prompts[0], AXIS)
    elsewhere = truth.voxels.copy()
    elsewhere[:index] = 0
    elsewhere[index + 1 :] = 0
    only_there = LabelMap(elsewhere, truth.ijk_to_ras, truth.segments)
    assert prompted_dice(only_there, truth, a_phantom.volume, [liver], AXIS) == {liver.segment.name: 1.0}
    without = LabelMap(np.where(np.arange(len(elsewhere))[:, None, None] == index, 0, truth.voxels), truth.ijk_to_ras)
    assert prompted_dice(without, truth, a_phantom.volume, [liver], AXIS) == {liver.segment.name: 0.0}
