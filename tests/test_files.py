"""Files written whole or not at all, by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nseg_lib.files import check_writable, only_writer, write_atomic

KILLED = """
import os, sys
from nseg_lib.files import only_writer, write_atomic
os.replace = lambda *_: os.kill(os.getpid(), 9)
with only_writer(__import__("pathlib").Path(sys.argv[1])):
    write_atomic(sys.argv[1], "half")
"""


def test_what_a_killed_process_left_is_cleaned_up_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -9
    (part,) = path.parent.glob("a.txt.*.part")
    of_the_living = part.with_name(part.name.replace(part.name.split(".")[-2], str(os.getppid())))
    of_the_living.write_text("in progress")
    with only_writer(path):  # its lock ended with it
        assert not part.exists()
        write_atomic(path.with_name("b.txt"), "whole")
    assert sorted(path.parent.iterdir()) == sorted([path.with_name("b.txt"), of_the_living])


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".png")  # 254 bytes
    write_atomic(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"a\.txt: cannot be written: No space left on device"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that root cannot write to")
def test_a_place_where_nothing_can_be_made_is_no_other_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (Path("/proc/mine"), tmp_path / "file" / "x"):
        for refuses in (only_writer(path).__enter__, lambda path=path: check_writable(path)):
            with pytest.raises(OSError, match=f"^{path}: cannot be written: "):
                refuses()
    with pytest.raises(OSError, match="file is no folder"):
        write_atomic(tmp_path / "file" / "x", "")
    with pytest.raises(OSError, match="cannot be written: it is a folder"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "x")
    check_writable(tmp_path, folder=True)
    with pytest.raises(OSError, match="file is no folder"):
        check_writable(tmp_path / "file", folder=True)
    with pytest.raises(OSError, match="cannot be written: it is no file"):
        check_writable(Path("/dev/null"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    with (
        only_writer(tmp_path / "a.txt"),
        only_writer(tmp_path / "b.txt"),
        pytest.raises(ValueError, match=r"a\.txt: another process is writing it; wait"),
        only_writer(tmp_path / "a.txt"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
