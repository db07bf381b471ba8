"""The masks of a folder as one web page with nothing beside it, to be looked through or sent on."""

from __future__ import annotations

import base64
from html import escape

import cv2

from nseg_lib.data import coco
from nseg_lib.data.coco import outlines
from nseg_lib.data.images import read_image
from nseg_lib.data.records import Record
from nseg_lib.palette import LABELS

SIDE = 800
"""Pixels of a picture's longer side on the page, at most."""

STYLE = """
:root { color-scheme: light dark; }
body { margin: 2em auto; padding: 0 1em; max-width: 1100px; font: 15px/1.5 system-ui, sans-serif; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 2em 1.5em; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
path { fill-opacity: .25; stroke-width: 2; vector-effect: non-scaling-stroke; }
figcaption { font-weight: 600; overflow-wrap: anywhere; margin: .4em 0; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 6px 2px 0; text-align: right; border-top: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); }
th:nth-child(1), td:nth-child(1) { text-align: left; overflow-wrap: anywhere; }
i { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 50%; }
"""  # noqa: E501


def _sure(record: Record) -> float | None:
    found = record.get("sure", record.get("score"))
    return found if isinstance(found, int | float) else None


def page(split: coco.Split) -> bytes:
    """A page of all pictures that have objects: outlines, labels and areas, as HTML.

    Where a record has ``sure``, as ``nseg refine --batch`` writes it, or a ``score``, as COCO's
    results have, it says how sure the network is.

    Raises:
        DataError: a picture that cannot be read.
    """
    drawn = [(image_id, found) for image_id, found in split.annotations.items() if found]
    objects = sum(len(found) for _, found in drawn)
    names = {key: str(record.get("name")) for key, record in split.categories.items()}
    colours = {key: LABELS[i % len(LABELS)] for i, key in enumerate(split.categories)}
    title = f"{objects} objects on {len(drawn)} pictures"
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
        paths, rows, tells = [], [], any(_sure(each) is not None for each in found)
        for each in found:
            mask, key = split.mask(image_id, each), each["category_id"]
            rings = (zip(ring[::2], ring[1::2], strict=True) for ring in outlines(mask))
            line = "".join("M" + " ".join(f"{x:g},{y:g}" for x, y in ring) + "z" for ring in rings)
            name, colour = escape(names[key]), colours[key]
            tinted = f'fill="{colour}" stroke="{colour}"'
            paths.append(f'<path d="{line}" {tinted}><title>{name}</title></path>')
            cells = [f"{int(mask.sum()):,}", f"{100 * mask.mean():.1f} %"]
            if tells:
                sure = _sure(each)
                cells.append("" if sure is None else f"{sure:.2f}")
            tail = "".join(f"<td>{cell}</td>" for cell in cells)
            rows.append(f'<tr><td><i style="background: {colour}"></i>{name}</td>{tail}</tr>')
        caption = escape(str(record["file_name"]))
        figures.append(
            f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{caption}">'
            f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{jpeg.decode()}"/>{"".join(paths)}</svg>'
            f"<figcaption>{caption}</figcaption><table><tr><th>label</th><th>pixels</th>"
            f"<th>of the picture</th>{'<th>how sure</th>' * tells}</tr>"
            f"{''.join(rows)}</table></figure>"
        )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{title}</h1><main>{''.join(figures)}</main></html>\n"
    ).encode()
