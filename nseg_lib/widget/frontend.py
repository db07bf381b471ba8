"""The messages between the browser and the kernel.

After each stroke the browser sends the whole drawing, with a rising revision number, in
``_drawing``. The kernel answers with the mask of that revision in ``_answer``. All other
synchronised traits are settings, or things to show. ``canvas.js`` is the browser's side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.widget.pictures import cover_png, jpeg, resize, shown_size

HERE = Path(__file__).parent


class Frontend(anywidget.AnyWidget):
    """The traits that browser and kernel share, and how pictures and masks are sent."""

    _esm = HERE / "canvas.js"
    _css = HERE / "canvas.css"

    # Not echoed: while a user draws, the browser has the newest drawing.
    _drawing: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True, echo_update=False)
    # The picture, or the one object of it, that is being drawn; each has its own key.
    _picture: traitlets.Dict[str, Any] = traitlets.Dict(
        {"key": 0, "width": 0, "height": 0, "others": b""}
    ).tag(sync=True)
    _jpeg = traitlets.Bytes(b"").tag(sync=True)
    _answer: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    _note: traitlets.Dict[str, str] = traitlets.Dict({"text": "", "level": "info"}).tag(sync=True)
    _session: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    brush = traitlets.Enum(
        ["object", "background", "erase", "box", "extreme", "outline"], "object"
    ).tag(sync=True)
    view = traitlets.Enum(["stroke", "mask", "both", "cut-out"], "both").tag(sync=True)
    radius = traitlets.Float(12.0, min=0.5).tag(sync=True)
    opacity = traitlets.Float(0.6, min=0, max=1).tag(sync=True)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # The newest drawing, as the browser sent it or as it was sent to the browser.
        self._sent: dict[str, Any] = {"picture": 0, "revision": 0, "strokes": []}
        self._drawing = self._sent

    def _send_picture(
        self,
        image: Image | None,
        strokes: list[Any],
        others: NDArray[np.uint8] | None,
        same: bool,
    ) -> None:
        """Send a picture (or none), strokes and other objects in one message.

        Args:
            others: uint8 H×W, the picture's other objects by the number of their label.
            same: the picture is shown already; its pixels are not sent again, and radius and zoom
                stay.
        """
        # A new key, by which a late message about the previous picture is recognised.
        key = self._picture["key"] + 1
        height, width = image.shape[:2] if image is not None else (0, 0)
        cover = cover_png(others) if others is not None else b""
        shown = self._jpeg if same else b""
        if image is not None and not shown:
            shown = jpeg(resize(image, *shown_size(height, width)))
        with self.hold_sync():
            self._picture = {"key": key, "width": width, "height": height, "others": cover}
            self._sent = self._drawing = {"picture": key, "revision": 1, "strokes": strokes}
            self._answer = {}
            if image is not None and not same:
                # A thin line, 6 pixels wide on a picture of 640: room for narrow objects.
                self.radius = round(max(1.0, max(height, width) * 3 / 640), 2)
            self._jpeg = shown
            self._say("")

    def _send_mask(self, mask: Mask, seconds: float, sure: float | None) -> None:
        """Answer the newest drawing; ``sure`` as :func:`nseg_lib.arrays.sureness`, or None."""
        self._answer = {
            "picture": self._sent["picture"],
            "revision": self._sent["revision"],
            "png": cover_png(mask) if mask.any() else b"",
            "share": float(mask.mean()),
            "seconds": seconds,
            "sure": sure,
        }

    def _send_unsure(self, where: Mask | None) -> None:
        """Send where the network is not sure of the newest mask; None where that is not known."""
        png = cover_png(where) if where is not None and where.any() else b""
        about = {"revision": self._sent["revision"], "known": where is not None}
        self.send({"type": "unsure", **about}, [png])

    def _say(self, text: str, level: str = "info") -> None:
        self._note = {"text": text, "level": level}
