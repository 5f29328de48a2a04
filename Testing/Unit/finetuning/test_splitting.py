from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_data import labelled_set

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.labelled_slices import joined
from SAMFinetuneLogic.finetuning.splitting import MIN_FOR_STOPPING, Split, split


def indices_of(data, numbers):
    return [data.slices[number].slice.index for number in numbers]


def test_five_slices_of_one_volume():
    data = labelled_set((2, 5, 8, 11, 13))
    parts = split(data)
    assert len(parts.train) == 3 and len(parts.gate) == 2 and parts.validation == ()
    # The ends of the range are learned from: beyond them nothing is known.
    assert {2, 13} <= set(indices_of(data, parts.train))


@pytest.mark.parametrize(("indices", "gate"), [((5, 9), 1), ((3, 6, 9), 1), ((3, 6, 9, 12), 2)])
def test_at_least_one_slice_is_always_held_out(indices, gate):
    parts = split(labelled_set(indices))
    assert len(parts.gate) == gate
    assert parts.train


def test_one_slice_is_too_few():
    with pytest.raises(InputError, match="At least two slices"):
        split(labelled_set((0, 8, 15)))  # two of them are empty


def test_a_contiguous_run_is_divided_into_blocks():
    data = labelled_set(range(1, 15))
    parts = split(data)
    for held in (parts.gate, parts.validation):
        found = indices_of(data, held)
        assert found == list(range(found[0], found[0] + len(found))), "one block, no random neighbours"
    assert len(parts.gate) >= 2 and len(parts.validation) >= 1


def test_whole_images_are_held_out_of_three_or_more():
    data = joined([labelled_set((4, 8), seed=seed) for seed in range(4)])
    parts = split(data)
    groups = [{data.slices[n].group for n in part} for part in (parts.train, parts.validation, parts.gate)]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert all(groups)


def emptied(data, *indices):
    """A set with the labels of some slices taken away."""
    slices = (
        replace(entry, labels=np.zeros_like(entry.labels)) if entry.slice.index in indices else entry
        for entry in data.slices
    )
    return replace(data, slices=tuple(slices))


def test_empty_slices_are_learned_from_unless_they_touch_the_gate():
    data = labelled_set((0, 3, 6, 9, 12, 15))
    parts = split(data)
    assert {0, 15} <= set(indices_of(data, parts.train))

    data = emptied(labelled_set((3, 6, 7, 9, 12)), 7)
    parts = split(data)
    assert indices_of(data, parts.gate) == [6, 7, 9]
    assert indices_of(data, parts.train) == [3, 12]


def test_empty_slices_of_a_held_out_image_are_held_out_with_it():
    data = joined([emptied(labelled_set((4, 8, 13), seed=seed), 13) for seed in range(4)])
    parts = split(data)
    by_part = [[data.slices[n].group for n in part] for part in (parts.train, parts.validation, parts.gate)]
    assert not set(by_part[0]) & set(by_part[1]) and not set(by_part[0]) & set(by_part[2])
    assert all(groups.count(group) == 3 for groups in by_part for group in groups)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 14), min_size=2))
def test_parts_never_overlap_and_something_is_left_to_learn_from(indices):
    data = labelled_set(sorted(indices))
    shown = [number for number, entry in enumerate(data.slices) if not entry.is_empty]
    if len(shown) < 2:
        return
    parts = split(data)
    everything = [*parts.train, *parts.validation, *parts.gate]
    assert len(everything) == len(set(everything))
    assert any(number in shown for number in parts.train)
    gate = [number for number in parts.gate if number in shown]
    assert gate and len(gate) <= len(shown) / 2
    if len(shown) < MIN_FOR_STOPPING:
        assert not parts.validation


def test_a_split_survives_json():
    parts = Split((0, 2), (), (1,))
    assert Split.from_dict(parts.to_dict()) == parts
