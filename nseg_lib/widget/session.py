"""A folder of pictures and the COCO file of their masks, worked through object by object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nseg_lib.data.coco import DataError, read_json, rle_to_mask
from nseg_lib.data.images import as_rgb, open_picture
from nseg_lib.files import write_atomic
from nseg_lib.strokes.drawing import check_strokes
from nseg_lib.widget import results

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


class FolderSession:
    """The pictures of a folder, their objects, and the COCO file that holds the masks.

    Every new mask is written to the file at once and atomically, so that a crash loses no mask that
    was shown. Annotations keep their strokes, so that a user can return to any picture and go on.
    Other content of the file stays. Before writing, the session reads what another tab or program
    has written to the file in the meantime.

    A picture has any number of objects, each with a category. One of them is the current one:
    either an object drawn before or a new one, which enters the file with its first mask.

    Args:
        folder: the folder of pictures, taken in the order of their names; without subfolders.
        out: the COCO file; by default ``annotations.json`` in the folder. If it is named
            ``ROOT/annotations/instances_NAME.json`` and the folder ``ROOT/NAME``, it is a split
            that every command of nseg reads.
        category: of new objects; by default that of the last object, or "object".

    Raises:
        DataError: no such folder, no picture in it, or ``out`` is not a COCO file.
    """

    def __init__(
        self, folder: str | Path, out: str | Path | None = None, category: str | None = None
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder")
        self.pictures = sorted(p for p in self.folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not self.pictures:
            raise DataError(f"{self.folder}: no pictures in it ({', '.join(SUFFIXES)})")
        self.out = Path(out) if out is not None else self.folder / "annotations.json"
        self.content = self._read()
        self.id: int | None = None  # of the current annotation; None for a new object
        self.category = category or self._last_category()
        self._open(self._start())

    def _read(self) -> dict[str, Any]:
        stamp = self._stamp()
        if stamp is None:
            self._as_read = None
            return results.document([], [], categories=[])
        content = read_json(self.out)
        for key in ("images", "annotations", "categories"):
            records = content.get(key) if isinstance(content, dict) else None
            if not isinstance(records, list) or not all(
                isinstance(r, dict) and isinstance(r.get("id"), int) for r in records
            ):
                raise DataError(f"{self.out}: '{key}' must be a list of records with an integer id")
        assert isinstance(content, dict)
        self._as_read = stamp
        return content

    def _stamp(self) -> tuple[int, int] | None:
        """Date and size of the file, which show that another program wrote it; None without it."""
        if not self.out.exists():
            return None
        status = self.out.stat()
        return status.st_mtime_ns, status.st_size

    def _refresh(self) -> None:
        """Read the file again if another program has changed it; keep the content if it is gone."""
        if self._stamp() not in (None, self._as_read):
            self.content = self._read()

    # --- pictures ---

    @property
    def path(self) -> Path:
        """The current picture's file."""
        return self.pictures[self.index]

    def read_image(self) -> NDArray[np.uint8]:
        """The current picture, uint8 H×W×3 RGB, as every reader of the COCO file sees it.

        It is turned to the size in its record or, without a record, to the size of the upright
        picture (:func:`nseg_lib.data.images.turn`). So a photograph stored on its side is turned
        upright. One that is stored upside down or mirrored, or a square one, stays as it is: its
        size does not change when it is turned, and a COCO record has no field for the orientation.

        Raises:
            DataError: no picture, a broken one, or one whose size is not that of its record.
        """
        record, stored = self._image_record() or {}, open_picture(self.path)
        height, width = record.get("height"), record.get("width")
        if height is None or width is None:
            height, width = as_rgb(self.path, stored).shape[:2]
        return as_rgb(self.path, stored, (height, width))

    def go(self, step: int) -> bool:
        """Move by ``step`` pictures (1 next, -1 previous); return False if there is none there."""
        self._refresh()
        if not 0 <= self.index + step < len(self.pictures):
            return False
        self._open(self.index + step)
        return True

    def _open(self, index: int) -> None:
        self.index = index
        objects = self.objects()
        self.id = int(objects[0]["id"]) if objects else None

    def _start(self) -> int:
        """Index of the picture to start with: the first undone one after the last that is done."""
        done = self._done()
        left = [i for i, path in enumerate(self.pictures) if path.name not in done]
        last = max((i for i, path in enumerate(self.pictures) if path.name in done), default=-1)
        return next((i for i in left if i > last), left[0] if left else 0)

    def _done(self) -> set[str]:
        """File names of the pictures that have an annotation with strokes."""
        drawn = {a.get("image_id") for a in self.content["annotations"] if "strokes" in a}
        return {i.get("file_name") for i in self.content["images"] if i["id"] in drawn}

    def state(self) -> dict[str, Any]:
        """The progress that the canvas shows.

        Returns:
            ``index`` and ``name`` of the current picture; ``total`` and ``done``, the numbers of
            all and of finished pictures; ``object``, the index of the current object among those
            of the picture (a new one comes last); ``objects``, their number; ``category`` of the
            current object; and ``categories``, the names of all.
        """
        ids = [a["id"] for a in self.objects()]
        return {
            "index": self.index,
            "total": len(self.pictures),
            "done": len({path.name for path in self.pictures} & self._done()),
            "name": self.path.name,
            "object": ids.index(self.id) if self.id in ids else len(ids),
            "objects": len(ids),
            "category": self.name_of_category(),
            "categories": [str(c.get("name")) for c in self.content["categories"]],
        }

    # --- objects ---

    def objects(self) -> list[dict[str, Any]]:
        """The annotations of the current picture that have strokes."""
        images = {i["id"] for i in self.content["images"] if i.get("file_name") == self.path.name}
        records = self.content["annotations"]
        return [a for a in records if a.get("image_id") in images and "strokes" in a]

    def go_object(self, step: int) -> bool:
        """Move by ``step`` objects of the picture; return False if there is none there."""
        ids = [a["id"] for a in self.objects()]
        at = (ids.index(self.id) if self.id in ids else len(ids)) + step
        if not 0 <= at < len(ids):
            return False
        self.id = ids[at]
        return True

    def new_object(self) -> bool:
        """Make a new object the current one; return False if it was new already."""
        was, self.id = self.id, None
        return was is not None

    def _current(self) -> dict[str, Any] | None:
        return next((a for a in self.objects() if a["id"] == self.id), None)

    def drawn(self) -> tuple[list[Any], NDArray[np.bool_] | None]:
        """The strokes and the mask (bool H×W) of the current object; [] and None for a new one.

        Raises:
            DataError: the file's strokes or mask of this object are malformed.
        """
        record = self._current()
        if record is None:
            return [], None
        mask = self._mask(record)
        return list(record["strokes"]), mask

    def others(self) -> NDArray[np.bool_] | None:
        """The union of the masks (bool H×W) of the picture's other objects; None if there are none.

        Raises:
            DataError: as for :meth:`drawn`, or the masks differ in size.
        """
        masks = [self._mask(record) for record in self.objects() if record["id"] != self.id]
        if len({mask.shape for mask in masks}) > 1:
            raise DataError(f"{self.out}: {self.path.name}: its masks differ in size")
        return np.logical_or.reduce(masks) if masks else None

    def _mask(self, record: dict[str, Any]) -> NDArray[np.bool_]:
        try:
            check_strokes(record["strokes"])
            return rle_to_mask(record.get("segmentation", {}))
        except (ValueError, AttributeError) as error:
            raise DataError(f"{self.out}: {self.path.name}: {error}") from None

    def record(self, mask: NDArray[np.bool_], strokes: Sequence[Any]) -> None:
        """Make ``mask`` the annotation of the current object and write the file.

        An empty mask deletes the annotation, and the current object is then a new one.

        Args:
            mask: bool H×W.
            strokes: those that gave the mask; kept with the annotation.

        Raises:
            OSError: the file cannot be written; it stays as it was.
            DataError: another program has replaced the file by one that is not COCO.
        """
        self._refresh()
        old, records = self._current(), self.content["annotations"]
        if mask.any():
            number = old["id"] if old is not None else self._next_id("annotations")
            category = old["category_id"] if old is not None else self._category(self.category)
            place = {"id": number, "image_id": self._image_id(mask), "category_id": category}
            new = results.annotation(mask, strokes=strokes) | place
            records[:] = [new if a is old else a for a in records] if old else [*records, new]
            self.id = number
        elif old is not None:
            self.category = self.name_of_category()
            records[:] = [a for a in records if a is not old]
            self.id = None
        else:
            return
        self._write()

    def _write(self) -> None:
        write_atomic(self.out, results.as_json(self.content))
        self._as_read = self._stamp()

    def _next_id(self, key: str) -> int:
        return 1 + max((record["id"] for record in self.content[key]), default=0)

    def _image_id(self, mask: NDArray[np.bool_]) -> int:
        """The id of the picture's record; a missing record is added."""
        known = self._image_record()
        if known is not None:
            return int(known["id"])
        height, width = mask.shape
        number = self._next_id("images")
        record = {"id": number, "file_name": self.path.name, "width": width, "height": height}
        self.content["images"].append(record)
        return number

    def _image_record(self) -> dict[str, Any] | None:
        """The record of the current picture; None if it has none."""
        records = self.content["images"]
        return next((r for r in records if r.get("file_name") == self.path.name), None)

    # --- categories ---

    def name_of_category(self) -> str:
        """The category of the current object, or the one that a new object will get."""
        record = self._current()
        return self.category if record is None else self._category_name(record)

    def set_category(self, name: str) -> None:
        """Set the category of the current object and of those drawn after it.

        Raises:
            DataError: an empty name.
        """
        if not name.strip():
            raise DataError("a category needs a name")
        self.category = name.strip()
        self._refresh()
        record = self._current()
        if record is not None and self._category_name(record) != self.category:
            record["category_id"] = self._category(self.category)
            self._write()

    def _category(self, name: str) -> int:
        """The id of a category; a missing category is added."""
        for record in self.content["categories"]:
            if record.get("name") == name:
                return int(record["id"])
        record = results.category(name, self._next_id("categories"))
        self.content["categories"].append(record)
        return int(record["id"])

    def _category_name(self, annotation: dict[str, Any]) -> str:
        wanted = annotation.get("category_id")
        found = (c.get("name") for c in self.content["categories"] if c["id"] == wanted)
        return str(next(found, "object"))

    def _last_category(self) -> str:
        drawn = [a for a in self.content["annotations"] if "strokes" in a]
        return self._category_name(drawn[-1]) if drawn else "object"
