"""Random label maps: who lies in whom, and that what is drawn is usable."""

import numpy as np

from SAMFinetuneLogic.synthetic.label_maps import LabelTree, random_label_tree


def ancestors(parents, label):
    """The labels on the way from ``label`` to the outside, brute force."""
    found = {label}
    while parents[label] != 0:
        label = parents[label]
        found.add(label)
    return found


def test_a_structure_holds_all_that_lies_in_it():
    rng = np.random.default_rng(3)
    for _ in range(5):
        tree = random_label_tree(rng, 64)
        for label in range(1, len(tree.parents)):
            expected = [label in ancestors(tree.parents, other) for other in range(1, len(tree.parents))]
            assert tree.structure(label)[1:].tolist() == expected
            assert not tree.structure(label)[0]


def test_painting_covers_what_was_there_and_reports_the_label():
    tree = LabelTree(np.zeros((8, 8), dtype=np.uint8))
    left = np.zeros((8, 8), dtype=bool)
    left[:, :4] = True
    outer = tree.paint(left, 0)
    inner = tree.paint(left & (np.arange(8)[:, None] < 2), outer)
    assert (tree.region(outer) == left).all()
    assert tree.region(inner).sum() == 8
    assert tree.paint(np.zeros((8, 8), dtype=bool), inner) == inner


def test_scenes_vary_in_size_of_their_structures():
    """Structures reach from a few pixels to most of the slice: large ones were the weakness of an earlier trial."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        tree = random_label_tree(rng, 64)
        shares += [tree.region(label).mean() for label in range(1, len(tree.parents))]
    shares = np.array(shares)
    assert (shares > 0.3).sum() > 20
    assert ((shares > 0) & (shares < 0.01)).sum() > 20
