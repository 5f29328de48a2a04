"""Memory that runs out, and the key that tells encoders apart."""

import warnings

import pytest
import torch
from small_models import loaded, small_compact_sam
from torch import nn

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.weights_hash import hash_weights


class Greedy(nn.Module):
    """Encodes by pooling; raises like torch above a batch size, or always on one kind of device."""

    def __init__(self, most=100, starved="none", error=torch.OutOfMemoryError):
        super().__init__()
        self.most, self.starved, self.error = most, starved, error
        self.batches = []

    def forward(self, image):
        self.batches.append((image.device.type, image.shape[0]))
        if image.shape[0] > self.most or image.device.type == self.starved:
            raise self.error("CUDA out of memory. Tried to allocate 1 GiB")
        return nn.functional.avg_pool2d(image, 256)


def a_model(encoder, device="cpu", precision="fp32"):
    network = nn.Module()
    network.image_encoder = encoder
    network.mask_decoder = nn.Linear(2, 2) if device == "cpu" else nn.Identity()
    prompt_encoder = nn.Identity()
    network.prompt_encoder = prompt_encoder
    prompt_encoder.embed_dim, prompt_encoder.image_embedding_size = 3, (4, 4)
    prompt_encoder.mask_input_size = (16, 16)
    return LoadedModel(network, find_entry("sam_vit_b"), "0" * 64, torch.device(device), precision)


def test_a_batch_that_is_too_large_is_halved_and_the_limit_kept():
    encoder = Greedy(most=3)
    model = a_model(encoder)
    batch = torch.rand(10, 3, 1024, 1024)
    expected = nn.functional.avg_pool2d(batch, 256)
    torch.testing.assert_close(model.encode(batch), expected)
    assert [count for _, count in encoder.batches] == [10, 5, 2, 2, 2, 2, 2]
    encoder.batches.clear()
    torch.testing.assert_close(model.encode(batch[:4]), expected[:4])
    assert [count for _, count in encoder.batches] == [2, 2]
    assert model.warnings == []


def test_a_full_gpu_leads_to_the_cpu_with_a_warning():
    """The meta device stands in for the GPU: no memory can be had there."""
    encoder = Greedy(starved="meta")
    model = a_model(encoder, device="meta")
    batch = torch.rand(3, 3, 1024, 1024)
    with pytest.warns(RuntimeWarning, match="continues on the CPU"):
        result = model.encode(batch)
    torch.testing.assert_close(result, nn.functional.avg_pool2d(batch, 256))
    assert model.device == torch.device("cpu") and "CPU" in model.warnings[0] and len(model.warnings) == 1
    assert encoder.batches[:2] == [("meta", 3), ("meta", 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(batch)


def test_a_network_too_large_for_the_gpu_is_loaded_on_the_cpu():
    class Heavy(Greedy):
        moves = 0

        def _apply(self, function, recurse=True):
            self.moves += 1
            if self.moves == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self

    with pytest.warns(RuntimeWarning, match="continues on the CPU"):
        model = a_model(Heavy(), device="meta")
    assert model.device == torch.device("cpu")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_no_memory_at_all_is_a_sentence(error):
    with pytest.raises(ModelError, match="not enough memory"):
        a_model(Greedy(most=0, error=error)).encode(torch.rand(2, 3, 1024, 1024))


def test_other_errors_are_not_swallowed():
    class Broken(nn.Module):
        def forward(self, image):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        a_model(Broken()).encode(torch.rand(1, 3, 1024, 1024))


def test_an_empty_batch():
    assert a_model(Greedy()).encode(torch.empty(0, 3, 1024, 1024)).shape == (0, 3, 4, 4)


def test_the_encoder_key_follows_the_encoder_only():
    encoder = nn.Linear(3, 3)
    model = a_model(encoder)
    key = model.encoder_key
    assert model.encoder_key == key
    with torch.no_grad():
        model.network.mask_decoder.weight.add_(1)
    assert model.encoder_key == key
    with torch.no_grad():
        encoder.weight.add_(1)
    changed = model.encoder_key
    assert changed != key
    with torch.no_grad():
        encoder.weight.sub_(1)
    encoder.load_state_dict({name: value.clone() for name, value in encoder.state_dict().items()})
    model.precision = "bf16"
    assert model.encoder_key not in (key, changed)


def test_equal_weights_give_equal_keys_in_any_layout():
    torch.manual_seed(0)
    first = nn.Conv2d(4, 8, 3)
    second = nn.Conv2d(4, 8, 3)
    second.load_state_dict(first.state_dict())
    assert hash_weights(first) == hash_weights(second.to(memory_format=torch.channels_last))
    assert hash_weights(first) != hash_weights(first.double())


def test_adapters_change_the_key_and_switching_them_off_too():
    peft = pytest.importorskip("peft", reason="needs peft")
    encoder = nn.Sequential(nn.Linear(4, 4))
    model = a_model(encoder)
    keys = [model.encoder_key]
    adapted = peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["0"]), encoder)
    keys.append(model.encoder_key)
    adapted[0].enable_adapters(False)
    keys.append(model.encoder_key)
    adapted[0].enable_adapters(True)
    assert len(set(keys)) == 3 and model.encoder_key == keys[1]


def test_a_finer_model_shares_the_weights_where_they_allow_it():
    compact_model = loaded(small_compact_sam())
    assert a_model(Greedy()).finer(96) is None
    finer = compact_model.finer(96)
    assert finer.preprocessing.size == 96 and compact_model.preprocessing.size == 64
    assert finer.mask_size == (96, 96) and compact_model.mask_size == (64, 64)
    assert finer.encode(torch.zeros(1, 3, 96, 96)).shape[1:] == finer.embedding_shape == (32, 24, 24)
    assert finer.encoder_key == compact_model.encoder_key and finer.provenance == compact_model.provenance
    assert compact_model.encode(torch.zeros(1, 3, 64, 64)).shape[1:] == compact_model.embedding_shape
