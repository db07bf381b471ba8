"""Read COCO: a split's records, its pictures, and an annotation's mask.

COCO's layout is `ROOT/annotations/instances_<split>.json` beside `ROOT/<split>/*.jpg`; the releases
of 2014 and 2017 and this library's reduced sets all have it. What annotation tools export is read
too: pictures in `ROOT/images/` (CVAT), `ROOT/<split>/_annotations.coco.json` beside the pictures
(Roboflow), `ROOT/result.json` or `ROOT/annotations.json` with `ROOT/images/` (Label Studio,
labelme).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from nseg_lib import limits
from nseg_lib.data.images import read_image
from nseg_lib.data.records import (
    DataError,
    Finding,
    Problem,
    Record,
    annotation_problem,
    id_problem,
    image_problem,
    is_int,
    mend,
    rle_problem,
    segmentation_problem,
)

__all__ = [
    "DataError",
    "Split",
    "annotation_mask",
    "find_splits",
    "largest_annotation",
    "load_split",
    "mask_to_rle",
    "read_image",
    "rle_to_mask",
]


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

    @cached_property
    def image_dir(self) -> Path:
        """The folder of the split's pictures: `root/name`, or where exports of tools have them."""
        usual, images = self.root / self.name, self.root / "images"
        if usual.is_dir():
            return usual
        names = [str(record["file_name"]) for record in self.images.values()][:5]
        for folder in (images / self.name, images, self.root):
            if any((folder / name).is_file() for name in names):
                return folder
        return usual

    def image_path(self, image_id: int) -> Path:
        """Path of a picture.

        Raises:
            DataError: the split holds no picture of this id.
        """
        if image_id not in self.images:
            raise DataError(f"{self.root}: split {self.name} has no picture {image_id}")
        return self.image_dir / str(self.images[image_id]["file_name"])

    def read_image(self, image_id: int) -> NDArray[np.uint8]:
        """The picture as uint8 H×W×3 RGB, where H and W are its record's height and width.

        Raises:
            DataError: the file is missing, damaged, or of another size.
        """
        path, record = self.image_path(image_id), self.images[image_id]
        return read_image(path, (record["height"], record["width"]))

    def mask(self, image_id: int, annotation: Record) -> NDArray[np.bool_]:
        """An annotation's mask, bool H×W, where H and W are its picture's record's."""
        record = self.images[image_id]
        return annotation_mask(annotation, record["height"], record["width"])

    def credit(self, image_id: int) -> str | None:
        """A credit line for a picture that a report may show; `None` where its licence forbids.

        A report alters what it shows and is passed on, so a licence against derivatives or against
        commercial use does not serve, nor does a missing one.
        """
        record = self.images[image_id]
        listed = self.header.get("licenses")
        entries = listed if isinstance(listed, list) else []
        licences = {e.get("id"): e for e in entries if isinstance(e, Mapping)}
        licence = licences.get(record.get("license"), {})
        name, terms = (str(licence.get(key) or "") for key in ("name", "url"))
        if not name or "NoDerivs" in name or "NonCommercial" in name:
            return None
        source = record.get("credit") or record.get("flickr_url") or record["file_name"]
        return f"{source} ({', '.join(filter(None, (name, terms)))})"


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


def load_split(root: Path, split: str | None = None) -> Split:
    """Read and check a split's records; its pictures are read one by one, later.

    An annotation that cannot be used is left out and named in `Split.left_out`.

    Raises:
        DataError: no such split or no folder of pictures, malformed JSON, a missing key, a wrong
            type, an image record that cannot be used (its file name leaves the folder, say), an id
            or a file that occurs twice.
    """
    root = Path(root)
    name = choose_split(root, split)
    path = find_splits(root)[name]
    loaded, findings = parse_split(read_json(path), root, name, path.relative_to(root).as_posix())
    refuse(findings, root)
    if not loaded.image_dir.is_dir():
        raise DataError(f"{loaded.image_dir}: the folder of the split's pictures is missing")
    return loaded


def refuse(findings: Sequence[Finding], where: Path) -> None:
    """Raise DataError with the first error among the findings, if there is one."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f"; one of {len(errors)} errors" if len(errors) > 1 else ""
        raise DataError(f"{where}: {errors[0]}{more}")


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: it cannot be read or parsed.
    """
    try:
        if Path(path).stat().st_size > limits.MAX_JSON_BYTES:
            raise DataError(f"{path}: too large: at most {limits.MAX_JSON_BYTES:,} bytes")
        return json.loads(Path(path).read_bytes())
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error


def parse_split(
    document: Any, root: Path, name: str, file: str = ""
) -> tuple[Split, list[Finding]]:
    """Sort a parsed annotation file into a split and all that is wrong with its records.

    Findings of severity "error" make `load_split` refuse the split, "left out" are annotations that
    are not used, and "note" records that were put right. `file` is what findings call the file.
    """
    file = file or f"annotations/instances_{name}.json"
    if not isinstance(document, Mapping):
        document = {}
    findings: list[Finding] = []

    def collect(kind: str, key: str, problem: Callable[[Any], Problem | None]) -> list[Record]:
        records, found = _usable_records(document, file, kind, key, problem)
        findings.extend(found)
        return records

    images = {r["id"]: r for r in collect("image", "images", image_problem)}
    categories = {r["id"]: r for r in collect("category", "categories", id_problem)}
    annotations: dict[int, list[Record]] = {image_id: [] for image_id in images}
    for record in collect(
        "annotation", "annotations", lambda a: annotation_problem(a, images, categories)
    ):
        image = images[record["image_id"]]
        if record.get("area") is None:
            area = _pixels(record["segmentation"], image["height"], image["width"])
            record, label = record | {"area": area}, f"annotation {record['id']}"
            findings.append(Finding("note", file, label, "no area", "", "counted from the mask"))
        annotations[record["image_id"]].append(record)
    findings.extend(_shared_files(images, file))
    header = {k: v for k, v in document.items() if k not in ("images", "annotations", "categories")}
    left_out = tuple(finding for finding in findings if finding.severity == "left out")
    return Split(root, name, images, annotations, categories, left_out, header), findings


def _usable_records(
    document: Mapping[str, Any],
    file: str,
    kind: str,
    key: str,
    problem_of: Callable[[Any], Problem | None],
) -> tuple[list[Record], list[Finding]]:
    """The usable records under `key`, by ascending id, and what is wrong with the others."""
    values = document.get(key)
    if not isinstance(values, list):
        found = f"key {key!r} must hold a list of records"
        return [], [Finding("error", file, "", "missing list", found, "the split is refused")]
    usable: list[Record] = []
    findings: list[Finding] = []
    seen: set[int] = set()
    for position, value in enumerate(values):
        record, mended = mend(value)
        anonymous = id_problem(record) is not None
        label = f"{kind} at position {position}" if anonymous else f"{kind} {record['id']}"
        if not anonymous and record["id"] in seen:
            problem: Problem | None = (f"duplicate {kind} id", "")
            refused = True
        else:
            problem, refused = problem_of(record), kind != "annotation"
        if not anonymous:
            seen.add(record["id"])
        if problem is None:
            usable.append(record)
            findings += [Finding("note", file, label, *what, "read as meant") for what in mended]
        elif refused:
            findings.append(Finding("error", file, label, *problem, "the split is refused"))
        else:
            findings.append(Finding("left out", file, label, *problem, "it is not used"))
    return sorted(usable, key=lambda record: record["id"]), findings


def _shared_files(images: Mapping[int, Record], file: str) -> list[Finding]:
    """Two records of one file: the picture could be trained on and tested on."""
    owners: dict[str, int] = {}
    findings = []
    for image_id, record in images.items():
        owner = owners.setdefault(record["file_name"], image_id)
        if owner != image_id:
            detail = f"{record['file_name']!r:.80} is image {owner} too"
            label = f"image {image_id}"
            findings.append(
                Finding("error", file, label, "file of two images", detail, "the split is refused")
            )
    return findings


# --- masks ----------------------------------------------------------------------------------------


def annotation_mask(annotation: Record, height: int, width: int) -> NDArray[np.bool_]:
    """An annotation's mask, bool height×width, rasterised by pycocotools.

    Args:
        annotation: its "segmentation" is a list of polygons in pixels, cut where they cross the
            picture's border, or RLE, compressed or not. What "iscrowd" says does not matter.
        height, width: of the picture, in pixels.

    Raises:
        DataError: the segmentation makes no mask of this size.
    """
    segmentation = annotation.get("segmentation")
    if problem := segmentation_problem(segmentation, height, width):
        raise DataError(f"annotation {annotation.get('id')}: {Finding('error', '', '', *problem)}")
    return np.asarray(coco_mask.decode(_packed(segmentation, height, width)), dtype=bool)


def _packed(segmentation: Any, height: int, width: int) -> Record:
    """A sound segmentation as pycocotools' RLE."""
    if not isinstance(segmentation, Mapping):  # several polygons are one object
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], str):
        return dict(segmentation)
    return coco_mask.frPyObjects(dict(segmentation), height, width)


def _pixels(segmentation: Any, height: int, width: int) -> int:
    """The area of a sound segmentation."""
    return int(coco_mask.area(_packed(segmentation, height, width)))


def mask_to_rle(mask: NDArray[np.bool_]) -> Record:
    """COCO's compressed RLE of a bool H×W mask: {"size": [H, W], "counts": str}, fit for JSON.

    Raises:
        DataError: the mask is not bool, not two-dimensional, or without pixels.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise DataError(f"a mask must be bool HxW with H, W > 0, not {mask.dtype} {mask.shape}")
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The bool H×W mask of {"size": [H, W], "counts": COCO's string or a list of run lengths}.

    Raises:
        DataError: the object is malformed.
    """
    size = rle.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(is_int(n) and n > 0 for n in size):
        raise DataError(f"RLE: size is {size!r:.40}, [height, width] is needed")
    if size[0] * size[1] > limits.MAX_PICTURE_PIXELS:
        raise DataError(f"RLE: {size} pixels, at most {limits.MAX_PICTURE_PIXELS:,}")
    if problem := rle_problem(rle, *size):
        raise DataError(f"RLE: {Finding('error', '', '', *problem)}")
    return np.asarray(coco_mask.decode(_packed(rle, *size)), dtype=bool)


def largest_annotation(annotations: Sequence[Record]) -> Record:
    """The annotation of largest "area", crowds included, as in the paper; of equals, the lowest id.

    Raises:
        DataError: there is none.
    """
    if not annotations:
        raise DataError("a picture without annotations has no largest one")
    return min(annotations, key=lambda record: (-record["area"], record["id"]))
