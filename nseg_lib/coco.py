"""Read COCO: a split's records, its pictures, and an annotation's mask.

COCO's layout is ``ROOT/annotations/instances_<split>.json`` beside ``ROOT/<split>/*.jpg``; 2014, 2017
and this library's reduced sets all have it. One function decides for each kind of record whether it can
be used (`image_problem`, `annotation_problem`); `load_split` and `nseg_lib.check.check` both ask it.

Format: https://cocodataset.org/#format-data
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

Record = dict[str, Any]
Severity = Literal["error", "left out", "note"]

# Pillow's own threshold for a decompression bomb: about 9,400 x 9,400 pixels.
MAX_PIXELS = 89_478_485
# Named so that Pillow never starts a decoder that runs another program (EPS) or is seldom tested.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


class DataError(ValueError):
    """Data that cannot be used; one line that names the file, the record or field, and the fault."""


@dataclass(frozen=True)
class Finding:
    """One thing worth saying about a data set.

    `severity`: "error" (the split is refused), "left out" (this record is not used), "note" (it is
    used, and read correctly). `problem` is a fixed phrase to count by; `detail` holds the particulars.
    """

    severity: Severity
    file: str
    record: str
    problem: str
    detail: str = ""
    outcome: str = ""

    def __str__(self) -> str:
        parts = [
            self.file,
            self.record,
            self.problem + (f" ({self.detail})" if self.detail else ""),
        ]
        return ": ".join(part for part in parts if part) + (
            f"; {self.outcome}" if self.outcome else ""
        )


Problem = tuple[str, str]  # a Finding's `problem` and `detail`


@dataclass(frozen=True)
class Split:
    """One split of a data set in COCO's layout, as `load_split` returns it.

    `images`: image id → record. `annotations`: image id → its usable annotations by ascending id (an
    empty list where there are none). `categories`: category id → record. `left_out` names every
    annotation that cannot be used and why. `header` holds the file's other keys (info, licenses).
    """

    root: Path
    name: str
    images: dict[int, Record]
    annotations: dict[int, list[Record]]
    categories: dict[int, Record]
    left_out: tuple[Finding, ...] = ()
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def image_dir(self) -> Path:
        """The folder of the split's pictures."""
        return self.root / self.name

    def image_path(self, image_id: int) -> Path:
        """Path of a picture; DataError for an id that the split does not hold."""
        if image_id not in self.images:
            raise DataError(f"{self.name}: no picture has id {image_id}")
        return self.image_dir / self.images[image_id]["file_name"]

    def read_image(self, image_id: int) -> NDArray[np.uint8]:
        """The picture as uint8 H×W×3 RGB, H and W being the record's; DataError if it cannot be."""
        path, record = self.image_path(image_id), self.images[image_id]
        return read_image(path, (record["height"], record["width"]))


# --- splits -----------------------------------------------------------------------------------------


def find_splits(root: Path) -> dict[str, Path]:
    """Name → annotation file of every split under `root`, by name; DataError if there is none."""
    paths = sorted(Path(root, "annotations").glob("instances_*.json"))
    if not paths:
        raise DataError(f"{root}: no annotations/instances_<split>.json in this folder")
    return {path.stem.removeprefix("instances_"): path for path in paths}


def choose_split(root: Path, split: str | None = None) -> str:
    """`split` if it exists; otherwise the only split, or the only one whose name starts with train."""
    names = list(find_splits(root))
    if split is not None:
        if split not in names:
            raise DataError(f"{root}: no split {split!r}; there are: {', '.join(names)}")
        return split
    train = names if len(names) == 1 else [name for name in names if name.startswith("train")]
    if len(train) != 1:
        raise DataError(f"{root}: several splits, name one of: {', '.join(names)}")
    return train[0]


def load_split(root: Path, split: str | None = None) -> Split:
    """Read a split's records, checked; the pictures are read one by one, later.

    An annotation that cannot be used is left out and named in `Split.left_out`. DataError: no such
    split, malformed JSON, a missing key, a wrong type, an image record that cannot be used (its file
    name leaves the folder, say), a duplicate id, no picture folder.
    """
    root = Path(root)
    name = choose_split(root, split)
    path = find_splits(root)[name]
    loaded, findings = parse_split(read_json(path), root, name)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise DataError(f"{root}: {errors[0]}{more}")
    if not loaded.image_dir.is_dir():
        raise DataError(f"{loaded.image_dir}: the folder of the split's pictures is missing")
    return loaded


def read_json(path: Path) -> Any:
    """Parse a JSON file; DataError if it cannot be read or parsed."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error


def parse_split(document: Any, root: Path, name: str) -> tuple[Split, list[Finding]]:
    """Sort a parsed annotation file into a `Split` and everything that is wrong with it."""
    file = f"annotations/instances_{name}.json"
    findings: list[Finding] = []

    def refuse(record: str, problem: str, detail: str = "") -> None:
        findings.append(Finding("error", file, record, problem, detail, "the split is refused"))

    def records(key: str) -> list[Any]:
        values = document.get(key) if isinstance(document, Mapping) else None
        if isinstance(values, list):
            return values
        refuse("", "missing list", f"key {key!r} must hold a list of records")
        return []

    def by_id(
        kind: str, candidates: Iterable[tuple[str, Any, Problem | None]]
    ) -> dict[int, Record]:
        found: dict[int, Record] = {}
        for label, record, problem in candidates:
            if problem:
                refuse(label, *problem)
            elif record["id"] in found:
                refuse(label, f"duplicate {kind} id")
            else:
                found[record["id"]] = record
        return found

    images = by_id(
        "image",
        ((_label("image", r, i), r, image_problem(r)) for i, r in enumerate(records("images"))),
    )
    categories = by_id(
        "category",
        (
            (_label("category", r, i), r, _id_problem(r))
            for i, r in enumerate(records("categories"))
        ),
    )
    owners: dict[str, int] = {}
    for image in images.values():
        if owners.setdefault(image["file_name"], image["id"]) != image["id"]:
            refuse(
                _label("image", image),
                "file of two records",
                f"also image {owners[image['file_name']]}",
            )

    annotations: dict[int, list[Record]] = {image_id: [] for image_id in sorted(images)}
    left_out: list[Finding] = []
    seen: set[int] = set()
    for position, record in enumerate(records("annotations")):
        label = _label("annotation", record, position)
        problem = _id_problem(record)
        if problem is None and record["id"] in seen:
            refuse(label, "duplicate annotation id")
            continue
        problem = problem or annotation_problem(record, images, categories)
        if problem:
            left_out.append(
                Finding("left out", file, label, *problem, "the annotation is not used")
            )
        else:
            annotations[record["image_id"]].append(record)
        if _id_problem(record) is None:
            seen.add(record["id"])
    for values in annotations.values():
        values.sort(key=lambda record: record["id"])
    known = ("images", "annotations", "categories")
    header = (
        {k: v for k, v in document.items() if k not in known}
        if isinstance(document, Mapping)
        else {}
    )
    images = dict(sorted(images.items()))
    split = Split(Path(root), name, images, annotations, categories, tuple(left_out), header)
    return split, findings + left_out


def _label(kind: str, record: Any, position: int | None = None) -> str:
    if _id_problem(record) is None:
        return f"{kind} {record['id']}"
    return f"{kind} at position {position}"


# --- which records can be used ----------------------------------------------------------------------


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _id_problem(record: Any) -> Problem | None:
    if not isinstance(record, Mapping):
        return "not a record", f"a {type(record).__name__} where an object belongs"
    if not _is_int(record.get("id")):
        return "no integer id", f"id is {record.get('id')!r:.40}"
    return None


def image_problem(record: Any) -> Problem | None:
    """Why an image record cannot be used, or None. Looks at the record alone, not at the file."""
    if problem := _id_problem(record):
        return problem
    for key in ("width", "height"):
        if not _is_int(record.get(key)) or record[key] < 1:
            return (
                "no picture size",
                f"{key} is {record.get(key)!r:.40}, a positive integer is needed",
            )
    if record["width"] * record["height"] > MAX_PIXELS:
        return "too large", f"{record['width']}x{record['height']}, at most {MAX_PIXELS} pixels"
    name = record.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        return "no file name", f"file_name is {name!r:.40}"
    # Both conventions, so that a set made on one system is as safe on another.
    windows = PureWindowsPath(name)
    if windows.anchor or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        return "file name leaves the folder", f"{name!r:.80}"
    return None


def annotation_problem(
    annotation: Any, images: Mapping[int, Record], categories: Mapping[int, Record] | None = None
) -> Problem | None:
    """Why an annotation cannot be used, or None. `categories` None: its category is not looked up."""
    if problem := _id_problem(annotation):
        return problem
    image_id = annotation.get("image_id")
    if not _is_int(image_id) or image_id not in images:
        return "unknown picture", f"image_id {image_id!r:.40}"
    category = annotation.get("category_id")
    if categories is not None and (not _is_int(category) or category not in categories):
        return "unknown category", f"category_id {category!r:.40}"
    area = annotation.get("area")
    if type(area) not in (int, float) or not math.isfinite(area) or area < 0:
        return "no area", f"area is {area!r:.40}"
    image = images[image_id]
    return segmentation_problem(annotation.get("segmentation"), image["height"], image["width"])


def segmentation_problem(segmentation: Any, height: int, width: int) -> Problem | None:
    """Why a COCO segmentation makes no mask of `height` × `width` pixels, or None."""
    if isinstance(segmentation, Mapping):
        return _rle_problem(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return "no segmentation", "a list of polygons or an RLE object is needed"
    outside = 0
    for ring in segmentation:
        if not isinstance(ring, list) or not set(map(type, ring)) <= {int, float}:
            return "malformed polygon", "a flat list of numbers x1, y1, x2, y2, … is needed"
        if len(ring) % 2:
            return "malformed polygon", f"an odd number of coordinates, {len(ring)}"
        if len(ring) < 6:  # pycocotools would take four numbers for a box
            return "polygon of fewer than three points", f"{len(ring) // 2}"
        x_low, x_high, y_low, y_high = (
            min(ring[::2]),
            max(ring[::2]),
            min(ring[1::2]),
            max(ring[1::2]),
        )
        # Rasterising costs memory in proportion to a polygon's length, so absurd ones stop here;
        # written so that a NaN fails, wherever min and max left it.
        near = all(-width <= x <= 2 * width for x in ring[::2]) and all(
            -height <= y <= 2 * height for y in ring[1::2]
        )
        if not near:
            return "polygon far outside the picture", f"x {x_low}..{x_high}, y {y_low}..{y_high}"
        outside += x_high <= 0 or y_high <= 0 or x_low >= width or y_low >= height
    if outside == len(segmentation):
        return "polygon outside the picture", f"{outside} of {len(segmentation)}"
    return None


def _rle_problem(rle: Mapping[str, Any], height: int, width: int) -> Problem | None:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return "RLE of the wrong size", f"{size!r:.40}, the picture is {[height, width]}"
    runs = _rle_runs(counts) if isinstance(counts, str | bytes) else counts
    if not isinstance(runs, list) or not all(_is_int(run) and run >= 0 for run in runs):
        return "malformed RLE", "counts must be COCO's string or a list of non-negative integers"
    if sum(runs) != height * width:
        return "malformed RLE", f"its runs add up to {sum(runs)}, not {height * width}"
    if not any(runs[1::2]):
        return "empty RLE", "no pixel is set"
    return None


def _rle_runs(counts: str | bytes) -> list[int] | None:
    """Run lengths of COCO's compressed string, or None if it is none (pycocotools would not notice).

    Each number is cut into 5-bit groups, lowest first; a character is 48 plus the group, plus 32 if
    more follow; the last group's top bit is the sign; from the fourth on, a number is the difference
    to the number two before it.
    """
    codes = counts if isinstance(counts, bytes) else counts.encode("ascii", "replace")
    runs: list[int] = []
    value = shift = 0
    for code in codes:
        group = code - 48
        if not 0 <= group < 64 or shift > 30:
            return None
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs if shift == 0 else None


# --- masks ------------------------------------------------------------------------------------------


def annotation_mask(annotation: Record, height: int, width: int) -> NDArray[np.bool_]:
    """An annotation's mask as bool height×width, by pycocotools; parts outside the picture are cut.

    `annotation["segmentation"]` is a list of polygons in pixels, or RLE, compressed or not; what
    `iscrowd` says does not matter. DataError if it makes no mask of this size.
    """
    segmentation = annotation.get("segmentation")
    if problem := segmentation_problem(segmentation, height, width):
        raise DataError(f"annotation {annotation.get('id')}: {problem[0]} ({problem[1]})")
    if isinstance(segmentation, Mapping):
        return rle_to_mask(segmentation)
    rings = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(coco_mask.merge(rings)).astype(bool)


def mask_to_rle(mask: NDArray[np.bool_]) -> Record:
    """COCO's compressed RLE of a bool H×W mask: {"size": [H, W], "counts": str}, ready for JSON."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise DataError(f"a mask must be bool H×W and not empty, got {mask.dtype} {mask.shape}")
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in mask.shape], "counts": rle["counts"].decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Bool H×W mask of an RLE object {"size": [H, W], "counts": string or list of run lengths}.

    DataError if the object is malformed. An RLE without a set pixel is an all-false mask here.
    """
    size = rle.get("size")
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(_is_int(s) and s > 0 for s in size)
    ):
        raise DataError(f"RLE: size is {size!r:.40}, [height, width] is needed")
    height, width = size
    problem = _rle_problem(rle, height, width)
    if problem and problem[0] != "empty RLE":
        raise DataError(f"{problem[0]}: {problem[1]}")
    if isinstance(rle["counts"], list):
        rle = coco_mask.frPyObjects(dict(rle), height, width)
    return coco_mask.decode(dict(rle)).astype(bool)


def largest_annotation(annotations: Sequence[Record]) -> Record:
    """The annotation of largest `area`, crowds included; of equals, the lowest id (the paper's choice)."""
    if not annotations:
        raise DataError("a picture without annotations has no largest one")
    return min(annotations, key=lambda record: (-record["area"], record["id"]))


# --- pictures ---------------------------------------------------------------------------------------


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Any picture as uint8 H×W×3 RGB: grey, palette, CMYK, 16 bit (scaled to 8), alpha (over white).

    Without `size`, the picture is turned as its EXIF orientation says, as viewers show it. `size` is
    the (height, width) of a COCO record, whose annotations count stored pixels: if the stored size is
    the record's, the picture is not turned; if only the turned size is, it is turned. DataError if
    neither is, if the file is missing, damaged or truncated, of an unknown kind, or above `MAX_PIXELS`.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {picture.width}x{picture.height}, at most {MAX_PIXELS} pixels"
                )
            picture.load()
            stored = (picture.height, picture.width)
            upright = picture if stored == size else ImageOps.exif_transpose(picture)
            if size is not None and (upright.height, upright.width) != size:
                raise DataError(
                    f"{path}: picture is {picture.width}x{picture.height}, its record says {size[1]}x{size[0]}"
                )
            return _to_rgb(upright)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such picture") from error
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        raise DataError(f"{path}: not a readable picture: {error}") from error


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode == "F":
        raise DataError("floating-point pixels have no fixed range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # 16-bit grey, in Pillow's 16-bit or 32-bit modes
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError("32-bit pixels; save it with 8 or 16 bits")
        return np.repeat(((values + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))
