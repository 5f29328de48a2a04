"""The slices of a few-shot collection as something to train an adapter on, without the images that they came from."""

from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportSlice
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex

_AXIS_OF_PLANE: dict[str, Axis] = {"axial": "k", "coronal": "j", "sagittal": "i"}


def slices_of_collection(collection: SupportCollection) -> LabelledSet:
    """All slices of a collection, negative ones too, turned to the radiological view as they are kept there.

    They are for automatic mode: prompts are answered on slices as they are stored, and a collection does not know how
    that was. The axis is that of the slice's plane in a volume that is stored in the usual order.
    """
    by_name: dict[str, list[SupportSlice]] = {}
    for entry in collection.slices:
        by_name.setdefault(entry.image, []).append(entry)
    groups = [group for entries in by_name.values() for group in _images(entries)]
    slices = [
        LabelledSlice(
            entry.pixels,
            entry.labels.astype("uint16"),
            entry.spacing,
            number,
            SliceIndex(_AXIS_OF_PLANE.get(entry.plane, entry.slice.axis), entry.slice.index),
            entry.plane,
        )
        for number, entries in enumerate(groups)
        for entry in sorted(entries, key=lambda each: each.slice.index)
    ]
    firsts = [entries[0] for entries in groups]
    shown = tuple(segment for segment in collection.classes if collection.labelled(segment.value))
    images, windows = tuple(entry.image for entry in firsts), tuple(entry.window for entry in firsts)
    return LabelledSet(tuple(slices), shown, images, windows, turned=True)


def _images(entries: list[SupportSlice]) -> list[list[SupportSlice]]:
    """The images behind entries of one name.

    It may be one image, in several planes or windows, or those of different patients. They are taken for one unless
    that cannot be: slices of one image must not be held out beside others of it, while to take different images for
    one merely holds out blocks of slices instead of images.
    """
    grids = {(entry.plane, entry.slice.axis, entry.spacing, entry.labels.shape) for entry in entries}
    planes = {(entry.plane, entry.slice.axis) for entry in entries}
    if len(grids) == len(planes) and len({(entry.plane, entry.slice) for entry in entries}) == len(entries):
        return [entries]
    groups: dict[tuple[object, ...], list[SupportSlice]] = {}
    for entry in entries:
        key = (entry.plane, entry.slice.axis, entry.window, entry.spacing, entry.labels.shape)
        groups.setdefault(key, []).append(entry)
    return list(groups.values())
