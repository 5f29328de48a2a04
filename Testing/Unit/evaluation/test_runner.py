import numpy as np
import pytest

from SAMFinetuneLogic.errors import Cancelled, InputError
from SAMFinetuneLogic.evaluation.baselines.box import ellipse
from SAMFinetuneLogic.evaluation.manifest import Manifest, read_manifest
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.protocols import box as box_protocol
from SAMFinetuneLogic.evaluation.quick import quick_targets
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.metrics import dice, tight_box


@pytest.fixture
def a_manifest(a_manifest_file) -> Manifest:
    return read_manifest(a_manifest_file)


@pytest.mark.parametrize("protocol", ["points", "box"])
def test_every_structure_of_every_case_is_measured(a_manifest, a_segmenter, protocol):
    seen = []

    report = evaluate(a_manifest, protocol, a_segmenter, progress=lambda done, total: seen.append((done, total)))

    assert [(result.case, result.label) for result in report.results] == [
        ("abdomen", 1),
        ("abdomen", 2),
        ("brain", 1),
        ("brain", 1),
        ("film", 255),
    ]
    assert report.modalities == ["CT", "MR", "DX"]
    assert report.model == {"id": "growing", "radius": 8.0}
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for column in report.columns:
        assert report.mean("model", column.metric).cases == 3


def test_a_run_goes_on_after_the_last_finished_case(a_manifest, a_segmenter, tmp_path):
    calls = []

    def stop_in_the_second_case():
        calls.append(None)
        return "brain" in "".join(a_segmenter.opened)

    with pytest.raises(Cancelled):
        evaluate(
            a_manifest,
            "box",
            a_segmenter,
            Settings(baselines=False),
            results_folder=tmp_path,
            cancelled=stop_in_the_second_case,
        )
    a_segmenter.opened.clear()
    resumed = evaluate(a_manifest, "box", a_segmenter, Settings(baselines=False), results_folder=tmp_path)

    assert not any("abdomen" in key for key in a_segmenter.opened)
    whole = evaluate(a_manifest, "box", a_segmenter, Settings(baselines=False))
    assert resumed.to_json() == whole.to_json()
    a_segmenter.opened.clear()
    evaluate(a_manifest, "box", a_segmenter, Settings(baselines=False), results_folder=tmp_path)
    assert a_segmenter.opened == []


def test_another_model_does_not_take_over_results(a_manifest, a_segmenter, tmp_path):
    settings = Settings(baselines=False)
    evaluate(a_manifest, "box", a_segmenter, settings, results_folder=tmp_path)
    a_segmenter.radius, a_segmenter.opened = 5.0, []

    evaluate(a_manifest, "box", a_segmenter, settings, results_folder=tmp_path)

    assert len(a_segmenter.opened) == 5


def test_baselines_are_measured_once_for_all_models(a_manifest, a_segmenter, tmp_path, monkeypatch):
    calls = []

    def counted(image, box):
        calls.append(box)
        return ellipse(image, box)

    monkeypatch.setitem(box_protocol.BASELINES, "ellipse in the box", counted)
    first = evaluate(a_manifest, "box", a_segmenter, results_folder=tmp_path)
    a_segmenter.radius = 5.0
    second = evaluate(a_manifest, "box", a_segmenter, Settings(noisy_seeds=1), results_folder=tmp_path)
    alone = evaluate(a_manifest, "box", None, results_folder=tmp_path)

    assert len(calls) == 5
    assert second.methods == ["model", "model, noisy user", *alone.methods]
    for report in (first, second):
        for method in alone.methods:
            assert report.mean(method, "dice") == alone.mean(method, "dice")
    whole = evaluate(a_manifest, "box", a_segmenter, Settings(noisy_seeds=1))
    assert second.to_json() == whole.to_json()


def test_the_structures_of_a_case_are_counted(a_manifest, a_segmenter):
    seen = []

    evaluate(a_manifest, "box", a_segmenter, Settings(baselines=False), case_progress=lambda *step: seen.append(step))

    assert seen == [(0, 2), (1, 2), (0, 2), (1, 2), (0, 1)]


def test_baselines_alone_need_no_model(a_manifest):
    report = evaluate(a_manifest, "box", None)

    assert report.model is None
    assert report.methods == ["ellipse in the box", "random walker", "GrabCut"]


def test_nothing_to_do_is_an_error(a_manifest):
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate(a_manifest, "box", None, Settings(baselines=False))
    with pytest.raises(InputError, match="Unknown protocol 'boxes'; use one of points, box"):
        evaluate(a_manifest, "boxes", None)


@pytest.mark.data
def test_the_ellipse_scores_on_the_development_cases_what_others_found(a_data_folder):
    by_case: dict[str, list[float]] = {}
    for target in quick_targets(read_manifest(a_data_folder), max_labels=6):
        mask = ellipse(target.gray, tight_box(target.mask))
        by_case.setdefault(target.case, []).append(dice(target.mask, mask))

    assert np.mean([np.mean(dices) for dices in by_case.values()]) == pytest.approx(0.76, abs=0.02)


@pytest.mark.data
def test_a_rotated_header_changes_no_number(a_data_folder, a_segmenter):
    manifest = read_manifest(a_data_folder)
    chosen = tuple(case for case in manifest.cases if case.name in ("sts_003", "oblique_sts_003_mr"))

    for protocol in ("points", "box"):
        report = evaluate(Manifest(manifest.path, chosen), protocol, a_segmenter, Settings(baselines=False))
        straight = next(r for r in report.results if r.case == "sts_003" and r.modality == "MR")
        oblique = next(r for r in report.results if r.case == "oblique_sts_003_mr")
        assert oblique.scores["model"] == pytest.approx(straight.scores["model"], rel=1e-6)
