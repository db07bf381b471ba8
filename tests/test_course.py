"""What a chapter does not find is made once, beside the proper place and never in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_split

from nseg_lib import course, runs, tables
from nseg_lib.baselines import BASELINES
from nseg_lib.coco import DataError


def test_a_stand_in_is_trained_and_evaluated_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    for name, count, first in (("train", 2, 1), ("val", 2, 20), ("test", 1, 40)):
        write_split(data, name, [(120, 160)] * count, first)
    monkeypatch.setattr(course, "EPOCHS", 1)
    wanted, rows = tmp_path / "runs" / "sample", tmp_path / "reports" / "sample" / "rows"

    found = course.trained(wanted, data)
    assert list(runs.find(found)) == [course.STAND_IN]
    assert "no trained network in sample: training" in capsys.readouterr().out
    results = course.evaluated(rows, found, data)
    frame = tables.read_rows(results)
    assert list(dict.fromkeys(frame["method"])) == [*BASELINES, course.STAND_IN]
    assert set(frame["split"]) == {"val", "test"}
    assert not wanted.exists()
    assert not rows.exists()

    before = {p: p.stat().st_mtime_ns for p in found.rglob("*.safetensors")}
    assert course.trained(wanted, data) == found
    assert {p: p.stat().st_mtime_ns for p in found.rglob("*.safetensors")} == before
    assert course.trained(found, data) == found
    assert course.evaluated(results, found, data) == results


def test_data_that_nobody_can_make_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"coco: no data set here; 'nseg data reduce' makes one"):
        course.data_set(tmp_path / "coco")
