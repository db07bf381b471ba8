"""The stroke canvas: a notebook widget to brush over an object and get its mask."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from IPython.display import Image as StillPicture
from IPython.display import display
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import DataError
from nseg_lib.data.masks import parse_strokes
from nseg_lib.files import write_atomic
from nseg_lib.limits import MAX_UPLOAD
from nseg_lib.strokes.drawing import check_strokes, rasterize
from nseg_lib.widget.answers import Answers
from nseg_lib.widget.frontend import Frontend
from nseg_lib.widget.models import AnyRefiner
from nseg_lib.widget.pictures import cover_png, jpeg, read, still, thumbnail
from nseg_lib.widget.results import editable_outline, export
from nseg_lib.widget.session import FolderSession

OTHER_WINDOW = (
    "Another window has this folder open. Each reads what the other saved; an object that both "
    "change is kept twice."
)


def _plain(strokes: Any) -> Any:
    """Strokes with their points as lists, as JSON needs them; ValueError for a malformed stroke."""
    check_strokes(strokes)
    return [{**s, "points": np.asarray(s["points"], np.float64).tolist()} for s in strokes]


class StrokeCanvas(Frontend):
    """Brush over an object in the browser; the mask appears when the pen is released.

    >>> canvas = StrokeCanvas("cat.jpg", Refiner.load("weights.safetensors"))  # doctest: +SKIP
    >>> canvas  # draw, then go on in the next cell with  # doctest: +SKIP
    >>> canvas.mask, canvas.strokes  # doctest: +SKIP

    ``strokes`` is the drawing as :func:`nseg_lib.strokes.drawing.rasterize` takes it. Setting it
    shows the strokes in the browser and makes their mask. ``mask`` is bool H×W at the picture's
    full size: all False before a stroke is drawn, None without a picture. Both can be observed:
    ``canvas.observe(act, "mask")``. ``sure`` is :func:`nseg_lib.arrays.sureness` of the model's
    mask; None if the model gives no probabilities, or if the outline was put right by hand.

    Args:
        image: a path, a file's bytes or an array. None starts empty: the user drops, pastes or
            opens a picture in the canvas.
        refiner: any object with ``refine(image, stroke)``, such as
            :class:`nseg_lib.widget.Later`. Without one, the mask is the object strokes.
        session: steps through the pictures and objects of a folder; ``image`` is then left out.
        settings: ``brush``, ``radius`` (pixels of the picture), ``view``, ``opacity``.

    Raises:
        DataError: ``image`` is no picture, or a broken one.
    """

    strokes: traitlets.List[Any] = traitlets.List()
    mask = traitlets.Any()

    def __init__(
        self,
        image: str | Path | bytes | NDArray[Any] | None = None,
        refiner: AnyRefiner | None = None,
        *,
        session: FolderSession | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.image: Image | None = None
        self.name = "picture"
        self.refiner = refiner
        self.sure: float | None = None
        self.steps: Sequence[int] = ()  # how many strokes each mask on the way had
        self._folder: FolderSession | None = None
        self._busy = threading.RLock()  # messages may come in another thread than the cells
        self._parts: list[bytes] = []  # of a file that is being uploaded
        self._left: tuple[Any, str, list[Any], int] | None = None  # replaced by another picture
        self._answers = Answers()
        self._still_id = ""
        self._orientation = 1  # EXIF's, before the picture was turned upright
        self.on_msg(self._message)
        if session is not None:
            self.session = session
        elif image is not None:
            self.load(image)
            if "radius" in settings:
                self.radius = settings["radius"]

    # --- pictures in ---

    @property
    def session(self) -> FolderSession | None:
        """The folder that is worked through; another one shows its first undone picture."""
        return self._folder

    @session.setter
    def session(self, session: FolderSession | None) -> None:
        with self._busy:
            self._folder, self._session = session, {}
            if session is not None:
                self._open_session(note="" if session.alone else OTHER_WINDOW)

    def load(
        self,
        source: str | Path | bytes | NDArray[Any],
        name: str | None = None,
        strokes: Sequence[Any] = (),
    ) -> None:
        """Show another picture with some strokes on it.

        Args:
            source: as :func:`nseg_lib.widget.pictures.read` takes it.
            name: the picture's file name, if ``source`` is no path.
            strokes: as :func:`nseg_lib.strokes.drawing.rasterize` takes them.

        Raises:
            DataError: no picture, or a broken one. The canvas then keeps what it shows.
        """
        named = name or (Path(source).name if isinstance(source, str | Path) else "picture")
        image, orientation = read(source, named)
        with self._busy:
            self._left, self._session = None, {}
            self._show(image, named, _plain(list(strokes)), orientation=orientation)
            self._refine()

    def _show(
        self,
        image: Image | None,
        name: str,
        strokes: list[Any],
        others: NDArray[np.uint8] | None = None,
        orientation: int = 1,
        start: Mask | None = None,
        walls: Mask | None = None,
    ) -> None:
        """Show a picture (or none), strokes and other objects (uint8 H×W); ``start`` and ``walls``
        as of :meth:`Answers.open`."""
        self._send_picture(image, strokes, others, same=image is self.image)
        self.image, self.name, self._orientation = image, name, orientation
        if image is not None:
            self._answers.open(image, start, walls)
        self.strokes = strokes

    # --- strokes in, mask out ---

    @traitlets.validate("strokes")
    def _check(self, proposal: Any) -> Any:
        return _plain(proposal.value)

    @traitlets.observe("strokes")
    def _set_from_python(self, change: Any) -> None:
        if change.new != self._sent["strokes"]:  # else the browser sent it
            with self._busy:
                revision = self._sent["revision"] + 1
                self._sent = {**self._sent, "revision": revision, "strokes": change.new}
                self._drawing = self._sent
                self._refine()

    @traitlets.observe("_drawing")
    def _set_from_browser(self, change: Any) -> None:
        if change.new is not getattr(self, "_sent", None):  # unless the kernel sent it
            with self._busy:
                self._take(change.new)

    def _take(self, drawing: dict[str, Any]) -> None:
        """Refine the browser's drawing, unless it is of another picture or already known."""
        known = self._sent
        if drawing["picture"] != known["picture"]:
            self._drawing = known
            return
        if drawing["revision"] <= known["revision"]:
            return
        try:
            check_strokes(drawing["strokes"])
        except ValueError as error:  # more than can be painted
            self._sent = {**drawing, "strokes": self.strokes}
            self.sure = None
            self._publish(self._answers.without(self.strokes), time.perf_counter())
            self._say(f"Not taken: {error}. Undo it (Z): what was drawn before is kept.", "error")
            return
        self._sent = drawing
        self.strokes = drawing["strokes"]
        self._refine()

    def _refine(self) -> None:
        """Make the mask of the drawing, show it and keep it."""
        if self.image is None:
            self.mask = None
            return
        started = time.perf_counter()
        if self.strokes and not getattr(self.refiner, "ready", True):
            self._say("The model is being loaded; the mask will follow.")
        answer = self._answers.ask(self.refiner, self.strokes)
        self._say(answer.note, "error" if answer.failed else "info")
        self.sure, self.steps = answer.sure, answer.steps
        self._publish(answer.mask, started)
        if self.session is not None:
            try:
                self._record(self.session)
            except (ValueError, OSError) as error:
                self._say(f"Not saved: {error}", "error")
            self._session = self.session.state()

    def _record(self, session: FolderSession) -> None:
        """Write the mask to the session's file. After a failure :meth:`_move` tries once more."""
        if note := session.record(self.mask, self.strokes, self.sure, self.steps):
            self._say(note)

    def _publish(self, mask: Mask, started: float) -> None:
        """Show a mask: first in the browser, then to observers, then in the still picture."""
        self._send_mask(mask, time.perf_counter() - started, self.sure)
        self.mask = mask
        if self._still_id:
            display(self._still(), display_id=self._still_id, update=True)

    # --- results out ---

    def export(self, what: str = "mask") -> tuple[str, bytes]:
        """The name and bytes of a result's file; see :func:`nseg_lib.widget.results.export`.

        Args:
            what: ``mask``, ``cutout``, ``rle``, ``polygon`` or ``strokes``.

        Raises:
            DataError: no picture yet, an empty mask, or an unknown ``what``.
        """
        if self.image is None or self.mask is None:
            raise DataError("open a picture first: there is no result to save")
        about = self.name, self._orientation, self.sure, self.steps
        return export(what, self.image, self.mask, self.strokes, *about)

    def save(self, path: str | Path, what: str = "mask") -> Path:
        """Write a result of :meth:`export` to a file and return its path."""
        write_atomic(path, self.export(what)[1])
        return Path(path)

    def load_strokes(self, path: str | Path) -> None:
        """Draw the strokes of a file that :meth:`save` wrote for a picture of this size.

        Raises:
            OSError: the file cannot be read.
            DataError: another kind of file, or strokes of a picture of another size.
        """
        self._draw_file(Path(path).read_bytes(), str(path))

    def _draw_file(self, content: bytes, name: str) -> None:
        if self.image is None:
            raise DataError(f"{name}: open the picture first, then its strokes")
        height, width = self.image.shape[:2]
        strokes, steps = parse_strokes(content, height, width, name)
        strokes = _plain(strokes)
        for count in (0, *steps[:-1]):  # as it was drawn: each mask corrects the last one
            self._answers.ask(self.refiner, strokes[:count])
        self.strokes = strokes

    def _still(self) -> StillPicture:
        image, mask = self.image, self.mask
        if image is None or mask is None:
            image, mask = np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1), bool)
        drawn = rasterize(self.strokes, *mask.shape)
        return StillPicture(data=jpeg(still(image, drawn, mask), 85), format="jpeg")

    def _ipython_display_(self) -> None:
        """Show the canvas and, hidden below it, a still picture of it.

        The still appears once the kernel is gone: a saved notebook keeps it.
        """
        self._still_id = f"nseg-{self.model_id}"
        bundle, _ = self._repr_mimebundle_() or ({}, {})
        display({**bundle, "text/plain": "StrokeCanvas (run this cell to draw)"}, raw=True)
        display(self._still(), display_id=self._still_id)

    # --- the browser's requests, and the folder ---

    def _message(self, _: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Carry out a request of the browser; a failure becomes a message in the widget."""
        with self._busy:
            try:
                if "drawing" in content:  # strokes drawn before the button was pressed
                    self._take(content["drawing"])
                if content["type"] == "export":
                    name, data = self.export(content["what"])
                    mime = "application/json" if name.endswith(".json") else "image/png"
                    self._say(f"Saved as {name}")
                    self.send({"type": "file", "name": name, "mime": mime}, [data])
                elif content["type"] == "open":
                    self._receive(content, bytes(buffers[0]))
                elif content["type"] == "preview":
                    self._preview(content["strokes"])
                elif content["type"] == "unsure":
                    self._send_unsure(self._answers.unsure)
                elif content["type"] == "outline":
                    rings, revision = editable_outline(self.mask), self._sent["revision"]
                    self.send({"type": "outline", "revision": revision, "rings": rings})
                elif content["type"] == "back" and self._left is not None:
                    image, name, strokes, orientation = self._left
                    self._left, self._session = None, {}
                    self._show(image, name, strokes, orientation=orientation)
                    self._refine()
                elif content["type"] in ("list", "thumbnail") and self.session is not None:
                    self._list(self.session, content)
                elif self.session is not None:
                    self._move(self.session, content)
            except Exception as error:  # of any kind, since the browser waits for an answer
                self._say(str(error), "error")
                self.send({"type": "stay"})

    def _preview(self, strokes: list[Any]) -> None:
        """Show the mask of a stroke that is still being drawn, without keeping it."""
        check_strokes(strokes)
        mask = self._answers.ask(self.refiner, strokes, keep=False).mask
        self.send({"type": "preview"}, [cover_png(mask)] if mask.any() else [b""])

    def _receive(self, content: dict[str, Any], part: bytes) -> None:
        """Collect the parts of an uploaded file and open it when the last has come."""
        if content["part"] == 0:
            self._parts = []
        self._parts.append(part)
        if sum(map(len, self._parts)) > MAX_UPLOAD:
            self._parts = []
            raise DataError(f"{content['name']}: too large: at most {MAX_UPLOAD:,} bytes")
        if content["part"] + 1 < content["parts"]:
            return
        data, self._parts = b"".join(self._parts), []
        if content["name"].lower().endswith(".json"):
            self._draw_file(data, content["name"])
        elif self.session is not None:
            raise DataError("this canvas shows a folder: put the picture into that folder")
        else:
            left = self.image, self.name, self.strokes, self._orientation
            self.load(data, content["name"])
            if left[2]:  # something was drawn: undo leads back to it
                self._left, self._session = left, {"back": True}

    def _list(self, session: FolderSession, content: dict[str, Any]) -> None:
        """Send what the list of a folder's pictures shows."""
        if content["type"] == "list":
            return self.send({"type": "list", **session.listing()})
        number = int(content["index"])
        self.send({"type": "thumbnail", "index": number}, [thumbnail(session.pictures[number])])

    def _move(self, session: FolderSession, content: dict[str, Any]) -> None:
        """Go to another picture or object, or change the current object's category or delete it."""
        what, step = content["type"], content.get("step", 0)
        if not session.saved:  # leaving now would lose the mask; an error here stops the move
            self._record(session)
        session.file.refresh()
        if what == "category":
            session.set_category(content["name"])
            self._say(f"This label is kept for the objects to come: {session.category}")
            self._session = session.state()
            return
        if what == "go":
            found = session.go(step)
        elif what == "back":
            found = session.go_back()
        elif what == "delete":
            found = session.delete()
        elif what == "pick":  # by a click on it
            found = self.image is not None and session.pick(content["x"], content["y"], self.image)
        else:
            found = session.go_object(step) if step else session.new_object()
        if found:
            self._open_session(None if what in ("go", "back") else self.image)
            return
        if what == "go":
            self._say(f"No more pictures this way; all is saved in {session.out}")
        self.send({"type": "stay"})

    def _open_session(self, image: Image | None = None, note: str = "") -> None:
        """Show the session's current picture and object, or a message if the picture is broken.

        The mask is the one in the session's file; only a new stroke makes a new mask. ``image`` is
        the picture, if it is shown already; ``note`` takes the place of what the session says.
        """
        session, started = self.session, time.perf_counter()
        assert session is not None
        self._session = session.state()
        try:
            found = session.open(image)
        except DataError as error:
            self._show(None, session.path.name, [])
            self.mask = None
            self._say(str(error), "error")
            return
        shown = found.image, session.path.name, found.strokes, found.others
        self._show(*shown, start=found.start, walls=found.walls)
        self.sure, self.steps = found.sure, found.steps
        self._publish(found.mask, started)
        self._answers.keep(found.strokes, self.refiner, found.mask, found.sure, found.steps)
        self._say(note or found.note)
