"""The module opened on the test host (``Testing/Host``), for benchmarks of it.

Needs slicer-core and PySide6-Essentials, see Testing/Host/README.md. Import this before ``slicer_host``: it sets the
paths.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "Host"))
sys.path.append(str(ROOT))

from slicer_host.application import start  # noqa: E402
from slicer_host.event_loop import run_until  # noqa: E402
from slicer_host.loading import load_module, open_module  # noqa: E402


def start_host() -> Any:
    """The stand-in for the application, with its window; the module's caches go into a new folder."""
    os.environ["SAMFINETUNE_HOME"] = tempfile.mkdtemp(prefix="bench-module-")
    app = start()
    app.layoutManager().window.show()
    return app


def open_samfinetune() -> Any:
    """The module's widget."""
    return open_module(load_module(ROOT / "SAMFinetune" / "SAMFinetune.py"))


def wait_for(condition: Callable[[], bool], bench: Any, seconds: float = 600) -> None:
    """Run the event loop until something is so; fails with the state of the model."""
    assert run_until(condition, seconds), bench.inference.status


def finish(benchmark: str, bench: Any, **figures: Any) -> NoReturn:
    """Print the figures as one JSON line, and end at once: taking Qt and VTK down may hang."""
    machine = {"model": str(bench.inference.info), "cores": os.cpu_count(), "machine": platform.machine()}
    bench.inference.close()
    print(json.dumps({"benchmark": benchmark} | figures | machine), flush=True)
    os._exit(0)
