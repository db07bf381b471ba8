"""What claims need beside the rows: redrawn strokes, and facts about each picture.

Both need the pictures once and are then small tables in ``reports/<profile>/measured``, so that
everything drawn from them can be made again without any picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nseg_lib.course import probes
from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import metrics
from nseg_lib.files import write_atomic
from nseg_lib.refine import Refiner

DRAWS = 10
"""How often the strokes of a split are drawn anew, each time with another seed."""

REDRAWN = ("iou", "boundary_iou_1px")
"""Metrics of ``redraws.csv``."""

PICTURES = ("split", "image_id", "width", "height", "showable", "clutter")
"""Columns of ``pictures.csv``: size in the file in pixels, whether the licence lets a report show
the picture, and :func:`nseg_lib.course.probes.clutter` at the profile's scale where it is
evaluated."""


def measure_redraws(
    networks: Mapping[str, Refiner],
    data: Path,
    target: Path,
    scale: float,
    say: Callable[[str], None],
) -> None:
    """Write how the same networks do on the same pictures under other draws of the strokes.

    Args:
        networks: asked about pictures as they are; identity is added.
        data: a data set; its test split, or val without one, gets strokes with the seeds 1 to
            :data:`DRAWS`; 0 is that of all tables.
        target: CSV with the columns ``draw``, ``method``, ``image_id`` and :data:`REDRAWN`. A
            stroke that came out too small has no row.
        scale: of the pictures that networks see.
        say: takes a line of progress.
    """
    split = coco.load_split(data, "test" if "test" in coco.find_splits(data) else "val")
    lines: list[tuple[object, ...]] = []
    for draw in range(1, DRAWS + 1):
        for sample in EvaluationSamples(split, scale=scale, seed=draw):
            answers = {"identity": sample.stroke}
            answers |= {
                name: refiner.refine(sample.image, sample.stroke, scale=1)
                for name, refiner in networks.items()
            }
            for name, answer in answers.items():
                values = [getattr(metrics, metric)(answer, sample.mask) for metric in REDRAWN]
                lines.append((draw, name, sample.image_id, *(f"{v:.6f}" for v in values)))
        say(f"strokes drawn {draw} of {DRAWS} times")
    _write(target, ("draw", "method", "image_id", *REDRAWN), lines)


def measure_pictures(data: Path, target: Path, scale: float) -> None:
    """Write :data:`PICTURES` of a data set as CSV; clutter of all splits but ``train``."""
    there = coco.find_splits(data)
    lines: list[tuple[object, ...]] = []
    for split in (coco.load_split(data, n) for n in ("train", "val", "test") if n in there):
        clutter = {}
        if split.name != "train":
            for sample in EvaluationSamples(split, scale=scale):
                value = probes.clutter(sample.image, sample.mask)
                clutter[sample.image_id] = f"{value:.4f}"
        for image_id, record in sorted(split.images.items()):
            showable = int(split.credit(image_id) is not None)
            size = record["width"], record["height"]
            lines.append((split.name, image_id, *size, showable, clutter.get(image_id, "")))
    _write(target, PICTURES, lines)


def _write(target: Path, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    frame = pd.DataFrame(lines, columns=[*header])
    write_atomic(target, frame.to_csv(index=False, lineterminator="\n"))


def read_redraws(path: Path) -> pd.DataFrame:
    """Mean of each metric per draw and method, over the pictures that have a stroke in that draw.

    A draw that leaves a picture without a stroke drops it, as an evaluation does; what this moves
    belongs to what redrawing moves. Most such pictures have small objects.

    Returns:
        Columns ``draw``, ``method`` and :data:`REDRAWN`; empty where there is no file.
    """
    if not path.is_file():
        return pd.DataFrame(columns=["draw", "method", *REDRAWN])
    groups = pd.read_csv(path).groupby(["draw", "method"], sort=False)
    return groups[list(REDRAWN)].mean().reset_index()


def read_pictures(path: Path) -> pd.DataFrame:
    """``pictures.csv``; ``clutter`` is NaN where it was not measured; empty without a file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(PICTURES))
    return pd.read_csv(path).astype({"clutter": np.float64})
