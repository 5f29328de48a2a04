"""Memory of the module on the test host with a volume of 512 x 512 x 300 voxels, and pauses of the interface.

    python Testing/Benchmarks/bench_module_memory.py [--slices 300] [--size 512]

Opens the volume, prompts three slices with the default model, accepts, and propagates. Prints one JSON line: the peak
of the resident memory of the host's process above its level before the volume was there, that of the inference
process as a whole, and both together. The target is 4 GiB. Needs Linux (``/proc``), slicer-core and
PySide6-Essentials.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from module_host import finish, open_samfinetune, start_host, wait_for
from slicer_host.event_loop import run_for
from slicer_host.stalls import StallMeter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512, help="rows and columns")
    arguments = parser.parse_args()
    start_host()
    widget = open_samfinetune()
    bench = widget.panel.bench
    run_for(0.5)
    before = _memory("self", "VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    begin = time.perf_counter()
    shape = (arguments.slices, arguments.size, arguments.size)
    with StallMeter() as opening:
        node = _add_volume(shape)
        bench.open(node)
    volume_mb = node.GetImageData().GetActualMemorySize() / 1024
    # Loading a volume is a pause in Slicer too; from here on nothing may be.
    with StallMeter() as meter:
        wait_for(lambda: bench.inference.info is not None, bench)
        seconds = {"opened": _since(begin)}
        clicks = _annotate(bench, shape)
        seconds["annotated"] = _since(begin)
        after_clicks = _memory("self", "VmHWM")
        bench.propagation.start()
        wait_for(lambda: not bench.propagation.running, bench, 1800)
        run_for(1.5)  # what follows, such as keeping the session in the scene
        seconds["propagated"] = _since(begin)
    assert bench.propagation.summary, widget.panel.propagate.messages.text
    host = _memory("self", "VmHWM") - before
    worker = max(_memory(str(pid), "VmHWM") for pid in _children())
    finish(
        "module memory",
        bench,
        shape=list(shape),
        volume_mb=round(volume_mb),
        host_before_mb=round(before),
        host_peak_above_mb={"opened_and_prompted": round(after_clicks - before), "propagated": round(host)},
        worker_peak_mb=round(worker),
        together_gib=round((host + worker) / 1024, 2),
        click_ms=[round(1000 * click) for click in clicks],
        seconds=seconds,
        opening_stall=opening.summary(),
        stalls=meter.summary(),
        summary=bench.propagation.summary,
    )


def _add_volume(shape: tuple[int, int, int]) -> Any:
    """A soft ball in noise, with a third of the volume's slices; made slice by slice, so that little else is needed."""
    import slicer

    rng = np.random.default_rng(0)
    voxels = np.empty(shape, dtype=np.int16)
    row, col = np.ogrid[: shape[1], : shape[2]]
    for k in range(shape[0]):
        inside = _ball(shape, k, row, col)
        voxels[k] = np.where(inside, 110, -20) + rng.normal(0, 15, shape[1:])
    affine = np.diag([-0.8, -0.8, 1.5, 1.0])
    node = slicer.util.addVolumeFromArray(voxels, ijkToRAS=slicer.util.vtkMatrixFromArray(affine), name="ball")
    node.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
    return node


def _ball(shape: tuple[int, int, int], k: int, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    radius, middle = shape[0] / 6, shape[0] / 2
    along = (k - middle) / radius
    across = ((row - shape[1] / 2) ** 2 + (col - shape[2] / 2) ** 2) / (shape[1] / 4) ** 2
    inside: np.ndarray = across + along**2 < 1
    return inside


def _annotate(bench: Any, shape: tuple[int, int, int]) -> list[float]:
    """Click and accept on three slices, and confirm the empty ones beyond the ends; seconds from click to answer."""
    from SAMFinetuneLogic.imaging.axes import SliceIndex

    answered: list[float] = []
    bench.prompter.answered.connect(answered.append)
    middle, reach = shape[0] // 2, shape[0] // 6
    for k in (middle - reach // 2, middle, middle + reach // 2):
        bench.go_to(SliceIndex("k", k))
        ras = bench.work.volume.ijk_to_ras @ [shape[2] / 2, shape[1] / 2, k, 1]
        bench.prompter.add_point(tuple(float(x) for x in ras[:3]))
        wait_for(lambda: not bench.prompter.waiting, bench)
        bench.prompter.accept()
        run_for(0.3)
    for k in (middle - reach - 1, middle + reach + 1):
        bench.go_to(SliceIndex("k", k))
        bench.prompter.mark_done()
    run_for(1.5)
    return answered


def _memory(process: str, name: str) -> float:
    """MiB, of a process's status."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def _children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 1)


if __name__ == "__main__":
    main()
