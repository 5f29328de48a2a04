"""The tissues of the abdomen phantom, from the outside in: each later one is painted over the earlier ones.

All lengths are millimetres in the patient's RAS frame, whose origin lies in the middle of the trunk; values are
Hounsfield units of a portal venous phase. Sizes and places vary a little with the random generator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from SAMFinetuneLogic.synthetic.phantom_shapes import (
    Point,
    common,
    rotation_matrix,
    smooth_curve,
    superellipse_column,
    superellipsoid,
    tube,
    union,
    without,
)

Body = Callable[[np.ndarray], np.ndarray]

SEGMENT_NAMES = ("liver", "spleen", "right kidney", "left kidney", "aorta", "vertebrae")
RIB_SPACING = 30.0
VERTEBRA_SPACING = 34.0


@dataclass(frozen=True)
class Tissue:
    """One body. ``segment`` is the truth's label inside it, 0 for none.

    ``inner`` are (depth, value): deeper than ``depth`` mm under the surface the value is another one, as the
    marrow's inside a bone.
    """

    body: Body
    hounsfield: float
    segment: int = 0
    inner: tuple[tuple[float, float], ...] = ()


def segment_value(name: str) -> int:
    return SEGMENT_NAMES.index(name) + 1


def abdomen(rng: np.random.Generator) -> list[Tissue]:
    """All tissues in painting order."""
    cavity: Body = partial(_column, centre=(0, 8), radii=(134, 86), exponent=2.25)
    return [
        *_trunk(rng, cavity),
        *_skeleton(rng),
        *_bowel(rng),
        *_vessels(rng),
        *_liver(rng, cavity),
        *_spleen(rng, cavity),
        *_kidneys(rng, cavity),
        *_stomach_and_pancreas(rng),
        *_lungs(rng, cavity),
    ]


def _column(p: np.ndarray, centre: tuple[float, float], radii: tuple[float, float], exponent: float) -> np.ndarray:
    return superellipse_column(p, centre, radii, exponent)


def _value(rng: np.random.Generator, hounsfield: float, spread: float = 5.0) -> float:
    return float(hounsfield + spread * rng.uniform(-1, 1))


def _near(rng: np.random.Generator, point: Point, spread: float = 3.0) -> Point:
    x, y, z = np.asarray(point) + spread * rng.uniform(-1, 1, 3)
    return float(x), float(y), float(z)


def _trunk(rng: np.random.Generator, cavity: Body) -> list[Tissue]:
    def ring(p: np.ndarray, grow: float, exponent: float = 2.35) -> np.ndarray:
        return superellipse_column(p, (0, 0), (148 + grow, 98 + grow), exponent)

    tissues = [
        Tissue(lambda p: common(np.abs(p[..., 1] + 128) - 3, np.abs(p[..., 0]) - 170), -820),  # the table
        Tissue(lambda p: ring(p, 19), 30),  # skin
        Tissue(lambda p: ring(p, 16.5), -105),  # fat below the skin
        Tissue(lambda p: ring(p, 0), _value(rng, 55)),  # muscle of the wall
        Tissue(cavity, -98),  # fat between the organs
    ]
    for side in (-1, 1):
        psoas = [(side * 28.0, -48.0, 60.0), (side * 42.0, -46.0, -100.0)]
        tissues += [
            Tissue(partial(_column, centre=(side * 33, -80), radii=(27, 19), exponent=2.8), _value(rng, 58)),
            Tissue(partial(tube, path=psoas, radii=[6, 19]), _value(rng, 60)),
        ]
    # The straight muscles of the belly, on both sides of the white line.
    rectus = [partial(_column, centre=(side * 36, 92), radii=(31, 6), exponent=3) for side in (-1, 1)]
    return [*tissues, *(Tissue(body, _value(rng, 57)) for body in rectus)]


def _ribs(p: np.ndarray, phase: float) -> np.ndarray:
    """All ribs at once: hoops that sink towards the front, repeated along S."""
    angle = np.arctan2(p[..., 1] / 93, np.abs(p[..., 0]) / 142)  # -90 degrees at the spine, 0 at the flank
    turn = (angle + np.pi / 2) / np.pi
    ring = np.hypot(p[..., 0] / 142, p[..., 1] / 93)
    radial = np.linalg.norm(p[..., :2], axis=-1) * (1 - 1 / np.maximum(ring, 1e-6))
    height = p[..., 2] + 75 * turn - phase
    across = height - RIB_SPACING * np.round(height / RIB_SPACING)
    hoops = np.hypot(radial * 1.25, across * 0.85) - 5.6
    # They begin beside the spine, end before the midline in front, and the lowest ones are the shortest.
    front = (turn - np.clip(0.35 + (p[..., 2] + 60) / 220, 0.05, 0.8)) * 180
    return common(hoops, front, 18 - np.abs(p[..., 0]))


def _vertebrae(p: np.ndarray, phase: float) -> np.ndarray:
    x, y, z = np.moveaxis(p, -1, 0)
    level = z - phase
    level = level - VERTEBRA_SPACING * np.round(level / VERTEBRA_SPACING)
    waist = 1.6 * np.cos(np.pi * level / VERTEBRA_SPACING)  # the body is narrower in its middle
    block = superellipse_column(p, (0, -50), (24.5, 17.5), 2.5) + waist
    body = common(block, np.abs(level) - 12.5)
    arch = common(np.abs(np.hypot(x, y + 77) - 12.5) - 3.8, np.abs(level + 4) - 9)
    local = np.stack([np.abs(x), y, level], axis=-1)
    spine = tube(local, [(0, -90, -4), (0, -109, -9)], [4.2, 3.2])
    wings = tube(local, [(11, -76, 0), (37, -82, 2)], [4.6, 3.2])
    return union(body, arch, spine, wings, blend=2.0)


def _skeleton(rng: np.random.Generator) -> list[Tissue]:
    rib_phase, spine_phase = rng.uniform(-8, 8), rng.uniform(-8, 8)
    bone = segment_value("vertebrae")
    marrow = ((2.6, _value(rng, 205, 20)),)
    return [
        Tissue(lambda p: _ribs(p, rib_phase), _value(rng, 520, 40), 0, marrow),
        Tissue(lambda p: superellipse_column(p, (0, -50), (24, 17), 2.5), _value(rng, 85)),  # discs
        Tissue(lambda p: _vertebrae(p, spine_phase), _value(rng, 480, 30), bone, marrow),
        Tissue(lambda p: superellipse_column(p, (0, -77), (10, 8.5), 2), 22),  # spinal canal
        Tissue(lambda p: superellipse_column(p, (0, -77), (6, 4.5), 2), 42),  # cord
    ]


def _vessels(rng: np.random.Generator) -> list[Tissue]:
    aorta_path = smooth_curve([_near(rng, q, 2) for q in ((-9, -20, 140), (-13, -19, 40), (-5, -20, -130))])
    cava_path = smooth_curve([_near(rng, q, 2) for q in ((24, -4, 140), (21, -14, 40), (21, -19, -130))])
    contrast = _value(rng, 165, 8)
    return [
        Tissue(lambda p: tube(p, cava_path, 11.0), contrast - 12),
        Tissue(lambda p: tube(p, [(-7, -8, 25), (-5, 14, -20), (-3, 20, -110)], 4.0), contrast),
        Tissue(lambda p: tube(p, [(9, 14, 18), (7, 19, -110)], 5.0), contrast - 8),
        Tissue(lambda p: tube(p, aorta_path, 12.5), 70, segment_value("aorta"), ((1.0, contrast + 4),)),
    ]


def _kidneys(rng: np.random.Generator, cavity: Body) -> list[Tissue]:
    tissues = []
    for name, side, z in (("right kidney", 1, -32), ("left kidney", -1, -14)):
        centre = _near(rng, (side * 66, -30, z), 3)
        turn = rotation_matrix((12, side * -14, side * 22))
        scale = rng.uniform(0.94, 1.06)
        hilum = np.asarray(centre) + turn @ np.array([-side * 27 * scale, 3, 0])
        hilum_centre = (float(hilum[0]), float(hilum[1]), float(hilum[2]))

        def bean(p, shrink=0.0, centre=centre, turn=turn, scale=scale, hilum_centre=hilum_centre):
            whole = superellipsoid(p, centre, (29 * scale, 27 * scale, 55 * scale), 2.2, turn)
            return without(whole, superellipsoid(p, hilum_centre, (13, 9, 17), 2.0, turn)) + shrink

        def sinus(p, centre=centre, turn=turn, scale=scale, side=side):
            middle = np.asarray(centre) + turn @ np.array([-side * 9 * scale, 0, 0])
            return superellipsoid(p, tuple(middle), (14 * scale, 8 * scale, 27 * scale), 1.7, turn)

        def bed(p, bean=bean):
            return common(bean(p) - 4.5, cavity(p) + 1)

        label, value = segment_value(name), _value(rng, 188, 10)
        renal_vessels = [(side * 16.0, -20.0, z + 6.0), (centre[0] - side * 12, centre[1] + 3, centre[2])]
        tissues += [
            # Its bed of fat keeps the neighbours at a distance.
            Tissue(bed, -100),
            Tissue(bean, value, label),
            # Pyramids: the inner half of the wall takes up contrast later, in spokes around the sinus.
            Tissue(partial(_pyramids, body=partial(bean, shrink=8.0), centre=centre), value - 48, label),
            Tissue(sinus, -70),
            Tissue(partial(tube, path=renal_vessels, radii=4.2), 150),
        ]
    return tissues


def _pyramids(p: np.ndarray, body: Body, centre: Point) -> np.ndarray:
    local = p - np.asarray(centre)
    spokes = np.cos(5 * np.arctan2(local[..., 1], local[..., 0])) * 4 + np.cos(local[..., 2] / 5.5) * 3
    return common(body(p), -spokes - 1)


def _liver(rng: np.random.Generator, cavity: Body) -> list[Tissue]:
    scale = rng.uniform(0.95, 1.05)
    right, left = _near(rng, (70, 6, 22)), _near(rng, (6, 52, 36))
    tilt = rotation_matrix((0, 16, -12))
    label, value = segment_value("liver"), _value(rng, 112, 6)

    def liver(p: np.ndarray) -> np.ndarray:
        lobes = union(
            superellipsoid(p, right, (68 * scale, 80 * scale, 72 * scale), 2.5),
            superellipsoid(p, left, (72 * scale, 30 * scale, 30 * scale), 2.2, tilt),
            tube(p, [(98, -20, -10), (100, 2, -72)], [34, 10]),  # the tip that hangs down the flank
            blend=22,
        )
        hollow = superellipsoid(p, (26, -22, -38), (44, 52, 62), 2.3)  # room for kidney, duodenum and vessels
        inside = common(lobes, cavity(p) + 4)
        return without(without(inside, hollow), superellipsoid(p, (26, -48, 40), (40, 40, 90), 2.6))

    portal = smooth_curve([(9, 14, 12), (24, 10, 22), (44, 14, 28)])
    branches = [[(44, 14, 28), (68, 30, 40), (84, 48, 44)], [(44, 14, 28), (76, -6, 20), (104, -24, 6)]]
    branches += [
        [(68, 30, 40), (100, 30, 56)],
        [(76, -6, 20), (92, 22, 2)],
        [(30, 12, 24), (14, 42, 38), (-26, 58, 46)],
    ]
    veins = [[(26, 4, 84), (52, 4, 66), (92, -14, 50)], [(25, 6, 84), (44, 40, 62)], [(22, 6, 84), (0, 48, 54)]]

    def tree(p: np.ndarray) -> np.ndarray:
        arms = [tube(p, portal, 6.5), *(tube(p, arm, np.linspace(4.6, 2.0, len(arm))) for arm in branches)]
        return union(*arms, *(tube(p, vein, np.linspace(5.0, 2.2, len(vein))) for vein in veins))

    return [
        Tissue(liver, value, label),
        Tissue(lambda p: common(tree(p), liver(p)), value + 46, label),
        Tissue(lambda p: superellipsoid(p, (62, 34, 8), (9, 8, 9)), 12, label),  # a cyst
        Tissue(lambda p: tube(p, [(46, 44, -22), (56, 60, -46)], [9, 15]), 60, 0, ((2.0, 8),)),  # gall bladder
    ]


def _spleen(rng: np.random.Generator, cavity: Body) -> list[Tissue]:
    centre = _near(rng, (-100, -22, 36))
    turn = rotation_matrix((18, 0, -24))

    def spleen(p: np.ndarray) -> np.ndarray:
        whole = superellipsoid(p, centre, (36, 56, 58), 2.3, turn)
        scooped = without(whole, superellipsoid(p, (-60, 8, 20), (36, 46, 62), 2.2, turn))
        return common(scooped, cavity(p) + 4)

    return [Tissue(spleen, _value(rng, 124, 6), segment_value("spleen"))]


def _stomach_and_pancreas(rng: np.random.Generator) -> list[Tissue]:
    pouch = smooth_curve(
        [_near(rng, q) for q in ((-52, 4, 82), (-66, 20, 50), (-50, 48, 14), (-8, 50, -8), (22, 34, -8))]
    )
    sizes = np.interp(np.linspace(0, 1, len(pouch)), [0, 0.35, 0.7, 1], [24, 29, 22, 12])
    gland = smooth_curve([_near(rng, q, 2) for q in ((36, 10, -22), (16, 24, -8), (-20, 12, 6), (-70, -10, 26))])
    level = rng.uniform(48, 54)  # above it in A lies gas: the patient lies on the back

    def lumps(p: np.ndarray) -> np.ndarray:
        return tube(p, gland, 10.0) + 1.5 * np.cos(p[..., 0] / 4.0) * np.cos(p[..., 2] / 5.0 + p[..., 1] / 6.0)

    return [
        Tissue(lambda p: tube(p, pouch, sizes), _value(rng, 75), 0, ((4.0, _value(rng, 24)),)),
        Tissue(lambda p: common(tube(p, pouch, sizes - 4), level - p[..., 1]), -930),
        Tissue(lumps, _value(rng, 96)),
    ]


def _bowel(rng: np.random.Generator) -> list[Tissue]:
    tissues = []
    colon = [[(104, 16, -130), (106, 10, -78), (92, 34, -64)], [(-106, -24, -130), (-112, -26, -20), (-108, 2, 2)]]
    colon.append([(92, 40, -66), (40, 72, -76), (-40, 72, -66), (-104, 20, -10)])
    for path in colon:
        curve = smooth_curve([_near(rng, q) for q in path], 12)
        phase = rng.uniform(0, 6)

        def gut(p, curve=curve, phase=phase):
            return tube(p, curve, 19.0) + 2.0 * np.cos(p[..., 2] / 5 + p[..., 0] / 6 + phase)  # haustra

        def gas(p, gut=gut):
            mottle = 5 * np.sin(p[..., 0] / 3.1) * np.sin(p[..., 1] / 2.7) * np.sin(p[..., 2] / 4.3)
            return gut(p) + 5.0 + mottle

        tissues += [
            Tissue(gut, 58, 0, ((3.0, _value(rng, -30, 20)),)),
            Tissue(gas, _value(rng, -700, 80)),
        ]
    for _ in range(15):
        start = np.array([rng.uniform(-85, 70), rng.uniform(12, 66), rng.uniform(-115, -30)])
        steps = np.cumsum(rng.normal(0, (24, 10, 14), (4, 3)), axis=0)
        knots = np.clip(np.vstack([start, start + steps]), (-86, 2, -140), (82, 68, -28))
        loop = smooth_curve([(float(x), float(y), float(z)) for x, y, z in knots], 12)
        content = ((3.0, _value(rng, 28, 15)),)
        tissues.append(Tissue(partial(tube, path=loop, radii=12.0), _value(rng, 88, 10), 0, content))
    return tissues


def _lungs(rng: np.random.Generator, cavity: Body) -> list[Tissue]:
    """The bases of both lungs, which reach down behind the domes of the diaphragm, and the tip of the heart."""
    value = _value(rng, -860, 15)
    tissues = []
    for side, top in ((1, 96), (-1, 84)):
        dome = (side * 66.0, 4.0, 0.0)

        def lung(p, side=side, dome=dome, top=top):
            chest = common(cavity(p) + 1, 14 - side * p[..., 0], 34 + 0.45 * p[..., 1] - p[..., 2])
            return without(
                without(chest, superellipsoid(p, dome, (74, 84, top), 2.3)),
                tube(p, [(0, -50, -200), (0, -50, 200)], 32),
            )

        tissues.append(Tissue(lung, value))
    heart = _near(rng, (-22, 42, 112))
    return [*tissues, Tissue(lambda p: superellipsoid(p, heart, (52, 40, 30), 2.1), _value(rng, 140))]
