"""A cell's own process, so that its peak of memory is its own: ``python -m SAMFinetuneLogic.study.process REQUEST``.

REQUEST is a JSON file written by :mod:`SAMFinetuneLogic.study.running`. Where it stands is written to stdout, a line of
JSON each time; with nobody left to read it, the process ends. Exit codes: 0 done, 2 with an "error" line on stdout.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import SAMFinetuneError, is_out_of_memory


class _NobodyListens(Exception):
    """The pipe to the study is broken."""


def main(path: Path) -> int:
    """Measure the cell of the request and write its result; returns the exit code."""
    try:
        _measure(json.loads(path.read_text(encoding="utf-8")))
    except KeyboardInterrupt:
        return 130
    except _NobodyListens:
        return _leave()
    except SAMFinetuneError as error:
        return _fail(str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _fail("Not enough memory for this cell: close other programs, or take a smaller model.")
    return 0


def _measure(request: dict[str, Any]) -> None:
    from SAMFinetuneLogic.files import write_json
    from SAMFinetuneLogic.finetuning.snapshot import read_snapshot
    from SAMFinetuneLogic.finetuning.strategy import Strategy
    from SAMFinetuneLogic.models.loading import load_model
    from SAMFinetuneLogic.study.measuring import measure_model, measure_unet
    from SAMFinetuneLogic.study.plan import StudySettings

    settings = StudySettings(**request["settings"])
    data, split = read_snapshot(Path(request["data"]))
    if request["model"] is None:
        found = measure_unet(data, split, request["seed"], settings.device, cancelled=_nobody_listens)
    else:
        strategy = None if request["strategy"] is None else Strategy.from_json(request["strategy"])
        model = load_model(request["model"], settings.device)
        found = measure_model(model, strategy, data, split, settings, request["seed"], _tell, _nobody_listens)
    write_json(Path(request["result"]), {"cell": request["cell"], "key": request["key"], **found.to_dict()})


def _tell(done: int, total: int) -> None:
    _write({"step": done, "steps": total})


def _nobody_listens() -> bool:
    """Asked now and then in place of whether the user wants to stop."""
    _write({})
    return False


def _fail(reason: str) -> int:
    try:
        _write({"error": reason})
    except _NobodyListens:
        return _leave()
    return 2


def _write(content: dict[str, Any]) -> None:
    try:
        print(json.dumps(content), flush=True)
    except OSError as error:  # the study that started this process is gone
        raise _NobodyListens from error


def _leave() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
    return 130


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
