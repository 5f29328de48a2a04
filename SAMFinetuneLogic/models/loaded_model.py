"""A network in memory, and how it encodes slices without running out of it."""

import copy
import warnings
from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from SAMFinetuneLogic.errors import ModelError, is_out_of_memory
from SAMFinetuneLogic.models.catalogue import ModelEntry
from SAMFinetuneLogic.models.device import (
    DTYPES,
    Precision,
    choose_precision,
    describe_device,
    gains_from_half_on_cpu,
    release_cached,
)
from SAMFinetuneLogic.models.preprocessing import Preprocessing
from SAMFinetuneLogic.models.weights_hash import hash_weights, weights_fingerprint


class LoadedModel:
    """A model on its device.

    Attributes:
        network: a ``segment_anything`` ``Sam`` in evaluation mode: ``image_encoder``, ``prompt_encoder``,
            ``mask_decoder``.
        entry: what the catalogue (or, for a file of the user's, the layout) says about it.
        weights_sha256: of the checkpoint file, for the record of where a result comes from.
        device, precision: where and how the image encoder runs. Both change if the GPU's memory does not suffice.
        warnings: sentences for the user, in the order in which they arose.
        adapter: what is known about the adapter in the weights, fit for JSON; None for the model as it was published.
    """

    def __init__(
        self,
        network: nn.Module,
        entry: ModelEntry,
        weights_sha256: str,
        device: torch.device,
        precision: Precision,
        notes: list[str] | None = None,
    ) -> None:
        self.network: Any = network
        self.entry = entry
        self.weights_sha256 = weights_sha256
        self.device = device
        self.precision = precision
        self.warnings: list[str] = list(notes or [])
        self.adapter: dict[str, Any] | None = None
        self._batch_limit: int | None = None
        self._hashed: tuple[Hashable, str] | None = None
        self._shared_with: LoadedModel | None = None
        try:
            network.eval().to(device)
        except RuntimeError as error:
            if not is_out_of_memory(error) or device.type == "cpu":
                raise
            self._retreat_to_cpu()

    @property
    def preprocessing(self) -> Preprocessing:
        return self.entry.preprocessing

    @property
    def description(self) -> str:
        """Model and device in a few words, for the user."""
        return f"{self.entry.title} on {describe_device(self.device, self.precision)}"

    @property
    def provenance(self) -> dict[str, Any]:
        """Where a result of this model comes from, for its record; fit for JSON."""
        facts = {"id": self.entry.id, "sha256": self.weights_sha256, "licence": self.entry.licence}
        return facts if self.adapter is None else {**facts, "adapter": self.adapter}

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one slice's embedding."""
        height, width = self.network.prompt_encoder.image_embedding_size
        return (int(self.network.prompt_encoder.embed_dim), int(height), int(width))

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the mask decoder's logits, and of mask prompts."""
        height, width = self.network.prompt_encoder.mask_input_size
        return (int(height), int(width))

    def finer(self, size: int) -> "LoadedModel | None":
        """The same model with another size of the input, sharing its weights; None where they are bound to one size.

        Args:
            size: side of the input in pixels, a multiple of 16.
        """
        from SAMFinetuneLogic.models.compact import is_compact, resized

        if not is_compact(self.network):
            return None
        other = copy.copy(self)
        other.network = resized(self.network, size)
        other.entry = replace(self.entry, preprocessing=replace(self.preprocessing, size=size))
        other._shared_with = self
        return other

    @property
    def encoder_key(self) -> str:
        """Identifies the function that the encoder computes, for caching embeddings.

        Follows changes of the encoder's weights, of adapters in it and of the precision; changes of the decoder
        leave it alone.
        """
        encoder = self.network.image_encoder
        fingerprint = weights_fingerprint(encoder)
        if self._hashed is None or self._hashed[0] != fingerprint:
            self._hashed = (fingerprint, hash_weights(encoder))
        return f"{self._hashed[1]}-{self.precision}"

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Embed prepared slices.

        If memory runs out, smaller batches are tried, then the CPU, with a warning.

        Args:
            batch: float32 (B, 3, S, S) on any device, from ``SliceTransform.prepare``.

        Returns:
            float32 (B, C, h, w) on the model's device.

        Raises:
            ModelError: the batch does not fit the network, or memory does not suffice for a single slice.
        """
        size = self.preprocessing.size
        if batch.ndim != 4 or tuple(batch.shape[1:]) != (3, size, size):
            raise ModelError(f"Expected slices of shape (B, 3, {size}, {size}), but got {tuple(batch.shape)}.")
        if batch.shape[0] == 0:
            return torch.empty((0, *self.embedding_shape), device=self.device)
        embeddings: list[torch.Tensor] = []
        start = 0
        while start < batch.shape[0]:
            count = min(self._batch_limit or batch.shape[0], batch.shape[0] - start)
            embedding = self._try_encode(batch[start : start + count])
            if embedding is not None:
                embeddings.append(embedding)
                start += count
            elif count > 1:
                self._batch_limit = count // 2
            elif self.device.type != "cpu":
                self._retreat_to_cpu()
            else:
                raise ModelError(
                    f"There is not enough memory to encode one slice with {self.entry.title}: "
                    "close other programs, or choose a smaller model."
                )
        return torch.cat([embedding.to(self.device) for embedding in embeddings])

    def _try_encode(self, batch: torch.Tensor) -> torch.Tensor | None:
        """The embeddings, or None if memory ran out."""
        try:
            with torch.inference_mode(), self._autocast():
                return self.network.image_encoder(batch.to(self.device)).float()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Only here, outside of the handler, are the failed pass's tensors free.
        release_cached(self.device)
        return None

    def _autocast(self) -> AbstractContextManager:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def _retreat_to_cpu(self) -> None:
        message = (
            f"The memory of {describe_device(self.device, self.precision)} does not suffice for {self.entry.title}: "
            "it continues on the CPU, which is slower."
        )
        self.network.to("cpu")
        release_cached(self.device)
        self.device = torch.device("cpu")
        wanted = "fp32" if self.precision == "fp32" else "auto"
        self.precision = choose_precision(self.device, wanted, gains_from_half_on_cpu(self.entry.backbone))
        self._batch_limit = 1
        if self._shared_with is not None:
            # The weights that have moved are the other's too.
            self._shared_with.device, self._shared_with.precision = self.device, self.precision
        self.warnings.append(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
