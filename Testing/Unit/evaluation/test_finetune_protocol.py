"""Adapting to a few slices of a volume, measured on the others."""

import json
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import SimpleITK as sitk
from small_models import loaded, small_compact_sam, write_small_compact

from SAMFinetuneLogic.cli.main import main
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.picture import picture_sheet, worst_sheet
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings
from SAMFinetuneLogic.evaluation.protocols import finetune as protocol
from SAMFinetuneLogic.evaluation.protocols.finetune import ADAPTED, IN_USE, UNET, FinetuneProtocol
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.tables import format_report
from SAMFinetuneLogic.evaluation.unet import UNetSettings, train_unet
from SAMFinetuneLogic.evaluation.worst import find_worst
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.finetuning.run import finetune
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.metrics import dice, first_click, tight_box

QUICK = UNetSettings(size=32, channels=(8, 16, 32), residual_units=1, steps=60, batch=4, learning_rate=5e-3)


@pytest.fixture
def a_folder(tmp_path):
    """A CT of 16 slices with two balls (labels 3 and 5)."""
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


def test_only_slices_that_nothing_was_learned_from_are_measured(a_folder, short_trainings):
    model, manifest = a_model(), read_manifest(a_folder)
    tried = protocol.annotated_volume(manifest.cases[0])
    report = evaluate(manifest, FinetuneProtocol((4,), ("box",)), model, Settings(baselines=False))

    ((data, parts, result),) = short_trainings
    annotated = [entry.slice.index for entry in data.slices]
    assert annotated == [3, 6, 8, 11]  # linspace(0, 12, 6)[1:-1] over the 13 slices 1 to 13 that show a ball
    assert sorted((*parts.train, *parts.validation, *parts.gate)) == [0, 1, 2, 3] and len(parts.gate) == 2
    assert report.methods == ["model", ADAPTED, IN_USE]
    segmenters = {"model": model, ADAPTED: ModelSegmenter(result.adapted.merged())}
    for name, segmenter in segmenters.items():
        for number, found in enumerate(report.results):
            structure = tried.structures[number]
            others = [k for k in structure.present if k not in annotated]
            targets = [tried.target(number, k) for k in others]
            assert all(np.array_equal(t.mask, structure.truth[t.slice.index]) for t in targets)
            clicked = [dice(t.mask, segmenter.open(t).predict([first_click(t.mask)]).mask) for t in targets]
            boxed = [dice(t.mask, segmenter.open(t).predict(box=tight_box(t.mask)).mask) for t in targets]
            assert found.scores[name]["click_4"] == pytest.approx(np.mean(clicked))
            assert found.scores[name]["box_4"] == pytest.approx(np.mean(boxed))
    used = ADAPTED if result.evidence.accepted else "model"
    assert _mean(report, IN_USE, "click_4") == _mean(report, used, "click_4")
    assert _mean(report, IN_USE, "accepted_4") == float(result.evidence.accepted)
    gain = _mean(report, ADAPTED, "click_4") - _mean(report, "model", "click_4")
    assert _mean(report, ADAPTED, "gain_4") == pytest.approx(gain)
    assert _mean(report, IN_USE, "gain_4") == pytest.approx(gain if result.evidence.accepted else 0)


def test_an_accepted_adapter_is_what_the_user_gets(a_folder, short_trainings, monkeypatch):
    monkeypatch.setattr("SAMFinetuneLogic.finetuning.gate.GAIN", -1.0)
    monkeypatch.setattr("SAMFinetuneLogic.finetuning.gate.BOX_LOSS", 1.0)
    report = evaluate(read_manifest(a_folder), FinetuneProtocol((4,), ("box",)), a_model(), Settings(baselines=False))
    assert _mean(report, IN_USE, "accepted_4") == 1
    assert _mean(report, IN_USE, "box_4") == _mean(report, ADAPTED, "box_4")


def test_too_little_evidence_leaves_the_model_as_it_was(a_folder, short_trainings):
    report = evaluate(read_manifest(a_folder), FinetuneProtocol((3,), ()), a_model(), Settings(baselines=False))

    assert short_trainings[0][2].evidence.verdict == "not enough evidence"
    assert _mean(report, IN_USE, "gain_3") == _mean(report, IN_USE, "accepted_3") == 0
    assert _mean(report, ADAPTED, "gain_3") != 0
    assert "3 slices: 0 of 1 adapters accepted" in format_report(report)


def test_sheets_show_what_was_measured_with_other_numbers_of_slices(a_folder, short_trainings):
    model, manifest, way = a_model(), read_manifest(a_folder), FinetuneProtocol((4,), ())
    report = evaluate(manifest, way, model, Settings(baselines=False))
    one, other = report.results
    partly = replace(report, results=(one, replace(other, scores={"model": {"click_9": 0.5}})))

    for found, shown in ((report, 2), (partly, 1)):
        worst = find_worst(found, way.ranking, 5)
        assert len(worst.structures) == shown
        for picture in (picture_sheet(found, manifest, model, way), worst_sheet(worst, found, manifest, model, way)):
            assert np.asarray(picture).std() > 10


def test_the_command_draws_its_sheets_with_other_numbers_of_slices(a_folder, short_trainings, tmp_path, capsys):
    model = write_small_compact(tmp_path / "small.safetensors")
    command = ["evaluate", str(a_folder), "--protocol", "finetune", "--shots", "4", "--model", str(model), "--tasks"]
    pictures = [tmp_path / "sheet.png", tmp_path / "worst.png"]
    command += ["--sheet", str(pictures[0]), "--worst-sheet", str(pictures[1]), "--max-labels", "1", "--device", "cpu"]

    assert main(command) == 0, capsys.readouterr().err
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_each_number_of_slices_is_kept_by_itself(a_folder, short_trainings, tmp_path):
    model, manifest, settings = a_model(), read_manifest(a_folder), Settings(baselines=False)
    alone = evaluate(manifest, FinetuneProtocol((4,), ()), model, settings, results_folder=tmp_path / "kept")
    both = evaluate(manifest, FinetuneProtocol((4, 3), ()), model, settings, results_folder=tmp_path / "kept")

    assert [len(data.slices) for data, _, _ in short_trainings] == [4, 3], "not twice with four slices"
    assert len(list((tmp_path / "kept").iterdir())) == 2
    for name in ("model", ADAPTED, IN_USE):
        assert _mean(both, name, "click_4") == _mean(alone, name, "click_4")
        assert 0 <= _mean(both, name, "click_3") <= 1


def test_few_slices_of_large_structures_are_tried_and_none_without_annotation(a_folder, monkeypatch):
    volume = protocol.annotated_volume(read_manifest(a_folder).cases[0])
    assert volume.structures[0].present == tuple(range(1, 14)) and volume.structures[1].present == tuple(range(3, 14))
    assert volume.tried(1, (1, 2)) == (), "this structure is on neither"
    assert volume.tried(0, tuple(range(1, 14))) == ()
    monkeypatch.setattr("SAMFinetuneLogic.evaluation.annotated.MAX_TRIED", 3)
    assert volume.tried(0, (7,)) == (1, 8, 13)  # of 1 to 6 and 8 to 13 the first, one amid, the last


def test_few_shot_knows_the_structures_that_were_drawn_alone(a_folder, monkeypatch):
    monkeypatch.setattr("SAMFinetuneLogic.fewshot.fitting.FitSettings", partial(FitSettings, steps=2, augmentations=0))
    volume = protocol.annotated_volume(read_manifest(a_folder).cases[0])
    labels = protocol._fewshot(volume, (1, 2), a_model(), RunContext(Settings()))(8)  # label 5 begins on slice 3
    assert labels.shape == volume.volume.shape[1:]
    assert set(np.unique(labels)) <= {0, 1}


@pytest.mark.skipif(find_spec("monai") is None, reason="MONAI is not installed")
@pytest.mark.slow
def test_without_prompts_and_filled_in_before_and_after_with_a_unet_beside_it(a_folder, short_trainings, monkeypatch):
    monkeypatch.setattr("SAMFinetuneLogic.evaluation.unet.train_unet", partial(train_unet, settings=QUICK))
    monkeypatch.setattr("SAMFinetuneLogic.fewshot.fitting.FitSettings", partial(FitSettings, steps=10, augmentations=1))
    manifest, model = read_manifest(a_folder), a_model()
    tasks = ("automatic", "filled")
    report = evaluate(manifest, FinetuneProtocol((4,), tasks), model, Settings(max_labels=1))
    assert report.methods == ["model", ADAPTED, IN_USE, UNET]
    assert [column.metric for column in report.columns[:4]] == ["click_4", "automatic_4", "filled_4", "gain_4"]
    assert _mean(report, UNET, "automatic_4") > 0.8
    assert _mean(report, UNET, "seconds_4") > 0 and report.mean(UNET, "click_4") is None
    for name in ("model", ADAPTED):
        assert _mean(report, name, "automatic_4") > 0.5
        assert _mean(report, name, "filled_4") > 0.6


def test_the_options_belong_to_this_protocol(a_folder, capsys):
    for option in ("--shots", "3"), ("--tasks", "box"):
        assert main(["evaluate", str(a_folder), "--protocol", "box", *option]) != 0
        assert "--shots and --tasks belong to --protocol finetune" in capsys.readouterr().err
    with pytest.raises(InputError, match="adapts a model"):
        evaluate(read_manifest(a_folder), "finetune", None)
