"""The import works in a fresh interpreter, with and without torchvision's compiled operators."""

import subprocess
import sys

import pytest

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models import torch_compat
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

BREAK_OPERATORS = """
import torch
real = torch.ops.load_library
def refuse(path):
    if 'torchvision' in str(path):
        raise OSError('compiled for another torch')
    real(path)
torch.ops.load_library = refuse
"""


@pytest.mark.parametrize("preparation", ["", BREAK_OPERATORS])
def test_imports_in_a_fresh_interpreter(preparation):
    code = preparation + (
        "from SAMFinetuneLogic.models.torch_compat import import_segment_anything\n"
        "module = import_segment_anything()\n"
        "assert 'vit_b' in module.sam_model_registry\n"
        "assert import_segment_anything() is module\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_absent_package_is_a_sentence(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(torch_compat.importlib, "import_module", absent)
    with pytest.raises(ModelError, match="requirements"):
        import_segment_anything.__wrapped__()
