import errno
import gzip
import json
import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SAMFinetuneLogic.errors import GeometryError, InputError, OutputError
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.reading import read_label_map
from SAMFinetuneLogic.imaging.writing import write_label_map

files_in_one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def stored_geometry(path):
    """sform, qform (None if its code is 0) and data type from the raw header, by the formulas of nifti1.h."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        raw = stream.read(352)
    assert struct.unpack_from("<i", raw)[0] == 348
    qform_code, sform_code = struct.unpack_from("<2h", raw, 252)
    assert sform_code == 1
    sform = np.eye(4)
    sform[:3] = np.array(struct.unpack_from("<12f", raw, 280)).reshape(3, 4)
    qfac, *spacing = struct.unpack_from("<4f", raw, 76)
    b, c, d, x, y, z = struct.unpack_from("<6f", raw, 256)
    a = 1.0 - (b * b + c * c + d * d)
    if a < 1e-7:
        length = np.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = np.sqrt(a)
    qform = np.eye(4)
    qform[:3, :3] = [
        [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
        [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
        [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
    ] @ np.diag([*spacing[:2], spacing[2] * (-1 if qfac < 0 else 1)])
    qform[:3, 3] = x, y, z
    return sform, qform if qform_code else None, struct.unpack_from("<h", raw, 70)[0]


def simpleitk_geometry(path):
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ lps


def write(folder, affine, shape=(2, 3, 4), name="labels.nii.gz"):
    voxels = np.random.default_rng(0).integers(0, 5, shape, dtype=np.uint8)
    path = folder / name
    write_label_map(path, LabelMap(voxels, affine))
    return path, voxels


@files_in_one_folder
@given(data=st.data(), flat=st.booleans())
def test_the_geometry_comes_back_within_1e_5(data, flat, draw_affine, tmp_path):
    affine = draw_affine(data)
    path, voxels = write(tmp_path, affine, (1, 3, 4) if flat else (2, 3, 4))
    sform, qform, _ = stored_geometry(path)
    assert np.abs(sform - affine).max() < 1e-5
    assert qform is None or np.abs(qform - affine).max() < 1e-5
    assert np.abs(simpleitk_geometry(path) - affine).max() < 1e-5
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    back = read_label_map(path)
    assert np.abs(back.ijk_to_ras - affine).max() < 1e-5
    np.testing.assert_array_equal(back.voxels, voxels)


@pytest.mark.parametrize("tilt", [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 45.0, 179.999, 180.0])
@pytest.mark.parametrize("axis", range(3))
def test_near_half_turns_where_quaternions_fail(tilt, axis, tmp_path):
    """LPS storage is a half turn from RAS; a slight tilt more is where the stored quaternion runs out of digits."""
    affine = np.eye(4)
    turn = np.zeros(3)
    turn[axis] = tilt
    rotation = Rotation.from_rotvec(turn, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag([-0.5, -0.5, 3.0])
    path, _ = write(tmp_path, affine)
    sform, qform, _ = stored_geometry(path)
    assert np.abs(sform - affine).max() < 1e-5
    assert np.abs(simpleitk_geometry(path) - affine).max() < 1e-5
    if qform is not None:
        assert np.abs(qform - affine).max() < 1e-5
    if tilt in (0.0, 1.0, 45.0, 180.0):
        assert qform is not None


@files_in_one_folder
@given(offset=st.tuples(*[st.floats(-1e5, 1e5)] * 3))
@example(offset=(1234.5678, -9876.54321, 1000.1))
def test_large_offsets_are_as_good_as_single_precision(offset, an_affine, tmp_path):
    affine = an_affine.copy()
    affine[:3, 3] = offset
    path, _ = write(tmp_path, affine)
    for found in (stored_geometry(path)[0], stored_geometry(path)[1], simpleitk_geometry(path)):
        np.testing.assert_allclose(found[:3, 3], offset, rtol=6e-8, atol=1e-30)
        np.testing.assert_allclose(found[:3, :3], affine[:3, :3], atol=1e-5)


def test_a_second_trip_changes_nothing(an_affine, tmp_path):
    """What was read from a NIfTI file is written with the same offsets, however large."""
    affine = an_affine.copy()
    affine[:3, 3] = 1234.5678, -765.4321, 3210.123
    path, _ = write(tmp_path, affine)
    first = read_label_map(path)
    write_label_map(tmp_path / "again.nii.gz", first)
    second = read_label_map(tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(first.ijk_to_ras[:3, 3], second.ijk_to_ras[:3, 3])
    np.testing.assert_allclose(first.ijk_to_ras, second.ijk_to_ras, atol=1e-6)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
@pytest.mark.parametrize(("dtype", "code"), [(np.uint8, 2), (np.uint16, 512)])
def test_types_and_suffixes(name, dtype, code, an_affine, tmp_path):
    voxels = np.array([[[0, 1, np.iinfo(dtype).max]]], dtype)
    path = tmp_path / name
    write_label_map(path, LabelMap(voxels, an_affine))
    if name.islower():
        assert stored_geometry(path)[2] == code
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
        assert image.GetNumberOfComponentsPerPixel() == 1
    assert sorted(p.name.lower() for p in tmp_path.iterdir()) == ["a.json", name.lower()]


def test_voxels_in_any_memory_order(an_affine, tmp_path):
    voxels = np.asfortranarray(np.random.default_rng(1).integers(0, 9, (3, 4, 5), dtype=np.uint8))[:, ::-1]
    write_label_map(tmp_path / "a.nii.gz", LabelMap(voxels, an_affine))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz"))), voxels)


def test_sidecar(an_affine, tmp_path):
    segments = (Segment(1, "Leber größe", (0.1, 0.2, 0.3)), Segment(300, "tumour", (1, 0, 0)))
    labels = LabelMap(np.array([[[0, 1, 300]]]), an_affine, segments)
    provenance = {"image": "ct.nii.gz", "model": {"id": "m", "sha256": "ab"}, "prompts": [], "version": "0.1.0"}
    sidecar = write_label_map(tmp_path / "out.nii.gz", labels, provenance)
    assert sidecar == tmp_path / "out.json"
    content = json.loads(sidecar.read_text(encoding="utf-8"))
    assert content["provenance"] == provenance
    assert content["segments"][0] == {"value": 1, "name": "Leber größe", "color": [0.1, 0.2, 0.3]}
    assert content["label_map"] == "out.nii.gz"
    back = read_label_map(tmp_path / "out.nii.gz")
    assert back.segments == segments
    assert back.voxels.dtype == np.uint16


def test_the_same_content_gives_the_same_bytes(an_affine, tmp_path):
    first, _ = write(tmp_path, an_affine, name="a.nii.gz")
    second, _ = write(tmp_path, an_affine, name="b.nii.gz")
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_replaced_without_leave(an_affine, tmp_path):
    path, voxels = write(tmp_path, an_affine)
    before = path.read_bytes()
    other = LabelMap(voxels + 1, an_affine)
    with pytest.raises(OutputError, match="exists already"):
        write_label_map(path, other, overwrite=False)
    path.rename(tmp_path / "kept")
    with pytest.raises(OutputError, match=r"labels\.json exists already"):
        write_label_map(path, other, overwrite=False)
    assert not path.exists()
    (tmp_path / "kept").rename(path)
    assert path.read_bytes() == before
    write_label_map(path, other)
    np.testing.assert_array_equal(read_label_map(path).voxels, voxels + 1)


def test_another_tools_json_is_never_replaced(an_affine, tmp_path):
    bids = tmp_path / "labels.json"
    bids.write_text('{"Modality": "MR"}')
    with pytest.raises(OutputError, match="another tool's file"):
        write(tmp_path, an_affine)
    assert bids.read_text() == '{"Modality": "MR"}'
    assert list(tmp_path.iterdir()) == [bids]


def test_what_cannot_be_written(an_affine, tmp_path):
    labels = LabelMap(np.zeros((2, 2, 2), np.uint8), an_affine)
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        write_label_map(tmp_path / "a.png", labels)
    sheared = an_affine.copy()
    sheared[:3, 0] += 0.01 * sheared[:3, 1]
    with pytest.raises(GeometryError, match="not perpendicular"):
        write_label_map(tmp_path / "a.nii.gz", LabelMap(labels.voxels, sheared))
    with pytest.raises(GeometryError, match="32767"):
        write_label_map(tmp_path / "a.nii.gz", LabelMap(np.zeros((1, 1, 32768), np.uint8), an_affine))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        write_label_map(tmp_path / "file" / "a.nii.gz", labels)


def test_a_full_disk_leaves_the_old_file(an_affine, tmp_path, monkeypatch):
    path, _ = write(tmp_path, an_affine)
    before = path.read_bytes()

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(gzip.GzipFile, "write", no_space)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path, np.eye(4))
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.json", "labels.nii.gz"]


def test_no_room_for_the_sidecar_leaves_the_old_label_map(an_affine, tmp_path, monkeypatch):
    """New labels under old names would be wrong."""
    path, _ = write(tmp_path, an_affine)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(path), "write_bytes", no_space)
    with pytest.raises(OutputError, match=r"labels\.json: No space left"):
        write(tmp_path, np.eye(4))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_two_label_maps_that_would_share_a_sidecar(an_affine, tmp_path):
    first, _ = write(tmp_path, an_affine)
    before = (tmp_path / "labels.json").read_bytes()
    with pytest.raises(OutputError, match=r"labels\.json belongs to labels\.nii\.gz"):
        write(tmp_path, an_affine, name="labels.nii")
    assert (tmp_path / "labels.json").read_bytes() == before and not (tmp_path / "labels.nii").exists()
    first.unlink()  # its names are of no more use
    write(tmp_path, an_affine, name="labels.nii")
    assert json.loads((tmp_path / "labels.json").read_text())["label_map"] == "labels.nii"


@pytest.mark.parametrize("name", [".nii.gz", ".NII.GZ", ".nii"])
def test_a_suffix_alone_is_no_name(an_affine, tmp_path, name):
    with pytest.raises(InputError):
        write(tmp_path, an_affine, name=name)
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_damaged_sidecars(an_affine, tmp_path):
    path, _ = write(tmp_path, an_affine)
    sidecar = tmp_path / "labels.json"
    content = json.loads(sidecar.read_text())
    for damaged in ({**content, "segments": [{"value": 1}]}, {**content, "version": 99}):
        sidecar.write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=r"labels\.json"):
            read_label_map(path)
    for foreign in ("[1, 2]", "no json", '{"format": "other"}'):
        sidecar.write_text(foreign)
        assert read_label_map(path).segments[0].name == "Segment_1"
