"""``nseg reproduce`` and ``nseg evidence``, hit by faults: the next run makes what it should."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_bench import LONG, Bench, bench, leftovers, survives, tree  # noqa: F401 (a fixture)
from toy_project import COCO, make_project, nseg

TRIALS = 20


pytestmark = pytest.mark.skipif(
    not LONG, reason="takes half an hour: NSEG_FAULTS=long pytest tests/faults"
)


def results(report: Path) -> dict[str, str]:
    """Rows and logs without their seconds, and every table but that of runs, which has dates."""
    return {
        name: digest
        for name, digest in tree(report).items()
        if (name.startswith(("rows/", "training/")) and name.endswith(".csv"))
        or (name.startswith("tables/") and name.endswith(".md") and "runs" not in name)
    }


def test_reproduce_killed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    made = project / "reports" / "toy"
    command = [sys.executable, "-m", "reproduction.commands", "reproduce",
               "--profile", "toy", "--coco", COCO]  # fmt: skip
    assert nseg(project, *command[3:]).returncode == 0
    expected = results(made)
    assert expected
    moments = random.Random(0)
    for _ in range(TRIALS):
        for folder in (made, project / "runs", project / ".snakemake"):
            shutil.rmtree(folder, ignore_errors=True)
        run = subprocess.Popen(command, cwd=project, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        after = moments.uniform(2, 40)
        try:
            run.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        again = nseg(project, *command[3:])
        assert again.returncode == 0, f"killed after {after:.1f} s: {again.stderr}"
        assert results(made) == expected, f"killed after {after:.1f} s"
        assert not leftovers(project / "reports")
        assert not leftovers(project / "runs")


def test_evidence(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    """Tables, figures and the page are made from the rows of a report that has nothing else."""
    project = make_project(tmp_path / "project")
    assert nseg(project, "reproduce", "--profile", "toy", "--coco", COCO).returncode == 0
    rows = Path(shutil.copytree(project / "reports", tmp_path / "rows"))
    for folder in ("tables", "figures"):
        shutil.rmtree(rows / "toy" / folder)
    survives(
        bench, project / "reports", ["evidence", "--profile", "toy"], most=20,
        prepare=lambda folder: shutil.copytree(rows, folder),
        # One figure's PDF is not drawn in the same order each time.
        timed=("SHA256SUMS", "index.html", "forest.pdf", "forest.json"),
    )  # fmt: skip
