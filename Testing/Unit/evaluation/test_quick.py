import pytest

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.quick import quick_scores, quick_targets
from SAMFinetuneLogic.evaluation.runner import evaluate


def test_quick_scores_are_those_of_the_protocols(a_manifest_file, a_segmenter):
    manifest = read_manifest(a_manifest_file)

    scores = quick_scores(a_segmenter, quick_targets(manifest))

    points, box = (evaluate(manifest, protocol, a_segmenter, Settings(6)) for protocol in ("points", "box"))
    assert scores == pytest.approx(
        {
            "dice_1": points.mean("model", "dice_1").mean,
            "dice_3": points.mean("model", "dice_3").mean,
            "dice_5": points.mean("model", "dice_5").mean,
            "box": box.mean("model", "dice").mean,
            "ellipse": box.mean("ellipse in the box", "dice").mean,
        }
    )
