"""The module on the test host, with the real inference process: click to painted preview, and stalls of the interface.

    python Testing/Benchmarks/bench_module.py [--clicks 15]

Needs slicer-core and PySide6-Essentials, see Testing/Host/README.md. Prints one JSON line.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "Host"))
sys.path.append(str(ROOT))

from slicer_host.application import start  # noqa: E402
from slicer_host.event_loop import run_for, run_until  # noqa: E402
from slicer_host.loading import load_module, open_module  # noqa: E402

WAIT = 300  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=15)
    clicks = parser.parse_args().clicks
    app = start()
    app.layoutManager().window.show()
    wall, cpu = time.perf_counter(), time.process_time()
    widget = open_module(load_module(ROOT / "SAMFinetune" / "SAMFinetune.py"))
    opening = {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(time.process_time() - cpu, 3)}
    opening["torch"] = "torch" in sys.modules
    bench = widget.panel.bench
    view = app.layoutManager().sliceWidget("Red")._q.sliceView()
    widget.panel.input.ui.tryButton.click()
    assert run_until(lambda: bench.prompter.candidates is not None, WAIT), bench.inference.status
    run_until(lambda: not bench.inference.client.busy, WAIT)
    answered: list[float] = []
    bench.prompter.answered.connect(answered.append)
    position = bench.prompter.prompts()[0].prompt.position
    painted = []
    for number in range(clicks):
        begin = time.perf_counter()
        bench.prompter.add_point((position[0] - 2.0 * (number % 5), position[1] - 2.0 * (number // 5), position[2]))
        assert run_until(lambda: not bench.prompter.waiting, WAIT)
        view.forceRender()
        painted.append(time.perf_counter() - begin)
    bench.prompter.accept()
    bench.propagation.start()
    gaps, last = [], time.perf_counter()
    while bench.propagation.running:
        run_for(0.01)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
    result = {
        "benchmark": "module",
        "opening": opening,
        "clicks": clicks,
        "answered_ms": {"median": _ms(statistics.median(answered)), "max": _ms(max(answered))},
        "painted_ms": {"median": _ms(statistics.median(painted)), "max": _ms(max(painted))},
        "stalls_during_propagation": {"longest_ms": _ms(max(gaps)), "above_100_ms": sum(gap > 0.1 for gap in gaps)},
        "model": str(bench.inference.info),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }
    bench.inference.close()
    print(json.dumps(result), flush=True)
    os._exit(0)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


if __name__ == "__main__":
    main()
