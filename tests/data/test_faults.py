"""A disk that is full or read-only, and files that vanish: one line, and nothing half-written."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coco_builder import document, write_set

from nseg_lib.data import coco
from nseg_lib.data.check import check
from nseg_lib.data.fetch import Client, DownloadError
from nseg_lib.data.reduce import reduce
from nseg_lib.files import sha256
from nseg_lib.sample import make_sample

LARGEST = 20_000
"""Bytes of a file that can be written, as if the disk were full."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A set whose pictures, of noise, are larger than any file that can be written."""
    return write_set(tmp_path / "coco", "train", document(list(range(1, 9))))


def nseg(
    *arguments: object, full: bool = False, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Run the command line; `full`: no file may become larger than LARGEST."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))

    command = [sys.executable, "-m", "nseg_lib.cli", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        encoding=encoding,
        preexec_fn=limit if full else None,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=120,
    )


COMMANDS = {
    "sample": ("data", "sample", "--pictures", 8, "--max-side", 128),
    "reduce": ("data", "reduce", "--images", 4, "--test-images", 2, "--copy", "--coco"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_the_next_run_makes_the_same(
    source: Path, tmp_path: Path, command: str
) -> None:
    arguments = [*COMMANDS[command], *([source] if command == "reduce" else [])]
    out, other = tmp_path / "out", tmp_path / "other"
    failed = nseg(*arguments, "--out", out, full=True)
    assert failed.returncode == 2
    (line,) = (line for line in failed.stderr.splitlines() if line.strip())
    assert re.fullmatch(r"nseg: .*(File too large|encoder error).*", line)
    assert {path.name for path in out.rglob("*.*")} <= {"reduction.unfinished.json"}
    assert not list(tmp_path.glob(".*.part"))
    for folder in (out, other):
        if command == "sample":
            make_sample(folder, 8, max_side=128)
        else:
            reduce(source, folder, 4, test_images=2, copy=True)
    assert sha256(out) == sha256(other)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_written_to(source: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "held").mkdir(mode=0o500)
    arguments = [*COMMANDS[command], *([source] if command == "reduce" else [])]
    failed = nseg(*arguments, "--out", tmp_path / "held" / "out")
    assert failed.returncode == 2
    assert re.search(r"nseg: .*Permission denied", failed.stderr)


def test_a_name_that_the_console_cannot_print_is_written_in_another_way(source: Path) -> None:
    path = source / "annotations" / "instances_train.json"
    path.write_text(path.read_text().replace("000000000003.jpg", "фото|写真.jpg"))
    done = nseg("data", "check", source, encoding="cp1252")
    assert done.returncode == 1
    assert r"train/\u0444\u043e\u0442\u043e|\u5199\u771f.jpg: image 3: missing" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_picture_that_vanishes_is_named_and_nothing_half_written_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = coco.Split.read_image

    def read_and_remove(split: coco.Split, image_id: int) -> np.ndarray:
        pixels = read(split, image_id)
        if image_id == 3:
            split.image_path(image_id).unlink()
        return pixels

    monkeypatch.setattr(coco.Split, "read_image", read_and_remove)
    with pytest.raises(OSError, match=r"000000000003\.jpg: cannot be copied .*: No such file"):
        reduce(source, tmp_path / "out", 8)
    assert not (tmp_path / "out" / "reduction.json").exists()
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not check(tmp_path / "out").ok


def test_an_annotation_file_that_vanishes_is_an_error_of_the_report(source: Path) -> None:
    path = source / "annotations" / "instances_train.json"
    path.unlink()
    path.symlink_to("nowhere.json")
    (finding,) = check(source).findings
    assert (finding.problem, finding.detail) == (
        "unreadable annotations",
        "cannot be read: No such file or directory",
    )


def test_a_download_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder is needed")
    with pytest.raises((OSError, DownloadError), match="out"):
        Client(retries=0).download(
            "http://127.0.0.1:9/x", tmp_path / "out" / "x", lambda file: None
        )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
