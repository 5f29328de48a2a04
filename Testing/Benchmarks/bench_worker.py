"""What the inference process adds to a click, and how long the client's calls take. Prints one JSON line.

python Testing/Benchmarks/bench_worker.py [--model ID_OR_PATH] [--device auto] [--side 512] [--slices 120] [--clicks 20]

With --training alone: a click with and without an adapter being trained in the background, as `samfinetune finetune
--detach` does it on five slices. The clicks are apart by half a second; "ratio" is that of the medians.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import SimpleITK as sitk

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.jobs.launching import kill
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.session import PredictionRequest
from SAMFinetuneLogic.prompting.session_state import Target
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.worker.client import RemoteClient
from SAMFinetuneLogic.worker.requests import ModelChoice

WINDOW = Window(-160.0, 240.0, "soft_tissue")
TIMER_SECONDS = 0.01


class Timer:
    """A user interface that polls every 10 ms, and how long its calls took: processor time of its thread, so that
    other programs on the machine do not count."""

    def __init__(self, client: RemoteClient) -> None:
        self.client = client
        self.calls: list[float] = []

    def call(self, work: Any, *arguments: Any) -> Any:
        start = time.thread_time()
        answer = work(*arguments)
        self.calls.append(1000 * (time.thread_time() - start))
        return answer

    def wait(self, *tasks: Any) -> None:
        while not all(task.finished for task in tasks) or self.client._events:
            time.sleep(TIMER_SECONDS)
            self.call(self.client.poll)
        for task in tasks:
            if task.error is not None:
                raise task.error

    def slowest(self) -> float:
        """Milliseconds of the slowest call since the last time."""
        calls, self.calls = self.calls, []
        return round(max(calls), 2)


def a_scan(side: int, slices: int) -> tuple[Volume, LabelMap]:
    """A bright ellipsoid on noise, as CT, and its labels."""
    k, j, i = np.ogrid[:slices, :side, :side]
    inside = ((k / slices - 0.5) / 0.4) ** 2 + ((j / side - 0.45) / 0.15) ** 2 + ((i / side - 0.55) / 0.15) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 20, (slices, side, side)).astype(np.float32)
    affine = np.diag([-0.7, -0.7, 2.5, 1.0])
    return Volume((100 * inside + noise).astype(np.int16), affine), LabelMap(inside.astype(np.uint8), affine)


def measure(timer: Timer, volume: Volume, labels: LabelMap, clicks: int) -> dict[str, float]:
    client, count = timer.client, volume.slice_count("k")
    middle = SliceIndex("k", count // 2)
    rng = np.random.default_rng(1)

    def click(where: SliceIndex) -> Any:
        point = rng.uniform(0.42, 0.5, (1, 2)) * volume.shape[1]
        request = PredictionRequest(Target("x", where), 0, SlicePrompts(point, np.array([1])), None)
        return timer.call(client.predict, SliceImage.of(volume, where, WINDOW), request)

    result: dict[str, float] = {}
    first = click(middle)
    timer.wait(first)
    result["first_click_on_a_slice_ms"] = round(first.times["total"], 1)
    tasks = []
    for _ in range(clicks):
        tasks.append(click(middle))
        timer.wait(tasks[-1])
    model = [task.times["embed"] + task.times["decode"] for task in tasks]
    result["later_click_ms"] = round(median(task.times["total"] for task in tasks), 2)
    result["of_it_model_ms"] = round(median(model), 2)
    added = [task.times["total"] - own for task, own in zip(tasks, model, strict=True)]
    result["of_it_added_ms"] = round(median(added), 2)
    result["slowest_call_when_clicking_ms"] = timer.slowest()

    start = time.perf_counter()
    encoded: list[SliceIndex] = []
    timer.call(client.focus, volume, SliceIndex("k", 10), WINDOW, 8, encoded.append)
    while client.busy:
        time.sleep(TIMER_SECONDS)
        timer.call(client.poll)
    result["encode_17_slices_ahead_s"] = round(time.perf_counter() - start, 2)
    result["slowest_call_when_encoding_ms"] = timer.slowest()

    few = np.zeros_like(labels.voxels)
    few[[count // 4, count // 2, 3 * count // 4]] = labels.voxels[[count // 4, count // 2, 3 * count // 4]]
    drawn = LabelMap(few, labels.ijk_to_ras, labels.segments)
    options = PropagationOptions(method="interpolate", measure=False)
    work = timer.call(client.propagate, volume, drawn, options, WINDOW)
    timer.wait(work)
    result["volume_crosses_and_is_filled_s"] = round(work.times["total"] / 1000, 2)
    work = timer.call(client.propagate, volume, drawn, PropagationOptions(method="propagate", measure=False), WINDOW)
    while work.progress[0] == 0:
        time.sleep(TIMER_SECONDS)
        timer.call(client.poll)
    during = []
    while not work.finished and len(during) < clicks:
        during.append(click(middle))
        timer.wait(during[-1])
    work.cancel()
    result["click_during_propagation_ms"] = round(median(task.times["total"] for task in during), 2)
    result["slowest_call_in_propagation_ms"] = timer.slowest()
    return result


def measure_training(timer: Timer, volume: Volume, labels: LabelMap, options: argparse.Namespace) -> dict[str, Any]:
    present = np.flatnonzero(labels.voxels.any(axis=(1, 2)))
    slices = [int(k) for k in present[:: max(1, len(present) // 5)]][:5]
    rng = np.random.default_rng(2)

    def latencies(count: int) -> list[float]:
        found = []
        for _ in range(count):
            where = SliceIndex("k", int(rng.choice(present)))
            point = rng.uniform(0.42, 0.5, (1, 2)) * volume.shape[1]
            request = PredictionRequest(Target("x", where), 0, SlicePrompts(point, np.array([1])), None)
            task = timer.call(timer.client.predict, SliceImage.of(volume, where, WINDOW), request)
            timer.wait(task)
            found.append(task.times["total"])
            time.sleep(0.5)
        return found

    latencies(3)
    alone = latencies(options.clicks)
    with tempfile.TemporaryDirectory() as folder:
        image, drawn, job = Path(folder) / "image.nii.gz", Path(folder) / "labels.nii.gz", Path(folder) / "job"
        for path, voxels in ((image, volume.voxels), (drawn, labels.voxels)):
            written = sitk.GetImageFromArray(voxels)
            written.SetSpacing(volume.spacing)
            sitk.WriteImage(written, path)
        command = [sys.executable, "-m", "SAMFinetuneLogic.cli", "finetune", "--pair", str(image), str(drawn)]
        command += ["--slices", ",".join(map(str, slices)), "--job", str(job), "--detach", "--quiet"]
        command += ["--model", options.model, "--device", options.device]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        running = JobFolder(job)
        try:
            while running.read_status().step < 1:
                time.sleep(0.2)
            before = running.read_status().step
            meanwhile = latencies(options.clicks)
            status = running.read_status()
        finally:
            kill(running)
    return {
        "click_ms": round(median(alone), 1),
        "click_while_training_ms": round(median(meanwhile), 1),
        "ratio": round(median(meanwhile) / median(alone), 2),
        "slowest_click_while_training_ms": round(max(meanwhile), 1),
        "training_steps_meanwhile": status.step - before,
        "training_went_on": status.state == "running",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL_ID)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--training", action="store_true", help="clicks while an adapter is trained")
    options = parser.parse_args()
    volume, labels = a_scan(options.side, max(options.slices, 20))
    timer = Timer(RemoteClient())
    try:
        start = time.perf_counter()
        loading = timer.call(timer.client.load, ModelChoice(options.model, options.device))
        timer.wait(loading)
        record = {
            "benchmark": "worker",
            "model": str(loading.answer),
            "shape": list(volume.shape),
            "start_and_load_s": round(time.perf_counter() - start, 2),
            "slowest_call_when_starting_ms": timer.slowest(),
        }
        if options.training:
            found = measure_training(timer, volume, labels, options)
        else:
            found = measure(timer, volume, labels, options.clicks)
        print(json.dumps({**record, **found}))
    finally:
        timer.client.close()


if __name__ == "__main__":
    main()
