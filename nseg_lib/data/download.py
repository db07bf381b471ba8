"""Download one file over HTTP: checked, resumed, tried again, and never half there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests

from nseg_lib.data.records import DataError

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses that are worth another try."""

CHUNK = 1 << 16
LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most, whatever a server asks for."""

Report = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes in all, if known."""


class DownloadError(Exception):
    """A file that could not be fetched, and why; one line."""


class PassingError(DownloadError):
    """A fault that another try may not meet; `pause`: seconds the server asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Client:
    """How to download; threads may share one, for it changes nothing in its session."""

    timeout: float = 30.0
    """Seconds without a byte after which a connection counts as stalled."""
    retries: int = 5
    """Further tries after passing faults."""
    backoff: float = 0.5
    """Seconds before the first of them; before each later one twice as long."""
    session: requests.Session = field(default_factory=requests.Session)

    def download(
        self,
        url: str,
        path: Path,
        check: Callable[[Path], None],
        *,
        resume: bool = False,
        report: Report = lambda done, total: None,
    ) -> None:
        """Fetch `url` to `path`, which appears once the file is complete and checked.

        Args:
            url: http or https.
            path: the file; until it is complete, its bytes are in `path` + ".part".
            check: raises DataError if the complete file is not what it should be.
            resume: begin with the bytes that are in the ".part" file, and leave them there on
                failure. Otherwise only the tries of this call build on one another.
            report: for a progress bar.

        Raises:
            DownloadError: the server refuses, or the last try failed too.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        if not resume:
            part.unlink(missing_ok=True)
        try:
            self._try_often(url, part, check, report)
            os.replace(part, path)
        finally:
            if not resume:
                part.unlink(missing_ok=True)

    def _try_often(
        self, url: str, part: Path, check: Callable[[Path], None], report: Report
    ) -> None:
        for attempt in range(self.retries + 1):
            try:
                self._transfer(url, part, report)
                try:
                    check(part)
                except DataError as error:
                    part.unlink(missing_ok=True)  # nothing to build on
                    raise PassingError(str(error).removeprefix(f"{part}: ")) from error
                return
            except PassingError as error:
                if attempt == self.retries:
                    raise DownloadError(f"{error} (tries: {attempt + 1})") from error
                pause = max(error.pause, self.backoff * 2**attempt)
                time.sleep(min(pause, LONGEST_PAUSE))

    def _transfer(self, url: str, part: Path, report: Report) -> None:
        """Get what `part` lacks of the file."""
        start = part.stat().st_size if part.exists() else 0
        # Unasked, a server could compress, and no size would tell whether the file is complete.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with self.session.get(
                url, headers=headers, stream=True, timeout=(self.timeout, self.timeout)
            ) as response:
                _require_content(response, part)
                if response.status_code == 416:  # then `part` is the file, or the check fails
                    return
                if response.status_code == 200:  # the whole file, whatever was asked for
                    start = 0
                _write(response, part, start, report)
        except requests.RequestException as error:
            # Its ValueErrors are malformed addresses, which no further try mends.
            kind = DownloadError if isinstance(error, ValueError) else PassingError
            raise kind(_reason(error)) from error


def _require_content(response: requests.Response, part: Path) -> None:
    """Raise unless the response holds the file, goes on from `part`, or has no more than it."""
    status = response.status_code
    if status in TRANSIENT:
        pause = response.headers.get("Retry-After", "")
        raise PassingError(f"HTTP {status}", float(pause) if pause.isdecimal() else 0.0)
    if status not in (200, 206, 416):
        raise DownloadError(f"HTTP {status} from {response.url}")
    here = part.stat().st_size if part.exists() else 0
    if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {here}-"):
        part.unlink(missing_ok=True)
        raise PassingError(f"the server does not go on from byte {here}")


def _write(response: requests.Response, part: Path, start: int, report: Report) -> None:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    done = start
    with part.open("ab" if start else "wb") as file:
        for chunk in response.iter_content(CHUNK):  # raises if fewer bytes come than announced
            file.write(chunk)
            done += len(chunk)
            report(done, total)


def _reason(error: requests.RequestException) -> str:
    """One short line; the libraries nest theirs."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "the server stalls"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "cut off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return " ".join(str(error).split())
