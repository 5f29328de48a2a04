"""All strategies on all backbones: what is trained, where they start, merging, saving; counts at full size."""

from functools import partial

import pytest
import torch

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.finetuning.adapt import adapt, new_parameter_names, prepare_network
from SAMFinetuneLogic.finetuning.adapter_files import load_adapter, read_adapter, save_adapter
from SAMFinetuneLogic.finetuning.encoder_stages import EncoderStages
from SAMFinetuneLogic.finetuning.strategy import Strategy, all_strategies, parse_strategy
from SAMFinetuneLogic.models.tiny_vit import TinyViT
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

EVERY = [*all_strategies("faithful"), *all_strategies("recommended")]
named = pytest.mark.parametrize("strategy", EVERY, ids=lambda strategy: strategy.name)
VARIANTS = {
    "dora": Strategy.of("lora", dora=True),
    "rslora": Strategy.of("lora", preset="faithful", rslora=True),
    "random adapters": Strategy.of("adapter", zero_init=False, whole="none"),
}
with_variants = pytest.mark.parametrize(
    "strategy", [*EVERY, *VARIANTS.values()], ids=[*(strategy.name for strategy in EVERY), *VARIANTS]
)
SIZE = 64


def answers(network, embeddings):
    """Logits for one click on each image, all four outputs."""
    clicks = (torch.tensor([[[20.0, 30.0]]]), torch.tensor([[1.0]]))
    sparse, dense = network.prompt_encoder(clicks, None, None)
    position = network.prompt_encoder.get_dense_pe()
    return torch.cat(
        [network.mask_decoder.predict_masks(each[None], position, sparse, dense)[0] for each in embeddings]
    )


def images(count=2):
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


@with_variants
def test_it_trains_what_it_should_and_goes_back(a_base, strategy):
    before = {name: value.clone() for name, value in a_base.network.state_dict().items()}
    adapted = adapt(a_base, strategy)
    torch.manual_seed(0)
    trained = adapted.trainable_state()
    parts = {name.split(".")[0] for name in trained}
    assert parts == ({"image_encoder", "mask_decoder"} if strategy.trains_encoder else {"mask_decoder"})
    if strategy.algorithm == "vanilla":
        assert not new_parameter_names(adapted.network)

    with torch.no_grad():
        plain = a_base.network.image_encoder(images())
        started = adapted.encode_rest(adapted.encode_prefix(images()))
        if strategy.algorithm != "adapter" or strategy.zero_init:
            torch.testing.assert_close(started, plain, atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(answers(adapted.network, plain), answers(a_base.network, plain))

    frozen = {n: p.clone() for n, p in adapted.network.named_parameters() if not p.requires_grad}
    statistics = {n: b.clone() for n, b in adapted.network.named_buffers()}
    optimiser = torch.optim.SGD(adapted.parameter_groups())
    adapted.train_mode()
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        logits = answers(adapted.network, adapted.encode_rest(adapted.encode_prefix(images())))
        loss = (logits - 1).square().mean()
        loss.backward()
        losses.append(loss.item())
        for group in optimiser.param_groups:
            group["lr"] = 1e-3
        optimiser.step()
    assert losses[-1] < losses[0]
    now = dict(adapted.network.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    buffers = dict(adapted.network.named_buffers())
    assert all(torch.equal(buffers[name], value) for name, value in statistics.items()), "statistics must not drift"
    assert all(torch.equal(a_base.network.state_dict()[name], value) for name, value in before.items())

    adapted.eval_mode()
    merged = adapted.merged()
    with torch.no_grad():
        mine = adapted.encode_rest(adapted.encode_prefix(images()))
        theirs = merged.network.image_encoder(images())
        torch.testing.assert_close(theirs, mine, atol=5e-4, rtol=1e-3)
        torch.testing.assert_close(answers(merged.network, mine), answers(adapted.network, mine), atol=1e-3, rtol=1e-3)
    assert not any(".lora_" in name for name, _ in merged.network.named_parameters())
    if strategy.algorithm != "adapter":
        assert merged.network.state_dict().keys() == before.keys()
    assert (merged.encoder_key == a_base.encoder_key) == (not strategy.trains_encoder)


@named
def test_exactly_these_parts_are_trained(a_base, strategy):
    """The names of what is trained, written out from the names in the base."""
    base = [name for name, _ in a_base.network.named_parameters()]
    encoder = [name for name in base if name.startswith("image_encoder.")]
    decoder = [name for name in base if name.startswith("mask_decoder.")]
    outputs = ("iou_token", "mask_tokens", "output_hypernetworks_mlps", "output_upscaling", "iou_prediction_head")
    expected = {
        ("vanilla", "decoder", "faithful"): decoder,
        ("vanilla", "encoder_decoder", "faithful"): encoder + decoder,
        ("adapter", "faithful"): [],
        # Beside the low-rank q and v of its attention, the decoder of paper A's LoRA is trained whole.
        ("lora", "faithful"): [name for name in decoder if name.split(".")[-2] not in ("q_proj", "v_proj")],
    }
    for algorithm in ("adapter", "lora"):
        expected[algorithm, "recommended"] = [name for name in decoder if name.split(".")[1] in outputs]
    key = (strategy.algorithm, strategy.preset)
    if strategy.algorithm == "vanilla":
        key = (strategy.algorithm, strategy.components, "faithful")

    adapted = adapt(a_base, strategy)
    new = new_parameter_names(adapted.network)
    trained = set(adapted.trainable_state())
    plain = {name.replace(".base_layer.", ".").replace(".layer.", ".") for name in trained - new}
    assert plain == set(expected[key])
    assert new <= trained and bool(new) == (strategy.algorithm != "vanilla")
    stages = EncoderStages(a_base.network.image_encoder)
    kept = int(len(stages) * strategy.frozen_fraction)
    assert (kept > 0) == (strategy.preset == "recommended" and strategy.algorithm != "vanilla")
    of_encoder = {stages.stage_of(_in_base(name, base)) for name in new if name.startswith("image_encoder.")}
    if not strategy.trains_encoder:
        assert not of_encoder
    elif strategy.algorithm != "vanilla":
        assert min(of_encoder) == adapted.first_trained_block() >= kept


def _in_base(name, base):
    """A parameter of the base's encoder in the module beside which ``name`` was added, without ``image_encoder.``."""
    words = name.removeprefix("image_encoder.").split(".")
    for count in range(len(words), 0, -1):
        prefix = ".".join(words[:count])
        found = [known for known in base if known.startswith(f"image_encoder.{prefix}.")]
        if found:
            return found[0].removeprefix("image_encoder.")
    raise AssertionError(name)


@with_variants
def test_saved_and_loaded(a_base, strategy, tmp_path):
    for mode, classes in (("prompts", ()), ("automatic", ("liver", "spleen"))):
        adapted = adapt(a_base, strategy, mode, classes)
        with torch.no_grad():
            for parameter in adapted.trainable_state().values():
                parameter.add_(0.01 * torch.randn_like(parameter))
        folder = tmp_path / mode
        save_adapter(adapted, folder, {"slices": 3})
        info = read_adapter(folder)
        assert (info.strategy, info.mode, info.classes, info.record) == (strategy, mode, classes, {"slices": 3})
        again = load_adapter(a_base, folder)
        with torch.no_grad():
            embeddings = adapted.encode_rest(adapted.encode_prefix(images()))
            assert torch.equal(again.encode_rest(again.encode_prefix(images())), embeddings)
            if mode == "prompts":
                assert torch.equal(answers(again.network, embeddings), answers(adapted.network, embeddings))
                with pytest.raises(ModelError, match="automatic mode"):
                    again.class_logits(embeddings)
            else:
                logits = adapted.class_logits(embeddings)
                assert logits.shape[:2] == (2, 3)
                assert torch.equal(again.class_logits(embeddings), logits)


def test_a_wrong_base_is_refused(a_base, tmp_path):
    adapted = adapt(a_base, parse_strategy("lora-decoder"))
    save_adapter(adapted, tmp_path / "a", {})
    a_base.weights_sha256 = "1" * 64
    with pytest.raises(ModelError, match="was trained on Test model"):
        load_adapter(a_base, tmp_path / "a")
    with pytest.raises(ModelError, match="holds no adapter"):
        load_adapter(a_base, tmp_path)
    a_base.weights_sha256 = "0" * 64
    weights = tmp_path / "a" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="damaged"):
        load_adapter(a_base, tmp_path / "a")


def test_automatic_mode_needs_classes(a_base):
    with pytest.raises(InputError, match="at least one class"):
        adapt(a_base, parse_strategy("lora"), "automatic")


def rates(adapted):
    """Learning rate and weight decay by parameter."""
    names = {id(parameter): name for name, parameter in adapted.network.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in adapted.parameter_groups()
        for parameter in group["params"]
    }


def test_earlier_stages_learn_more_slowly_in_vanilla_training(a_base):
    found = rates(adapt(a_base, Strategy.of("vanilla", learning_rate=1e-3, layer_decay=0.5, weight_decay=0.1)))
    stages = EncoderStages(a_base.network.image_encoder)
    for name, (rate, _) in found.items():
        part, _, rest = name.partition(".")
        below = len(stages) - stages.stage_of(rest) if part == "image_encoder" else 0
        assert rate == pytest.approx(1e-3 * 0.5**below), name
    assert found["mask_decoder.transformer.layers.0.mlp.lin1.weight"][1] == 0.1
    assert found["mask_decoder.transformer.layers.0.mlp.lin1.bias"][1] == 0.0
    assert found["mask_decoder.mask_tokens.weight"][1] == 0.0


def test_class_outputs_learn_fast_in_automatic_mode(a_base):
    strategy = Strategy.of("lora", learning_rate=1e-3, whole_rate=0.1, automatic_rate=4.0)
    prompted, automatic = rates(adapt(a_base, strategy)), rates(adapt(a_base, strategy, "automatic", ("liver",)))
    token, up = "mask_decoder.mask_tokens.weight", "mask_decoder.output_upscaling."
    assert prompted[token][0] == pytest.approx(1e-4) and automatic[token][0] == pytest.approx(4e-3)
    name = next(name for name in automatic if name.startswith(up))
    assert prompted[name][0] == pytest.approx(1e-4) and automatic[name][0] == pytest.approx(4e-4)
    name = next(name for name in automatic if ".lora_" in name)
    assert prompted[name][0] == pytest.approx(1e-3) and automatic[name][0] == pytest.approx(4e-3)


def full_size(backbone):
    """A SAM at its real size, without memory."""
    build = import_segment_anything()
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from segment_anything.modeling.image_encoder import ImageEncoderViT

    del build
    dims = {"vit_b": (768, 12, 12, (2, 5, 8, 11)), "vit_l": (1024, 24, 16, (5, 11, 17, 23))}
    dims["vit_h"] = (1280, 32, 16, (7, 15, 23, 31))
    with torch.device("meta"):
        if backbone == "vit_t":
            encoder = TinyViT()
        else:
            width, depth, heads, wide = dims[backbone]
            encoder = ImageEncoderViT(
                depth=depth,
                embed_dim=width,
                num_heads=heads,
                global_attn_indexes=wide,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=14,
                out_chans=256,
            )
        return Sam(
            encoder,
            PromptEncoder(256, (64, 64), (1024, 1024), 16),
            MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048)),
        )


def new_count(network, part):
    new = new_parameter_names(network)
    return sum(p.numel() for n, p in network.named_parameters() if n in new and n.startswith(part))


@pytest.mark.parametrize("backbone", ["vit_b", "vit_l", "vit_h", "vit_t"])
@named
def test_every_strategy_is_built_at_full_size(backbone, strategy):
    network = full_size(backbone)
    with torch.device("meta"):
        prepare_network(network, strategy, "automatic", 3)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("image_encoder.") for name in trained) == strategy.trains_encoder
    assert not any(name.startswith("prompt_encoder.") for name in trained)
    # Paper A's code left new output tokens frozen; here they always learn.
    assert "mask_decoder.mask_tokens.weight" in trained


def test_counts_are_those_of_the_papers_code():
    lora, adapter = Strategy.of("lora", preset="faithful"), Strategy.of("adapter", preset="faithful")
    with torch.device("meta"):
        network = full_size("vit_b")
        prepare_network(network, lora)
        assert new_count(network, "image_encoder.") == 147_456
        assert new_count(network, "mask_decoder.") == 23_552
        network = full_size("vit_b")
        prepare_network(network, adapter)
        assert round(new_count(network, "image_encoder.") / 1e6, 1) == 7.1
        recommended = full_size("vit_b")
        prepare_network(recommended, Strategy.of("lora", frozen_fraction=0.0, convolutions=False))
        # METHODS: rank 8 on q, k, v, out and MLP: 1.35M with one A shared by q, k and v.
        assert 1.2e6 < new_count(recommended, "") < 1.5e6


@pytest.mark.parametrize("interleaved", [False, True])
def test_queries_and_values_alone_change(interleaved):
    """Against the columns written out by hand."""
    from peft import LoraConfig

    from SAMFinetuneLogic.finetuning.fused import PartialLora, mark_fused

    torch.manual_seed(0)
    heads, width = 2, 8
    layer = torch.nn.Linear(width, 3 * width)
    mark_fused(layer, heads, interleaved, "qv")
    lora = PartialLora(layer, "default", LoraConfig(r=2, lora_alpha=2), r=2, lora_alpha=2)
    with torch.no_grad():
        lora.lora_B["default"].pairs.normal_()
    x = torch.randn(5, width)
    change = (lora(x) - layer(x)).detach()
    by_part = change.reshape(5, heads, 3, 4).unbind(2) if interleaved else change.reshape(5, 3, heads, 4).unbind(1)
    assert not by_part[1].any(), "keys stay"
    assert by_part[0].any() and by_part[2].any()
    down, pairs = lora.lora_A["default"].weight, lora.lora_B["default"].pairs
    torch.testing.assert_close(by_part[0].flatten(1), x @ down[:2].T @ pairs[0].T)
    torch.testing.assert_close(by_part[2].flatten(1), x @ down[2:].T @ pairs[1].T)
