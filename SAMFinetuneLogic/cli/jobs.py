"""Background jobs: list them, follow one, stop it, or go on with it.

list             all jobs of this machine whose folders are still there, with their scores
watch FOLDER     live progress of one; leaving it does not stop the job. Exit code: 0 done, 2 failed, 130 cancelled
cancel FOLDER    ask it to stop; its last checkpoint stays
resume FOLDER    go on from the last checkpoint, to the same result as if it had never stopped
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json
from SAMFinetuneLogic.cli.training_bar import TrainingBar
from SAMFinetuneLogic.errors import Cancelled, InputError

if TYPE_CHECKING:
    from SAMFinetuneLogic.jobs.folder import JobDescription, JobFolder, Status


_WITHOUT_MESSAGE = {"prepared": "It has not been started yet: 'samfinetune jobs resume FOLDER' does so."}
_EXIT_CODES = {"done": 0, "cancelled": 130}


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


def begin(folder: "JobFolder", arguments: argparse.Namespace) -> int:
    """Do a new job: here, or with `--detach` in the background. Returns the exit code."""
    from SAMFinetuneLogic.jobs.launching import launch

    if not arguments.detach:
        run_here(folder, arguments)
        show_result(folder, arguments)
        return 0
    launch(folder)
    if arguments.json:
        print_json({"job": str(folder.path), "state": folder.read_status().state})
    else:
        print(folder.path)
        notice("It goes on in the background: follow it with 'samfinetune jobs watch FOLDER'.", arguments)
    return 0


def run_here(folder: "JobFolder", arguments: argparse.Namespace) -> None:
    """Do a job in this process, with a progress bar. Ctrl-C leaves a job that can be resumed."""
    from SAMFinetuneLogic.jobs.working import run_job

    with TrainingBar(arguments) as bar:
        last: dict[str, Any] = {}

        def show(event: dict[str, Any]) -> None:
            if event["event"] == "start":
                bar.begin(event["step"], event["steps"])
            elif event["event"] == "step":
                last.update(event)
                bar.show(event["step"], event["steps"], event.get("loss"), event.get("dice"))
            elif event["event"] == "judging" and last:
                bar.show(last["step"], last["steps"], last.get("loss"), last.get("dice"), "judging")
            elif event["event"] == "notice":
                notice(f"Note: {event['text']}", arguments)

        try:
            run_job(folder, show)
        except (Cancelled, KeyboardInterrupt):
            notice(f"Go on from the last checkpoint with 'samfinetune jobs resume FOLDER': {folder.path}", arguments)
            raise


def show_result(folder: "JobFolder", arguments: argparse.Namespace) -> None:
    """How a job ended: the gate's sentence, its table and the files."""
    status = folder.read_status()
    verdict = next((event for event in reversed(list(folder.events())) if event.get("event") == "verdict"), None)
    files = [path for path in (folder.adapter, folder.model_file, folder.curves_file) if path.exists()]
    if arguments.json:
        keys = ("verdict", "gain", "box_change", "slices", "classes", "task")
        evidence = None if verdict is None else {key: verdict.get(key) for key in keys}
        print_json({**_facts(folder, status), "evidence": evidence, "files": [str(path) for path in files]})
        return
    print(status.message or _WITHOUT_MESSAGE.get(status.state, status.state))
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
        for text in (_origin(folder), status.message or _figures(status)):
            if text:
                print(f"          {text}")
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.jobs.watching import follow

    folder = _opened(arguments)
    try:
        with TrainingBar(arguments) as bar:
            for status, events in follow(folder):
                for event in events:
                    if event.get("event") == "notice":
                        notice(f"Note: {event['text']}", arguments)
                if status.steps:
                    bar.show(status.step, status.steps, status.loss, status.dice, status.state)
    except KeyboardInterrupt:
        notice("No longer watched; the job goes on.", arguments)
        return _EXIT_CODES["cancelled"]
    show_result(folder, arguments)
    return _EXIT_CODES.get(folder.read_status().state, 2)


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


def _figures(status: "Status") -> str:
    """Of a training that runs."""
    named = (("loss", status.loss), ("Dice", status.dice))
    texts = [f"{name} {value:.3f}" for name, value in named if value is not None]
    if status.seconds_left is not None:
        texts.append(f"about {status.seconds_left:.0f} s left")
    return ", ".join(texts)
