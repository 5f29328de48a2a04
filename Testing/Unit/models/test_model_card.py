"""The default model's card says what the weights and the code say."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import SAMFinetuneLogic
from SAMFinetuneLogic.models.compact_encoder import PIXEL_CHANNELS, STRIDE
from SAMFinetuneLogic.prompting import box_look, crops, islands, refine
from SAMFinetuneLogic.synthetic.training import LOG_STEPS

RESOURCES = Path(SAMFinetuneLogic.__file__).parent / "resources"
WEIGHTS = RESOURCES / "samfinetune_default.safetensors"


@pytest.fixture(scope="module")
def card():
    return " ".join((RESOURCES / "samfinetune_default.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def stored():
    """(metadata, number of parameters, types of the tensors)"""
    with safe_open(WEIGHTS, "pt") as stream:
        tensors = [stream.get_tensor(name) for name in stream.keys()]  # noqa: SIM118 - it is no mapping
        metadata = json.loads(stream.metadata()["samfinetune"])
    return metadata, sum(tensor.numel() for tensor in tensors), {str(tensor.dtype) for tensor in tensors}


def test_size_and_input_are_those_of_the_file(card, stored):
    metadata, count, types = stored
    size, width = metadata["config"]["size"], metadata["config"]["embed_dim"]
    assert f"{count / 1e6:.1f} million parameters" in card
    assert types == {"torch.float16"} and "stored in half precision" in card
    side = size // STRIDE
    assert f"input {size} x {size} pixels, embedding {width} x {side} x {side}" in card
    assert f"of which {PIXEL_CHANNELS} channels are the pixels themselves" in card
    assert WEIGHTS.stat().st_size < 20_000_000


def test_closer_looks_and_islands_are_those_of_the_code(card):
    assert f"an input of {box_look.BOX_INPUT} x {box_look.BOX_INPUT} pixels" in card
    assert f"about a box on a crop {crops.BOX_MARGIN} times as large" in card
    assert f"a crop {refine.CORRECTED_MARGIN} times as large" in card
    assert "islands of less than a twentieth of the largest part" in card and islands.SHARE == 1 / 20


def test_the_training_record_is_that_of_the_file(card, stored):
    record = stored[0]["training"]
    trainings = [*record["earlier"], record]
    assert len(trainings) == 4
    for number, training in enumerate(trainings):
        words = "minutes " if number == 0 else "more "
        assert f"{round(training['minutes'])} {words}({training['steps']:,} steps)" in card
        assert "no image of a patient" in training["data"]
        assert training["steps"] - training["history"][-1]["step"] < 5 * LOG_STEPS
    assert "No image of a patient was used" in card


def test_data_licence_limits_and_results_are_there(card):
    for words in ("Apache-2.0", "for research use only", "**Training data**", "## Results", "## Limits"):
        assert words in card
    for words in (
        "random walker",
        "watershed",
        "disc of the best radius",
        "inscribed ellipse",
        "GrabCut",
        "noisy user",
    ):
        assert words in card
