"""The canvases of chapter 00: one to draw on, and two that answer the same strokes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from nseg_lib.data.records import DataError
from nseg_lib.refine import Refiner
from nseg_lib.sample import photograph
from nseg_lib.widget import StrokeCanvas, results


def one(picture: str, refiner: Refiner) -> StrokeCanvas:
    """A canvas with a picture on it, and the strokes that were recorded for it, if any.

    Args:
        picture: a photograph of :func:`nseg_lib.widget.results.recorded`, or a path.
        refiner: answers the strokes.
    """
    canvas = StrokeCanvas(refiner=refiner)
    if Path(picture).suffix:
        canvas.load(picture)
        return canvas
    try:
        strokes = results.recorded(picture)
    except DataError:
        strokes = []
    file = "rocket.jpg" if picture == "rocket" else f"{picture}.png"
    canvas.load(photograph(file), file, strokes)
    return canvas


def side_by_side(canvas: StrokeCanvas, refiners: Mapping[str, Refiner]) -> widgets.HBox:
    """Two canvases with the picture and the strokes of ``canvas``; each shows its own mask.

    What is drawn on either appears on the other; what is drawn on ``canvas`` appears on both.
    """
    pair = [StrokeCanvas(refiner=refiner, view="mask") for refiner in refiners.values()]

    def follow(_: Any = None) -> None:
        for each in pair:
            if canvas.image is not None and each.image is not canvas.image:
                each.load(canvas.image, canvas.name)
        pair[0].strokes = canvas.strokes

    follow()
    canvas.observe(follow, "mask")
    widgets.link((pair[0], "strokes"), (pair[1], "strokes"))
    columns = [
        widgets.VBox([widgets.Label(title), each], layout={"width": "50%"})
        for title, each in zip(refiners, pair, strict=True)
    ]
    return widgets.HBox(columns)
