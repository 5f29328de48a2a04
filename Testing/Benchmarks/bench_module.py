"""The module on the test host, with the real inference process: click to painted preview, and stalls of the interface.

    python Testing/Benchmarks/bench_module.py [--clicks 15] [--steps 10] [--no-rendering]

Stalls are the pauses between ticks of a timer in the event loop, by the clock and by the processor time of the user
interface's thread. The views are rendered in software here, by further threads: on a machine whose cores are taken,
such as by the training, the clock shows that. ``--no-rendering`` leaves it out while stalls are measured.

Needs slicer-core and PySide6-Essentials, see Testing/Host/README.md. Prints one JSON line.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from module_host import finish, open_samfinetune, start_host, wait_for
from slicer_host.event_loop import run_for
from slicer_host.stalls import StallMeter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="of the adaptation job")
    parser.add_argument("--no-rendering", action="store_true")
    arguments = parser.parse_args()
    clicks = arguments.clicks
    app = start_host()
    wall, cpu = time.perf_counter(), time.process_time()
    widget = open_samfinetune()
    opening = {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(time.process_time() - cpu, 3)}
    opening["torch"] = "torch" in sys.modules
    bench = widget.panel.bench
    view = app.layoutManager().sliceWidget("Red")._q.sliceView()
    widget.panel.input.ui.tryButton.click()
    wait_for(lambda: bench.prompter.candidates is not None, bench)
    wait_for(lambda: not bench.inference.client.busy, bench)
    answered: list[float] = []
    bench.prompter.answered.connect(answered.append)
    position = bench.prompter.prompts()[0].prompt.position
    painted = []
    for number in range(clicks):
        begin = time.perf_counter()
        bench.prompter.add_point((position[0] - 2.0 * (number % 5), position[1] - 2.0 * (number // 5), position[2]))
        wait_for(lambda: not bench.prompter.waiting, bench)
        view.forceRender()
        painted.append(time.perf_counter() - begin)
    bench.prompter.clear()
    bench.prompter.add_point(position)
    wait_for(lambda: not bench.prompter.waiting, bench)
    bench.prompter.accept()
    if arguments.no_rendering:
        app.pauseRender()
    with StallMeter() as propagating:
        bench.propagation.start()
        while bench.propagation.running:
            run_for(0.01)
        run_for(0.5)
    learning = _train(bench, arguments.steps)
    finish(
        "module",
        bench,
        opening=opening,
        clicks=clicks,
        answered_ms={"median": _ms(statistics.median(answered)), "max": _ms(max(answered))},
        painted_ms={"median": _ms(statistics.median(painted)), "max": _ms(max(painted))},
        stalls_during_propagation=propagating.summary(),
        stalls_during_training=learning,
        rendered=not arguments.no_rendering,
    )


def _train(bench: Any, steps: int) -> dict[str, Any]:
    """Stalls from the click on "Adapt" to the gate's table, with turning of slices and clicks meanwhile."""
    from SAMFinetuneLogic.finetuning import schedule
    from SAMFinetuneLogic.imaging.axes import SliceIndex
    from SAMFinetuneLogic.mrml.annotated import mark_annotated
    from SAMFinetuneLogic.mrml.segments import segment_mask

    work, segment, real = bench.work, bench.prompter.segment, schedule.settings_for
    schedule.settings_for = lambda *given: real(*given, steps=steps)
    mask = segment_mask(work.segmentation_node, segment, work.volume)
    drawn = [int(k) for k in mask.any(axis=(1, 2)).nonzero()[0]]
    slices = [SliceIndex("k", k) for k in drawn[:: max(1, len(drawn) // 6)]]
    mark_annotated(work.segmentation_node, [segment], work.volume, slices)
    bench.preferences.device = "cpu"
    bench.preferences.job_folder = Path(os.environ["SAMFINETUNE_HOME"]) / "runs"
    clicks, begin = 0, time.perf_counter()
    with StallMeter() as meter:
        bench.learning.start()
        while bench.learning.running:
            where = slices[clicks % len(slices)]
            bench.go_to(where)
            row, col = np.argwhere(mask[where.index])[0]
            ras = work.volume.ijk_to_ras @ [col, row, where.index, 1]
            bench.prompter.add_point(tuple(float(x) for x in ras[:3]))
            wait_for(lambda: not bench.prompter.waiting, bench)
            clicks += 1
            run_for(0.5)
    status = bench.learning.status
    return meter.summary() | {
        "state": status.state,
        "steps": status.step,
        "seconds": round(time.perf_counter() - begin, 1),
        "slices": len(slices),
        "clicks": clicks,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


if __name__ == "__main__":
    main()
