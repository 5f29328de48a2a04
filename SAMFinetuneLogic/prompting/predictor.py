"""From a slice and prompts on it to candidate masks: ``segment_anything``'s ``SamPredictor`` for medical slices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.embedding_key import embedding_key
from SAMFinetuneLogic.prompting.slice_image import SliceImage


@dataclass(frozen=True, eq=False)
class EmbeddedSlice:
    """A slice after the encoder, ready for any number of prompts.

    Attributes:
        image: what was encoded.
        embedding: float32 (1, C, h, w) on the model's device.
        transform: between the slice's pixels and the network's input.
    """

    image: SliceImage
    embedding: torch.Tensor
    transform: SliceTransform


class SlicePredictor:
    """Encodes slices and answers prompts on them.

    On the same weights, pixels and prompts its logits are those of ``segment_anything.SamPredictor``, where pixels
    are square. With a cache, embeddings are rounded to half precision, also before their first use, so that an
    answer does not depend on whether the cache held the slice.

    Args:
        model: from :func:`SAMFinetuneLogic.models.loading.load_model`.
        cache: shared between predictors at will; None encodes anew each time, in full precision.

    Example:
        >>> predictor = SlicePredictor(load_model("samfinetune_default"), EmbeddingCache())
        >>> embedded = predictor.embed(SliceImage.of(volume, SliceIndex("k", 40), choose_window(volume)))
        >>> candidates = predictor.predict(embedded, points=np.array([[120, 80]]), labels=np.array([1]))
        >>> candidates.mask, candidates.score, candidates.next().mask
    """

    def __init__(self, model: LoadedModel, cache: EmbeddingCache | None = None) -> None:
        self.model = model
        self.cache = cache

    def finer(self, size: int) -> "SlicePredictor":
        """The same with an input of ``size`` pixels a side where the model's weights allow that, else itself."""
        model = self.model.finer(size)
        return self if model is None else SlicePredictor(model, self.cache)

    def embed(self, image: SliceImage) -> EmbeddedSlice:
        """Encode a slice, or take its embedding from the cache."""
        transform = SliceTransform(image.shape, image.spacing, self.model.preprocessing)

        def encode() -> torch.Tensor:
            return self.model.encode(transform.prepare(image.to_uint8())[None])

        if self.cache is None:
            return EmbeddedSlice(image, encode(), transform)
        key = embedding_key(image, self.model)
        half = self.cache.get_or_compute(key, lambda: encode().cpu().numpy())
        embedding = torch.from_numpy(half.astype(np.float32)).to(self.model.device)
        return EmbeddedSlice(image, embedding, transform)

    def predict(
        self,
        embedded: EmbeddedSlice,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        multimask: bool | None = None,
    ) -> Candidates:
        """Masks for prompts on a slice, best predicted first.

        Of a model whose entry says ``single_mask_first``, several candidates are led by the single-mask output.

        Args:
            embedded: from :meth:`embed`.
            points: (N, 2) (row, col) in the slice's pixels.
            labels: (N,); 1 inside, 0 outside of the structure.
            box: (4,) (row0, col0, row1, col1).
            mask_logits: (h, w) or (1, h, w) low resolution logits: the ``mask_logits`` of an earlier answer.
            multimask: whether to give all of SAM's candidates. By default for a single point without anything
                else, which is ambiguous, as SAM's authors advise; never for models trained for one mask.

        Raises:
            ModelError: the model takes none of the prompts given.
            InputError: no prompts, labels that do not fit the points, or a mask of another model's size.
        """
        entry, notices = self.model.entry, []
        if entry.encoder_only:
            raise ModelError(f"{entry.title} holds no mask decoder and answers no prompts; choose another model.")
        points = np.zeros((0, 2)) if points is None else np.asarray(points, dtype=np.float64).reshape(-1, 2)
        labels = np.zeros(0) if labels is None else np.asarray(labels).reshape(-1)
        if len(points) != len(labels):
            raise InputError(f"{len(points)} points have {len(labels)} labels; give one label for each point.")
        if len(points) and "point" not in entry.prompts:
            if box is None:
                raise ModelError(f"{entry.title} takes no points: draw a box, or choose another model.")
            notices.append(f"{entry.title} takes no points; only the box was used.")
            points, labels = points[:0], labels[:0]
        if box is not None and "box" not in entry.prompts:
            if not len(points):
                raise ModelError(f"{entry.title} takes no boxes: click points, or choose another model.")
            notices.append(f"{entry.title} takes no boxes; only the points were used.")
            box = None
        if mask_logits is not None and "mask" not in entry.prompts:
            mask_logits = None  # an earlier mask only refines: without it the answer is still the model's own
        if mask_logits is not None and np.shape(mask_logits) not in (self.model.mask_size, (1, *self.model.mask_size)):
            given, wanted = (" x ".join(map(str, size)) for size in (np.shape(mask_logits), self.model.mask_size))
            raise InputError(
                f"The earlier mask has {given} values, {entry.title} takes {wanted}: "
                "it is another model's, leave it out."
            )
        if not len(points) and box is None and mask_logits is None:
            raise InputError("There is no prompt that the model can use: click a point or draw a box.")
        ambiguous = len(points) == 1 and box is None and mask_logits is None
        several = entry.multimask and (ambiguous if multimask is None else multimask)
        low_res, predicted_iou = self._decode(embedded, points, labels, box, mask_logits, several)
        slice_logits = embedded.transform.logits_to_slice(low_res)
        rank = predicted_iou.clone()
        if several and entry.single_mask_first:
            rank[0] = torch.inf
        order = torch.argsort(rank, descending=True, stable=True).cpu().numpy()
        return Candidates(
            slice_logits.cpu().numpy()[order],
            low_res.cpu().numpy()[order],
            predicted_iou.cpu().numpy()[order],
            notices=tuple(notices),
        )

    @torch.inference_mode()
    def _decode(
        self,
        embedded: EmbeddedSlice,
        points: np.ndarray,
        labels: np.ndarray,
        box: np.ndarray | None,
        mask_logits: np.ndarray | None,
        several: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, h, w) and predicted IoU (n,), as ``SamPredictor.predict_torch`` on one set of prompts.

        With ``single_mask_first`` and ``several``, index 0 is the single-mask output.
        """
        network: Any = self.model.network  # torch types submodules as tensors or modules
        transform = embedded.transform

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, dtype=torch.float32, device=self.model.device)

        point_tensors = box_tensor = mask_tensor = None
        if len(points):
            point_tensors = (tensor(transform.points_to_input(points))[None], tensor(labels)[None])
        if box is not None:
            box_tensor = tensor(transform.boxes_to_input(np.asarray(box).reshape(1, 4)))
        if mask_logits is not None:
            mask_tensor = tensor(mask_logits).reshape(1, 1, *self.model.mask_size)
        sparse, dense = network.prompt_encoder(points=point_tensors, boxes=box_tensor, masks=mask_tensor)
        # All four outputs cost as much as one: the decoder computes them together.
        masks, predicted_iou = network.mask_decoder.predict_masks(
            image_embeddings=embedded.embedding.to(self.model.device),  # it may have moved since
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        first = 1 if several and not self.model.entry.single_mask_first else 0
        chosen = slice(first, None if several else 1)
        return masks[0, chosen].float(), predicted_iou[0, chosen].float()
