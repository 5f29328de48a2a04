"""Entry point: finds the subcommand, runs it, and turns errors into one line and an exit code.

Exit codes: 0 done, 2 bad input or a result that cannot be written, 130 stopped by the user.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.cli.arguments import join_negative_values
from SAMFinetuneLogic.errors import Cancelled, InputError, SAMFinetuneError, is_out_of_memory

BAD_INPUT = 2
STOPPED = 130

# Each module has add_arguments(parser) and run(arguments) -> int; only the one that is asked for is imported.
COMMANDS = {
    "segment": ("SAMFinetuneLogic.cli.segment", "segment an image from clicks and boxes, as NIfTI"),
    "propagate": ("SAMFinetuneLogic.cli.propagate", "annotate a few slices, get the rest of the volume"),
    "demo": ("SAMFinetuneLogic.cli.demo", "make a phantom, segment it, and show the result"),
    "export": ("SAMFinetuneLogic.cli.export", "turn a Slicer segmentation into NIfTI"),
    "models": ("SAMFinetuneLogic.cli.models", "list, download, check and remove models"),
    "fewshot": ("SAMFinetuneLogic.cli.fewshot", "learn a structure from a few labelled slices and find it elsewhere"),
    "finetune": ("SAMFinetuneLogic.cli.finetune", "adapt the model to labelled slices, with evidence that it helped"),
    "predict": ("SAMFinetuneLogic.cli.predict", "segment images with an adapter that needs no prompts"),
    "selfsupervise": ("SAMFinetuneLogic.cli.selfsupervise", "go on training an image encoder on unlabelled images"),
    "jobs": ("SAMFinetuneLogic.cli.jobs", "list, follow, stop and resume background jobs"),
    "pretrain": ("SAMFinetuneLogic.synthetic.command", "train the default model on synthetic images"),
    "study": ("SAMFinetuneLogic.cli.study", "compare strategies of fine-tuning on several data sets"),
    "evaluate": ("SAMFinetuneLogic.evaluation.command", "measure a model on labelled images"),
}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others of this command."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help).")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (default: the process's arguments); returns the exit code."""
    _prepare_streams()
    given = join_negative_values(sys.argv[1:] if argv is None else argv)
    try:
        arguments, unknown = build_parser(given).parse_known_args(given)
        if unknown:  # argparse would name the help of all commands
            raise InputError(
                f"unrecognized arguments: {' '.join(unknown)} (see samfinetune {_command_of(given)} --help)."
            )
        return int(arguments.run(arguments))
    except (Cancelled, KeyboardInterrupt):
        _complain("Stopped.")
        return STOPPED
    except SAMFinetuneError as error:
        _complain(str(error))
        return BAD_INPUT
    except BrokenPipeError:  # `samfinetune models list | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        _complain(f"{error.strerror or error}{place}.")
        return BAD_INPUT
    except Exception as error:
        if not is_out_of_memory(error):  # a defect of ours: the traceback is what helps to find it
            raise
        _complain("Not enough memory; close other programs, or use a smaller image.")
        return BAD_INPUT


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for ``argv``: the options of its subcommand are filled in, those of the others are not."""
    parser = _Parser(
        prog="samfinetune",
        description="Segment medical images with clicks and boxes. Everything runs on this machine. "
        "For research use only.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"samfinetune {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = _command_of(argv)
    for name, (module_name, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, allow_abbrev=False)
        if name == wanted:
            module = import_module(module_name)
            subparser.description = (module.__doc__ or summary).strip()
            subparser.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def _command_of(argv: Sequence[str]) -> str | None:
    return next((word for word in argv if not word.startswith("-")), None)


def _prepare_streams() -> None:
    """Make them fit for all that may be printed.

    A closed one (`2>&-`, a Python without a console) is None: progress bars cannot write to that. And a terminal or a
    pipe may have no letters for the names of files and segments; stderr has an escape for them by itself.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(message: str) -> None:
    print(f"samfinetune: {' '.join(message.split())}", file=sys.stderr)
