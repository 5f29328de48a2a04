from dataclasses import replace

import numpy as np
import torch

from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.views import encode_views
from SAMFinetuneLogic.imaging.windows import Window


def test_half_of_the_copies_for_other_images_are_as_for_the_same(a_case, a_compact_model, quick):
    """Areas of the labels over that of the slice itself: near 1, where copies vary little."""
    collection = new_collection(*a_case, indices=[3], model=a_compact_model, window=Window(0.0, 200.0, "full"))

    def ratios(purpose):
        (views,) = encode_views(collection, a_compact_model, replace(quick, augmentations=40, purpose=purpose))
        areas = torch.stack([view.grids.fine[1:].sum() for view in views]).log()
        return (areas[1:] - areas[0]).abs().numpy()

    same, other = ratios("same_images"), ratios("other_images")
    assert same.max() < 2 * np.log(1.2) + 0.1
    varied = np.arange(40) // 2 % 2 == 0
    assert other[~varied].max() < 2 * np.log(1.2) + 0.1
    assert other[varied].max() > 0.5
