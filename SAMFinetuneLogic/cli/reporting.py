"""What the subcommands tell the user: progress on stderr, results on stdout."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from SAMFinetuneLogic.imaging.labels import LabelMap


def add_reporting_arguments(parser: argparse.ArgumentParser) -> None:
    """`--quiet` and `--json`, the same for all subcommands."""
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no notices")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def print_json(content: Mapping[str, Any]) -> None:
    """One line of JSON on stdout, escaped where stdout has no letters for it."""
    text = json.dumps(content, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content)
    print(text)


def voxel_counts(labels: "LabelMap") -> list[dict[str, Any]]:
    """Value, name and number of voxels of each segment, fit for JSON."""
    return [{"value": s.value, "name": s.name, "voxels": int(labels.mask(s.value).sum())} for s in labels.segments]


def notice(text: str, arguments: argparse.Namespace) -> None:
    """A line on stderr, unless the user wants quiet."""
    if not arguments.quiet:
        print(" ".join(text.split()), file=sys.stderr)


@contextmanager
def progress_bar(what: str, arguments: argparse.Namespace, unit: str = "slice") -> Iterator[ProgressCallback]:
    """A progress bar on stderr; none with `--quiet`, and none where stderr is not a terminal."""
    if arguments.quiet:
        yield no_progress
        return
    from tqdm import tqdm

    is_bytes = unit == "B"
    with tqdm(desc=what, unit=unit, unit_scale=is_bytes, disable=None, file=sys.stderr, leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
