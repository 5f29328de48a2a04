"""What a full disk leaves behind; see test_adapt.py for saving and loading."""

import os
import sys

import pytest
import torch
from small_disk import files_of_at_most
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.errors import ModelError, OutputError
from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.adapter_files import load_adapter, save_adapter
from SAMFinetuneLogic.finetuning.strategy import Strategy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems take no such names")
def test_a_folder_whose_name_is_no_text(tmp_path):
    base, folder = loaded(small_compact_sam()), tmp_path / os.fsdecode(b"\xff")
    adapted = adapt(base, Strategy.of("lora", "decoder"))
    save_adapter(adapted, folder, {})
    again = load_adapter(base, folder).trainable_state()
    assert all(torch.equal(again[name], tensor) for name, tensor in adapted.trainable_state().items())


def test_a_full_disk_leaves_no_adapter(tmp_path):
    base = loaded(small_compact_sam())
    with files_of_at_most(4096), pytest.raises(OutputError, match=r"Cannot write .*adapter\.safetensors"):
        save_adapter(adapt(base, Strategy.of()), tmp_path / "adapter", {})
    assert list((tmp_path / "adapter").iterdir()) == []
    with pytest.raises(ModelError, match="holds no adapter"):
        load_adapter(base, tmp_path / "adapter")
