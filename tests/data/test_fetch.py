"""The download, against a server on this machine that misbehaves as told."""

from __future__ import annotations

import io
import json
import random
import re
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from coco_builder import document, picture, write_set

from nseg_lib.data import images
from nseg_lib.data.check import check
from nseg_lib.data.coco import DataError
from nseg_lib.data.fetch import Client, DownloadError, Fetched, fetch, picture_url
from nseg_lib.data.reduce import reduce

ARCHIVE = "/annotations/annotations_trainval2014.zip"
CLIENT = Client(timeout=0.3, retries=2, backoff=0.01, longest_pause=0)


@dataclass
class Server:
    """What a server holds, what it does wrong, and what it was asked."""

    files: dict[str, bytes]
    faults: dict[str, list[str]] = field(default_factory=dict)
    """Path, or * for all → what to do at the next requests: a status, or a word of `Handler`."""
    asked: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Path → the Range of each request, or ''."""
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pictures_asked(self) -> int:
        return sum(len(ranges) for path, ranges in self.asked.items() if path.endswith(".jpg"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        state = self.state
        with state.lock:
            state.asked[self.path].append(self.headers.get("Range", ""))
            waiting = state.faults.get(self.path) or state.faults.get("*", [])
            fault = waiting.pop(0) if waiting else ""
        if self.path not in state.files:
            fault = "404"
        if fault.isdigit():
            self.answer(int(fault), {"Content-Length": "0", "Retry-After": "1"})
        else:
            self.send_file(state.files[self.path], fault)

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_file(self, content: bytes, fault: str) -> None:
        if fault == "other":
            content = b"<html>not what you wanted</html>"
        start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        start = 0 if fault == "ignore range" else start
        body, status, ranged = content[start:], 200, {}
        if start >= len(content) > 0:
            body, status, ranged = b"", 416, {"Content-Range": f"bytes */{len(content)}"}
        elif start:
            first = 0 if fault == "other range" else start
            status, ranged = 206, {"Content-Range": f"bytes {first}-{len(content) - 1}/*"}
        length = {} if fault == "no length" else {"Content-Length": str(len(body))}
        self.answer(status, ranged | length)
        broken = fault in ("cut", "no length", "stall")
        self.wfile.write(body[: len(body) // 2] if broken else body)
        self.close_connection = broken
        if fault == "stall":
            self.wfile.flush()
            self.state.over.wait(5)


def archive(content: Any, split: str = "train2014") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("annotations/captions_train2014.json", random.Random(0).randbytes(400_000))
        target.writestr(f"annotations/instances_{split}.json", json.dumps(content))
    return buffer.getvalue()


def content() -> dict[str, Any]:
    """The annotations of a small COCO: train2014 of 30 pictures."""
    return document(list(range(1, 31)), "train2014")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {ARCHIVE: archive(content())}
    for record in content()["images"]:
        buffer = io.BytesIO()
        picture(record["id"]).save(buffer, "JPEG", quality=95)
        files[f"/train2014/{record['file_name']}"] = buffer.getvalue()
    state = Server(files)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    state.over.set()
    http.shutdown()
    http.server_close()
    thread.join()


def run(server: Server, out: Path, **more: object) -> Fetched:
    options = {"test_images": 4, "base_url": server.url, "client": CLIENT, "workers": 4} | more
    return fetch(out, 10, **options)


def accept(path: Path) -> None:
    """Any content will do."""


# --- the whole ------------------------------------------------------------------------------------


def test_the_result_is_the_reduction_of_the_whole(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(server, out, progress=True)
    assert (result.fetched, result.present, result.failed) == (14, 0, {})
    assert result.lines() == [f"{out}: 14 fetched, 0 already there, 0 failed: complete"]
    assert check(out).findings == ()
    write_set(tmp_path / "coco", "train2014", content())
    reduce(tmp_path / "coco", tmp_path / "reduced", 10, test_images=4)
    for path in (tmp_path / "reduced").rglob("*.json"):
        assert (out / path.relative_to(tmp_path / "reduced")).read_bytes() == path.read_bytes()
    assert server.pictures_asked() == 14
    assert not list(out.rglob("*.part"))


def test_running_again_fetches_only_what_is_lost_or_damaged(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path)
    server.asked.clear()
    assert run(server, tmp_path).present == 14
    assert not server.asked
    first, second, third, *_ = sorted((tmp_path / "train").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:200])
    assert (result := run(server, tmp_path)).ok
    assert (result.fetched, result.present) == (2, 12)
    assert server.pictures_asked() == 2
    assert ARCHIVE not in server.asked
    with pytest.raises(DataError, match="holds another data set"):
        run(server, tmp_path, seed=43)
    with pytest.raises(DataError, match="one of: train2014, val2014, train2017, val2017"):
        run(server, tmp_path / "new", split="train2015")
    with pytest.raises(DataError, match="must begin with http:// or https://"):
        fetch(tmp_path / "new", 10, 42, base_url="ftp://example.org")
    assert not (tmp_path / "new").exists()
    # It is not mended from other annotations.
    third.unlink()
    (tmp_path / "archive" / Path(ARCHIVE).name).unlink()
    other = content()
    for annotation in other["annotations"]:
        annotation["area"] += 1
    server.files[ARCHIVE] = archive(other)
    with pytest.raises(DataError, match="its source has changed"):
        run(server, tmp_path)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["503", "stall", "cut", "no length", "other"])
def test_a_passing_fault_is_overcome(server: Server, tmp_path: Path, fault: str) -> None:
    names = sorted(path for path in server.files if path.endswith(".jpg"))
    server.faults = {name: [fault] for name in names[::4]}
    assert run(server, tmp_path).fetched == 14
    assert server.pictures_asked() > 14
    assert check(tmp_path).findings == ()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("503", r"HTTP 503 \(tries: 3\)"),
        ("stall", r"the server stalls \(tries: 3\)"),
        ("cut", r"cut off.* \(tries: 3\)"),
        ("no length", r"not a readable picture: .*truncated.* \(tries: 3\)"),
        ("404", r"HTTP 404 from http://127\.0\.0\.1:.*"),
    ],
)
def test_a_lasting_fault_is_named_and_the_next_run_goes_on(
    server: Server, tmp_path: Path, fault: str, reason: str
) -> None:
    victim = "000000000006.jpg"  # of the split train
    server.faults[f"/train2014/{victim}"] = [fault] * 3
    result = run(server, tmp_path)
    assert (result.fetched, list(result.failed)) == (13, [victim])
    assert re.fullmatch(reason, result.failed[victim])
    assert len(server.asked[f"/train2014/{victim}"]) == (1 if fault == "404" else 3)
    assert result.lines()[-1].endswith("1 failed: incomplete; run the same command again to go on")
    assert not check(tmp_path).ok
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob(victim)]
    server.faults.clear()
    server.asked.clear()
    again = run(server, tmp_path)
    assert (again.ok, again.fetched, again.present) == (True, 1, 13)
    assert dict(server.asked) == {f"/train2014/{victim}": [""]}


def test_a_dead_server_ends_the_run_early(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "archive" / Path(ARCHIVE).name
    marker = {"images": 10, "seed": 42, "split": "train2014", "test_images": 4}
    path.parent.mkdir()
    path.write_bytes(server.files[ARCHIVE])
    (tmp_path / "reduction.unfinished.json").write_text(json.dumps({"request": marker}))
    server.faults["*"] = ["503"] * 1000
    reasons = list(run(server, tmp_path, client=Client(retries=0), workers=1).failed.values())
    tried = reasons.count("HTTP 503 (tries: 1)")
    assert reasons.count("not tried, for too many failed in a row") == 14 - tried
    assert 4 <= tried <= 8, "a few may be under way when the fourth failure is counted"
    assert server.pictures_asked() == tried


COCO = "http://images.cocodataset.org"


@pytest.mark.parametrize(
    ("record", "base_url", "expected"),
    [
        ({"coco_url": f"{COCO}/a.jpg", "flickr_url": "http://f/"}, COCO, f"{COCO}/a.jpg"),
        ({"coco_url": f"{COCO}/a.jpg"}, "http://mirror/coco", "http://mirror/coco/a.jpg"),
        ({"coco_url": "http://other/a.jpg"}, "http://mirror", "http://other/a.jpg"),
        ({"coco_url": "", "flickr_url": "http://f/b.jpg"}, "http://mirror", "http://f/b.jpg"),
        ({}, "http://mirror", "http://mirror/train2014/a.jpg"),
    ],
)
def test_where_a_picture_is(record: dict[str, str], base_url: str, expected: str) -> None:
    assert picture_url(record | {"file_name": "a.jpg"}, base_url, "train2014") == expected


# --- the archive ----------------------------------------------------------------------------------


def test_the_archive_is_continued_in_a_run_and_in_the_next(server: Server, tmp_path: Path) -> None:
    server.faults[ARCHIVE] = ["cut", "503", "503", "503"]
    with pytest.raises(DataError, match=r"trainval2014\.zip: HTTP 503 \(tries: 3\); run the same"):
        run(server, tmp_path)
    half = (tmp_path / "archive" / f"{Path(ARCHIVE).name}.part").stat().st_size
    assert server.asked[ARCHIVE] == ["", *[f"bytes={half}-"] * 3]
    server.asked.clear()
    assert run(server, tmp_path).ok
    assert server.asked[ARCHIVE] == [f"bytes={half}-"]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("held", "fault", "requests"),
    [
        ("complete", "", 1), ("complete", "ignore range", 1), ("too long", "", 2),
        ("too long", "ignore range", 1), ("foreign", "", 2), ("half", "other range", 2),
    ],
)  # fmt: skip
def test_what_an_earlier_run_left_is_completed_or_replaced(
    server: Server, tmp_path: Path, held: str, fault: str, requests: int
) -> None:
    whole = server.files[ARCHIVE]
    parts = {"complete": whole, "too long": whole + b"x", "foreign": b"y" * 9, "half": whole[:99]}
    (tmp_path / "file.zip.part").write_bytes(parts[held])
    server.faults[ARCHIVE] = [fault]

    def check(path: Path) -> None:
        if path.read_bytes() != whole:
            raise DataError(f"{path}: another file")

    CLIENT.download(server.url + ARCHIVE, tmp_path / "file.zip", check, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file.zip"]
    assert (tmp_path / "file.zip").read_bytes() == whole
    assert len(server.asked[ARCHIVE]) == requests


def escaping() -> bytes:
    other = content()
    other["images"][0]["file_name"] = "../../escape.jpg"
    return archive(other)


def damaged() -> bytes:
    whole = bytearray(archive(content()))
    whole[-600] ^= 0xFF  # in the records
    return bytes(whole)


@pytest.mark.parametrize(
    ("bad", "reason", "replaced"),
    [
        (lambda: b"<html>", r"not a zip archive \(tries: 3\)", True),
        (damaged, "damaged and deleted", True),
        (lambda: archive({}, "val2014"), r"no annotations/instances_train2014\.json in th", False),
        (escaping, "file name leaves the folder", False),
    ],
)
def test_a_bad_archive_is_named_before_a_picture_is_fetched(
    server: Server, tmp_path: Path, bad: Callable[[], bytes], reason: str, replaced: bool
) -> None:
    good, server.files[ARCHIVE] = server.files[ARCHIVE], bad()
    with pytest.raises(DataError, match=reason):
        run(server, tmp_path)
    assert server.pictures_asked() == 0
    server.files[ARCHIVE] = good
    if replaced:
        assert run(server, tmp_path).ok


# --- one file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["file:///etc/passwd", "no-url", "http://", "ftp://x/y"])
def test_a_malformed_address_is_not_tried_again(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        Client(retries=50, backoff=10).download(url, tmp_path / "file", accept)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_download_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder is needed")
    with pytest.raises(OSError, match="out"):
        Client(retries=0).download("http://127.0.0.1:9/x", tmp_path / "out" / "x", accept)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("longest", "pause"), [(30, 1.0), (0, 0.0)])
def test_the_pause_a_server_asks_for_is_kept_up_to_the_longest(
    server: Server, tmp_path: Path, longest: int, pause: float
) -> None:
    server.faults[ARCHIVE] = ["429"]  # with Retry-After: 1
    began = time.monotonic()
    client = Client(retries=1, longest_pause=longest)
    client.download(server.url + ARCHIVE, tmp_path / "x", accept)
    assert pause <= time.monotonic() - began < pause + 0.9


def test_an_interrupt_leaves_no_half_picture(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = images.read_image, iter(range(1000))

    def interrupted(path: Path, size: tuple[int, int] | None = None) -> object:
        if path.suffix == ".part" and next(count) == 5:
            raise KeyboardInterrupt
        return real(path, size)

    monkeypatch.setattr("nseg_lib.data.fetch.read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(server, tmp_path, workers=2)
    assert not list(tmp_path.rglob("*.part"))
    assert server.pictures_asked() < 14
