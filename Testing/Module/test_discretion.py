"""Nothing of the patient is in what is written or passed on: files, job folders, the log, the details of an error."""

import gzip
import logging
import zlib

import pytest
import slicer
from module_scene import accept_clicks, add_volume, ras_of, straight_affine, two_blocks, until_exported
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.errors import ModelError

NAME, UID, BORN = "DOE^JANE 3 thorax", "1.2.826.0.1.3680043.99", "19500101"


@pytest.fixture
def patient(opened, tmp_path):
    """A volume as Slicer's DICOM module leaves it, with three annotated slices."""
    opened.node = node = add_volume(two_blocks(), straight_affine(), NAME)
    opened.affine = straight_affine()
    node.SetAttribute("DICOM.instanceUIDs", UID)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    person = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "DOE^JANE")
    hierarchy.SetItemAttribute(person, "DICOM.PatientBirthDate", BORN)
    study = hierarchy.CreateStudyItem(person, "thorax")
    hierarchy.SetItemUID(hierarchy.CreateItem(study, node), "DICOM", UID)
    opened.bench.preferences.job_folder = tmp_path / "jobs"
    opened.bench.open(node)
    assert run_until(lambda: opened.bench.inference.info is not None)
    accept_clicks(opened, (4, 6, 8))
    return opened


def says_something(content):
    return [secret for secret in ("DOE", UID, BORN) if secret.encode() in content]


def unpacked(path):
    """A file's bytes, and those of what is compressed in it."""
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        return gzip.decompress(content)
    if path.suffix == ".nrrd":
        header, _, voxels = content.partition(b"\n\n")
        return header + zlib.decompress(voxels, wbits=31)
    return content


def test_files(patient, tmp_path, monkeypatch):
    bench = patient.bench
    for number, kind in enumerate(("nifti", "nifti_files", "seg_nrrd")):
        bench.exporting.start(tmp_path / "out" / str(number), "thorax", kind)
        until_exported(patient)
    monkeypatch.setattr(bench.learning, "_launch", lambda job: None)
    bench.learning.start()
    files = [path for folder in ("out", "jobs", "home") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert len(files) > 8 and {"job.json", "thorax.json", "thorax.seg.nrrd"} <= {path.name for path in files}
    for path in files:
        assert says_something(unpacked(path)) == [] and says_something(str(path).encode()) == [], path


def test_the_log_and_the_details_of_errors(patient, caplog):
    import qt

    caplog.set_level(logging.DEBUG)
    bench, panel = patient.bench, patient.panel
    curve = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", "outline of DOE^JANE")
    panel.prompt.run(lambda: bench.prompter.add_markup(curve))
    assert "DOE" in panel.prompt.messages.text  # the user sees which
    panel.prompt.messages.copy_button.click()
    copied = qt.QApplication.clipboard().text()
    assert "InputError" in copied and "[MarkupsClosedCurve]" in copied and says_something(copied.encode()) == []
    patient.clients[0].failure = ModelError(f"{NAME} is too large for the GPU.")
    bench.prompter.add_point(ras_of(patient, 8, 40, 50))
    assert run_until(lambda: "too large" in panel.prompt.messages.text)
    bench.open(add_volume(two_blocks(), straight_affine(), "DOE^JANE 4 abdomen"))
    slicer.mrmlScene.RemoveNode(patient.node)
    run_for(0.1)
    panel.input.ui.copyLogButton.click()
    copied = qt.QApplication.clipboard().text()
    assert "too large" in copied and says_something(copied.encode()) == []
    assert says_something(caplog.text.encode()) == []
