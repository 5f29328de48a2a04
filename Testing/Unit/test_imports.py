"""The layers of the package: who may import whom, no circles, and what stays light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "SAMFinetuneLogic"
NAME = PACKAGE.name

# From the top down. A folder imports from its own row only itself, and freely from the rows below.
LAYERS = (
    ("cli", "mrml"),
    ("study",),
    ("evaluation",),
    ("jobs",),
    ("finetuning",),
    ("synthetic",),
    ("worker",),
    ("propagation",),
    ("fewshot",),
    ("pictures",),
    ("prompting",),
    ("models", "imaging", "metrics"),
    ("files", "named_values", "progress"),
    ("errors", "folders", "priority", "wording"),
)

NEVER_TORCH = ("imaging", "metrics", "pictures", "prompting/prompts.py", "prompting/placement.py", "cli", "mrml")
HEAVY = ("torch", "torchvision", "segment_anything", "peft", "transformers")


@cache
def imports_of(path: Path) -> frozenset[tuple[str, bool]]:
    """(module, whether only inside a function or for type checking) for each import of a file."""
    found = set()

    def visit(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update((alias.name, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                found.add((child.module, late))
                # `from package.folder import module` names a module too.
                found.update((f"{child.module}.{alias.name}", late) for alias in child.names)
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            visit(child, late or is_function or _is_type_checking(child))

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return frozenset(found)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def files_by_module() -> dict[str, Path]:
    result = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = (NAME, *path.relative_to(PACKAGE).with_suffix("").parts)
        result[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return result


def folder_of(module: str) -> str:
    """The layer that a module belongs to; the package's own __init__ belongs to none."""
    return module.split(".")[1] if "." in module else ""


def own_imports(module: str, late: bool) -> set[str]:
    """The package's modules that a module imports; with ``late`` also those inside functions."""
    names = {name for name, is_late in imports_of(files_by_module()[module]) if late or not is_late}
    return {name for name in names if name in files_by_module() and name != module}


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def walk(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node not in done:
            for successor in sorted(graph.get(node, ())):
                if circle := walk(successor, [*trail, node]):
                    return circle
            done.add(node)
        return []

    return next((circle for node in sorted(graph) if (circle := walk(node, []))), [])


def test_every_folder_has_a_layer():
    known = {name for layer in LAYERS for name in layer}
    assert {folder_of(module) for module in files_by_module()} - {""} <= known


@pytest.mark.parametrize("module", sorted(files_by_module()))
def test_arrows_point_down(module):
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    if not folder_of(module):
        return
    for imported in own_imports(module, late=True):
        if folder_of(imported) in ("", folder_of(module)):
            continue
        assert level[folder_of(imported)] > level[folder_of(module)], f"{module} imports {imported}"


def test_no_circle_between_files():
    # A package's __init__ is imported before its modules; one that re-exports them is no circle by itself.
    graph = {module: own_imports(module, late=True) for module in files_by_module()}
    packages = {module for module, path in files_by_module().items() if path.name == "__init__.py"}
    for module in packages:
        graph[module] = set() if module == NAME else graph[module]
    assert find_circle(graph) == []


def test_no_circle_between_folders():
    graph: dict[str, set[str]] = {}
    for module in files_by_module():
        targets = {folder_of(imported) for imported in own_imports(module, late=True)}
        graph.setdefault(folder_of(module), set()).update(targets - {"", folder_of(module)})
    assert find_circle(graph) == []


def test_find_circle_finds_one():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("part", NEVER_TORCH)
def test_light_parts_import_no_torch_even_inside_functions(part):
    paths = [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
    assert paths
    for path in paths:
        heavy = {name for name, _ in imports_of(path) if name.split(".")[0] in HEAVY}
        assert not heavy, path


def test_no_qt_and_no_mrml_outside_of_their_folder():
    for module, path in files_by_module().items():
        tops = {name.split(".")[0] for name, _ in imports_of(path)}
        assert not tops & {"qt", "ctk", "PySide6", "PyQt5"}, module
        if folder_of(module) != "mrml":
            assert not tops & {"slicer", "vtk", "vtkmodules"}, module


def _loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "names",
    [
        sorted(m for m in files_by_module() if folder_of(m) in ("imaging", "metrics", "pictures")),
        [f"{NAME}.prompting.prompts", f"{NAME}.prompting.placement"],
    ],
    ids=["folders", "prompts"],
)
def test_light_parts_load_no_torch(names):
    modules = [name for name in names if not name.endswith("__main__")]
    assert not _loaded_after("import " + ", ".join(modules)) & set(HEAVY)


def test_the_package_itself_loads_nothing():
    assert not _loaded_after(f"import {NAME}") & {"torch", "numpy", "scipy", "SimpleITK", "PIL", "requests", "vtk"}


def test_help_loads_nothing_heavy():
    statement = f"from {NAME}.cli.main import build_parser\nbuild_parser(['--help']).format_help()"
    assert not _loaded_after(statement) & {"torch", "numpy", "scipy", "SimpleITK", "PIL", "requests", "vtk"}
