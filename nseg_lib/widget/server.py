"""The server of ``nseg draw``: one page with the canvas, for this machine alone.

The canvas is the widget that a notebook shows. Here no kernel stands behind it: the page sends the
widget's messages as requests, and an answer streams back what the widget sends meanwhile. No
connection is held open between strokes, so none can be closed in silence; a request that failed is
sent once more, and is carried out only once.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import comm
from comm.base_comm import BaseComm
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from nseg_lib.widget.canvas import StrokeCanvas

HERE = Path(__file__).parent

FILES = {
    "": ("page.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "canvas.js": ("canvas.js", "text/javascript"),
    "model.js": ("model.js", "text/javascript"),
    "canvas.css": ("canvas.css", "text/css"),
}
"""Path → the file that is sent, and its type."""

MAX_BODY = 32 * 2**20
"""Bytes of a request's body: a drawing of as many points as are allowed, or a part of a file."""

MAX_ADDRESS = 4096
"""Characters of a request's path and query."""

MAX_WINDOWS = 8
"""Pages that are kept; with one more, the one that was quiet for longest is closed."""

POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"
"""What the page may load, by which the browser keeps it from every other host."""


class Messages(BaseComm):
    """Where a widget's messages go when no kernel carries them: to whoever listens."""

    listener: Callable[[bytes], None] | None = None

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        """Called by the widget, in whatever thread it works."""
        if self.listener is not None:
            self.listener(packed(data or {}, buffers or ()))


def packed(content: dict[str, Any], buffers: Sequence[Any] = ()) -> bytes:
    """A message as bytes: the length of its header (4 bytes, little-endian), header and buffers.

    The header is JSON: the content, and under ``sizes`` how many bytes each buffer has.
    """
    parts = [bytes(buffer) for buffer in buffers]
    header = json.dumps({**content, "sizes": [len(part) for part in parts]}).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def unpacked(body: bytes) -> list[tuple[dict[str, Any], list[bytes]]]:
    """All messages of a request: each its content and its buffers; ValueError for other bytes."""
    messages, at = [], 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at : at + 4], "little")
        content = json.loads(body[at + 4 : end])
        if not isinstance(content, dict):
            raise ValueError("a message is an object")
        buffers = []
        for size in content.pop("sizes", []):
            buffers.append(body[end : end + size])
            end += size
        if end > len(body):
            raise ValueError("a message is cut off")
        messages.append((content, buffers))
        at = end
    return messages


class Window:
    """One open page and the canvas behind it; whatever it is sent is done in order."""

    def __init__(self, make: Callable[[], StrokeCanvas]) -> None:
        self.make = make
        self.canvas: StrokeCanvas | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="nseg-canvas")
        self.number = -1  # of the last request that was carried out
        self.sent: list[bytes] = []  # the answer to it

    def carry_out(self, number: int, body: bytes, send: Callable[[bytes], None]) -> None:
        """Give a request's messages to the canvas; what it sends meanwhile goes to ``send``.

        A request that comes again is not carried out again: it gets the same answer.
        """
        if number == self.number:
            for part in self.sent:
                send(part)
            return
        self.number, self.sent = number, []

        def pass_on(part: bytes) -> None:
            self.sent.append(part)
            send(part)

        try:
            messages = unpacked(body)
            if self.canvas is None:
                self.canvas = self.make()
                self.canvas.comm.listener = pass_on
                self.canvas.send_state()
            self.canvas.comm.listener = pass_on
            for content, buffers in messages:
                self.canvas.comm.handle_msg({"content": {"data": content}, "buffers": buffers})
        except (ValueError, TypeError, OSError) as error:
            pass_on(packed({"method": "failed", "text": str(error)}))

    def close(self) -> None:
        """Forget the canvas, once it has done what it was told."""
        self.thread.submit(self._close)
        self.thread.shutdown(wait=False)

    def _close(self) -> None:
        if self.canvas is not None:
            self.canvas.comm.listener = None
            if self.canvas.session is not None:
                self.canvas.session.close()
            self.canvas.close()
            self.canvas = None


class Door(RequestHandler):
    """What every request passes first: it needs the token, and comes from this page or from none.

    The token stands in the query, in ``Authorization: token …``, or in the cookie that the first
    visit left.
    """

    needed = "the token is missing: open the address that nseg printed"
    """What is said to whom does not know the token."""

    def initialize(self, token: str, windows: dict[str, Window], make: Any = None) -> None:
        self.token, self.windows, self.make = token, windows, make

    @property
    def cookie(self) -> str:
        """The cookie's name: cookies are shared by all ports of a host."""
        return f"nseg-{self.request.host.rpartition(':')[2]}"

    def prepare(self) -> None:
        request = self.request
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("token", "bearer"):
            given = self.get_query_argument("token", "") or self.get_cookie(self.cookie, "") or ""
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HTTPError(403, reason=self.needed)
        origin = request.headers.get("Origin")
        try:
            own = origin is None or urlsplit(origin).netloc == request.host
        except ValueError:  # it is no address
            own = False
        if not own:
            raise HTTPError(403, reason="asked from another origin")
        path = unquote(request.path)
        odd = any(ord(c) < 32 for c in path) or ".." in path.replace("\\", "/").split("/")
        if odd or len(request.uri or "") > MAX_ADDRESS:
            raise HTTPError(404)

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")  # the address may hold the token
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Every error is one line."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(f"{status_code}: {self._reason}\n")


class Page(Door):
    """The page and its parts."""

    def get(self, path: str) -> None:
        if path not in FILES:
            raise HTTPError(404)
        name, kind = FILES[path]
        if name == "page.html":
            self.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
        self.set_header("Content-Type", f"{kind}; charset=UTF-8")
        self.finish((HERE / name).read_bytes())


class Canvas(Door):
    """The messages of one page. Its first request, number 0, makes a canvas."""

    async def post(self, key: str) -> None:
        number = self.get_query_argument("number")
        if not number.isdecimal() or len(number) > 12:
            raise HTTPError(400)
        if key not in self.windows:
            if int(number):
                raise HTTPError(410, reason="this page was closed; load it again")
            self.windows[key] = Window(self.make)
            for quiet in [*self.windows][:-MAX_WINDOWS]:
                self.windows.pop(quiet).close()
        window = self.windows[key] = self.windows.pop(key)  # the last one that was heard
        loop, answer = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()

        def send(part: bytes | None) -> None:
            loop.call_soon_threadsafe(answer.put_nowait, part)

        def work() -> None:
            try:
                window.carry_out(int(number), self.request.body, send)
            finally:
                send(None)

        window.thread.submit(work)
        self.set_header("Content-Type", "application/octet-stream")
        while (part := await answer.get()) is not None:
            try:
                self.write(part)
                await self.flush()
            except StreamClosedError:  # the page will ask again, or is gone
                return

    def delete(self, key: str) -> None:
        """The page is left."""
        if key in self.windows:
            self.windows.pop(key).close()


class Elsewhere(Door):
    """Any other path."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404)


def application(make: Callable[[], StrokeCanvas], token: str) -> Application:
    """What answers the page's requests.

    Args:
        make: gives a window its canvas; called in a thread of the window's own.
        token: what a request must know.
    """
    comm.create_comm = Messages  # by which widgets send where no kernel is
    settings = {"token": token, "windows": {}}
    return Application(
        [
            (r"/(|page\.js|canvas\.js|model\.js|canvas\.css)", Page, settings),
            (r"/canvas/([A-Za-z0-9-]{1,64})", Canvas, {**settings, "make": make}),
        ],
        default_handler_class=Elsewhere,
        default_handler_args=settings,
        log_function=lambda _: None,
    )


def serve(
    answers: Application,
    port: int,
    ready: Callable[[int], None],
    *,
    host: str = "127.0.0.1",
    max_body: int = MAX_BODY,
) -> int:
    """Serve until a signal ends it; the exit status.

    Args:
        answers: to the requests.
        host, port: where to listen; port 0 takes a free one.
        ready: called with the port, once requests are answered.
        max_body: bytes of a request's body, at most.

    Raises:
        OSError: the port is taken.
    """

    async def run() -> int:
        try:
            (listening,) = bind_sockets(port, host)
        except OSError as error:
            raise OSError(f"port {port}: {error.strerror}; --port 0 takes a free one") from None
        server = HTTPServer(answers, max_body_size=max_body, max_buffer_size=2 * max_body)
        server.add_sockets([listening])
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()

        def end(status: int) -> None:
            if not ended.done():
                ended.set_result(status)

        # By default SIGTERM and the terminal's end (SIGHUP) end a process at once.
        for name, status in (("SIGINT", 0), ("SIGTERM", 143), ("SIGHUP", 129)):
            if hasattr(signal, name):  # Windows has no SIGHUP, and takes no handlers
                with suppress(NotImplementedError):
                    loop.add_signal_handler(getattr(signal, name), end, status)
        ready(listening.getsockname()[1])
        status = await ended
        server.stop()
        return status

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:  # Windows
        return 0
