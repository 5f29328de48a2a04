"""Against segment_anything's own encoder with the same random weights."""

import copy

import pytest
import torch

from SAMFinetuneLogic.models.fast_attention import FoldedAttention, use_folded_attention
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling import ImageEncoderViT  # noqa: E402


def an_encoder(**changes):
    torch.manual_seed(3)
    settings = {
        "img_size": 320,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "out_chans": 16,
        "use_rel_pos": True,
        "window_size": 7,  # 20 tokens a side: windows need padding
        "global_attn_indexes": (1,),
    }
    encoder = ImageEncoderViT(**(settings | changes)).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "pos" in name:  # zero at the start: a wrong bias would go unnoticed
                parameter.normal_(0, 0.5)
    return encoder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"img_size": 640},  # 1600 tokens: the tiled path
        {"use_rel_pos": False},
        {"window_size": 0, "img_size": 96},
        {"num_heads": 1},
    ],
)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_equals_the_stock_encoder(changes, mode):
    stock = an_encoder(**changes)
    fast = copy.deepcopy(stock)
    assert use_folded_attention(fast) == 2
    image = torch.randn(2, 3, stock.img_size, stock.img_size)
    with mode():
        expected, actual = stock(image), fast(image)
    assert (actual - expected).norm() / expected.norm() < 1e-5
    assert (actual - expected).abs().max() / expected.abs().max() < 1e-4


def test_gradients_equal_the_stock_encoder():
    stock = an_encoder()
    fast = copy.deepcopy(stock)
    use_folded_attention(fast)
    image = torch.randn(1, 3, 320, 320)
    weights = torch.randn(1, 16, 20, 20)  # not a plain mean: behind the last norm its gradient vanishes
    for encoder in (stock, fast):
        (encoder(image) * weights).sum().backward()
    for (name, expected), actual in zip(stock.named_parameters(), fast.parameters(), strict=True):
        scale = expected.grad.abs().max().clamp(min=1e-6)
        assert (expected.grad - actual.grad).abs().max() / scale < 1e-3, name


def test_names_stay_and_strict_loading_works():
    stock = an_encoder()
    fast = an_encoder()
    use_folded_attention(fast)
    assert list(fast.state_dict()) == list(stock.state_dict())
    fast.load_state_dict(stock.state_dict(), strict=True)


def test_switching_twice_or_another_encoder_changes_nothing():
    encoder = an_encoder()
    use_folded_attention(encoder)
    assert use_folded_attention(encoder) == 0
    assert sum(isinstance(module, FoldedAttention) for module in encoder.modules()) == 2
    assert use_folded_attention(torch.nn.Linear(2, 2)) == 0


def test_rel_pos_of_another_grid_is_interpolated_as_in_stock():
    stock = an_encoder(use_rel_pos=True)
    with torch.no_grad():
        stock.blocks[1].attn.rel_pos_h = torch.nn.Parameter(torch.randn(15, 16))
        stock.blocks[1].attn.rel_pos_w = torch.nn.Parameter(torch.randn(15, 16))
    fast = copy.deepcopy(stock)
    use_folded_attention(fast)
    image = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        torch.testing.assert_close(fast(image), stock(image), atol=1e-4, rtol=1e-4)


def test_bf16_stays_close():
    stock = an_encoder()
    fast = copy.deepcopy(stock)
    use_folded_attention(fast)
    image = torch.randn(1, 3, 320, 320)
    with torch.inference_mode():
        expected = stock(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = fast(image).float()
    assert (actual - expected).norm() / expected.norm() < 0.03


def test_lora_wraps_the_linear_layers():
    peft = pytest.importorskip("peft", reason="needs peft")
    encoder = an_encoder()
    use_folded_attention(encoder)
    image = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        before = encoder(image)
    config = peft.LoraConfig(r=2, target_modules=r"blocks\.\d+\.attn\.(qkv|proj)", init_lora_weights=True)
    adapted = peft.get_peft_model(encoder, config)
    with torch.no_grad():
        torch.testing.assert_close(adapted(image), before)
    adapted(image).mean().backward()
    touched = [name for name, value in adapted.named_parameters() if value.grad is not None]
    assert len(touched) == 8 and all("lora_" in name for name in touched)
