"""The photographs that the sample is made of: those that the scikit-image wheel carries.

`data/sources.json` names author, licence and origin of each. All are CC0, in the public domain or
without known copyright restrictions; the wheel's other pictures are left out because their
documentation states no licence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.data.images import read_image
from nseg_lib.data.records import DataError


def load_data(name: str) -> Any:
    """A JSON file that is part of this package."""
    return json.loads(resources.files("nseg_lib").joinpath("data", name).read_text("utf-8"))


def photograph(file: str) -> NDArray[np.uint8]:
    """One of the photographs that data/sources.json names, uint8 H×W×3 RGB.

    Raises:
        DataError: no such photograph, or scikit-image as installed has none of this name and size.
    """
    known = load_data("sources.json")["photographs"]
    if file not in known:
        raise DataError(f"no photograph {file!r}; there are: {', '.join(known)}")
    # Found by path, because skimage.data would download what it misses.
    with resources.as_file(resources.files("skimage").joinpath("data", file)) as path:
        if not path.is_file():
            raise DataError(f"{path}: missing; the wheel of scikit-image from PyPI has it")
        return read_image(path, (known[file]["height"], known[file]["width"]))


@dataclass(frozen=True)
class Region:
    """Part of a photograph: file name and (left, top, right, bottom) in pixels."""

    file: str
    box: tuple[int, int, int, int]
    tint: tuple[int, int] | None = None
    """CIELAB's a and b to give it where the photograph is grey; None: any."""

    def lab(self) -> NDArray[np.float32]:
        """Its pixels, float32 H×W×3 CIELAB."""
        left, top, right, bottom = self.box
        return _lab(self.file)[top:bottom, left:right]


@cache
def _lab(file: str) -> NDArray[np.float32]:
    lab = cv2.cvtColor(photograph(file).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab, dtype=np.float32)


GRASS = Region("grass.png", (0, 0, 512, 512), (-16, 26))
BRICK = Region("brick.png", (0, 0, 512, 512), (20, 20))
GRAVEL = Region("gravel.png", (0, 0, 512, 512), (2, 9))
LAWN = Region("camera.png", (420, 250, 512, 512), (-12, 22))
PLANKS = Region("coffee.png", (490, 10, 600, 330))
WORN_WOOD = Region("coffee.png", (0, 255, 92, 395))

MATERIALS = [
    Region("chelsea.png", (90, 12, 320, 80)),
    Region("chelsea.png", (90, 150, 230, 205)),
    Region("chelsea.png", (218, 150, 300, 222)),
    Region("astronaut.png", (62, 300, 125, 470)),
    Region("astronaut.png", (62, 225, 120, 300)),
    Region("astronaut.png", (0, 170, 58, 330)),
    Region("coffee.png", (100, 160, 165, 300)),
    Region("coffee.png", (235, 135, 345, 185)),
    Region("retina.jpg", (350, 350, 1100, 1100)),
    Region("ihc.png", (0, 0, 512, 512)),
    Region("coins.png", (325, 170, 365, 206)),
    Region("coins.png", (30, 245, 66, 280)),
    Region("rocket.jpg", (20, 60, 75, 420)),
    Region("camera.png", (20, 380, 85, 500)),
    Region("text.png", (0, 0, 448, 172)),
    Region("brick.png", (0, 0, 512, 512)),
    Region("gravel.png", (0, 0, 512, 512)),
    GRASS,
    PLANKS,
    WORN_WOOD,
]
"""What objects are made of."""

WALLS = [
    Region("astronaut.png", (80, 0, 150, 140)),
    Region("astronaut.png", (300, 0, 375, 230)),
    Region("chelsea.png", (375, 0, 451, 300)),
    Region("rocket.jpg", (60, 0, 300, 330)),
    Region("rocket.jpg", (340, 0, 640, 330)),
    Region("camera.png", (340, 90, 512, 232), (1, 4)),
    Region("clock_motion.png", (0, 0, 400, 90)),
    BRICK,
    PLANKS,
]

GROUNDS = [GRASS, GRAVEL, BRICK, PLANKS, WORN_WOOD, LAWN]

VIEWS = [
    Region("astronaut.png", (0, 0, 60, 210)),
    Region("camera.png", (410, 60, 512, 512), (1, 4)),
    Region("chelsea.png", (372, 0, 451, 300)),
    Region("rocket.jpg", (0, 0, 290, 427)),
    Region("rocket.jpg", (345, 0, 640, 427)),
]
"""Backgrounds with things in them that no annotation names, as in COCO; none is one that the split
`photos` outlines, which a network would learn to leave out."""
