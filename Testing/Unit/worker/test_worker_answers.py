"""The process gives the same answers as the predictor, and the user interface needs no torch for them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.prompts import PointPrompt
from SAMFinetuneLogic.prompting.session import InteractiveSession, PredictionRequest
from SAMFinetuneLogic.prompting.session_state import Target
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.propagation.volume import propagate_volume
from SAMFinetuneLogic.worker import engine
from SAMFinetuneLogic.worker.answers import CutCandidates, CutMask
from SAMFinetuneLogic.worker.in_process import InProcessClient
from SAMFinetuneLogic.worker.packing import pack, unpack
from SAMFinetuneLogic.worker.requests import LabelledSlices, ModelChoice


@pytest.fixture(scope="session")
def a_predictor(a_checkpoint):
    return SlicePredictor(load_model(str(a_checkpoint), "cpu"), EmbeddingCache())


def assert_same(answer: CutCandidates, candidates) -> None:
    assert np.array_equal(answer.masks, candidates.masks)
    assert np.array_equal(answer.mask, candidates.mask)
    np.testing.assert_allclose(answer.logits, candidates.logits, atol=1e-4)
    np.testing.assert_allclose(answer.predicted_iou, candidates.predicted_iou, atol=1e-4)
    assert (answer.notices, answer.refined, answer.count) == (candidates.notices, candidates.refined, candidates.count)


@pytest.mark.parametrize("axis, index", [("k", 11), ("j", 20), ("i", 15)])
def test_points_give_the_predictors_answer(remote, ask, a_predictor, axis, index):
    image, request = ask(index, (10, 15), axis=axis)
    answer = remote.finish(remote.client.predict(image, request))
    assert_same(answer, predict_slice(a_predictor, a_predictor.embed(image), request.prompts))
    assert answer.next().chosen == 1 % answer.count


def test_boxes_masks_scribbles_and_an_earlier_mask_cross(remote, ask, a_predictor):
    image, _ = ask(9, (20, 20))
    mask = np.zeros(image.shape, dtype=bool)
    mask[10:30, 12:30] = True
    strokes = np.zeros(image.shape, dtype=np.float32)
    strokes[20, 15:25], strokes[2, 2:9] = 7, -7
    box = np.array([[9.0, 10.0, 31.0, 31.0]])
    earlier = np.random.default_rng(1).normal(0, 3, a_predictor.model.mask_size).astype(np.float32)
    points = (np.array([[20.0, 20.0]]), np.array([1]))
    for prompts, feedback in (
        (SlicePrompts(boxes=box), None),
        (SlicePrompts(*points, mask=mask), None),
        (SlicePrompts(*points, boxes=box, strokes=strokes), None),
        (SlicePrompts(*points), earlier),
    ):
        request = PredictionRequest(Target("ball", image.slice), 1, prompts, feedback)
        answer = remote.finish(remote.client.predict(image, request))
        assert_same(answer, predict_slice(a_predictor, a_predictor.embed(image), prompts, feedback))


def test_alternatives_are_as_sharp_as_asked_for(remote, ask, a_predictor):
    image, request = ask(11, (20, 20))
    embedded = a_predictor.embed(image)
    for alternatives in (False, True):
        asked = replace(request, alternatives=alternatives)
        answer = remote.finish(remote.client.predict(image, asked))
        assert_same(answer, predict_slice(a_predictor, embedded, request.prompts, refine_alternatives=alternatives))


def test_a_session_takes_the_answer(remote, ask, a_volume):
    image, _ = ask(11, (20, 20))
    session, target = InteractiveSession(a_volume), Target("ball", image.slice)
    for col in (20.0, 24.0):
        session.add_prompt("ball", "k", PointPrompt(tuple(a_volume.slice_to_ras(np.array([[11, 20.0, col]]), "k")[0])))
        request = session.request(target)
        assert session.apply_result(request, remote.finish(remote.client.predict(image, request)))
    assert request.feedback is not None
    shown = session.candidates(target)
    assert np.array_equal(session.accept(target), shown.mask)


def test_each_stage_is_timed(remote, ask):
    task = remote.client.predict(*ask(13, (20, 20)))
    remote.finish(task)
    assert {"waited", "queued", "embed", "decode", "cut", "pack", "child", "total"} <= set(task.times)
    assert task.times["total"] >= task.times["child"] >= task.times["decode"] > 0


def test_propagation_is_that_of_the_function(remote, a_volume, some_labels, a_predictor):
    options = PropagationOptions(jitter=False, adapt=False)
    steps = []
    task = remote.client.propagate(
        a_volume, some_labels, options, on_progress=lambda done, total: steps.append((done, total))
    )
    found = remote.finish(task)
    expected = propagate_volume(a_volume, some_labels, a_predictor.model, options, cache=a_predictor.cache)
    assert np.array_equal(found.labels.voxels, expected.labels.voxels)
    assert found.labels.segments == expected.labels.segments
    assert [report.index for report in found.review] == [report.index for report in expected.review]
    assert found.next_slice == expected.next_slice and found.window == expected.window
    assert steps == sorted(steps) and steps[-1][0] == steps[-1][1]
    assert task.progress == steps[-1]


def test_a_collection_is_made_fitted_and_applied(remote, a_volume, a_truth, tmp_path):
    client, path = remote.client, tmp_path / "ball.safetensors"
    with pytest.raises(InputError, match="no collection"):
        remote.finish(client.collect(path))
    info = remote.finish(client.collect(path, [LabelledSlices(a_volume, a_truth, (5, 11, 18))]))
    assert [entry.slice.index for entry in info.entries] == [5, 11, 18]
    assert info.entries[0].pixels.dtype == np.uint8 and info.entries[0].labels.any() and info.fit is None
    with pytest.raises(InputError, match="fit it first"):
        remote.finish(client.apply(path, a_volume))
    fit = remote.finish(client.fit(path, FitSettings(steps=4, augmentations=1)))
    assert fit.steps == 4 and len(fit.slices) == 3
    found = remote.finish(client.apply(path, a_volume, indices=[10, 12]))
    assert found.labels.shape == a_volume.shape and {entry.index for entry in found.slices} == {10, 12}
    copy = remote.finish(client.collect(tmp_path / "copy.safetensors", merge=[path]))
    assert copy.fit == replace(fit, losses=copy.fit.losses, seconds=copy.fit.seconds) and len(copy.entries) == 3
    less = remote.finish(client.collect(path, remove=[info.entries[0].identity]))
    assert [entry.slice.index for entry in less.entries] == [11, 18] and less.fit is not None
    assert remote.finish(client.fit(path)).warm


def test_errors_come_as_a_sentence_with_a_traceback(remote, a_volume, some_labels):
    empty = LabelMap(np.zeros_like(some_labels.voxels), some_labels.ijk_to_ras)
    task = remote.client.propagate(a_volume, empty, PropagationOptions())
    with pytest.raises(InputError, match="Nothing is drawn"):
        remote.finish(task)
    assert "Traceback" in task.error.__notes__[-1] and "propagate_volume" in remote.client.log_text()


def test_an_unknown_model_is_a_clear_error_and_the_next_one_loads(new_client, ask, a_choice):
    polled = new_client()
    heard = []
    task = polled.client.load(ModelChoice("no_such_model"), on_failure=heard.append)
    waiting = polled.client.predict(*ask(11, (20, 20)), on_failure=heard.append)
    with pytest.raises(ModelError, match="no_such_model"):
        polled.finish(task, waiting)
    assert len(heard) == 2 and polled.client.state == "failed"
    info = polled.finish(polled.client.load(a_choice))
    assert "tiny" in str(info) and polled.client.state == "ready"
    polled.finish(polled.client.predict(*ask(11, (20, 20))))


def test_an_adapter_that_is_missing_is_a_clear_error(new_client, a_choice, tmp_path):
    polled = new_client(InProcessClient())
    with pytest.raises(ModelError):
        polled.finish(polled.client.load(replace(a_choice, adapter=tmp_path / "none")))


def test_the_in_process_client_does_the_same(new_client, ask, a_choice, a_predictor, a_volume, some_labels):
    polled = new_client(InProcessClient())
    client = polled.client
    image, request = ask(11, (20, 20))
    older, newer = client.predict(image, request), client.predict(image, request)
    client.load(a_choice)
    answer = polled.finish(newer)
    assert older.state == "superseded" and older.answer is None
    assert_same(answer, predict_slice(a_predictor, a_predictor.embed(image), request.prompts))
    encoded = []
    client.focus(a_volume, SliceIndex("k", 3), image.window, 2, encoded.append)
    polled.until(lambda: len(encoded) == 5)
    assert [entry.index for entry in encoded] == [3, 4, 2, 5, 1]
    work = client.propagate(a_volume, some_labels, PropagationOptions(), on_progress=lambda *_: work.cancel())
    polled.until(lambda: work.finished)
    assert work.state == "cancelled"


def test_another_limit_of_the_cache_does_not_load_the_model_again(new_client, ask, a_choice, a_predictor, monkeypatch):
    loaded = []
    real = engine.load_model
    monkeypatch.setattr(engine, "load_model", lambda *given: loaded.append(given) or real(*given))
    polled = new_client(InProcessClient())
    image, request = ask(11, (20, 20))
    first = polled.finish(polled.client.load(a_choice))
    for limit in (1, 0):  # less than a single embedding takes: each click encodes its slice
        assert polled.finish(polled.client.load(replace(a_choice, cache_mb=limit))) == first
        answer = polled.finish(polled.client.predict(image, request))
        assert_same(answer, predict_slice(a_predictor, a_predictor.embed(image), request.prompts))
    assert len(loaded) == 1
    polled.finish(polled.client.load(replace(a_choice, cache_mb=0)))  # the same again: a fresh start
    polled.finish(polled.client.load(replace(a_choice, cache_mb=5, precision="fp32")))
    assert len(loaded) == 3


def test_label_maps_and_masks_survive_packing():
    rng = np.random.default_rng(0)
    voxels = np.where(rng.random((5, 12, 9)) > 0.9, 300, 0).astype(np.uint16)
    voxels[2] = 0
    labels = LabelMap(voxels, np.diag([1.0, 2.0, 3.0, 1.0]), name="x")
    back = unpack(pack({"labels": labels}), None, None)["labels"]
    assert np.array_equal(back.voxels, voxels) and back.segments == labels.segments and back.name == "x"
    assert np.array_equal(back.ijk_to_ras, labels.ijk_to_ras)
    assert vars(back).keys() == vars(labels).keys() and not back.voxels.flags.writeable
    for mask in (voxels[0] > 0, voxels[2] > 0):
        assert np.array_equal(CutMask.of(mask).full(), mask)


def test_the_clients_side_loads_no_torch():
    code = (
        "import sys, SAMFinetuneLogic.worker.client, SAMFinetuneLogic.worker.answers\n"
        "assert not {'torch', 'torchvision', 'segment_anything'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_slices_of_a_color_image_cross(remote, a_volume):
    pixels = np.random.default_rng(2).integers(0, 255, (1, 30, 34, 3), dtype=np.uint8)
    volume = Volume(pixels, np.eye(4))
    image = SliceImage.of(volume, SliceIndex("k", 0), choose_window(volume))
    request = PredictionRequest(
        Target("x", image.slice), 1, SlicePrompts(np.array([[10.0, 12.0]]), np.array([1])), None
    )
    assert remote.finish(remote.client.predict(image, request)).mask.shape == (30, 34)


def test_an_adapter_answers_as_its_merged_model(new_client, ask, a_choice, tmp_path):
    import torch

    from SAMFinetuneLogic.finetuning.adapt import adapt
    from SAMFinetuneLogic.finetuning.adapter_files import save_adapter
    from SAMFinetuneLogic.finetuning.strategy import parse_strategy

    adapted = adapt(load_model(a_choice.model, "cpu"), parse_strategy("lora-encoder-decoder"))
    state = adapted.trainable_state()
    noise = torch.Generator().manual_seed(0)
    adapted.load_trainable_state({n: v + 0.3 * torch.randn(v.shape, generator=noise) for n, v in state.items()})
    save_adapter(adapted, tmp_path / "adapter", {})
    polled = new_client(InProcessClient())
    image, request = ask(11, (20, 20))
    base = polled.finish(polled.client.load(a_choice), polled.client.predict(image, request))
    info = polled.finish(polled.client.load(replace(a_choice, adapter=tmp_path / "adapter")))
    answer = polled.finish(polled.client.predict(image, request))
    merged = SlicePredictor(adapted.merged(), EmbeddingCache())
    assert_same(answer, predict_slice(merged, merged.embed(image), request.prompts))
    assert info.adapter == tmp_path / "adapter" and not np.allclose(answer.logits, base.logits, atol=1e-2)
