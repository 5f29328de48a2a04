"""Which slice the user works on: follows the views, and turns them."""

from collections.abc import Callable
from typing import Any

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.views import SliceViews
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.mrml.slice_views import align_view, show_slice, slice_in_view


class Navigation:
    """Keeps the views, the prompter's slice and the slices that are encoded ahead together.

    Args:
        open_work: what is open, or None.

    Attributes:
        changed: emitted when the user has come to another slice, or sees the volume in another way.
    """

    def __init__(
        self, views: SliceViews, prompter: Prompter, inference: Inference, open_work: Callable[[], Work | None]
    ) -> None:
        self.changed = Signal()
        self._views, self._prompter, self._inference = views, prompter, inference
        self._open_work = open_work
        self._view_state: tuple[bool, str | None] = (True, None)
        views.slice_changed.connect(lambda _: self.follow_view())

    def go_to(self, slice_index: SliceIndex) -> None:
        """Show a slice in the view that lies along its axis, else in the active view, turned as little as needed.

        Raises:
            InputError: no volume is open.
        """
        work = self._prompter.work
        nodes = self._views.all_nodes()
        fitting = [node for node in nodes if slice_in_view(work.volume, node).slice.axis == slice_index.axis]
        active = self._views.active
        if fitting:
            show_slice(active if active in fitting else fitting[0], work.volume, slice_index)
        elif nodes:
            align_view(active if active in nodes else nodes[0], work.volume, slice_index)
        self._prompter.set_slice(slice_index)
        self._focus()

    def follow_view(self) -> None:
        """Take the slice of the active view as the one that the user works on."""
        viewed = self._viewed()
        if viewed is None:
            return
        moved = viewed.inside and viewed.slice != self._prompter.slice
        if moved:
            self._prompter.set_slice(viewed.slice)
        if moved or (viewed.inside, viewed.notice) != self._view_state:  # turned about the same slice
            self._view_state = viewed.inside, viewed.notice
            self.changed.emit()
        self._focus()

    def notice(self) -> str | None:
        """A sentence if the active view is rotated against the voxels or outside of the volume."""
        viewed = self._viewed()
        if viewed is None:
            return None
        return viewed.notice if viewed.inside else "The view shows no slice of the volume: scroll back into it."

    def _viewed(self) -> Any:
        work, node = self._open_work(), self._views.active
        return None if work is None or node is None else slice_in_view(work.volume, node)

    def _focus(self) -> None:
        work = self._open_work()
        if work is not None and work.valid(self._prompter.slice):
            self._inference.focus(work, self._prompter.slice)
