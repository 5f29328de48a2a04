"""Training with tiny random models: it learns, it is repeatable, and it resumes exactly."""

from contextlib import suppress

import pytest
import torch
from labelled_data import labelled_set
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.errors import Cancelled, ModelError, OutputError
from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.loop import train
from SAMFinetuneLogic.finetuning.schedule import LoopSettings, settings_for
from SAMFinetuneLogic.finetuning.splitting import Split, split
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.models.preprocessing import Preprocessing

SHORT = LoopSettings(steps=4, epoch_steps=2, batch=2, warmup=1, precision="fp32")
PARTS = Split((0, 2, 4), (), (1, 3))


def compact():
    preprocessing = Preprocessing("sam", "longest_pad", 64, coordinates="centre")
    return loaded(small_compact_sam(), backbone="compact", preprocessing=preprocessing, single_mask_first=True)


def adapted_to(model, components="encoder_decoder", algorithm="lora", mode="prompts", **changes):
    torch.manual_seed(0)
    classes = ("liver", "spleen")
    return adapt(model, Strategy.of(algorithm, components, **changes), mode, classes)


def weights(adapted):
    return {name: tensor.detach().clone() for name, tensor in adapted.trainable_state().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("components", "mode"), [("encoder_decoder", "prompts"), ("decoder", "automatic")])
def test_the_loss_falls(components, mode):
    model, data = compact(), labelled_set(turned=mode == "automatic")
    adapted = adapted_to(model, components, "vanilla", mode, learning_rate=3e-3)
    settings = LoopSettings(steps=16, epoch_steps=4, batch=2, warmup=2, precision="fp32")
    record = train(adapted, model, data, PARTS, settings)
    assert record.history[-1]["loss"] < record.history[0]["loss"]
    assert record.steps == 16 and len(record.history) == 4


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    model, data = compact(), labelled_set()
    found = []
    for seed in (0, 0, 1):
        adapted = adapted_to(model)
        train(adapted, model, data, PARTS, LoopSettings(**{**vars(SHORT), "steps": 2, "seed": seed}))
        found.append(weights(adapted))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_training_resumes_to_the_same_weights(tmp_path, precision):
    model, data = compact(), labelled_set()
    settings = LoopSettings(**{**vars(SHORT), "precision": precision})
    whole = adapted_to(model)
    train(whole, model, data, PARTS, settings)

    steps = []

    def listen(event):
        if event["event"] == "step":
            steps.append(event["step"])

    with pytest.raises(Cancelled):  # in the middle of an epoch: the step after the checkpoint is taken again
        train(adapted_to(model), model, data, PARTS, settings, tmp_path, listen, lambda: len(steps) == 3)
    resumed = adapted_to(model)
    record = train(resumed, model, data, PARTS, settings, tmp_path)

    assert record.resumed_at == 2
    assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("mode", ["prompts", "automatic"])
def test_what_validation_found_is_kept_over_a_stop(tmp_path, mode):
    model, data = compact(), labelled_set(range(1, 15), turned=mode == "automatic")
    parts = split(data)
    settings = LoopSettings(steps=10, epoch_steps=2, batch=2, warmup=1, patience=1, precision="fp32")

    def fresh():
        return adapted_to(model, "encoder_decoder", "vanilla", mode, learning_rate=1e-2)

    whole = fresh()
    expected = train(whole, model, data, parts, settings)
    for stop in (3, 5, 7):  # each time from the checkpoint before
        steps = []
        with suppress(Cancelled):
            train(
                fresh(),
                model,
                data,
                parts,
                settings,
                tmp_path,
                steps.append,
                lambda at=stop, seen=steps: _steps(seen) >= at,
            )
    resumed = fresh()
    record = train(resumed, model, data, parts, settings, tmp_path)
    assert (record.best_step, record.steps, record.history) == (expected.best_step, expected.steps, expected.history)
    assert same(weights(whole), weights(resumed))


def _steps(events):
    """The number of the last step."""
    return max((event["step"] for event in events if event["event"] == "step"), default=0)


def test_a_damaged_or_foreign_checkpoint_starts_anew_and_says_so(tmp_path):
    model, data = compact(), labelled_set()
    whole = adapted_to(model)
    train(whole, model, data, PARTS, SHORT)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    again = adapted_to(model)
    record = train(again, model, data, PARTS, SHORT, tmp_path)
    assert "starts anew" in record.notices[0]
    assert same(weights(whole), weights(again))
    other = train(adapted_to(model), model, data, PARTS, LoopSettings(**{**vars(SHORT), "seed": 7}), tmp_path)
    assert other.resumed_at == 0 and "starts anew" in other.notices[0]


def test_accumulation_and_checkpointing_change_little_or_nothing():
    model, data = loaded(small_stock_sam()), labelled_set()
    found = {}
    for name, changes in (("plain", {}), ("checkpointing", {"checkpointing": True})):
        adapted = adapted_to(model)
        train(adapted, model, data, PARTS, LoopSettings(**{**vars(SHORT), "steps": 2, **changes}))
        found[name] = weights(adapted)
    assert all(torch.allclose(found["plain"][n], found["checkpointing"][n], atol=1e-5) for n in found["plain"])


def test_a_batch_in_parts_has_the_same_gradient_in_automatic_mode():
    """Cross entropy is a mean over slices of one size; Dice is one over the batch, so that parts differ a little."""
    model, data = compact(), labelled_set()
    losses = []
    for accumulate in (1, 2):
        adapted = adapted_to(model, mode="automatic")
        settings = LoopSettings(steps=1, epoch_steps=1, batch=4, warmup=0, accumulate=accumulate, precision="fp32")
        losses.append(train(adapted, model, data, PARTS, settings).history[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


def test_out_of_memory_halves_the_batch_and_says_so():
    model, data = compact(), labelled_set()
    adapted = adapted_to(model, algorithm="vanilla")
    encode = adapted.encode_rest

    def hungry(hidden):
        if len(hidden) > 1:
            torch.empty(1 << 50)  # more than any machine has: the allocator's own error
        return encode(hidden)

    adapted.encode_rest = hungry
    record = train(adapted, model, data, PARTS, LoopSettings(**{**vars(SHORT), "batch": 4, "steps": 2}))
    assert record.steps == 2
    assert record.notices == (
        "Memory ran out: the batch of 4 slices now goes through in 2 parts.",
        "Memory ran out: the batch of 4 slices now goes through in 4 parts.",
    )

    def starving(hidden):
        torch.empty(1 << 50)

    adapted.encode_rest = starving
    with pytest.raises(ModelError, match="not enough memory to train on a single slice"):
        train(adapted, model, data, PARTS, SHORT)


class Budget:
    """Fails like a device's allocator as soon as the encoder keeps more bytes for the way back than it may."""

    def __init__(self, adapted, limit):
        self.limit, self.most, self._encode = limit, 0, adapted.encode_rest
        adapted.encode_rest = self

    def __call__(self, hidden):
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            self.most = max(self.most, sum(kept.values()))
            if sum(kept.values()) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            return self._encode(hidden)


def needed(settings):
    """Bytes that the encoder keeps at most, and the weights after training."""
    model = loaded(small_stock_sam())
    adapted = adapted_to(model)
    budget = Budget(adapted, float("inf"))
    train(adapted, model, labelled_set(), PARTS, settings)
    return budget.most, weights(adapted)


def test_without_memory_for_one_slice_checkpointing_goes_on_before_it_gives_up(tmp_path):
    one = LoopSettings(**{**vars(SHORT), "batch": 1})
    plain, expected = needed(one)
    saving, _ = needed(LoopSettings(**{**vars(one), "checkpointing": True}))
    assert saving < plain / 2
    model, data = loaded(small_stock_sam()), labelled_set()
    adapted = adapted_to(model)
    Budget(adapted, (plain + saving) / 2)

    stopped = []
    with pytest.raises(Cancelled):
        train(adapted, model, data, PARTS, one, tmp_path, stopped.append, lambda: len(stopped) > 4)
    resumed = adapted_to(model)
    budget = Budget(resumed, (plain + saving) / 2)
    record = train(resumed, model, data, PARTS, one, tmp_path)

    notices = [event["text"] for event in stopped if event["event"] == "notice"]
    assert notices == ["Memory ran out on a single slice: checkpointing is on from here, which takes more time."]
    assert record.resumed_at == 2 and record.notices == (), "what was learned about memory is kept"
    assert budget.most <= (plain + saving) / 2
    assert all(torch.allclose(expected[name], tensor, atol=1e-5) for name, tensor in weights(resumed).items())

    hopeless = adapted_to(model)
    Budget(hopeless, 0)
    with pytest.raises(ModelError, match="not enough memory to train on a single slice"):
        train(hopeless, model, data, PARTS, one)


def test_early_stopping_keeps_the_best_weights():
    model, data = compact(), labelled_set(range(1, 15))
    parts = split(data)
    assert parts.validation
    adapted = adapted_to(model, algorithm="vanilla", learning_rate=1e-2)
    settings = LoopSettings(steps=40, epoch_steps=1, batch=2, warmup=1, patience=1, precision="fp32")
    record = train(adapted, model, data, parts, settings)
    dices = [line["validation_dice"] for line in record.history]
    assert record.best_step == 1 + dices.index(max(dices))
    assert record.stopped_early == (record.steps < 40)


def test_half_precision_learns_much_the_same_in_full_precision_weights():
    model, data, found = compact(), labelled_set(), {}
    for precision in ("fp32", "bf16"):
        adapted = adapted_to(model)
        record = train(adapted, model, data, PARTS, LoopSettings(**{**vars(SHORT), "precision": precision}))
        found[precision] = record.history[-1]["loss"]
        assert all(tensor.dtype == torch.float32 for tensor in weights(adapted).values())
    assert found["fp32"] != found["bf16"]
    assert found["fp32"] == pytest.approx(found["bf16"], rel=0.05)


def test_a_training_that_diverges_says_what_to_do():
    model, data = compact(), labelled_set()
    adapted = adapted_to(model)
    with torch.no_grad():
        adapted.network.mask_decoder.mask_tokens.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="lower the learning rate"):
        train(adapted, model, data, PARTS, SHORT)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    model, data = compact(), labelled_set()
    with pytest.raises(OutputError, match="Cannot write"):
        train(adapted_to(model), model, data, PARTS, SHORT, tmp_path / "file")


def test_frozen_parts_run_once_for_each_view():
    from SAMFinetuneLogic.finetuning.prefix_cache import PrefixCache

    cache, ran = PrefixCache(limit=3 * 16 * 4), []

    def run(batch):
        ran.append(len(batch))
        return batch * 2

    inputs = torch.arange(48.0).view(3, 16)
    first = cache.get(["a", "b", "a"], inputs[[0, 1, 0]], run)
    second = cache.get(["b", "a"], inputs[[1, 0]], run)
    assert torch.equal(first, 2 * inputs[[0, 1, 0]]) and torch.equal(second, 2 * inputs[[1, 0]])
    assert cache.computed == 2 + 1  # the view that came twice in one batch was not known yet
    cache.get(["c", "d"], inputs[[1, 2]], run)
    assert torch.equal(cache.get(["a"], inputs[[0]], run), 2 * inputs[[0]])  # dropped, computed anew


@pytest.mark.parametrize("components", ["decoder", "encoder_decoder"])
def test_training_sends_each_view_through_the_frozen_layers_once(components):
    """Of three slices with up to two structures each, one view apiece, in eight steps of two."""
    model, data = loaded(small_stock_sam()), labelled_set()
    adapted = adapted_to(model, components, frozen_fraction=0.5)
    encode, ran = adapted.encode_prefix, []

    def counted(images):
        ran.append(len(images))
        return encode(images)

    adapted.encode_prefix = counted
    settings = LoopSettings(**{**vars(SHORT), "steps": 8, "views": 1})
    train(adapted, model, data, PARTS, settings)
    assert 3 <= sum(ran) <= 6


def test_presets_differ_as_papers_and_ours():
    faithful = settings_for("faithful", 10)
    assert (faithful.batch, faithful.steps, faithful.epoch_steps) == (4, 600, 3)
    assert faithful.decay == "polynomial" and faithful.augmentation.rotation == 45
    ours = settings_for("recommended", 3, steps=7)
    assert ours.steps == 7 and ours.warmup <= 3
    assert ours.rate(0) < ours.rate(3) and ours.rate(6) < 0.3
    assert settings_for("recommended", 3, "automatic").steps == 2 * settings_for("recommended", 3).steps
    assert settings_for("faithful", 10, "automatic") == faithful
    with pytest.raises(TypeError):
        LoopSettings.from_dict({"stepz": 3})
