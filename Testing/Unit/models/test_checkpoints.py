"""Right files in every wrapper, and a sentence for every kind of wrong one."""

import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.checkpoint_files import Checkpoint, read_checkpoint
from SAMFinetuneLogic.models.checkpoint_layouts import describe, recognise
from SAMFinetuneLogic.models.checkpoints import check_file, open_checkpoint
from SAMFinetuneLogic.models.networks import build_network, load_network, require_match
from SAMFinetuneLogic.models.tiny_vit import UNUSED_HEAD


def random_state(backbone, seed=0):
    """A state dict with the published names and shapes."""
    with torch.device("meta"):
        shapes = build_network(backbone).state_dict()
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.zeros(value.shape, dtype=value.dtype)
        if not value.is_floating_point()
        else torch.rand(value.shape, generator=generator) * 0.1 + 0.01
        for name, value in shapes.items()
    }


@pytest.fixture(scope="module")
def lite():
    """The smallest published layout: 39 MB."""
    return random_state("vit_t_256")


@pytest.fixture(scope="module")
def mobile():
    """MobileSAM's layout, with the head that nothing reads: 439 tensors."""
    head = {
        "image_encoder.norm_head.weight": torch.ones(320),
        "image_encoder.norm_head.bias": torch.ones(320),
        "image_encoder.head.weight": torch.ones(1000, 320),
        "image_encoder.head.bias": torch.ones(1000),
    }
    return random_state("vit_t") | head


def saved(path, content):
    torch.save(content, path)
    return path


WRAPPINGS = {
    "flat": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3, "optimizer": {"lr": 0.1}},
    "model_state": lambda state: {"model_state": state, "decoder_state": {"x.weight": torch.ones(2)}},
    "state_dict": lambda state: {"state_dict": state},
    "module.": lambda state: {f"module.{name}": value for name, value in state.items()},
    "sam.": lambda state: {"model_state": {f"sam.{name}": value for name, value in state.items()}},
    "module.sam.": lambda state: {f"module.sam.{name}": value for name, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappers_and_prefixes_are_recognised(lite, tmp_path, wrapping):
    path = saved(tmp_path / "lite.pth", WRAPPINGS[wrapping](lite))
    state = read_checkpoint(path).state
    assert state.keys() == lite.keys()
    assert all(torch.equal(state[name], lite[name]) for name in lite)


def test_published_layouts_load_strictly(lite, mobile, tmp_path):
    assert len(mobile) == 439
    opened = open_checkpoint(saved(tmp_path / "mobile_sam.pt", mobile))
    assert opened.backbone == "vit_t"
    loaded = opened.network.state_dict()
    assert loaded.keys() == {name for name in mobile if not name.startswith(UNUSED_HEAD)}
    assert all(torch.equal(loaded[name], mobile[name]) for name in loaded)
    opened = open_checkpoint(saved(tmp_path / "lite_medsam.pth", lite))
    assert opened.backbone == "vit_t_256" and opened.network.image_encoder.img_size == 256
    assert not any(tensor.is_meta for tensor in [*opened.network.parameters(), *opened.network.buffers()])


def test_safetensors_and_half_precision(lite, tmp_path):
    half = {name: value.half() if value.is_floating_point() else value for name, value in lite.items()}
    save_file(half, tmp_path / "lite.safetensors")
    network = open_checkpoint(tmp_path / "lite.safetensors").network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.fixture(scope="module")
def vit_b(tmp_path_factory):
    """An official-looking ViT-B file of random weights: 375 MB."""
    path = tmp_path_factory.mktemp("vit_b") / "sam_vit_b.pth"
    state = random_state("vit_b")
    torch.save(state, path)
    yield path, state
    path.unlink()


def test_an_official_checkpoint_equals_the_stock_model(vit_b):
    """The stock builder accepts the same file, and the decoders answer alike."""
    from segment_anything import sam_model_registry

    path, state = vit_b
    assert len(state) == 314
    ours = open_checkpoint(path).network
    stock = sam_model_registry["vit_b"](checkpoint=str(path))
    assert ours.state_dict().keys() == stock.state_dict().keys()
    assert torch.equal(ours.pixel_mean, stock.pixel_mean) and torch.equal(ours.pixel_std, stock.pixel_std)
    block = torch.randn(1, 14, 14, 768)
    with torch.no_grad():
        torch.testing.assert_close(ours.image_encoder.blocks[0](block), stock.image_encoder.blocks[0](block))
        answers = []
        for network in (ours, stock):
            points = (torch.tensor([[[300.0, 400.0]]]), torch.tensor([[1]]))
            sparse, dense = network.prompt_encoder(points=points, boxes=None, masks=None)
            embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(0))
            pe = network.prompt_encoder.get_dense_pe()
            answers.append(network.mask_decoder(embedding, pe, sparse, dense, multimask_output=True)[0])
    torch.testing.assert_close(*answers)


def test_another_backbone_than_expected(vit_b, lite, tmp_path):
    path, _ = vit_b
    with pytest.raises(ModelError, match=r"looks like a SAM with a ViT-B encoder, expected a SAM with a ViT-L"):
        open_checkpoint(path, "vit_l")
    with pytest.raises(ModelError, match=r"LiteMedSAM's TinyViT encoder, expected a SAM with a ViT-B"):
        check_file(saved(tmp_path / "x.pth", lite), find_entry("medicosam_vit_b"))
    check_file(path, find_entry("medicosam_vit_b"))


def test_incomplete_and_overfull_checkpoints(lite, tmp_path):
    fewer = {name: value for name, value in lite.items() if "iou_token" not in name}
    with pytest.raises(ModelError, match=r"1 tensors are missing \(mask_decoder.iou_token.weight\)"):
        open_checkpoint(saved(tmp_path / "fewer.pth", fewer))
    with pytest.raises(ModelError, match=r"1 are unknown \(extra.weight\)"):
        open_checkpoint(saved(tmp_path / "more.pth", lite | {"extra.weight": torch.ones(1)}))
    name = "prompt_encoder.no_mask_embed.weight"
    with pytest.raises(ModelError, match=r"another shape \(prompt_encoder.no_mask_embed.weight \(1, 128\) instead of"):
        open_checkpoint(saved(tmp_path / "shape.pth", lite | {name: torch.ones(1, 128)}))


def test_encoders_alone(lite, tmp_path):
    encoder = {name: value for name, value in lite.items() if name.startswith("image_encoder.")}
    with pytest.raises(ModelError, match=r"without a mask decoder.*fine-tuning"):
        open_checkpoint(saved(tmp_path / "encoder.pth", encoder))
    entry = replace(find_entry("finetune_sam_ssl_vit_b"), backbone="vit_t_256")
    check_file(tmp_path / "encoder.pth", entry)
    bare = {name.removeprefix("image_encoder."): value for name, value in encoder.items()}
    check_file(saved(tmp_path / "bare.pth", bare), entry)
    check_file(saved(tmp_path / "whole.pth", lite), entry)
    with pytest.raises(ModelError, match="expected the image encoder of a SAM with a ViT-B"):
        check_file(tmp_path / "encoder.pth", find_entry("finetune_sam_ssl_vit_b"))


class Trap:
    """Runs code when it is unpickled in the ordinary way."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('this file ran code')",))


def write(path, content):
    path.write_bytes(content)
    return path


def a_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "weights are elsewhere")
    return path


WRONG_FILES = {
    "HTML page": lambda p, s: write(p, b"\n<!DOCTYPE html><html><title>Google Drive</title>"),
    "git-lfs pointer": lambda p, s: write(p, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    "empty file": lambda p, s: write(p, b""),
    "XML document": lambda p, s: write(p, b"<?xml version='1.0'?><Error>AccessDenied</Error>"),
    "gzip file": lambda p, s: write(p, b"\x1f\x8b" + b"\0" * 100),
    "PNG picture": lambda p, s: write(p, b"\x89PNG\r\n\x1a\n" + b"\0" * 100),
    "text file": lambda p, s: write(p, b"hello"),
    "unknown kind": lambda p, s: write(p, bytes(range(256))),
    "truncated zip": lambda p, s: write(p, saved(p, s).read_bytes()[:-5000]),
    "holds no PyTorch checkpoint": lambda p, s: a_zip(p),
    "damaged or incomplete": lambda p, s: write(p, b"\x80\x02" + b"\xff" * 50),
    "besides tensors": lambda p, s: saved(p, {"model": s, "optimizer": Trap()}),
    "single Tensor": lambda p, s: saved(p, torch.ones(3)),
    "does not exist": lambda p, s: p.with_name("absent.pth"),
    "is a folder": lambda p, s: p.parent,
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_files_that_are_no_checkpoints(kind, tmp_path):
    path = WRONG_FILES[kind](tmp_path / "model.pth", {"a.weight": torch.randn(100, 100)})
    with pytest.raises(ModelError, match=kind) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_plain_pickle_runs_no_code(tmp_path):
    path = write(tmp_path / "model.pth", pickle.dumps(Trap()))
    with pytest.raises(ModelError):
        read_checkpoint(path)


def test_damaged_safetensors(tmp_path):
    save_file({"a": torch.ones(1000)}, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(ModelError, match="safetensors file that is damaged or incomplete"):
        read_checkpoint(write(tmp_path / "b.safetensors", content[:-100]))


def names(*keys):
    return Checkpoint({key: torch.zeros(2, 2) for key in keys})


VIT = "image_encoder.patch_embed.proj.weight"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((VIT, "mask_decoder.hf_token.weight"), "HQ-SAM"),
        ((VIT, "image_encoder.blocks.0.Adapter.channel.0.weight"), "SAM-Med2D checkpoint with adapters"),
        ((VIT, "image_encoder.blocks.0.MLP_Adapter.D_fc1.weight"), "finetune-SAM checkpoint with adapters"),
        ((VIT, "image_encoder.blocks.0.attn.qkv.linear_a_q.weight"), "finetune-SAM checkpoint with LoRA"),
        (("base_model.model.image_encoder.blocks.0.attn.qkv.lora_A.weight",), "LoRA adapter"),
        (("teacher.backbone.cls_token",), "DINO"),
        (("image_encoder.trunk.pos_embed",), "SAM 2"),
        (("vision_encoder.layers.0.attn.qkv.weight",), "Hugging Face"),
        (("layer1.0.conv1.weight",), "ResNet"),
        (("image_encoder.stages.0.weight", "mask_decoder.iou_token.weight"), "image encoder of another kind"),
        (("some.weight",), "another kind"),
        ((), "an empty checkpoint"),
    ],
)
def test_strangers_are_named(keys, expected, tmp_path):
    checkpoint = names(*keys)
    assert recognise(checkpoint) is None
    assert expected in describe(checkpoint)


def test_relatives_of_sam_are_named():
    tokens = {"mask_decoder.mask_tokens.weight": torch.zeros(3, 256)}
    base = {VIT: torch.zeros(768, 3, 16, 16), "image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}
    assert "for 2 classes" in describe(Checkpoint(base | tokens))
    four = {"mask_decoder.mask_tokens.weight": torch.zeros(4, 256)}
    assert describe(Checkpoint(base | four)) == "a SAM with a ViT-B encoder"
    small = {"image_encoder.pos_embed": torch.zeros(1, 16, 16, 768)}
    assert "256 x 256" in describe(Checkpoint(base | four | small))


def test_a_lora_adapter_file_is_named(tmp_path):
    save_file({"base_model.model.image_encoder.blocks.0.attn.qkv.lora_A.weight": torch.ones(2, 2)}, tmp_path / "a.st")
    with pytest.raises(ModelError, match="looks like a LoRA adapter"):
        open_checkpoint(tmp_path / "a.st")


def test_state_dicts_are_checked_by_name_and_shape():
    layer = torch.nn.Linear(2, 3)
    require_match(layer, layer.state_dict(), "it")
    with pytest.raises(ModelError, match="it does not fit"):
        require_match(layer, {"weight": torch.zeros(3, 2)}, "it")
    with pytest.raises(ModelError):
        load_network({"image_encoder.x": torch.from_numpy(np.zeros(1))}, "vit_t", "it")
