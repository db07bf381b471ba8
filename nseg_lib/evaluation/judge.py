"""Networks and baselines on a data set's splits → ``results.csv`` and a table per split."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nseg_lib import files, provenance
from nseg_lib.config import ConfigError
from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import tables
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.rows import BaselineMethod, Method, ModelMethod, evaluate
from nseg_lib.evaluation.summary import read_results, summarise
from nseg_lib.networks.weights import checkpoint_file
from nseg_lib.refine import Refiner


def judge(
    checkpoints: Sequence[Path],
    data: Path,
    out: Path,
    splits: Sequence[str] | None = None,
    scale: float | None = None,
    recipe: str = "erode",
    *,
    progress: bool = False,
) -> list[Path]:
    """Evaluate every checkpoint and every baseline on the frozen strokes of each split.

    Args:
        checkpoints: files of ``nseg train``, or shipped networks' names; each goes by its
            configuration's name and seed.
        data: a reduced or sample data set.
        out: made if missing; ``results.csv`` in it is added to, never recomputed.
        splits: by default those of val and test that there are.
        scale: of the pictures; by default the one that the checkpoints were trained at, else 1.

    Returns:
        A Markdown table per split; the same as CSV, and a sidecar of provenance, beside each.

    Raises:
        ConfigError: the checkpoints were trained at different scales and none is given.
        ValueError: a checkpoint or the data set cannot be used.
    """
    began = time.monotonic()
    checkpoints = [checkpoint_file(path) for path in checkpoints]
    refiners = [Refiner.load(path) for path in checkpoints]
    scales = sorted({r.scale for r in refiners}) or [1.0]
    if scale is None and len(scales) > 1:
        raise ConfigError(f"the checkpoints were trained at scales {scales}; choose one (--scale)")
    at = scales[0] if scale is None else scale
    methods: list[Method] = [BaselineMethod(name, at) for name in BASELINES]
    methods += [ModelMethod(r, r.config.name, r.config.training.seed) for r in refiners]
    found = coco.find_splits(data)
    splits = [n for n in ("val", "test") if n in found] if splits is None else splits
    if not splits:
        there = ", ".join(found) or "none"
        raise coco.DataError(f"{data}: no split val or test (there: {there}); choose one (--split)")
    samples = {n: EvaluationSamples(coco.load_split(data, n), recipe, at) for n in splits}
    dropped = {name: len(s.dropped) for name, s in samples.items()}
    inputs = [*checkpoints, *(found[name] for name in splits)]
    results = out / "results.csv"
    rows_of: dict[str, str | None] = {f"split {name}": files.sha256(found[name]) for name in splits}
    for path, r in zip(checkpoints, refiners, strict=True):
        rows_of[f"{r.config.name}, seed {r.config.training.seed}"] = files.sha256(path)
    rows_of = claim(results, rows_of, at)
    settings = {"splits": list(splits), "scale": at, "recipe": recipe, "dropped": dropped}
    settings["rows_of"] = rows_of
    out.mkdir(parents=True, exist_ok=True)
    provenance.write_sidecar(results, settings, inputs, 0)
    for name in splits:
        evaluate(methods, samples[name], results, progress=progress)
    frame = read_results(results)
    written = []
    for name in splits:
        summary = summarise(frame, split=name, recipe=recipe)
        table = out / f"table_{name}.md"
        files.write_atomic(table.with_suffix(".csv"), tables.to_csv(summary))
        files.write_atomic(table, tables.to_markdown(summary))
        provenance.write_sidecar(table, settings, [results], time.monotonic() - began)
        written.append(table)
    provenance.write_sidecar(results, settings, inputs, time.monotonic() - began)
    return written


def claim(
    rows: Path, rows_of: Mapping[str, str | None], scale: float | None = None
) -> dict[str, str | None]:
    """Refuse to add to rows of another network or other data under the same name.

    Args:
        rows: a file of rows; the ``config`` of its sidecar has ``rows_of``, perhaps ``scale``.
        rows_of: split or method → SHA-256 of its file, ``None`` for a method without one.
        scale: of the pictures, where rows of two scales could meet.

    Returns:
        The same of all rows, those that are there already included. Empty for rows that are there
        without such a note: they are taken as they are, and no note is made up.

    Raises:
        ConfigError: the rows are of another file, or at another scale.
    """
    if not rows.exists():
        return dict(rows_of)
    sidecar = rows.with_name(f"{rows.name}.json")
    before = (json.loads(sidecar.read_bytes())["config"] or {}) if sidecar.exists() else {}
    known: dict[str, str | None] = before.get("rows_of", {})
    other = [name for name, digest in rows_of.items() if known.get(name, digest) != digest]
    if before.get("scale", scale) != scale:
        was = f"rows at scale {before['scale']}, not {scale}"
    elif other:
        was = f"rows of another {other[0]}"
    else:
        return {**known, **rows_of} if known else {}
    raise ConfigError(f"{rows}: holds {was}; delete it or choose another folder (--out)")
