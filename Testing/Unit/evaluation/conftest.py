"""Small labelled cases on disk, and a segmenter that needs no model."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_cases import ball, write_volume

from SAMFinetuneLogic.metrics import first_click
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.propagation import auto_context


@pytest.fixture(autouse=True)
def _briefly(monkeypatch):
    """How much the network of a volume learns does not matter to how it is measured."""
    monkeypatch.setattr(auto_context, "STEPS", 4)


class GrowingSegmenter:
    """Each click gives a disc about it, one of three sizes on the first click; a box is filled.

    Args:
        log: receives (clicks, box, whether feedback was given) for each prompt.
    """

    def __init__(self, radius: float = 8.0) -> None:
        self.radius = radius
        self.log: list[tuple] = []
        self.opened: list[str] = []

    @property
    def description(self):
        return {"id": "growing", "radius": self.radius}

    def open(self, target):
        self.opened.append(target.key)
        return _GrowingSlice(self, target.mask.shape)


class _GrowingSlice:
    def __init__(self, owner, shape) -> None:
        self.owner, self.shape = owner, shape

    def predict(self, clicks=(), box=None, feedback=None):
        self.owner.log.append((tuple(clicks), box, feedback is not None))
        rows, cols = np.mgrid[: self.shape[0], : self.shape[1]]
        if box is not None:
            masks = [(rows >= box[0]) & (rows <= box[2]) & (cols >= box[1]) & (cols <= box[3])]
        else:
            radii = (self.owner.radius, 3.0, 2.0) if len(clicks) == 1 else (self.owner.radius,)
            masks = []
            for radius in radii:
                mask = np.zeros(self.shape, dtype=bool)
                for click in clicks:
                    mask[(rows - click.row) ** 2 + (cols - click.col) ** 2 <= radius**2] = click.positive
                masks.append(mask)
        logits = np.where(np.stack(masks), 5.0, -5.0).astype(np.float32)
        return Candidates(logits, logits, np.linspace(0.9, 0.5, len(masks), dtype=np.float32))


@pytest.fixture
def a_segmenter() -> GrowingSegmenter:
    return GrowingSegmenter()


@pytest.fixture
def a_manifest_file(tmp_path) -> Path:
    """Two volumes and a picture:

    - ``abdomen`` (CT): label 1, a ball; label 2, a smaller ball; label 3, too small.
    - ``brain`` (MR): two pairs with a ball each.
    - ``film`` (X-ray): a picture with a mask in shades of gray.
    """
    shape = (6, 40, 50)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[ball(shape, (3, 18, 20), 10)] = 1
    labels[ball(shape, (2, 18, 40), 6)] = 2
    labels[0, :7, :9] = 3
    rng = np.random.default_rng(0)
    image = (labels * 60 + 20 + rng.normal(0, 4, shape)).astype(np.int16)
    folder = tmp_path / "data"
    write_volume(folder / "abdomen/image.nii.gz", image)
    write_volume(folder / "abdomen/label.nii.gz", labels)
    for name, radius in (("001", 7), ("002", 12)):
        mask = ball(shape, (3, 20, 25), radius).astype(np.uint8)
        write_volume(folder / f"brain/{name}_image.nii.gz", (mask * 90 + 10).astype(np.int16))
        write_volume(folder / f"brain/{name}_label.nii.gz", mask)
    disc = ball((60, 64), (30, 30), 15)
    film = folder / "film"
    film.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray((disc * 150 + 50).astype(np.uint8)), str(film / "image.png"))
    gray = np.where(disc, 254, 0) + ball((60, 64), (30, 30), 6)
    gray[0, 0] = 90
    sitk.WriteImage(sitk.GetImageFromArray(gray.astype(np.uint8)), str(film / "mask.png"))
    content = [
        {
            "case": "abdomen",
            "modality": "CT",
            "pairs": [{"image": "image.nii.gz", "label": "label.nii.gz"}],
            "label_names": {"1": "liver", "2": "spleen"},
        },
        {
            "case": "brain",
            "modality": "MR T1w (crop)",
            "pairs": [{"image": f"{n}_image.nii.gz", "label": f"{n}_label.nii.gz"} for n in ("001", "002")],
        },
        {
            "case": "film",
            "modality": "X-ray 2D",
            "pairs": [{"image": "image.png", "label": "mask.png"}],
            "label_names": {"255": "lungs"},
        },
    ]
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder / "manifest.json"


@pytest.fixture
def a_disc() -> np.ndarray:
    """Boolean (60, 70), radius 14 about (25, 40)."""
    mask = ball((60, 70), (25, 40), 14)
    assert (first_click(mask).row, first_click(mask).col) == (25, 40)
    return mask
