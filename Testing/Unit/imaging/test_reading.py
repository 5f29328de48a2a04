import gzip
import json
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.reading import read_image, read_label_map
from SAMFinetuneLogic.imaging.volume import Volume

NO_TILT = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_simpleitk(voxels, affine, is_vector=False):
    image = sitk.GetImageFromArray(voxels, isVector=is_vector)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_volume_formats(name, dtype, an_affine, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    sitk.WriteImage(to_simpleitk(voxels, an_affine), str(tmp_path / name))
    volume = read_image(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype == dtype
    np.testing.assert_allclose(volume.ijk_to_ras, an_affine, atol=2e-5)
    assert volume.modality is None
    assert volume.name == name


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_grid_from_nrrd(data, draw_affine, tmp_path):
    affine = draw_affine(data)
    sitk.WriteImage(to_simpleitk(np.zeros((2, 3, 4), np.uint8), affine), str(tmp_path / "a.nrrd"))
    np.testing.assert_allclose(read_image(tmp_path / "a.nrrd").ijk_to_ras, affine, atol=1e-9)


def test_gipl(tmp_path):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing([0.5, 0.75, 2.0])
    for name in ("a.gipl", "a.gipl.gz"):
        sitk.WriteImage(image, str(tmp_path / name))
        volume = read_image(tmp_path / name)
        np.testing.assert_array_equal(volume.voxels, voxels)
        assert volume.spacing == (0.5, 0.75, 2.0)


def test_the_scale_in_the_header_is_applied_and_is_no_truncation(tmp_path):
    raw = nifti_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4), slope=0.5, intercept=10.0)
    (tmp_path / "a.nii").write_bytes(raw)
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").voxels.ravel(), np.arange(24) * 0.5 + 10)


def nifti_bytes(voxels, sform=None, qform_code=0, sform_code=1, slope=0.0, intercept=0.0, order="<"):
    """A NIfTI-1 file by hand."""
    sform = np.eye(4) if sform is None else sform
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, *voxels.shape[::-1], 1, 1, 1, 1)
    code = {"u1": 2, "i2": 4, "f4": 16}[voxels.dtype.str[1:]]
    struct.pack_into(order + "2h", header, 70, code, voxels.dtype.itemsize * 8)
    struct.pack_into(order + "4f", header, 76, 1, *np.linalg.norm(sform[:3, :3], axis=0))
    struct.pack_into(order + "3f", header, 108, 352, slope, intercept)
    header[123] = 2
    struct.pack_into(order + "2h", header, 252, qform_code, sform_code)
    struct.pack_into(order + "12f", header, 280, *sform[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes()


def test_big_endian_and_sheared_nifti(tmp_path):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    (tmp_path / "big.nii").write_bytes(nifti_bytes(voxels, order=">"))
    np.testing.assert_array_equal(read_image(tmp_path / "big.nii").voxels, voxels)
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    (tmp_path / "sheared.nii").write_bytes(nifti_bytes(voxels, sheared))
    with pytest.raises(InputError, match="not perpendicular"):
        read_image(tmp_path / "sheared.nii")


def test_frames(an_affine, tmp_path):
    frames = np.random.default_rng(0).integers(0, 100, (3, 2, 4, 5), dtype=np.int16)
    images = [to_simpleitk(frame, an_affine) for frame in frames]
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        path = tmp_path / name
        sitk.WriteImage(sitk.JoinSeries(images), str(path))
        for index in range(3):
            volume = read_image(path, frame=index)
            np.testing.assert_array_equal(volume.voxels, frames[index])
            np.testing.assert_allclose(volume.ijk_to_ras, an_affine, atol=2e-5)
        for wrong in (None, 3, -1):
            with pytest.raises(InputError, match="3 frames; choose one by --frame, 0 to 2"):
                read_image(path, frame=wrong)
        with pytest.raises(InputError, match="no components"):
            read_image(path, frame=0, component=0)
    sitk.WriteImage(sitk.JoinSeries(images[:1]), str(tmp_path / "one.nrrd"))
    np.testing.assert_array_equal(read_image(tmp_path / "one.nrrd").voxels, frames[0])


def test_label_maps_with_frames(an_affine, tmp_path):
    """For labels there is no choice of a frame: the message must not offer one."""
    frame = to_simpleitk(np.eye(4, dtype=np.uint8)[None], an_affine)
    sitk.WriteImage(sitk.JoinSeries([frame, frame]), str(tmp_path / "two.nii.gz"))
    with pytest.raises(InputError, match="2 frames; save the label map of one of them") as caught:
        read_label_map(tmp_path / "two.nii.gz")
    assert "--frame" not in str(caught.value)
    sitk.WriteImage(sitk.JoinSeries([frame]), str(tmp_path / "one.nii.gz"))
    np.testing.assert_array_equal(read_label_map(tmp_path / "one.nii.gz").voxels[0], np.eye(4))


def test_components(an_affine, tmp_path):
    vectors = np.random.default_rng(0).random((2, 4, 5, 3)).astype(np.float32)
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        path = tmp_path / name
        sitk.WriteImage(to_simpleitk(vectors, an_affine, is_vector=True), str(path))
        for index in range(3):
            np.testing.assert_array_equal(read_image(path, component=index).voxels, vectors[..., index])
        for wrong in (None, 3, -1):
            with pytest.raises(
                InputError, match="3 components of float32 in each voxel; choose one by --component, 0 to 2"
            ):
                read_image(path, component=wrong)
        with pytest.raises(InputError, match="no frames"):
            read_image(path, component=0, frame=0)


def test_a_choice_where_there_is_none(tmp_path):
    sitk.WriteImage(sitk.Image(3, 4, 5, sitk.sitkUInt8), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="no components"):
        read_image(tmp_path / "a.nrrd", component=0)
    with pytest.raises(InputError, match="no frames"):
        read_image(tmp_path / "a.nrrd", frame=0)
    with pytest.raises(InputError, match="single file"):
        read_image(tmp_path / "a.nrrd", series="1.2.3")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_colour_pictures(name, tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / name)
    volume = read_image(tmp_path / name)
    assert volume.is_color
    assert volume.shape == (1, 4, 5)
    np.testing.assert_array_equal(volume.voxels[0], colors)
    np.testing.assert_array_equal(read_image(tmp_path / name, component=1).voxels[0], colors[..., 1])


def test_jpeg(tmp_path):
    Image.fromarray(np.full((8, 9, 3), (200, 100, 50), np.uint8)).save(tmp_path / "a.jpg", quality=95)
    volume = read_image(tmp_path / "a.jpg")
    assert volume.is_color
    assert np.abs(volume.voxels.astype(int) - [200, 100, 50]).max() <= 3
    Image.new("RGB", (8, 8), (200, 100, 50)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "print.jpg").voxels.astype(int) - [200, 100, 50]).max() <= 3


def test_transparency_is_dropped(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").voxels[0], colors[..., :3])


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_is_resolved(transparent, tmp_path):
    indices = np.arange(20, dtype=np.uint8).reshape(4, 5) % 3
    palette = np.array([[255, 0, 0], [0, 200, 0], [10, 20, 30]], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(palette.ravel().tolist())
    picture.save(tmp_path / "a.png", **({"transparency": 1} if transparent else {}))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").voxels[0], palette[indices])


def test_gray_pictures(tmp_path):
    gray16 = (np.arange(20, dtype=np.uint16) * 3000).reshape(4, 5)
    Image.fromarray(gray16).save(tmp_path / "a.png")
    volume = read_image(tmp_path / "a.png")
    assert volume.voxels.dtype == np.uint16
    assert not volume.is_color
    np.testing.assert_array_equal(volume.voxels, gray16[None])
    np.testing.assert_array_equal(volume.ijk_to_ras, NO_TILT)
    Image.fromarray(np.eye(4, dtype=bool)).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png").voxels[0] > 0, np.eye(4, dtype=bool))


def test_pages_of_a_tiff_are_slices(tmp_path):
    pages = [Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    volume = read_image(tmp_path / "a.tif")
    assert volume.shape == (3, 4, 5)
    assert volume.voxels[:, 0, 0].tolist() == [1, 2, 3]


def damaged_files(folder):
    """Names and contents of files that are no images."""
    rng = np.random.default_rng(0)
    nifti = nifti_bytes(rng.integers(0, 1000, (8, 9, 10), dtype=np.int16))
    sitk.WriteImage(sitk.GetImageFromArray(rng.integers(0, 99, (8, 9, 10), dtype=np.int16)), str(folder / "ok.gipl"))
    sitk.WriteImage(sitk.GetImageFromArray(rng.integers(0, 99, (30, 31), dtype=np.uint8)), str(folder / "ok.png"))
    gipl = (folder / "ok.gipl").read_bytes()
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = LOCAL\nabc"
    nrrd = b"NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: 3 4 5\nencoding: raw\n\n123"
    wrong_sum = bytearray(gzip.compress(nifti))
    wrong_sum[-8] ^= 0xFF
    return {
        "empty.nii.gz": b"",
        "noise.nii.gz": rng.bytes(3000),
        "header.nii": nifti[:100],
        "short.nii": nifti[:-1],
        "short.nii.gz": gzip.compress(nifti)[:-200],
        "cut_before_packing.nii.gz": gzip.compress(nifti[:-100]),
        "checksum.nii.gz": bytes(wrong_sum),
        "short.gipl": gipl[:-1],
        "short.gipl.gz": gzip.compress(gipl)[:-100],
        "short.mha": mha,
        "type.mha": mha.replace(b"UCHAR", b"FOO"),
        "short.nrrd": nrrd,
        "sizes.nrrd": nrrd.replace(b"3 4 5", b"3 a 5"),
        "short.png": (folder / "ok.png").read_bytes()[:400],
        "text.png": b"hello",
        "notes.txt": b"hello",
        "image.dcm": rng.bytes(4000),
    }


def test_damaged_files_give_a_sentence_and_nothing_on_stderr(tmp_path, capfd):
    for name, content in damaged_files(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_image(path)
        message = str(caught.value)
        assert name in message
        assert "\n" not in message
        assert "ITK" not in message
    assert capfd.readouterr().err == ""
    assert not read_image(tmp_path / "ok.gipl").is_color


def test_stderr_works_again_after_reading(tmp_path, capfd):
    sitk.WriteImage(sitk.Image(3, 4, 5, sitk.sitkUInt8), str(tmp_path / "a.nrrd"))
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    read_image(tmp_path / "a.nrrd")
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown


def test_missing_and_unsuitable(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_image(tmp_path / "missing.nii.gz")
    sitk.WriteImage(sitk.Image([3, 4, 5], sitk.sitkComplexFloat32), str(tmp_path / "complex.mha"))
    with pytest.raises(InputError, match="complex"):
        read_image(tmp_path / "complex.mha")


def test_label_maps(an_affine, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 3, (3, 4, 5))
    sitk.WriteImage(to_simpleitk(voxels.astype(np.float32), an_affine), str(tmp_path / "float.nii.gz"))
    labels = read_label_map(tmp_path / "float.nii.gz")
    assert labels.voxels.dtype == np.uint8
    np.testing.assert_array_equal(labels.voxels, voxels)
    assert labels.name == "float.nii.gz"
    sitk.WriteImage(to_simpleitk(voxels + 0.5, an_affine), str(tmp_path / "image.nii.gz"))
    with pytest.raises(InputError, match=r"image\.nii\.gz is not a label map"):
        read_label_map(tmp_path / "image.nii.gz")
    Image.new("RGB", (5, 4), "red").save(tmp_path / "color.png")
    with pytest.raises(InputError, match="colour picture, not a label map"):
        read_label_map(tmp_path / "color.png")


@pytest.mark.data
def test_every_case_of_the_data_folder(a_data_folder):
    for case in json.loads((a_data_folder / "manifest.json").read_text()):
        for pair in case["pairs"]:
            image = read_image(a_data_folder / case["case"] / pair["image"])
            labels = read_label_map(a_data_folder / case["case"] / pair["label"])
            assert isinstance(image, Volume)
            assert image.shape[::-1][: len(pair["size"])] == tuple(pair["size"])
            for value, count in pair.get("labels", {}).items():
                assert labels.mask(int(value)).sum() == count


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such names")
def test_a_name_that_is_no_text(an_affine, tmp_path):
    """SimpleITK would end the process."""
    sitk.WriteImage(to_simpleitk(np.zeros((2, 3, 4), np.int16), an_affine), str(tmp_path / "a.nii.gz"))
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.nii.gz"))
    (tmp_path / "a.nii.gz").rename(path)
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/s\xe9rie"))
    folder.mkdir()
    for each, shown in ((path, r"caf\\udce9"), (folder, r"s\\udce9rie")):
        with pytest.raises(InputError, match=f"{shown}.*rename it"):
            read_image(each)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_gray_masks_saved_in_colour(tmp_path, mode):
    mask = np.zeros((6, 7), np.uint8)
    mask[2:4, 3:6], mask[5, 0] = 255, 7
    Image.fromarray(mask).convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "mask.png").voxels[0], mask)
