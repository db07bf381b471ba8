"""Files that are written whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, and its folder, so that it is complete or not there at all.

    What was there before stays until the new content is on the disk. A file that holds this
    already keeps its date.

    Raises:
        OSError: it cannot be written; one line that names ``path``.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file; of a folder, that of its files' relative names and hashes.

    Raises:
        ValueError: no such file or folder.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        listing = "".join(f"{sha256(path / name)}  {name}\n" for name in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    if not path.is_file():
        raise ValueError(f"{path}: no such file, so its hash cannot be written")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
