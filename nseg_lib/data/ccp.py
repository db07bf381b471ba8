"""Clothing Co-Parsing as a data set in COCO's layout: whole persons, and the parts that they wear.

The outlines follow the picture to a pixel or two, where COCO's polygons are looser, so a refiner
learns exact edges from them. Each picture has one person whole, of the category ``person``, and an
annotation for each part of :data:`LEAST_AREA` pixels or more, of its own name.

Source: Yang, Luo and Lin, "Clothing Co-Parsing by Joint Image Segmentation and Labeling", CVPR
2014; annotations under the Apache License 2.0. The photographs belong to their owners and stay
where they are: this makes a data set to train and measure on, not to pass on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from nseg_lib.arrays import Mask
from nseg_lib.console import progress_bar
from nseg_lib.data import coco
from nseg_lib.data.images import read_image
from nseg_lib.files import replacing, write_atomic

HELD_OUT = 100
"""The last pictures by number: the first half of them for validation, the others for test."""

LEAST_AREA = 400
"""Pixels of a part at least; smaller ones belong to the person alone."""

QUALITY = 84
"""Of the JPEG files that shrunken pictures are written as."""


def convert(ccp: Path, out: Path, max_side: int = 480, *, progress: bool = False) -> dict[str, int]:
    """Write train, val and test of a folder with ``images``, ``labels`` and ``labels.json``.

    Args:
        ccp: ``images/NNNN.jpg``, ``labels/NNNN.png`` (a label per pixel, 0 is background) and the
            names of the labels in ``labels.json``.
        out: a folder; pictures of the same name there are written anew.
        max_side: pictures whose longer side has more pixels are shrunk to this.
        progress: show a bar on the console.

    Returns:
        Split → number of pictures.

    Raises:
        coco.DataError: a file is missing or cannot be read, or a label has no name.
    """
    names_file = ccp / "labels.json"
    if not names_file.is_file():
        raise coco.DataError(f"{names_file}: no such file; beside it, images and labels are needed")
    listed = coco.read_json(names_file)
    if not (isinstance(listed, dict) and all(label.isdecimal() for label in listed)):
        raise coco.DataError(f"{names_file}: numbers of labels and their names are needed")
    names = {int(label): str(name) for label, name in listed.items()}
    pictures = sorted((ccp / "images").glob("*.jpg"))
    if wrong := [path for path in pictures if not path.stem.isdecimal()]:
        raise coco.DataError(f"{wrong[0]}: a picture's name must be a number, such as 0001.jpg")
    if len(pictures) <= HELD_OUT:
        raise coco.DataError(f"{ccp / 'images'}: {len(pictures)} pictures; over {HELD_OUT} needed")
    middle = len(pictures) - HELD_OUT // 2
    splits = {
        "train": pictures[:-HELD_OUT],
        "val": pictures[-HELD_OUT:middle],
        "test": pictures[middle:],
    }
    # "person" is the whole; label 0, the background, gives its number away.
    categories = [{"id": 1, "name": "person"}]
    categories += [{"id": label + 1, "name": name} for label, name in names.items() if label]
    for split, files in splits.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for path in progress_bar(files, split, progress):
            image, labels = read_image(path), _labels(ccp / "labels" / f"{path.stem}.png")
            if labels.shape != image.shape[:2] or int(labels.max()) not in names:
                raise coco.DataError(f"{path}: its labels have another size or an unknown label")
            # Shrunk by area averages; a pixel takes the label that lies at its middle.
            scale = min(1.0, max_side / max(labels.shape))
            size = round(labels.shape[1] * scale), round(labels.shape[0] * scale)
            if scale < 1:
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
            number = int(path.stem)
            with replacing(out / split / path.name) as part:
                Pillow.fromarray(image).save(part, format="JPEG", quality=QUALITY)
            images.append(
                {"id": number, "file_name": path.name, "width": size[0], "height": size[1]}
            )
            masks = {1: labels > 0}
            masks |= {int(label) + 1: labels == label for label in np.unique(labels[labels > 0])}
            for category, mask in masks.items():
                if category == 1 or np.count_nonzero(mask) >= LEAST_AREA:
                    annotations.append(_annotation(100 * number + category, number, category, mask))
        content = {"images": images, "annotations": annotations, "categories": categories}
        write_atomic(out / "annotations" / f"instances_{split}.json", json.dumps(content))
    return {split: len(files) for split, files in splits.items()}


def _labels(path: Path) -> Any:
    try:
        with Pillow.open(path) as file:
            return np.asarray(file)
    except OSError as error:
        raise coco.DataError(f"{path}: cannot be read as a picture ({error})") from None


def _annotation(identity: int, image_id: int, category: int, mask: Mask) -> dict[str, Any]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return {
        "id": identity, "image_id": image_id, "category_id": category, "iscrowd": 0,
        "area": int(np.count_nonzero(mask)), "bbox": [x, y, width, height],
        "segmentation": coco.mask_to_rle(mask),
    }  # fmt: skip
