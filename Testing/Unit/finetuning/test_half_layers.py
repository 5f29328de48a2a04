"""Steps in half precision with weights converted once, against autocast and peft alone."""

import pytest
import torch
from labelled_data import labelled_set
from safetensors.torch import load_file
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.adapter_files import save_adapter
from SAMFinetuneLogic.finetuning.batches import BatchMaker
from SAMFinetuneLogic.finetuning.half_layers import HalfLayers
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.steps import Stepper
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.finetuning.tiny_numbers import tiny_numbers_are_lost
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.models.preprocessing import Preprocessing

HALF = LoopSettings(steps=6, batch=2, warmup=1, precision="bf16", views=2)


def compact():
    preprocessing = Preprocessing("sam", "longest_pad", 64, coordinates="centre")
    return loaded(small_compact_sam(), backbone="compact", preprocessing=preprocessing, single_mask_first=True)


MAKERS = {"compact": compact, "stock": lambda: loaded(small_stock_sam())}


def answers(adapted, images, precision="bf16"):
    """Logits of one click on each image, in float32."""
    network = adapted.network
    clicks = (torch.tensor([[[20.0, 30.0]]]), torch.tensor([[1.0]]))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        sparse, dense = network.prompt_encoder(clicks, None, None)
        embeddings = adapted.encode_rest(adapted.encode_prefix(images)).float()
        position = network.prompt_encoder.get_dense_pe()
        return torch.cat(
            [network.mask_decoder.predict_masks(each[None], position, sparse, dense)[0].float() for each in embeddings]
        )


def way_back(adapted, images, precision="bf16"):
    """The answers and the gradients of what is trained."""
    adapted.network.zero_grad()
    logits = answers(adapted, images, precision)
    (logits - 1).square().mean().backward()
    trained = adapted.trainable_state()
    return {"answers": logits.detach(), **{n: p.grad.clone() for n, p in trained.items() if p.grad is not None}}


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def own_forwards(network):
    return [name for name, module in network.named_modules() if "forward" in module.__dict__]


def steps(make, settings, plain=False, count=4):
    """After some steps: the adapted model, its stepper and the losses."""
    model = make()
    torch.manual_seed(0)
    adapted = adapt(model, Strategy.of("lora"), "prompts", ("liver", "spleen"))
    stepper = Stepper(adapted, model, settings, plain)
    data = labelled_set()
    batches = BatchMaker(
        data, (0, 2, 4), ViewMaker(model, data.values), settings, prompted=True, pooled=adapted.starts_frozen
    )
    losses = [stepper.step(batches.batch(number), number)["loss"] for number in range(count)]
    return adapted, stepper, losses


@pytest.mark.parametrize("algorithm", ["adapter", "vanilla"])
def test_frozen_layers_give_the_same_bits(a_base, algorithm):
    adapted = adapt(a_base, Strategy.of(algorithm, "decoder" if algorithm == "vanilla" else "encoder_decoder"))
    expected = way_back(adapted, images())
    halves = HalfLayers(adapted.network, "cpu", torch.bfloat16)
    for _ in range(2):  # the second time with what the first has kept
        with halves.used():
            found = way_back(adapted, images())
        assert expected.keys() == found.keys() and len(found) > 1
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert halves.kept and all(weight.dtype == torch.bfloat16 for weight, _ in halves.kept.values())
    assert all(layer.weight.dtype == torch.float32 for layer in halves.kept)


def test_lora_is_as_near_to_full_precision_as_layer_by_layer(a_base):
    """On average over several changes and images: single cases go either way."""
    off: dict[str, list[float]] = {"answers": [], "answers alone": [], "way back": [], "way back alone": []}
    for seed in range(4):
        adapted = adapt(a_base, Strategy.of("lora"))
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in adapted.network.named_parameters():
                if ".lora_B" in name:
                    parameter.normal_(std=0.02)
        seen = torch.randn(2, 3, 64, 64)
        exact, alone = way_back(adapted, seen, "fp32"), way_back(adapted, seen)
        with HalfLayers(adapted.network, "cpu", torch.bfloat16).used():
            found = way_back(adapted, seen)
        assert found.keys() == exact.keys()
        assert not torch.equal(found["answers"], alone["answers"]), "it was not used"
        gradients = sorted(found.keys() - {"answers"})
        for what, names in (("answers", ["answers"]), ("way back", gradients)):
            off[what].append(distance(found, exact, names))
            off[f"{what} alone"].append(distance(alone, exact, names))
    mean = {what: sum(values) / len(values) for what, values in off.items()}
    assert mean["answers"] < 1.2 * mean["answers alone"] < 0.03
    # Where an activation flips to zero, a gradient changes much: 0.01 to 0.1 with and without.
    assert mean["way back"] < 0.2


def distance(found, exact, names):
    """Norm of the difference by the norm of what is exact."""
    difference = sum((found[name] - exact[name]).square().sum() for name in names)
    return float((difference / sum(exact[name].square().sum() for name in names)).sqrt())


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_training_goes_where_autocast_and_peft_alone_lead(make):
    """Losses and the way that the weights have gone are as near to those in fp32."""
    exact, _, exact_losses = steps(make, LoopSettings(**{**vars(HALF), "precision": "fp32"}), plain=True)
    alone, _, alone_losses = steps(make, HALF, plain=True)
    found, _, losses = steps(make, HALF)
    assert losses == pytest.approx(alone_losses, rel=0.01)
    assert losses == pytest.approx(exact_losses, rel=0.01)

    start = at_start(make)
    way, way_alone, own = (moved(each, start) for each in (exact, alone, found))
    assert 0 < (own - way).norm() < 1.2 * (way_alone - way).norm() + 0.02 * way.norm()
    assert torch.cosine_similarity(own, way_alone, dim=0) > 0.9


def at_start(make):
    torch.manual_seed(0)
    return adapt(make(), Strategy.of("lora"), "prompts", ("liver", "spleen")).trainable_state()


def moved(adapted, start):
    """What training has added to all trained weights, in one row."""
    return torch.cat([(p.detach() - start[n].detach()).flatten() for n, p in adapted.trainable_state().items()])


def test_nothing_is_left_behind_and_saved_or_merged_weights_are_the_bases(tmp_path):
    adapted, stepper, _ = steps(compact, HALF)
    base = adapted.base.network.state_dict()
    assert stepper.halves.kept and not own_forwards(adapted.network)

    frozen = {n: p for n, p in adapted.network.named_parameters() if not p.requires_grad}
    assert frozen
    for name, parameter in frozen.items():
        assert torch.equal(parameter, base[name.replace(".base_layer.", ".")]), name
    save_adapter(adapted, tmp_path, {})
    saved = load_file(tmp_path / "adapter.safetensors")
    trained = adapted.trainable_state()
    assert saved.keys() == trained.keys() and not frozen.keys() & saved.keys()
    assert all(torch.equal(value, trained[name]) and value.dtype == torch.float32 for name, value in saved.items())

    merged = adapted.merged().network.state_dict()
    assert merged.keys() == base.keys()
    changed = {name.partition(".base_layer.")[0] + ".weight" for name in frozen if ".base_layer." in name}
    for name, value in merged.items():
        if name in changed:
            layer = adapted.network.get_submodule(name.removesuffix(".weight"))
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            change = torch.einsum("or,ri...->oi...", up.double().flatten(1), down.double()) * 8 / 8**0.5
            torch.testing.assert_close(value.double(), base[name].double() + change, atol=1e-6, rtol=1e-5)
        elif name not in trained:
            assert torch.equal(value, base[name]), name


def test_frozen_layers_at_the_front_are_not_kept():
    adapted, stepper, _ = steps(compact, HALF)
    front = {"stem", "down4", "blocks4"}
    names = {module: name for name, module in adapted.network.named_modules()}
    kept = {names[layer] for layer in stepper.halves.kept}
    assert any(name.startswith("prompt_encoder.") for name in kept)
    assert not any(name.split(".")[:2] == ["image_encoder", part] for name in kept for part in front)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_in_full_precision_a_step_is_the_plain_one(make):
    """Frozen layers that run once and tiny numbers taken for zero leave rounding errors at most."""
    exact = LoopSettings(**{**vars(HALF), "precision": "fp32"})
    plain, _, expected = steps(make, exact, plain=True)
    found, stepper, losses = steps(make, exact)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert stepper.keeps_prefix and not tiny_numbers_are_lost()
    start = at_start(make)
    way, own = moved(plain, start), moved(found, start)
    assert float((own - way).norm() / way.norm()) < 0.01


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_with_checkpointing_nothing_is_kept_and_the_weights_are_the_same(make):
    plain, _, _ = steps(make, HALF)
    saving, stepper, _ = steps(make, LoopSettings(**{**vars(HALF), "checkpointing": True}))
    assert not stepper.halves.kept and not own_forwards(saving.network)
    expected = plain.trainable_state()
    assert all(torch.equal(expected[name], value) for name, value in saving.trainable_state().items())


def test_full_precision_is_left_alone(a_base):
    adapted = adapt(a_base, Strategy.of("lora"))
    with HalfLayers(adapted.network, "cpu", torch.float32).used():
        assert not own_forwards(adapted.network)
    with HalfLayers(adapted.network, "cpu", torch.bfloat16).used():
        assert own_forwards(adapted.network)
        expected = answers(adapted, images(), "fp32")
    assert torch.equal(expected, answers(adapted, images(), "fp32"))


def test_layers_are_as_before_after_an_error(a_base):
    adapted = adapt(a_base, Strategy.of("lora"))
    with pytest.raises(ZeroDivisionError), HalfLayers(adapted.network, "cpu", torch.bfloat16).used():
        raise ZeroDivisionError
    assert not own_forwards(adapted.network)
