"""The COCO file of a folder's masks; all that other programs wrote into it is kept."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2

from nseg_lib.arrays import Image, Mask
from nseg_lib.console import warn
from nseg_lib.data import formats
from nseg_lib.data.coco import DataError, annotation_mask, read_json
from nseg_lib.data.images import as_rgb, open_picture
from nseg_lib.data.outputs import annotation, category, document
from nseg_lib.data.records import Record, id_problem, is_int, mend
from nseg_lib.data.scaling import own_size
from nseg_lib.files import only_writer, write_atomic
from nseg_lib.strokes.drawing import check_strokes
from nseg_lib.widget.results import as_json

STARTED_FROM = "started_from"
"""Key of an annotation: what another program had written of it before it was drawn on."""

OF_THE_MASK = ("segmentation", "area", "bbox", "sure", "steps")
"""Keys of an annotation whose values are only about its present mask."""


class AnnotationFile:
    """A COCO file that grows while other programs may read and write it too.

    Numbers in other forms, as :func:`nseg_lib.data.records.mend` knows them, are put right; all
    else that is in the file stays. ``images``, ``annotations`` and ``categories`` are its lists of
    records.

    Args:
        path: of the file, which need not exist.

    Raises:
        DataError: what is there is no COCO file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self.saved = ""  # who saved what was read last, and when
        self._take(document([], [], []))
        self.refresh()

    def _take(self, content: dict[str, Any]) -> None:
        self.content = content
        self.images: list[Record] = content["images"]
        self.annotations: list[Record] = content["annotations"]
        self.categories: list[Record] = content["categories"]
        self._by_name: dict[str, list[Record]] = {}  # a picture's name → what may be its records
        for image in self.images:
            self._enter(image)

    def _enter(self, image: Record) -> None:
        """Make a record of a picture known by its name."""
        name = _plain_name(image.get("file_name")).rpartition("/")[2]
        self._by_name.setdefault(name, []).append(image)

    def refresh(self) -> None:
        """Read the file if another program has changed it; keep the content if it is gone.

        Raises:
            DataError: another program has replaced it by one that is not COCO.
        """
        stamp = self._stamp_now()
        if stamp is None or stamp == self._stamp:
            return
        content = read_json(self.path)
        for key in ("images", "annotations", "categories"):
            records = content.get(key) if isinstance(content, dict) else None
            if not isinstance(records, list):
                raise DataError(f"{self.path}: '{key}' must be a list of records")
            content[key] = [mend(record)[0] for record in records]
            for number, record in enumerate(content[key], 1):
                if problem := id_problem(record):
                    raise DataError(f"{self.path}: '{key}', record {number}: {' ('.join(problem)})")
        self._stamp, self.saved = stamp, self._saved_now()
        self._take(content)

    def _saved_now(self) -> str:
        """Whose the file is, as each save makes it anew, and when it was saved."""
        try:
            owner, date = self.path.owner(), self.path.stat().st_mtime
        except (OSError, KeyError, NotImplementedError):  # gone, a user without a name, Windows
            return "somebody"
        return f"{owner} ({time.strftime('%H:%M', time.localtime(date))})"

    def _stamp_now(self) -> tuple[int, int] | None:
        """Date and size of the file, which show that another program wrote it; None without it."""
        if not self.path.exists():
            return None
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Read the file anew, let the block change its content, and write it, whole or not at all.

        No other nseg changes the file meanwhile.

        Raises:
            OSError: it cannot be written, and stays as it was.
            ValueError: another process keeps it for ten seconds, or has replaced it by a file that
                is not COCO.
        """
        with only_writer(self.path, patience=10):
            self.refresh()
            yield
            write_atomic(self.path, as_json(self.content))
            self._stamp = self._stamp_now()

    def image_of(self, picture: Path) -> Record | None:
        """The record of a picture, or None.

        Programs write names in several ways: with folders, with backslashes, as parts of a URL,
        with accents as letters of their own. A record of exactly this name comes first, then the
        one whose path is the end of the picture's own, then one of the same name.

        Raises:
            DataError: several records may be meant.
        """
        # Names in the file may be of another form than the picture's, or be what %20 stands for.
        names = {_plain_name(picture.name), unicodedata.normalize("NFC", picture.name)}
        found = [record for name in names for record in self._by_name.get(name, [])]
        if len(found) > 1:
            exact = [r for r in found if r["file_name"] == picture.name]
            own = f"/{_plain_name(picture.absolute().as_posix())}"
            here = [r for r in found if own.endswith(f"/{_plain_name(r['file_name'])}")]
            found = exact[:1] or here or found
        if len(found) > 1:
            raise DataError(
                f"{self.path}: {len(found)} records may be of {picture.name}: "
                f"{', '.join(str(r['file_name']) for r in found[:3])}; name one of them so"
            )
        return found[0] if found else None

    def record_image(self, picture: Path, height: int, width: int) -> int:
        """The id of a picture's record; a missing record is added, and so is a missing size."""
        record = self.image_of(picture)
        if record is None:
            record = {"id": next_id(self.images), "file_name": picture.name}
            self.images.append(record)
            self._enter(record)
        if record.get("width") is None or record.get("height") is None:
            record |= {"width": width, "height": height}
        return int(record["id"])

    def read_image(self, picture: Path, say: Callable[[str], None] = lambda line: None) -> Image:
        """A picture, turned as every reader of this file turns it: uint8 H×W×3 RGB.

        That is to the size in its record or, without a size, upright. One whose size does not
        change when it is turned stays as it is stored
        (:func:`nseg_lib.data.outputs.as_readers_turn` says why). A picture of another size than
        its record's, but of the same ratio of width to height, is scaled to the record's size,
        which all masks of the file have; ``say`` is told.

        Raises:
            DataError: no picture, a broken one, or one of another shape than its record's.
        """
        record, stored = self.image_of(picture) or {}, open_picture(picture)
        height, width = record.get("height"), record.get("width")
        if height is None or width is None:
            height, width = as_rgb(picture, stored).shape[:2]
        for side in (height, width):
            if not is_int(side) or side < 1:
                said = f"a side of {side!r:.40}, which is no whole number from 1"
                raise DataError(f"{self.path}: {picture.name}: its record has {said}")
        own = own_size(picture, stored, (height, width))
        image = as_rgb(picture, stored, own)
        if own == (height, width):
            return image
        say(f"Picture scaled to its record's {width}x{height} pixels, from {own[1]}x{own[0]}")
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def mask(self, annotation: Any, picture: Path, image: Image) -> Mask:
        """An annotation's mask, bool H×W; a malformed one raises DataError, which names both."""
        try:
            if not isinstance(annotation, dict):
                raise ValueError(f"what it started from is {annotation!r:.40}, not an annotation")
            check_strokes(annotation.get("strokes", []))
            return annotation_mask(annotation, *image.shape[:2])
        except ValueError as error:
            raise DataError(f"{self.path}: {picture.name}: {error}") from None

    def category_names(self) -> list[str]:
        """The names of the categories that have one."""
        names = [record.get("name") for record in self.categories]
        return [name for name in names if isinstance(name, str) and name.strip()]

    def category_of(self, annotation: Record) -> str:
        """The name of an object's category."""
        number = annotation.get("category_id")
        name = next((r.get("name") for r in self.categories if r["id"] == number), None)
        return name if isinstance(name, str) and name.strip() else f"category {number}"

    def category_id(self, name: str) -> int:
        """The id of a category; a missing category is added."""
        record = next((r for r in self.categories if r.get("name") == name), None)
        if record is None:
            record = category(name, next_id(self.categories))
            self.categories.append(record)
        return int(record["id"])


def take_up(folder: AnnotationFile, source: Path, pictures: Sequence[Path]) -> tuple[int, int]:
    """Add another tool's objects to the pictures that have none yet, and write the file.

    Args:
        source: as :func:`nseg_lib.data.formats.read` takes it.

    Returns:
        The numbers of objects and of pictures that were added.

    Raises:
        DataError: nothing there belongs to these pictures, or a malformed file.
        OSError: the file cannot be written.
    """
    objects = count = 0
    with folder.changing():
        known = {annotation.get("image_id") for annotation in folder.annotations}
        for picture, (height, width), found in formats.read(source, pictures, warn):
            record = folder.image_of(picture)
            if (record is not None and record["id"] in known) or not found:
                continue
            image_id = folder.record_image(picture, height, width)
            for each in found:
                mask = annotation_mask({"id": 0, "segmentation": each.segmentation}, height, width)
                if not mask.any():
                    continue
                made = annotation(mask, sure=each.sure) | {"segmentation": each.segmentation}
                made |= {"id": next_id(folder.annotations), "image_id": image_id}
                made |= {"category_id": folder.category_id(each.category)}
                folder.annotations.append(made)
                objects += 1
            count += 1
    return objects, count


def redrawn(old: Record, drawn: Record) -> Record | None:
    """An object's annotation once something was drawn; None if nothing is left of the object.

    Args:
        old: the annotation as it was; of a new object what says which it is.
        drawn: mask and strokes, as :func:`annotation` gives them; empty for an empty mask.
    """
    # What another program had made of the object is kept beside what is drawn here, and is all
    # there is of it once its strokes are cleared.
    theirs: Record = {key: old[key] for key in OF_THE_MASK if key in old}
    start = (old.get(STARTED_FROM) if "strokes" in old else theirs) or {}
    if start and "strokes" not in drawn:
        gone = {"strokes", STARTED_FROM, *OF_THE_MASK}
        return {key: old[key] for key in old if key not in gone} | start
    if not drawn:
        return None
    # What says which object it is, and what other programs keep with it, stays.
    stays = {key: old[key] for key in old if key not in OF_THE_MASK}
    which = {key: old[key] for key in ("id", "image_id", "category_id", "iscrowd") if key in old}
    new = stays | drawn | which
    return new | {STARTED_FROM: start} if start else new


def next_id(records: list[Record]) -> int:
    """An id that none of the records has."""
    return 1 + max((record["id"] for record in records), default=0)


def _plain_name(name: Any) -> str:
    """A file name as others may write it too: one kind of slash, one kind of accent, no %20."""
    return unicodedata.normalize("NFC", unquote(str(name)).replace("\\", "/")).removeprefix("./")
