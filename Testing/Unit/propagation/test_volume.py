import numpy as np
import pytest

from SAMFinetuneLogic.errors import Cancelled, GeometryError, InputError, ModelError
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume

SLICES = (5, 9, 13, 17)


def options(**changes) -> PropagationOptions:
    """The second stage, which takes its time, has tests of its own."""
    return PropagationOptions(**{"slices": SLICES, "first": 3, "last": 20, "adapt": False, **changes})


@pytest.mark.parametrize("method", ["auto", "interpolate", "propagate"])
def test_annotated_slices_come_back_as_they_are(a_volume, a_model, drawn, method):
    given = drawn(*SLICES)
    result = propagate_volume(a_volume, given, a_model, options(method=method))

    assert np.array_equal(result.labels.voxels[list(SLICES)], given.voxels[list(SLICES)])
    assert result.labels.voxels.dtype == given.voxels.dtype
    assert np.array_equal(result.labels.ijk_to_ras, a_volume.ijk_to_ras)
    assert result.annotated == SLICES
    assert not result.labels.voxels[:3].any()
    assert not result.labels.voxels[21:].any()


def test_the_outline_alone_fills_ellipsoids(a_volume, a_truth, drawn):
    result = propagate_volume(a_volume, drawn(*SLICES), None, options(method="interpolate"))

    missing = [k for k in range(3, 21) if k not in SLICES]
    assert dice(result.labels.mask(1)[missing], a_truth.mask(1)[missing]) > 0.9
    # The smaller one is absent from 5 and 17, which were drawn without it.
    assert not result.labels.mask(2)[[3, 4, 18, 19]].any()
    assert result.labels.mask(2)[10:12].any()
    estimates = {estimate.value: estimate for estimate in result.estimates}
    assert estimates[1].dice is not None
    assert set(estimates[1].left_out) == set(SLICES)
    assert estimates[2].dice is None
    assert "at least 3" in estimates[2].text


def test_one_slice_is_enough(a_volume, a_model, drawn):
    result = propagate_volume(a_volume, drawn(12), a_model, PropagationOptions())

    assert result.labels.mask(1)[11].any()
    assert result.estimates[0].dice is None
    assert result.evidence == ()


def test_adjacent_slices(a_volume, a_model, drawn):
    result = propagate_volume(a_volume, drawn(10, 11, 12), a_model, PropagationOptions(adapt=False))

    assert result.labels.mask(1)[[8, 14]].any(axis=(1, 2)).all()


def test_the_reverse_order_of_slices_gives_the_reverse_result(a_volume, a_model, drawn):
    given = drawn(*SLICES)
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = a_volume.shape[0] - 1
    affine = a_volume.ijk_to_ras @ flip
    turned = Volume(a_volume.voxels[::-1].copy(), affine, modality="MR")
    labels = LabelMap(given.voxels[::-1].copy(), affine, given.segments)

    straight = propagate_volume(a_volume, given, a_model, options())
    reverse = propagate_volume(
        turned, labels, a_model, options(slices=tuple(23 - k for k in SLICES), first=23 - 20, last=23 - 3)
    )

    assert np.array_equal(straight.labels.voxels, reverse.labels.voxels[::-1])


def test_another_axis_gives_the_same(a_volume, a_model, drawn):
    given = drawn(*SLICES)
    # The old k axis becomes i: slices along i have rows k and columns j, which were j and i.
    order = (1, 2, 0)
    affine = a_volume.ijk_to_ras[:, [2, 0, 1, 3]]
    turned = Volume(a_volume.voxels.transpose(order), affine, modality="MR")
    labels = LabelMap(given.voxels.transpose(order), affine, given.segments)

    straight = propagate_volume(a_volume, given, a_model, options())
    other = propagate_volume(turned, labels, a_model, options(axis="i"))

    assert np.array_equal(straight.labels.voxels.transpose(order), other.labels.voxels)


def test_a_stopped_run_is_taken_up_again(a_volume, a_model, drawn, monkeypatch):
    given, cache, encoded = drawn(*SLICES), EmbeddingCache(), []
    original = type(a_model).encode
    monkeypatch.setattr(type(a_model), "encode", lambda self, batch: encoded.append(1) or original(self, batch))
    asked = iter(range(10**6))
    with pytest.raises(Cancelled):
        propagate_volume(a_volume, given, a_model, options(), cache=cache, cancelled=lambda: next(asked) > 30)
    kept = len(cache)
    steps = []
    resumed = propagate_volume(
        a_volume, given, a_model, options(), cache=cache, progress=lambda done, total: steps.append((done, total))
    )

    both_runs = len(encoded)
    whole = propagate_volume(a_volume, given, a_model, options())
    assert kept > 0
    assert len(encoded) - both_runs == both_runs, "the two runs encoded together what one would have"
    assert np.array_equal(resumed.labels.voxels, whole.labels.voxels)
    assert resumed.review == whole.review
    assert steps == [(n + 1, len(steps)) for n in range(len(steps))]


def test_direction(a_volume, drawn):
    forward = propagate_volume(a_volume, drawn(12), None, PropagationOptions(method="interpolate", direction="forward"))
    backward = propagate_volume(
        a_volume, drawn(12), None, PropagationOptions(method="interpolate", direction="backward")
    )

    assert {report.index > 12 for report in forward.slices} == {True}
    assert {report.index < 12 for report in backward.slices} == {True}


def test_other_segments_are_kept_and_not_drawn_over(a_volume, a_truth, drawn):
    voxels = drawn(*SLICES).voxels.copy()
    voxels[:, 18:22, 13:17] = 7
    labels = LabelMap(voxels, a_truth.ijk_to_ras)

    result = propagate_volume(
        a_volume, labels, None, options(method="interpolate", values=(1,), slices=SLICES, first=3, last=20)
    )

    assert np.array_equal(result.labels.mask(7), labels.mask(7))
    assert result.labels.mask(1)[11].any()
    assert not result.labels.mask(2)[11].any()


def test_what_was_drawn_on_unlisted_slices_is_replaced(a_volume, a_truth):
    voxels = a_truth.voxels.copy()
    voxels[22, 2:6, 2:6] = 1
    result = propagate_volume(
        a_volume, LabelMap(voxels, a_truth.ijk_to_ras), None, options(method="interpolate", first=3, last=20)
    )

    assert not result.labels.voxels[22].any()


def test_full_slices(a_volume, a_model):
    voxels = np.zeros(a_volume.shape, dtype=np.uint8)
    voxels[[4, 12]] = 1
    labels = LabelMap(voxels, a_volume.ijk_to_ras)

    result = propagate_volume(a_volume, labels, None, PropagationOptions(method="interpolate", first=4, last=12))
    assert result.labels.mask(1)[4:13].all()
    with_model = propagate_volume(a_volume, labels, a_model, PropagationOptions(first=4, last=12))
    assert with_model.labels.mask(1)[[4, 12]].all()


def test_review_and_next_slice(a_volume, a_model, drawn):
    result = propagate_volume(a_volume, drawn(5, 17), a_model, options(slices=(5, 17)))

    doubts = [report.doubt.pixels for report in result.review]
    assert doubts == sorted(doubts, reverse=True)
    assert sorted(result.review, key=lambda r: (r.index, r.value)) == list(result.slices)
    assert result.next_slice == 11
    for report in result.slices:
        assert sum(report.weights.values()) == pytest.approx(1)
        assert 0 <= report.doubt.disagreement <= 1


def test_bad_input(a_volume, a_truth, a_model, drawn):
    given = drawn(12)
    with pytest.raises(InputError, match="needs a model"):
        propagate_volume(a_volume, given, None, PropagationOptions(method="propagate"))
    with pytest.raises(InputError, match="Nothing is drawn"):
        propagate_volume(a_volume, given, a_model, PropagationOptions(slices=(2,)))
    with pytest.raises(GeometryError, match="outside of the volume"):
        propagate_volume(a_volume, given, a_model, PropagationOptions(slices=(40,)))
    with pytest.raises(GeometryError, match="correct --from"):
        propagate_volume(a_volume, given, a_model, PropagationOptions(first=20, last=3))
    with pytest.raises(InputError, match="Unknown method"):
        PropagationOptions(method="magic")
    small = LabelMap(a_truth.voxels[:5], a_truth.ijk_to_ras)
    with pytest.raises(GeometryError, match="resample"):
        propagate_volume(a_volume, small, a_model)


def test_a_model_without_masks_and_boxes_is_refused(a_volume, drawn, make_a_model):
    with pytest.raises(ModelError, match="neither masks nor boxes"):
        propagate_volume(a_volume, drawn(12), make_a_model(prompts=("point",)))


def test_the_few_shot_decoder_has_its_say(a_volume, a_model, drawn, monkeypatch):
    short = FitSettings(augmentations=1, steps=2, warm_steps=1, batch=1)
    monkeypatch.setattr("SAMFinetuneLogic.propagation.learning.FitSettings", lambda: short)
    given = drawn(*SLICES)

    alone = propagate_volume(a_volume, given, a_model, options(method="fewshot", measure=False))
    together = propagate_volume(a_volume, given, a_model, options(learn=True, jitter=False))

    assert np.array_equal(alone.labels.voxels[list(SLICES)], given.voxels[list(SLICES)])
    assert all(set(report.weights) <= {"fewshot", "interpolation"} for report in alone.slices)
    assert {each.candidate for each in together.evidence} >= {"fewshot", "appearance", "fused"}


def test_unknown_ends_are_said_unless_empty_slices_beyond_them_were_annotated(a_volume, drawn):
    def notices(**changes):
        labels = drawn(*SLICES)
        chosen = PropagationOptions(**{"method": "interpolate", "values": (1,), **changes})
        return propagate_volume(a_volume, labels, None, chosen).notices

    assert "was not given" in notices(slices=SLICES)[0]
    assert "was not given" in notices(slices=(1, *SLICES))[0]
    assert not notices(slices=(1, *SLICES, 22))
    assert not notices(slices=(1, *SLICES), last=20)
    assert not notices(slices=SLICES, first=3, last=20)
