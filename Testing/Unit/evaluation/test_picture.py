import numpy as np
import pytest

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.picture import picture_sheet
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.runner import evaluate


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
