"""The masks of a folder as one web page with nothing beside it, to be looked through or sent on."""

from __future__ import annotations

import base64
from html import escape

import cv2
import numpy as np

from nseg_lib.data import coco
from nseg_lib.data.coco import outlines
from nseg_lib.data.images import read_image
from nseg_lib.data.outputs import sure_of
from nseg_lib.data.records import Record
from nseg_lib.palette import LABELS
from nseg_lib.strokes.drawing import OUTLINE

SIDE = 800
"""Pixels of a picture's longer side on the page, at most."""

STYLE = """
:root { color-scheme: light dark; }
body { margin: 2em auto; padding: 0 1em; max-width: 1100px; font: 15px/1.5 system-ui, sans-serif; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 2em 1.5em; }
h1 { font-size: 1.5em; line-height: 1.25; }
p { max-width: 75ch; font-size: .93em; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
text { font-weight: 700; text-anchor: middle; dominant-baseline: central; fill: #fff; stroke: #000; paint-order: stroke; }
path { fill-opacity: .25; stroke-width: 2; vector-effect: non-scaling-stroke; }
figcaption { font-weight: 600; overflow-wrap: anywhere; margin: .4em 0; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 6px 2px 0; text-align: right; border-top: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); }
th:nth-child(1), td:nth-child(1) { text-align: left; overflow-wrap: anywhere; }
i { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 50%; }
"""  # noqa: E501


HOW_SURE = """
“How sure” is the IoU, from 0 to 1, that the network expects of its own mask with the true one. The
masks of which it is least sure come first. The figure is computed from the probabilities that the
network gives the pixels; for lite1, these were calibrated on validation pictures
(reports/refiner/steps/calibration.csv in nseg's repository). The figure says where to look first,
and is no promise: a network can be sure of the wrong object. A mask that was put right by hand, or
that comes from elsewhere, has no figure, unless another program wrote a score for it.
"""


def _sure(record: Record) -> float | None:
    # Once a mask was drawn on, the score that another program gave is no longer about it.
    theirs = {} if "strokes" in record else {"sure": record.get("score")}
    return sure_of(theirs | record)


def _least(records: list[Record]) -> float:
    """How sure the network is of the object that it is least sure of; above 1 without a figure."""
    return min((sure for each in records if (sure := _sure(each)) is not None), default=2.0)


def page(split: coco.Split) -> bytes:
    """A page of all pictures that have objects: outlines, labels and areas, as HTML.

    Where a record has ``sure``, as ``nseg draw`` and ``nseg refine --batch`` write it, or a
    ``score``, as COCO's results have, the page says how sure the network is, the least sure first.

    Raises:
        DataError: a picture that cannot be read.
    """
    drawn = [(image_id, found) for image_id, found in split.annotations.items() if found]
    drawn.sort(key=lambda each: _least(each[1]))
    every = [each for _, found in drawn for each in found]
    tells = any(_sure(each) is not None or "strokes" in each for each in every)
    names = {key: str(record.get("name")) for key, record in split.categories.items()}
    colours = {key: LABELS[i % len(LABELS)] for i, key in enumerate(split.categories)}
    title = _counted(len(every), "object") + " on " + _counted(len(drawn), "picture")
    figures = []
    for image_id, found in drawn:
        record = split.images[image_id]
        height, width = record["height"], record["width"]
        image = read_image(split.image_path(image_id), (height, width))
        # The picture is scaled down; outlines stay in its own pixels, so they zoom sharply.
        scale = min(1.0, SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1]
        jpeg = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])
        paths, marks, rows = [], [], []
        for number, each in enumerate(sorted(found, key=lambda each: _least([each])), 1):
            mask, key = split.mask(image_id, each), each["category_id"]
            rings = (zip(ring[::2], ring[1::2], strict=True) for ring in outlines(mask))
            line = "".join("M" + " ".join(f"{x:g},{y:g}" for x, y in ring) + "z" for ring in rings)
            name, colour = escape(names[key]), colours[key]
            tinted = f'fill="{colour}" stroke="{colour}"'
            paths.append(f'<path d="{line}" {tinted}><title>{name}</title></path>')
            if len(found) > 1 and mask.any():
                # Several objects of a label look alike: each has its number where it is widest.
                depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
                y, x = np.unravel_index(int(depth.argmax()), depth.shape)
                size_of = f'font-size="{width / 22:.1f}" stroke-width="{width / 150:.1f}"'
                marks.append(f'<text x="{x}" y="{y}" {size_of}>{number}</text>')
                name = f"{number} {name}"
            cells = [f"{int(mask.sum()):,}", f"{100 * mask.mean():.1f} %"]
            if tells:
                cells.append(_told(each))
            tail = "".join(f"<td>{cell}</td>" for cell in cells)
            rows.append(f'<tr><td><i style="background: {colour}"></i>{name}</td>{tail}</tr>')
        caption = escape(str(record["file_name"]))
        figures.append(
            f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{caption}">'
            f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{jpeg.decode()}"/>{"".join(paths + marks)}</svg>'
            f"<figcaption>{caption}</figcaption><table><tr><th>label</th><th>pixels</th>"
            f"<th>of the picture</th>{'<th>how sure</th>' * tells}</tr>"
            f"{''.join(rows)}</table></figure>"
        )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{title}</h1>{f'<p>{HOW_SURE.strip()}</p>' * tells}"
        f"<main>{''.join(figures)}</main></html>\n"
    ).encode()


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


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
