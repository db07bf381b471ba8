"""Files that vanish, and names that a console cannot print: one line, and nothing half-written."""

from __future__ import annotations

import os
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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_set(tmp_path / "coco", "train", document(list(range(1, 9))))


def test_a_name_that_the_console_cannot_print_is_written_in_another_way(source: Path) -> None:
    path = source / "annotations" / "instances_train.json"
    path.write_text(path.read_text().replace("000000000003.jpg", "фото|写真.jpg"))
    done = subprocess.run(
        [sys.executable, "-m", "nseg_lib.cli", "data", "check", str(source)],
        capture_output=True, encoding="cp1252", env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
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
