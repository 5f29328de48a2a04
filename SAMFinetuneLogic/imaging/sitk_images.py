"""One image file through SimpleITK: reading it whole or one frame of it, LPS to RAS, and errors in a sentence.

This is the file boundary of the package: LPS and SimpleITK's images exist on this side only.
"""

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.completeness import check_complete
from SAMFinetuneLogic.imaging.geometry import LPS_RAS
from SAMFinetuneLogic.imaging.native import quiet_native_code


def existing_path(path: Path) -> Path:
    """``path`` itself if something is there.

    Raises:
        InputError: there is no such file or folder, or it may not be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file {path}; check the name.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read; ask for the permission to read it.")
    return path


def native_name(path: Path) -> str:
    """The name as SimpleITK takes it.

    Raises:
        InputError: it has bytes that are no letters (a name from an old system), at which SimpleITK ends the process.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise InputError(f"The name of {shown} is not valid UTF-8 and cannot be opened; rename it.") from error
    return str(path)


def open_reader(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header of ``path``.

    Raises:
        InputError: not an image, a damaged header, numbers of a kind that cannot be segmented, or a name that is no
            text.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(native_name(path))
    try:
        with quiet_native_code():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(_reason(path, error)) from error
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{path} holds complex numbers; save their magnitude and read that.")
    return reader


def read_pixels(reader: sitk.ImageFileReader, path: Path, frame: int | None = None) -> sitk.Image:
    """The image behind ``reader``, whose header has been read, or one 3D frame of a 4D image.

    Raises:
        InputError: the file ends too early or cannot be decoded.
    """
    if frame is not None:
        size = reader.GetSize()
        reader.SetExtractIndex([0, 0, 0, frame])
        reader.SetExtractSize([*size[:3], 0])
    try:
        with quiet_native_code():
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError(_reason(path, error)) from error
    voxels = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel()
    check_complete(path, voxels * image.GetSizeOfPixelComponent())
    return image


def ijk_to_ras_of(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """The (4, 4) IJK-to-RAS matrix; a 2D image lies in the plane z = 0, its third axis 1 mm thick."""
    # A reader describes the file, so a 4D one has 4 x 4 directions of which the first three axes count.
    dimension = image.GetDimension()
    count = min(dimension, 3)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:count, :count]
    lps = np.eye(4)
    lps[:count, :count] = direction * np.array(image.GetSpacing()[:count])
    lps[:count, 3] = image.GetOrigin()[:count]
    return LPS_RAS @ lps


def _reason(path: Path, error: RuntimeError) -> str:
    """A sentence for what SimpleITK reports in paragraphs."""
    message = str(error)
    if "determine ImageIO reader" in message:
        return (
            f"{path} is not an image that can be read, or its header is damaged; NIfTI, NRRD, MHA, GIPL, DICOM, "
            f"PNG, JPEG and TIFF can be."
        )
    if "orthonormal" in message:
        return f"{path} has axes that are not perpendicular (its sform is sheared); resample it first."
    if "Unknown PixelType" in message:
        return f"{path} has a kind of pixel that cannot be read; save it as plain gray values or RGB."
    return f"{path} is damaged or incomplete and cannot be read; fetch or export it again."
