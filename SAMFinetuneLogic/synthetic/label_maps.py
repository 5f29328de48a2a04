"""Random label maps in which regions contain regions, as organs contain vessels and lesions."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.synthetic.fields import Rng, grid, random_warp, sample_nearest, smooth_noise
from SAMFinetuneLogic.synthetic.shapes import fourier_blob, mirrored_pair, random_shape

_MAX_LABELS = 60


@dataclass
class LabelTree:
    """A label map and who lies in whom.

    Attributes:
        labels: (size, size) uint8, 0 = outside of everything.
        parents: for each label its parent (``parents[0]`` is 0). A structure is a label with all its descendants.
    """

    labels: np.ndarray
    parents: list[int] = field(default_factory=lambda: [0])

    def paint(self, mask: np.ndarray, parent: int) -> int:
        """Paint a new region; returns its label, or ``parent`` when nothing of it is visible or labels ran out."""
        if len(self.parents) >= _MAX_LABELS or not mask.any():
            return parent
        label = len(self.parents)
        self.parents.append(parent)
        self.labels[mask] = label
        return label

    def structure(self, label: int) -> np.ndarray:
        """(label count,) bool: the label and its descendants."""
        members = np.zeros(len(self.parents), dtype=bool)
        members[label] = True
        for child in range(1, len(self.parents)):
            parent = self.parents[child]
            if parent and members[parent]:
                members[child] = True
        return members

    def region(self, label: int) -> np.ndarray:
        """(size, size) bool: where the structure of ``label`` is."""
        return self.structure(label)[self.labels]


def random_label_tree(rng: Rng, size: int) -> LabelTree:
    """A label map of a random kind of scene, warped smoothly."""
    tree = LabelTree(np.zeros((size, size), dtype=np.uint8))
    scenes = (_body, _partition, _head, _pair, _sparse)
    scenes[rng.choice(len(scenes), p=[0.42, 0.18, 0.14, 0.12, 0.14])](rng, tree, size)
    positions = random_warp(rng, size, rng.uniform(0, 0.03), rng.uniform(2, 5))
    tree.labels = sample_nearest(tree.labels, positions)
    return tree


def _body(rng: Rng, tree: LabelTree, size: int) -> None:
    """A body outline, shells under its surface, organs within, and what lies in the organs."""
    outline = fourier_blob(rng, size, rng.normal(0, 0.1, 2), rng.uniform(0.55, 1.25), 0.06, rng.uniform(1.0, 1.6))
    inner = tree.paint(outline, 0)
    for _ in range(rng.integers(0, 3)):
        depth = ndimage.distance_transform_edt(tree.region(inner))
        wall = rng.uniform(0.02, 0.14) * size * (1 + 0.3 * smooth_noise(rng, size, 3))
        inner = tree.paint(depth > wall, inner)
    _organs(rng, tree, size, inner, int(rng.integers(2, 13)))


def _partition(rng: Rng, tree: LabelTree, size: int) -> None:
    """The whole image, or an outline in it, divided into neighbouring regions without gaps."""
    base = 0
    if rng.random() < 0.5:
        base = tree.paint(fourier_blob(rng, size, rng.normal(0, 0.1, 2), rng.uniform(0.5, 1.1)), 0)
    count = int(rng.integers(3, 22))
    if rng.random() < 0.5:
        cells = rng.uniform(2, 7)
        fields = [smooth_noise(rng, size, cells) for _ in range(min(count, 8))]
        divided = np.argmax(fields, axis=0)
    else:
        y, x = grid(size)
        seeds = rng.uniform(-1, 1, (count, 2))
        wobble = 0.12 * rng.random()
        y, x = y + wobble * smooth_noise(rng, size, 5), x + wobble * smooth_noise(rng, size, 5)
        divided = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in seeds], axis=0)
    within = tree.region(base) if base else np.ones((size, size), dtype=bool)
    for value in range(divided.max() + 1):
        tree.paint((divided == value) & within, base)
    _organs(rng, tree, size, base, int(rng.integers(0, 4)))


def _head(rng: Rng, tree: LabelTree, size: int) -> None:
    """Nested shells with a folded one among them, and paired structures in the middle."""
    centre, radius = rng.normal(0, 0.08, 2), rng.uniform(0.6, 1.1)
    inner = tree.paint(fourier_blob(rng, size, centre, radius, 0.03, rng.uniform(1.0, 1.35)), 0)
    depth = ndimage.distance_transform_edt(tree.region(inner)) / size
    level = 0.0
    for _ in range(rng.integers(1, 4)):
        level += rng.uniform(0.015, 0.06)
        inner = tree.paint(depth > level, inner)
    folds = smooth_noise(rng, size, rng.uniform(9, 22))
    level += rng.uniform(0.03, 0.08)
    inner = tree.paint(depth + rng.uniform(0.01, 0.05) * folds > level, inner)
    for _ in range(rng.integers(1, 5)):
        reach = radius * rng.uniform(0.06, 0.25)
        middle = centre + np.array([rng.normal(0, 0.2 * radius), 0.0])
        pair = mirrored_pair(rng, size, np.array([middle[0], rng.uniform(0.0, 0.15)]), reach)
        tree.paint(pair & (depth > 0.5 * level), inner)
    _organs(rng, tree, size, inner, int(rng.integers(0, 4)))


def _pair(rng: Rng, tree: LabelTree, size: int) -> None:
    """Two large mirrored regions in an outline that may leave the image, such as lungs in a chest film."""
    outline = fourier_blob(rng, size, rng.normal(0, 0.1, 2), rng.uniform(0.8, 1.6), 0.05, rng.uniform(1.0, 1.4))
    body = tree.paint(outline, 0)
    pair = mirrored_pair(rng, size, np.array([rng.normal(0, 0.1), 0.0]), rng.uniform(0.35, 0.62))
    lungs = tree.paint(pair & outline, body)
    _organs(rng, tree, size, lungs, int(rng.integers(0, 4)))
    _organs(rng, tree, size, body, int(rng.integers(0, 6)))


def _sparse(rng: Rng, tree: LabelTree, size: int) -> None:
    """A few structures with nothing else around."""
    _organs(rng, tree, size, 0, int(rng.integers(1, 5)))


def _organs(rng: Rng, tree: LabelTree, size: int, parent: int, count: int) -> None:
    """Structures within ``parent``, their radii uniform in the logarithm, some with structures of their own."""
    within = tree.region(parent) if parent else np.ones((size, size), dtype=bool)
    where = np.argwhere(within)
    if len(where) < 20:
        return
    reach = np.sqrt(len(where) / np.pi) * 2 / size
    for _ in range(count):
        centre = (where[rng.integers(len(where))] + 0.5) * 2 / size - 1
        radius = np.exp(rng.uniform(np.log(0.03), np.log(max(0.8 * reach, 0.05))))
        shape = random_shape(rng, size, centre, radius)
        organ = tree.paint(shape & within, parent)
        if organ == parent or rng.random() > 0.35:
            continue
        visible = tree.region(organ)
        if visible.sum() < 60:
            continue
        if rng.random() < 0.4:
            depth = ndimage.distance_transform_edt(visible)
            tree.paint(depth > rng.uniform(0.15, 0.6) * depth.max(), organ)
        else:
            spots = np.argwhere(visible)
            for _ in range(rng.integers(1, 4)):
                spot = (spots[rng.integers(len(spots))] + 0.5) * 2 / size - 1
                tree.paint(random_shape(rng, size, spot, radius * rng.uniform(0.12, 0.5)) & visible, organ)
