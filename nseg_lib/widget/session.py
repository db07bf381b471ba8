"""Work on a folder of pictures: one object after the other is drawn into a COCO file that grows."""

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
    """Which pictures and objects there are, which are done, and the file that holds their masks.

    Every mask is written at once, whole or not at all, so that a crash loses none that was shown.
    Annotations carry their strokes, so that work goes on where it was when somebody comes back to a
    picture, or to the folder another day. Whatever else is in the file stays, and what another tab
    or program has written to it meanwhile is read before the file is written again.

    A picture has any number of objects. One of them is at hand: either one that was drawn before,
    or a new one, which gets its place in the file with its first mask. Each has a category.

    Args:
        folder: its pictures, by name; subfolders are not looked into.
        out: the COCO file; ``annotations.json`` in the folder unless given. Named
            ``ROOT/annotations/instances_NAME.json`` beside a folder ``ROOT/NAME``, it is a split
            that every command of nseg reads.
        category: what new objects are; unless given, what the last one was, or "object".

    Raises:
        DataError: no such folder, no picture in it, or a file that is not COCO's; one line.
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
        self.id: int | None = None  # of the annotation at hand; None: a new object
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
        """Date and size of the file, which tell that another program wrote it; None without one."""
        if not self.out.exists():
            return None
        status = self.out.stat()
        return status.st_mtime_ns, status.st_size

    def _refresh(self) -> None:
        """Read the file again if another program has changed it; one that is gone stays known."""
        if self._stamp() not in (None, self._as_read):
            self.content = self._read()

    # --- pictures ---

    @property
    def path(self) -> Path:
        """The picture at hand."""
        return self.pictures[self.index]

    def read_image(self) -> NDArray[np.uint8]:
        """The picture at hand, uint8 H×W×3 RGB, as every reader of the file has it.

        It is turned to the size in its record, or to that of the upright picture where it has no
        record yet, see :func:`nseg_lib.data.images.turn`. So a photograph taken on its side comes
        upright, but one upside down, mirrored or square stays as it is stored: turning does not
        change its size, and a COCO record has no other field that could ask for it.

        Raises:
            DataError: no picture, a broken one, or one of another size than its record's.
        """
        record, stored = self._image_record() or {}, open_picture(self.path)
        height, width = record.get("height"), record.get("width")
        if height is None or width is None:
            height, width = as_rgb(self.path, stored).shape[:2]
        return as_rgb(self.path, stored, (height, width))

    def go(self, step: int) -> bool:
        """Move on by ``step`` pictures (1 next, -1 previous); False where the folder ends."""
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
        """The picture to go on with: the first that is not done after the last that is."""
        done = self._done()
        left = [i for i, path in enumerate(self.pictures) if path.name not in done]
        last = max((i for i, path in enumerate(self.pictures) if path.name in done), default=-1)
        return next((i for i in left if i > last), left[0] if left else 0)

    def _done(self) -> set[str]:
        """File names of the pictures that have an annotation drawn here."""
        drawn = {a.get("image_id") for a in self.content["annotations"] if "strokes" in a}
        return {i.get("file_name") for i in self.content["images"] if i["id"] in drawn}

    def state(self) -> dict[str, Any]:
        """What the canvas shows of the session.

        Returns:
            Of the pictures ``index`` (of the one at hand), ``total``, ``done`` and ``name``; of its
            objects ``object`` (the place of the one at hand; a new one comes last) and ``objects``
            (how many there are); ``category`` of the object and all ``categories``.
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
        """The annotations of the picture at hand that were drawn here."""
        images = {i["id"] for i in self.content["images"] if i.get("file_name") == self.path.name}
        records = self.content["annotations"]
        return [a for a in records if a.get("image_id") in images and "strokes" in a]

    def go_object(self, step: int) -> bool:
        """Move on by ``step`` objects of the picture; False where there is none."""
        ids = [a["id"] for a in self.objects()]
        at = (ids.index(self.id) if self.id in ids else len(ids)) + step
        if not 0 <= at < len(ids):
            return False
        self.id = ids[at]
        return True

    def new_object(self) -> bool:
        """Put a new object at hand; False where it is one already."""
        was, self.id = self.id, None
        return was is not None

    def _at_hand(self) -> dict[str, Any] | None:
        return next((a for a in self.objects() if a["id"] == self.id), None)

    def drawn(self) -> tuple[list[Any], NDArray[np.bool_] | None]:
        """The strokes and the mask (bool H×W) of the object at hand; [] and None of a new one.

        Raises:
            DataError: what the file holds of it is no drawing or no mask.
        """
        record = self._at_hand()
        if record is None:
            return [], None
        mask = self._mask(record)
        return list(record["strokes"]), mask

    def others(self) -> NDArray[np.bool_] | None:
        """The union of the masks (bool H×W) of the picture's other objects; None without any.

        Raises:
            DataError: as :meth:`drawn`, or they are of several sizes.
        """
        masks = [self._mask(record) for record in self.objects() if record["id"] != self.id]
        if len({mask.shape for mask in masks}) > 1:
            raise DataError(f"{self.out}: {self.path.name}: its masks have several sizes")
        return np.logical_or.reduce(masks) if masks else None

    def _mask(self, record: dict[str, Any]) -> NDArray[np.bool_]:
        try:
            check_strokes(record["strokes"])
            return rle_to_mask(record.get("segmentation", {}))
        except (ValueError, AttributeError) as error:
            raise DataError(f"{self.out}: {self.path.name}: {error}") from None

    def record(self, mask: NDArray[np.bool_], strokes: Sequence[Any]) -> None:
        """Make ``mask`` the annotation of the object at hand and write the file.

        An empty mask takes the annotation away; then a new object is at hand.

        Args:
            mask: bool H×W.
            strokes: that gave it; kept with the annotation.

        Raises:
            OSError: the file cannot be written; it is as it was.
            DataError: another program has written what is not COCO's.
        """
        self._refresh()
        old, records = self._at_hand(), self.content["annotations"]
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
        """The id of the picture's record, which is made where there is none."""
        known = self._image_record()
        if known is not None:
            return int(known["id"])
        height, width = mask.shape
        number = self._next_id("images")
        record = {"id": number, "file_name": self.path.name, "width": width, "height": height}
        self.content["images"].append(record)
        return number

    def _image_record(self) -> dict[str, Any] | None:
        """The record of the picture at hand."""
        records = self.content["images"]
        return next((r for r in records if r.get("file_name") == self.path.name), None)

    # --- categories ---

    def name_of_category(self) -> str:
        """The category of the object at hand; for a new object, the one that it will get."""
        record = self._at_hand()
        return self.category if record is None else self._category_name(record)

    def set_category(self, name: str) -> None:
        """Say what the object at hand is, and those that are drawn after it.

        Raises:
            DataError: an empty name.
        """
        if not name.strip():
            raise DataError("a category needs a name")
        self.category = name.strip()
        self._refresh()
        record = self._at_hand()
        if record is not None and self._category_name(record) != self.category:
            record["category_id"] = self._category(self.category)
            self._write()

    def _category(self, name: str) -> int:
        """The id of a category, which is made where there is none of this name."""
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
