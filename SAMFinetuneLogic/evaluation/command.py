"""Measure a model on labelled images.

MANIFEST is a JSON list of cases, or a folder with such a manifest.json. Each case is an object with "case" (its name
and folder), "modality", "pairs" (objects with "image" and "label", paths in the case's folder) and, optionally,
"label_names". Each structure with at least 64 voxels in its largest slice (along k) is measured on that slice; means
are taken over the structures of a case, then over cases.
"""

import argparse
import sys
from pathlib import Path

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import PROTOCOLS, Settings
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.tables import format_report
from SAMFinetuneLogic.files import write_json
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``samfinetune evaluate``."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="manifest file, or the folder that holds it")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="points", help="default: %(default)s")
    parser.add_argument("--model", default=DEFAULT_MODEL_ID, help="id or checkpoint file; 'none': baselines alone")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--window", default="auto", help="intensity window: a preset's name or LEVEL/WIDTH")
    parser.add_argument("--max-labels", type=_positive, metavar="N", help="only the N largest structures of a case")
    parser.add_argument("--noisy", type=_positive, default=0, metavar="SEEDS", help="also a noisy user, SEEDS times")
    parser.add_argument("--baselines", action=argparse.BooleanOptionalAction, default=True, help="measure them too")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="keep finished cases here, and resume from them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="picture of the best, median and worst structures")
    parser.add_argument("--overwrite", action="store_true", help="replace result files that exist already")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the tables, and write what was asked for; 0 if all went well."""
    if arguments.sheet is not None and arguments.model == "none":
        raise InputError("A picture sheet shows a model's predictions; choose a model, or leave --sheet out.")
    for target in (arguments.json, arguments.sheet):
        if target is not None and target.exists() and not arguments.overwrite:
            raise OutputError(f"{target} exists already; choose another name, or add --overwrite.")
    manifest = read_manifest(arguments.manifest)
    segmenter = None if arguments.model == "none" else _load(arguments.model, arguments.device)
    settings = Settings(arguments.max_labels, arguments.noisy, arguments.baselines, arguments.window)

    from tqdm import tqdm

    with tqdm(
        total=len(manifest.cases), desc=arguments.protocol, unit="case", disable=True if arguments.quiet else None
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        report = evaluate(
            manifest,
            arguments.protocol,
            segmenter,
            settings,
            results_folder=arguments.results,
            progress=show,
        )
    print(format_report(report))
    if arguments.json is not None:
        write_json(arguments.json, report.to_json())
    if arguments.sheet is not None and segmenter is not None:
        from SAMFinetuneLogic.evaluation.picture import picture_sheet
        from SAMFinetuneLogic.pictures.sheet import save_picture

        save_picture(picture_sheet(report, manifest, segmenter), arguments.sheet)
    return 0


def _load(model: str, device: str) -> ModelSegmenter:
    from SAMFinetuneLogic.models.loading import load_model

    loaded = load_model(model, device)
    print(f"{loaded.description}", *loaded.warnings, sep="\n", file=sys.stderr)
    return ModelSegmenter(loaded)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)
