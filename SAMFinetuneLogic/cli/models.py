"""List, download, check and remove models.

Downloads go into the folder for application data, or into the one named by the environment variable SAMFINETUNE_HOME.
Files that were put by hand into the folder named by SAMFINETUNE_MODELS are found too. SHA-256 sums are checked where
they are published.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json, progress_bar
from SAMFinetuneLogic.errors import ModelError

if TYPE_CHECKING:
    from SAMFinetuneLogic.models.store import StoredModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="what there is, what is on this machine, and the licences", allow_abbrev=False
    )
    getting = actions.add_parser("get", help="download a model; its licence is shown first", allow_abbrev=False)
    checking = actions.add_parser("verify", help="hash the files on this machine again", allow_abbrev=False)
    removing = actions.add_parser("remove", help="delete a downloaded or imported model", allow_abbrev=False)
    importing = actions.add_parser("import", help="take in a file that you downloaded yourself", allow_abbrev=False)
    for action, handler in (
        (listing, _list),
        (getting, _get),
        (checking, _verify),
        (removing, _remove),
        (importing, _import),
    ):
        if action is checking:
            action.add_argument("model", nargs="?", metavar="ID", help="(default: all that are here)")
        elif action is not listing:
            action.add_argument("model", metavar="ID", help="of 'samfinetune models list'")
        if action is importing:
            action.add_argument("file", type=Path, metavar="FILE", help="the checkpoint; it is copied")
        add_reporting_arguments(action)
        action.set_defaults(handler=handler)


def run(arguments: argparse.Namespace) -> int:
    return int(arguments.handler(arguments))


def _list(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.models.store import ModelStore

    models = ModelStore().list()
    if arguments.json:
        print_json({"models": [_as_dict(model) for model in models]})
        return 0
    width = max(len(model.entry.id) for model in models)
    for model in models:
        entry = model.entry
        how = "import only" if entry.import_only else "download"
        size = f", {entry.bytes / 1e6:.0f} MB" if entry.bytes else ""
        state = f"here ({model.origin})" if model.origin else f"not here ({how}{size})"
        limits = "  NOT FOR COMMERCIAL USE" if entry.non_commercial else ""
        print(f"{entry.id:{width}}  {state}  {entry.title}  [{entry.licence}]{limits}")
    return 0


def _get(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.models.store import ModelStore

    store = ModelStore()
    stored = store.locate(arguments.model)
    if stored.path is None:
        # A licence is not a notice that --quiet may hide.
        notice(stored.entry.licence_text(), argparse.Namespace(quiet=False))
    with progress_bar(arguments.model, arguments, unit="B") as progress:
        path = store.get(arguments.model, progress)
    return _answer(arguments, {"model": arguments.model, "path": str(path)}, str(path))


def _verify(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.models.store import ModelStore

    store = ModelStore()
    here = [model.entry.id for model in store.list() if model.path is not None]
    results = [store.verify(model) for model in ([arguments.model] if arguments.model else here)]
    lines = [
        f"{result.entry.id}  {'ok' if result.ok else 'DAMAGED'}  {result.sha256}"
        + ("" if result.expected else "  (no published hash to compare with)")
        for result in results
    ]
    content = [
        {"model": r.entry.id, "path": str(r.path), "sha256": r.sha256, "expected": r.expected, "ok": r.ok}
        for r in results
    ]
    _answer(arguments, {"models": content}, "\n".join(lines))
    damaged = [result.entry.id for result in results if not result.ok]
    if damaged:
        raise ModelError(f"{', '.join(damaged)}: not the file that it should be; remove it and get it again.")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.models.store import ModelStore

    removed = [str(path) for path in ModelStore().remove(arguments.model)]
    return _answer(arguments, {"removed": removed}, "\n".join(f"Removed: {path}" for path in removed))


def _import(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.models.store import ModelStore

    store = ModelStore()
    notice(store.locate(arguments.model).entry.licence_text(), argparse.Namespace(quiet=False))
    path = store.import_file(arguments.model, arguments.file)
    return _answer(arguments, {"model": arguments.model, "path": str(path)}, str(path))


def _answer(arguments: argparse.Namespace, content: dict[str, Any], text: str) -> int:
    if arguments.json:
        print_json(content)
    else:
        print(text)
    return 0


def _as_dict(model: "StoredModel") -> dict[str, Any]:
    entry = model.entry
    return {
        "id": entry.id,
        "title": entry.title,
        "backbone": entry.backbone,
        "licence": entry.licence,
        "non_commercial": entry.non_commercial,
        "import_only": entry.import_only,
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "source": entry.source,
        "path": None if model.path is None else str(model.path),
        "origin": model.origin,
    }
