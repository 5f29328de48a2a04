"""What means too little memory, on errors as they really come."""

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.errors import is_out_of_memory


def error_of(action):
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def test_want_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(error_of(lambda: torch.empty(2**60)))
    assert is_out_of_memory(error_of(lambda: np.empty(2**55)))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA error"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"))
    assert not is_out_of_memory(error_of(lambda: torch.ones(2) @ torch.ones(3)))
    assert not is_out_of_memory(ValueError("out of memory"))  # says so, and is none
