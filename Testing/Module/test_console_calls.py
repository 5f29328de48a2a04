"""What the tutorial documents for Slicer's Python console is there, and takes what it is given."""

import ast
import inspect
import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "slicer-tutorial.md"


def documented():
    text = DOCUMENT.read_text(encoding="utf-8")
    return ast.parse(re.search(r"## From the Python console.*?```python\n(.*?)```", text, re.DOTALL).group(1))


def resolve(node, names):
    """The object that a chain of names means; None if it begins elsewhere."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, names)
        return None if owner is None else getattr(owner, node.attr)
    return None


def test_the_documented_calls_exist(opened):
    from SAMFinetuneLib.exporting import export
    from SAMFinetuneLib.try_it import try_it

    names = {"bench": opened.bench, "panel": opened.panel, "export": export, "try_it": try_it}
    checked = set()
    for node in ast.walk(documented()):
        if isinstance(node, ast.Call) and (called := resolve(node.func, names)) is not None:
            keywords = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(called).bind(*(None for _ in node.args), **keywords)
            checked.add(ast.unparse(node.func))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            resolve(node.targets[0], names)
    assert len(checked) > 35 and {"export", "bench.propagation.cancel", "panel.install"} <= checked


def test_every_public_action_of_the_workbench_is_documented(opened):
    """Of what the buttons drive: what is neither a query nor called by the module itself."""
    bench = opened.bench
    inner = {
        "prompter": "set_work set_segment set_slice refresh ask_again confirm undo redo prompts add",
        "propagation": "annotated annotated_segments forget look carried take_up",
        "review": "set_results set_entries look clear to_dict carried restore",
        "collection": "forget require_path reference settings restore image_name",
        "applying": "forget look stop",
        "exporting": "finish",
        "learning": "annotated watch find_running poll close forget",
    }
    text = DOCUMENT.read_text(encoding="utf-8")
    for part, known in inner.items():
        for name, _ in inspect.getmembers(type(getattr(bench, part)), inspect.isfunction):
            if not name.startswith("_") and name not in known.split():
                assert f"bench.{part}.{name}(" in text, f"bench.{part}.{name}"
