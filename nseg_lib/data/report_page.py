"""The masks of a folder as one web page with nothing beside it, to be looked through or sent on."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tornado.template import Template

from nseg_lib.data import coco
from nseg_lib.data.coco import outlines
from nseg_lib.data.images import read_image
from nseg_lib.data.outputs import sure_of
from nseg_lib.data.records import Record
from nseg_lib.palette import LABELS
from nseg_lib.strokes.drawing import OUTLINE

TEMPLATE = Path(__file__).with_name("report.html")
"""The page with places for what :func:`page` fills in, in the language of tornado.template."""

SIDE = 800
"""Pixels of a picture's longer side on the page, at most."""


class Picture(NamedTuple):
    """A picture of the page."""

    name: str
    width: int
    height: int
    jpeg: str
    """In base64; perhaps smaller than width×height, in which outlines are."""
    objects: list[Object]


class Object(NamedTuple):
    """An object of a picture."""

    number: int
    label: str
    colour: str
    outline: str
    """A path of SVG."""
    widest: tuple[int, int] | None
    """x, y of the place for its number; None where it needs no number."""
    pixels: int
    share: float
    """Of the picture's pixels."""
    sure: str


def page(split: coco.Split) -> bytes:
    """A page of all pictures that have objects: outlines, labels and areas, as HTML.

    Where a record has ``sure``, as ``nseg draw`` and ``nseg refine --batch`` write it, or a
    ``score``, as COCO's results have, the page says how sure the network is, the least sure first.

    Raises:
        DataError: a picture that cannot be read.
    """
    drawn = [(image_id, records) for image_id, records in split.annotations.items() if records]
    drawn.sort(key=lambda each: _least_sure(each[1]))
    every = [record for _, records in drawn for record in records]
    html = Template(TEMPLATE.read_text(encoding="utf-8"), whitespace="single").generate(
        title=f"{_counted(len(every), 'object')} on {_counted(len(drawn), 'picture')}",
        tells=any(_sure(record) is not None or "strokes" in record for record in every),
        pictures=(_picture(split, image_id, records) for image_id, records in drawn),
    )
    return bytes(html)


def _picture(split: coco.Split, image_id: int, records: list[Record]) -> Picture:
    """A picture and its objects, the least sure first."""
    record = split.images[image_id]
    height, width = record["height"], record["width"]
    image = read_image(split.image_path(image_id), (height, width))
    # The picture is scaled down; outlines stay in its own pixels, so they zoom sharply.
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1]
    jpeg = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])
    colours = {key: LABELS[i % len(LABELS)] for i, key in enumerate(split.categories)}
    objects = []
    for number, each in enumerate(sorted(records, key=lambda one: _least_sure([one])), 1):
        mask, key = split.mask(image_id, each), each["category_id"]
        rings = (zip(ring[::2], ring[1::2], strict=True) for ring in outlines(mask))
        outline = "".join("M" + " ".join(f"{x:g},{y:g}" for x, y in ring) + "z" for ring in rings)
        widest = None
        if len(records) > 1 and mask.any():
            # Several objects of a label look alike: each has its number where it is widest.
            depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            widest = int(x), int(y)
        label, pixels, share = str(split.categories[key].get("name")), int(mask.sum()), mask.mean()
        objects.append(
            Object(number, label, colours[key], outline, widest, pixels, float(share), _told(each))
        )
    return Picture(str(record["file_name"]), width, height, jpeg.decode(), objects)


def _sure(record: Record) -> float | None:
    """How sure the network is of an object; None where it has said nothing."""
    # Once a mask was drawn on, the score that another program gave is no longer about it.
    theirs = {} if "strokes" in record else {"sure": record.get("score")}
    return sure_of(theirs | record)


def _least_sure(records: list[Record]) -> float:
    """How sure the network is of the object that it is least sure of; above 1 without a figure."""
    return min((sure for each in records if (sure := _sure(each)) is not None), default=2.0)


def _told(record: Record) -> str:
    """What the table says of how sure the network is of an object."""
    sure = _sure(record)
    if sure is not None:
        return f"{sure:.2f}"
    strokes = record.get("strokes")
    outlined = isinstance(strokes, list) and any(
        isinstance(each, dict) and each.get("kind") == OUTLINE for each in strokes
    )
    return "by hand" if outlined else "no figure"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"
