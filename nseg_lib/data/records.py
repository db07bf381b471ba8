"""Which COCO records can be used: one function per kind of record, for readers and checks alike.

Nothing here opens a picture. Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np

from nseg_lib import limits

Record = dict[str, Any]
Severity = Literal["error", "left out", "note"]
Problem = tuple[str, str]
"""A fixed phrase to count by, and the particulars."""

REFUSED = "the split is refused"
"""What becomes of an annotation file with an error."""

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

    def at(self, folder: Path) -> str:
        """The finding in one line that begins with its file's path; ``folder`` is the file's."""
        return str(replace(self, file=str(folder / self.file)))

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
    beside others go; a box that is not four finite numbers, width and height 0 or more, becomes
    null: nothing is computed from boxes.
    """
    if not isinstance(record, Mapping):
        return record, []
    changed: Record = {}
    found: list[Problem] = []
    for key in ("id", "image_id", "category_id", "width", "height", "area", "iscrowd"):
        value = record.get(key)
        # An area may have decimals, and nothing is to be put right about them.
        if type(value) is str or (type(value) is float and key != "area"):
            number = _number(value)
            if number is not None and (key == "area" or type(number) is int):
                changed[key] = number
                found.append(("number in another form", f"{key} is {value!r:.40}"))
    parts = record.get("segmentation")
    if isinstance(parts, list) and parts:
        if type(parts[0]) in (int, float) and set(map(type, parts)) <= {int, float}:
            changed["segmentation"] = [parts]
            found.append(("polygon not in a list", "x1, y1, x2, y2, …"))
        elif len(parts) == 1 and isinstance(parts[0], Mapping):
            changed["segmentation"] = parts[0]
            found.append(("RLE in a list", ""))
        elif len(parts) > 1:
            long = [p for p in parts if not isinstance(p, list) or len(p) not in (2, 4)]
            if 0 < len(long) < len(parts):
                changed["segmentation"] = long
                found.append(("part of fewer than three points", f"{len(parts) - len(long)}"))
    box = record.get("bbox")
    if box is not None and not _is_box(box):
        changed["bbox"] = None
        needed = "not [left, top, width, height], and becomes null"
        found.append(("malformed box", f"bbox is {box!r:.60}, {needed}"))
    return ({**record, **changed} if changed else record), found


def _is_box(box: Any) -> bool:
    """Whether a value is four finite numbers, the latter two 0 or more."""
    if not isinstance(box, list) or len(box) != 4 or not {*map(type, box)} <= {int, float}:
        return False
    return all(map(math.isfinite, box)) and min(box[2:]) >= 0


def _number(value: str | float) -> int | float | None:
    """The number that a text or a float means, an integer if it is whole; else None."""
    try:
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)  # a float would round the digits of a long id away
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number


def same_ratio(size: Sequence[Any], other: Sequence[int]) -> bool:
    """Whether two sizes, (height, width) or both the other way, have one ratio, to a pixel and 2 %.

    False if ``size``, which may come from a file, is none.
    """
    if not all(type(side) in (int, float) and 1 <= side < 1e6 for side in size):
        return False
    (first, second), (other_first, other_second) = size, other
    wanted = other_first * second / other_second  # the first side at the same ratio
    near = min(abs(first - wanted), abs(first - wanted) * second / first) <= 1
    return near and abs(first / wanted - 1) <= 0.02


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


def image_problem(record: Record) -> Problem | None:
    """Why an image record that has an id cannot be used, or None; the file is not looked at."""
    for key in ("width", "height"):
        if not is_int(record.get(key)) or record[key] < 1:
            return "no picture size", f"{key} is {record.get(key)!r:.40}, not a positive integer"
    if record["width"] * record["height"] > limits.MAX_RECORD_PIXELS:
        size = f"{record['width']}x{record['height']}"
        return "too large a picture", f"{size}, at most {limits.MAX_RECORD_PIXELS} pixels"
    name = record.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        return "no file name", f"file_name is {name!r:.40}"
    # A file system takes 255 bytes for a name, and no halves of a UTF-16 pair; a control character
    # would break the line of a message, or steer the terminal.
    if any(len(part.encode(errors="replace")) > 255 for part in name.split("/")) or any(
        0xD800 <= ord(letter) < 0xE000 or ord(letter) < 32 for letter in name
    ):
        return "impossible file name", f"{name!r:.40}"
    # Both conventions: a set made on one system is read on another.
    windows = PureWindowsPath(name)
    if windows.anchor or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        return "file name leaves the folder", f"{name!r:.80}"
    return None


def annotation_problem(
    annotation: Record, images: Mapping[int, Record], categories: Mapping[int, Record]
) -> Problem | None:
    """Why an annotation that has an id cannot be used, or None; `images` and `categories`: id →
    usable record."""
    image_id: Any = annotation.get("image_id")
    if not is_int(image_id) or image_id not in images:
        return "unknown picture", f"image_id {image_id!r:.40}"
    category_id = annotation.get("category_id")
    if not is_int(category_id) or category_id not in categories:
        return "unknown category", f"category_id {category_id!r:.40}"
    area = annotation.get("area")  # null is counted from the mask
    if area is not None and (type(area) not in (int, float) or not 0 <= area < MAX_ID):
        return "no area", f"area is {area!r:.40}"
    image = images[image_id]
    return segmentation_problem(annotation.get("segmentation"), image["height"], image["width"])


def segmentation_problem(segmentation: Any, height: int, width: int) -> Problem | None:
    """Why a COCO segmentation makes no mask of height x width pixels, or None.

    A polygon may cross the picture's border, it is cut there; one that lies outside altogether, in
    an annotation with others, adds nothing.
    """
    if isinstance(segmentation, Mapping):
        return rle_problem(segmentation, height, width, empty=False)
    if not isinstance(segmentation, list) or not segmentation:
        return "no segmentation", "a list of polygons or an RLE object is needed"
    inside, shares = False, max(height, width) > 1
    for polygon in segmentation:
        if isinstance(polygon, Mapping):
            return "malformed polygon", "a list of RLE objects; one of them, or polygons, is needed"
        if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
            return "malformed polygon", "a flat list of numbers x1, y1, x2, y2, … is needed"
        if len(polygon) % 2:
            return "malformed polygon", f"an odd number of coordinates, {len(polygon)}"
        if len(polygon) < 6:  # pycocotools would take four numbers for a box
            return "polygon of fewer than three points", f"{len(polygon) // 2}"
        x, y = polygon[::2], polygon[1::2]
        left, right, top, bottom = min(x), max(x), min(y), max(y)
        near = -width <= left <= right <= 2 * width and -height <= top <= bottom <= 2 * height
        # NaN slips through min and max, and is found in the sum.
        if not near or math.isnan(sum(polygon)):
            return "polygon far outside the picture", f"more than its size, {width}x{height}, away"
        inside |= right > 0 and bottom > 0 and left < width and top < height
        shares &= min(left, top) >= 0 and max(right, bottom) <= 1
    # No edge is longer than three pictures; only where that may be too much is it measured.
    points = sum(map(len, segmentation)) / 2
    may_be_long = points * 3 * max(height, width) > limits.MAX_OUTLINE
    if may_be_long and sum(map(_length, segmentation)) > limits.MAX_OUTLINE:
        return "outline too long", f"over {limits.MAX_OUTLINE:,} pixels"
    if shares:
        return "polygon in shares of the picture", "COCO counts pixels: multiply by its size"
    return None if inside else ("polygon outside the picture", f"all {len(segmentation)} polygons")


def _length(polygon: Sequence[float]) -> float:
    """Pixels that rasterising visits along a closed outline."""
    corners = np.reshape(np.asarray(polygon, np.float64), (-1, 2))
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def rle_problem(
    rle: Mapping[str, Any], height: int, width: int, *, empty: bool = True
) -> Problem | None:
    """Why an RLE object is no mask of height x width pixels, or None; `empty`: it may be empty.

    RLE of another size is sound if it has the same ratio of width to height:
    :func:`nseg_lib.data.coco.annotation_mask` scales it.
    """
    size: Any = rle.get("size")
    is_size = isinstance(size, list) and len(size) == 2 and all(map(is_int, size))
    if not is_size or not same_ratio(size, (height, width)):
        swapped = "; they are swapped" if size == [width, height] else ""
        return "RLE of the wrong size", f"{size!r:.40}, not {[height, width]}{swapped}"
    if size[0] * size[1] > max(limits.MAX_RECORD_PIXELS, height * width):
        return "too large an RLE", f"{size}, at most {limits.MAX_RECORD_PIXELS} pixels"
    height, width = size
    counts = rle.get("counts")
    if isinstance(counts, str) and counts.startswith(("b'", 'b"')):
        return "malformed RLE", "its counts are Python's b'…' as text; decode them as ASCII"
    if not isinstance(counts, str | list):
        return "malformed RLE", "counts must be COCO's string or a list of run lengths"
    # A run has a pixel at least, but for the first, and 7 characters at most.
    if len(counts) > (height * width + 1) * (7 if isinstance(counts, str) else 1):
        return "malformed RLE", "it has more runs than the picture has pixels"
    runs = rle_runs(rle)
    if not runs or set(map(type, runs)) != {int} or min(runs) < 0:
        return "malformed RLE", "its run lengths are not integers of 0 or more"
    # Too few or too many, and pycocotools returns memory that it never set.
    if sum(runs) != height * width:
        return "malformed RLE", f"its runs add up to {sum(runs)!r:.20}, not {height * width}"
    return None if empty or any(runs[1::2]) else ("empty RLE", "")


def rle_runs(rle: Mapping[str, Any]) -> list[int]:
    """Run lengths of an RLE object, down the columns, unset pixels first; [] for a broken string.

    In COCO's compressed string each number is cut into groups of 5 bits, lowest first; a character
    is 48 plus the group, plus 32 if more follow; the last group's top bit is the sign; from the
    fourth on, a number is the difference to the one two before it (cocoapi, maskApi.c).
    """
    counts = rle["counts"]
    if isinstance(counts, list):
        return counts
    groups = np.frombuffer(counts.encode(errors="replace"), np.uint8).astype(np.int64) - 48
    if not len(groups) or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return []
    lasts = np.flatnonzero(groups & 32 == 0)
    # Each group's place in its number; seven hold more than any picture's pixels.
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    places = np.arange(len(groups)) - np.repeat(firsts, lasts - firsts + 1)
    if places.max() > 6:
        return []
    numbers = np.add.reduceat((groups & 31) << 5 * places, firsts)
    numbers -= (groups[lasts] >> 4 & 1) << 5 * (places[lasts] + 1)
    # Differences add up along every second number, from the second and from the third one on.
    numbers[1::2], numbers[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    return [int(number) for number in numbers]
