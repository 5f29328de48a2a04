"""The scene layer loads fast, without torch, and without Slicer's application."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

PACKAGE = Path(__file__).resolve().parents[2] / "SAMFinetuneLogic"
MODULES = sorted(f"SAMFinetuneLogic.mrml.{path.stem}" for path in (PACKAGE / "mrml").glob("*.py"))
HEAVY = {"torch", "torchvision", "segment_anything", "peft", "transformers"}


def test_importing_all_of_it_loads_no_torch():
    names = ", ".join(name.removesuffix(".__init__") for name in MODULES)
    code = f"import sys, {names}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not set(done.stdout.split()) & HEAVY


def test_no_file_uses_the_global_scene():
    for path in (PACKAGE / "mrml").glob("*.py"):
        assert "slicer.mrmlScene" not in path.read_text(encoding="utf-8"), path
