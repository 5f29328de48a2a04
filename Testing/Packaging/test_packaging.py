"""What the installed extension consists of, and which parts may know which."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("script_lists", Path(__file__).with_name("script_lists.py"))
script_lists = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script_lists)


@pytest.mark.parametrize("folder", script_lists.FOLDERS)
def test_cmake_lists_every_file(folder):
    how = "run: python Testing/Packaging/script_lists.py"
    scripts, resources = script_lists.files_on_disk(folder)
    listed_scripts, listed_resources = script_lists.files_listed(folder)
    assert sorted(listed_scripts) == scripts, how
    assert sorted(listed_resources) == resources, how


def test_what_the_module_needs_is_among_them():
    _, module = script_lists.files_listed("SAMFinetune")
    _, logic = script_lists.files_listed("SAMFinetuneLogic")
    assert {"Resources/UI/SAMFinetune.ui", "Resources/Icons/SAMFinetune.png"} <= set(module)
    assert "Resources/requirements-slicer.txt" in module
    assert {"resources/catalogue.json", "resources/samfinetune_default.safetensors"} <= set(logic)
    # SAMFinetune/ is a folder on the path, no package: a package of this name would hide the module.
    assert not (ROOT / "SAMFinetune" / "__init__.py").exists()


def test_slicer_installs_neither_torch_nor_what_it_brings():
    text = (ROOT / "SAMFinetune" / "Resources" / "requirements-slicer.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = {re.split(r"[<>=! ]", line)[0].lower() for line in lines}
    assert not names & {"torch", "torchvision", "vtk", "numpy", "simpleitk"}
    assert not any("#" in line for line in lines)  # Slicer's reader knows no comments behind a requirement


def test_the_tested_versions_are_within_the_bounds():
    def read(path):
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]

    tested = {entry.name: next(iter(entry.specifier)).version for entry in read("constraints.txt")}
    in_slicer = read("SAMFinetune/Resources/requirements-slicer.txt")
    for entry in (*in_slicer, *read("requirements.txt")):
        assert tested[entry.name] in entry.specifier, entry
    for entry in in_slicer:  # what changes between its releases is not taken beyond the tested one
        if entry.name in ("peft", "transformers"):
            assert any(bound.operator == "<" for bound in entry.specifier), entry


def test_the_extension_describes_itself():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    facts = dict(re.findall(r'set\(EXTENSION_(\w+) "([^"]*)"\)', text))
    assert {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"} <= set(facts)
    assert facts["DEPENDS"] == "PyTorch" and "research use only" in facts["DESCRIPTION"]
    assert "project(SAMFinetune)" in text
    for url in (facts["ICONURL"], *facts["SCREENSHOTURLS"].split()):
        path = ROOT / url.split("/main/")[1]
        assert path.is_file(), path
    with Image.open(ROOT / "Resources" / "SAMFinetune.png") as icon:
        assert icon.size == (128, 128)
    entry = json.loads((ROOT / "Resources" / "SAMFinetune.json").read_text(encoding="utf-8"))
    assert entry["scm_url"].startswith(facts["HOMEPAGE"]) and entry["scm_url"].endswith(".git")
    assert {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    } == set(entry)
    assert entry["build_dependencies"] == ["PyTorch"]
    assert (ROOT / "LICENSE.txt").is_file()


def _imports(path: Path, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _tops(path: Path, top_level_only: bool = False) -> set[str]:
    return {name.split(".")[0] for name in _imports(path, top_level_only)}


def test_no_qt_below_the_module():
    for path in (ROOT / "SAMFinetuneLogic").rglob("*.py"):
        tops = _tops(path)
        assert not tops & {"qt", "ctk", "PythonQt", "PySide6", "PyQt5", "SAMFinetuneLib"}, path
        if path.parent.name != "mrml":
            assert "slicer" not in tops, path


def test_opening_the_module_imports_no_torch():
    for path in (ROOT / "SAMFinetune").rglob("*.py"):
        assert not _tops(path) & {"torch", "torchvision", "segment_anything", "peft"}, path


def test_the_module_has_no_circle_of_imports():
    base = ROOT / "SAMFinetune"
    files = {".".join(p.relative_to(base).with_suffix("").parts): p for p in base.rglob("*.py")}
    graph = {name: {i for i in _imports(path, True) if i in files} for name, path in files.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_tools_and_panels_stand_above_the_work():
    """Arrows point down: panels > tools > the work behind them, which knows neither."""
    for path in (ROOT / "SAMFinetune" / "SAMFinetuneLib").glob("*.py"):
        if path.stem not in ("module_panel",):
            names = _imports(path, False)
            assert not any(n.startswith(("SAMFinetuneLib.panels", "SAMFinetuneLib.tools")) for n in names), path
    for path in (ROOT / "SAMFinetune" / "SAMFinetuneLib" / "tools").glob("*.py"):
        assert not any(n.startswith("SAMFinetuneLib.panels") for n in _imports(path, False)), path


def test_names_are_in_snake_case_but_for_slicers_own():
    allowed = {"setUp", "runTest"}
    for path in (ROOT / "SAMFinetune" / "SAMFinetuneLib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name not in allowed:
                assert node.name == node.name.lower(), f"{path}: {node.name}"
