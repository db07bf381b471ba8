"""The whole measurement of interactive methods, from prompts to files of rows, one per method.

OUT/rows/METHOD.csv
    One answer to each frozen prompt of a split, and to what people drew where it is at hand.
OUT/corrections/METHOD.csv
    Stroke after stroke.

Each goes on where it was stopped. :mod:`.comparison` makes tables and the figure of them.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib import provenance
from nseg_lib.data import coco
from nseg_lib.data import frozen as prompts
from nseg_lib.evaluation import corrections as protocol
from nseg_lib.evaluation import judge
from nseg_lib.evaluation import refiner_tables as comparison
from nseg_lib.evaluation.methods import InteractiveMethod
from nseg_lib.evaluation.stroke_habits import SCRIBBLES
from nseg_lib.files import sha256
from nseg_lib.strokes.recipes import RECIPES

KINDS = (
    *RECIPES, "sparse", "sparse_object", "dense", "plain_sparse", "plain_object",
)  # fmt: skip
"""Kinds of prompt that are measured unless others are asked for."""

CORRECTED = 60
"""Pictures that are corrected stroke by stroke."""


@dataclass(frozen=True)
class Plan:
    """What is measured, on which data."""

    data: Path
    out: Path
    split: str = "test"
    kinds: tuple[str, ...] = KINDS
    strokes: tuple[str, ...] = tuple(protocol.CORRECTIONS)
    """Ways to draw corrections, of :data:`nseg_lib.evaluation.corrections.CORRECTIONS`."""
    pictures: int | None = None
    """Only so many of the split, the first by id; for rehearsals."""
    corrected: int = CORRECTED
    """Pictures that are corrected; 0 for none."""
    scribbles: Path | None = None
    """Folder of the strokes that people drew; none: they are left out."""


def plan(
    data: Path,
    out: Path,
    split: str = "test",
    *,
    kinds: Sequence[str] | None = None,
    strokes: Sequence[str] | None = None,
    pictures: int | None = None,
    corrected: int = CORRECTED,
) -> Plan:
    """A plan with its defaults where nothing else is asked for.

    Raises:
        ValueError: an unknown kind of prompt or way to draw corrections.
    """
    for what, given, allowed in (
        ("kind of prompt", kinds, prompts.KINDS),
        ("way to draw corrections", strokes, protocol.CORRECTIONS),
    ):
        unknown = [name for name in given or () if name not in allowed]
        if unknown:
            raise ValueError(f"unknown {what} '{unknown[0]}'; one of: {', '.join(allowed)}")
    ways = tuple(strokes or protocol.CORRECTIONS)
    folder = os.environ.get(SCRIBBLES)
    scribbles = Path(folder) if folder else None
    return Plan(data, out, split, tuple(kinds or KINDS), ways, pictures, corrected, scribbles)


def measure(method: InteractiveMethod, plan: Plan, *, progress: bool = True) -> tuple[Path, ...]:
    """Fill both files of one method, with a sidecar of provenance each.

    Rows are known by the method's name. A call that adds none leaves a sidecar as it is.

    Raises:
        ConfigError: there are rows of other weights or other data under this name.
        ValueError, coco.DataError: data, a kind or a file of rows cannot be used.
    """
    split = coco.load_split(plan.data, plan.split)
    claims = _claim(method, plan)
    rows, corrected = claims
    start = time.monotonic()
    frozen = [prompts.freeze_prompts(split, kind) for kind in plan.kinds]
    total = sum(min(len(f.prompts), plan.pictures or len(f.prompts)) for f in frozen)
    _begin(method, plan, rows, claims[rows])
    protocol.one_answer(method, _samples(plan, split), rows, total=total, progress=progress)
    _describe(method, plan, split, rows, claims[rows], time.monotonic() - start)
    if not plan.corrected:
        return (rows,)
    start = time.monotonic()
    count = min(plan.corrected, plan.pictures or plan.corrected)
    _begin(method, plan, corrected, claims[corrected])
    protocol.corrections(
        method, split, corrected, strokes=plan.strokes, pictures=count, progress=progress
    )
    _describe(method, plan, split, corrected, claims[corrected], time.monotonic() - start)
    return rows, corrected


_RowsOf = dict[str, str | None]


def _claim(method: InteractiveMethod, plan: Plan) -> dict[Path, _RowsOf]:
    """A method's two files of rows, each with the weights and the data that its rows are of."""
    weights = getattr(method, "weights", None)
    rows_of: _RowsOf = {
        method.name: weights and sha256(weights),
        f"split {plan.split}": sha256(coco.find_splits(plan.data)[plan.split]),
    }
    files = (plan.out / folder / f"{method.name}.csv" for folder in ("rows", "corrections"))
    return {file: judge.claim(file, rows_of) for file in files}


def _begin(method: InteractiveMethod, plan: Plan, file: Path, rows_of: _RowsOf) -> None:
    """Note what rows are of before the first is written: a call may be cut off at any time."""
    if not file.exists():
        inputs = _inputs(method, plan, rows_of)
        provenance.write_sidecar(file, _settings(method, rows_of), inputs, 0)


def _describe(
    method: InteractiveMethod,
    plan: Plan,
    split: coco.Split,
    file: Path,
    rows_of: _RowsOf,
    seconds: float,
) -> None:
    """The sidecar of a file of rows: what it holds by now, whatever the last call added.

    ``seconds`` are those of the last call that added any.
    """
    frame = pd.read_csv(file)
    kind = "recipe" if "recipe" in frame else "strokes"
    once = frame.drop_duplicates(["split", kind, "image_id"])
    objects = Counter(zip(once["split"], once[kind], strict=True))
    held = [k for s, k in sorted(objects) if s == split.name and k in prompts.KINDS]
    frozen = [prompts.freeze_prompts(split, k) for k in held]
    protocol.note(
        file,
        _settings(method, rows_of),
        [*_inputs(method, plan, rows_of), *(f.path for f in frozen)],
        seconds,
        objects={f"{s}, {k}": n for (s, k), n in sorted(objects.items())},
        dropped={f.kind: len(f.dropped) for f in frozen if f.dropped},
    )


def _settings(method: InteractiveMethod, rows_of: _RowsOf) -> dict[str, Any]:
    return {"method": method.name, "seed": method.seed, "rows_of": rows_of}


def _inputs(method: InteractiveMethod, plan: Plan, rows_of: _RowsOf) -> list[Path]:
    """Annotations, and the weights unless nobody knows whether all rows are of them."""
    annotations = coco.find_splits(plan.data)[plan.split]
    weights = getattr(method, "weights", None)
    return [annotations, weights] if weights and method.name in rows_of else [annotations]


def measure_all(
    methods: Sequence[InteractiveMethod], plan: Plan, *, progress: bool = True
) -> list[Path]:
    """Measure each method, then write tables and figure of all rows that ``plan.out`` holds.

    Raises:
        ValueError: as :func:`measure`, or there are no rows of identity, which every table needs,
            and it is not among the methods; nothing is measured then.
    """
    coco.choose_split(plan.data, plan.split)
    if all(method.name != "identity" for method in methods):
        comparison.check_identity(plan.out)
    for method in methods:
        _claim(method, plan)
    for method in methods:
        measure(method, plan, progress=progress)
    return comparison.write(plan.out)


def _samples(plan: Plan, split: coco.Split) -> Iterator[prompts.PromptSample]:
    yield from prompts.prompt_samples(split, plan.kinds, pictures=plan.pictures)
    if plan.scribbles is not None:
        yield from prompts.human_samples(plan.scribbles, plan.pictures)
