from dataclasses import fields
from itertools import product

import pytest

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.finetuning.strategy_options import options_for, parse_options


def test_values_have_the_options_types():
    texts = ["rank=16", "alpha = 8", "dora=true", "rslora=No", "projections=q, k,v", "whole=none", "learning_rate=3e-4"]
    found = parse_options(texts, "lora", "decoder")
    strategy = Strategy.of("lora", "decoder", **found)
    assert (strategy.rank, strategy.alpha, strategy.dora, strategy.rslora) == (16, 8.0, True, False)
    assert (strategy.projections, strategy.whole, strategy.learning_rate) == (("q", "k", "v"), "none", 3e-4)
    assert parse_options(["rank=2", "rank=3"], "lora", "decoder") == {"rank": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank", "write NAME=VALUE"),
        ("rnk=3", "one of learning_rate"),
        ("adapter_ratio=0.5", "no option of this strategy"),  # of another algorithm
        ("layer_decay=0.5", "no option of this strategy"),
        ("background=zero", "no option of this strategy"),  # of another mode
        ("frozen_fraction=0.5", "no option of this strategy"),  # of the encoder
        ("preset=faithful", "no option of this strategy"),
        ("rank=many", "give a whole number"),
        ("dora=maybe", "true or false"),
        ("alpha=", "give a number"),
        ("alpha=nan", "give a number"),
    ],
)
def test_what_would_do_nothing_or_cannot_be_read_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_options([text], "lora", "decoder")


def test_values_out_of_range_are_refused_by_the_strategy():
    for text in ("whole=some", "rank=0", "projections=q,x"):
        with pytest.raises(InputError, match=r"strategy's|rank of LoRA"):
            Strategy.of("lora", **parse_options([text], "lora", "encoder_decoder"))


def test_every_option_can_be_set_somewhere():
    combinations = product(("vanilla", "adapter", "lora"), ("decoder", "encoder_decoder"), ("prompts", "automatic"))
    names = {name for combination in combinations for name in options_for(*combination)}
    assert names | {"components", "algorithm", "preset"} == {field.name for field in fields(Strategy)}
