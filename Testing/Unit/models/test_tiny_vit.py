"""Against timm's TinyViT, renamed by rule to MobileSAM's names."""

import re

import pytest
import torch

from SAMFinetuneLogic.models.tiny_vit import TinyViT
from SAMFinetuneLogic.models.torch_compat import import_torchvision

import_torchvision()  # timm imports it


def randomised(module, seed=0):
    """Random statistics, norm weights and attention biases: their initial values would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(1 + 0.2 * noise.abs())
            elif "attention_biases" in name:
                tensor.copy_(noise)
            elif tensor.ndim == 1:
                is_weight = name.endswith("weight")
                tensor.copy_((1.0 if is_weight else 0.0) + 0.2 * noise)
            else:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
    return module.eval()


def timm_name(name):
    name = name.replace(".c.weight", ".conv.weight")
    name = name.replace("patch_embed.seq.0.", "patch_embed.conv1.").replace("patch_embed.seq.2.", "patch_embed.conv2.")
    name = re.sub(r"layers\.(\d)\.downsample", lambda match: f"stages.{int(match[1]) + 1}.downsample", name)
    return name.replace("layers.", "stages.")


def reference_for(encoder, lite):
    tiny_vit = pytest.importorskip("timm.models.tiny_vit", reason="needs timm as the reference")
    reference = tiny_vit.TinyVit(
        num_classes=0,
        embed_dims=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        num_heads=(2, 4, 5, 10),
        window_sizes=(7, 7, 14, 7),
        drop_path_rate=0.0,
    )
    reference.stages[3].downsample.conv2.conv.stride = (1, 1)
    reference.head = torch.nn.Identity()
    if lite:
        reference.patch_embed.conv1 = tiny_vit.ConvNorm(3, 32, 1, 1, 0)
        reference.patch_embed.conv2 = tiny_vit.ConvNorm(32, 64, 1, 1, 0)
    state = {timm_name(name): value for name, value in encoder.state_dict().items() if not name.startswith("neck.")}
    reference.eval()
    reference.load_state_dict(state, strict=True)
    return reference.eval()


@pytest.mark.parametrize(("stem_stride", "size"), [(4, 320), (4, 448), (1, 96)])
def test_equals_timm(stem_stride, size):
    encoder = randomised(TinyViT(size, stem_stride))
    reference = reference_for(encoder, lite=stem_stride == 1)
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = encoder.neck(reference.forward_features(image))
        actual = encoder(image)
    side = size // (4 * stem_stride)
    assert actual.shape == (2, 256, side, side)
    assert (actual - expected).abs().max() / expected.abs().max() < 1e-5


def test_counts_of_the_published_layouts():
    """298 tensors and 5,743,892 parameters (MobileSAM without its unused head), 5,726,740 (LiteMedSAM)."""
    mobile, lite = TinyViT(), TinyViT(256, stem_stride=1)
    assert len(mobile.state_dict()) == len(lite.state_dict()) == 298
    assert sum(parameter.numel() for parameter in mobile.parameters()) == 5_743_892
    assert sum(parameter.numel() for parameter in lite.parameters()) == 5_726_740


def test_the_bias_follows_weights_loaded_after_eval():
    encoder = randomised(TinyViT(64, stem_stride=1))
    late = TinyViT(64, stem_stride=1).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        late(image)
        late.load_state_dict(encoder.state_dict())
        torch.testing.assert_close(late(image), encoder(image))
