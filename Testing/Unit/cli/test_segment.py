"""`samfinetune segment`: files, grids and numbers, looked at with SimpleITK."""

import hashlib
import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image


def voxels_of(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def prompts_of(path) -> list:
    return json.loads(path.with_name("out.json").read_text())["provenance"]["prompts"][0]["prompts"]


def test_a_click_gives_a_label_map_on_the_images_grid(segment, an_image, tmp_path):
    before = hashlib.sha256(an_image.read_bytes()).hexdigest()
    code, out, err = segment("--point", "0,0,0", "--negative=-10,-10,0", "--json")
    assert code == 0, err
    image, labels = sitk.ReadImage(str(an_image)), sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    assert labels.GetSize() == image.GetSize()
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(labels, name)(), getattr(image, name)(), atol=1e-5)
    found = sitk.GetArrayFromImage(labels)
    assert set(np.unique(found)) <= {0, 1}
    assert not np.delete(found, 6, axis=0).any()
    result = json.loads(out)
    assert result["axis"] == "k"
    assert result["segments"][0]["voxels"] == int(found.sum())
    assert result["window"]["name"] in ("soft_tissue", "mr")
    assert hashlib.sha256(an_image.read_bytes()).hexdigest() == before


def test_the_sidecar_tells_how_it_came_about(segment, a_checkpoint, tmp_path):
    assert segment("--point", "0,0,0", "--name", "ball", "--window", "40/400", "--quiet")[0] == 0
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert [(entry["value"], entry["name"]) for entry in sidecar["segments"]] == [(1, "ball")]
    provenance = sidecar["provenance"]
    assert provenance["model"]["sha256"] == hashlib.sha256(a_checkpoint.read_bytes()).hexdigest()
    assert (provenance["window"]["lower"], provenance["window"]["upper"]) == (-160, 240)
    assert provenance["image"]["name"] == "ball.nii.gz"
    assert provenance["slices"] == [6]
    assert "SAMFinetune" in provenance["software"]


@pytest.mark.parametrize("space", ["ras", "lps", "ijk"])
def test_spaces_name_the_same_point(segment, an_image, tmp_path, space):
    image = sitk.ReadImage(str(an_image))
    ijk = (20.0, 12.0, 4.0)
    lps = image.TransformContinuousIndexToPhysicalPoint(ijk)
    ras = (-lps[0], -lps[1], lps[2])
    point = ",".join(map(str, {"ras": ras, "lps": lps, "ijk": ijk}[space]))
    assert segment("--point", point, "--space", space, "--quiet")[0] == 0
    assert prompts_of(tmp_path / "out.nii.gz")[0]["position"] == pytest.approx(ras, abs=1e-4)


def test_a_thick_box_segments_every_slice_that_it_spans(segment):
    code, out, _ = segment("--box", "10,8,3,22,20,8", "--space", "ijk", "--json", "--quiet")
    assert code == 0
    assert json.loads(out)["segments"][0]["slices"] == 6


def test_the_flat_axis_of_a_box_is_the_axis_of_the_slices(segment):
    _, out, _ = segment("--box", "16,8,3,16,20,8", "--space", "ijk", "--json", "--quiet")
    assert json.loads(out)["axis"] == "i"
    _, out, _ = segment("--point", "0,0,0", "--axis", "coronal", "--overwrite", "--json", "--quiet")
    assert json.loads(out)["axis"] == "j"


def test_prompts_of_several_segments_from_a_file(segment, tmp_path):
    entries = [
        {"name": "ball", "value": 3, "points": [[0, 0, 0]], "negative_points": [[-14, -10, 0]]},
        {"name": "corner", "value": 7, "boxes": [[-18, -12, 4, -8, -4, 4]]},
    ]
    (tmp_path / "prompts.json").write_text(json.dumps({"segments": entries}))
    code, out, err = segment("--prompts", tmp_path / "prompts.json", "--json", "--quiet")
    assert code == 0, err
    assert [(s["value"], s["name"]) for s in json.loads(out)["segments"]] == [(3, "ball"), (7, "corner")]
    assert set(np.unique(voxels_of(tmp_path / "out.nii.gz"))) <= {0, 3, 7}


def test_prompts_from_slicers_markups(segment, tmp_path):
    markups = {
        "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#",
        "markups": [
            {
                "type": "Fiducial",
                "coordinateSystem": "LPS",
                "controlPoints": [
                    {"id": "1", "label": "F-1", "position": [3.0, -2.0, 4.0], "positionStatus": "defined"}
                ],
            }
        ],
    }
    (tmp_path / "F.mrk.json").write_text(json.dumps(markups))
    assert segment("--prompts", tmp_path / "F.mrk.json", "--quiet")[0] == 0
    (point,) = prompts_of(tmp_path / "out.nii.gz")
    assert point["position"] == pytest.approx([-3.0, 2.0, 4.0])


def test_the_picture_is_drawn(segment, tmp_path):
    assert segment("--point", "0,0,0", "--picture", tmp_path / "out.png", "--quiet")[0] == 0
    with Image.open(tmp_path / "out.png") as picture:
        assert min(picture.size) > 200


def test_a_colour_photograph(run, a_checkpoint, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    arguments = ("--point", "30,20,0", "--space", "ijk", "--model", a_checkpoint, "--picture", tmp_path / "p.png")
    code, _, err = run("segment", tmp_path / "photo.png", tmp_path / "out.nii.gz", *arguments)
    assert code == 0, err
    assert voxels_of(tmp_path / "out.nii.gz").shape == (1, 40, 60)


def test_results_are_overwritten_only_on_request(segment, tmp_path):
    assert segment("--point", "0,0,0", "--quiet")[0] == 0
    first = (tmp_path / "out.nii.gz").read_bytes()
    code, _, err = segment("--point", "0,0,4", "--quiet")
    assert code == 2 and "--overwrite" in err
    assert (tmp_path / "out.nii.gz").read_bytes() == first
    assert segment("--point", "0,0,4", "--quiet", "--overwrite")[0] == 0


def test_quiet_says_nothing_but_the_result(segment):
    _, out, err = segment("--point", "0,0,0", "--quiet")
    assert err == "" and "voxels" in out
    _, _, err = segment("--point", "0,0,0", "--overwrite")
    assert "Model:" in err
