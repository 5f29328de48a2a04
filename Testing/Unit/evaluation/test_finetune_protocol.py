"""Adapting to a few slices of a volume, measured on the others."""

import json
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.cli.main import main
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.protocols import finetune as protocol
from SAMFinetuneLogic.evaluation.protocols.finetune import ADAPTED, IN_USE, UNET, FinetuneProtocol
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.unet import UNetSettings, train_unet
from SAMFinetuneLogic.finetuning.run import finetune
from SAMFinetuneLogic.finetuning.schedule import LoopSettings

QUICK = UNetSettings(size=32, channels=(8, 16, 32), residual_units=1, steps=60, batch=4, learning_rate=5e-3)


@pytest.fixture
def a_folder(tmp_path):
    """A CT of 16 slices with two balls (labels 3 and 5), and a picture, which has no other slices."""
    k, j, i = np.indices((16, 36, 40))
    labels = 3 * (((k - 7) / 6.5) ** 2 + ((j - 18) / 10) ** 2 + ((i - 12) / 10) ** 2 < 1)
    labels += 5 * (((k - 8) / 5.5) ** 2 + ((j - 18) / 7) ** 2 + ((i - 31) / 7) ** 2 < 1)
    gray = (labels > 0) * 80 + 30 + np.random.default_rng(0).normal(0, 5, labels.shape)
    folder = tmp_path / "data" / "body"
    folder.mkdir(parents=True)
    for name, voxels in (("image", gray.astype(np.int16)), ("label", labels.astype(np.uint8))):
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / f"{name}.nii.gz"))
    case = {"case": "body", "modality": "CT", "pairs": [{"image": "image.nii.gz", "label": "label.nii.gz"}]}
    (tmp_path / "data" / "manifest.json").write_text(json.dumps([case]))
    return tmp_path / "data"


@pytest.fixture
def short_trainings(monkeypatch):
    """The product's own way, with two steps; what was split and judged is kept."""
    calls = []

    def short(model, data, parts, strategy, settings, **others):
        result = finetune(model, data, parts, strategy, LoopSettings(steps=2, batch=1, warmup=1), **others)
        calls.append((data, parts, result))
        return result

    monkeypatch.setattr("SAMFinetuneLogic.finetuning.run.finetune", short)
    return calls


def _mean(report, method, metric):
    return report.mean(method, metric).mean


def a_model():
    return ModelSegmenter(loaded(small_compact_sam()))


def test_only_slices_that_nothing_was_learned_from_are_measured(a_folder, short_trainings, monkeypatch):
    tested = []
    measure = protocol._prompted

    def watched(structure, others, segmenter, count):
        tested.append((structure, others))
        return measure(structure, others, segmenter, count)

    monkeypatch.setattr(protocol, "_prompted", watched)
    report = evaluate(
        read_manifest(a_folder), FinetuneProtocol((4,), propagate=False), a_model(), Settings(baselines=False)
    )

    ((data, parts, result),) = short_trainings
    annotated = [entry.slice.index for entry in data.slices]
    assert annotated == [3, 6, 8, 11]  # linspace(0, 12, 6)[1:-1] over the 13 slices 1 to 13 that show a ball
    assert sorted((*parts.train, *parts.validation, *parts.gate)) == [0, 1, 2, 3] and len(parts.gate) == 2
    assert len(tested) == 4  # two structures, two networks
    for structure, others in tested:
        assert others == [k for k in structure.present if k not in annotated]
    assert report.methods == ["model", ADAPTED, IN_USE]
    used = ADAPTED if result.evidence.accepted else "model"
    assert _mean(report, IN_USE, "click_4") == _mean(report, used, "click_4")
    assert _mean(report, IN_USE, "accepted_4") == float(result.evidence.accepted)
    gain = _mean(report, ADAPTED, "click_4") - _mean(report, "model", "click_4")
    assert _mean(report, ADAPTED, "gain_4") == pytest.approx(gain)
    assert _mean(report, IN_USE, "gain_4") == pytest.approx(gain if result.evidence.accepted else 0)


def test_an_accepted_adapter_is_what_the_user_gets(a_folder, short_trainings, monkeypatch):
    monkeypatch.setattr("SAMFinetuneLogic.finetuning.gate.GAIN", -1.0)
    report = evaluate(
        read_manifest(a_folder), FinetuneProtocol((4,), propagate=False), a_model(), Settings(baselines=False)
    )
    assert _mean(report, IN_USE, "accepted_4") == 1
    assert _mean(report, IN_USE, "box_4") == _mean(report, ADAPTED, "box_4")


@pytest.mark.slow
def test_the_volume_is_filled_in_before_and_after_and_a_unet_learns_beside_it(a_folder, short_trainings, monkeypatch):
    pytest.importorskip("monai.networks.nets")
    monkeypatch.setattr("SAMFinetuneLogic.evaluation.unet.train_unet", partial(train_unet, settings=QUICK))
    report = evaluate(read_manifest(a_folder), FinetuneProtocol((4,)), a_model(), Settings(max_labels=1))
    assert report.methods == ["model", ADAPTED, IN_USE, UNET]
    assert _mean(report, "model", "filled_4") > 0.6
    assert 0 <= _mean(report, ADAPTED, "filled_4") <= 1
    assert _mean(report, UNET, "automatic_4") > 0.8


def test_the_options_belong_to_this_protocol(a_folder, capsys):
    assert main(["evaluate", str(a_folder), "--protocol", "box", "--shots", "3"]) != 0
    assert "--shots and --no-propagation belong to --protocol finetune" in capsys.readouterr().err
    with pytest.raises(InputError, match="adapts a model"):
        evaluate(read_manifest(a_folder), "finetune", None)
