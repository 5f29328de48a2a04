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


def test_neither_torchvision_nor_the_compiler_is_loaded_before_it_is_needed():
    """Each takes most of a second, of each process."""
    code = (
        "import sys, numpy\n"
        "import SAMFinetuneLogic.worker.engine, SAMFinetuneLogic.models.loading\n"
        "assert not {'torchvision', 'torch._dynamo'} & set(sys.modules)\n"
        "from segment_anything.utils.transforms import ResizeLongestSide\n"
        "image = numpy.arange(48, dtype=numpy.uint8).reshape(4, 4, 3)\n"
        "found = ResizeLongestSide(8).apply_image(image)\n"
        "import PIL.Image, torchvision.transforms\n"
        "assert numpy.array_equal(found, PIL.Image.fromarray(image).resize((8, 8), PIL.Image.BILINEAR))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_absent_package_is_a_sentence(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(torch_compat.importlib, "import_module", absent)
    with pytest.raises(ModelError, match="requirements"):
        import_segment_anything.__wrapped__()
