"""Read COCO: a split's records, its pictures, and an annotation's mask.

COCO's layout is `ROOT/annotations/instances_<split>.json` beside `ROOT/<split>/*.jpg`; the releases
of 2014 and 2017 and this library's reduced sets all have it. What annotation tools export is read
too: pictures in `ROOT/images/` (CVAT), `ROOT/<split>/_annotations.coco.json` beside the pictures
(Roboflow), `ROOT/result.json` or `ROOT/annotations.json` with `ROOT/images/` (Label Studio,
labelme).
"""

from __future__ import annotations

import gc
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.markup import escape

from nseg_lib import limits
from nseg_lib.arrays import Image, Mask
from nseg_lib.console import progress_bar
from nseg_lib.data import records
from nseg_lib.data.images import read_image
from nseg_lib.data.records import REFUSED, Finding, Problem, Record, Severity
from nseg_lib.data.records import DataError as DataError
from nseg_lib.parsing import no_key_twice
from nseg_lib.prompt import scale_mask

OTHER_SIZE = "RLE of another size"
"""The problem of an annotation whose mask was scaled to the size in its picture's record."""


@dataclass(frozen=True)
class Split:
    """One split of a data set, as `load_split` returns it."""

    root: Path
    name: str
    images: dict[int, Record]
    """Image id → its record, by ascending id."""
    annotations: dict[int, list[Record]]
    """Image id → its usable annotations by ascending id; every image has a list, maybe empty."""
    categories: dict[int, Record]
    left_out: tuple[Finding, ...] = ()
    """Every annotation that cannot be used, and why."""
    header: dict[str, Any] = field(default_factory=dict)
    """The annotation file's other keys: info, licenses."""
    spare: Path | None = None
    """The folder that frozen strokes go to where `root` cannot be written."""

    @cached_property
    def image_dir(self) -> Path:
        """The folder of the split's pictures: `root/name`, or where exports of tools have them."""
        usual, images = self.root / self.name, self.root / "images"
        names = [record["file_name"] for record in self.images.values()][:5]
        for folder in (usual, images / self.name, images, self.root):
            if any(_picture_file(folder, name).is_file() for name in names):
                return folder
        return usual

    def image_path(self, image_id: int) -> Path:
        """Path of a picture; raises DataError if the split holds none of this id."""
        if image_id not in self.images:
            raise DataError(f"{self.root}: split {self.name} has no picture {image_id}")
        return _picture_file(self.image_dir, self.images[image_id]["file_name"])

    def read_image(self, image_id: int) -> Image:
        """The picture, of its record's height and width; raises DataError if its file is missing,
        damaged, or of another size."""
        path, record = self.image_path(image_id), self.images[image_id]
        return read_image(path, (record["height"], record["width"]))

    def mask(self, image_id: int, annotation: Record) -> Mask:
        """An annotation's mask, of its picture's height and width."""
        record = self.images[image_id]
        return annotation_mask(annotation, record["height"], record["width"])

    def credit(self, image_id: int) -> str | None:
        """A credit line for a picture that a report may show; `None` where its licence forbids.

        A report alters what it shows and is passed on, so a licence against derivatives or against
        commercial use does not serve, nor does a missing one.
        """
        record = self.images[image_id]
        listed = self.header.get("licenses")
        entries = [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list) else []
        key = record.get("license")
        licence = next((e for e in entries if key is not None and e.get("id") == key), {})
        name, terms = (str(licence.get(key) or "") for key in ("name", "url"))
        if not name or "NoDerivs" in name or "NonCommercial" in name:
            return None
        source = record.get("credit") or record.get("flickr_url") or record["file_name"]
        return f"{source} ({', '.join(filter(None, (name, terms)))})"


def _picture_file(folder: Path, name: str) -> Path:
    """The file that a record's `file_name` means: the one of this name, or of the same name as
    another system spells it, with backslashes or with accents in one piece or two."""
    slashes = PureWindowsPath(name).as_posix()
    spelled = [name, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))]
    return next((path for other in spelled if (path := folder / other).exists()), folder / name)


# --- splits ---------------------------------------------------------------------------------------


def find_splits(root: Path) -> dict[str, Path]:
    """Name → annotation file of every split under `root`, by name.

    Raises:
        DataError: there is none.
    """
    root = Path(root)
    paths = sorted(Path(root, "annotations").glob("instances_*.json"))
    if paths:
        return {path.stem.removeprefix("instances_"): path for path in paths}
    if beside := sorted(root.glob("*/_annotations.coco.json")):
        return {path.parent.name: path for path in beside}
    for name in ("result.json", "annotations.json"):
        if (root / name).is_file():
            return {Path(name).stem: root / name}
    raise DataError(
        f"{root}: no annotations/instances_<split>.json in this folder, "
        "nor <split>/_annotations.coco.json, result.json or annotations.json"
    )


def choose_split(root: Path, split: str | None = None) -> str:
    """`split` if it exists; without one, the only split, or the only one named train….

    Raises:
        DataError: there is no such split, or more than one to choose from.
    """
    names = list(find_splits(root))
    if split is not None:
        if split not in names:
            raise DataError(f"{root}: no split {split!r}; there are: {', '.join(names)}")
        return split
    fitting = names if len(names) == 1 else [name for name in names if name.startswith("train")]
    if len(fitting) != 1:
        raise DataError(f"{root}: several splits; name one of: {', '.join(names)}")
    return fitting[0]


def load_split(root: Path, split: str | None = None, *, progress: bool = False) -> Split:
    """Read and check a split's records; its pictures are read one by one, later.

    An annotation that cannot be used is left out and named in `Split.left_out`.

    Args:
        root: the data set's folder.
        split: by default its only one, or the only one named train….
        progress: show a bar on the error stream.

    Raises:
        DataError: no such split or no folder of pictures, malformed JSON, a missing key, a wrong
            type, an image record that cannot be used (its file name leaves the folder, say), an id
            or a file that occurs twice.
    """
    root = Path(root)
    name = choose_split(root, split)
    path = find_splits(root)[name]
    document = read_json(path, progress=progress)
    file = path.relative_to(root).as_posix()
    loaded, findings = parse_split(document, root, name, file, progress=progress)
    refuse(findings, root)
    if not loaded.image_dir.is_dir():
        raise DataError(f"{loaded.image_dir}: the folder of the split's pictures is missing")
    return loaded


def refuse(findings: Sequence[Finding], where: Path) -> None:
    """Raise DataError with the first error among the findings, if there is one."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f"; one of {len(errors)} errors" if len(errors) > 1 else ""
        raise DataError(f"{errors[0].at(where)}{more}")


def read_json(path: Path, *, progress: bool = False) -> Any:
    """Parse a JSON file; `progress`: say so on the error stream meanwhile.

    Raises:
        DataError: it cannot be read or parsed.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a file")  # reading a pipe might never end
    try:
        if path.stat().st_size > limits.MAX_JSON_BYTES:
            raise DataError(f"{path}: too large: at most {limits.MAX_JSON_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if content[:2] == b"\x1f\x8b":
        raise DataError(f"{path}: is packed by gzip; unpack it first")
    waiting = Console(stderr=True).status(f"reading {escape(path.name)}")
    try:
        with waiting if progress else nullcontext():
            return parse_json(content)
    except (ValueError, RecursionError) as error:
        reasons = {RecursionError: "it is nested too deeply", UnicodeDecodeError: "it is not UTF-8"}
        raise DataError(f"{path}: not valid JSON: {reasons.get(type(error), error)}") from error


def parse_json(content: str | bytes) -> Any:
    """Parse JSON as `json.loads` does; NaN, which Python writes though JSON has none, is null, and
    an object that has a key twice is a ValueError."""
    # The collector would look for garbage among all of the millions of objects, many times.
    gc.disable()
    try:
        return json.loads(content, parse_constant=lambda name: None, object_pairs_hook=no_key_twice)
    finally:
        gc.enable()


def parse_split(
    document: Any, root: Path, name: str, file: str, *, progress: bool = False
) -> tuple[Split, list[Finding]]:
    """Sort a parsed annotation file into a split and all that is wrong with its records.

    Findings of severity "error" make `load_split` refuse the split, "left out" are annotations that
    are not used, and "note" records that were put right. `file` is what findings call the file.
    """
    document = document if isinstance(document, Mapping) else {}
    findings: list[Finding] = []

    def usable(
        kind: str, key: str, problem_of: Callable[[Record], Problem | None]
    ) -> dict[int, Record]:
        """Id → usable record under a key, by ascending id; the others become findings."""
        values = document.get(key)
        if not isinstance(values, list):
            what = f"key {key!r} must hold a list of records"
            findings.append(Finding("error", file, "", "missing list", what, REFUSED))
            return {}
        found: dict[int, Record] = {}
        for position, value in enumerate(progress_bar(values, f"{file}: {key}", progress)):
            record, mended = records.mend(value)
            problem = records.id_problem(record)
            label = f"{kind} at position {position}" if problem else f"{kind} {record['id']}"
            if problem is None and record["id"] in found:
                findings.append(Finding("error", file, label, f"duplicate {kind} id", "", REFUSED))
            elif problem := problem or problem_of(record):
                # A split without one of its pictures or categories is not what its maker meant.
                left_out = kind == "annotation"
                severity: Severity = "left out" if left_out else "error"
                outcome = "it is not used" if left_out else REFUSED
                findings.append(Finding(severity, file, label, *problem, outcome))
            else:
                found[record["id"]] = record
                findings.extend(Finding("note", file, label, *m, "read as meant") for m in mended)
        return dict(sorted(found.items()))

    images = usable("image", "images", records.image_problem)
    categories = usable("category", "categories", records.id_problem)

    def annotation_problem(record: Record) -> Problem | None:
        return records.annotation_problem(record, images, categories)

    annotations: dict[int, list[Record]] = {image_id: [] for image_id in images}
    for record in usable("annotation", "annotations", annotation_problem).values():
        fitted, notes = _fitted(record, images[record["image_id"]])
        annotations[record["image_id"]].append(fitted)
        findings.extend(Finding("note", file, f"annotation {record['id']}", *n) for n in notes)

    # Two records of one file: the picture could be trained on and tested on.
    owners: dict[str, int] = {}
    for image_id, record in images.items():
        one = unicodedata.normalize("NFC", PureWindowsPath(record["file_name"]).as_posix())
        owner = owners.setdefault(one, image_id)
        if owner != image_id:
            detail = f"{record['file_name']!r:.80} is image {owner} too"
            label, problem = f"image {image_id}", "file of two images"
            findings.append(Finding("error", file, label, problem, detail, REFUSED))
    header = {k: v for k, v in document.items() if k not in ("images", "annotations", "categories")}
    left_out = tuple(finding for finding in findings if finding.severity == "left out")
    return Split(root, name, images, annotations, categories, left_out, header), findings


def _fitted(record: Record, image: Record) -> tuple[Record, list[tuple[str, str, str]]]:
    """An annotation with a mask of its picture's size and an area.

    Beside it, (problem, detail, outcome) of each of the two that it lacked.
    """
    size, drawn, notes = [image["height"], image["width"]], record["segmentation"], []
    if isinstance(drawn, Mapping) and drawn["size"] != size:
        mask = annotation_mask(record, *size)
        box = list(map(float, cv2.boundingRect(mask.astype(np.uint8))))
        area = int(mask.sum())
        record = record | {"segmentation": mask_to_rle(mask), "bbox": box, "area": area}
        notes.append((OTHER_SIZE, f"{drawn['size']}", f"scaled to its picture's {size}"))
    if record.get("area") is None:
        packed = packed_rle(record["segmentation"], *size)
        record = record | {"area": int(coco_mask.area(packed))}
        notes.append(("no area", "", "counted from the mask"))
    return record, notes


# --- masks ----------------------------------------------------------------------------------------


def annotation_mask(annotation: Record, height: int, width: int) -> Mask:
    """An annotation's mask, bool height×width, rasterised by pycocotools.

    Args:
        annotation: its "segmentation" is a list of polygons in pixels, cut where they cross the
            picture's border, or RLE, compressed or not. RLE of another size is scaled if its ratio
            of width to height is the picture's. What "iscrowd" says does not matter.
        height, width: of the picture, in pixels.

    Raises:
        DataError: the segmentation makes no mask of this size.
    """
    segmentation = annotation.get("segmentation")
    if problem := records.segmentation_problem(segmentation, height, width):
        raise DataError(f"annotation {annotation.get('id')}: {Finding('error', '', '', *problem)}")
    mask = np.asarray(coco_mask.decode(packed_rle(segmentation, height, width)), dtype=bool)
    return mask if mask.shape == (height, width) else scale_mask(mask, (width, height))


def packed_rle(segmentation: Any, height: int, width: int) -> Record:
    """A sound segmentation as pycocotools' RLE."""
    if not isinstance(segmentation, Mapping):  # several polygons are one object
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], str):
        return dict(segmentation)
    return coco_mask.frPyObjects(dict(segmentation), height, width)


def outlines(mask: Mask) -> list[list[float]]:
    """COCO polygons [x1, y1, x2, y2, …] along the pixel edges of a mask, one for each of its parts,
    the largest part first.

    Holes are filled, since COCO's polygons cannot have any; RLE keeps them.
    """
    # OpenCV's contour runs through the centres of the border pixels; a COCO polygon runs along
    # their outer edges. At twice the size a pixel becomes 2×2, and the contour runs through the
    # outer ones of these: half of a coordinate, rounded up, is that of the edge.
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = mask[y : y + height, x : x + width].astype(np.uint8)
    doubled = part.repeat(2, axis=0).repeat(2, axis=1)
    found, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours = sorted(found, key=cv2.contourArea, reverse=True)
    rings = [(ring.reshape(-1, 2) + 1) // 2 + (x, y) for ring in contours]
    corners = [ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)] for ring in rings]
    return [[float(value) for value in ring.ravel()] for ring in corners]


def mask_to_rle(mask: Mask) -> Record:
    """COCO's compressed RLE of a bool H×W mask: {"size": [H, W], "counts": str}, fit for JSON.

    Raises:
        DataError: the mask is not bool, not two-dimensional, or without pixels.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise DataError(f"a mask must be bool HxW with H, W > 0, not {mask.dtype} {mask.shape}")
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any]) -> Mask:
    """The bool H×W mask of {"size": [H, W], "counts": COCO's string or a list of run lengths}.

    Raises:
        DataError: the object is malformed.
    """
    size = rle.get("size")
    if not isinstance(size, list) or [type(n) for n in size] != [int, int] or min(size) < 1:
        raise DataError(f"RLE: size is {size!r:.40}, [height, width] is needed")
    if size[0] * size[1] > limits.MAX_PICTURE_PIXELS:
        raise DataError(f"RLE: {size!r:.60} pixels, at most {limits.MAX_PICTURE_PIXELS:,}")
    if problem := records.rle_problem(rle, *size):
        raise DataError(f"RLE: {Finding('error', '', '', *problem)}")
    return np.asarray(coco_mask.decode(packed_rle(rle, *size)), dtype=bool)


def largest_annotation(annotations: Sequence[Record]) -> Record:
    """The annotation of largest "area", crowds included, as in the paper; of equals, the lowest id.

    Raises:
        DataError: there is none.
    """
    if not annotations:
        raise DataError("a picture without annotations has no largest one")
    return min(annotations, key=lambda record: (-record["area"], record["id"]))
