import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.reading import read_image

UID = "1.2.826.0.1.3680043.2.1125.7"


def lps_of(affine):
    return np.diag([-1, -1, 1, 1]) @ affine


def straight(affine):
    """The right-handed grid nearest to ``affine``: DICOM states two directions, and the third follows."""
    result = affine.copy()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    result[:3, 2] = np.cross(affine[:3, 0] / spacing[0], affine[:3, 1] / spacing[1]) * spacing[2]
    return result


def write_series(folder, voxels, affine, number=1, modality="CT", rescale=False, instance=0, positions=None, prefix=""):
    """One file a slice, (k, j, i) int16, in an order of names that is not the order in space."""
    folder.mkdir(exist_ok=True)
    lps = lps_of(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    row, col = lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, pixels in enumerate(voxels):
        image = sitk.GetImageFromArray(pixels[None])
        image.SetSpacing([spacing[0], spacing[1], spacing[2]])
        position = lps[:3, 3] + lps[:3, 2] * k if positions is None else positions[k]
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{UID}.{number}.{instance}.{k + 1}",
            "0008|0060": modality,
            "0010|0010": "SECRET^PATIENT",
            "0020|000d": f"{UID}.0",
            "0020|000e": f"{UID}.{number}",
            "0020|0013": str(instance * 1000 + k),
            "0020|0032": "\\".join(f"{x:.8f}" for x in position),
            "0020|0037": "\\".join(f"{x:.10f}" for x in (*row, *col)),
            "0018|0050": str(spacing[2]),
        }
        if rescale:
            tags |= {"0028|1052": "-5", "0028|1053": "1"}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        # Position and direction must be the image's own, or GDCM writes those that it finds there.
        image.SetOrigin(list(position))
        image.SetDirection(np.column_stack([row, col, np.cross(row, col)]).ravel().tolist())
        writer.SetFileName(str(folder / f"{prefix}{(k * 7) % 11:02d}_{instance}.dcm"))
        writer.Execute(image)


@pytest.fixture
def some_voxels():
    return np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)


@pytest.fixture
def a_grid(an_affine):
    return straight(an_affine)


def test_a_series(some_voxels, a_grid, tmp_path, capfd):
    write_series(tmp_path / "scan", some_voxels, a_grid)
    volume = read_image(tmp_path / "scan")
    np.testing.assert_array_equal(volume.voxels, some_voxels)
    np.testing.assert_allclose(volume.ijk_to_ras, a_grid, atol=1e-5)
    assert volume.modality == "CT"
    assert volume.name == "scan"
    assert "SECRET" not in repr(volume)
    assert capfd.readouterr().err == ""


def test_slices_are_ordered_in_space_whatever_the_direction_of_the_scan(some_voxels, a_grid, tmp_path):
    downwards = a_grid.copy()
    downwards[:3, 2] *= -1
    write_series(tmp_path / "scan", some_voxels, downwards)
    volume = read_image(tmp_path / "scan")
    first = volume.to_ijk(downwards[None, :3, 3])[0]
    np.testing.assert_allclose(first, [0, 0, 3], atol=1e-5)  # the first file lies at the far end of k
    np.testing.assert_array_equal(volume.voxels, some_voxels[::-1])


def test_the_rescale_slope_of_each_slice_counts(some_voxels, a_grid, tmp_path):
    folder = tmp_path / "pet"
    write_series(folder, some_voxels, a_grid, modality="PT", rescale=True)
    for name in ("07_0.dcm", "10_0.dcm"):  # slices 1 and 3
        raw = (folder / name).read_bytes()
        slope_of_one = b"\x28\x00\x53\x10\x02\x00\x00\x001 "
        assert raw.count(slope_of_one) == 1
        (folder / name).write_bytes(raw.replace(slope_of_one, slope_of_one[:-2] + b".5"))
    volume = read_image(folder)
    expected = some_voxels.astype(float)  # stored as value + 5, with an intercept of -5
    expected[[1, 3]] = (expected[[1, 3]] + 5) * 0.5 - 5
    np.testing.assert_allclose(volume.voxels, expected)
    assert volume.modality == "PT"


def test_a_single_file(some_voxels, a_grid, tmp_path):
    write_series(tmp_path / "scan", some_voxels, a_grid)
    volume = read_image(tmp_path / "scan" / "00_0.dcm")
    np.testing.assert_array_equal(volume.voxels, some_voxels[:1])
    np.testing.assert_allclose(volume.ijk_to_ras, a_grid, atol=1e-5)
    assert volume.modality == "CT"


def test_one_slice_in_a_folder(some_voxels, a_grid, tmp_path):
    write_series(tmp_path / "scan", some_voxels[:1], a_grid, modality="MR")
    volume = read_image(tmp_path / "scan")
    assert (volume.shape, volume.modality, volume.name) == ((1, 5, 6), "MR", "scan")


def test_several_series_are_listed(some_voxels, a_grid, tmp_path):
    folder = tmp_path / "study"
    write_series(folder, some_voxels, a_grid, number=1, prefix="a")
    write_series(folder, some_voxels[:3] + 1, a_grid, number=2, modality="MR", prefix="b")
    with pytest.raises(InputError) as caught:
        read_image(folder)
    assert f"{UID}.1 (CT, 4 files)" in str(caught.value)
    assert f"{UID}.2 (MR, 3 files)" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    volume = read_image(folder, series=f"{UID}.2")
    np.testing.assert_array_equal(volume.voxels, some_voxels[:3] + 1)
    assert volume.modality == "MR"
    with pytest.raises(InputError, match="no series 9; choose one of"):
        read_image(folder, series="9")


def test_time_points_are_frames(some_voxels, a_grid, tmp_path):
    for instance in range(3):
        write_series(tmp_path / "cine", some_voxels + instance, a_grid, instance=instance)
    for frame in range(3):
        np.testing.assert_array_equal(read_image(tmp_path / "cine", frame=frame).voxels, some_voxels + frame)
    for wrong in (None, 3):
        with pytest.raises(InputError, match="3 images at each position; choose one by --frame, 0 to 2"):
            read_image(tmp_path / "cine", frame=wrong)
    (tmp_path / "cine" / "00_2.dcm").unlink()
    with pytest.raises(InputError, match="more images than others"):
        read_image(tmp_path / "cine", frame=0)


def test_a_frame_or_component_where_there_is_none(some_voxels, a_grid, tmp_path):
    write_series(tmp_path / "scan", some_voxels, a_grid)
    with pytest.raises(InputError, match="frame"):
        read_image(tmp_path / "scan", frame=0)
    with pytest.raises(InputError, match="component"):
        read_image(tmp_path / "scan", component=0)


def test_missing_slices(some_voxels, a_grid, tmp_path):
    write_series(tmp_path / "scan", some_voxels, a_grid)
    (tmp_path / "scan" / "07_0.dcm").unlink()
    with pytest.raises(InputError, match="missing or unevenly spaced"):
        read_image(tmp_path / "scan")


@pytest.mark.parametrize("name", ["00_0.dcm", "10_0.dcm", "07_0.dcm"])
def test_a_file_that_was_cut_short(some_voxels, a_grid, tmp_path, name):
    """At an end of the series it would leave no gap, and the volume would be a slice shorter without a word."""
    write_series(tmp_path / "scan", some_voxels, a_grid)
    whole = (tmp_path / "scan" / name).read_bytes()
    for kept in (len(whole) - 20, len(whole) // 2):
        (tmp_path / "scan" / name).write_bytes(whole[:kept])
        with pytest.raises(InputError, match=f"{name} is damaged or incomplete"):
            read_image(tmp_path / "scan")
    (tmp_path / "scan" / name).write_bytes(whole)
    # Other objects that lie about (a structure set has a class of its own) and files of the system do no harm.
    (tmp_path / "scan" / "RS.dcm").write_bytes(whole[:600].replace(b"5.1.4.1.1.2\0", b"5.1.4.1.1.9\0"))
    (tmp_path / "scan" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "scan" / ".DS_Store").write_bytes(b"\0" * 50)
    np.testing.assert_array_equal(read_image(tmp_path / "scan").voxels, some_voxels)


def test_a_tilted_gantry(some_voxels, a_grid, tmp_path):
    lps = lps_of(a_grid)
    shifted = lps[:3, 2] + 0.3 * lps[:3, 1]
    write_series(tmp_path / "scan", some_voxels, a_grid, positions=[lps[:3, 3] + k * shifted for k in range(4)])
    with pytest.raises(InputError, match="tilted gantry"):
        read_image(tmp_path / "scan")


def test_localisers_in_the_series(some_voxels, a_grid, tmp_path):
    write_series(tmp_path / "scan", some_voxels, a_grid)
    turned = a_grid[:, [1, 2, 0, 3]]
    write_series(tmp_path / "scan", some_voxels[:1], straight(turned), prefix="x", instance=5)
    with pytest.raises(InputError, match="direction"):
        read_image(tmp_path / "scan")
    write_series(tmp_path / "scan", np.zeros((1, 9, 9), np.int16), a_grid, prefix="x", instance=5)
    with pytest.raises(InputError, match="size"):
        read_image(tmp_path / "scan")


def test_folders_without_images(tmp_path):
    with pytest.raises(InputError, match="no DICOM images"):
        read_image(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "broken.dcm").write_bytes(np.random.default_rng(0).bytes(3000))
    with pytest.raises(InputError, match="no DICOM images"):
        read_image(tmp_path)


def test_colour_frames(tmp_path):
    """A colour file as an ultrasound machine writes one; several frames become slices."""
    colors = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    image = sitk.GetImageFromArray(colors, isVector=True)
    image.SetMetaData("0008|0060", "US")
    sitk.WriteImage(image, str(tmp_path / "us.dcm"))
    volume = read_image(tmp_path / "us.dcm")
    assert volume.modality == "US"
    np.testing.assert_array_equal(volume.voxels, colors)
