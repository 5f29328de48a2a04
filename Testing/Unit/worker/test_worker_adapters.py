"""Adapters in the process: on the model for prompts, and over volumes without them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from small_adapters import save_random_adapter

from SAMFinetuneLogic.errors import Cancelled, InputError, ModelError
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.finetuning.adapter_files import load_adapter, read_adapter
from SAMFinetuneLogic.finetuning.predicting import predict_volume
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.worker.in_process import InProcessClient

CLASSES = (Segment(2, "ball", (0.0, 0.6, 0.4)), Segment(5, "rest", (0.9, 0.6, 0.0)))
WINDOW = Window(0.0, 200.0, "custom")


@pytest.fixture(scope="session")
def an_automatic_adapter(a_checkpoint, tmp_path_factory):
    return save_random_adapter(a_checkpoint, tmp_path_factory.mktemp("automatic"), "automatic", CLASSES, WINDOW)


@pytest.fixture(scope="session")
def a_prompt_adapter(a_checkpoint, tmp_path_factory):
    return save_random_adapter(a_checkpoint, tmp_path_factory.mktemp("prompts"), "prompts", CLASSES, WINDOW)


@pytest.fixture(scope="session")
def expected(a_checkpoint, an_automatic_adapter, a_volume):
    base = load_model(str(a_checkpoint), "cpu")
    info = read_adapter(an_automatic_adapter)
    return predict_volume(load_adapter(base, an_automatic_adapter), info, base, a_volume)


def test_an_automatic_adapter_segments_a_volume(remote, a_volume, an_automatic_adapter, expected):
    steps = []
    task = remote.client.apply_adapter(an_automatic_adapter, a_volume, on_progress=lambda *step: steps.append(step))
    found = remote.finish(task)
    assert len(np.unique(expected.labels.voxels)) > 1  # random, but not empty
    # With random weights many classes are nearly equal: another number of threads may turn a few voxels over.
    assert (found.labels.voxels == expected.labels.voxels).mean() > 0.999
    assert found.labels.segments == expected.labels.segments == CLASSES
    assert (found.axis, found.window) == ("k", expected.window)
    assert steps[-1] == (24, 24)
    assert [(entry.index, entry.value) for entry in found.slices] == [(k, value) for k in range(24) for value in (2, 5)]
    for entry in found.slices:
        assert entry.pixels == (found.labels.voxels[entry.index] == entry.value).sum()


def test_its_doubt_is_what_the_softmax_of_its_classes_leaves(a_checkpoint, an_automatic_adapter, a_volume, expected):
    base = load_model(str(a_checkpoint), "cpu")
    adapted = load_adapter(base, an_automatic_adapter)
    adapted.eval_mode()
    index = 11
    image = Plane.of(a_volume, "k", WINDOW).image(index)
    transform = SliceTransform(image.shape, image.spacing, base.preprocessing)
    with torch.no_grad():
        logits = adapted.class_logits(adapted.network.image_encoder(transform.prepare(image.to_uint8())[None]))[0]
    shares = softmax(transform.logits_to_slice(logits).numpy().astype(np.float64), axis=0)
    labels = np.array([0, 2, 5])[shares.argmax(0)]
    for channel, value in ((1, 2), (2, 5)):
        found = next(entry for entry in expected.slices if (entry.index, entry.value) == (index, value))
        wrong = np.where(labels == value, 1 - shares[channel], shares[channel]).sum()
        assert wrong > 1 and found.doubtful_pixels == pytest.approx(wrong, rel=1e-3)


def test_it_lies_on_the_base_also_while_another_adapter_answers_prompts(
    new_client, ask, a_choice, a_volume, a_prompt_adapter, an_automatic_adapter, expected
):
    polled = new_client(InProcessClient())
    polled.finish(polled.client.load(a_choice))
    plain = polled.finish(polled.client.predict(*ask(11, (20, 20))))
    polled.finish(polled.client.load(replace(a_choice, adapter=a_prompt_adapter)))
    before = polled.finish(polled.client.predict(*ask(11, (20, 20))))
    assert not np.allclose(before.logits, plain.logits, atol=1e-3)
    found = polled.finish(polled.client.apply_adapter(an_automatic_adapter, a_volume))
    assert (found.labels.voxels == expected.labels.voxels).mean() > 0.999
    after = polled.finish(polled.client.predict(*ask(11, (20, 20))))
    np.testing.assert_allclose(after.logits, before.logits)


def test_it_can_be_stopped(new_client, a_choice, a_volume, an_automatic_adapter):
    polled = new_client(InProcessClient())
    polled.client.load(a_choice)
    work = polled.client.apply_adapter(an_automatic_adapter, a_volume, on_progress=lambda *_: work.cancel())
    with pytest.raises(Cancelled):
        polled.finish(work)
    assert work.progress[0] == 1


def test_the_wrong_kind_is_a_clear_error(new_client, a_choice, a_volume, a_prompt_adapter, an_automatic_adapter):
    polled = new_client(InProcessClient())
    polled.finish(polled.client.load(a_choice))
    with pytest.raises(InputError, match="needs prompts"):
        polled.finish(polled.client.apply_adapter(a_prompt_adapter, a_volume))
    with pytest.raises(ModelError, match="holds no adapter"):
        polled.finish(polled.client.apply_adapter(a_prompt_adapter.parent, a_volume))
    with pytest.raises(ModelError, match="takes no prompts"):
        polled.finish(polled.client.load(replace(a_choice, adapter=an_automatic_adapter)))
