"""The server of the apps: Voilà, with one check of every request before any handler sees it.

Voilà asks for the token in some of its handlers, and gives pictures beside the notebook, its own
files and the answers to malformed paths to anybody on this machine. Here every request is asked for
the token first, then for where it comes from and for its path. Started by
:func:`nseg_lib.widget.app.serve` as ``python -m nseg_lib.widget.server``.
"""

from __future__ import annotations

import hmac
import logging
import os
import posixpath
import signal
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError, RequestHandler
from voila.app import Voila
from voila.static_file_handler import TemplateStaticFileHandler

MAX_BODY = 2**20
"""Bytes of a request's body. The apps send none; what is drawn comes through the web socket."""

MAX_ADDRESS = 4096
"""Characters of a request's path and query."""


def check(handler: RequestHandler) -> None:
    """Raise HTTPError unless a request may come in: 403, or 404 for a path that leads nowhere.

    It needs the token, in the query, as ``Authorization: token …`` or as the cookie that the first
    visit with the token left, and no page of another origin may have sent it.
    """
    request, provider = handler.request, handler.settings["identity_provider"]
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in ("token", "bearer"):
        given = handler.get_query_argument("token", "")
    known = hmac.compare_digest(given.encode(), provider.token.encode())
    if not known and not handler.get_signed_cookie(provider.get_cookie_name(handler)):
        raise HTTPError(403, reason="the token is missing: open the address that nseg printed")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise HTTPError(403, reason="asked from another origin")
    path = unquote(request.path)
    odd = any(ord(c) < 32 for c in path) or ".." in path.replace("\\", "/").split("/")
    if odd or len(request.uri or "") > MAX_ADDRESS:
        raise HTTPError(404)


def guarded(handler: type[Any]) -> type[Any]:
    """A handler that lets in only what :func:`check` does, and tells every error in one line."""

    class Guarded(handler):
        def prepare(self) -> Any:
            check(self)
            return super().prepare()

        def write_error(self, status_code: int, **_: Any) -> None:
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(f"{status_code}: {self._reason}\n")

    return Guarded


class Templates(TemplateStaticFileHandler):
    """Voilà's, whose own answer to a path of another form is 500."""

    def parse_url_path(self, path: str) -> str:
        parts = posixpath.normpath(path).split("/")
        if len(parts) < 3 or parts[1] != "static":
            raise HTTPError(404)
        found: str = super().parse_url_path("/".join(parts))
        return found


class Server(Voila):
    """Voilà, every handler behind the door; it ends with the process that started it."""

    def init_handlers(self) -> list[Any]:
        """Voilà's handlers, guarded; without a page to log in, since there is no password."""
        handlers = []
        for pattern, handler, *settings in super().init_handlers():
            if pattern not in ("/login", "/logout"):
                own = Templates if handler is TemplateStaticFileHandler else handler
                handlers.append((pattern, guarded(own), *settings))
        return handlers

    def listen(self) -> None:
        """Serve until a signal comes or the parent is gone, and leave no kernel and no file."""
        if hasattr(signal, "SIGHUP"):  # Windows has none
            signal.signal(signal.SIGHUP, self._handle_signal_stop)
        parent = os.getppid()

        def look() -> None:
            if os.getppid() != parent:  # it was killed, and could end nothing
                self.ioloop.stop()

        PeriodicCallback(look, 1000).start()
        logging.getLogger("tornado.access").setLevel(logging.ERROR)
        self.app.listen = partial(self.app.listen, max_body_size=MAX_BODY)
        super().listen()


if __name__ == "__main__":
    Server.launch_instance()
