"""Background jobs: list them, follow one, stop it, or go on with it.

list             all jobs of this machine whose folders are still there, with their scores
watch FOLDER     live progress of one; leaving it does not stop the job
cancel FOLDER    ask it to stop; its last checkpoint stays
resume FOLDER    go on from the last checkpoint, to the same result as if it had never stopped
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json
from SAMFinetuneLogic.errors import InputError

if TYPE_CHECKING:
    from SAMFinetuneLogic.jobs.folder import JobDescription, JobFolder, Status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, action, summary in (
        ("list", _list, "all jobs of this machine"),
        ("watch", _watch, "live progress"),
        ("cancel", _cancel, "ask a job to stop"),
        ("resume", _resume, "go on with a job"),
    ):
        subparser = actions.add_parser(name, help=summary, allow_abbrev=False)
        subparser.set_defaults(action=action)
        if name != "list":
            subparser.add_argument("folder", type=Path, metavar="FOLDER", help="of the job")
        if name == "cancel":
            subparser.add_argument("--now", action="store_true", help="end the process at once")
        if name == "resume":
            subparser.add_argument("--detach", action="store_true", help="return at once")
        add_reporting_arguments(subparser)


def run(arguments: argparse.Namespace) -> int:
    return int(arguments.action(arguments))


def run_here(folder: "JobFolder", arguments: argparse.Namespace) -> None:
    """Do a job in this process, with a progress bar. Ctrl-C leaves a job that can be resumed."""
    from SAMFinetuneLogic.jobs.working import run_job

    with _Bar(arguments) as bar:

        def show(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                bar.show(event["step"], event["steps"], event.get("loss"), event.get("dice"))
            elif event["event"] == "notice":
                notice(f"Note: {event['text']}", arguments)

        run_job(folder, show)


def show_result(folder: "JobFolder", arguments: argparse.Namespace) -> None:
    """How a job ended: the gate's sentence, its table and the files."""
    status = folder.read_status()
    verdict = next((event for event in reversed(list(folder.events())) if event.get("event") == "verdict"), None)
    files = [path for path in (folder.adapter, folder.model_file, folder.curves_file) if path.exists()]
    if arguments.json:
        keys = ("verdict", "gain", "slices", "classes", "task")
        evidence = None if verdict is None else {key: verdict.get(key) for key in keys}
        print_json({**_facts(folder, status), "evidence": evidence, "files": [str(path) for path in files]})
        return
    print(status.message or status.state)
    if status.state == "done":
        if verdict is not None:
            print(verdict["table"])
        for path in files:
            print(path)


def _list(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.jobs.registry import known_jobs

    jobs = [(folder, folder.read_status()) for folder in known_jobs()]
    if arguments.json:
        print_json({"jobs": [_facts(folder, status) for folder, status in jobs]})
        return 0
    if not jobs:
        print("There are no jobs.")
    for folder, status in jobs:
        print(f"{status.state:<9} {_progress(status):>9}  {folder.path}")
        for text in (_origin(folder), status.message):
            if text:
                print(f"          {text}")
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.jobs.watching import follow

    folder = _opened(arguments)
    with _Bar(arguments) as bar:
        for status, events in follow(folder):
            for event in events:
                if event.get("event") == "notice":
                    notice(f"Note: {event['text']}", arguments)
            if status.steps:
                bar.show(status.step, status.steps, status.loss, status.dice, status.state)
    show_result(folder, arguments)
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.jobs.launching import kill

    folder = _opened(arguments)
    status = folder.read_status()
    if not folder.is_alive:
        raise InputError(f"No process works on {folder.path} (it is {status.state}): there is nothing to stop.")
    folder.ask_to_cancel()
    if arguments.now:
        kill(folder)
    _tell(folder, "It stops after the current step." if not arguments.now else "Stopped.", arguments)
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.jobs.launching import launch

    folder = _opened(arguments)
    if folder.read_status().state == "done":
        show_result(folder, arguments)
        return 0
    if arguments.detach:
        launch(folder)
        _tell(folder, "It goes on in the background.", arguments)
        return 0
    if not folder.is_alive:
        folder.forget_cancel()
    run_here(folder, arguments)
    show_result(folder, arguments)
    return 0


def _opened(arguments: argparse.Namespace) -> "JobFolder":
    from SAMFinetuneLogic.jobs.folder import JobFolder

    folder = JobFolder(arguments.folder)
    folder.read_description()
    return folder


def _tell(folder: "JobFolder", text: str, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(_facts(folder, folder.read_status()))
    else:
        print(text)


def _facts(folder: "JobFolder", status: "Status") -> dict[str, Any]:
    description = _description(folder)
    facts = {"job": str(folder.path), **vars(status), "origin": _origin(folder)}
    return {**facts, "images": [] if description is None else description.images}


def _origin(folder: "JobFolder") -> str:
    """What a job makes, and of what."""
    from SAMFinetuneLogic.jobs.creating import read_request
    from SAMFinetuneLogic.jobs.folder import FINETUNE

    try:
        description = folder.read_description()
        what = "self-supervised encoder"
        if description.kind == FINETUNE:
            strategy, mode, _ = read_request(description)
            what = f"{strategy.algorithm} of {strategy.components.replace('_', ' + ')}, mode {mode}"
    except InputError as error:
        return str(error)
    return f"{what}; {Path(description.model).name}; learned from {', '.join(description.images)}"


def _description(folder: "JobFolder") -> "JobDescription | None":
    """None for a damaged one."""
    try:
        return folder.read_description()
    except InputError:
        return None


def _progress(status: "Status") -> str:
    return f"{status.step}/{status.steps}" if status.steps else ""


class _Bar:
    """A progress bar on stderr with loss and Dice; none with --quiet or without a terminal."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc="training", unit="step", disable=True if arguments.quiet else None, leave=False)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def show(self, step: int, steps: int, loss: float | None, dice: float | None, state: str = "running") -> None:
        self._bar.total = steps
        self._bar.update(step - self._bar.n)
        figures = [f"loss {loss:.3f}" if loss is not None else "", f"Dice {dice:.3f}" if dice is not None else ""]
        self._bar.set_postfix_str(", ".join(filter(None, [*figures, "" if state == "running" else state])))
