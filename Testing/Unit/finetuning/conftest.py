"""Shallow models of each backbone, shared by the tests of fine-tuning."""

import pytest
import torch
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.models.tiny_vit import TinyViT


def small_tiny_vit_sam():
    """A stock decoder behind TinyViT at 64 pixels."""
    sam = small_stock_sam()
    torch.manual_seed(1)
    sam.image_encoder = TinyViT(img_size=64, out_chans=32)
    return sam.eval()


MAKERS = {"compact": small_compact_sam, "vit_b": small_stock_sam, "vit_t_256": small_tiny_vit_sam}


@pytest.fixture(params=list(MAKERS))
def a_base(request):
    """A loaded model of each backbone with random weights."""
    return loaded(MAKERS[request.param](), backbone=request.param)
