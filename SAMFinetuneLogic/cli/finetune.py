"""Adapt a model to labelled slices, and keep the adapter only if it is measurably better.

Slices of the label maps, or of a few-shot collection, are divided into some to learn from and some to judge by. The
result is an adapter in the job's folder, with the evidence: Dice and HD95 of the model as it was and as it is, on
slices used for nothing else. Use it with --adapter JOB on segment, propagate, fewshot and evaluate, or with predict if
it was trained with --mode automatic. The job's folder holds image slices: treat it as you treat the images.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMFinetuneLogic.cli.arguments import positive, seed
from SAMFinetuneLogic.cli.jobs import begin
from SAMFinetuneLogic.cli.pairs import add_pair_arguments, check_pairs, read_pairs
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import absolute_if_file
from SAMFinetuneLogic.wording import some_slices

if TYPE_CHECKING:
    from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID

    data = parser.add_argument_group("data")
    add_pair_arguments(data, required=False, unnamed="all with labels", axis="k")
    data.add_argument(
        "--collection",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="of 'fewshot fit', instead of --pair or beside it: learn from its slices, in the plane and window of "
        "their collection (with --mode automatic)",
    )
    data.add_argument(
        "--mixed",
        action="store_true",
        help="the pairs are of different data sets: one value in two label maps means two structures",
    )
    what = parser.add_argument_group("what to adapt")
    what.add_argument("--model", default=DEFAULT_MODEL_ID, metavar="ID|FILE", help=f"(default: {DEFAULT_MODEL_ID})")
    what.add_argument(
        "--components",
        choices=("decoder", "encoder_decoder"),
        default="encoder_decoder",
        help="that are trained (default: encoder_decoder)",
    )
    what.add_argument(
        "--algorithm",
        choices=("vanilla", "adapter", "lora"),
        default="lora",
        help="vanilla: all of their weights; adapter: small layers put in between; lora: low-rank changes (default)",
    )
    what.add_argument(
        "--preset", choices=("recommended", "faithful"), default="recommended", help="faithful: paper A's"
    )
    what.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one of the strategy's options, as rank=16 or dora=true; may be given several times",
    )
    what.add_argument(
        "--mode",
        choices=("prompts", "automatic"),
        default="prompts",
        help="prompts: better answers to clicks and boxes (default); automatic: the classes without any prompt",
    )
    what.add_argument(
        "--new-base",
        action="store_true",
        help="also write the adapted model as a checkpoint, a --model for further trainings (lora and vanilla)",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--job", type=Path, required=True, metavar="FOLDER", help="where all of it goes; a new folder")
    how.add_argument("--detach", action="store_true", help="return at once; see 'samfinetune jobs'")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    how.add_argument("--steps", type=positive, metavar="N", help="of training (default: by the preset)")
    how.add_argument("--batch", type=positive, metavar="N", help="slices a step (default: by the preset)")
    how.add_argument("--accumulate", type=positive, metavar="N", help="send a batch through in N parts: less memory")
    how.add_argument("--checkpointing", action="store_true", default=None, help="less memory, more time")
    how.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), help="of the arithmetic (default: auto)")
    how.add_argument("--seed", type=seed, metavar="N", help="the same seed gives the same adapter (default: 0)")
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    _check_data(arguments)

    from SAMFinetuneLogic.jobs.folder import JobFolder

    JobFolder(arguments.job).check_free()

    from SAMFinetuneLogic.finetuning.schedule import settings_for
    from SAMFinetuneLogic.finetuning.splitting import MIN_FOR_STOPPING, split
    from SAMFinetuneLogic.finetuning.strategy import Strategy
    from SAMFinetuneLogic.finetuning.strategy_options import parse_options
    from SAMFinetuneLogic.jobs.creating import FinetuneRequest, create_finetune_job
    from SAMFinetuneLogic.models.loading import load_model

    options = parse_options(arguments.option, arguments.algorithm, arguments.components, arguments.mode)
    strategy = Strategy.of(arguments.algorithm, arguments.components, arguments.preset, **options)
    data = _gather(arguments)
    parts = split(data)
    names = ("steps", "batch", "accumulate", "checkpointing", "precision", "seed")
    changes = {name: getattr(arguments, name) for name in names}
    settings = settings_for(arguments.preset, len(parts.train), arguments.mode, **changes)
    model = load_model(arguments.model, arguments.device)
    for text in model.warnings if arguments.detach else ():  # else the job itself says so
        notice(f"Note: {text}", arguments)
    named = absolute_if_file(arguments.model)
    request = FinetuneRequest(
        named, model.weights_sha256, strategy, arguments.mode, settings, arguments.device, arguments.new_base
    )
    folder = create_finetune_job(arguments.job, data, request, parts)
    counts = f"{some_slices(len(parts.train))} to learn from, {len(parts.validation)} to stop by"
    notice(f"{counts}, {len(parts.gate)} to judge by; {settings.steps} steps at most.", arguments)
    if not parts.validation:
        notice(f"With fewer than {MIN_FOR_STOPPING} labelled slices the schedule is fixed.", arguments)
    del model
    return begin(folder, arguments)


def _check_data(arguments: argparse.Namespace) -> None:
    """Whether there is something to learn from, and the mode can learn from it.

    Raises:
        InputError: not so.
    """
    if not arguments.pair and not arguments.collection:
        raise InputError("There is nothing to learn from: give --pair IMAGE LABELS, or --collection FILE.")
    if arguments.collection and arguments.mode != "automatic":
        raise InputError(
            "A collection does not know how its slices are stored, as prompts need it: add --mode automatic, or give "
            "the images by --pair."
        )
    check_pairs(arguments)


def _gather(arguments: argparse.Namespace) -> "LabelledSet":
    from SAMFinetuneLogic.fewshot.collection_files import load_collection
    from SAMFinetuneLogic.finetuning.from_collection import slices_of_collection
    from SAMFinetuneLogic.finetuning.labelled_slices import joined, labelled_slices

    turned = arguments.mode == "automatic"
    parts = [
        labelled_slices(pair.volume, pair.labels, pair.window, pair.axis, pair.indices, turned)
        for pair in read_pairs(arguments)
    ]
    parts += [slices_of_collection(load_collection(path).collection) for path in arguments.collection]
    return joined(parts, arguments.mixed)
