"""Offers the phantom CT among Slicer's sample data. It is made on the spot: no download, no patient."""

from typing import Any

NAME = "SAMFinetune phantom CT"


def register() -> None:
    """Called once, when Slicer has started: nothing that takes time to import is needed for it."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SAMFinetune",
        sampleName=NAME,
        uris=[],  # no files; None instead of a list is refused
        fileNames=[],
        nodeNames=[],
        customDownloader=_load,
    )


def _load(_source: Any) -> Any:
    from SAMFinetuneLib.try_it import load_phantom

    return load_phantom()
