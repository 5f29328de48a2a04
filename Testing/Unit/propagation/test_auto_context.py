"""The second stage: it learns errors that repeat, measures itself on slices it has not seen, and is repeatable."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.progress import raise_if_cancelled
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.auto_context import MAX_SIDE, AutoContext, View
from SAMFinetuneLogic.propagation.context_network import CHANNELS, ContextNetwork, corrected
from SAMFinetuneLogic.propagation.levels import Patch, nothing, signed_distance
from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume

SLICES = (5, 9, 13, 17)
UNSEEN = (7, 11, 15)


def too_large(mask: np.ndarray) -> Patch:
    """An expected outline that lies three pixels too far out."""
    return Patch.of(signed_distance(ndimage.binary_dilation(mask, iterations=3)), mask.shape)


@pytest.fixture
def annotations(a_volume, drawn):
    return Annotations.of(a_volume, drawn(*SLICES), "k", SLICES)


@pytest.fixture
def make_context(a_volume):
    def make(annotations, **callbacks) -> AutoContext:
        return AutoContext(a_volume, choose_window(a_volume), annotations, **callbacks)

    return make


@pytest.fixture(scope="module")
def expected(a_truth):
    return {index: too_large(a_truth.mask(1)[index]) for index in (*SLICES, *UNSEEN)}


@pytest.mark.usefixtures("at_length")
def test_an_error_that_repeats_is_corrected_where_nothing_is_drawn(make_context, annotations, expected, a_truth):
    truth = a_truth.mask(1)
    context = make_context(annotations)
    left_out = context.learn(1, {index: expected[index] for index in SLICES})

    assert set(left_out) == set(SLICES)
    for index in SLICES:
        assert dice(left_out[index].mask(), truth[index]) > dice(expected[index].mask(), truth[index]) + 0.05
    for index in UNSEEN:
        assert dice(context.correct(1, index, expected[index]).mask(), truth[index]) > 0.95


@pytest.mark.usefixtures("at_length")
def test_on_a_single_slice_it_learns_to_mend_outlines_that_are_off(a_volume, a_truth, drawn, make_context):
    truth = a_truth.mask(1)
    context = make_context(Annotations.of(a_volume, drawn(11), "k", (11,)))
    context.learn_alone(1)

    for index in (5, 8, 14, 17):
        shifted = Patch.of(signed_distance(np.roll(truth[11], (3, -2), axis=(0, 1))), truth[11].shape)
        mended = context.correct(1, index, shifted)
        assert dice(mended.mask(), truth[index]) > dice(shifted.mask(), truth[index]) + 0.05
    assert context.judged(1).curve != AutoContext.curve


@pytest.mark.usefixtures("at_length")
def test_a_single_annotated_slice_is_learned_from_unless_told_not_to(a_volume, a_truth, drawn):
    labels, steps = drawn(11), []
    alone = propagate_volume(a_volume, labels, progress=lambda done, total: steps.append((done, total)))
    plain = propagate_volume(a_volume, labels, options=PropagationOptions(adapt=False))

    assert steps[-1][0] == steps[-1][1]
    assert all("auto-context" in report.weights for report in alone.slices if report.pixels)
    assert not any("auto-context" in report.weights for report in plain.slices)
    assert alone.evidence == plain.evidence == ()
    assert all(estimate.dice is None for estimate in alone.estimates)


def test_a_left_out_slice_has_no_part_in_its_own_answer(make_context, drawn, a_volume, expected):
    given = drawn(*SLICES)
    other = given.voxels.copy()
    other[9, 18:24] = 0
    answers = []
    for voxels in (given.voxels, other):
        labels = type(given)(voxels, given.ijk_to_ras, given.segments)
        context = make_context(Annotations.of(a_volume, labels, "k", SLICES))
        answers.append(context.learn(1, {index: expected[index] for index in SLICES}))

    same = [np.array_equal(*(answer[index].mask() for answer in answers)) for index in SLICES]
    assert same[SLICES.index(9)]
    assert not all(same)


def test_learning_is_repeatable_and_leaves_other_random_numbers_alone(make_context, annotations, expected):
    torch.manual_seed(5)
    undisturbed = torch.rand(1)
    torch.manual_seed(5)
    answers = [make_context(annotations).learn(1, {index: expected[index] for index in SLICES}) for _ in range(2)]

    assert torch.rand(1) == undisturbed
    for index in SLICES:
        assert np.array_equal(answers[0][index].steps, answers[1][index].steps)


def test_nothing_is_learned_from_one_slice_and_nothing_added_where_nothing_is_expected(
    make_context, annotations, expected
):
    context = make_context(annotations)
    assert context.learn(1, {9: expected[9]}) == {}
    assert context.correct(1, 11, expected[11]) is None
    context.learn(1, {index: expected[index] for index in SLICES[:2]})
    assert context.correct(1, 11, expected[11]) is not None
    assert context.correct(1, 22, nothing(annotations.shape)) is None


def test_a_stop_is_heard_in_training(make_context, annotations, expected):
    asked = iter(range(100))
    context = make_context(annotations, on_step=lambda: raise_if_cancelled(lambda: next(asked) > 20))
    with pytest.raises(Cancelled):
        context.learn(1, {index: expected[index] for index in SLICES})


def test_an_untrained_network_changes_nothing(annotations, expected):
    view = View.of(annotations, 1, list(expected.values()))
    seen = torch.rand(CHANNELS, *view.cells)
    correction = corrected([ContextNetwork().eval()], seen)

    assert np.abs(correction).max() < 1e-5
    assert np.array_equal(view.added(expected[9], correction).mask(), expected[9].mask())


def test_the_view_holds_all_outlines_with_a_margin_and_bounded_cells(annotations, expected):
    view = View.of(annotations, 1, list(expected.values()))
    row0, col0, row1, col1 = view.bounds
    for patch in expected.values():
        rows, cols = np.nonzero(patch.mask())
        assert row0 <= max(rows.min() - 8, 0) and row1 >= min(rows.max() + 8, 39)
        assert col0 <= max(cols.min() - 8, 0) and col1 >= min(cols.max() + 8, 43)
    assert max(view.cells) <= MAX_SIDE and not any(side % 8 for side in view.cells)
    # A mask keeps its share of the area when it is averaged to cells.
    mask = np.zeros((row1 - row0 + 1, col1 - col0 + 1), dtype=np.float32)
    mask[5:17, 4:20] = 1
    assert float(view.reduced(mask[None]).mean()) == pytest.approx(float(mask.mean()), rel=0.05)


def test_a_run_adapts_unless_it_is_told_not_to(a_volume, a_truth, drawn):
    settings = {"slices": SLICES, "first": 3, "last": 20, "values": (1,)}
    given, steps = drawn(*SLICES), []
    plain = propagate_volume(a_volume, given, None, PropagationOptions(**settings, adapt=False))
    adapted = propagate_volume(
        a_volume, given, None, PropagationOptions(**settings), progress=lambda done, total: steps.append((done, total))
    )

    assert "auto-context" not in {each.candidate for each in plain.evidence}
    assert {each.index for each in adapted.evidence if each.candidate == "auto-context"} == set(SLICES)
    assert all("auto-context" in report.weights for report in adapted.slices if report.pixels)
    assert np.array_equal(adapted.labels.voxels[list(SLICES)], given.voxels[list(SLICES)])
    missing = [k for k in range(3, 21) if k not in SLICES]
    scores = [dice(result.labels.mask(1)[missing], a_truth.mask(1)[missing]) for result in (plain, adapted)]
    assert scores[1] > scores[0] - 0.01
    assert steps == [(n + 1, len(steps)) for n in range(len(steps))]


def test_in_plane_flips_change_next_to_nothing(a_volume, drawn):
    given = drawn(*SLICES)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = a_volume.shape[2] - 1
    affine = a_volume.ijk_to_ras @ flip
    settings = PropagationOptions(slices=SLICES, first=3, last=20, values=(1,))
    straight = propagate_volume(a_volume, given, None, settings).labels.mask(1)
    mirrored = propagate_volume(
        type(a_volume)(np.flip(a_volume.voxels, 2).copy(), affine, modality="MR"),
        type(given)(np.flip(given.voxels, 2).copy(), affine, given.segments),
        None,
        settings,
    ).labels.mask(1)

    assert dice(straight, np.flip(mirrored, 2)) > 0.98
