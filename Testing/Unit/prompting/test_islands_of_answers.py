"""Small islands in an answer that nothing was said about."""

import numpy as np
import pytest

from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.islands import without_islands
from SAMFinetuneLogic.prompting.placement import SlicePrompts

SPECK = (2, 3)


def answer_with(*masks):
    logits = np.where(np.stack(masks), 4.0, -4.0).astype(np.float32)
    return Candidates(logits, logits[:, ::4, ::4].copy(), np.linspace(0.9, 0.5, len(masks), dtype=np.float32))


@pytest.fixture
def mask():
    """A block, a part of a tenth of it, and a speck that touches nothing."""
    found = np.zeros((40, 48), dtype=bool)
    found[10:30, 10:30] = True
    found[34:39, 36:44] = True
    found[SPECK] = True
    return found


def clicks(*points, labels=None):
    points = np.array(points, dtype=float).reshape(-1, 2)
    return SlicePrompts(points, np.ones(len(points), int) if labels is None else np.array(labels))


def test_specks_go_and_parts_stay(mask):
    answer = answer_with(mask, mask[::-1, ::-1])
    cleaned = without_islands(answer, clicks((20, 20)))

    expected = mask.copy()
    expected[SPECK] = False
    np.testing.assert_array_equal(cleaned.masks[0], expected)
    np.testing.assert_array_equal(cleaned.masks[1], expected[::-1, ::-1])
    np.testing.assert_array_equal(cleaned.logits, answer.logits)
    assert answer.masks[0][SPECK]


@pytest.mark.parametrize("named", ["click", "stroke", "mask"])
def test_what_the_prompts_name_stays(mask, named):
    there = np.zeros(mask.shape, dtype=bool)
    there[SPECK] = True
    prompts = {
        "click": clicks(SPECK, (20, 20)),
        "stroke": SlicePrompts(strokes=np.where(there, 5.0, 0.0).astype(np.float32)),
        "mask": SlicePrompts(mask=there),
    }[named]
    assert without_islands(answer_with(mask), prompts).masks[0][SPECK]


def test_a_negative_click_keeps_nothing(mask):
    prompts = clicks((20, 20), SPECK, labels=[1, 0])
    assert not without_islands(answer_with(mask), prompts).masks[0][SPECK]


def test_one_part_and_nothing_are_left_as_they_are():
    block = np.zeros((20, 20), dtype=bool)
    block[5:9, 5:9] = True
    for answer in (answer_with(block), answer_with(np.zeros_like(block))):
        assert without_islands(answer, clicks((6, 6))) is answer


def test_small_parts_of_a_structure_stay_where_none_is_large():
    scattered = np.zeros((40, 40), dtype=bool)
    scattered[2:38:6, 2:38:9] = True
    cleaned = without_islands(answer_with(scattered), clicks((2, 2)))
    # 24 islands of the same size, each less than a twentieth: without a large part none of them is a speck.
    np.testing.assert_array_equal(cleaned.masks[0], scattered)
