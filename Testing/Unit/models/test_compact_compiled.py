"""The decoder gives the same gradients compiled and not: once, a compiled gradient was silently zero."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from SAMFinetuneLogic.models.compact import COMPACT_CONFIG, build_compact_sam

SMALL = {
    **COMPACT_CONFIG,
    "size": 32,
    "widths": [16, 16, 16, 32],
    "neck_width": 16,
    "embed_dim": 64,
    "decoder_mlp": 32,
    "spread_widths": [16, 16, 16],
}
_THROUGH_UPSAMPLING = ("spread.up1.weight", "spread.up2.weight", "spread.coarse.conv2.weight")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_gradients_equal_plain_ones():
    """In a process of its own: other libraries may have changed this one's locale, which the compiler reads by."""
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("compared ")


def compare_gradients() -> None:
    torch.manual_seed(0)
    sam = build_compact_sam(SMALL)
    with torch.no_grad():
        for parameter in sam.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    position = sam.prompt_encoder.get_dense_pe()
    sam.to(torch.bfloat16)
    decoder = sam.mask_decoder
    embedding, dense = torch.randn(2, 4, 64, 8, 8, dtype=torch.bfloat16)
    embedding = embedding.contiguous(memory_format=torch.channels_last)
    tokens = torch.randn(4, 8, 64, dtype=torch.bfloat16)

    def gradients(decode):
        decoder.zero_grad()
        masks, iou = decode(embedding, position, tokens, dense)
        (masks.float().square().mean() + iou.float().square().mean()).backward()
        return {name: p.grad.float() for name, p in decoder.named_parameters() if p.grad is not None}

    plain = gradients(decoder.predict_masks)
    compiled = gradients(torch.compile(decoder.predict_masks, dynamic=False))
    assert plain.keys() == compiled.keys()
    compared = [name for name, gradient in plain.items() if gradient.norm() > 1e-3 or name in _THROUGH_UPSAMPLING]
    for name in compared:
        assert (compiled[name] - plain[name]).norm() < 0.2 * plain[name].norm(), name
    assert all(plain[name].norm() > 0 for name in _THROUGH_UPSAMPLING)
    print(f"compared {len(compared)} gradients")


if __name__ == "__main__":
    compare_gradients()
