"""The images of a folder that is given where an image is expected."""

from pathlib import Path

from SAMFinetuneLogic.files import full_suffix

_SUFFIXES = (
    ".nii",
    ".nii.gz",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".gipl",
    ".gipl.gz",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
)


def image_files(folder: Path) -> list[Path]:
    """Images that are files of their own, by name; none in a folder that holds a DICOM series."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))  # macOS leaves ._name beside name
    return sorted(path for path in visible if full_suffix(path).lower() in _SUFFIXES)
