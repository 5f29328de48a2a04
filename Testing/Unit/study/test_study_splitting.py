"""Which slices a study learns from: nothing is tested that was learned from, and the shares are as promised."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_data import labelled_set

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.study.splitting import spaced, study_split


def slices_of(groups: list[int]) -> LabelledSet:
    """As many slices as the list is long, of the images that it names."""
    entry = labelled_set((5,)).slices[0]
    found = tuple(
        replace(entry, group=group, slice=replace(entry.slice, index=n)) for n, group in enumerate(sorted(groups))
    )
    return replace(labelled_set((5,)), slices=found, images=("image",) * (max(groups) + 1))


def test_a_single_volume_is_split_by_blocks():
    split = study_split(slices_of([0] * 50), None, 100)
    assert split.test == (*range(10, 15), *range(35, 40))  # two of ten blocks of five
    assert len(split.validation) == 5 and split.validation == tuple(range(split.validation[0], split.validation[0] + 5))
    assert len(split.train) == 35
    assert sorted((*split.train, *split.validation, *split.test)) == list(range(50))


def test_several_images_are_kept_whole():
    data = slices_of([n // 4 for n in range(20)])
    split = study_split(data, None, 100)
    tested = {data.slices[n].group for n in split.test}
    learned = {data.slices[n].group for n in split.train}
    assert len(tested) == 1 and len(learned) == 4 and not tested & learned
    assert split.validation == ()  # five images are too few to spare one


def test_few_shots_of_a_volume_are_spread_over_it():
    split = study_split(slices_of([0] * 25), 5, 100)
    assert split.train == (2, 7, 12, 17, 22)
    assert split.validation == ()
    assert len(split.test) == 20 and not set(split.test) & set(split.train)


def test_few_shots_of_several_images_are_tested_on_others():
    data = slices_of(list(range(10)))
    split = study_split(data, 5, 100)
    assert len(split.train) == 5 and len(split.test) == 2
    assert not set(split.test) & set(split.train)


def test_tested_slices_are_capped_and_equally_spaced():
    split = study_split(slices_of([0] * 104), 4, 10)
    assert len(split.test) == 10
    assert max(b - a for a, b in zip(split.test, split.test[1:], strict=False)) <= 12


@pytest.mark.parametrize(("groups", "shots"), [([0], None), ([0] * 5, 5), ([0, 0, 1], 3)])
def test_too_few_slices_are_refused(groups, shots):
    with pytest.raises(InputError, match="needed"):
        study_split(slices_of(groups), shots, 10)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=60),
    st.one_of(st.none(), st.integers(1, 8)),
    st.integers(1, 30),
)
def test_no_slice_is_used_twice(groups, shots, most):
    data = slices_of(groups)
    try:
        split = study_split(data, shots, most)
    except InputError:
        return
    used = (*split.train, *split.validation, *split.test)
    assert len(set(used)) == len(used)
    assert split.train and 1 <= len(split.test) <= most
    if shots is not None:
        assert len(split.train) == shots
    images = {data.slices[n].group for n in split.test} & {data.slices[n].group for n in split.train}
    assert not images or len(set(groups)) == 1


@given(st.integers(1, 200), st.integers(1, 200))
def test_spaced_places_differ_and_ascend(count, wanted):
    places = spaced(range(count), wanted)
    assert len(places) == min(count, wanted)
    assert list(places) == sorted(set(places))
