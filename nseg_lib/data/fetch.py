"""Fetch a seeded sample of COCO: the annotations archive, then the chosen pictures only.

The pictures are the ones that `nseg_lib.data.reduce` would choose from the full COCO, and the
result has the same layout. Nothing complete is fetched twice: a part of the archive is continued,
and a picture that is there and can be decoded stays.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import DownloadColumn, Progress
from urllib3.util import Retry

from nseg_lib import limits
from nseg_lib.console import progress_bar
from nseg_lib.data.coco import Split, find_splits, load_split, parse_json, parse_split, refuse
from nseg_lib.data.images import read_image
from nseg_lib.data.records import DataError
from nseg_lib.data.reduce import Request, begin, choose, is_finished, plan

COCO_URL = "http://images.cocodataset.org"
SPLITS = ("train2014", "val2014", "train2017", "val2017")
GIVE_UP = 4
"""So many failures in a row per worker, and the server counts as down."""

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses that are worth another try."""


@dataclass(frozen=True)
class Fetched:
    """What became of a fetch."""

    out: Path
    fetched: int
    """Pictures fetched this time."""
    present: int
    """Pictures that were there before, complete."""
    failed: dict[str, str] = field(default_factory=dict)
    """File name → why it could not be fetched."""

    @property
    def ok(self) -> bool:
        """Whether the data set is complete; if not, the same call goes on from here."""
        return not self.failed

    def lines(self) -> list[str]:
        """The summary as text, a line per failure first."""
        lines = [f"{name}: {reason}" for name, reason in sorted(self.failed.items())]
        numbers = f"{self.fetched} fetched, {self.present} already there, {len(self.failed)} failed"
        end = "complete" if self.ok else "incomplete; run the same command again to go on"
        return [*lines, f"{self.out}: {numbers}: {end}"]


def fetch(
    out: Path,
    images: int = 1000,
    seed: int = 42,
    split: str = "train2014",
    *,
    test_images: int = 500,
    base_url: str = COCO_URL,
    workers: int = 8,
    client: Client | None = None,
    progress: bool = False,
) -> Fetched:
    """Make a reduced data set of `images` pictures of COCO in `out`, from the network.

    Args:
        out: a new or empty folder, or one where this fetch was begun or finished. The annotations
            archive (some 250 MB) stays in `out/archive`; once all is complete it may be deleted.
        images: pictures in train and val together.
        seed: of the sample.
        split: one of `SPLITS`; the paper's is train2014.
        test_images: pictures in the test split, at most.
        base_url: COCO's server, or a mirror of it.
        workers: pictures fetched at a time.
        client: time-outs and retries; by default those of `Client()`.
        progress: show bars on the error stream.

    After failures the pictures that arrived stay, and the same call goes on from there.

    Raises:
        DataError: the archive cannot be fetched or read, it has too few pictures, `out` holds
            something else, or `base_url` is no address on the web.
    """
    if not base_url.startswith(("http://", "https://")):
        raise DataError(f"base_url is {base_url!r}; it must begin with http:// or https://")
    if split not in SPLITS:
        raise DataError(f"split is {split!r}; one of: {', '.join(SPLITS)}")
    out, client, base_url = Path(out), client or Client(), base_url.rstrip("/")
    request = Request(split, images, test_images, seed)
    if is_finished(out, asdict(request)) and (present := _count_readable(out)):
        return Fetched(out, 0, present)
    begin(out, request)
    archive = out / "archive" / f"annotations_trainval{split[-4:]}.zip"
    if not archive.exists():
        url = f"{base_url}/annotations/{archive.name}"
        try:
            client.download(url, archive, check_archive, resume=True, progress=progress)
        except DownloadError as error:
            again = "run the same command again to go on"
            raise DataError(f"{archive.name}: {error}; {again}") from error
    source = read_archive(archive, split, progress=progress)
    made = plan(source, request, choose(source, request), [])
    made.check_against(out)

    def fetch_one(name: str, record: Mapping[str, Any]) -> bool:
        """Fetch one picture of the new split `name`; false if it was there."""
        path = out / name / record["file_name"]

        def check(file: Path) -> None:
            read_image(file, (record["height"], record["width"]))

        try:
            check(path)
        except DataError:
            client.download(picture_url(record, base_url, split), path, check)
            return True
        return False

    fetches = {
        source.images[i]["file_name"]: partial(fetch_one, name, source.images[i])
        for name, ids in made.reduction["chosen"].items()
        for i in ids
    }
    arrived, failed = _side_by_side(fetches, workers, progress)
    result = Fetched(out, arrived[True], arrived[False], failed)
    if result.ok:
        made.finish(out)
    return result


def _side_by_side(
    fetches: Mapping[str, Callable[[], bool]], workers: int, progress: bool
) -> tuple[Counter[bool], dict[str, str]]:
    """How many pictures were fetched and how many were there, and why each other failed, by name.

    Once too many have failed in a row, the rest are not tried.
    """
    arrived: Counter[bool] = Counter()
    failed: dict[str, str] = {}
    in_a_row = 0
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = {pool.submit(fetch_one): name for name, fetch_one in fetches.items()}
        for job in progress_bar(as_completed(jobs), "pictures", progress, total=len(jobs)):
            if job.cancelled():
                failed[jobs[job]] = "not tried, for too many failed in a row"
                continue
            try:
                arrived[job.result()] += 1
                in_a_row = 0
            except (DownloadError, OSError) as error:
                failed[jobs[job]] = str(error)
                in_a_row += 1
            if in_a_row == GIVE_UP * workers:
                for waiting in jobs:
                    waiting.cancel()
    finally:  # an interrupt waits for the pictures under way, no more
        pool.shutdown(cancel_futures=True)
    return arrived, failed


def _count_readable(out: Path) -> int:
    """Number of pictures of a finished data set, or 0 if one of them cannot be read."""
    try:
        splits = [load_split(out, name) for name in find_splits(out)]
        return sum(split.read_image(i).ndim == 3 for split in splits for i in split.images)
    except DataError:
        return 0


def picture_url(record: Mapping[str, Any], base_url: str, split: str) -> str:
    """Where a picture is: its record's coco_url, at `base_url` if that is a mirror of COCO's
    server; without one, its flickr_url; without either, COCO's usual place."""
    usual = f"{COCO_URL}/{split}/{record['file_name']}"
    url = str(record.get("coco_url") or record.get("flickr_url") or usual)
    return base_url + url.removeprefix(COCO_URL) if url.startswith(f"{COCO_URL}/") else url


# --- one file -------------------------------------------------------------------------------------


class DownloadError(Exception):
    """A file that could not be fetched, and why; one line."""


@dataclass(frozen=True)
class Client:
    """How to download; threads may share one.

    Refusals and lost connections are tried again by urllib3's `Retry`. That ends where a response's
    body begins; a body that breaks off is continued here, by a request for the bytes that are
    missing.
    """

    timeout: float = 30.0
    """Seconds without a byte after which a connection counts as stalled."""
    retries: int = 5
    """Further tries after a fault that may pass."""
    backoff: float = 0.5
    """Seconds that scale the pauses: none before the second try, then 2, 4, 8 … times as many."""
    longest_pause: int = 30
    """Seconds between two tries at most, even where the server asks for more (Retry-After)."""

    @cached_property
    def session(self) -> requests.Session:
        """Connections that try again by themselves until a response begins."""
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=self._retry()))
        return session

    def _retry(self) -> Retry:
        return Retry(
            self.retries,
            status_forcelist=TRANSIENT,
            backoff_factor=self.backoff,
            backoff_max=self.longest_pause,
            retry_after_max=self.longest_pause,
            raise_on_status=False,  # the last response comes back, with its status to report
        )

    def download(
        self,
        url: str,
        path: Path,
        check: Callable[[Path], None],
        *,
        resume: bool = False,
        progress: bool = False,
    ) -> None:
        """Fetch `url` to `path`, which appears once the file is complete and checked.

        Args:
            url: http or https.
            path: until the file is complete, its bytes are in `path` + ".part".
            check: raises DataError if the complete file is not what it should be.
            resume: begin with the bytes that are in the ".part" file, and leave them there on
                failure. Otherwise only the tries of this call build on one another.
            progress: show a bar on the error stream.

        Raises:
            DownloadError: the server refuses, or the last try failed too.
            OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        if not resume:
            part.unlink(missing_ok=True)
        left = self._retry()
        try:
            while problem := self._transfer(url, part, check, progress):
                if not left.total:
                    raise DownloadError(f"{problem} (tries: {self.retries + 1})")
                left = left.increment("GET", url)
                left.sleep()
            os.replace(part, path)
        finally:
            if not resume:
                part.unlink(missing_ok=True)

    def _transfer(self, url: str, part: Path, check: Callable[[Path], None], progress: bool) -> str:
        """Get what `part` lacks of the file; say what went wrong if another try may mend it."""
        done = part.stat().st_size if part.exists() else 0
        # Unasked, a server could compress, and no size would tell whether the file is complete.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        try:
            response = self.session.get(url, headers=headers, stream=True, timeout=self.timeout)
        except requests.RequestException as error:
            if isinstance(error, ValueError):  # a malformed address, which is tried once
                raise DownloadError(" ".join(str(error).split())) from error
            problem = "the server stalls" if "timed out" in str(error) else "no connection"
            raise DownloadError(f"{problem} (tries: {self.retries + 1})") from error
        with response:
            status, ranged = response.status_code, response.headers.get("Content-Range", "")
            if status not in (200, 206, 416):
                tried = f"(tries: {self.retries + 1})"
                where = tried if status in TRANSIENT else f"from {response.url}"
                raise DownloadError(f"HTTP {status} {where}")
            if status == 206 and not ranged.startswith(f"bytes {done}-"):
                part.unlink(missing_ok=True)
                return f"the server does not go on from byte {done}"
            if status == 200:  # the whole file, whatever was asked for
                done = 0
            if status != 416:  # then `part` is the file already, or the check fails
                length = response.headers.get("Content-Length", "")
                total = done + int(length) if length.isdecimal() else None
                columns = (*Progress.get_default_columns(), DownloadColumn())
                bars = Progress(*columns, console=Console(stderr=True), disable=not progress)
                bar = bars.add_task(part.stem, total=total, completed=done)
                try:
                    with bars, part.open("ab" if done else "wb") as file:
                        # Raises if fewer bytes come than were announced.
                        for chunk in response.iter_content(1 << 16):
                            bars.advance(bar, file.write(chunk))
                except requests.RequestException as error:
                    return "the server stalls" if "timed out" in str(error) else "cut off"
                except OSError as error:
                    why = error.strerror or error
                    raise OSError(f"{part}: cannot be written: {why}") from error
        try:
            check(part)
        except DataError as error:
            part.unlink(missing_ok=True)  # complete and wrong: nothing to build on
            return str(error).removeprefix(f"{part}: ")
        return ""


# --- the annotations ------------------------------------------------------------------------------


def check_archive(path: Path) -> None:
    """Raise DataError if a file is no zip archive."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a zip archive")


def read_archive(path: Path, split: str, *, progress: bool = False) -> Split:
    """A split's records out of COCO's annotations archive; its `root` is the archive.

    Raises:
        DataError: the archive is damaged (it is deleted then) or does not hold the split.
    """
    name = f"annotations/instances_{split}.json"
    try:
        with zipfile.ZipFile(path) as archive:
            # A small archive can hold any number of zeros.
            size = archive.getinfo(name).file_size
            if size > limits.MAX_JSON_BYTES:
                raise DataError(f"{path}: {name}: {size:,} bytes, too large to be COCO's")
            document = parse_json(archive.read(name))
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{path}: no {name} in this archive") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: cannot be read: {reason}; delete it to fetch it anew") from error
    except Exception as error:  # on damaged archives, zipfile raises nearly anything
        path.unlink()
        raise DataError(f"{path}: damaged and deleted, fetch it again: {error!s:.200}") from error
    source, findings = parse_split(document, path, split, name, progress=progress)
    refuse(findings, path)
    return source
