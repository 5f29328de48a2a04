import json

import numpy as np
import pytest

from SAMFinetuneLogic.cli.main import main
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.metrics import Click


@pytest.fixture(scope="module")
def a_checkpoint(tmp_path_factory):
    """A very small model of the default model's architecture, with random weights."""
    from small_models import write_small_compact

    return write_small_compact(tmp_path_factory.mktemp("model") / "small.safetensors")


@pytest.fixture
def a_model(a_checkpoint):
    from SAMFinetuneLogic.models.loading import load_model

    return load_model(a_checkpoint, "cpu")


def test_a_model_is_prompted_as_the_product_prompts_it(a_model, a_manifest_file):
    from SAMFinetuneLogic.prompting.cache import EmbeddingCache
    from SAMFinetuneLogic.prompting.placement import SlicePrompts
    from SAMFinetuneLogic.prompting.predictor import SlicePredictor
    from SAMFinetuneLogic.prompting.slice_image import SliceImage
    from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

    target = case_targets(read_manifest(a_manifest_file).cases[0])[0]
    predictor = SlicePredictor(a_model, EmbeddingCache())
    embedded = predictor.embed(SliceImage.of(target.volume, target.slice, target.window))
    points, labels = np.array([[18.0, 20.0], [3.0, 5.0]]), np.array([1, 0])
    box = np.array([[8.0, 10.0, 28.0, 30.0]])

    opened = ModelSegmenter(a_model).open(target)
    one = opened.predict([Click(18, 20)])
    two = opened.predict([Click(18, 20), Click(3, 5, positive=False)], feedback=one.mask_logits)
    boxed = opened.predict(box=(8, 10, 28, 30))

    expected_one = predict_slice(predictor, embedded, SlicePrompts(points[:1], labels[:1]))
    expected_two = predict_slice(predictor, embedded, SlicePrompts(points, labels), expected_one.mask_logits)
    expected_boxed = predict_slice(predictor, embedded, SlicePrompts(boxes=box))
    assert (one.count, two.count, boxed.count) == (4, 1, 4), (
        "a click and a box get the single answer and three candidates"
    )
    for answer, expected in ((one, expected_one), (two, expected_two), (boxed, expected_boxed)):
        np.testing.assert_allclose(answer.slice_logits, expected.slice_logits, atol=1e-5)
        np.testing.assert_allclose(answer.predicted_iou, expected.predicted_iou, atol=1e-5)


def test_the_description_tells_models_apart(a_model, a_checkpoint):
    import torch

    from SAMFinetuneLogic.files import sha256_of

    before = ModelSegmenter(a_model).description
    with torch.no_grad():
        next(iter(a_model.network.mask_decoder.parameters())).add_(0.1)
    after = ModelSegmenter(a_model).description

    assert before["sha256"] == after["sha256"] == sha256_of(a_checkpoint)
    assert before["weights"] != after["weights"]


def test_the_command_measures_a_model_and_overwrites_nothing(a_checkpoint, a_manifest_file, tmp_path, capsys):
    sheet, numbers = tmp_path / "sheet.png", tmp_path / "numbers.json"
    command = ["evaluate", str(a_manifest_file), "--protocol", "box", "--model", str(a_checkpoint)]
    command += ["--max-labels", "1", "--noisy", "2", "--device", "cpu", "--results", str(tmp_path / "runs")]
    command += ["--sheet", str(sheet), "--json", str(numbers), "--quiet"]
    command += ["--prompting", "pooled", "tokens", "--worst", "2", "--worst-sheet", str(tmp_path / "worst.png")]

    assert main(command) == 0

    out = capsys.readouterr().out
    content = json.loads(numbers.read_text())
    assert "model, noisy user" in out and "MR (1 case)" in out
    assert all(title in out for title in ("Dice", "IoU", "NSD 1 vx", "NSD 2 mm", "HD95 mm"))
    assert set(content["overall"]["model"]) == {"dice", "iou", "nsd", "nsd_mm", "hd95"}
    shown = ["model", "model, example slice", "model, noisy user", "model, tokens alone"]
    assert sorted(name for name in content["overall"] if name.startswith("model")) == shown
    assert all(name in out for name in shown)
    assert "Worst 2 cases by Dice" in out and len(content["worst"]["of_cases"]) == 2
    assert content["results"][0]["traits"]["input_side"] == pytest.approx(21 * 64 / 50)
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    assert [result["case"] for result in content["results"]] == ["abdomen", "brain", "film"]
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert json.loads(numbers.read_text()) == content


def test_the_manifest_is_never_written_over(a_checkpoint, a_manifest_file, tmp_path, capsys):
    before = a_manifest_file.read_bytes()
    command = ["evaluate", str(a_manifest_file.parent), "--protocol", "box", "--model", str(a_checkpoint), "--quiet"]

    assert main([*command, "--json", str(a_manifest_file), "--overwrite"]) == 2
    assert main([*command, "--json", str(tmp_path), "--overwrite"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert a_manifest_file.read_bytes() == before


def test_the_command_clicks_on_a_model(a_checkpoint, a_manifest_file, capsys):
    command = ["evaluate", str(a_manifest_file), "--protocol", "points", "--model", str(a_checkpoint)]

    assert main([*command, "--max-labels", "1", "--device", "cpu", "--no-baselines", "--quiet"]) == 0

    out, err = capsys.readouterr()
    titles = ("1 click", "3 clicks", "5 clicks", "5, NSD 1 vx", "5, NSD 2 mm", "5, HD95 mm")
    assert all(title in out for title in (*titles, "NoC 0.80", "NoC 0.85", "NoC 0.90"))
    assert "Spearman" in out and "watershed" not in out
    assert not err, "--quiet leaves the tables alone"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "none", "--sheet", "s.png"], "choose a model"),
        (["--model", "none", "--worst", "3"], "choose a model"),
        (["--prompting", "wishes"], "wishes"),
        (["--model", "none", "--no-baselines"], "nothing to evaluate"),
        (["--model", "no_such_model"], "neither a model nor a file"),
        (["--protocol", "circles"], "circles"),
        (["--max-labels", "0"], "above zero"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(a_manifest_file, capsys, options, message):
    assert main(["evaluate", str(a_manifest_file), *options]) == 2

    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1
