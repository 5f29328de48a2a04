"""The phantom's CT as a file, as if a scanner had written it."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import atomic_target
from SAMFinetuneLogic.imaging.completeness import check_complete
from SAMFinetuneLogic.imaging.geometry import LPS_RAS
from SAMFinetuneLogic.imaging.native import quiet_native_code
from SAMFinetuneLogic.imaging.volume import Volume


def write_volume(path: Path, volume: Volume, overwrite: bool = True) -> None:
    """Write a scalar volume in any format that SimpleITK chooses by the name.

    Raises:
        OutputError: the file exists and must not be replaced, or cannot be written.
    """
    image = sitk.GetImageFromArray(volume.voxels)
    to_lps = LPS_RAS @ volume.ijk_to_ras
    spacing = np.array(volume.spacing)
    image.SetSpacing([float(step) for step in spacing])
    image.SetDirection([float(part) for part in (to_lps[:3, :3] / spacing).reshape(-1)])
    image.SetOrigin([float(part) for part in to_lps[:3, 3]])
    with atomic_target(path, overwrite) as temporary:
        with quiet_native_code():
            sitk.WriteImage(image, str(temporary), useCompression=True)
        try:  # on a full disk ITK's NIfTI writer stops early without an error
            check_complete(temporary, volume.voxels.nbytes)
        except InputError as error:
            raise OutputError(f"Cannot write {path}: it came out incomplete; look at the free space.") from error
