"""``nseg draw``: the canvas as an app in the browser, on one picture or through a folder."""

from __future__ import annotations

import secrets
import webbrowser
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from nseg_lib.console import say
from nseg_lib.data.coco import DataError
from nseg_lib.data.images import FORMATS, heif_hint, read_image
from nseg_lib.files import check_writable
from nseg_lib.widget import server
from nseg_lib.widget.annotations import take_up
from nseg_lib.widget.canvas import StrokeCanvas
from nseg_lib.widget.models import Later
from nseg_lib.widget.session import FolderSession

HOST = "127.0.0.1"


def draw(
    path: Path | None = None,
    checkpoint: Path | None = None,
    *,
    out: Path | None = None,
    category: Sequence[str] | None = None,
    take: Path | None = None,
    model: bool = True,
    port: int = 0,
    browser: bool = True,
) -> int:
    """Show the canvas in the browser until a signal ends it; return the exit status.

    The page can be reached from this machine only, with the token in the address that is printed.

    Args:
        path: a picture; or a folder of pictures, whose objects are drawn one by one into one COCO
            file; or None for an empty canvas, which takes a picture that is dropped on it.
        checkpoint: a file of the network that refines, or the name of a shipped one; by default
            that of :meth:`nseg_lib.refine.Refiner.from_pretrained`.
        out: a folder's COCO file; by default ``annotations.json`` in the folder.
        category: labels of a folder's objects; the canvas has a field for others.
        take: what another tool has drawn of a folder's pictures, as
            :func:`nseg_lib.data.formats.read` reads it; added to pictures without objects.
        model: False leaves out the network; then the mask is what the user brushes.
        port: 0 takes a free one.
        browser: open the page in the default browser.

    Raises:
        ValueError: a wrong picture, folder, annotation file or checkpoint; before the page opens.
        OSError: the annotation file cannot be written, or the port is taken.
    """
    folder = path is not None and path.is_dir()
    options = {"--out": out, "--category": category, "--take": take}
    if not folder and any(options.values()):
        wrong = next(name for name, value in options.items() if value)
        raise DataError(f"{wrong} is for a folder of pictures, not for {path or 'an empty canvas'}")
    if checkpoint is not None and model:
        from nseg_lib.networks.weights import checkpoint_file
        from nseg_lib.refine import Refiner

        checkpoint = checkpoint_file(checkpoint)
        Refiner.load(checkpoint)
    if path is not None and folder:
        _say_folder(path, out, category, take)
    elif path is not None:
        read_image(path)

    @cache
    def refiner() -> Later:  # one for all windows
        return Later(lambda: _load(checkpoint))

    def make() -> StrokeCanvas:
        """A window's canvas. The network is loaded once the first picture is on its way."""
        session = FolderSession(path, out, category) if path is not None and folder else None
        canvas = StrokeCanvas(None if session else path, session=session)
        canvas.refiner = refiner() if model else None
        return canvas

    token = secrets.token_urlsafe(24)

    def ready(found: int) -> None:
        address = f"http://{HOST}:{found}/?token={token}"
        say(f"draw at {address} (stop with Ctrl+C)")
        if browser:
            webbrowser.open(address)

    return server.serve(server.application(make, token), port, ready)


def _load(checkpoint: Path | None) -> object:
    import numpy as np

    from nseg_lib.refine import Refiner  # torch: a second or more

    refiner = Refiner.load(checkpoint) if checkpoint else Refiner.from_pretrained()
    refiner.refine(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool))  # the first is slow
    return refiner


def _say_folder(
    folder: Path, out: Path | None, category: Sequence[str] | None, take: Path | None
) -> None:
    """Say what the folder has, check that masks can be written, take up those of another tool."""
    session = FolderSession(folder, out, category)
    state, left_out = session.state(), session.left_out
    say(f"{state['total']} pictures, {state['done']} done; masks go to {session.out}")
    if left_out:
        more = ", …" if len(left_out) > 5 else ""
        say(
            f"left out, since {', '.join(FORMATS)} are what is read: "
            f"{len(left_out)} file{'s' * (len(left_out) > 1)} "
            f"({', '.join(left_out[:5])}{more}){heif_hint(left_out)}"
        )
    try:
        check_writable(session.out)
    except OSError as error:
        raise OSError(f"{error}; --out takes another place") from None
    if take is not None:
        objects, pictures = take_up(session.file, take, session.pictures)
        say(f"{take}: {objects} objects taken up, on {pictures} pictures that had none")
