"""People's strokes beside simulated ones, in numbers: width, length, cover, distance to the edge.

``python -m nseg_lib.evaluation.stroke_habits`` measures the strokes of the folder that
NSEG_SCRIBBLES names and, on the same objects, those of the simulator; it writes
``reports/refiner/strokes.csv``. That file holds numbers alone: no picture and no stroke can be made
from it.
"""

from __future__ import annotations

import os
import time
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


def measure(folder: Path) -> pd.DataFrame:
    """Statistics of every drawing in the folder, and of one simulated of each kind beside it.

    Returns:
        A row per drawing, people's first: ``strokes`` (a set of people's, or a kind of the
        simulator), ``picture`` (from 1), and those of
        :func:`nseg_lib.data.scribbles.stroke_statistics`; the same table always.

    Raises:
        DataError: as :func:`nseg_lib.data.scribbles.load_scribbles`.
    """
    people, simulated = list[dict[str, object]](), list[dict[str, object]]()
    for number, found in enumerate(load_scribbles(folder), 1):
        drawn = {
            kind: draw_prompt(found.mask, kind, generator(kind, EVALUATION_SEED, number))
            for kind in SIMULATED
        }
        for rows, drawings in ((people, found.strokes), (simulated, drawn)):
            for name, strokes in drawings.items():
                row = {"strokes": name, "picture": number}
                rows.append(row | stroke_statistics(strokes, found.mask))
    simulated.sort(key=lambda row: SIMULATED.index(str(row["strokes"])))
    return pd.DataFrame([*people, *simulated], columns=COLUMNS)


def main() -> None:
    """Write the table into ``reports/refiner``, with a sidecar of provenance."""
    began, folder = time.perf_counter(), os.environ.get(SCRIBBLES)
    if not folder:
        raise SystemExit(f"no strokes of people: set {SCRIBBLES} to their folder")
    table = measure(Path(folder)).replace([np.inf, -np.inf], np.nan).round(4)
    out = Path("reports/refiner/strokes.csv")
    files.write_atomic(out, table.to_csv(index=False, lineterminator="\n"))
    settings = {"simulated": list(SIMULATED), "seed": EVALUATION_SEED}
    note(out, settings, [], time.perf_counter() - began)
    print(out)


if __name__ == "__main__":
    main()
