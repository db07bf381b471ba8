"""The files of the widget: masks, cut-outs, COCO annotations and strokes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import DataError, outlines
from nseg_lib.data.masks import STROKES_FORMAT
from nseg_lib.data.outputs import annotation, as_readers_turn, cutout, document, png
from nseg_lib.limits import MAX_STROKE_POINTS, MAX_STROKES
from nseg_lib.strokes.drawing import within

Stroke = Mapping[str, Any]


def export(
    what: str,
    image: Image,
    mask: Mask,
    strokes: Sequence[Stroke],
    name: str,
    orientation: int = 1,
    sure: float | None = None,
    steps: Sequence[int] = (),
) -> tuple[str, bytes]:
    """The name and the bytes of the file of one result.

    Args:
        what: ``mask`` (a PNG, 255 in the mask and 0 outside), ``cutout`` (a PNG with alpha, of
            :func:`nseg_lib.data.outputs.cutout`), ``rle`` or ``polygon`` (a COCO file of the
            picture and its annotation), or ``strokes`` (JSON).
        image: uint8 H×W×3 RGB.
        mask: bool H×W.
        strokes: as :func:`nseg_lib.strokes.drawing.rasterize` takes them.
        name: the picture's file name.
        orientation: the picture's EXIF orientation, by which the mask of a COCO annotation is
            turned (:func:`nseg_lib.data.outputs.as_readers_turn`).
        sure: how sure the network is of the mask, for a COCO annotation; None for a mask by hand.
        steps: for the file of strokes, as :func:`nseg_lib.data.masks.parse_strokes` gives them.

    Raises:
        DataError: an empty mask, or an unknown ``what``.
    """
    stem, size = Path(name).stem, {"width": mask.shape[1], "height": mask.shape[0]}
    if what == "strokes":
        drawing = {"format": STROKES_FORMAT, **size, "strokes": list(strokes)}
        drawing |= {"steps": list(steps)} if len(steps) > 1 else {}
        return f"{stem}_strokes.json", as_json(drawing)
    if not mask.any():
        raise DataError("the mask is empty: brush over the object first")
    if what == "mask":
        return f"{stem}_mask.png", png(mask)
    if what == "cutout":
        return f"{stem}_cutout.png", png(cutout(image, mask))
    if what in ("rle", "polygon"):
        record = {"id": 1, "file_name": name, **size}
        turned = as_readers_turn(mask, orientation)
        drawn = annotation(turned, polygons=what == "polygon", sure=sure)
        return f"{stem}_coco.json", as_json(document([record], [drawn]))
    raise DataError(f"cannot save '{what}'; one of: mask, cutout, rle, polygon, strokes")


def editable_outline(mask: Mask) -> list[list[list[float]]]:
    """The outline of a mask along the edges of its pixels, for a hand to put right.

    Args:
        mask: bool H×W.

    Returns:
        The points of strokes of the kind :data:`nseg_lib.strokes.drawing.OUTLINE`, one for each
        part and each hole. All of them together give this very mask.

    Raises:
        DataError: too many points for a drawing.
    """
    rings: list[NDArray[np.float64]] = []
    left = mask
    while left.any():  # the parts, filled; then the holes, filled; then what is in the holes
        outer = [np.reshape(ring, (-1, 2)) for ring in outlines(left)]
        rings += outer
        left = within(outer, *mask.shape) ^ left
    if sum(map(len, rings)) > MAX_STROKE_POINTS / 2 or len(rings) > MAX_STROKES / 2:
        raise DataError("this outline has too many points to be put right by hand")
    found, off = [], max(1.5, max(mask.shape) / 400)  # pixels that an edge may run beside the line
    for ring in rings:
        corners = cv2.approxPolyDP(ring.astype(np.float32)[:, None], off, True)[:, 0]
        if len(corners) < 3:
            corners = ring[:: max(1, len(ring) // 4)]
        chosen = set(map(tuple, corners.tolist()))
        found.append([[x, y, 1.0 if (x, y) in chosen else 0.5] for x, y in ring.tolist()])
    return found


def as_json(content: Mapping[str, Any]) -> bytes:
    """A document as the bytes of its file."""
    return json.dumps(content).encode()


def recorded(name: str) -> list[dict[str, Any]]:
    """Strokes that a person drew over one of the sample's photographs.

    A chapter uses them when it runs without a user who could draw.

    Args:
        name: ``astronaut``, ``camera``, ``chelsea``, ``coffee``, ``coins`` or ``rocket``.

    Raises:
        DataError: no strokes were recorded for this photograph.
    """
    drawings = json.loads(resources.files("nseg_lib").joinpath("data/drawn.json").read_text())
    if name not in drawings:
        raise DataError(f"no recorded strokes for '{name}'; one of: {', '.join(sorted(drawings))}")
    return list(drawings[name]["strokes"])
