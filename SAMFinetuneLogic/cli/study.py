"""Compare strategies of fine-tuning on several data sets: the table of paper A.

MANIFEST is that of 'samfinetune evaluate'. Cases with the same "dataset" in the manifest are one data set; each other
case is one by itself. Each strategy is trained anew for each data set and seed, in a process of its own, and tested on
slices that are used for nothing else: a fifth of the images, or blocks of slices of a single volume; with --shots, all
but the few that are learned from. Each finished training is kept in OUT_FOLDER, and the same command goes on from
there. OUT_FOLDER then holds study.md (the table), study.csv (a line for each training) and study.png. While it runs,
its folder "work" holds image slices: treat it as you treat the images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from SAMFinetuneLogic.cli.arguments import positive
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json
from SAMFinetuneLogic.errors import InputError

if TYPE_CHECKING:
    from SAMFinetuneLogic.finetuning.strategy import Preset, Strategy

ALL, DEFAULT = "all", "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``samfinetune study``."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="manifest file, or the folder that holds it")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER", help="new, or that of a study to go on with")
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--strategies",
        default=ALL,
        metavar="all|LIST",
        help="separated by commas, as lora-decoder,lora-encoder-decoder (default: all six of each model: decoder or "
        "encoder-decoder, by vanilla, adapter or lora)",
    )
    what.add_argument(
        "--models",
        default=DEFAULT,
        metavar="LIST",
        help="ids of 'samfinetune models list' or checkpoint files, separated by commas (default: the default model)",
    )
    what.add_argument("--seeds", type=positive, default=1, metavar="N", help="trainings of each (default: 1)")
    what.add_argument("--cases", nargs="+", metavar="CASE", help="only these cases of the manifest")
    what.add_argument("--max-labels", type=positive, metavar="N", help="only the N largest structures of a data set")
    what.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also the models without training and, in automatic mode, a U-Net (needs MONAI)",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--mode",
        choices=("automatic", "prompts"),
        default="automatic",
        help="automatic: classes without prompts, as in paper A (default); prompts: one click on each structure",
    )
    how.add_argument("--shots", type=positive, metavar="K", help="few-shot: learn from K slices, test on the others")
    how.add_argument("--test-slices", type=positive, default=24, metavar="N", help="at most, equally spaced (24)")
    how.add_argument("--preset", choices=("recommended", "faithful"), default="recommended", help="faithful: paper A's")
    how.add_argument("--steps", type=positive, metavar="N", help="of training (default: by the preset)")
    how.add_argument("--batch", type=positive, metavar="N", help="slices a step")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    how.add_argument("--overwrite", action="store_true", help="forget the trainings in OUT_FOLDER and begin anew")
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print its table; 0 if all went well."""
    from SAMFinetuneLogic.errors import ModelError
    from SAMFinetuneLogic.evaluation.manifest import read_manifest
    from SAMFinetuneLogic.models.device import choose_device
    from SAMFinetuneLogic.study.conducting import run_study
    from SAMFinetuneLogic.study.plan import StudySettings

    strategies = _strategies(arguments.strategies, arguments.preset)
    models = _models(arguments.models)
    manifest = read_manifest(arguments.manifest)
    if arguments.cases is not None:
        manifest = manifest.only(arguments.cases)
    settings = StudySettings(
        arguments.mode,
        arguments.preset,
        arguments.shots,
        arguments.steps,
        arguments.batch,
        arguments.test_slices,
        arguments.max_labels,
        str(choose_device(arguments.device)),
    )
    hidden = True if arguments.quiet else None
    from tqdm import tqdm

    with tqdm(desc="study", unit="cell", disable=hidden, bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:

        def show(done: int, total: int, name: str, share: float) -> None:
            bar.total = total
            bar.n = min(total, done + share)
            bar.set_postfix_str(f"{done} of {total} cells; {name}" if done < total else f"{total} cells")

        outcome = run_study(
            arguments.out,
            manifest,
            models,
            strategies,
            arguments.seeds,
            settings,
            arguments.baselines,
            arguments.overwrite,
            show,
            lambda text: notice(text, arguments),
        )
    if arguments.json:
        failed = [{"cell": one.cell.file_name, "reason": one.reason} for one in outcome.failures]
        print_json({"folder": str(arguments.out), "cells": outcome.cells, "failed": failed})
    else:
        print(outcome.report, end="")
    if outcome.failures:
        raise ModelError(
            f"{len(outcome.failures)} of {outcome.cells} cells failed and are tried again by the same command; "
            f"the first: {outcome.failures[0].reason}"
        )
    return 0


def _strategies(text: str, preset: "Preset") -> "Sequence[Strategy]":
    from SAMFinetuneLogic.finetuning.strategy import all_strategies, parse_strategy

    if text.strip() == ALL:
        return all_strategies(preset)
    names = [name for name in text.split(",") if name.strip()]
    if not names:
        raise InputError("--strategies names none: give 'all', or a list such as lora-decoder,lora-encoder-decoder.")
    found = [parse_strategy(name, preset) for name in names]
    if any(one.preset != preset for one in found):
        raise InputError("A study has one preset: name strategies without it, and choose it by --preset.")
    return list(dict.fromkeys(found))


def _models(text: str) -> list[str]:
    from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID

    # A file's name may have a comma in it.
    names = [text] if Path(text).is_file() else [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError("--models names none: give 'default', ids of 'samfinetune models list', or checkpoint files.")
    return list(dict.fromkeys(DEFAULT_MODEL_ID if name == DEFAULT else name for name in names))
