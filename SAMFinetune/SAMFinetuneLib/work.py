"""One volume and one segmentation under work, with the session on them. No Qt."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from SAMFinetuneLogic.imaging.axes import ANATOMICAL_AXES, SliceIndex, resolve_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window
from SAMFinetuneLogic.mrml.edit_grid import choose_edit_grid
from SAMFinetuneLogic.mrml.editing import SegmentWriter
from SAMFinetuneLogic.mrml.preview import Preview
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation
from SAMFinetuneLogic.mrml.volumes import frame_of, geometry_key, placement_key, read_volume
from SAMFinetuneLogic.prompting.session import InteractiveSession

_numbers = count()
_ONE_FOR_ALL = (
    "The volume is a frame of a sequence, and the segmentation is the same one for all frames: what is annotated on "
    "one counts for the others. Choose another segmentation for each frame, or add it to the sequence."
)


@dataclass(eq=False)
class Work:
    """Made anew by :func:`open_work` when the volume, its place in space or the segmentation changes.

    Attributes:
        volume_node, segmentation_node: the nodes.
        volume: the voxels in world RAS.
        window: how the model sees them.
        session: prompts that are not accepted yet, with their undo.
        writer: writes masks under the Segment Editor's rules.
        preview: shows a mask that is not accepted yet.
        notices: sentences about the volume for the user.
        key: changes when the volume must be read again, or lies another way to the segmentation.
        number: another one for each, never used again.
    """

    volume_node: Any
    segmentation_node: Any
    volume: Volume
    window: Window
    session: InteractiveSession
    writer: SegmentWriter
    preview: Preview
    notices: tuple[str, ...] = ()
    key: tuple[Any, ...] = field(default=())
    number: int = field(default_factory=lambda: next(_numbers))

    def close(self) -> None:
        """Take what belongs to this work alone out of the scene; the masks stay."""
        self.preview.remove()
        self.writer.close()

    @property
    def moved(self) -> bool:
        """Whether the volume has changed since it was read, or either of them has moved."""
        return _key(self.volume_node, self.segmentation_node) != self.key

    @property
    def replaced(self) -> bool:
        """Whether the volume is another one, or lies elsewhere."""
        return _key(self.volume_node, self.segmentation_node)[0] != self.key[0]

    @property
    def in_scene(self) -> bool:
        """Whether both nodes are still part of a scene."""
        return self.volume_node.GetScene() is not None and self.segmentation_node.GetScene() is not None

    def clear_session(self) -> None:
        """Forget all prompts and their undo."""
        self.session = InteractiveSession(self.volume)
        self.preview.clear()

    def color(self, segment_id: str) -> tuple[float, float, float]:
        """A segment's colour; white for one that is gone."""
        segment = self.segmentation_node.GetSegmentation().GetSegment(segment_id)
        return tuple(segment.GetColor()) if segment is not None else (1.0, 1.0, 1.0)

    def name(self, segment_id: str) -> str:
        """A segment's name; its id for one that is gone."""
        segment = self.segmentation_node.GetSegmentation().GetSegment(segment_id)
        return segment.GetName() if segment is not None else segment_id

    def slice_name(self, slice_index: SliceIndex) -> str:
        """For the user, such as "axial k = 12": the plane that it lies nearest to, and its number."""
        plane = next(name for name in ANATOMICAL_AXES if resolve_axis(name, self.volume.ijk_to_ras) == slice_index.axis)
        return f"{plane} {slice_index.axis} = {slice_index.index}"

    def valid(self, slice_index: SliceIndex) -> bool:
        """Whether the volume has this slice."""
        return 0 <= slice_index.index < self.volume.slice_count(slice_index.axis)


def open_work(
    volume_node: Any,
    segmentation_node: Any,
    window: str = "auto",
    editor_node: Any = None,
    save_state: Callable[[], None] | None = None,
) -> Work:
    """Read the volume and prepare the session.

    Args:
        window: a name, or LEVEL/WIDTH.
        editor_node, save_state: of the Segment Editor widget, so that its masking and its undo hold.

    Raises:
        InputError: the volume cannot be segmented as it is, or the window is unknown.
    """
    read = read_volume(volume_node)
    volume = read.volume
    notices = [*read.notices, choose_edit_grid(segmentation_node, volume_node, volume)]
    if read.frame is not None and frame_of(segmentation_node) is None:
        notices.append(_ONE_FOR_ALL)
    return Work(
        volume_node,
        segmentation_node,
        volume,
        choose_window(volume, window),
        InteractiveSession(volume),
        SegmentWriter(segmentation_node, volume_node, volume, editor_node, save_state),
        Preview(volume_node.GetScene(), volume),
        tuple(filter(None, notices)),
        _key(volume_node, segmentation_node),
    )


def new_segmentation(volume_node: Any) -> Any:
    """Add a segmentation with one empty segment for a volume; returns its node.

    Raises:
        InputError: the volume cannot be segmented as it is.
    """
    scene = volume_node.GetScene()
    name = scene.GenerateUniqueName(f"{volume_node.GetName()} segmentation")
    node = add_segmentation(scene, volume_node, read_volume(volume_node).volume, name)
    add_segment(node)
    return node


def _key(volume_node: Any, segmentation_node: Any) -> tuple[Any, ...]:
    return geometry_key(volume_node), placement_key(segmentation_node)
