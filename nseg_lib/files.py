"""Atomic writes, and hashes of files and folders."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file so that it is never found half written, and make its folder where needed.

    Text is written as UTF-8. The old file stays until the new content is on the disk. A file that
    already has this content is left alone and keeps its date.

    Raises:
        OSError: the file cannot be written; one line that names ``path``.
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
