"""Measure speed and memory, each figure beside a peer in the same run: ``make bench``.

    python benchmarks/bench.py [answer|folders|training|growth …] [--quick]

A group measures in turns, its own way and the peer's, so that other work on the machine slows both;
what is compared is the median of the ratios. Every figure is one row of
``reports/bench/bench.csv``, with its machine and how much else ran; a group that is measured again
replaces its rows. ``bench.md`` is the same as a table, ``<group>.png`` a plot. ``--quick`` measures
everything once, on little, into a temporary folder: it shows that the benchmarks run, not how fast.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import answer
import folders
import growth
import matplotlib
import pandas as pd
import training

from nseg_lib.files import write_atomic
from nseg_lib.provenance import describe_device, write_sidecar

matplotlib.use("Agg")
OUT = Path(__file__).parents[1] / "reports" / "bench"
GROUPS = {"answer": answer, "folders": folders, "training": training, "growth": growth}
COLUMNS = ["group", "what", "value", "unit", "peer", "ratio", "runs", "machine", "load"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help="default: all")
    parser.add_argument("--quick", action="store_true", help="on little, keeping nothing")
    arguments = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="nseg-bench-")) if arguments.quick else OUT
    for name in arguments.groups or GROUPS:
        began, load = time.monotonic(), os.getloadavg()[0]
        rows, figure = GROUPS[name].measure(quick=arguments.quick)
        table = pd.DataFrame(rows).assign(
            group=name, machine=describe_device(), load=round(load, 1)
        )
        path = out / "bench.csv"
        if path.exists():  # the other groups' rows stay
            before = pd.read_csv(path)
            table = pd.concat([before[before["group"] != name], table])
        table = table.reindex(columns=COLUMNS).sort_values("group", kind="stable")
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
        shown = table.drop(columns=["machine", "load"]).fillna("")
        write_atomic(out / "bench.md", _markdown(shown))
        figure.savefig(out / f"{name}.png", dpi=120, metadata={"Software": None})
        write_sidecar(out / f"{name}.png", {"group": name}, [], time.monotonic() - began)
        print(shown[shown["group"] == name].to_string(index=False), flush=True)
    print(out / "bench.md")


def _markdown(table: pd.DataFrame) -> str:
    head = f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}\n"
    rows = (f"| {' | '.join(map(str, row))} |\n" for row in table.itertuples(index=False))
    return head + "".join(rows)


if __name__ == "__main__":
    main()
