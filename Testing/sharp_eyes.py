"""A stand-in for a model that sees the image at its input's resolution."""

from types import SimpleNamespace

import numpy as np
import torch.nn.functional as F

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.preprocessing import Preprocessing, SliceTransform
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice
from SAMFinetuneLogic.prompting.refine import refine
from SAMFinetuneLogic.prompting.slice_image import SliceImage

SIZE = 64


class SharpEyes:
    """Finds what is brighter than 100 of 255, at a quarter of its input's resolution; remembers what it was asked."""

    def __init__(self, second=None):
        self.model = SimpleNamespace(
            mask_size=(SIZE // 4, SIZE // 4),
            entry=SimpleNamespace(prompts=("point", "box", "mask"), multimask=True),
            preprocessing=SimpleNamespace(size=SIZE),
        )
        self.asked = []
        self._second = second

    def finer(self, size):
        return self  # bound to one size

    def embed(self, image):
        transform = SliceTransform(image.shape, image.spacing, Preprocessing("minmax", "longest_pad", SIZE))
        return EmbeddedSlice(image, transform.prepare(image.to_uint8())[None], transform)

    def predict(self, embedded, points, labels, box=None, mask_logits=None, multimask=None):
        self.asked.append(
            SimpleNamespace(embedded=embedded, points=points, box=box, mask=mask_logits, multimask=multimask)
        )
        gray = embedded.embedding.mean(dim=1, keepdim=True)
        low_res = 20 * (F.adaptive_avg_pool2d(gray, self.model.mask_size)[0] - 100 / 255)
        on_slice = embedded.transform.logits_to_slice(low_res)
        if embedded.image.crop is not None and self._second is not None:
            on_slice = self._second(on_slice)
        iou = np.array([0.9 if embedded.image.crop is None else 0.95], dtype=np.float32)
        return Candidates(on_slice.numpy(), low_res.numpy(), iou)


def disc(shape, centre, radius, spacing=(1.0, 1.0)):
    rows, cols = np.indices(shape)
    return ((rows - centre[0]) * spacing[0]) ** 2 + ((cols - centre[1]) * spacing[1]) ** 2 < radius**2


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def ask(truth, spacing=(1.0, 1.0), eyes=None, box=None):
    """(first answer, refined answer, stand-in) for a click on the middle of a bright object."""
    eyes = eyes or SharpEyes()
    image = SliceImage(255 * truth.astype(np.uint8), spacing, SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    embedded = eyes.embed(image)
    click = np.argwhere(truth).mean(axis=0)[None]
    prompts = SlicePrompts(click, np.array([1]), np.zeros((0, 4)) if box is None else np.array([box], dtype=float))
    first = eyes.predict(embedded, prompts.points, prompts.labels)
    return first, refine(eyes, embedded, prompts, first), eyes
