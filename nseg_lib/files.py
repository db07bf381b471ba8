"""Files written whole or not at all, by one process at a time; hashes of files and folders."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import FileLock, Timeout


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file so that it is never found half written, and make its folder where needed.

    Text is written as UTF-8. The old file stays until the new content is on the disk. A file that
    already has this content is left alone and keeps its date. What killed processes of this
    machine left half written in the folder is removed.

    Raises:
        OSError: the file cannot be written; one line that names ``path``.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        with replacing(path) as partial, partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError, folder: bool = False) -> OSError:
    """An error of one line that says why a file, or a file in a folder, cannot be written."""
    # A file where a folder is needed: the system says "File exists", which is a riddle.
    way = (path, *path.parents) if folder else path.parents
    file = next((parent for parent in way if os.path.isfile(parent)), None)
    reason = f"{file} is no folder" if file is not None else error.strerror or error
    return OSError(f"{path}: cannot be written: {reason}")


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Check, before long work, that a file of this name can be written; nothing is left behind.

    Args:
        folder: ``path`` is a folder, which need not be there, and files are to be written into it.

    Raises:
        OSError: it cannot be written, or a folder has a file's name; one line that names ``path``.
    """
    way = path.absolute() / "file" if folder else path.absolute()
    try:
        # The folder that files go into, or what there is of the way to it.
        place = next(parent for parent in way.parents if parent.exists())
        if path.exists() and not path.is_file() and not folder:
            raise OSError(errno.EISDIR, f"it is {'a folder' if path.is_dir() else 'no file'}")
        with NamedTemporaryFile(dir=place, prefix=".nseg"):
            pass
    except OSError as error:
        raise _unwritable(path, error, folder) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a new file beside ``path``, which takes its place when the block has ended well.

    The folder is made where needed, and what killed processes of this machine left half written
    in it is removed.
    """
    # Of a long name, only the beginning: the system allows 255 bytes.
    start = os.fsencode(path.name)[:150].decode(errors="ignore")
    partial = path.with_name(f"{start}.{_HOST[:60]}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


def append_row(path: Path, values: Iterable[object]) -> None:
    """Add a line to a CSV file at once: a process that is killed later does not lose it.

    Raises:
        OSError: the file cannot be written; one line that names ``path``.
    """
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(values)
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(line.getvalue())
    except OSError as error:
        raise _unwritable(path, error) from error


_HOST = re.sub(r"\W", "-", platform.node()) or "here"
"""In the names of partial files: machines that share a folder do not share processes."""


def _remove_leftovers(folder: Path) -> None:
    for partial in folder.glob(f"*.{_HOST[:60]}.*.part") if os.name == "posix" else ():
        with suppress(OSError, ValueError, OverflowError):
            try:
                os.kill(int(partial.name.split(".")[-2]), 0)  # asks whether the process lives
            except ProcessLookupError:
                partial.unlink()


@contextmanager
def only_writer(path: Path, patience: float = 0) -> Iterator[None]:
    """Keep other processes from writing a file or folder meanwhile; makes the folder it is in.

    What killed processes of this machine left half written there is removed. The lock, a hidden
    file beside it, ends with the process, however that ends.

    Args:
        patience: seconds to wait for another process's end.

    Raises:
        ValueError: another process writes it.
        OSError: the lock cannot be made; one line that names ``path``.
    """
    hidden = path.with_name(f".{path.name}.lock")
    lock = FileLock(hidden, timeout=patience)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Where no file can be made, filelock would wait, as if for another process.
        os.close(os.open(hidden, os.O_RDWR | os.O_CREAT, 0o644))
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{path}: another process is writing it; wait for its end, or choose another folder"
        ) from None
    except OSError as error:
        raise _unwritable(path, error) from error
    _remove_leftovers(path if path.is_dir() else path.parent)
    try:
        yield
    finally:
        hidden.unlink(missing_ok=True)
        lock.release()


def hold(folder: Path) -> Callable[[], None] | None:
    """Hold a folder for this process, until what is returned is called or the process ends.

    Returns:
        None if another process, or another part of this one, holds it. Where the system or the file
        system knows no locks, nobody does.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none
        return lambda: None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system that knows no locks
        pass
    return lambda: os.close(descriptor)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, or of a folder: then of its files' relative names and hashes.

    Raises:
        ValueError: there is no such file or folder.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        listing = "".join(f"{sha256(path / name)}  {name}\n" for name in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    if not path.is_file():
        raise ValueError(f"{path}: no such file, so it has no hash")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
