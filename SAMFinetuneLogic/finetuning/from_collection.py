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
    groups: dict[tuple[object, ...], list[SupportSlice]] = {}
    for entry in collection.slices:
        # Images of different patients often have one name; their grid and window tell most of them apart.
        key = (entry.image, entry.plane, entry.slice.axis, entry.window, entry.spacing, entry.labels.shape)
        groups.setdefault(key, []).append(entry)
    slices = [
        LabelledSlice(
            entry.pixels,
            entry.labels.astype("uint16"),
            entry.spacing,
            number,
            SliceIndex(_AXIS_OF_PLANE.get(entry.plane, entry.slice.axis), entry.slice.index),
        )
        for number, entries in enumerate(groups.values())
        for entry in sorted(entries, key=lambda each: each.slice.index)
    ]
    firsts = [entries[0] for entries in groups.values()]
    shown = tuple(segment for segment in collection.classes if collection.labelled(segment.value))
    images, windows = tuple(entry.image for entry in firsts), tuple(entry.window for entry in firsts)
    return LabelledSet(tuple(slices), shown, images, windows, turned=True)
