"""A tiny model with random weights, and small images: what matters here is the way from arguments to files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def an_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT-like oblique volume of 32 x 28 x 12 voxels around (0, 0, 0), with a bright ball in its middle."""
    rng = np.random.default_rng(0)
    k, j, i = np.indices((12, 28, 32))
    ball = ((i - 16) / 6) ** 2 + ((j - 14) / 6) ** 2 + ((k - 6) / 3) ** 2 < 1
    image = sitk.GetImageFromArray((rng.normal(20, 10, ball.shape) + 150 * ball).astype(np.int16))
    turn = np.radians(20)
    image.SetDirection([np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1])
    image.SetSpacing([1.5, 1.2, 4.0])
    image.SetOrigin([-c for c in image.TransformContinuousIndexToPhysicalPoint([16.0, 14.0, 6.0])])
    path = tmp_path_factory.mktemp("images") / "ball.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def segment(run: Run, an_image: Path, a_checkpoint: Path, tmp_path: Path) -> Run:
    """`samfinetune segment` of the ball into out.nii.gz, with further arguments."""

    def call(*arguments: object) -> tuple[int, str, str]:
        return run("segment", an_image, tmp_path / "out.nii.gz", "--model", a_checkpoint, *arguments)

    return call
