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
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from coco_builder import document, picture, write_set

from nseg_lib.data import images
from nseg_lib.data.check import check
from nseg_lib.data.coco import DataError
from nseg_lib.data.fetch import Client, DownloadError, Fetched, fetch, picture_url
from nseg_lib.data.reduce import reduce

ARCHIVE = "/annotations/annotations_trainval2014.zip"
SPLITS = ("train", "val", "test")
CLIENT = Client(timeout=0.3, retries=2, backoff=0.01)


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
        if fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            if fault == "429":
                self.send_header("Retry-After", "1")
            self.end_headers()
        elif self.path not in state.files:
            self.send_error(404)
        else:
            self.send_file(state.files[self.path], fault)

    def send_file(self, content: bytes, fault: str) -> None:
        if fault == "other":
            content = b"<html>not what you wanted</html>"
        start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        if fault == "ignore range":
            start = 0
        body = content[start:]
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            body = b""
        elif start:
            self.send_response(206)
            first = 0 if fault == "other range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if fault == "no length":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = body[: len(body) // 2]
        if fault in ("cut", "no length"):
            self.wfile.write(half)
            self.close_connection = True
        elif fault == "stall":
            self.wfile.write(half)
            self.wfile.flush()
            self.close_connection = True
            self.state.over.wait(5)
        else:
            self.wfile.write(body)


def archive(content: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("annotations/captions_train2014.json", random.Random(0).randbytes(400_000))
        target.writestr("annotations/instances_train2014.json", json.dumps(content))
        target.writestr("annotations/instances_val2014.json", json.dumps(document([99])))
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A small COCO: train2014 of 30 pictures."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = document(list(range(1, 31)), "train2014")
    files = {ARCHIVE: archive(content)}
    for record in content["images"]:
        buffer = io.BytesIO()
        picture(record["id"]).save(buffer, "JPEG", quality=95)
        name = record["coco_url"].rsplit("/", 1)[1]
        files[f"/train2014/{name}"] = buffer.getvalue()
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


def run(server: Server, out: Path, images: int = 10, **more: object) -> Fetched:
    options = {"test_images": 4, "base_url": server.url, "client": CLIENT, "workers": 4} | more
    return fetch(out, images, **options)


def name_of(server: Server, position: int) -> str:
    return sorted(path for path in server.files if path.endswith(".jpg"))[position]


def nothing_half_done(out: Path) -> bool:
    return not list(out.rglob("*.part"))


# --- the whole ------------------------------------------------------------------------------------


def test_the_result_is_the_reduction_of_the_whole(server: Server, tmp_path: Path) -> None:
    result = run(server, tmp_path / "out", progress=True)
    assert result.ok
    assert (result.fetched, result.present, result.failed) == (14, 0, {})
    assert result.lines() == [
        f"{tmp_path / 'out'}: 14 fetched, 0 already there, 0 failed: complete"
    ]
    assert check(tmp_path / "out").findings == ()
    write_set(tmp_path / "coco", "train2014", document(list(range(1, 31)), "train2014"))
    reduce(tmp_path / "coco", tmp_path / "reduced", 10, test_images=4)
    for path in ("reduction.json", *(f"annotations/instances_{n}.json" for n in SPLITS)):
        assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "reduced" / path).read_bytes()
    assert server.pictures_asked() == 14
    assert nothing_half_done(tmp_path / "out")


def test_running_again_asks_for_nothing(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path)
    server.asked.clear()
    result = run(server, tmp_path)
    assert (result.ok, result.fetched, result.present) == (True, 0, 14)
    assert not server.asked


def test_a_lost_or_damaged_picture_is_fetched_again(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path)
    first, second, *_ = sorted((tmp_path / "train").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:200])
    server.asked.clear()
    result = run(server, tmp_path)
    assert (result.ok, result.fetched, result.present) == (True, 2, 12)
    assert server.pictures_asked() == 2
    assert ARCHIVE not in server.asked
    assert check(tmp_path).ok


def test_a_finished_set_is_not_mended_from_other_annotations(
    server: Server, tmp_path: Path
) -> None:
    run(server, tmp_path)
    next((tmp_path / "train").iterdir()).unlink()
    (tmp_path / "archive" / "annotations_trainval2014.zip").unlink()
    content = document(list(range(1, 31)), "train2014")
    for annotation in content["annotations"]:
        annotation["area"] += 1
    server.files[ARCHIVE] = archive(content)
    server.asked.clear()
    with pytest.raises(DataError, match="its source has changed"):
        run(server, tmp_path)
    assert server.pictures_asked() == 0


def test_another_sample_does_not_go_into_the_same_folder(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path)
    with pytest.raises(DataError, match="holds another reduction"):
        run(server, tmp_path, seed=43)
    with pytest.raises(DataError, match="one of: train2014, val2014, train2017, val2017"):
        run(server, tmp_path / "new", split="train2015")


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["503", "429", "stall", "cut", "no length", "other"])
def test_a_passing_fault_is_overcome(server: Server, tmp_path: Path, fault: str) -> None:
    for position in range(30):
        server.faults[name_of(server, position)] = [fault] if position % 4 == 0 else []
    result = run(server, tmp_path)
    assert result.ok
    assert result.fetched == 14
    assert server.pictures_asked() > 14
    assert check(tmp_path).findings == ()
    assert nothing_half_done(tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("503", r"HTTP 503 \(tries: 3\)"),
        ("stall", r"the server stalls \(tries: 3\)"),
        ("cut", r"cut off.* \(tries: 3\)"),
        ("no length", r"not a readable picture: .*truncated.* \(tries: 3\)"),
        ("other", r"not a readable picture: .* \(tries: 3\)"),
        ("404", r"HTTP 404 from http://127\.0\.0\.1:.*"),
    ],
)
def test_a_lasting_fault_is_named_and_the_next_run_goes_on(
    server: Server, tmp_path: Path, fault: str, reason: str
) -> None:
    whole = run(server, tmp_path / "whole")
    assert whole.ok
    victim = sorted((tmp_path / "whole" / "train").iterdir())[2].name
    server.faults[f"/train2014/{victim}"] = [fault] * 3
    out = tmp_path / "out"
    result = run(server, out)
    assert not result.ok
    assert (result.fetched, list(result.failed)) == (13, [victim])
    assert re.fullmatch(reason, result.failed[victim])
    assert len(server.asked[f"/train2014/{victim}"]) == (2 if fault == "404" else 4)
    assert result.lines()[-1].endswith("1 failed: incomplete; run the same command again to go on")
    assert not (out / "reduction.json").exists()
    assert not (out / "train" / victim).exists()
    assert nothing_half_done(out)
    assert not check(out).ok

    server.faults.clear()
    server.asked.clear()
    again = run(server, out)
    assert (again.ok, again.fetched, again.present) == (True, 1, 13)
    assert server.pictures_asked() == 1
    assert ARCHIVE not in server.asked
    assert (out / "reduction.json").read_bytes() == (
        tmp_path / "whole" / "reduction.json"
    ).read_bytes()


def test_a_picture_of_another_size_is_refused(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(0).resize((40, 40)).save(buffer, "JPEG")
    for path in server.files:
        if path.endswith(".jpg"):
            server.files[path] = buffer.getvalue()
    result = run(server, tmp_path, workers=1)
    assert result.fetched == 0
    assert "the picture is 40x40, its record says 160x120 (tries: 3)" in result.failed.values()


def test_a_dead_server_ends_the_run_early(server: Server, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "annotations_trainval2014.zip").write_bytes(server.files[ARCHIVE])
    marker = {"images": 10, "seed": 42, "split": "train2014", "test_images": 4}
    (tmp_path / "reduction.unfinished.json").write_text(json.dumps({"request": marker}))
    server.faults["*"] = ["503"] * 1000
    client = Client(retries=0)
    result = run(server, tmp_path, client=client, workers=1)
    reasons = list(result.failed.values())
    assert len(reasons) == 14
    tried = 14 - reasons.count("not tried, for too many failed in a row")
    assert 4 <= tried <= 8, "a few may be under way when the fourth failure is counted"
    assert set(reasons) == {"HTTP 503 (tries: 1)", "not tried, for too many failed in a row"}
    assert server.pictures_asked() == tried


@pytest.mark.parametrize(
    ("record", "base_url", "expected"),
    [
        (
            {"coco_url": "http://images.cocodataset.org/val2017/a.jpg", "flickr_url": "http://f/"},
            "http://images.cocodataset.org",
            "http://images.cocodataset.org/val2017/a.jpg",
        ),
        (
            {"coco_url": "http://images.cocodataset.org/val2017/a.jpg"},
            "http://mirror/coco",
            "http://mirror/coco/val2017/a.jpg",
        ),
        ({"coco_url": "http://other/a.jpg"}, "http://mirror", "http://other/a.jpg"),
        ({"coco_url": "", "flickr_url": "http://f/b.jpg"}, "http://mirror", "http://f/b.jpg"),
        ({}, "http://mirror", "http://mirror/train2014/a.jpg"),
    ],
)
def test_where_a_picture_is(record: dict[str, str], base_url: str, expected: str) -> None:
    assert picture_url(record | {"file_name": "a.jpg"}, base_url, "train2014") == expected


# --- the archive ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_the_archive_is_continued_within_a_run(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults[ARCHIVE] = [fault]
    assert run(server, tmp_path).ok
    first, second = server.asked[ARCHIVE]
    assert first == ""
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) < len(server.files[ARCHIVE])


def test_the_archive_is_continued_in_the_next_run(server: Server, tmp_path: Path) -> None:
    server.faults[ARCHIVE] = ["cut", "503", "503", "503"]
    with pytest.raises(DataError, match=r"trainval2014\.zip: HTTP 503 \(tries: 3\); run the same"):
        run(server, tmp_path)
    half = (tmp_path / "archive" / "annotations_trainval2014.zip.part").stat().st_size
    server.asked.clear()
    assert run(server, tmp_path).ok
    assert server.asked[ARCHIVE] == [f"bytes={half}-"]
    assert nothing_half_done(tmp_path)


@pytest.mark.parametrize("held", ["complete", "too long", "foreign"])
@pytest.mark.parametrize("fault", ["", "ignore range"])
def test_what_an_earlier_run_left_is_completed_or_replaced(
    server: Server, tmp_path: Path, held: str, fault: str
) -> None:
    content = server.files[ARCHIVE]
    part = tmp_path / "file.zip.part"
    part.write_bytes({"complete": content, "too long": content + b"x", "foreign": b"y" * 9}[held])
    server.faults[ARCHIVE] = [fault]

    def check(path: Path) -> None:
        if path.read_bytes() != content:
            raise DataError(f"{path}: another file")

    CLIENT.download(server.url + ARCHIVE, tmp_path / "file.zip", check, resume=True)
    assert (tmp_path / "file.zip").read_bytes() == content
    assert not part.exists()
    assert len(server.asked[ARCHIVE]) == (1 if held == "complete" or fault else 2)


def test_a_file_is_not_continued_from_elsewhere(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "file.part"
    part.write_bytes(server.files[ARCHIVE][:1000])
    server.faults[ARCHIVE] = ["other range"]
    CLIENT.download(server.url + ARCHIVE, tmp_path / "file", accept, resume=True)
    assert server.asked[ARCHIVE] == ["bytes=1000-", ""]
    assert (tmp_path / "file").read_bytes() == server.files[ARCHIVE]


def test_an_archive_that_is_none_is_named(server: Server, tmp_path: Path) -> None:
    server.faults[ARCHIVE] = ["other"] * 3
    with pytest.raises(DataError, match=r"not a zip archive \(tries: 3\)"):
        run(server, tmp_path)
    assert run(server, tmp_path).ok


def test_a_damaged_archive_is_deleted_and_fetched_again(server: Server, tmp_path: Path) -> None:
    good = server.files[ARCHIVE]
    bad = bytearray(good)
    bad[-1500] ^= 0xFF  # in train2014's own part of it
    server.files[ARCHIVE] = bytes(bad)
    with pytest.raises(DataError, match="damaged and deleted"):
        run(server, tmp_path)
    server.files[ARCHIVE] = good
    assert run(server, tmp_path).ok


def test_an_archive_without_the_split_is_named(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("annotations/captions_train2014.json", "{}")
    server.files[ARCHIVE] = buffer.getvalue()
    with pytest.raises(DataError, match=r"no annotations/instances_train2014\.json in this"):
        run(server, tmp_path)


def test_records_are_judged_before_a_picture_is_fetched(server: Server, tmp_path: Path) -> None:
    content = document(list(range(1, 31)), "train2014")
    content["images"][0]["file_name"] = "../../escape.jpg"
    server.files[ARCHIVE] = archive(content)
    with pytest.raises(DataError, match="file name leaves the folder"):
        run(server, tmp_path)
    assert server.pictures_asked() == 0


# --- one file -------------------------------------------------------------------------------------


def accept(path: Path) -> None:
    """Any content will do."""


@pytest.mark.parametrize("url", ["file:///etc/passwd", "no-url", "http://", "ftp://x/y"])
def test_a_malformed_address_is_not_tried_again(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        Client(retries=50, backoff=10).download(url, tmp_path / "file", accept)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("longest", "pause"), [(30, 1.0), (0, 0.0)])
def test_the_pause_a_server_asks_for_is_kept_up_to_the_longest(
    server: Server, tmp_path: Path, longest: int, pause: float
) -> None:
    server.faults[ARCHIVE] = ["429"]  # with Retry-After: 1
    client = Client(retries=1, longest_pause=longest)
    began = time.monotonic()
    client.download(server.url + ARCHIVE, tmp_path / "x", accept)
    assert pause <= time.monotonic() - began < pause + 0.9


def test_an_interrupt_leaves_no_half_picture(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = images.read_image
    count = iter(range(1000))

    def interrupted(path: Path, size: tuple[int, int] | None = None) -> object:
        if path.suffix == ".part" and next(count) == 5:
            raise KeyboardInterrupt
        return real(path, size)

    monkeypatch.setattr("nseg_lib.data.fetch.read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(server, tmp_path, workers=2)
    assert nothing_half_done(tmp_path)
    assert server.pictures_asked() < 14
    monkeypatch.undo()
    assert run(server, tmp_path).ok
