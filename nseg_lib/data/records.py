"""Which COCO records can be used: one function per kind of record, for readers and checks alike.

Nothing here opens a picture. Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np

from nseg_lib import limits

Record = dict[str, Any]
Severity = Literal["error", "left out", "note"]
Problem = tuple[str, str]
"""A fixed phrase to count by, and the particulars."""


MAX_ID = 2**63
"""Ids lie below: tables hold them in 64 bits, and strokes are drawn from them."""


class DataError(ValueError):
    """Data that cannot be used; one line that names the file, the record or field and the fault."""


@dataclass(frozen=True)
class Finding:
    """One thing worth saying about a data set.

    `severity` is "error" (something cannot be read as it stands), "left out" (this record is not
    used) or "note" (it is used, and read right). `outcome` says what happens in words.
    """

    severity: Severity
    file: str
    record: str
    problem: str
    detail: str = ""
    outcome: str = ""

    def __str__(self) -> str:
        """The finding in one line."""
        problem = f"{self.problem} ({self.detail})" if self.detail else self.problem
        line = ": ".join(part for part in (self.file, self.record, problem) if part)
        return f"{line}; {self.outcome}" if self.outcome else line


def is_int(value: Any) -> bool:
    """Whether a JSON value is an integer; true and false are not."""
    return type(value) is int


def mend(record: Any) -> tuple[Any, list[Problem]]:
    """A record with what some programs write in another way put right, and what that was.

    Whole numbers as text or with a decimal point ("12", 12.0) become integers; a polygon that is
    not in a list, and an RLE object that is, become what COCO has; parts of fewer than three points
    beside others go; a box with numbers that JSON does not know becomes null.
    """
    if not isinstance(record, Mapping):
        return record, []
    changed: Record = {}
    found: list[Problem] = []
    for key in ("id", "image_id", "category_id", "width", "height", "area"):
        value: Any = record.get(key)
        if type(value) in (str, float) and (number := _number(value, key)) is not None:
            changed[key] = number
            found.append(("number in another form", f"{key} is {value!r:.40}"))
    parts = record.get("segmentation")
    if isinstance(parts, list) and parts:
        if set(map(type, parts)) <= {int, float}:
            changed["segmentation"] = [parts]
            found.append(("polygon not in a list", "x1, y1, x2, y2, …"))
        elif len(parts) == 1 and isinstance(parts[0], Mapping):
            changed["segmentation"] = parts[0]
            found.append(("RLE in a list", ""))
        else:
            lines = [p for p in parts if isinstance(p, list) and len(p) in (2, 4)]
            if 0 < len(lines) < len(parts):
                changed["segmentation"] = [p for p in parts if p not in lines]
                found.append(("part of fewer than three points", f"{len(lines)}"))
    box = record.get("bbox")
    if isinstance(box, list) and any(type(v) is float and not math.isfinite(v) for v in box):
        changed["bbox"] = None
        found.append(("no finite box", f"bbox is {box!r:.40}"))
    return ({**record, **changed} if changed else record), found


def _number(value: str | float, key: str) -> int | float | None:
    """What a number in another form means; None where it is none, or needs no change."""
    try:
        number = float(value)
    except ValueError:
        return None
    if key == "area":
        return number if isinstance(value, str) else None
    if not number.is_integer():
        return None
    # Text has digits that a float would round away.
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else int(number)


def id_problem(record: Any) -> Problem | None:
    """Why a value is not a record with an id, or None."""
    if not isinstance(record, Mapping):
        return "not a record", f"{type(record).__name__} where an object belongs"
    number: Any = record.get("id")
    if not is_int(number):
        return "no integer id", f"id is {number!r:.40}"
    if not 0 <= number < MAX_ID:
        return "id out of range", f"id is {number!r:.40}; it must be 0 or more and below 2^63"
    return None


def image_problem(record: Any) -> Problem | None:
    """Why an image record cannot be used, or None; the file is not looked at."""
    if problem := id_problem(record):
        return problem
    for key in ("width", "height"):
        if not is_int(record.get(key)) or record[key] < 1:
            return "no picture size", f"{key} is {record.get(key)!r:.40}, not a positive integer"
    if record["width"] * record["height"] > limits.MAX_RECORD_PIXELS:
        size = f"{record['width']}x{record['height']}"
        return "too large a picture", f"{size}, at most {limits.MAX_RECORD_PIXELS} pixels"
    name = record.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        return "no file name", f"file_name is {name!r:.40}"
    # Both conventions: a set made on one system is read on another.
    windows = PureWindowsPath(name)
    if windows.anchor or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        return "file name leaves the folder", f"{name!r:.80}"
    return None


def annotation_problem(
    annotation: Any, images: Mapping[int, Record], categories: Mapping[int, Record]
) -> Problem | None:
    """Why an annotation cannot be used, or None.

    Args:
        annotation: the record, as parsed.
        images: image id → usable image record.
        categories: category id → record.
    """
    if problem := id_problem(annotation):
        return problem
    image_id = annotation.get("image_id")
    if not is_int(image_id) or image_id not in images:
        return "unknown picture", f"image_id {image_id!r:.40}"
    category_id = annotation.get("category_id")
    if not is_int(category_id) or category_id not in categories:
        return "unknown category", f"category_id {category_id!r:.40}"
    area = annotation.get("area")
    if area is None:  # it is counted from the mask
        area = 0
    if type(area) not in (int, float) or not math.isfinite(area) or area < 0:
        return "no area", f"area is {area!r:.40}"
    image = images[image_id]
    return segmentation_problem(annotation.get("segmentation"), image["height"], image["width"])


def segmentation_problem(segmentation: Any, height: int, width: int) -> Problem | None:
    """Why a COCO segmentation makes no mask of height x width pixels, or None.

    A polygon may cross the picture's border, it is cut there; one that lies outside altogether, in
    an annotation with others, adds nothing.
    """
    if isinstance(segmentation, Mapping):
        problem = rle_problem(segmentation, height, width)
        return problem or (None if any(rle_runs(segmentation)[1::2]) else ("empty RLE", ""))
    if not isinstance(segmentation, list) or not segmentation:
        return "no segmentation", "a list of polygons or an RLE object is needed"
    if any(isinstance(part, Mapping) for part in segmentation):
        return "malformed polygon", "a list of RLE objects; one of them, or polygons, is needed"
    outside, outline = 0, 0.0
    for polygon in segmentation:
        if problem := _polygon_problem(polygon, height, width):
            return problem
        x, y = polygon[::2], polygon[1::2]
        outside += max(x) <= 0 or max(y) <= 0 or min(x) >= width or min(y) >= height
        # No edge is longer than three pictures; only where that may be too much is it measured.
        longest = 3 * max(height, width) * len(x)
        outline += longest if longest < limits.MAX_OUTLINE / 100 else _length(x, y)
        if outline > limits.MAX_OUTLINE:
            return "outline too long", f"over {limits.MAX_OUTLINE:,} pixels"
    if max(height, width) > 1 and all(0 <= v <= 1 for polygon in segmentation for v in polygon):
        return "polygon in shares of the picture", "COCO counts pixels: multiply by its size"
    if outside == len(segmentation):
        return "polygon outside the picture", f"{outside} of {outside} polygons"
    return None


def _length(x: Sequence[float], y: Sequence[float]) -> float:
    """Pixels that rasterising visits along a closed outline."""
    return float(np.maximum(np.abs(np.diff(x, append=x[0])), np.abs(np.diff(y, append=y[0]))).sum())


def _polygon_problem(polygon: Any, height: int, width: int) -> Problem | None:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        return "malformed polygon", "a flat list of numbers x1, y1, x2, y2, … is needed"
    if len(polygon) % 2:
        return "malformed polygon", f"an odd number of coordinates, {len(polygon)}"
    if len(polygon) < 6:  # pycocotools would take four numbers for a box
        return "polygon of fewer than three points", f"{len(polygon) // 2}"
    # Every point is compared, because NaN would slip through min and max.
    near = all(-width <= x <= 2 * width for x in polygon[::2]) and all(
        -height <= y <= 2 * height for y in polygon[1::2]
    )
    if not near:
        return "polygon far outside the picture", f"more than its size, {width}x{height}, away"
    return None


def rle_problem(rle: Mapping[str, Any], height: int, width: int) -> Problem | None:
    """Why an RLE object is no mask of height x width pixels, or None; an empty mask is one."""
    size = rle.get("size")
    if size != [height, width] or not all(map(is_int, size)):
        swapped = "; they are swapped" if size == [width, height] else ""
        return "RLE of the wrong size", f"{size!r:.40}, not {[height, width]}{swapped}"
    counts = rle.get("counts")
    if isinstance(counts, str) and counts.startswith(("b'", 'b"')):
        return "malformed RLE", "its counts are Python's b'…' as text; decode them as ASCII"
    # A run has a pixel at least, but for the first, and 7 characters at most.
    most = (height * width + 1) * (7 if isinstance(counts, str) else 1)
    if isinstance(counts, str | list) and len(counts) > most:
        return "malformed RLE", "it has more runs than the picture has pixels"
    if not isinstance(counts, str | list):
        return "malformed RLE", "counts must be COCO's string or a list of run lengths"
    runs = rle_runs(rle)
    if not runs or not all(is_int(run) and run >= 0 for run in runs):
        return "malformed RLE", "its run lengths are not integers of 0 or more"
    # Too few or too many, and pycocotools returns memory that it never set.
    if sum(runs) != height * width:
        return "malformed RLE", f"its runs add up to {sum(runs)}, not {height * width}"
    return None


def rle_runs(rle: Mapping[str, Any]) -> list[int]:
    """Run lengths of an RLE object, down the columns, unset pixels first; [] for a broken string.

    In COCO's compressed string each number is cut into groups of 5 bits, lowest first; a character
    is 48 plus the group, plus 32 if more follow; the last group's top bit is the sign; from the
    fourth on, a number is the difference to the one two before it (cocoapi, maskApi.c).
    """
    counts = rle["counts"]
    if isinstance(counts, list):
        return counts
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 30:
            return []
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return [] if shift else runs
