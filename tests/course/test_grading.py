"""A student's notebook is graded by its functions and answers, whatever else is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import v4, write

from nseg_lib.course.grading import grade
from nseg_lib.parsing import ConfigError


def test_functions_and_answers_are_graded_and_other_cells_do_not_run(tmp_path: Path) -> None:
    sources = [
        "import numpy as np",
        "raise SystemExit",
        "%matplotlib inline",
        "deep = " + "-" * 100_000 + "1",
        'print(exercises.choose("iou of doing nothing", "b"))',
        "def made_worse(before, after):\n    return float(np.mean(np.array(after) < before))\n"
        "print(exercises.check(made_worse))",
        "def what_changed(stroke, answer): ...\nprint(exercises.check(what_changed))",
    ]
    path = tmp_path / "00.ipynb"
    picture = v4.new_output("display_data", {"image/png": "A" * 1_000_000})  # it was run
    cells = [v4.new_code_cell(s, outputs=[picture]) for s in sources]
    write(v4.new_notebook(cells=cells), path)
    verdicts = dict(grade(path))
    assert verdicts["iou of doing nothing"].startswith("right: ")
    assert verdicts["made_worse"] == "right"
    assert verdicts["what_changed"].startswith("not done yet")


def test_what_is_no_chapter_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text('{"cells": []}')
    with pytest.raises(ConfigError, match="has no exercises of the course"):
        grade(tmp_path / "x.ipynb")
    (tmp_path / "text.ipynb").write_text("no JSON")
    for name in ("none", "text"):
        with pytest.raises(ConfigError, match="cannot be read as a notebook"):
            grade(tmp_path / f"{name}.ipynb")
