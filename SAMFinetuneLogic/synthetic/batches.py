"""Batches of examples as tensors."""

from dataclasses import dataclass

import numpy as np
import torch

from SAMFinetuneLogic.synthetic.samples import SlicePair, draw_examples


@dataclass(frozen=True)
class Batch:
    """B images, neighbours 2n and 2n + 1 being slices of one examination, with T targets each; N = B * T.

    Attributes:
        images: (B, 3, S, S) normalised, zero where padded.
        targets: (N, S, S) bool, those of image b at b * T to b * T + T - 1.
        whole: (N,) bool, target n is a whole structure in this slice and in its partner.
        targets_per_image: T.
    """

    images: torch.Tensor
    targets: torch.Tensor
    whole: torch.Tensor
    targets_per_image: int

    def of_partner(self, per_target: torch.Tensor) -> torch.Tensor:
        """Reorder (N, ...) so that place n holds what belongs to the same structure in the other slice."""
        shape = (-1, 2, self.targets_per_image, *per_target.shape[1:])
        return per_target.reshape(shape).flip(1).reshape(per_target.shape)


def make_batch(
    rng: np.random.Generator, pairs: list[SlicePair], targets: int, mean: torch.Tensor, std: torch.Tensor
) -> Batch:
    """Augment pairs, choose targets and normalise as the model's preprocessing does."""
    examples = [example for pair in pairs for example in draw_examples(rng, pair, targets)]
    gray = torch.from_numpy(np.stack([example.image for example in examples])).float().unsqueeze(1)
    valid = torch.from_numpy(np.stack([example.valid for example in examples])).unsqueeze(1)
    images = (gray.expand(-1, 3, -1, -1) - mean) / std * valid
    whole = torch.from_numpy(np.concatenate([example.whole for example in examples]))
    batch = Batch(
        images=images.contiguous(memory_format=torch.channels_last),
        targets=torch.from_numpy(np.concatenate([example.targets for example in examples])),
        whole=whole,
        targets_per_image=targets,
    )
    both_whole = whole & batch.of_partner(whole)
    return Batch(batch.images, batch.targets, both_whole, targets)
