import numpy as np
import pytest
import torch
from labelled_data import WINDOW, labelled_set, labelled_volume
from small_models import loaded, small_compact_sam, small_stock_sam, write_small_compact

from SAMFinetuneLogic.errors import Cancelled, InputError, ModelError
from SAMFinetuneLogic.finetuning import selfsupervised
from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.adapter_files import load_adapter, save_adapter
from SAMFinetuneLogic.finetuning.base_files import save_base
from SAMFinetuneLogic.finetuning.loop import train
from SAMFinetuneLogic.finetuning.memory import CHECKPOINTING_IS_ON
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.selfsupervised import (
    PretrainSettings,
    hidden_patches,
    pretrain,
    reconstruction_loss,
    unlabelled_slices,
)
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.finetuning.strategy import all_strategies
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.models.loading import load_model

SHORT = PretrainSettings(steps=6, epoch_steps=2, batch=2, warmup=1)


def a_set():
    return unlabelled_slices(labelled_volume()[0], WINDOW)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("build", [small_stock_sam, small_compact_sam])
def test_the_error_falls_and_only_the_encoder_changes(build):
    model = loaded(build())
    settings = PretrainSettings(steps=20, epoch_steps=5, batch=4, warmup=2, learning_rate=2e-3)
    network, record = pretrain(model, a_set(), settings)
    assert record.history[-1]["loss"] < record.history[0]["loss"]
    assert not same(network.image_encoder, model.network.image_encoder)
    assert same(network.mask_decoder, model.network.mask_decoder)


def test_three_quarters_of_the_patches_are_hidden():
    hidden = hidden_patches(5, 16, 0.75, torch.Generator().manual_seed(0))
    assert hidden.sum((1, 2, 3)).tolist() == [192] * 5
    assert not torch.equal(hidden[0], hidden[1])


def test_a_perfect_drawing_costs_nothing_and_what_is_seen_does_not_count():
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    content = torch.ones(2, 8, 8, dtype=torch.bool)
    hidden = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    hidden[:, :, :2] = True
    patches = inputs.view(2, 3, 4, 8, 4, 8)
    mean = patches.mean((1, 3, 5), keepdim=True)
    normalised = ((patches - mean) / (patches.var((1, 3, 5), keepdim=True) + 1e-6).sqrt()).view(2, 3, 32, 32)
    wrong_where_seen = normalised.clone()
    wrong_where_seen[:, :, 16:] = 99

    def loss(drawn):
        return reconstruction_loss(torch.nn.Identity(), lambda x: drawn, inputs, content, hidden)

    assert loss(normalised) < 1e-6 and loss(wrong_where_seen) < 1e-6
    assert loss(torch.zeros_like(inputs)) == pytest.approx(1, abs=0.02)


def test_the_encoder_is_not_shown_what_is_hidden():
    inputs = torch.ones(1, 3, 32, 32)
    hidden = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    hidden[0, 0, 1, 2] = True
    seen = []

    def encoder(x):
        seen.append(x)
        return x

    reconstruction_loss(encoder, torch.nn.Identity(), inputs, torch.ones(1, 8, 8, dtype=torch.bool), hidden)
    assert not seen[0][0, :, 8:16, 16:24].any() and seen[0].sum() == 3 * (32 * 32 - 64)


def test_a_stopped_training_resumes_to_the_same_encoder(tmp_path):
    model, data = loaded(small_compact_sam()), a_set()
    whole, _ = pretrain(model, data, SHORT)
    steps = []
    with pytest.raises(Cancelled):
        pretrain(model, data, SHORT, tmp_path, lambda e: steps.append(e["event"] == "step"), lambda: sum(steps) == 3)
    resumed, record = pretrain(model, data, SHORT, tmp_path)
    assert record.resumed_at == 2
    assert same(whole.image_encoder, resumed.image_encoder)


def test_out_of_memory_halves_the_batch_and_says_so():
    model = loaded(small_compact_sam())
    limit = 2

    def hungry(module, arguments):
        if len(arguments[0]) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    model.network.image_encoder.register_forward_pre_hook(hungry)  # goes into the copy that learns
    heard = []
    settings = PretrainSettings(steps=2, epoch_steps=2, batch=4, warmup=1)
    _, record = pretrain(model, a_set(), settings, listener=heard.append)
    notice = "Memory ran out: the batch of 4 slices now goes through in 2 parts."
    assert record.notices == (notice,) and [e["text"] for e in heard if e["event"] == "notice"] == [notice]
    _, whole = pretrain(loaded(small_compact_sam()), a_set(), settings)
    assert record.history[0]["loss"] == pytest.approx(whole.history[0]["loss"], rel=0.02)
    limit = 0
    with pytest.raises(ModelError, match="not enough memory to train on a single slice"):
        pretrain(model, a_set(), settings)


def test_without_memory_for_one_slice_the_encoders_blocks_are_computed_anew(monkeypatch):
    """As much memory as the way back needs with checkpointing, and not as much as without."""
    model = loaded(small_stock_sam())
    settings = PretrainSettings(steps=2, epoch_steps=2, batch=1, warmup=1)
    loss, kept = selfsupervised.reconstruction_loss, []

    def run(limit):
        kept.clear()

        def within_limit(*arguments):
            storages = {}

            def keep(tensor):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                kept.append(sum(storages.values()))
                if kept[-1] > limit:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                return loss(*arguments)

        monkeypatch.setattr(selfsupervised, "reconstruction_loss", within_limit)
        network, record = pretrain(model, a_set(), settings)
        return network, record.notices

    whole, notices = run(float("inf"))
    assert notices == ()
    saving, notices = run(max(kept) - 1)
    assert notices == (CHECKPOINTING_IS_ON,)
    for first, second in zip(whole.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-5)


def test_half_precision_learns_much_the_same_in_full_precision_weights():
    found = {}
    for precision in ("fp32", "bf16"):
        model = loaded(small_compact_sam())
        model.precision = precision
        network, record = pretrain(model, a_set(), SHORT)
        found[precision] = record.history[-1]["loss"]
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert found["fp32"] != found["bf16"]
    assert found["fp32"] == pytest.approx(found["bf16"], rel=0.02)


def test_a_damaged_checkpoint_starts_anew_and_says_so(tmp_path):
    model, data = loaded(small_compact_sam()), a_set()
    whole, _ = pretrain(model, data, SHORT)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    again, record = pretrain(model, data, SHORT, tmp_path)
    assert "starts anew" in record.notices[0] and same(whole, again)


def test_the_result_is_a_base_of_its_own(tmp_path):
    path = write_small_compact(tmp_path / "tiny.safetensors")
    base = load_model(path, "cpu")
    network, _ = pretrain(base, a_set(), SHORT)
    save_base(network, base, str(path), tmp_path / "new.safetensors", {"pretraining": {}})
    again = load_model(tmp_path / "new.safetensors", "cpu")
    assert same(again.network.image_encoder, network.image_encoder)
    assert again.preprocessing == base.preprocessing
    assert again.encoder_key != base.encoder_key


@pytest.mark.parametrize("strategy", all_strategies(), ids=lambda one: one.name)
def test_any_strategy_can_begin_from_it(tmp_path, strategy):
    path = write_small_compact(tmp_path / "tiny.safetensors")
    base = load_model(path, "cpu")
    network, _ = pretrain(base, a_set(), PretrainSettings(steps=1, epoch_steps=1, batch=1, warmup=1))
    save_base(network, base, str(path), tmp_path / "new.safetensors", {"pretraining": {}})
    new = load_model(tmp_path / "new.safetensors", "cpu")
    torch.manual_seed(0)
    adapted = adapt(new, strategy)
    settings = LoopSettings(steps=1, epoch_steps=1, batch=1, warmup=1, precision="fp32")
    train(adapted, new, labelled_set(), Split((0, 2, 4), (), (1, 3)), settings)
    save_adapter(adapted, tmp_path / "adapter", {})
    assert load_adapter(new, tmp_path / "adapter").strategy == strategy
    with pytest.raises(ModelError, match="was trained on"):
        load_adapter(base, tmp_path / "adapter")


def test_empty_slices_and_nothing_at_all():
    voxels = np.zeros((4, 10, 10), dtype=np.int16)
    voxels[2, 3:6] = 50
    data = unlabelled_slices(Volume(voxels, np.eye(4)), WINDOW)
    assert [entry.slice.index for entry in data.slices] == [2]
    with pytest.raises(InputError, match="no slices"):
        pretrain(loaded(small_compact_sam()), data.subset([]), SHORT)
    with pytest.raises(InputError, match="hidden patches"):
        PretrainSettings(mask_ratio=1)
