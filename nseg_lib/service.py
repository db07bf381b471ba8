"""``nseg serve``: masks for other programs over HTTP, on this machine alone.

A picture is sent once, prompts as often as needed. ``docs/serve.md`` describes the requests;
``GET /v1/schema`` gives that of a prompt as JSON Schema.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from math import ceil, floor
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field, ValidationError
from tornado.web import Application, HTTPError, stream_request_body

from nseg_lib import __version__, limits
from nseg_lib.arrays import Image, Mask
from nseg_lib.asked import click_radius, tell_one_colour
from nseg_lib.config import Strict, first_mistake
from nseg_lib.data.coco import DataError, mask_to_rle, outlines, rle_to_mask
from nseg_lib.data.outputs import png
from nseg_lib.parsing import no_key_twice
from nseg_lib.prompt import Extent
from nseg_lib.strokes.drawing import box_of, check_strokes, rasterize
from nseg_lib.widget.answers import mask_of
from nseg_lib.widget.models import AnyRefiner
from nseg_lib.widget.pictures import read
from nseg_lib.widget.server import Door

MAX_PICTURES = 16
"""Pictures that are kept; with one more, the one that was asked about longest ago is forgotten."""

MAX_PIXELS = 4 * limits.MAX_RECORD_PIXELS
"""Of all pictures that are kept; each pixel takes three bytes."""

MAX_WAITING = 16
"""Requests that wait for the network; one more is answered with status 503."""

Point = Annotated[tuple[float, float], Field(strict=False)]
"""JSON has no tuples: a list is taken for one, but no text for a number."""


class Ask(Strict):
    """What is meant on a picture, in pixels from its upper left corner; at least one of the first
    four must say it."""

    model_config = ConfigDict(title="nseg prompt")

    clicks: list[Point] = Field([], max_length=1000, description="Points on the object.")
    strokes: list[dict[str, Any]] = Field(
        [],
        description="As the canvas saves them: {kind: object, background, erase, box or outline; "
        "points: [[x, y, radius], …]}.",
    )
    box: tuple[float, float, float, float] | None = Field(
        None, strict=False, description="left, top, right, bottom: the object is only in here."
    )
    extent: Extent = Field(
        "object",
        description="part or whole: less or more than would usually be taken; without a mask.",
    )
    mask: dict[str, Any] | None = Field(
        None, description="A mask to correct, as COCO's RLE: {size: [height, width], counts}."
    )
    background: list[Point] = Field([], max_length=1000, description="Points beside the object.")
    answer: Literal["rle", "polygons", "png"] = Field(
        "rle", description="COCO's RLE, COCO's polygons, or a PNG as base64."
    )

    def drawing(self, height: int, width: int) -> list[dict[str, Any]]:
        """All of it as strokes; ValueError for a malformed one, or where all is beside the
        picture."""
        check_strokes(self.strokes)
        radius = click_radius(height, width)
        for name, points in (("clicks", self.clicks), ("background", self.background)):
            for x, y in points:
                if not (0 <= x < width and 0 <= y < height):
                    raise DataError(
                        f"{name}: {[x, y]} is not in the picture, {width}x{height} pixels"
                    )
        if self.box is not None:
            left, top = max(self.box[0], 0), max(self.box[1], 0)
            right, bottom = min(self.box[2], width), min(self.box[3], height)
            if not (left < right and top < bottom):
                raise DataError(
                    f"box: {list(self.box)}: left, top, right, bottom must hold a part of the "
                    f"picture, {width}x{height} pixels, left before right and top above bottom"
                )
        strokes = list(self.strokes)
        for kind, points in (("object", self.clicks), ("background", self.background)):
            strokes += [{"kind": kind, "points": [[x, y, radius]]} for x, y in points]
        if self.box is not None:  # grown to whole pixels
            corners = [[floor(left), floor(top), 1], [ceil(right), ceil(bottom), 1]]
            strokes.append({"kind": "box", "points": corners})
        if not strokes:
            raise DataError("say what is meant: clicks, strokes or a box")
        if self.extent != "object":
            strokes[-1] = {**strokes[-1], "extent": self.extent}
        drawn = rasterize(strokes, height, width)
        if not (drawn.object | drawn.background).any() and not box_of(strokes, height, width):
            raise DataError(f"strokes: cover no pixel of the picture, {width}x{height} pixels")
        return strokes


class Desk:
    """The pictures that were sent, and one network that answers one after the other."""

    def __init__(self, refiner: AnyRefiner, name: str) -> None:
        self.refiner, self.name = refiner, name
        self.pictures: dict[str, Image] = {}
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="nseg-serve")
        self.waiting = 0

    async def do(self, work: Callable[[], Any]) -> Any:
        """Run work in the network's thread; HTTPError 503 while too much waits for it."""
        if self.waiting >= MAX_WAITING:
            raise HTTPError(503, reason=f"{MAX_WAITING} requests wait already; ask again later")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        except asyncio.CancelledError:
            raise HTTPError(503, reason="the service was ended") from None
        finally:
            self.waiting -= 1

    async def keep(self, body: bytes) -> dict[str, Any]:
        """Read a picture and keep it; the same one has the same name."""
        unusual: list[str] = []

        def work() -> Image:
            image, _ = read(body, "picture", unusual.append)
            tell_one_colour(Path("picture"), image, unusual.append)
            return image

        image = await self.do(work)
        # Pictures come and go in the server's thread alone; what waits for the network has its own.
        key = hashlib.sha256(body).hexdigest()[:24]
        self.pictures.pop(key, None)
        self.pictures[key] = image
        while len(self.pictures) > 1 and (
            len(self.pictures) > MAX_PICTURES
            or sum(each.shape[0] * each.shape[1] for each in self.pictures.values()) > MAX_PIXELS
        ):
            del self.pictures[next(iter(self.pictures))]
        height, width = image.shape[:2]
        return {"picture": key, "width": width, "height": height, "note": "; ".join(unusual)}

    def picture(self, key: str) -> Image:
        """A picture that is kept, from now on the one asked about last; HTTPError 404 for none."""
        if key not in self.pictures:
            raise HTTPError(404, reason="no such picture, or no longer: send it again")
        self.pictures[key] = self.pictures.pop(key)
        return self.pictures[key]

    def answer(self, image: Image, ask: Ask) -> dict[str, Any]:
        """The mask of a prompt, as JSON has it."""
        started = time.perf_counter()
        height, width = image.shape[:2]
        before = None
        if ask.mask is not None:
            try:
                before = rle_to_mask(ask.mask)
            except DataError as error:
                raise DataError(f"mask: {error}") from None
            if before.shape != (height, width):
                raise DataError(f"mask: size {list(before.shape)}, not {[height, width]}")
        strokes = ask.drawing(height, width)
        mask, note, _ = mask_of(self.refiner, image, strokes, before)
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        return {
            "mask": _written(mask, ask.answer), "area": int(mask.sum()), "bbox": [x, y, w, h],
            "note": note, "seconds": round(time.perf_counter() - started, 3),
        }  # fmt: skip


def _written(mask: Mask, form: str) -> Any:
    """A mask in the form that was asked for."""
    if form == "rle":
        return mask_to_rle(mask)
    if form == "polygons":
        return outlines(mask) if mask.any() else []
    return base64.b64encode(png(mask)).decode()


class Handler(Door):
    """What all paths share: JSON comes out, and a mistake is one line under ``error``."""

    needed = "the token is missing or wrong; send it as the header Authorization: Bearer TOKEN"

    def initialize(self, token: str, desk: Desk) -> None:  # type: ignore[override]
        super().initialize(token, {})
        self.desk = desk

    async def tell(self, work: Awaitable[dict[str, Any]]) -> None:
        """Send what the work gives; 400 and its reason where it fails."""
        try:
            self.finish(await work)
        except (ValueError, TypeError) as error:
            self.set_status(400)
            self.finish({"error": str(error).splitlines()[0]})

    def write_error(self, status_code: int, **_: Any) -> None:
        # Tornado ends a connection whose request was not read to its end, and does not say so.
        self.set_header("Connection", "close")
        self.finish({"error": self._reason})


class About(Handler):
    """What answers, and what it allows; and the schema of a prompt."""

    def get(self, what: str | None) -> None:
        if what:
            self.finish(Ask.model_json_schema())
            return
        allowed = {
            "bytes": limits.MAX_SERVED, "pixels": limits.MAX_PICTURE_PIXELS,
            "pictures": MAX_PICTURES, "waiting": MAX_WAITING,
        }  # fmt: skip
        self.finish({"nseg": __version__, "model": self.desk.name, "limits": allowed})


@stream_request_body
class Receiver(Handler):
    """Takes in what is sent, and keeps no more of it than is allowed.

    Otherwise Tornado would reset the connection, and nobody would be told why.
    """

    def prepare(self) -> None:
        super().prepare()
        self.request.connection.set_max_body_size(2**62)  # type: ignore[union-attr]
        self.body, self.length = bytearray(), 0

    def data_received(self, chunk: bytes) -> None:
        self.length += len(chunk)
        if self.length <= limits.MAX_SERVED:
            self.body += chunk
        else:
            self.body.clear()

    def received(self) -> bytes:
        """The request's body; HTTPError 413 if it was too long."""
        if self.length > limits.MAX_SERVED:
            allowed = f"{limits.MAX_SERVED:,}"
            raise HTTPError(413, reason=f"{self.length:,} bytes are too many, at most {allowed}")
        return bytes(self.body)


class Pictures(Receiver):
    """A picture's file comes in, its name goes out."""

    async def post(self) -> None:
        body = self.received()
        kind = self.request.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            raise HTTPError(400, reason="the body must be the picture's file itself, and no form")
        await self.tell(self.desk.keep(body))


class Picture(Receiver):
    """A prompt on a picture comes in, its mask goes out."""

    async def post(self, key: str) -> None:
        image, body = self.desk.picture(key), self.received()
        try:
            ask = Ask.model_validate_json(body)
            json.loads(body, object_pairs_hook=no_key_twice)  # of such a key, pydantic keeps one
        except ValueError as error:
            wrong = first_mistake(error) if isinstance(error, ValidationError) else str(error)
            self.set_status(400)
            self.finish({"error": wrong})
            return
        await self.tell(self.desk.do(lambda: self.desk.answer(image, ask)))

    def delete(self, key: str) -> None:
        self.desk.picture(key)
        del self.desk.pictures[key]
        self.finish({})


class Nowhere(Handler):
    """Any other path."""

    def prepare(self) -> None:
        super().prepare()
        there = "/v1, /v1/schema, /v1/pictures and /v1/pictures/NAME"
        raise HTTPError(404, reason=f"no such path; there are {there}")


def application(refiner: AnyRefiner, name: str, token: str) -> Application:
    """What answers the requests.

    Args:
        refiner: makes the masks.
        name: the network's, which the service tells.
        token: what a request must know.
    """
    settings = {"token": token, "desk": Desk(refiner, name)}
    paths: list[Any] = [
        (r"/v1(/schema)?", About, settings),
        (r"/v1/pictures", Pictures, settings),
        (r"/v1/pictures/([0-9a-f]{24})", Picture, settings),
    ]
    return Application(
        paths, default_handler_class=Nowhere, default_handler_args=settings,
        log_function=lambda _: None,
    )  # fmt: skip
