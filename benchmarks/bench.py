"""Measure speed and memory, each figure beside a peer in the same run: ``make bench``.

    python benchmarks/bench.py [answer|folders|training|growth|report …] [--quick]

A group measures in turns, its own way and the peer's, so that other work on the machine slows both;
what is compared is the median of the ratios. Every figure is one row of
``reports/bench/bench.csv``, with its machine and how much else ran; a group that is measured again
replaces its rows. ``<group>.png`` is a plot, and the tables of ``docs/performance.md`` are filled
in from the rows (``--tables`` does only that). ``--quick`` measures everything once, on little,
into a temporary folder: it shows that the benchmarks run, not how fast.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import answer
import folders
import growth
import matplotlib
import pandas as pd
import report
import training

from nseg_lib.files import write_atomic
from nseg_lib.provenance import describe_device, write_sidecar

matplotlib.use("Agg")
OUT = Path(__file__).parents[1] / "reports" / "bench"
GROUPS = {
    "answer": answer,
    "folders": folders,
    "training": training,
    "growth": growth,
    "report": report,
}
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
COLUMNS = [
    "group", "method", "what", "size", "threads", "value", "unit", "peer", "ratio", "runs",
    "machine", "load",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help="default: all")
    parser.add_argument("--quick", action="store_true", help="on little, keeping nothing")
    parser.add_argument("--tables", action="store_true", help="measure nothing, fill in the page")
    arguments = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="nseg-bench-")) if arguments.quick else OUT
    path = out / "bench.csv"
    for name in [] if arguments.tables else arguments.groups or GROUPS:
        began, load = time.monotonic(), os.getloadavg()[0]
        rows, figure = GROUPS[name].measure(quick=arguments.quick)
        table = pd.DataFrame(rows).assign(
            group=name, machine=describe_device(), load=round(load, 1)
        )
        if path.exists():  # the other groups' rows stay
            before = pd.read_csv(path)
            table = pd.concat([before[before["group"] != name], table])
        table = table.reindex(columns=COLUMNS).sort_values("group", kind="stable")
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
        figure.savefig(out / f"{name}.png", dpi=120, metadata={"Software": None})
        write_sidecar(out / f"{name}.png", {"group": name}, [], time.monotonic() - began)
        print(markdown(table[table["group"] == name]), flush=True)
    if not arguments.quick:
        write_atomic(PAGE, filled(PAGE.read_text(), pd.read_csv(path)))
    print(path)


def markdown(rows: pd.DataFrame) -> str:
    """A group's rows as tables, one for each size and number of threads: a line per method, a
    column per figure, and in brackets how many times the peer's it is."""
    parts = []
    for (size, threads), of_size in rows.groupby(["size", "threads"], sort=False):
        cells: dict[str, dict[str, str]] = {}
        for row in of_size.to_dict("records"):
            ratio = "" if pd.isna(row["ratio"]) else f" (× {row['ratio']:.2f})"
            cell = f"{row['value']:g} {row['unit']}{ratio}"
            cells.setdefault(row["what"], {})[row["method"]] = cell
        methods = list(dict.fromkeys(of_size["method"]))
        lines = [["", *cells], ["---"] * (len(cells) + 1)]
        lines += [[method, *(of.get(method, "–") for of in cells.values())] for method in methods]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**{size}, {threads} thread{'s' * (threads > 1)}**\n\n{table}\n")
    peers = " and ".join(dict.fromkeys(rows["peer"].dropna()))
    loads = " to ".join(dict.fromkeys(f"{at:g}" for at in (rows["load"].min(), rows["load"].max())))
    where = f"{rows['machine'].iloc[0]}, {loads} other processes running at the start"
    return "\n".join(parts) + f"\n×: times the value of {peers}. Measured on {where}.\n"


PICTURES, OBJECTS = 118_287, 860_001
"""Of COCO's train2017."""

GPU_LOG = Path("reports/half/training/tiny16-32_bce-dice/seed1/log.csv")
"""Its first ten epochs ran on one H200 with 16 processors, beside twelve other trainings."""


def costs(rows: pd.DataFrame) -> str:
    """What all of COCO would take, computed from figures that were measured; nothing of it was run.

    A training has 25 epochs. Trainings are independent of one another, so 36 of them keep at most
    36 machines busy, such as twelve networks with three seeds; refining has no such limit.
    """

    def measured(what: str, threads: int) -> float:
        of = rows[(rows["group"] == "answer") & (rows["size"] == "640x480")]
        of = of[(of["method"] == "lite1") & (of["what"] == what) & (of["threads"] == threads)]
        return float(of["value"].iloc[0])

    training = rows[(rows["group"] == "training") & (rows["unit"] == "pictures/s")]
    pairs_per_s = float(training["value"].iloc[0])
    log = pd.read_csv(OUT.parents[1] / GPU_LOG)[:10]
    pairs_per_s_gpu = float(((log["steps"].diff().fillna(log["steps"]) + log["dropped"])
                             / log["seconds"]).median())  # fmt: skip
    hours_cpu = 25 * PICTURES / pairs_per_s / 3600
    hours_gpu = 25 * PICTURES / pairs_per_s_gpu / 3600
    refining = OBJECTS * measured("first answer", 2) / 1000 / 3600
    lines = [
        ["machines", "one training of tiny16-32", "36 trainings of that size", "a mask per object"],
        ["---"] * 4,
        ["1 CPU machine", f"{hours_cpu:.0f} h", f"{36 * hours_cpu:,.0f} h", f"{refining:.1f} h"],
        ["100 CPU machines", f"{hours_cpu:.0f} h", f"{hours_cpu:.0f} h",
         f"{refining * 60 / 100:.0f} min"],
        *([f"{count} GPU{'s' * (count > 1)}", f"{hours_gpu:.0f} h",
           f"{hours_gpu * max(1.0, 36 / 13 / count):.0f} h", "not measured"]
          for count in (1, 8, 64)),
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def filled(page: str, rows: pd.DataFrame) -> str:
    """The page with each table between ``<!-- bench: GROUP -->`` and ``<!-- end -->`` anew."""

    def table(found: re.Match[str]) -> str:
        group = found[1]
        text = costs(rows) if group == "costs" else markdown(rows[rows["group"] == group])
        return f"<!-- bench: {group} -->\n\n{text}\n<!-- end -->"

    return re.sub(r"<!-- bench: (\w+) -->.*?<!-- end -->", table, page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
