"""A notebook as an app in the browser: served by Voilà to this machine only, with no code shown."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from nseg_lib.console import say
from nseg_lib.data.images import FORMATS
from nseg_lib.widget.session import FolderSession

HOST = "127.0.0.1"

ANNOTATE = """\
from nseg_lib.widget import FolderSession, Later, StrokeCanvas


def load():  # in the background: importing torch takes seconds, and drawing can start before
    from nseg_lib import Refiner

    checkpoint = {checkpoint!r}
    return Refiner.load(checkpoint) if checkpoint else Refiner.from_pretrained()


refiner = Later(load) if {model!r} else None
StrokeCanvas(refiner=refiner, session=FolderSession({folder!r}, {out!r}, {category!r}))
"""


def serve(notebook: Path, *, port: int = 0, browser: bool = True, gradual: bool = False) -> int:
    """Serve a notebook's outputs as a page until interrupted; return Voilà's exit status.

    The page can be reached from this machine only, with the token in the address that is printed.

    Args:
        notebook: it runs in its own folder, once for every visitor.
        port: 0 chooses a free one.
        browser: open the page in the default browser.
        gradual: show each cell as soon as it has run, for a slow notebook.

    Raises:
        OSError: no such notebook, or the port is taken.
    """
    if not notebook.is_file():
        raise FileNotFoundError(f"{notebook}: no such notebook")
    # Find a free port, or check that the wanted one is free: on a taken one Voilà would end in a
    # traceback.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        port = probe.getsockname()[1]
    token = secrets.token_urlsafe(24)
    command = [sys.executable, "-m", "nseg_lib.widget.server", str(notebook), "--no-browser"]
    command += ["--Voila.auto_token=True", f"--Voila.ip={HOST}", f"--port={port}"]
    command += ["--Voila.port_retries=0", "--Voila.log_level=ERROR"]
    command += [f"--progressive_rendering={gradual}"]
    # The token is passed in the environment, since other users can read a command line.
    env = {**os.environ, "JUPYTER_TOKEN": token, "JUPYTER_PREFER_ENV_PATH": "1"}
    with _ended_by_signals():
        server = subprocess.Popen(command, env=env)
        try:
            _wait_for(port, server)
            address = f"http://{HOST}:{port}/?token={token}"
            say(f"draw at {address} (stop with Ctrl+C)")
            if browser:
                webbrowser.open(address)
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and the terminal's end (SIGHUP) end the block as an exception would.

    By default they end the process at once, and its server and temporary files stay.
    """

    def leave(number: int, _: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # the end itself is not to be disturbed
        raise SystemExit(128 + number)

    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens, two minutes at most."""
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise OSError("Voilà did not start; its messages are above")


def annotate(
    folder: Path,
    checkpoint: Path | None = None,
    *,
    out: Path | None = None,
    category: str | None = None,
    model: bool = True,
    port: int = 0,
    browser: bool = True,
) -> int:
    """Open the app in which a user draws the objects of a folder's pictures into one COCO file.

    Args:
        folder: the folder of pictures.
        checkpoint: a file of the network that refines, or the name of a shipped one; by default
            that of :meth:`nseg_lib.refine.Refiner.from_pretrained`.
        out: the COCO file; by default ``annotations.json`` in the folder.
        category: the first category of the objects; the canvas has a field to change it.
        model: False leaves out the network; then the mask is what the user brushes.
        port, browser: as for :func:`serve`.

    Raises:
        ValueError: a wrong folder, annotation file or checkpoint; raised before the app starts.
        PermissionError: the annotation file cannot be written.
    """
    session = FolderSession(folder, out, category)
    if checkpoint is not None and model:
        from nseg_lib.networks.weights import checkpoint_file
        from nseg_lib.refine import Refiner

        checkpoint = checkpoint_file(checkpoint).resolve()
        Refiner.load(checkpoint)
    state, left_out = session.state(), session.left_out
    say(f"{state['total']} pictures, {state['done']} done; masks go to {session.out}")
    if left_out:
        more = ", …" if len(left_out) > 5 else ""
        say(
            f"left out, for no picture that is read ({', '.join(FORMATS)}): "
            f"{len(left_out)} files ({', '.join(left_out[:5])}{more})"
        )
    # The folder that the file is written into, or what there is of the way to it.
    place = next(parent for parent in session.out.absolute().parents if parent.exists())
    if not os.access(place, os.W_OK):
        raise PermissionError(f"{session.out}: cannot be written; --out takes another place")
    import nbformat

    source = ANNOTATE.format(
        checkpoint=str(checkpoint) if checkpoint is not None else None,
        model=model,
        folder=str(session.folder.resolve()),
        out=str(session.out.resolve()),
        category=category,
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    with tempfile.TemporaryDirectory(prefix="nseg-") as temporary:
        path = Path(temporary) / "annotate.ipynb"
        nbformat.write(notebook, path)
        return serve(path, port=port, browser=browser)
