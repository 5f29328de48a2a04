"""Offers the phantom CT among Slicer's sample data. It is made on the spot: no download, no patient."""

from typing import Any

from SAMFinetuneLib.try_it import NAME


def register() -> None:
    """Called once, when Slicer has started."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SAMFinetune",
        sampleName=NAME,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=_load,
    )


def _load(_source: Any) -> Any:
    from SAMFinetuneLib.try_it import load_phantom

    return load_phantom()
