"""A support collection as a picture: each labelled slice with its contours."""

from PIL import Image

from SAMFinetuneLogic.fewshot.collection import SupportCollection
from SAMFinetuneLogic.pictures.orientation import Display
from SAMFinetuneLogic.pictures.panel import Overlay, Panel
from SAMFinetuneLogic.pictures.sheet import LegendEntry, render_sheet
from SAMFinetuneLogic.wording import some_slices

_LETTERS = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}


def collection_picture(collection: SupportCollection, title: str = "") -> Image.Image:
    """All slices on one page, in the order of the collection, with a legend of the classes."""
    panels = []
    for entry in collection.slices:
        present = [segment for segment in collection.classes if (entry.labels == segment.value).any()]
        panels.append(
            Panel(
                pixels=entry.pixels,
                spacing=entry.spacing,
                display=Display(entry.plane, False, False, False, _LETTERS[entry.plane]),  # turned already
                overlays=tuple(Overlay(entry.labels == segment.value, segment.color) for segment in present),
                caption=entry.title + ("" if present else " (negative)"),
            )
        )
    legend = [
        LegendEntry(f"{segment.name}, {some_slices(len(collection.labelled(segment.value)))}", segment.color)
        for segment in collection.classes
    ]
    return render_sheet(panels, title or f"{len(panels)} labelled slices, {collection.model.title}", legend)
