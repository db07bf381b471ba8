"""Figures in docs/ are those of the committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nseg_lib.evaluation.summary import read_results

PROJECT = Path(__file__).parents[1]


def test_compare_quotes_the_drawing_benchmark() -> None:
    content = json.loads((PROJECT / "benchmarks" / "results" / "drawing.json").read_text())
    text = (PROJECT / "docs" / "compare.md").read_text()
    for way in ("line", "box and line"):
        found = content["results"][f"{way}; all"]
        cells = [f"{value:.3f}" for value in found["mean_iou"]] + [f"{found['hurt']:.1%}"]
        assert " | ".join(cells).replace("%", " %") in text
    assert f"on {found['objects']} objects" in text


def test_the_tables_of_performance_are_those_of_the_measured_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    import bench  # type: ignore[import-not-found]

    page = bench.PAGE.read_text()
    assert bench.filled(page, pd.read_csv(bench.OUT / "bench.csv")) == page
    assert "ms (× " in page


def test_the_report_that_is_measured_has_the_rows_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    import report  # type: ignore[import-not-found]

    report.generate(tmp_path, 12_000)
    files = [*(tmp_path / "reports" / "half" / "rows").glob("*.csv")]
    rows = pd.concat(map(read_results, files))
    assert len(rows) == pytest.approx(12_000, rel=0.01)
    assert not rows.duplicated(["method", "seed", "split", "image_id", "annotation_id"]).any()
    pictures = rows.groupby(["method", "seed", "split"], dropna=False)["image_id"].nunique()
    assert pictures.groupby("split").nunique().eq(1).all(), "all methods on as many pictures"
