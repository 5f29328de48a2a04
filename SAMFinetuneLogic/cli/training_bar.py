"""A progress bar for a training that this process does or follows."""

import argparse


class TrainingBar:
    """Loss, Dice and time left on stderr; nothing with --quiet or without a terminal. Used as a context."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc="training", unit="step", disable=True if arguments.quiet else None, leave=False)
        self._begun = False

    def __enter__(self) -> "TrainingBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def begin(self, step: int, steps: int) -> None:
        """Steps taken before do not count for the time that is left: they were taken at another time."""
        self._bar.reset(steps)
        self._bar.initial = self._bar.n = self._bar.last_print_n = step
        self._bar.refresh()
        self._begun = True

    def show(self, step: int, steps: int, loss: float | None, dice: float | None, state: str = "running") -> None:
        """Where the training stands."""
        if not self._begun:
            self.begin(step, steps)
        figures = [f"loss {loss:.3f}" if loss is not None else "", f"Dice {dice:.3f}" if dice is not None else ""]
        text = ", ".join(filter(None, [*figures, "" if state == "running" else state]))
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(step - self._bar.n)
        if state != "running":
            self._bar.refresh()  # the number of steps does not grow any more
