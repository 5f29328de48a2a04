import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import SimpleITK as sitk
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.baselines import contours, embeddings
from SAMFinetuneLogic.evaluation.baselines import slices as baselines
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.protocols.propagate import NO_NETWORK, OUTLINE, PropagateProtocol, _task
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.structures import case_structures
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor


@pytest.fixture
def a_volume_manifest(tmp_path):
    """One CT of 20 slices with a ball on 13 of them (label 1), and a structure on too few slices (label 2)."""
    k, j, i = np.indices((20, 36, 40))
    labels = (((k - 9) / 6.5) ** 2 + ((j - 18) / 10) ** 2 + ((i - 16) / 10) ** 2 < 1).astype(np.uint8)
    labels[2:7, 2:10, 28:38] = 2
    gray = (labels == 1) * 80 + 30 + np.random.default_rng(0).normal(0, 5, labels.shape)
    folder = tmp_path / "data" / "body"
    folder.mkdir(parents=True)
    for name, voxels in (("image", gray.astype(np.int16)), ("label", labels)):
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    case = {"case": "body", "modality": "CT", "pairs": [{"image": "image.nii.gz", "label": "label.nii.gz"}]}
    (tmp_path / "data" / "manifest.json").write_text(json.dumps([case]))
    return read_manifest(tmp_path / "data")


@pytest.fixture
def a_structure(a_volume_manifest):
    return next(case_structures(a_volume_manifest.cases[0]))


def test_structures_and_their_annotated_slices(a_volume_manifest, a_structure):
    structures = list(case_structures(a_volume_manifest.cases[0]))

    assert [structure.target.label for structure in structures] == [1]
    assert a_structure.present == tuple(range(3, 16))
    assert a_structure.annotated(1) == (9,)
    assert a_structure.annotated(3) == (6, 9, 12)  # linspace(3, 15, 5)[1:-1]
    assert len(a_structure.annotated(9)) == 9


def test_interpolation_holds_the_outermost_outline(a_structure):
    filled = baselines.interpolation(_task(a_structure, (6, 12), True))

    assert np.array_equal(filled[3], a_structure.truth[6])
    assert np.array_equal(filled[15], a_structure.truth[12])
    assert not filled[:3].any()
    assert not filled[16:].any()


@pytest.mark.slow  # importing ITK's package alone takes many seconds
def test_contour_interpolation_is_that_of_itk(a_structure, monkeypatch):
    if find_spec("itk") is None:
        pytest.skip("ITK's own package is not installed")
    monkeypatch.delitem(sys.modules, "itk", raising=False)  # another test may have brought it
    filled = baselines.contour_interpolation(_task(a_structure, (6, 9, 12), True))

    missing = [7, 8, 10, 11]
    assert dice(filled[missing], a_structure.truth[missing]) > 0.85
    assert np.array_equal(filled[3], a_structure.truth[6])
    assert np.array_equal(filled[9], a_structure.truth[9])
    assert not filled[16:].any()
    assert "itk" not in sys.modules  # it aborts an interpreter that has SimpleITK and VTK too


def test_without_itk_the_message_says_what_to_install(a_structure, monkeypatch, tmp_path):
    (tmp_path / "itk.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    contours.contour_process.cache_clear()
    try:
        with pytest.raises(InputError, match="itk-morphologicalcontourinterpolation"):
            baselines.contour_interpolation(_task(a_structure, (6, 9, 12), True))
    finally:
        contours.contour_process.cache_clear()


def test_the_networks_own_baselines(a_structure):
    predictor = SlicePredictor(loaded(small_compact_sam().requires_grad_(False)), EmbeddingCache())
    task = _task(a_structure, (6, 9, 12), True)
    for fill in (embeddings.box_to_box, embeddings.embedding_classifier):
        filled = fill(task, predictor)
        assert filled.shape == a_structure.truth.shape
        assert filled.dtype == bool
        assert np.array_equal(filled[[6, 9, 12]], a_structure.truth[[6, 9, 12]])
        assert not filled[:3].any()
        assert not filled[16:].any()
    # The ball is bright: its cells are told apart by any embedding.
    assert dice(filled[[7, 8, 10, 11]], a_structure.truth[[7, 8, 10, 11]]) > 0.5


def test_grow_from_seeds_follows_the_contrast(a_structure):
    slicer = pytest.importorskip("slicer")
    if not hasattr(slicer, "vtkImageGrowCutSegment"):
        pytest.skip("this slicer-core has no vtkImageGrowCutSegment")
    filled = baselines.grow_from_seeds(_task(a_structure, (6, 9, 12), True))

    missing = [7, 8, 10, 11]
    assert dice(filled[missing], a_structure.truth[missing]) > 0.8


def test_the_protocol_without_a_model(a_volume_manifest, monkeypatch):
    only = {"interpolation": baselines.interpolation}
    monkeypatch.setattr("SAMFinetuneLogic.evaluation.protocols.propagate.BASELINES", only)

    report = evaluate(a_volume_manifest, PropagateProtocol(), None, Settings())

    (result,) = report.results
    assert set(result.scores) == {NO_NETWORK, OUTLINE, "interpolation"}
    held, outline = result.scores["interpolation"], result.scores[OUTLINE]
    assert outline["given_1"] > held["given_1"] + 0.05
    assert held["beyond_3"] > outline["beyond_3"]
    assert {f"{form}_{count}" for form in ("given", "open") for count in (1, 3, 5, 9)} <= set(held)
    assert 0 <= outline["promise_3"] < 0.2
    # Held constant outwards, the outline of slice 6 is far from the ball's tip.
    assert outline["ends_3"] > held["ends_3"] > 0
    assert 0 <= outline["review_3"] <= 1


@pytest.mark.data
def test_interpolation_scores_what_an_independent_run_gave(a_data_folder):
    expected = {1: 0.588, 3: 0.732, 5: 0.782, 9: 0.816}
    by_case: dict[str, dict[int, list[float]]] = {}
    for case in read_manifest(a_data_folder).cases:
        for structure in case_structures(case):
            for count in expected:
                task = _task(structure, structure.annotated(count), True)
                if task.missing:
                    found = dice(structure.truth[task.missing], baselines.interpolation(task)[task.missing])
                    by_case.setdefault(case.name, {}).setdefault(count, []).append(found)

    assert len(by_case) == 14
    for count, value in expected.items():
        mean = np.mean([np.mean(scores[count]) for scores in by_case.values()])
        assert mean == pytest.approx(value, abs=0.02)


def test_baselines_without_a_model_are_measured_once_for_all_models(a_volume_manifest, tmp_path, monkeypatch):
    calls = []

    def counted(task):
        calls.append(task)
        return baselines.interpolation(task)

    monkeypatch.setattr(
        "SAMFinetuneLogic.evaluation.protocols.propagate.BASELINES", {"interpolation": counted}, raising=True
    )
    alone = evaluate(a_volume_manifest, "propagate", None, results_folder=tmp_path)
    measured = len(calls)
    model = ModelSegmenter(loaded(small_compact_sam()))
    both = evaluate(a_volume_manifest, "propagate", model, results_folder=tmp_path)

    assert measured == len(calls) == 2 * 4  # given and open, for 1, 3, 5 and 9 slices
    assert both.methods[0] == "model" and "box to box" in both.methods
    for method in alone.methods:
        assert both.mean(method, "given_3") == alone.mean(method, "given_3")
