"""Write the sample data set.

Its splits `train`, `val` and `test` hold pictures composed from the photographs that the
scikit-image package carries (`nseg_lib.sample.scene`). The split `photos` holds six of those
photographs as they are, with outlines drawn by hand, within about 2 px of the edge: the pictures
for demos and figures. The layout is COCO's, as `nseg_lib.data.reduce` writes it:

    OUT/annotations/instances_{train,val,test,photos}.json
    OUT/{train,val,test,photos}/*.jpg
    OUT/reduction.json

All splits draw on the same thirteen photographs, so a score on `val`, `test` or `photos` says that
training works, not how well a network does on photographs of other things.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from nseg_lib import limits
from nseg_lib.arrays import Mask
from nseg_lib.console import progress_bar
from nseg_lib.data.coco import annotation_mask, find_splits, mask_to_rle, read_json
from nseg_lib.data.records import DataError, Record
from nseg_lib.data.reduce import Plan, changed_files, is_finished
from nseg_lib.sample.scene import compose
from nseg_lib.sample.shapes import FAMILIES
from nseg_lib.sample.sources import load_data, photograph

VERSION = 1
"""Raised when the same request would give other pictures."""

MAX_SIDES = range(128, 1281)
"""Below, no stroke of the `erode` recipe survives; above, the photographs have nothing to show."""

FIRST_ID = 101
"""Id of the first composed picture; the photographs' are below."""

SIZES = {
    (640, 480): 0.42, (480, 640): 0.15, (640, 427): 0.18, (427, 640): 0.05, (640, 425): 0.05,
    (500, 375): 0.05, (612, 612): 0.05, (640, 361): 0.03, (333, 500): 0.02,
}  # fmt: skip
"""Width and height of a picture at `max_side` 640, and their shares, much as in COCO."""


@dataclass(frozen=True)
class Request:
    """What tells one sample from another."""

    pictures: int = 240
    seed: int = 42
    max_side: int = 320
    version: int = VERSION

    def __post_init__(self) -> None:
        # Of eight pictures six are to train on, one to validate, one to test.
        for name, least in (("pictures", 8), ("seed", 0), ("max_side", MAX_SIDES[0])):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise DataError(f"{name} is {value!r}; an integer of {least} or more is needed")
        if self.pictures > limits.MAX_PICTURES:
            raise DataError(f"pictures is {self.pictures}; at most {limits.MAX_PICTURES:,}")
        if self.max_side not in MAX_SIDES:
            raise DataError(f"max_side is {self.max_side}; at most {MAX_SIDES[-1]} is possible")

    def ids(self) -> dict[str, range]:
        """Split name → ids of its composed pictures: an eighth to validate, an eighth to test."""
        eighth = round(self.pictures / 8)
        train = FIRST_ID + self.pictures - 2 * eighth
        return {
            "train": range(FIRST_ID, train),
            "val": range(train, train + eighth),
            "test": range(train + eighth, train + 2 * eighth),
        }


def make_sample(
    out: Path, pictures: int = 240, seed: int = 42, *, max_side: int = 320, progress: bool = False
) -> Path:
    """Make the sample data set in the folder `out`.

    The same numbers give the same bytes, with the same versions of the libraries. A picture depends
    on seed, max_side and its id alone, so a larger sample begins as a smaller one does. Run again
    where it is finished, this does nothing.

    Args:
        out: a new or empty folder, or one that holds this sample.
        pictures: composed pictures, at least 8: 75 % train, 12.5 % val, 12.5 % test.
        seed: 0 or more.
        max_side: longest side of the composed pictures in pixels, 128 to 1280. COCO's is 640; half
            of it trains in a quarter of the time. The photographs keep their size, 384 to 640 px.
        progress: show a bar on the error stream.

    Returns:
        `out`.

    Raises:
        DataError: a number out of range, an `out` that holds something else, or a scikit-image
            without its photographs.
    """
    out, request = Path(out), Request(pictures, seed, max_side)
    if is_finished(out, {"sample": asdict(request)}):
        for path in changed_files(out):
            raise DataError(f"{path}: missing or changed since it was made; choose a new folder")
        for name, path in find_splits(out).items():
            for image in read_json(path)["images"]:
                file = out / name / image["file_name"]
                if not file.is_file():
                    raise DataError(f"{file}: missing; choose a new folder")
        return out
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise OSError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        _write(part, request, progress)
        if out.exists():
            out.rmdir()  # empty
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _write(root: Path, request: Request, progress: bool) -> None:
    """Fill an empty folder; the file that says that all is there comes last."""
    sources, outlines = load_data("sources.json"), load_data("outlines.json")
    # The families of shapes, then what the photographs show.
    shown = [thing["category"] for found in outlines.values() for thing in found]
    kinds = dict.fromkeys(FAMILIES, "synthetic") | dict.fromkeys(shown, "photographed")
    categories = {
        name: {"id": i, "name": name, "supercategory": kind}
        for i, (name, kind) in enumerate(kinds.items(), 1)
    }
    records: dict[str, list[tuple[Record, list[Record]]]] = {name: [] for name in request.ids()}
    places = [(name, image_id) for name, ids in request.ids().items() for image_id in ids]
    for name in [*records, "photos"]:
        (root / name).mkdir()
    # Threads, since the work is done in OpenCV and NumPy, which let others run meanwhile.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        made = pool.map(lambda p: _composed(root / p[0], request, p[1], categories), places)
        for name, _ in progress_bar(places, "making the sample", progress):
            records[name].append(next(made))
    records["photos"] = [
        _photographed(root / "photos", image_id, file, things, sources["photographs"], categories)
        for image_id, (file, things) in enumerate(outlines.items(), 1)
    ]

    header = {
        "info": {"description": "nseg sample data set", "version": str(request.version)},
        "licenses": sources["licenses"],
        "categories": list(categories.values()),
    }
    documents = {
        name: header
        | {
            "images": [image for image, _ in found],
            "annotations": [annotation for _, objects in found for annotation in objects],
        }
        for name, found in records.items()
    }
    Plan.make(documents, {"sample": asdict(request)}).finish(root)


def _composed(
    folder: Path, request: Request, image_id: int, categories: dict[str, Record]
) -> tuple[Record, list[Record]]:
    """Compose and save one picture; its image record and its annotations."""
    rng = np.random.default_rng((request.seed, image_id))
    sizes, shares = list(SIZES), np.array(list(SIZES.values()))
    size = np.array(sizes[rng.choice(len(sizes), p=shares / shares.sum())])
    width, height = (int(n) for n in np.round(size * request.max_side / max(size)))
    scene = compose(rng, height, width)
    image = {
        "id": image_id,
        "file_name": f"{image_id:012d}.jpg",
        "height": height,
        "width": width,
        "license": 3,
        "sources": scene.sources,
    }
    quality = int(rng.integers(85, 96))
    Image.fromarray(scene.image).save(folder / f"{image_id:012d}.jpg", "JPEG", quality=quality)
    annotations = []
    for number, (whole, visible) in enumerate(scene.objects):
        # Polygons say what is visible only where nothing hides a part.
        polygons = whole.polygons if np.array_equal(visible, whole.mask) else None
        category = categories[whole.family]
        annotations.append(_annotation(image_id, number, category, visible, polygons))
    return image, annotations


def _photographed(
    folder: Path,
    image_id: int,
    file: str,
    things: list[Record],
    known: dict[str, Record],
    categories: dict[str, Record],
) -> tuple[Record, list[Record]]:
    """Save one photograph; its image record and the annotations of its outlined objects."""
    name = f"{Path(file).stem}.jpg"
    image = {"id": image_id, "file_name": name, "sources": [file], **known[file]}
    Image.fromarray(photograph(file)).save(folder / name, "JPEG", quality=95)
    size = image["height"], image["width"]
    drawn = [annotation_mask({"segmentation": thing["polygons"]}, *size) for thing in things]
    named = {thing["category"]: mask for thing, mask in zip(things, drawn, strict=True)}
    annotations = []
    for number, (thing, mask) in enumerate(zip(things, drawn, strict=True)):
        polygons = thing["polygons"]
        if "behind" in thing:  # its outline is drawn whole; what hides it is taken away
            mask = mask & ~np.any([named[name] for name in thing["behind"]], axis=0)
            polygons = None
        category = categories[thing["category"]]
        annotations.append(_annotation(image_id, number, category, mask, polygons))
    return image, annotations


def _annotation(image_id: int, number: int, category: Record, mask: Mask, polygons: Any) -> Record:
    """COCO's record of an object; without polygons, its mask is compressed RLE."""
    return {
        "id": 100 * image_id + number,
        "image_id": image_id,
        "category_id": category["id"],
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": list(cv2.boundingRect(mask.astype(np.uint8))),
        "segmentation": mask_to_rle(mask) if polygons is None else polygons,
    }
