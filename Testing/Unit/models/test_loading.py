"""From an id or a file to a model that encodes."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.files import sha256_of
from SAMFinetuneLogic.models import catalogue, loading, store
from SAMFinetuneLogic.models.compact import COMPACT_CONFIG, build_compact_sam
from SAMFinetuneLogic.models.fast_attention import FoldedAttention
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.models.networks import build_network
from SAMFinetuneLogic.models.preprocessing_rule import Preprocessing


@pytest.fixture(scope="module")
def lite_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "lite_medsam.pth"
    torch.save(build_network("vit_t_256").state_dict(), path)
    return path


@pytest.fixture
def known_lite(monkeypatch, lite_file):
    """A catalogue in which the file is the published LiteMedSAM."""
    known = dict(catalogue.load_catalogue())
    known["litemedsam_vit_t"] = replace(known["litemedsam_vit_t"], sha256=sha256_of(lite_file))
    for module in (catalogue, store, loading):
        monkeypatch.setattr(module, "load_catalogue", lambda: known)
    return known["litemedsam_vit_t"]


def test_by_id_from_a_folder_with_files_put_by_hand(known_lite, lite_file, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path))
    monkeypatch.setenv("SAMFINETUNE_MODELS", str(lite_file.parent))
    model = load_model("litemedsam_vit_t", device="cpu", precision="fp32")
    assert model.entry == known_lite and model.warnings == []
    assert model.weights_sha256 == known_lite.sha256
    assert model.embedding_shape == (256, 64, 64) and model.mask_size == (256, 256)
    embedding = model.encode(torch.rand(1, 3, 256, 256))
    assert embedding.shape == (1, 256, 64, 64) and embedding.dtype == torch.float32
    assert "LiteMedSAM" in model.description and "CPU" in model.description
    with pytest.raises(ModelError, match=r"\(B, 3, 256, 256\)"):
        model.encode(torch.rand(1, 3, 1024, 1024))


def test_by_id_from_a_named_folder(known_lite, lite_file):
    assert load_model("litemedsam_vit_t", "cpu", folder=lite_file.parent).entry == known_lite


def test_a_file_with_a_published_hash_is_that_model(known_lite, lite_file):
    model = load_model(lite_file, device="cpu")
    assert model.entry == known_lite and model.preprocessing.normalisation == "minmax"
    assert model.warnings == []


def test_an_unknown_file_says_which_preprocessing_is_assumed(lite_file):
    model = load_model(str(lite_file), device="cpu")
    assert model.preprocessing.size == 256
    assert any("not in the catalogue" in sentence and "LiteMedSAM" in sentence for sentence in model.warnings)


def test_an_unknown_tiny_vit_gets_sams_preprocessing(tmp_path):
    torch.save({"model": build_network("vit_t").state_dict()}, tmp_path / "mine.pth")
    model = load_model(tmp_path / "mine.pth", device="cpu")
    assert model.preprocessing == Preprocessing("sam", "longest_pad", 1024)
    assert "SAM's preprocessing is assumed" in model.warnings[0]


def test_a_changed_file_is_refused(known_lite, lite_file, tmp_path):
    (tmp_path / known_lite.filename).write_bytes(lite_file.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model("litemedsam_vit_t", "cpu", folder=tmp_path)


def a_compact_file(path, metadata):
    torch.manual_seed(0)
    config = dict(COMPACT_CONFIG)
    network = build_compact_sam(config)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, path, metadata={"samfinetune": json.dumps({"config": config} | metadata)})
    return network


def test_our_own_checkpoints_carry_their_configuration(tmp_path):
    network = a_compact_file(tmp_path / "ours.safetensors", {})
    model = load_model(tmp_path / "ours.safetensors", device="cpu")
    size = COMPACT_CONFIG["size"]
    assert model.entry.backbone == "compact" and model.preprocessing.size == size
    image = torch.rand(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(image), network.eval().image_encoder(image), atol=1e-4, rtol=1e-4)
    assert model.embedding_shape == tuple(model.encode(image).shape[1:])


def test_our_own_checkpoints_may_state_their_preprocessing(tmp_path):
    rule = Preprocessing("minmax", "longest_pad", COMPACT_CONFIG["size"], "centre")
    a_compact_file(tmp_path / "ours.safetensors", {"preprocessing": asdict(rule)})
    assert load_model(tmp_path / "ours.safetensors", device="cpu").preprocessing == rule


def test_attention_is_switched_for_sams_encoders(tmp_path, monkeypatch):
    from segment_anything.modeling import ImageEncoderViT

    small = ImageEncoderViT(img_size=64, embed_dim=8, depth=1, num_heads=1, use_rel_pos=True)

    def opened(path, expected=None):
        network = build_compact_sam(dict(COMPACT_CONFIG))
        network.image_encoder = small
        return loading.OpenedCheckpoint(network, "vit_b", {})

    monkeypatch.setattr(loading, "open_checkpoint", opened)
    (tmp_path / "x.pth").write_bytes(b"x")
    model = load_model(tmp_path / "x.pth", device="cpu", precision="bf16")
    assert isinstance(model.network.image_encoder.blocks[0].attn, FoldedAttention)
    assert model.precision == "bf16" and not model.network.training


def test_models_that_cannot_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path))
    monkeypatch.delenv("SAMFINETUNE_MODELS", raising=False)
    with pytest.raises(ModelError, match="neither a model nor a file"):
        load_model("no_such_model", "cpu")
    with pytest.raises(ModelError, match="models get sam_vit_b"):
        load_model("sam_vit_b", "cpu")
    with pytest.raises(ModelError, match="starting point for fine-tuning"):
        load_model("finetune_sam_ssl_vit_b", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="CUDA"):
        load_model("sam_vit_b", "cuda")
