"""The work of a job's process: waits for its turn, trains, judges, and leaves the folder in a state that tells."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.errors import Cancelled, InputError, ModelError, SAMFinetuneError, is_out_of_memory
from SAMFinetuneLogic.jobs.folder import CHECKPOINT, FINETUNE, PRETRAIN, STOPPED, JobDescription, JobFolder
from SAMFinetuneLogic.jobs.locks import FileLock
from SAMFinetuneLogic.jobs.registry import device_lock_path, remember
from SAMFinetuneLogic.jobs.reporting import Reporter
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled

if TYPE_CHECKING:
    from SAMFinetuneLogic.models.loaded_model import LoadedModel

Listener = Callable[[dict[str, Any]], None]

_POLL_SECONDS = 0.25


def run_job(folder: JobFolder, listener: Listener | None = None, cancelled: CancelCheck | None = None) -> None:
    """Do a job's work in this process, from its last checkpoint on. One that is done already is left alone.

    Args:
        listener: hears of each event too.
        cancelled: besides the folder's ``cancel`` file.

    Raises:
        InputError: there is no job, it is damaged, or another process works on it.
        Cancelled: on request; resuming goes on from the last checkpoint.
        SAMFinetuneError: what went wrong; it stands in the status, too.
    """
    description = folder.read_description()
    with folder.lock() as lock:
        if not lock.acquire():
            raise InputError(f"A process works on {folder.path} already: follow it with 'samfinetune jobs watch'.")
        if folder.read_status().state == "done":
            return
        remember(folder)
        with Reporter(folder) as reporter:
            _guarded(folder, description, reporter, listener, cancelled)


def _guarded(
    folder: JobFolder,
    description: JobDescription,
    reporter: Reporter,
    listener: Listener | None,
    cancelled: CancelCheck | None,
) -> None:
    def hear(event: dict[str, Any]) -> None:
        reporter.event(event)
        if listener is not None:
            listener(event)

    def stop() -> bool:
        return folder.is_cancelled or (cancelled is not None and cancelled())

    try:
        reporter.state("queued", "Starting.")
        message = _work(folder, description, reporter, hear, stop)
        reporter.state("done", message)
    except (Cancelled, KeyboardInterrupt):
        reporter.state("cancelled", STOPPED)
        raise
    except SAMFinetuneError as error:
        reporter.state("failed", str(error))
        raise
    except Exception as error:
        if is_out_of_memory(error):
            text = "Not enough memory: close other programs, or choose a smaller model."
            reporter.state("failed", text)
            raise ModelError(text) from error
        _log_traceback(folder)
        text = f"Something unexpected went wrong ({type(error).__name__}); {folder.log_file} says what."
        reporter.state("failed", text)
        raise SAMFinetuneError(text) from error


def _log_traceback(folder: JobFolder) -> None:
    """Into log.txt, whether or not this process's messages go there."""
    with suppress(OSError), folder.log_file.open("a", encoding="utf-8") as log:
        traceback.print_exc(file=log)


def _work(folder: JobFolder, description: JobDescription, reporter: Reporter, hear: Listener, stop: CancelCheck) -> str:
    from SAMFinetuneLogic.models.device import choose_device

    device = choose_device(description.device)
    with FileLock(device_lock_path(str(device))) as turn:
        if not turn.acquire():
            reporter.state("queued", "Waiting for another job to end.")
        while not turn.acquire():
            raise_if_cancelled(stop)
            time.sleep(_POLL_SECONDS)
        raise_if_cancelled(stop)
        reporter.state("running")
        with _opened_model(description) as model:
            for text in model.warnings:
                hear({"event": "notice", "text": text})
            work = {FINETUNE: _finetune, PRETRAIN: _pretrain}.get(description.kind)
            if work is None:
                raise InputError(f"The job's kind is '{description.kind}', which this version does not know.")
            message = work(folder, description, model, hear, stop)
    (folder.path / CHECKPOINT).unlink(missing_ok=True)
    return message


@contextmanager
def _opened_model(description: JobDescription) -> Iterator["LoadedModel"]:
    """The job's model, while torch uses the job's number of threads."""
    import torch

    from SAMFinetuneLogic.finetuning.tiny_numbers import tiny_numbers_are_zero
    from SAMFinetuneLogic.models.loading import load_model

    threads = torch.get_num_threads()
    torch.set_num_threads(description.threads)
    try:
        with tiny_numbers_are_zero("cpu"):  # here already, before torch starts its threads
            model = load_model(description.model, description.device)
            if model.weights_sha256 != description.model_sha256:
                raise ModelError(f"{description.model} is not the file that the job began with: start the job anew.")
            yield model
    finally:
        torch.set_num_threads(threads)


def _finetune(
    folder: JobFolder, description: JobDescription, model: "LoadedModel", hear: Listener, stop: CancelCheck
) -> str:
    from SAMFinetuneLogic.finetuning.base_files import save_base
    from SAMFinetuneLogic.finetuning.run import finetune
    from SAMFinetuneLogic.finetuning.snapshot import read_snapshot
    from SAMFinetuneLogic.jobs.creating import read_request
    from SAMFinetuneLogic.jobs.curves import save_curves

    strategy, mode, settings = read_request(description)
    data, split = read_snapshot(folder.data)
    result = finetune(model, data, split, strategy, settings, mode, folder.adapter, folder.path, hear, stop)
    if description.work.get("new_base"):
        network = result.adapted.merged().network
        save_base(network, model, description.model, folder.model_file, {"finetuning": result.record})
    save_curves(folder.curves_file, result.training.history, result.evidence.sentence())
    return result.evidence.sentence()


def _pretrain(
    folder: JobFolder, description: JobDescription, model: "LoadedModel", hear: Listener, stop: CancelCheck
) -> str:
    from SAMFinetuneLogic.finetuning.base_files import save_base
    from SAMFinetuneLogic.finetuning.selfsupervised import pretrain
    from SAMFinetuneLogic.finetuning.snapshot import read_snapshot
    from SAMFinetuneLogic.jobs.creating import read_pretraining
    from SAMFinetuneLogic.jobs.curves import save_curves

    settings = read_pretraining(description)
    data, _ = read_snapshot(folder.data)
    network, record = pretrain(model, data, settings, folder.path, hear, stop)
    save_base(network, model, description.model, folder.model_file, {"pretraining": record.to_dict()})
    first, last = record.history[0]["loss"], record.history[-1]["loss"]
    message = (
        f"The error on hidden patches {'fell' if last < first else 'went'} from {first:.3f} to {last:.3f}; the new "
        f"base is {folder.model_file}."
    )
    save_curves(folder.curves_file, record.history, f"Error on hidden patches: {first:.3f} to {last:.3f}")
    return message
