"""A job's own process: ``python -m SAMFinetuneLogic.jobs.process FOLDER``.

Exit codes: 0 done, 2 failed with a sentence in the status, 130 cancelled.
"""

import sys
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import Cancelled, SAMFinetuneError
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.jobs.working import run_job
from SAMFinetuneLogic.priority import lower_priority


def main(path: Path) -> int:
    """Do the job in the folder; returns the exit code."""
    lower_priority()
    try:
        run_job(JobFolder(path), _log)
    except Cancelled:
        return 130
    except SAMFinetuneError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _log(event: dict[str, Any]) -> None:
    """Notices go to log.txt too."""
    if event.get("event") == "notice":
        print(event["text"], file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
