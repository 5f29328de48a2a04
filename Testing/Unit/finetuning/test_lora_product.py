"""LoRA with the sum of the weights: the answers and gradients of peft's own layers, in double precision."""

import pytest
import torch

from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.lora import LoraLayer
from SAMFinetuneLogic.finetuning.lora_product import is_plain_lora, lora_product, summed_weight
from SAMFinetuneLogic.finetuning.strategy import Strategy


def lora_layers(base, **options):
    """All LoRA layers of a model in double precision, with changes that are not zero."""
    adapted = adapt(base, Strategy.of("lora", **options))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.network.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.3)
    return [module.double() for module in adapted.network.modules() if isinstance(module, LoraLayer)]


def an_input(layer):
    base = layer.get_base_layer()
    shape = (2, 7, base.in_features) if isinstance(base, torch.nn.Linear) else (2, base.in_channels, 9, 8)
    x = torch.randn(shape, dtype=torch.float64)
    return x if x.ndim == 3 else x.contiguous(memory_format=torch.channels_last)


def with_gradients(layer, x, compute):
    """The answer, and gradients of x and of the layer's own trained parameters by name."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    answer = compute(x)
    (answer * torch.linspace(-1, 1, answer.numel(), dtype=answer.dtype).view(answer.shape)).sum().backward()
    trained = {
        name: parameter.grad.clone() for name, parameter in layer.named_parameters() if ".base" not in f".{name}"
    }
    return {"answer": answer.detach(), "x": x.grad, **trained}


@pytest.mark.parametrize("preset", ["faithful", "recommended"])
def test_answers_and_gradients_are_those_of_peft(a_base, preset):
    layers = lora_layers(a_base, preset=preset)
    assert layers
    for layer in layers:
        assert is_plain_lora(layer)
        x, bias = an_input(layer), layer.get_base_layer().bias
        summed = summed_weight(layer, torch.float64)
        expected = with_gradients(layer, x, layer)
        found = with_gradients(layer, x, lambda x, layer=layer, s=summed, b=bias: lora_product(layer, x, s, b))
        assert expected.keys() == found.keys() and len(found) == 4
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-9, rtol=1e-9)


def test_the_sum_is_what_merging_gives(a_base):
    for layer in lora_layers(a_base):
        summed = summed_weight(layer, torch.float64)
        layer.merge()
        torch.testing.assert_close(summed, layer.get_base_layer().weight.detach(), atol=1e-12, rtol=0)


def test_first_layers_need_no_gradient_of_their_input(a_base):
    layer = lora_layers(a_base)[0]
    x = an_input(layer)
    lora_product(layer, x, summed_weight(layer, torch.float64), None).sum().backward()
    assert x.grad is None
    assert all(p.grad is not None for name, p in layer.named_parameters() if "lora_" in name)


def test_dora_is_left_to_peft(a_base):
    layers = lora_layers(a_base, dora=True)
    assert layers and not any(is_plain_lora(layer) for layer in layers)
