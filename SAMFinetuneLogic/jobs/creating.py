"""Making a job: all that it needs is frozen into its folder, since the scene may change or be closed."""

import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.snapshot import write_snapshot
from SAMFinetuneLogic.finetuning.splitting import Split, split
from SAMFinetuneLogic.finetuning.strategy import Mode, Strategy
from SAMFinetuneLogic.jobs.folder import FINETUNE, PRETRAIN, JobDescription, JobFolder, Status
from SAMFinetuneLogic.jobs.registry import remember

if TYPE_CHECKING:  # it brings torch, and the user interface makes jobs
    from SAMFinetuneLogic.finetuning.selfsupervised import PretrainSettings


@dataclass(frozen=True, eq=False)
class FinetuneRequest:
    """What the user asks for.

    Attributes:
        model: id or path, and model_sha256 its hash (``LoadedModel.weights_sha256``).
        strategy, mode, settings: see :mod:`SAMFinetuneLogic.finetuning`.
        device: auto, cpu, cuda, ...
        new_base: also store the adapted model as a checkpoint, to be the base of other trainings.
    """

    model: str
    model_sha256: str
    strategy: Strategy
    mode: Mode
    settings: LoopSettings
    device: str = "auto"
    new_base: bool = False


def create_finetune_job(
    path: Path, data: LabelledSet, request: FinetuneRequest, parts: Split | None = None
) -> JobFolder:
    """Freeze the data and the request into a new job folder. Nothing is started.

    Args:
        path: of a folder that holds no job yet.
        parts: which slices are for what; None for :func:`SAMFinetuneLogic.finetuning.splitting.split`.

    Raises:
        InputError: too few labelled slices.
        OutputError: the folder holds a job already, or cannot be written.
    """
    if request.new_base and (request.mode != "prompts" or request.strategy.algorithm == "adapter"):
        raise InputError("A new base can be made in prompt mode by lora or vanilla only: change the request.")
    work = {
        "strategy": request.strategy.to_json(),
        "mode": request.mode,
        "settings": request.settings.to_dict(),
        "new_base": request.new_base,
    }
    chosen = parts or split(data)
    return _create(path, data, chosen, FINETUNE, request.model, request.model_sha256, request.device, work)


def create_pretrain_job(
    path: Path, data: LabelledSet, model: str, model_sha256: str, settings: "PretrainSettings", device: str = "auto"
) -> JobFolder:
    """The same for self-supervised pre-training on slices without labels.

    Raises:
        InputError: no slices.
        OutputError: the folder holds a job already, or cannot be written.
    """
    if not data.slices:
        raise InputError("There are no slices to learn from: give images with content.")
    work = {"settings": asdict(settings)}
    return _create(path, data, Split((), (), ()), PRETRAIN, model, model_sha256, device, work)


def _create(
    path: Path,
    data: LabelledSet,
    parts: Split,
    kind: str,
    model: str,
    model_sha256: str,
    device: str,
    work: dict[str, Any],
) -> JobFolder:
    folder = JobFolder(path)
    folder.check_free()
    with folder.lock() as lock:
        if not lock.acquire():
            raise OutputError(f"Another process is making or running a job in {folder.path}: choose another folder.")
        folder.check_free()
        write_snapshot(folder.data, data, parts)
        folder.write_description(
            JobDescription(
                kind=kind,
                model=model,
                model_sha256=model_sha256,
                device=device,
                threads=thread_count(),
                work=work,
                images=list(data.images),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )
        folder.write_status(Status("prepared", steps=work["settings"]["steps"]))
    remember(folder)
    return folder


def thread_count() -> int:
    """Threads for a background job on the CPU: one core stays free for the user's clicks.

    OMP_NUM_THREADS, where the user has set it, decides instead.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def read_request(description: JobDescription) -> tuple[Strategy, Mode, LoopSettings]:
    """What a fine-tuning job is to do.

    Raises:
        InputError: the description is damaged.
    """
    try:
        work: dict[str, Any] = description.work
        mode: Mode = work["mode"]
        if mode not in ("prompts", "automatic"):
            raise ValueError(mode)
        return Strategy.from_json(work["strategy"]), mode, LoopSettings.from_dict(work["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The job's description (job.json) is damaged: start the job anew in another folder."
        ) from error


def read_pretraining(description: JobDescription) -> "PretrainSettings":
    """What a pre-training job is to do.

    Raises:
        InputError: the description is damaged.
    """
    from SAMFinetuneLogic.finetuning.selfsupervised import PretrainSettings

    try:
        return PretrainSettings(**description.work["settings"])
    except (KeyError, TypeError) as error:
        raise InputError(
            "The job's description (job.json) is damaged: start the job anew in another folder."
        ) from error
