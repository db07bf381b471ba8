"""A folder of pictures, drawn one after the other into a COCO file that grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nseg_lib.coco import DataError, read_json, rle_to_mask
from nseg_lib.strokes import check_strokes
from nseg_lib.widget import results

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


class FolderSession:
    """Which pictures there are, which are done, and the file that holds their masks.

    Every mask is written at once, whole or not at all, so that a crash loses nothing that was
    answered. Annotations carry their strokes: coming back to a picture, or to the folder another
    day, goes on where it was. What else the file holds is left as it is.

    Args:
        folder: its pictures, by name; subfolders are not looked into.
        out: the COCO file; ``annotations.json`` in the folder unless given. Named
            ``ROOT/annotations/instances_NAME.json`` beside a folder ``ROOT/NAME``, it is a split
            that every command of nseg reads.
        category: what the objects are.

    Raises:
        DataError: no such folder, no picture in it, or a file that is not COCO's; one line.
    """

    def __init__(
        self, folder: str | Path, out: str | Path | None = None, category: str = "object"
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder")
        self.pictures = sorted(p for p in self.folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not self.pictures:
            raise DataError(f"{self.folder}: no pictures in it ({', '.join(SUFFIXES)})")
        self.out = Path(out) if out is not None else self.folder / "annotations.json"
        self.content = self._read(category)
        self.category_id = self._category(category)
        names = [path.name for path in self.pictures]
        done = self._done()
        self.index = next((i for i, name in enumerate(names) if name not in done), 0)

    def _read(self, category: str) -> dict[str, Any]:
        if not self.out.exists():
            return results.document([], [], category)
        content = read_json(self.out)
        for key in ("images", "annotations", "categories"):
            records = content.get(key) if isinstance(content, dict) else None
            if not isinstance(records, list) or not all(
                isinstance(r, dict) and isinstance(r.get("id"), int) for r in records
            ):
                raise DataError(f"{self.out}: '{key}' must be a list of records with an integer id")
        assert isinstance(content, dict)
        return content

    def _category(self, name: str) -> int:
        for record in self.content["categories"]:
            if record.get("name") == name:
                return int(record["id"])
        record = {"id": self._next_id("categories"), "name": name, "supercategory": "object"}
        self.content["categories"].append(record)
        return int(record["id"])

    def _next_id(self, key: str) -> int:
        return 1 + max((record["id"] for record in self.content[key]), default=0)

    def _done(self) -> set[str]:
        """File names of the pictures that have an annotation drawn here."""
        drawn = {a.get("image_id") for a in self.content["annotations"] if "strokes" in a}
        return {i["file_name"] for i in self.content["images"] if i["id"] in drawn}

    @property
    def path(self) -> Path:
        """The picture at hand."""
        return self.pictures[self.index]

    def state(self) -> dict[str, Any]:
        """What the canvas shows of the session: index, total, done, and the picture's name."""
        names = {path.name for path in self.pictures}
        done = len(names & self._done())
        total = len(self.pictures)
        return {"index": self.index, "total": total, "done": done, "name": self.path.name}

    def go(self, step: int) -> bool:
        """Move on by ``step`` pictures (1 next, -1 previous); False where the folder ends."""
        if not 0 <= self.index + step < len(self.pictures):
            return False
        self.index += step
        return True

    def _drawn_here(self) -> dict[str, Any] | None:
        """The annotation of the picture at hand that was drawn here."""
        ids = {i["id"] for i in self.content["images"] if i.get("file_name") == self.path.name}
        return next(
            (a for a in self.content["annotations"] if a.get("image_id") in ids and "strokes" in a),
            None,
        )

    def drawn(self) -> tuple[list[Any], NDArray[np.bool_] | None]:
        """The strokes and the mask (bool H×W) of the picture at hand; [] and None before any.

        Raises:
            DataError: what the file holds of it is no drawing or no mask.
        """
        record = self._drawn_here()
        if record is None:
            return [], None
        try:
            check_strokes(record["strokes"])
            return list(record["strokes"]), rle_to_mask(record.get("segmentation", {}))
        except (ValueError, AttributeError) as error:
            raise DataError(f"{self.out}: {self.path.name}: {error}") from None

    def record(self, mask: NDArray[np.bool_], strokes: Sequence[Any]) -> None:
        """Make ``mask`` (bool H×W) the picture's annotation and write the file; an empty mask takes
        the annotation away."""
        old = self._drawn_here()
        if old is None and not mask.any():
            return
        records = self.content["annotations"]
        if old is not None:
            records.remove(old)
        if mask.any():
            number = old["id"] if old is not None else self._next_id("annotations")
            drawn = results.annotation(mask, strokes=strokes)
            place = {"image_id": self._image_id(mask), "category_id": self.category_id}
            records.append(drawn | {"id": number} | place)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        results.write(self.out, results.as_json(self.content))

    def _image_id(self, mask: NDArray[np.bool_]) -> int:
        """The id of the picture's record, which is made where there is none."""
        for record in self.content["images"]:
            if record.get("file_name") == self.path.name:
                return int(record["id"])
        height, width = mask.shape
        number = self._next_id("images")
        record = {"id": number, "file_name": self.path.name, "width": width, "height": height}
        self.content["images"].append(record)
        return number
