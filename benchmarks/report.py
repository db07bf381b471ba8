"""Measure tables, page and ``nseg verify`` of larger and larger reports: is their time linear?

Each report is a copy of ``reports/half`` in which every picture stands several times, under other
ids, or which has only a part of the pictures. Each step runs in a process of its own, and its time
is the processor's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from answer import peak_mb

ROWS = (1_000, 10_000, 30_000, 100_000)
"""Rows of a report, of all networks and baselines together."""

STEPS = ("tables and figures", "page", "verify")
PROJECT = Path(__file__).parents[1]


def generate(root: Path, count: int) -> None:
    """Make a project whose report "half" has about ``count`` rows; each method keeps its share."""
    import pandas as pd

    for part in ("workflow/profiles", "benchmarks/results", "reports/half"):
        # Left out is what needs more than the rows.
        unmeasured = shutil.ignore_patterns("native", "rows", "figure[67].*", "index.html")
        shutil.copytree(PROJECT / part, root / part, ignore=unmeasured)
    for path in [*(PROJECT / "reports").glob("*.*"), PROJECT / "README.md"]:
        shutil.copy(path, root / path.relative_to(PROJECT))
    (root / "reports" / "half" / "rows").mkdir()

    rows = {path: pd.read_csv(path) for path in (PROJECT / "reports/half/rows").glob("*.csv")}
    share = count / sum(map(len, rows.values()))
    pictures = PROJECT / "reports/half/measured/pictures.csv"
    for path, table in {**rows, pictures: pd.read_csv(pictures)}.items():
        several = []
        for turn in range(int(share) + 1):
            ids = [name for name in ("image_id", "annotation_id") if name in table]
            several.append(table.assign(**{name: table[name] + turn * 10**8 for name in ids}))
        grown = pd.concat(several)
        if path != pictures:  # the first of each method and split; of pictures, all may stay
            of = grown.groupby(["method", "split"])["iou"]
            grown = grown[of.cumcount() < of.transform("size") * share / (int(share) + 1)]
        for name in ("seed", "showable"):
            if name in grown:
                grown[name] = grown[name].astype("Int64")
        grown.to_csv(root / path.relative_to(PROJECT), index=False)


def step(name: str, root: Path) -> None:
    """One step, in a process of its own."""
    from reproduction import exhibits, page, profiles, verify

    if name == "tables and figures":
        exhibits.write(root, "half")
    elif name == "page":
        page.write_page(root, profiles.load(root, "half"))
    else:
        found = verify.verify(root, "half")
        # Tables agree; a cell that differs would take time of its own.
        apart = [line for line in found.problems if line.startswith(("tables", "figures"))]
        assert not apart, apart[0]


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows and a plot."""
    from matplotlib import pyplot as plt

    counts = ROWS[:1] if quick else ROWS
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in STEPS}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder), count)
            for name in STEPS:
                command = [sys.executable, __file__, name, folder]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for name, points in found.items():
        tenth = points[counts.index(counts[-1] // 10) if not quick else 0]
        for what, unit, value, before in zip(
            ("time", "peak memory"), ("s", "MB"), points[-1], tenth, strict=True
        ):
            rows.append({
                "method": name, "what": what, "size": f"{counts[-1]:,} rows", "threads": 1,
                "value": round(value, 1 if unit == "s" else 0), "unit": unit,
                "peer": "a tenth of the rows", "ratio": round(value / before, 2), "runs": 1,
            })  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for name, points in found.items():
        axes.plot(counts, [seconds for seconds, _ in points], marker="o", label=name)
    axes.set(xlabel="rows of the report", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    axes.legend()
    return rows, figure


if __name__ == "__main__":
    step(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps([time.process_time(), peak_mb()]))
