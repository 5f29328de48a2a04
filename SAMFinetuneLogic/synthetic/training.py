"""The training loop of the default model: for some minutes, from the last state, with a log."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.synthetic.batches import make_batch
from SAMFinetuneLogic.synthetic.feed import PairFeed
from SAMFinetuneLogic.synthetic.trainer import Trainer, TrainingSettings

_SAVE_SECONDS = 240
LOG_STEPS = 25
_FINE_STEPS = 0.5
"""Share of the steps with the finer input, if there is one."""


def train(
    folder: Path,
    settings: TrainingSettings,
    minutes: float,
    finish_steps: int = 0,
    compiled: bool = False,
    producers: int = 1,
    device: torch.device | None = None,
    start: Path | None = None,
    say: Callable[[str], None] = print,
) -> Trainer:
    """Train for ``minutes`` from the last state in ``folder``.

    The learning rate is constant, so that a later call may go on from any state; over ``finish_steps`` further steps
    at the end it falls to zero, which a training that is to be released should do.

    Raises:
        OutputError: the folder cannot be written.
        ModelError: ``start`` does not fit, or the loss has not been a number for so long that nothing is learned.
    """
    trainer = Trainer(folder, settings, compiled, device, start)
    say(f"At step {trainer.step} after {trainer.seconds / 60:.0f} minutes; training for {minutes:.0f} more.")
    rng = np.random.default_rng([settings.seed, trainer.step])
    generator = torch.Generator().manual_seed(settings.seed + trainer.step)
    mean, std = (buffer.float().cpu() for buffer in (trainer.network.pixel_mean, trainer.network.pixel_std))
    seed = settings.seed + 1000 * (trainer.step + 1)
    feeds = [PairFeed(settings.size, seed, producers)]
    counts = [settings.pairs]
    if settings.fine_size:
        feeds.append(PairFeed(settings.fine_size, seed + producers, producers, capacity=2000))
        # A step with the finer input takes more than its share of time even so.
        counts.append(max(settings.pairs // 2, 1))
    before = trainer.seconds
    started = saved = time.monotonic()
    reports: list[dict[str, float]] = []
    finishing = 0
    try:
        while True:
            elapsed = time.monotonic() - started
            if elapsed >= minutes * 60:
                if finishing >= finish_steps:
                    break
                finishing += 1
            rate = settings.learning_rate * min(1.0, (trainer.step + 1) / settings.warmup_steps)
            rate *= 1 - finishing / (finish_steps + 1)
            fine = int(len(feeds) > 1 and rng.random() < _FINE_STEPS)
            batch = make_batch(rng, feeds[fine].draw(rng, counts[fine]), settings.targets, mean, std)
            report = trainer.train_step(batch, generator, rate)
            reports.append({f"fine_{key}": value for key, value in report.items()} if fine else report)
            trainer.seconds = before + time.monotonic() - started
            if len(reports) == LOG_STEPS:
                if not any(np.isfinite(each) for report in reports for key, each in report.items() if "norm" in key):
                    raise ModelError(
                        f"The loss was not a number in the last {LOG_STEPS} steps, from which nothing was learned: "
                        f"{'train without --compile' if compiled else 'begin a new training, with a lower --rate'}."
                    )
                line = _summary(reports) | {
                    "step": trainer.step,
                    "minutes": trainer.seconds / 60,
                    "rate": rate,
                    "pairs_made": sum(feed.produced for feed in feeds),
                }
                trainer.history.append(line)
                say(json.dumps({key: round(value, 4) for key, value in line.items()}))
                reports = []
            if time.monotonic() - saved > _SAVE_SECONDS:
                trainer.save()
                saved = time.monotonic()
    finally:
        trainer.save()
        for feed in feeds:
            feed.close()
    return trainer


def _summary(reports: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the steps that have it."""
    keys = sorted({key for report in reports for key in report})
    return {key: float(np.mean([report[key] for report in reports if key in report])) for key in keys}
