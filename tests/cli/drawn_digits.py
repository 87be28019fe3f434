"""Digits drawn with a pen: strokes of several hands, shaken, on any paper."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

_LARGER = 3  # drawn so many times larger, then reduced: smooth edges


def _arc(cx, cy, rx, ry, start, stop):
    """Return points on an ellipse, by angles in degrees: 0 right, 90 down."""
    angles = np.radians(np.linspace(start, stop, 24))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def _line(*points):
    return np.array(points, float)


def _joined(*parts):
    return np.concatenate(parts)


# Each digit as people write it: a list of hands, each a list of strokes, x to the
# right and y down, in a box of 1 by 1.
HANDS = {
    0: [
        [_arc(0.5, 0.5, 0.42, 0.5, -90, 270)],
        [_arc(0.5, 0.5, 0.3, 0.5, -60, 300)],
        [_arc(0.5, 0.5, 0.4, 0.48, -110, 240)],
    ],
    1: [
        [_line((0.5, 0), (0.5, 1))],
        [_line((0.3, 0.25), (0.52, 0), (0.52, 1))],
        [_line((0.3, 0.2), (0.5, 0), (0.5, 1)), _line((0.28, 1), (0.75, 1))],
    ],
    2: [
        [_joined(_arc(0.48, 0.28, 0.38, 0.28, -165, 35), _line((0.08, 1), (0.95, 1)))],
        [
            _joined(
                _arc(0.5, 0.25, 0.36, 0.25, 180, 375),
                _line((0.5, 0.68), (0.1, 1), (0.92, 0.97)),
            )
        ],
    ],
    3: [
        [
            _joined(
                _arc(0.45, 0.25, 0.38, 0.25, -150, 90),
                _arc(0.45, 0.74, 0.44, 0.26, -90, 150),
            )
        ],
        [
            _joined(
                _line((0.12, 0.02), (0.85, 0.02), (0.42, 0.42)),
                _arc(0.42, 0.7, 0.44, 0.28, -90, 150),
            )
        ],
    ],
    4: [
        [_line((0.22, 0), (0.12, 0.55), (0.92, 0.55)), _line((0.7, 0.1), (0.66, 1))],
        [_line((0.95, 0.66), (0.05, 0.66), (0.68, 0), (0.68, 1))],
    ],
    5: [
        [
            _line((0.85, 0), (0.25, 0)),
            _joined(
                _line((0.25, 0), (0.2, 0.42)), _arc(0.42, 0.69, 0.42, 0.3, -120, 140)
            ),
        ],
        [
            _joined(
                _line((0.85, 0.02), (0.22, 0.02), (0.16, 0.5)),
                _arc(0.45, 0.7, 0.4, 0.29, -140, 150),
            )
        ],
    ],
    6: [
        [
            _joined(
                _line((0.7, 0), (0.38, 0.25), (0.16, 0.6)),
                _arc(0.5, 0.72, 0.36, 0.27, 190, -170),
            )
        ],
        [
            _joined(
                _line((0.55, 0), (0.25, 0.35), (0.14, 0.7)),
                _arc(0.48, 0.75, 0.34, 0.24, 180, -120),
            )
        ],
    ],
    7: [
        [_line((0.08, 0.02), (0.92, 0.02), (0.4, 1))],
        [
            _line((0.08, 0.04), (0.9, 0.02), (0.42, 1)),
            _line((0.3, 0.52), (0.88, 0.5)),
        ],
        [_line((0.1, 0.15), (0.1, 0.02), (0.9, 0.02), (0.55, 0.5), (0.45, 1))],
    ],
    8: [
        [
            _arc(0.5, 0.25, 0.34, 0.25, 90, 450),
            _arc(0.5, 0.74, 0.42, 0.26, -90, 270),
        ],
        [
            _joined(
                _arc(0.52, 0.23, 0.34, 0.23, 0, -230),
                _arc(0.48, 0.76, 0.4, 0.24, -50, 230),
                _line((0.86, 0.23)),
            )
        ],
    ],
    9: [
        [
            _arc(0.46, 0.28, 0.36, 0.28, 0, 360),
            _line((0.82, 0.28), (0.78, 1)),
        ],
        [
            _joined(
                _arc(0.48, 0.27, 0.36, 0.27, -20, -350),
                _line((0.84, 0.3), (0.76, 0.7), (0.4, 1)),
            )
        ],
    ],
}


@dataclass(frozen=True)
class Paper:
    """Where and how digits are drawn.

    `height` is the digit's, as a share of the picture's; `place` is where it is, as
    shares of the room that is left: (0.5, 0.5) in the middle, (0, 0) in a corner.
    """

    size: tuple[int, int] = (120, 120)
    height: float = 0.6
    place: tuple[float, float] = (0.5, 0.5)
    thickness: float = 0.1  # of the digit's height
    ink: int = 255
    ground: int = 0
    noise: float = 0.0  # standard deviation of every pixel


def draw(digit, rng, paper=Paper(), hand=None):
    """Draw a digit with a hand that shakes and slants a little; return the picture."""
    hands = HANDS[digit]
    strokes = hands[rng.integers(len(hands)) if hand is None else hand]
    width, height = (_LARGER * side for side in paper.size)
    tall = paper.height * height
    wide = tall * rng.uniform(0.55, 0.8)
    slant, turn = rng.uniform(-0.15, 0.25), np.radians(rng.uniform(-5, 5))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    bend = rng.normal(0, 0.02, (2, 4))  # of the box's corners

    def placed(points):
        x, y = points.T
        shift = bend @ np.array([x * y, x * (1 - y), (1 - x) * y, (1 - x) * (1 - y)])
        x, y = (points.T + shift - 0.5) * np.array([[wide], [tall]])
        return np.stack([x - slant * y, y]).T @ rotation.T

    shapes = [placed(stroke) for stroke in strokes]
    everything = np.concatenate(shapes)
    pen = max(1, paper.thickness * tall)
    low, high = everything.min(0) - pen / 2, everything.max(0) + pen / 2
    room = np.array([width, height]) - (high - low)
    origin = np.array(paper.place) * room - low

    image = Image.new("L", (width, height), 0)
    canvas = ImageDraw.Draw(image)
    for shape in shapes:
        points = [tuple(point) for point in shape + origin]
        canvas.line(points, 255, round(pen), joint="curve")
        for x, y in points:
            dot = (x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2)
            canvas.ellipse(dot, 255)
    covered = np.asarray(image.reduce(_LARGER), float) / 255
    pixels = paper.ground + (paper.ink - paper.ground) * covered
    pixels += rng.normal(0, paper.noise, pixels.shape) if paper.noise else 0
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))


# Kinds of paper that people have, by name.
PAPERS = {
    "tight": Paper(height=0.95),
    "ordinary margin": Paper(),
    "wide margin": Paper(size=(200, 200), height=0.3),
    "small in a corner": Paper(size=(160, 160), height=0.2, place=(0.05, 0.08)),
    "landscape": Paper(size=(320, 120), height=0.7, place=(0.9, 0.5)),
    "28x28": Paper(size=(28, 28), height=0.72),
    "fine pen": Paper(thickness=0.04),
    "broad pen": Paper(thickness=0.18),
    "dark on white": Paper(ink=0, ground=255),
    "dark in a corner": Paper(
        size=(300, 200), height=0.25, place=(1, 1), ink=20, ground=250
    ),
    "pencil on grey": Paper(size=(240, 240), ink=90, ground=200, noise=4),
    "chalk": Paper(ink=200, ground=60, noise=6),
}
