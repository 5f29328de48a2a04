from dataclasses import replace

import numpy as np
import pytest

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.picture import _panel, picture_sheet
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.protocols.base import Answer
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.metrics import Click


@pytest.mark.parametrize("protocol", ["points", "box"])
def test_the_sheet_shows_three_rows_of_slices(a_manifest_file, a_segmenter, protocol):
    manifest = read_manifest(a_manifest_file)
    report = evaluate(manifest, protocol, a_segmenter, Settings(baselines=False))
    a_segmenter.log.clear()

    picture = np.asarray(picture_sheet(report, manifest, a_segmenter))

    ordered = sorted(report.results, key=lambda r: -r.scores["model"]["dice_5" if protocol == "points" else "dice"])
    shown = [ordered[0].key, ordered[2].key, ordered[-1].key]
    assert a_segmenter.opened[-3:] == shown
    prompts = [len(clicks) for clicks, _, _ in a_segmenter.log]
    assert prompts == [1, 2, 3, 4, 5] * 3 if protocol == "points" else prompts == [0] * 3
    assert picture.shape[0] > 400 and picture.std() > 10
    assert (picture == (255, 255, 255)).all(axis=-1).any()  # the truth is drawn in white


def test_baselines_alone_have_no_sheet(a_manifest_file, a_segmenter):
    manifest = read_manifest(a_manifest_file)

    with pytest.raises(InputError, match="evaluate a model"):
        picture_sheet(evaluate(manifest, "box", None), manifest, a_segmenter)


def test_a_close_up_shows_truth_prediction_and_prompts(a_manifest_file):
    target = case_targets(read_manifest(a_manifest_file).cases[0])[1]  # a ball of radius 6 about (18, 40) of (40, 50)
    prediction = np.zeros_like(target.mask)
    prediction[2:4, 30] = True

    panel = _panel(Answer(target, prediction, [Click(18, 20, positive=False)], box=(12, 34, 24, 46)), "a caption")

    assert panel.overlays[0].mask.sum() == 2
    assert panel.overlays[0].reference.sum() == target.mask.sum()
    row, col = panel.marks[0].points[0]
    offset = np.argwhere(panel.overlays[0].mask)[0] - (2, 30)
    assert (row, col) == (18 + offset[0], 20 + offset[1])
    assert panel.marks[0].boxes[0] == pytest.approx(np.array([12, 34, 24, 46]) + np.tile(offset, 2))


def test_a_small_structure_is_shown_large(a_manifest_file):
    target = case_targets(read_manifest(a_manifest_file).cases[2])[0]
    mask = np.zeros((400, 500), dtype=bool)
    mask[200:210, 300:312] = True
    pixels = np.random.default_rng(0).integers(0, 255, (1, 400, 500)).astype(np.uint8)
    target = replace(target, mask=mask, volume=replace(target.volume, voxels=pixels))

    panel = _panel(Answer(target, mask, [Click(205, 305)]), "")

    assert panel.pixels.shape == (10 + 2 * 9, 12 + 2 * 9)
    assert np.array_equal(panel.pixels, target.pixels[191:219, 291:321])
