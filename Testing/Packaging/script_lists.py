"""The lists of files in the CMake files, against the files on disk.

CMake installs what is listed, and nothing else: a file that is missing from a list is silently missing from the
package. ``python Testing/Packaging/script_lists.py`` writes the lists anew; ``test_packaging.py`` compares them.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("SAMFinetune", "SAMFinetuneLogic")
_IGNORED = {"__pycache__", "CMakeLists.txt"}


def files_on_disk(folder: str) -> tuple[list[str], list[str]]:
    """Scripts and resources of a module folder, relative to it, sorted."""
    base = ROOT / folder
    paths = [p for p in base.rglob("*") if p.is_file() and not _IGNORED & set(p.relative_to(base).parts)]
    names = sorted(p.relative_to(base).as_posix() for p in paths)
    return [n for n in names if n.endswith(".py")], [n for n in names if not n.endswith((".py", ".pyc"))]


def files_listed(folder: str) -> tuple[list[str], list[str]]:
    """Scripts and resources that the folder's CMake file lists, in its order."""
    text = (ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8")
    return _list(text, "MODULE_PYTHON_SCRIPTS"), _list(text, "MODULE_PYTHON_RESOURCES")


def update(folder: str) -> bool:
    """Write the folder's lists anew; returns whether anything changed."""
    path = ROOT / folder / "CMakeLists.txt"
    old = path.read_text(encoding="utf-8")
    scripts, resources = files_on_disk(folder)
    new = _with_list(_with_list(old, "MODULE_PYTHON_SCRIPTS", scripts), "MODULE_PYTHON_RESOURCES", resources)
    path.write_text(new, encoding="utf-8")
    return new != old


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"set\({name}\n(.*?)\s*\)\n", re.DOTALL)


def _list(text: str, name: str) -> list[str]:
    found = _pattern(name).search(text)
    return found[1].split() if found else []


def _with_list(text: str, name: str, entries: list[str]) -> str:
    block = f"set({name}\n" + "".join(f"  {entry}\n" for entry in entries) + "  )\n"
    return _pattern(name).sub(lambda _: block, text)


if __name__ == "__main__":
    changed = [folder for folder in FOLDERS if update(folder)]
    print("changed: " + ", ".join(changed) if changed else "nothing to change")
    sys.exit(0)
