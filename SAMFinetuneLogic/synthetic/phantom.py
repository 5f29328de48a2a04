"""An abdomen CT that was never a patient, with the truth for six structures: for the demo and for tests.

The shapes are implicit surfaces (superellipsoids, swept tubes, periodic hoops; `phantom_anatomy`), a family that
the default model's training images are not drawn from. The scanner is imitated: partial volume in
the plane and across thick slices, blur, noise that is correlated as in a reconstructed image, a slight cupping.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.imaging.labels import LabelMap, Segment, segment_color
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.synthetic.phantom_anatomy import SEGMENT_NAMES, Tissue, abdomen
from SAMFinetuneLogic.synthetic.phantom_shapes import rotation_matrix

SHAPE = (40, 144, 160)  # k, j, i
SPACING = (2.3, 2.0, 4.5)  # i, j, k in mm
OBLIQUE = (9.0, -6.0, 7.0)  # degrees about R, A, S

_AIR = -1000.0
_CELL = (2, 4, 4)  # voxels along k, j, i of the coarse cells in which a tissue is looked for first
_BLUR_MM = 1.0
_SLICE_BLUR = 0.35  # of a slice's thickness
_NOISE_HU = 14.0
_CUPPING_HU = 18.0


@dataclass(frozen=True, eq=False)
class Phantom:
    """A CT volume in Hounsfield units (int16) and the true label map on the same grid."""

    volume: Volume
    truth: LabelMap


def make_phantom(
    seed: int = 0,
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = SPACING,
    oblique: tuple[float, float, float] = OBLIQUE,
) -> Phantom:
    """The phantom of ``seed``: the same numbers give the same voxels.

    Args:
        shape: voxels along k, j, i.
        spacing: mm along i, j, k.
        oblique: by how many degrees the voxel grid is turned about R, A and S against the patient.
    """
    rng = np.random.default_rng(seed)
    tissues = abdomen(rng)
    affine = _grid(shape, spacing, oblique)
    positions = _positions(affine, shape)
    density, truth = _paint(tissues, positions, spacing)
    voxels = _scan(density, positions, spacing, rng)
    segments = tuple(Segment(n, name, segment_color(n - 1)) for n, name in enumerate(SEGMENT_NAMES, start=1))
    return Phantom(
        Volume(voxels=voxels, ijk_to_ras=affine, modality="CT", name="phantom"),
        LabelMap(voxels=truth, ijk_to_ras=affine, segments=segments),
    )


def _grid(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], oblique: tuple[float, float, float]
) -> np.ndarray:
    """IJK to RAS with the grid's middle at the origin; i runs to the left and j to the back, as scanners do."""
    affine = np.eye(4)
    affine[:3, :3] = rotation_matrix(oblique) @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return affine


def _positions(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """RAS positions (k, j, i, 3) of the voxels' centres, float32."""
    k, j, i = (np.arange(count, dtype=np.float32) for count in shape)
    columns = affine[:3, :3].T.astype(np.float32)
    return (
        affine[:3, 3].astype(np.float32)
        + k[:, None, None, None] * columns[2]
        + j[None, :, None, None] * columns[1]
        + i[None, None, :, None] * columns[0]
    )


def _paint(
    tissues: list[Tissue], positions: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units with edges as soft as a pixel is wide, and the segment that holds each voxel's centre."""
    softness = float(np.mean(spacing[:2]))
    density = np.full(positions.shape[:3], _AIR, dtype=np.float32)
    truth = np.zeros(positions.shape[:3], dtype=np.uint8)
    for tissue in tissues:
        near = _neighbourhood(tissue, positions, spacing)
        distance = tissue.body(positions[near])
        values, labels = density[near], truth[near]
        for depth, hounsfield in ((0.0, tissue.hounsfield), *tissue.inner):
            share = np.clip(0.5 - (distance + depth) / softness, 0, 1)
            values += share * (hounsfield - values)
        labels[distance < 0] = tissue.segment
        density[near], truth[near] = values, labels
    return density, truth


def _neighbourhood(tissue: Tissue, positions: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Boolean (k, j, i): the coarse cells that a tissue can reach, so that most tissues are evaluated in few voxels.

    A cell's diagonal is twice what an exact distance would need; the bodies' distances are not exact.
    """
    reach = float(np.linalg.norm(np.array(_CELL) * spacing[::-1]))
    middles = positions[
        tuple(slice(min(size // 2, count - 1), None, size) for size, count in zip(_CELL, positions.shape, strict=False))
    ]
    hit = tissue.body(middles) < reach
    for axis, (size, count) in enumerate(zip(_CELL, positions.shape, strict=False)):
        # The last, incomplete cell may have no middle of its own: it follows its neighbour.
        hit = np.take(hit, np.minimum(np.arange(count) // size, hit.shape[axis] - 1), axis=axis)
    return hit


def _scan(
    density: np.ndarray, positions: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """Blur, noise and cupping; rounded to whole Hounsfield units."""
    blurred = ndimage.gaussian_filter(density, (_SLICE_BLUR, _BLUR_MM / spacing[1], _BLUR_MM / spacing[0]))
    noise = rng.normal(size=density.shape).astype(np.float32)
    # A reconstruction's noise is grainy: strongest at middle frequencies.
    grain = ndimage.gaussian_filter(noise, (0.0, 0.7, 0.7)) - ndimage.gaussian_filter(noise, (0.0, 2.5, 2.5))
    grain *= _NOISE_HU / grain.std()
    depth = np.clip(1.0 - np.hypot(positions[..., 0] / 165, positions[..., 1] / 115), 0, 1)
    tissue = np.clip((blurred + 300) / 200, 0, 1)  # air and lung show less of both
    scanned = blurred + grain * (0.35 + 0.65 * tissue) * (0.7 + 0.6 * depth) - _CUPPING_HU * depth * tissue
    return np.clip(np.rint(scanned), -1024, 3071).astype(np.int16)
