"""Figures in docs/ are those of the committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

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
