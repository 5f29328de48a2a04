import json
from functools import partial

import numpy as np
import pytest
from small_cases import ball, write_volume
from small_models import loaded, small_compact_sam

import SAMFinetuneLogic.fewshot.fitting  # noqa: F401  its annotations need the class that is replaced below
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.baselines import few_labels
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings, regrouped
from SAMFinetuneLogic.evaluation.protocols.base import MODEL
from SAMFinetuneLogic.evaluation.protocols.fewshot import (
    LOGISTIC,
    PROMPTED_LOGISTIC,
    PROTOTYPES,
    FewShotProtocol,
    labelled_slices,
)
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.tables import format_report
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

SHAPE = (8, 40, 44)


@pytest.fixture
def a_manifest(tmp_path):
    """Two volumes with a bright ball, in other places, as two cases; and a third that shares nothing."""
    rng, content = np.random.default_rng(0), []
    for case, centre, name in (("a", (4, 14, 15), "ball"), ("b", (3, 22, 26), "ball"), ("c", (3, 22, 26), "else")):
        mask = ball(SHAPE, centre, 9).astype(np.uint8)
        write_volume(tmp_path / case / "image.nii.gz", (mask * 100 + 40 + rng.normal(0, 5, SHAPE)).astype(np.int16))
        write_volume(tmp_path / case / "label.nii.gz", mask)
        pair = {"image": "image.nii.gz", "label": "label.nii.gz"}
        content.append({"case": case, "modality": "MR", "label_names": {"1": name}, "pairs": [pair]})
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return read_manifest(tmp_path)


@pytest.fixture
def a_model_segmenter() -> ModelSegmenter:
    return ModelSegmenter(loaded(small_compact_sam().requires_grad_(False)))


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch):
    short = partial(FitSettings, augmentations=1, steps=2, batch=2)
    monkeypatch.setattr("SAMFinetuneLogic.fewshot.settings.FitSettings", short)


def test_all_methods_on_the_same_slices(a_manifest, a_model_segmenter, tmp_path):
    report = evaluate(a_manifest, "fewshot", a_model_segmenter, results_folder=tmp_path / "results")

    (result,) = report.results
    assert (result.case, result.name) == ("a to b", "ball")
    assert set(result.scores) == {MODEL, PROTOTYPES, LOGISTIC, PROMPTED_LOGISTIC}
    for scores in result.scores.values():
        assert set(scores) == {"dice_1", "dice_5"}
        assert all(0 <= value <= 1 for value in scores.values())
    # What is bright is told apart by any embedding: a regression on it is well above chance.
    assert result.scores[LOGISTIC]["dice_5"] > 0.5
    text = format_report(report)
    assert PROTOTYPES in text and "Dice, 5 slices" in text
    assert json.dumps(report.to_json())
    # A second run takes over what is finished, and gives the same.
    again = evaluate(a_manifest, "fewshot", a_model_segmenter, results_folder=tmp_path / "results")
    assert again.results == report.results


def test_the_picture_shows_what_was_measured(a_manifest, a_model_segmenter):
    protocol, settings = FewShotProtocol(), Settings(baselines=False)
    (case,) = regrouped(a_manifest, protocol).cases
    context = RunContext(settings, a_model_segmenter)
    (result,) = protocol.evaluate_case(case, context)

    answer = protocol.answer(case, result, context)

    assert answer.mask.shape == answer.target.mask.shape
    assert answer.target.slice.index == 3
    assert set(result.scores) == {MODEL}


def test_without_a_model_there_is_nothing_to_compare(a_manifest):
    with pytest.raises(InputError, match="give a loaded model"):
        evaluate(a_manifest, "fewshot", None)


def test_one_labelled_slice_shows_most_structures_then_most_voxels():
    voxels = np.zeros((6, 20, 20), dtype=np.uint8)
    voxels[1, :18] = 1
    voxels[2, :6], voxels[2, 8:10] = 1, 2
    voxels[4, :9], voxels[4, 10:14] = 1, 2
    labels = LabelMap(voxels, np.eye(4))

    assert labelled_slices(labels, 1) == (4,)
    assert labelled_slices(labels, 5) == (1, 2, 4)


def test_regression_on_embeddings_finds_the_bright_ball_in_another_image():
    model = loaded(small_compact_sam().requires_grad_(False))
    masks = [ball(SHAPE, centre, 9) for centre in ((4, 14, 15), (3, 22, 26))]
    first, second = (Volume((40 + 100 * mask).astype(np.float32), np.eye(4)) for mask in masks)
    window, predictor = Window(0.0, 200.0, "full"), SlicePredictor(model)
    collection = new_collection(first, LabelMap(masks[0].astype(np.uint8), np.eye(4)), [2, 4], model, "k", window)
    plane = Plane.of(second, "k", window)

    for learn in (few_labels.logistic_regression, few_labels.prompted_regression, few_labels.prototypes):
        shown = learn(collection, predictor)(predictor.embed(plane.image(3)))
        assert shown.probabilities.shape == (2, *SHAPE[1:])
        assert shown.values == (1,)
    found = plane.restore(few_labels.logistic_regression(collection, predictor)(predictor.embed(plane.image(3))).labels)
    assert dice(found == 1, masks[1][3]) > 0.5
