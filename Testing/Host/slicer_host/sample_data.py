"""``SampleData``: the registration of data sets, as particular about its arguments as Slicer's."""

import types
from collections.abc import Callable
from typing import Any

import slicer


class SampleDataSource:
    """One data set. Slicer takes a text for one file, or lists of the same length; None it cannot count."""

    def __init__(
        self,
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Callable[[Any], Any] | None = None,
        checksums: Any = None,
        loadFiles: Any = None,
        loadFileTypes: Any = None,
    ) -> None:
        if isinstance(uris, list | tuple):
            count = len(uris)
            nodeNames = [None] * count if nodeNames is None else nodeNames
            checksums = [None] * count if checksums is None else checksums
            loadFiles = [None] * count if loadFiles is None else loadFiles
            loadFileTypes = [loadFileTypes] * count if isinstance(loadFileTypes, str | None) else loadFileTypes
        elif isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
            checksums, loadFiles, loadFileTypes = [checksums], [loadFiles], [loadFileTypes]
        lengths = {len(each) for each in (uris, fileNames, nodeNames, checksums, loadFiles, loadFileTypes)}
        if len(lengths) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        self.sampleName, self.customDownloader = sampleName, customDownloader
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames


class SampleDataLogic:
    """The known data sets, by category, in ``slicer.modules.sampleDataSources``."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Callable[[Any], Any] | None = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
    ) -> None:
        source = SampleDataSource(
            sampleName, uris, fileNames, nodeNames, customDownloader, checksums, loadFiles, loadFileTypes
        )
        sources: dict[str, list[SampleDataSource]] = slicer.modules.__dict__.setdefault("sampleDataSources", {})
        sources.setdefault(category, []).append(source)


def module() -> types.ModuleType:
    """What ``import SampleData`` gives."""
    made = types.ModuleType("SampleData")
    made.SampleDataLogic, made.SampleDataSource = SampleDataLogic, SampleDataSource
    return made
