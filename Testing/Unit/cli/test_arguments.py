"""Coordinates on the command line."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SAMFinetuneLogic.cli.arguments import join_negative_values, numbers, positive, seed, slice_numbers


def a_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--point", type=numbers(3, "a point"), action="append", default=[])
    parser.add_argument("--window")
    parser.add_argument("--quiet", action="store_true")
    return parser


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3), min_size=1, max_size=4))
def test_every_point_parses_whatever_its_signs(points):
    argv = [word for point in points for word in ("--point", ",".join(map(repr, point)))]
    assert a_parser().parse_args(join_negative_values(argv)).point == points


@pytest.mark.parametrize("text", ["-12.5,30,4", "-.5,30,4", "-1e1, 2, 3", "-5,-5,-5"])
def test_negative_values_are_values(text):
    (point,) = a_parser().parse_args(join_negative_values(["--point", text, "--quiet"])).point
    assert point == tuple(float(part) for part in text.split(","))


def test_options_stay_options():
    assert join_negative_values(["--quiet", "-v", "--window=-5/3", "-600/1500"])[:2] == ["--quiet", "-v"]
    arguments = a_parser().parse_args(join_negative_values(["--window", "-600/1500", "--quiet"]))
    assert (arguments.window, arguments.quiet) == ("-600/1500", True)


@pytest.mark.parametrize("text", ["1,2", "1,2,3,4", "a,b,c", "", "1,,2", "nan,1,2", "inf,0,0", "1;2;3"])
def test_what_is_no_point_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="3 numbers"):
        numbers(3, "a point")(text)


def test_slice_numbers_and_counts():
    assert slice_numbers("40, 3,17,3") == (3, 17, 40)
    assert positive("12") == 12
    for text in ("", "a,b", "3,-1", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError, match="slice numbers such as 3,17,40"):
            slice_numbers(text)
    for text in ("0", "-2", "1.5", "many"):
        with pytest.raises(argparse.ArgumentTypeError, match="above zero"):
            positive(text)


def test_seeds_are_what_numpy_and_torch_take():
    assert (seed("0"), seed("4294967295")) == (0, 2**32 - 1)
    for text in ("-1", "4294967296", "1.5", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 4294967295"):
            seed(text)
