"""Measure a model on labelled images.

MANIFEST is a JSON list of cases, or a folder with such a manifest.json. Each case is an object with "case" (its name
and folder), "modality", "pairs" (objects with "image" and "label", paths in the case's folder) and, optionally,
"label_names". Each structure with at least 64 voxels in its largest slice (along k) is measured on that slice; means
are taken over the structures of a case, then over cases. The 8-bit mask of a picture (PNG, JPEG, TIFF, BMP) is one
structure, from half its maximum on, unless "label_names" names its values.
"""

import argparse
import sys
from pathlib import Path

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Manifest, manifest_file, read_manifest
from SAMFinetuneLogic.evaluation.prompting_forms import FORMS
from SAMFinetuneLogic.evaluation.protocols import PROTOCOLS, EvaluationProtocol, Settings, make_protocol, regrouped
from SAMFinetuneLogic.evaluation.protocols.base import SliceProtocol
from SAMFinetuneLogic.evaluation.protocols.finetune import COUNTS, TASKS, FinetuneProtocol
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.tables import format_report
from SAMFinetuneLogic.evaluation.worst import Worst, find_worst, format_worst
from SAMFinetuneLogic.files import check_target, write_json
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID

_WORST = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``samfinetune evaluate``."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="manifest file, or the folder that holds it")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only these cases of the manifest")
    parser.add_argument(
        "--protocol",
        choices=sorted(PROTOCOLS),
        default="points",
        help="clicks ('points') or a box on the largest slice; a volume filled in from a few annotated slices "
        "('propagate'); an image segmented from labelled slices of another ('fewshot'); the model adapted to a few "
        "slices of a volume and tried on the others ('finetune'); default: %(default)s",
    )
    parser.add_argument(
        "--shots",
        type=_positive,
        nargs="+",
        metavar="N",
        help="protocol finetune: how many slices are annotated (default: 3 5 9)",
    )
    parser.add_argument(
        "--tasks",
        nargs="*",
        choices=TASKS,
        metavar="TASK",
        help="protocol finetune: what is measured beside one click, before and after adapting: a 'box'; 'automatic', "
        "which is without prompts, by the few-shot decoder and a U-Net; the volume 'filled' in (default: all)",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL_ID, help="id or checkpoint file; 'none': baselines alone")
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="measure the model with this adapter in it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--window", default="auto", help="intensity window: a preset's name or LEVEL/WIDTH")
    parser.add_argument("--max-labels", type=_positive, metavar="N", help="only the N largest structures of a case")
    parser.add_argument("--noisy", type=_positive, default=0, metavar="SEEDS", help="also a noisy user, SEEDS times")
    parser.add_argument(
        "--prompting",
        nargs="+",
        choices=FORMS,
        default=[],
        metavar="FORM",
        help="protocols points and box: also prompt by 'tokens' alone, nothing drawn into the embedding; or by the "
        "'pooled' embedding of another slice with the same structure",
    )
    parser.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure simple methods too; with --results once, for every model",
    )
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="keep finished cases here, and resume from them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="picture of the best, median and worst structures")
    parser.add_argument("--worst", type=_positive, metavar="N", help="the N worst cases and structures, with numbers")
    parser.add_argument("--worst-sheet", type=Path, metavar="PNG", help="picture of them (of 5 without --worst)")
    parser.add_argument("--overwrite", action="store_true", help="replace result files that exist already")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no notices: the tables alone")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the tables, and write what was asked for; 0 if all went well."""
    _check_options(arguments)
    _check_results(arguments)
    manifest = read_manifest(arguments.manifest)
    if arguments.cases is not None:
        manifest = manifest.only(arguments.cases)
    protocol = _protocol(arguments)
    manifest = regrouped(manifest, protocol)
    segmenter = None if arguments.model == "none" else _load(arguments)
    settings = Settings(
        arguments.max_labels,
        arguments.noisy,
        arguments.baselines,
        arguments.window,
        tuple(sorted(set(arguments.prompting))),
    )
    report = _evaluate(manifest, protocol, segmenter, settings, arguments)
    print(format_report(report))
    left_out = [case.name for case in manifest.cases if case.name not in report.cases]
    if left_out and not arguments.quiet:
        print(f"Without a structure that is large enough: {', '.join(left_out)}.", file=sys.stderr)
    content = {**report.to_json(), "left_out": left_out}
    worst: Worst | None = None
    if arguments.worst is not None or arguments.worst_sheet is not None:
        worst = find_worst(report, protocol.ranking, arguments.worst or _WORST)
        content["worst"] = worst.to_json()
        print("", format_worst(worst), sep="\n")
    if arguments.json is not None:
        write_json(arguments.json, content)
    if segmenter is not None:
        _save_sheets(report, worst, manifest, protocol, segmenter, arguments)
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: there are some.
    """
    about_model = (arguments.sheet, arguments.worst_sheet, arguments.worst, arguments.adapter)
    about_prompts = bool(arguments.noisy or arguments.prompting)
    if arguments.model == "none" and (about_prompts or any(option is not None for option in about_model)):
        raise InputError(
            "Picture sheets, --worst, --adapter, --noisy and --prompting are about a model's predictions; choose a "
            "model, or leave them out."
        )
    prompts_slices = isinstance(make_protocol(arguments.protocol), SliceProtocol)
    if about_prompts and not prompts_slices:
        raise InputError("--noisy and --prompting belong to --protocol points and box; leave them out.")


def _check_results(arguments: argparse.Namespace) -> None:
    """Find out before the work starts whether the files can be written.

    Raises:
        InputError: two of them are one file.
        OutputError: one cannot be written.
    """
    from SAMFinetuneLogic.pictures.sheet import check_picture_name

    targets = [path for path in (arguments.json, arguments.sheet, arguments.worst_sheet) if path is not None]
    for target in targets:
        check_target(target, arguments.overwrite, [manifest_file(arguments.manifest)])
        if target is not arguments.json:
            check_picture_name(target)
    if len({target.resolve() for target in targets}) < len(targets):
        raise InputError("--json, --sheet and --worst-sheet must name different files; one would replace the other.")


def _protocol(arguments: argparse.Namespace) -> EvaluationProtocol:
    protocol = make_protocol(arguments.protocol)
    if isinstance(protocol, FinetuneProtocol):
        return FinetuneProtocol(arguments.shots or COUNTS, TASKS if arguments.tasks is None else arguments.tasks)
    if arguments.shots is not None or arguments.tasks is not None:
        raise InputError("--shots and --tasks belong to --protocol finetune; leave them out.")
    return protocol


def _evaluate(
    manifest: Manifest,
    protocol: EvaluationProtocol,
    segmenter: ModelSegmenter | None,
    settings: Settings,
    arguments: argparse.Namespace,
) -> EvaluationReport:
    from tqdm import tqdm

    hidden = True if arguments.quiet else None
    with tqdm(total=len(manifest.cases), desc=arguments.protocol, unit="case", disable=hidden) as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)
            bar.set_postfix_str("" if done == total else manifest.cases[done].name)

        def show_structures(done: int, total: int) -> None:
            bar.set_postfix_str(f"{manifest.cases[int(bar.n)].name} {done}/{total}")

        return evaluate(
            manifest,
            protocol,
            segmenter,
            settings,
            results_folder=arguments.results,
            progress=show,
            case_progress=show_structures,
        )


def _load(arguments: argparse.Namespace) -> ModelSegmenter:
    from SAMFinetuneLogic.models.loading import load_model

    if arguments.adapter is None:
        loaded = load_model(arguments.model, arguments.device)
    else:
        from SAMFinetuneLogic.finetuning.predicting import load_adapted_model

        loaded = load_adapted_model(arguments.adapter, arguments.model, arguments.device)
    if not arguments.quiet:
        print(f"{loaded.description}", *loaded.warnings, sep="\n", file=sys.stderr)
    return ModelSegmenter(loaded)


def _save_sheets(
    report: EvaluationReport,
    worst: Worst | None,
    manifest: Manifest,
    protocol: EvaluationProtocol,
    segmenter: ModelSegmenter,
    arguments: argparse.Namespace,
) -> None:
    from SAMFinetuneLogic.evaluation.picture import picture_sheet, worst_sheet
    from SAMFinetuneLogic.pictures.sheet import save_picture

    if arguments.sheet is not None:
        save_picture(picture_sheet(report, manifest, segmenter, protocol), arguments.sheet)
    if arguments.worst_sheet is not None and worst is not None:
        save_picture(worst_sheet(worst, report, manifest, segmenter, protocol), arguments.worst_sheet)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)
