"""A folder of pictures and the COCO file of their masks, worked through object by object."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import DataError
from nseg_lib.data.images import list_pictures
from nseg_lib.data.masks import steps_of
from nseg_lib.data.outputs import annotation, sure_of
from nseg_lib.data.records import Record, is_int
from nseg_lib.files import hold
from nseg_lib.palette import LABELS
from nseg_lib.widget.annotations import STARTED_FROM, AnnotationFile, next_id, redrawn


class Opened(NamedTuple):
    """What the canvas shows of a picture and its current object."""

    image: Image
    strokes: list[Any]
    mask: Mask
    """bool H×W; all False for a new object."""
    start: Mask | None
    """bool H×W: what another program had made of the object, from which the strokes go on."""
    others: NDArray[np.uint8] | None
    """H×W: the picture's other objects, each with its label's number from 1; 0 elsewhere."""
    walls: Mask
    """bool H×W: what belongs to the other objects alone, and is never given to this one."""
    note: str
    """A line for the user, or ""."""
    sure: float | None
    """:func:`nseg_lib.arrays.sureness` of the mask, as it was saved; None if none was saved."""
    steps: Sequence[int]
    """As :func:`nseg_lib.data.masks.parse_strokes` gives them."""


class FolderSession:
    """The pictures of a folder, their objects, and the COCO file that holds the masks.

    Every new mask is written to the file at once and atomically, so that a crash loses no mask that
    was shown. Annotations keep their strokes, so that a user can return to any picture and go on.
    Other content of the file stays, and so does what another window or program has saved meanwhile.

    A picture has any number of objects, each with a category. One of them is the current one:
    either an object that is in the file or a new one, which enters the file with its first mask.
    An object that another program has drawn can be corrected; what it was is kept beside it, and
    comes back when the strokes are cleared.

    Args:
        folder: the folder of pictures, in the order of their names, numbers by value; without
            subfolders and hidden files.
        out: the COCO file; by default ``annotations.json`` in the folder. If it is named
            ``ROOT/annotations/instances_NAME.json`` and the folder ``ROOT/NAME``, it is a split
            that every command of nseg reads.
        category: of new objects; by default that of the last object, or "object". Of several,
            which the canvas offers, it is the first.

    Raises:
        DataError: no such folder, no picture in it, or ``out`` is not a COCO file.
    """

    def __init__(
        self,
        folder: str | Path,
        out: str | Path | None = None,
        category: str | Sequence[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.pictures, self.left_out = list_pictures(self.folder)
        self.out = Path(out) if out is not None else self.folder / "annotations.json"
        self.file = AnnotationFile(self.out)
        self._release: Callable[[], Any] = lambda: None  # gives up the hold of the folder
        drawn = [a for a in self.file.annotations if "strokes" in a]
        self.labels = [category] if isinstance(category, str) else list(category or ())
        last_label = self.file.category_of(drawn[-1]) if drawn else "object"
        self.category = self.labels[0] if self.labels else last_label
        # Start with the first undone picture after the last that is done.
        done = self._done()
        left = [i for i, path in enumerate(self.pictures) if path not in done]
        last = max((i for i, path in enumerate(self.pictures) if path in done), default=-1)
        self._go_to(next((i for i in left if i > last), left[0] if left else 0))

    def state(self) -> dict[str, Any]:
        """The progress that the canvas shows."""
        ids, current, names = [a["id"] for a in self.objects()], self._current(), self.categories()
        return {
            "index": self.index,
            "total": len(self.pictures),
            "done": len(self._done()),
            "name": self.path.name,
            "object": ids.index(self.id) if self.id in ids else len(ids),  # a new one comes last
            "objects": len(ids),
            "category": self.file.category_of(current) if current else self.category,
            "categories": names,
            "colours": [LABELS[i % len(LABELS)] for i in range(len(names))],
            "saved": self.out.name if self.saved else "",
            "back": self._left is not None,
        }

    def categories(self) -> list[str]:
        """The names of all labels: those that were given, then those of the file."""
        return list(dict.fromkeys([*self.labels, *self.file.category_names()]))

    def listing(self) -> dict[str, Any]:
        """All pictures for a list: ``names``, ``objects`` (how many each has), ``done``."""
        done, objects = self._done(), Counter(a.get("image_id") for a in self.file.annotations)
        records = [self._image_of(path) for path in self.pictures]
        return {
            "names": [path.name for path in self.pictures],
            "objects": [objects[record["id"]] if record else 0 for record in records],
            "done": [path in done for path in self.pictures],
        }

    # --- pictures ---

    @property
    def path(self) -> Path:
        """The current picture's file."""
        return self.pictures[self.index]

    def go(self, step: int) -> bool:
        """Move by ``step`` pictures (1 next, -1 previous); return False if there is none there."""
        if not 0 <= self.index + step < len(self.pictures):
            return False
        self._go_to(self.index + step, left=(self.index, self.id))
        return True

    def go_back(self) -> bool:
        """Go to what was left by :meth:`go` or :meth:`new_object`; return False if nothing was."""
        if self._left is None:
            return False
        self.index, number = self._left
        self._choose(number)
        return True

    def _go_to(self, index: int, left: tuple[int, int | None] | None = None) -> None:
        """Make a picture the current one, and of its objects the first that was drawn here."""
        self.index = index
        self._choose(next((a["id"] for a in self.objects() if "strokes" in a), None), left)

    def _done(self) -> set[Path]:
        """The pictures that have an annotation with strokes."""
        drawn = [a.get("image_id") for a in self.file.annotations if "strokes" in a]
        ids = {number for number in drawn if is_int(number)}
        records = {path: self._image_of(path) for path in self.pictures}
        return {path for path, record in records.items() if record and record["id"] in ids}

    def _image_of(self, path: Path) -> Record | None:
        try:
            return self.file.image_of(path)
        except DataError:  # several may be meant; told when the picture is opened
            return None

    def open(self, image: Image | None = None) -> Opened:
        """Read the current picture and the masks of its objects.

        Args:
            image: the picture, if it has been read already.

        Raises:
            DataError: no picture, a broken one, one of another shape than its record's, one that
                several records may mean, or malformed strokes or masks of this program.
        """
        notes: list[str] = []
        image = self.file.read_image(self.path, notes.append) if image is None else image
        mask, walls = np.zeros((2, *image.shape[:2]), bool)
        others, labels = np.zeros(image.shape[:2], np.uint8), self.categories()
        foreign = unreadable = 0
        for record in self.objects():
            drawn = "strokes" in record
            foreign += not drawn
            try:
                each = self.file.mask(record, self.path, image)
            except DataError:
                if drawn or record["id"] == self.id:
                    raise
                unreadable += 1
                continue
            if record["id"] == self.id:
                mask = each
                continue
            label = self.file.category_of(record)
            number = labels.index(label) if label in labels else 0
            others[each] = 1 + number % 255  # one by one: a large picture may have very many
            if not record.get("iscrowd"):  # single objects may be drawn in a crowd
                walls |= each
        self._know()
        current = self._known or {}
        start = current if current and "strokes" not in current else current.get(STARTED_FROM)
        if foreign and self.id is None:
            many = f"{foreign} object{'s' * (foreign > 1)}"
            notes.append(f"{many} of another program; a click takes one up")
        elif self.id is None and others.any():
            notes.append("A click on a finished object takes it up again.")
        if unreadable:
            notes.append(f"{unreadable} without a mask that can be shown")
        return Opened(
            image,
            strokes=list(current.get("strokes", [])),
            mask=mask,
            start=None if start is None else self.file.mask(start, self.path, image),
            others=others if others.any() else None,
            walls=walls & ~mask,  # what two objects share already stays with both
            note="; ".join(notes),
            sure=sure_of(current),
            steps=steps_of(current, len(current.get("strokes", [])), str(self.out)),
        )

    @cached_property
    def alone(self) -> bool:
        """Whether no other window holds the folder; then this session does, as long as it lives."""
        if (release := hold(self.folder)) is not None:
            self._release = weakref.finalize(self, release)
        return release is not None

    def close(self) -> None:
        """Let another window hold the folder alone."""
        self._release()

    # --- objects ---

    def objects(self) -> list[Record]:
        """The annotations of the current picture that have strokes or a segmentation."""
        image = self._image_of(self.path)
        if image is None:
            return []
        every = [a for a in self.file.annotations if a.get("image_id") == image["id"]]
        return [a for a in every if "strokes" in a or a.get("segmentation")]

    def _current(self) -> Record | None:
        return next((a for a in self.objects() if a["id"] == self.id), None)

    def _choose(self, number: int | None, left: tuple[int, int | None] | None = None) -> None:
        """Make an object of the picture the current one, None for a new one; :meth:`go_back` then
        leads to the picture and object that were left."""
        self.id, self._left = number, left
        self._know()

    def _know(self) -> None:
        """Take what the file has of the picture for known, and the current object for saved."""
        self._known = self._current()  # as it was read or written here
        self._ids = {a["id"] for a in self.objects()}
        self.saved = True  # False while the file lacks the present mask

    def go_object(self, step: int) -> bool:
        """Move by ``step`` objects of the picture; return False if there is none there."""
        ids = [a["id"] for a in self.objects()]
        at = (ids.index(self.id) if self.id in ids else len(ids)) + step
        if not 0 <= at < len(ids):
            return False
        self._choose(ids[at])
        return True

    def pick(self, x: float, y: float, image: Image) -> bool:
        """Make the object at a point the current one; return False if no other one is there.

        Where several objects share the point, it is the smallest.

        Args:
            x, y: in pixels of the picture.
            image: the current picture.
        """
        found = []
        row, column = np.clip([int(y), int(x)], 0, np.subtract(image.shape[:2], 1))
        for record in self.objects():
            try:
                mask = self.file.mask(record, self.path, image)
            except DataError:  # nothing of it is shown, so it cannot be meant
                continue
            if record["id"] != self.id and mask[row, column]:
                found.append((int(mask.sum()), record["id"]))
        if found:
            self._choose(min(found)[1])
        return bool(found)

    def new_object(self) -> bool:
        """Make a new object the current one; return False if it was new already."""
        if self.id is None:
            return False
        self._choose(None, left=(self.index, self.id))
        return True

    def record(
        self,
        mask: Mask,
        strokes: Sequence[Any],
        sure: float | None = None,
        steps: Sequence[int] = (),
    ) -> str:
        """Make ``mask`` the annotation of the current object and write the file.

        An empty mask deletes the annotation, and the current object is then a new one. An object
        that another program made becomes again what it was when its strokes are cleared.

        Args:
            mask: bool H×W.
            strokes: those that gave the mask; kept with the annotation.
            sure: how sure the network is of the mask; None for a mask that it did not make.
            steps: as :func:`nseg_lib.data.masks.parse_strokes` gives them.

        Returns:
            A line for the user, or "".

        Raises:
            OSError: the file cannot be written; it stays as it was, and ``saved`` is False.
            ValueError: another process keeps the file, or has replaced it by one that is not COCO.
        """
        self.saved = False
        with self.file.changing():
            # Where somebody else has changed or deleted the object since it was read, what the file
            # has stays, and this becomes another object of the same category.
            records, current = self.file.annotations, self._current()
            note = self._meanwhile(current)
            if current is not None:
                self.category = self.file.category_of(current)
            old = current if current == self._known else None

            # A mask without a pixel is no object.
            drawn = annotation(mask, strokes=strokes, sure=sure, steps=steps) if mask.any() else {}
            about = old or {}
            if drawn:
                image_id = self.file.record_image(self.path, *mask.shape)
                if old is None:
                    category, number = self.file.category_id(self.category), next_id(records)
                    about = {"id": number, "category_id": category, "image_id": image_id}
            new = redrawn(about, drawn)

            # The new annotation takes the old one's place, or the last; either may be missing.
            if new is not None or old is not None:
                at = next((i for i, each in enumerate(records) if each is old), len(records))
                records[at : at + 1] = [] if new is None else [new]
                self.id, self._known = (None, None) if new is None else (new["id"], new)
                self._ids = {a["id"] for a in self.objects()}
        self.saved = True
        return note

    def _meanwhile(self, now: Record | None) -> str:
        """What somebody else has saved of this picture since it was read, in a line; or ""."""
        if now is None and self._known is not None:
            told = "deleted this object: yours is kept"
        elif now != self._known:
            told = "changed this object too: both are kept, yours as another one"
        elif {a["id"] for a in self.objects()} - self._ids:
            told = "drew another object of this picture: leave it and come back to see that (N, P)"
        else:
            return ""
        return f"{self.file.saved} {told}."

    def delete(self) -> bool:
        """Delete the current object, whoever drew it; False for a new one. OSError as elsewhere."""
        with self.file.changing():
            record = self._current()
            if record is not None:
                self.file.annotations.remove(record)
        self._choose(None)
        return record is not None

    def set_category(self, name: str) -> None:
        """Set the category of the current object and of those drawn after it.

        Raises:
            DataError: an empty name.
        """
        if not name.strip():
            raise DataError("a category needs a name")
        self.category = name.strip()
        if self._current() is None:
            return
        with self.file.changing():
            record = self._current()
            if record is not None:
                unchanged = record == self._known
                record["category_id"] = self.file.category_id(self.category)
                self._known = record if unchanged else self._known
