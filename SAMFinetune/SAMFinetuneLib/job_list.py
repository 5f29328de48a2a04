"""The finished adaptation jobs of this computer, each read only when it has changed. No Qt."""

from dataclasses import dataclass
from pathlib import Path

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.jobs.folder import LIVE, JobFolder, Status

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Known:
    """What was read of a job, and the times of its files then."""

    stamp: _Stamp
    model: str
    mode: str
    status: Status


class JobList:
    """Looks through the known jobs. A job's files are opened again only after they were written again."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}
        self.reads = 0
        """How many jobs were read so far."""

    def finished(self, model: str, mode: str) -> list[JobFolder]:
        """The jobs that made an adapter of this mode for this model, the newest first."""
        return [
            job
            for job in self._jobs()
            if (known := self._look(job)) is not None
            and (known.model, known.mode, known.status.state) == (model, mode, "done")
            and job.adapter.is_dir()
        ]

    def running(self) -> JobFolder | None:
        """The newest job that is at work, or None."""
        for job in self._jobs():
            known = self._look(job)
            if known is not None and known.status.state in LIVE:
                return job
        return None

    def title(self, job: JobFolder) -> str:
        """A job's name with the gate's verdict, for lists."""
        known = self._look(job)
        verdict = None if known is None else known.status.verdict
        return f"{job.name} ({verdict})" if verdict else job.name

    @staticmethod
    def _jobs() -> list[JobFolder]:
        from SAMFinetuneLogic.jobs.registry import known_jobs

        return known_jobs()

    def _look(self, job: JobFolder) -> _Known | None:
        stamp = _stamp(job)
        known = self._known.get(job.path)
        # Whether a job that says it runs does so stands in no file.
        if known is None or known.stamp != stamp or known.status.state in (*LIVE, "killed", "prepared"):
            try:
                description = job.read_description()
            except InputError:
                self._known.pop(job.path, None)
                return None
            known = _Known(stamp, description.model, str(description.work.get("mode")), job.read_status())
            self._known[job.path] = known
            self.reads += 1
        return known


def _stamp(job: JobFolder) -> _Stamp:
    """Of the two files that are replaced as a whole."""
    times = []
    for name in ("job.json", "status.json"):
        try:
            times.append((job.path / name).stat())
        except OSError:
            times.append(None)
    description, status = times
    return (
        0 if description is None else description.st_mtime_ns,
        0 if status is None else status.st_mtime_ns,
        0 if status is None else status.st_size,
    )
