"""Small data sets in COCO's layout, to be broken by the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nseg_lib.data import coco

HEIGHT, WIDTH = 120, 160


def square(x: float, y: float, side: float) -> list[float]:
    """A polygon's coordinates."""
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def document(ids: list[int], split: str = "train") -> dict[str, Any]:
    """An annotation file: a picture per id, each with a large and a small square."""
    images, annotations = [], []
    for i in ids:
        name, size = f"{i:012d}.jpg", {"width": WIDTH, "height": HEIGHT}
        source = {"license": 4, "coco_url": f"http://images.cocodataset.org/{split}/{name}"}
        images.append({"id": i, "file_name": name} | size | source)
        for number, side in ((1, 20), (2, 100)):
            keys = {"id": 10 * i + number, "image_id": i, "category_id": 1, "iscrowd": 0}
            shape = {"bbox": [2, 3, side, side], "segmentation": [square(2, 3, side)]}
            annotations.append(keys | shape | {"area": float(side * side)})
    return {
        "info": {"description": "squares"},
        "licenses": [{"id": 4, "name": "Attribution License", "url": "http://example.org/by"}],
        "categories": [{"id": 1, "name": "square", "supercategory": "shape"}],
        "images": images,
        "annotations": annotations,
    }


def write_document(root: Path, split: str, content: Any) -> None:
    """Only the annotation file."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def outline_anew(
    root: Path, split: str, segmentation: Any = ([50, 40, 54, 40, 54, 44, 50, 44],),
    area: int = 16, count: int = 1,
) -> coco.Split:  # fmt: skip
    """Give a split's first objects another outline; without one, too small for a stroke."""
    path = root / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"][:count]:
        annotation |= {"segmentation": segmentation, "area": area}
    write_document(root, split, content)
    return coco.load_split(root, split)


def picture(seed: int) -> Image.Image:
    """A colourful picture of WIDTH x HEIGHT."""
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_set(root: Path, split: str, content: dict[str, Any]) -> Path:
    """Annotation file and pictures; returns `root`."""
    write_document(root, split, content)
    (root / split).mkdir()
    for record in content["images"]:
        picture(record["id"]).save(root / split / record["file_name"], quality=95)
    return root
