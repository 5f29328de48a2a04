"""Train the default model on synthetic images, or write the checkpoint of a training.

Training goes on from the last state in FOLDER. It can be stopped at any time; the state is saved every few minutes
and at the end. The weights that --export writes are the running average of those that were trained.
"""

import argparse
import os
import signal
from pathlib import Path

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import check_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``samfinetune pretrain``."""
    parser.add_argument("folder", type=Path, help="folder of the training's state")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to train now (default %(default)s)")
    parser.add_argument(
        "--finish", type=int, default=0, metavar="STEPS", help="lower the rate to zero over the last STEPS"
    )
    parser.add_argument("--size", type=int, default=128, help="side of the input in pixels (default %(default)s)")
    parser.add_argument(
        "--fine-size", type=int, default=0, metavar="SIZE", help="side of a finer input for half of the steps; 0: none"
    )
    parser.add_argument("--pairs", type=int, default=8, help="pairs of slices in a step (default %(default)s)")
    parser.add_argument("--targets", type=int, default=2, help="structures in a slice (default %(default)s)")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="learning rate (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the images and the weights (default %(default)s)")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin a new training with these weights")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    parser.add_argument("--producers", type=int, default=1, help="processes that make images (default %(default)s)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first: minutes at the start, faster steps"
    )
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="write the checkpoint at the end; with --minutes 0 at once"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --export if it exists already")


def run(arguments: argparse.Namespace) -> int:
    """Train, then export if asked to."""
    _check(arguments)
    # Threads that spin while they wait would slow every other program on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    if arguments.compile:
        import torch._dynamo  # before the network's modules, which ask it to leave some functions alone

    from SAMFinetuneLogic.models.device import choose_device
    from SAMFinetuneLogic.priority import lower_priority
    from SAMFinetuneLogic.synthetic.release import export_checkpoint
    from SAMFinetuneLogic.synthetic.trainer import STATE_FILE, TrainingSettings
    from SAMFinetuneLogic.synthetic.training import train

    if arguments.threads > 0:
        torch.set_num_threads(arguments.threads)
    if arguments.minutes > 0:
        lower_priority()
        # A polite kill ends like Ctrl-C: the state is saved.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        settings = TrainingSettings(
            size=arguments.size,
            fine_size=arguments.fine_size,
            pairs=arguments.pairs,
            targets=arguments.targets,
            learning_rate=arguments.rate,
            seed=arguments.seed,
        )
        train(
            arguments.folder,
            settings,
            minutes=arguments.minutes,
            finish_steps=arguments.finish,
            compiled=arguments.compile,
            producers=arguments.producers,
            device=choose_device(arguments.device),
            start=arguments.start,
        )
    if arguments.export is not None:
        print(f"Wrote {export_checkpoint(arguments.folder / STATE_FILE, arguments.export)}.")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail after the processes have been started, or at the end.

    Raises:
        InputError: a number that cannot be meant.
        OutputError: the checkpoint cannot be written.
    """
    for name in ("pairs", "targets", "producers"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} must be at least 1.")
    for name in ("seed", "finish", "threads"):
        if getattr(arguments, name) < 0:
            raise InputError(f"--{name} must not be negative.")
    if not 0 <= arguments.minutes < float("inf"):
        raise InputError("--minutes must be a number from 0 on.")
    if not 0 < arguments.rate < float("inf"):
        raise InputError("--rate must be a number above 0.")
    if arguments.export is not None:
        inputs = [] if arguments.start is None else [arguments.start]
        check_target(arguments.export, arguments.overwrite, inputs)
