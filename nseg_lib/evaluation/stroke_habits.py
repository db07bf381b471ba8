"""People's strokes beside simulated ones, in numbers: width, length, cover, distance to the edge.

``python -m nseg_lib.evaluation.stroke_habits`` measures the strokes of the folder that
NSEG_SCRIBBLES names and, on the same objects, those of the simulator; it writes
``reports/refiner/strokes.csv``. That file holds numbers alone: no picture and no stroke can be made
from it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nseg_lib import files
from nseg_lib.data.frozen import EVALUATION_SEED, generator
from nseg_lib.data.scribbles import load_scribbles, stroke_statistics
from nseg_lib.evaluation.rows import note
from nseg_lib.strokes.people import draw_prompt

SCRIBBLES = "NSEG_SCRIBBLES"
"""The environment variable that names the folder of strokes that people drew."""

SIMULATED = ("dense", "hatch", "sparse", "erode")
"""Kinds of the simulator that are set beside people's strokes; ``erode`` is the paper's."""


COLUMNS = [
    "strokes", "picture", "object_width", "object_length", "object_depth", "cover", "over",
    "background_width", "background_length", "background_depth",
]  # fmt: skip


def measure(folder: Path, seed: int = EVALUATION_SEED) -> pd.DataFrame:
    """Statistics of every drawing in the folder, and of one simulated of each kind beside it.

    Returns:
        A row per drawing, people's first: ``strokes`` (a set of people's, or a kind of the
        simulator), ``picture`` (from 1), and those of
        :func:`nseg_lib.data.scribbles.stroke_statistics`; one seed gives the same table always.

    Raises:
        DataError: as :func:`nseg_lib.data.scribbles.load_scribbles`.
    """
    people, simulated = list[dict[str, object]](), list[dict[str, object]]()
    for number, found in enumerate(load_scribbles(folder), 1):
        drawn = {
            kind: draw_prompt(found.mask, kind, generator(kind, seed, number)) for kind in SIMULATED
        }
        for rows, drawings in ((people, found.strokes), (simulated, drawn)):
            for name, strokes in drawings.items():
                row = {"strokes": name, "picture": number}
                rows.append(row | stroke_statistics(strokes, found.mask))
    simulated.sort(key=lambda row: SIMULATED.index(str(row["strokes"])))
    return pd.DataFrame([*people, *simulated], columns=COLUMNS)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__)
    folder = os.environ.get(SCRIBBLES)
    parser.add_argument("--scribbles", type=Path, default=folder and Path(folder))
    parser.add_argument("--out", type=Path, default=Path("reports/refiner/strokes.csv"))
    args = parser.parse_args(arguments)
    if args.scribbles is None:
        parser.error(f"no strokes of people: set {SCRIBBLES}, or give --scribbles DIR")
    table = measure(args.scribbles)
    text = (
        table.replace([np.inf, -np.inf], np.nan).round(4).to_csv(index=False, lineterminator="\n")
    )
    files.write_atomic(args.out, text)
    settings = {"simulated": list(SIMULATED), "seed": EVALUATION_SEED}
    note(args.out, settings, [], time.perf_counter() - began)
    print(args.out)


if __name__ == "__main__":
    main()
