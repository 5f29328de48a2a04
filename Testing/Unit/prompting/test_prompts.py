"""Prompts: values that can be stored and come back the same, and refuse nonsense."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.prompting.packed import PackedLogits, PackedMask
from SAMFinetuneLogic.prompting.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    prompt_from_dict,
)

numbers = st.floats(-1e4, 1e4)
positions = st.tuples(numbers, numbers, numbers)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)).filter(np.any)
any_prompt = st.one_of(
    st.builds(PointPrompt, positions, st.booleans()),
    st.builds(BoxPrompt, st.lists(positions, min_size=2, max_size=8).map(tuple)),
    st.builds(ScribblePrompt, st.lists(positions, min_size=1, max_size=5).map(tuple), st.booleans()),
    st.builds(MaskPrompt.from_mask, st.builds(SliceIndex, st.sampled_from("ijk"), st.integers(0, 99)), masks),
)


@given(any_prompt)
def test_a_prompt_comes_back_from_json_the_same(prompt):
    assert prompt_from_dict(json.loads(json.dumps(prompt.to_dict()))) == prompt


@given(masks)
def test_a_packed_mask_unpacks_to_the_same(mask):
    packed = PackedMask.pack(mask)
    np.testing.assert_array_equal(packed.unpack(), mask)
    assert hash(PackedMask.from_dict(packed.to_dict())) == hash(packed)


@given(hnp.arrays(np.float32, (5, 7), elements=st.floats(-1e9, 1e9, width=32)))
def test_packed_logits_are_finite_and_packing_again_changes_nothing(logits):
    packed = PackedLogits.pack(logits)
    unpacked = packed.unpack()
    np.testing.assert_allclose(unpacked, np.clip(logits, -65504, 65504), rtol=1e-3, atol=1e-7)
    assert PackedLogits.pack(unpacked) == packed == PackedLogits.from_dict(packed.to_dict())


@pytest.mark.parametrize(
    "damage", [{"shape": [3]}, {"shape": [10**9, 10**9]}, {"data": "!"}, {"data": "AAAA"}, {"shape": [0, 4]}]
)
def test_a_damaged_mask_is_refused(damage):
    with pytest.raises(InputError, match="damaged"):
        PackedMask.from_dict({**PackedMask.pack(np.ones((3, 4))).to_dict(), **damage})


@pytest.mark.parametrize(
    "content",
    [
        None,
        {"type": "circle"},
        {"type": "point"},
        {"type": "point", "position": [1, 2]},
        {"type": "point", "position": [1, 2, float("nan")]},
        {"type": "point", "position": "123"},
        {"type": "point", "position": [1, 2, 3], "positive": "no"},
        {"type": "box", "points": [[1, 2, 3]]},
        {"type": "scribble", "points": []},
        {"type": "mask", "axis": "x", "index": 1, "mask": {}},
        {"type": "mask", "axis": "k", "index": 1, "mask": {}},
    ],
)
def test_nonsense_is_refused_with_a_sentence(content):
    with pytest.raises(InputError, match=r"\.$"):
        prompt_from_dict(content)


def test_an_empty_mask_is_no_prompt():
    with pytest.raises(InputError, match="at least one pixel"):
        MaskPrompt.from_mask(SliceIndex("k", 0), np.zeros((4, 4)))


@pytest.mark.parametrize(
    "module", ["prompts", "session", "placement", "prompt_files", "cache", "prefetch", "slice_image"]
)
def test_what_the_user_interface_needs_loads_without_torch(module):
    code = f"import sys, SAMFinetuneLogic.prompting.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
