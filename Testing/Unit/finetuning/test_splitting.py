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


def test_empty_slices_are_kept_for_training_unless_they_touch_the_gate():
    data = labelled_set((0, 3, 6, 9, 12, 15))
    parts = split(data)
    assert {0, 15} <= set(indices_of(data, parts.train))
    touching = labelled_set((1, 2, 3, 14, 15))
    parts = split(touching)
    held = indices_of(touching, parts.gate)
    for index in indices_of(touching, parts.train):
        if touching.slices[[entry.slice.index for entry in touching.slices].index(index)].is_empty:
            assert all(abs(index - other) > 1 for other in held)


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
    assert parts.gate and all(number in shown for number in parts.gate)
    assert len(parts.gate) <= len(shown) / 2
    if len(shown) < MIN_FOR_STOPPING:
        assert not parts.validation


def test_a_split_survives_json():
    parts = Split((0, 2), (), (1,))
    assert Split.from_dict(parts.to_dict()) == parts
