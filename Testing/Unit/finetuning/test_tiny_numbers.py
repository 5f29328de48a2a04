"""Numbers next to zero are zero within the block, and nowhere else."""

import subprocess
import sys

import pytest
import torch

from SAMFinetuneLogic.finetuning.tiny_numbers import tiny_numbers_are_lost, tiny_numbers_are_zero


def bits_of_a_tiny_product():
    """Of 1e-39 in float32, which is not zero, as an integer: comparing floats would flush, too."""
    return int((torch.full((1,), 1e-20) * 1e-19).view(torch.int32))


def test_within_the_block_and_as_before_after_it():
    assert bits_of_a_tiny_product() != 0 and not tiny_numbers_are_lost()
    with pytest.raises(ZeroDivisionError), tiny_numbers_are_zero("cpu"):
        assert bits_of_a_tiny_product() == 0 and tiny_numbers_are_lost()
        with tiny_numbers_are_zero("cpu"):
            pass
        assert tiny_numbers_are_lost(), "the outer block goes on"
        assert float(torch.full((1,), 1e-20) * 1e-17) == pytest.approx(1e-37)
        raise ZeroDivisionError
    assert bits_of_a_tiny_product() != 0 and not tiny_numbers_are_lost()
    with tiny_numbers_are_zero("cuda"):
        assert not tiny_numbers_are_lost()


def test_the_way_back_is_in_the_block_as_well():
    weight = torch.full((4,), 1e-20, requires_grad=True)
    for inside in (True, False):
        weight.grad = None
        with tiny_numbers_are_zero("cpu" if inside else "cuda"):
            (weight * 1e-19).sum().backward(torch.tensor(1e-20))
        assert weight.grad is not None
        assert bool((weight.grad.view(torch.int32) == 0).all()) == inside


@pytest.mark.skipif(sys.platform != "linux", reason="whether threads take over the mode is the platform's choice")
def test_torchs_threads_take_it_over():
    code = """
import torch
from SAMFinetuneLogic.finetuning.tiny_numbers import tiny_numbers_are_zero
torch.set_num_threads(2)
with tiny_numbers_are_zero("cpu"):
    many = torch.full((4_000_000,), 1e-20) * 1e-19
print(int(many.view(torch.int32).ne(0).sum()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["0"]
