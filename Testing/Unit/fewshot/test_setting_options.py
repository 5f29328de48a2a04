from dataclasses import fields
from itertools import product

import pytest

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.setting_options import options_for, parse_settings
from SAMFinetuneLogic.fewshot.settings import FitSettings

OWN = {"targets", "dense", "background", "purpose", "mirror", "steps", "warm_steps", "augmentations", "flips", "seed"}
"""With an option of their own on the command line."""


def test_values_have_the_settings_types():
    texts = ["prototypes=8", "anchored=no", "blind = 0.25", "learning_rate=1e-3", "patience=2", "patience=6"]
    settings = FitSettings(targets="prototypes", **parse_settings(texts, "prototypes", "classifier"))
    assert (settings.prototypes, settings.anchored, settings.blind) == (8, False, 0.25)
    assert (settings.learning_rate, settings.patience) == (1e-3, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prototypes=3", "no option of this fit"),  # there are none
        ("blind=0.5", "no option of this fit"),  # there is no guess to hide
        ("steps=3", "no option of this fit"),
        ("batch", "write NAME=VALUE with one of batch, learning_rate"),
        ("batch=many", "The fit's batch cannot be 'many'; give a whole number"),
        ("learning_rate=inf", "The fit's learning_rate cannot be 'inf'; give a number"),
    ],
)
def test_what_would_do_nothing_or_cannot_be_read_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_settings([text], "slices", "none")


@pytest.mark.parametrize("text", ["weight_decay=-1", "learning_rate=0", "patience=0", "hold_out_from=1", "batch=-2"])
def test_values_out_of_range_are_refused_by_the_settings(text):
    with pytest.raises(InputError, match=text.partition("=")[0]):
        FitSettings(**parse_settings([text], "slices", "none"))


def test_every_setting_can_be_set_somewhere():
    combinations = product(("slices", "prototypes"), ("none", "classifier"))
    names = {name for combination in combinations for name in options_for(*combination)}
    assert names | OWN == {field.name for field in fields(FitSettings)} and not names & OWN
