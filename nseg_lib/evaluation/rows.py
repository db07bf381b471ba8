"""Method × picture → one row in ``results.csv``, the only source of any number in a table.

:func:`evaluate` fills the file picture by picture; a run that was killed goes on where it stopped.
:mod:`nseg_lib.evaluation.summary` reads the file and says what a method adds to its stroke.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nseg_lib import provenance
from nseg_lib.config import ConfigError
from nseg_lib.console import progress_bar
from nseg_lib.data.frozen import Sample
from nseg_lib.evaluation.methods import Method
from nseg_lib.evaluation.metrics import METRICS, evaluate_mask
from nseg_lib.files import append_row, only_writer, sha256, write_atomic
from nseg_lib.parsing import read_json, short
from nseg_lib.prompt import Prompt

RULES = {"probability": "", "logit": "_logit05"}
"""Threshold → suffix of its metrics' columns. ``probability``: mask where probability > .5.
``logit``: where the logit > .5 (probability .62), as the paper's released code has it."""

RowsOf = dict[str, str | None]
"""What rows are of: split or method → SHA-256 of its file, None for a method without one."""

_KEY = ("method", "seed", "split", "recipe", "image_id", "annotation_id")
"""The columns by which a row is known."""

COLUMNS = (
    *_KEY, "category", "supercategory", "width", "height", "object_area", "stroke_area",
    *(name + suffix for suffix in RULES.values() for name in METRICS),
    *("empty_prediction" + suffix for suffix in RULES.values()), "seconds",
)  # fmt: skip
"""Columns of ``results.csv``. ``seed`` is empty for a method without one; areas are in pixels,
``empty_prediction`` is 1 where the predicted mask is empty, ``seconds`` is the wall time of the
prediction, reading and metrics not included."""


def evaluate(
    methods: Sequence[Method],
    samples: Iterable[Sample],
    results_csv: str | Path,
    *,
    released_rule: bool = True,
    total: int | None = None,
    progress: bool = True,
) -> Path:
    """Add to ``results_csv`` the row of each method on each sample that it does not hold yet.

    Rows are written as they are made. After a kill the same call repairs a line cut short and
    goes on from there; at the end the file is sorted, so that its order tells nothing about the
    way it was made. A row is known by method, seed, split, recipe, picture and annotation.

    Args:
        methods: each with its own pair of name and seed.
        samples: read once, lazily; each is judged by all methods before the next is read.
        results_csv: created where missing, its folder too.
        released_rule: judge the mask of ``logit`` in :data:`RULES` as well; without it those
            columns repeat the others.
        total: number of samples, for the progress bar, where ``samples`` does not tell.

    Raises:
        ValueError: a file with other columns or a broken line; two methods with the same name
            and seed; a sample that occurs twice; an input that a method refuses; an answer that
            is no finite float32 H×W; another process that writes the file.
    """
    for (name, seed), count in Counter((method.name, method.seed) for method in methods).items():
        if count > 1:
            raise ValueError(f"methods: two are named {name} with seed {seed}; tell them apart")
    path, judged = Path(results_csv), set[tuple[str, ...]]()
    with only_writer(path):
        rows = resume(path)  # those of an earlier call, whose unfinished line is cut off
        done = {tuple(row[: len(_KEY)]) for row in rows}
        if not path.exists() or not path.stat().st_size:
            append_row(path, COLUMNS)
        for sample in progress_bar(samples, "evaluating", progress, total):
            for method in methods:
                whose = {"method": method.name, "seed": method.seed}
                row = whose | {name: getattr(sample, name) for name in _KEY[2:]}
                key = tuple(map(_text, row.values()))
                if key in judged:
                    raise ValueError(f"samples: annotation {sample.annotation_id} occurs twice")
                judged.add(key)
                if key in done:
                    continue
                row |= _judge(method, sample, released_rule)
                rows.append([_text(row[column]) for column in COLUMNS])
                append_row(path, rows[-1])
        content = io.StringIO(newline="")
        csv.writer(content, lineterminator="\n").writerows([COLUMNS, *sorted(rows, key=_order)])
        write_atomic(path, content.getvalue())
    return path


def _judge(method: Method, sample: Sample, released_rule: bool) -> dict[str, Any]:
    """Ask the method and judge its answer: the other columns of a row."""
    target, ignore = sample.mask, sample.ignore
    row: dict[str, Any] = {"category": sample.category, "supercategory": sample.supercategory}
    row |= {"width": target.shape[1], "height": target.shape[0]}
    row |= {"object_area": target.sum(), "stroke_area": sample.stroke.sum()}
    try:
        prompt = Prompt(sample.stroke, sample.background, box=sample.box)
        start = time.perf_counter()
        logits = method.predictor.logits(sample.image, prompt)
        row["seconds"] = round(time.perf_counter() - start, 6)
        if not isinstance(logits, np.ndarray) or logits.dtype != np.float32:
            got = getattr(logits, "dtype", type(logits).__name__)
            raise TypeError(f"logits must be a float32 array, got {got}")
        if not np.isfinite(logits).all():  # NaN would pass for "not object"
            raise ValueError("logits are not all finite")
        masks = {"probability": logits > 0, "logit": logits > (0.5 if released_rule else 0)}
        for rule, suffix in RULES.items():
            mask = masks[rule]
            if rule == "probability" or (mask != masks["probability"]).any():  # not twice the same
                values = evaluate_mask(mask, target, ignore)
            row |= {name + suffix: value for name, value in values.items()}
            decided = mask if ignore is None else mask & ~ignore
            row["empty_prediction" + suffix] = int(not decided.any())
    except (TypeError, ValueError) as error:
        where = f"{method.name}, picture {sample.image_id}, annotation {sample.annotation_id}"
        raise ValueError(f"{where}: {error}") from error
    return row


def _text(value: Any) -> str:
    """As written to the file: floats read back the same, names stay on one line."""
    return "" if value is None else " ".join(str(value).split())


def read_rows(results_csv: str | Path) -> list[list[str]]:
    """The rows of a finished ``results.csv``, as text in the order of :data:`COLUMNS`.

    Raises:
        ValueError: no such file, other columns, a broken or repeated line, the last one cut short.
    """
    path = Path(results_csv)
    if not path.is_file():
        raise ValueError(f"{path}: no such file of results")
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        raise ValueError(f"{path}: its last line is cut short; evaluate again to go on from there")
    return _parse(path, data)


def resume(path: Path) -> list[list[str]]:
    """The rows that an earlier call finished; a line that it left unfinished is cut off.

    Raises:
        ValueError: other columns, a broken or repeated line; the file stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.read_bytes() if path.exists() else b""
    header = (",".join(COLUMNS) + "\n").encode()
    complete = data[: data.rfind(b"\n") + 1]
    rows: list[list[str]] = []
    if complete or not header.startswith(data):
        rows = _parse(path, complete or data)
    if len(complete) < len(data):
        os.truncate(path, len(complete))
    return rows


def _parse(path: Path, data: bytes) -> list[list[str]]:
    try:
        header, *rows = csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline=""))
    except csv.Error as error:
        raise ValueError(f"{path}: not a results file ({error})") from None
    if tuple(header) != COLUMNS:
        missing, unknown = set(COLUMNS).difference(header), set(header).difference(COLUMNS)
        raise ValueError(
            f"{path}: not a results file, or of another version; columns missing: "
            f"{short(sorted(missing))}; unknown: {short(sorted(unknown))}"
        )
    lines: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise ValueError(f"{path}: line {number} has {len(row)} fields, not {len(COLUMNS)}")
        try:
            key = _order(row)
        except ValueError:
            raise ValueError(f"{path}: line {number}: seed or an id is no whole number") from None
        if key in lines:
            raise ValueError(f"{path}: line {number} repeats line {lines[key]}")
        lines[key] = number
    return rows


def _order(row: Sequence[str]) -> tuple[Any, ...]:
    """Sort key of a row: split, recipe, method, seed (none first), picture, annotation."""
    method, seed, split, recipe, image_id, annotation_id = row[: len(_KEY)]
    return split, recipe, method, seed != "", int(seed or 0), int(image_id), int(annotation_id)


# --- what rows are of -----------------------------------------------------------------------------


_NO_RECORD = "not a record of provenance; delete it and the rows"


def check_rows_of(
    rows: Path, rows_of: Mapping[str, str | None], scale: float | None = None
) -> RowsOf:
    """Refuse to add to rows of another network or other data under the same name.

    Args:
        rows: a file of rows; the ``config`` of its sidecar has ``rows_of``, perhaps ``scale``.
        rows_of: of the rows that are to be added.
        scale: of the pictures, where rows of two scales could meet.

    Returns:
        ``rows_of`` of all rows, those that are there included. Empty for rows that are there
        without such a note: they are taken as they are, and no note is made up.

    Raises:
        ConfigError: the rows are of another file, or at another scale; a broken sidecar.
    """
    if not rows.exists():
        return dict(rows_of)
    before = _noted(rows).get("config") or {}
    known: RowsOf = before.get("rows_of", {}) if isinstance(before, dict) else {}
    if not isinstance(before, dict) or not isinstance(known, dict):
        raise ConfigError(f"{provenance.sidecar_of(rows)}: {_NO_RECORD}")
    other = [name for name, digest in rows_of.items() if known.get(name, digest) != digest]
    if before.get("scale", scale) != scale:
        was = f"rows at scale {before['scale']}, not {scale}"
    elif other:
        was = f"rows of another {other[0]}"
    else:
        return {**known, **rows_of} if known else {}
    raise ConfigError(f"{rows}: holds {was}; delete it or choose another folder (--out)")


def note(
    rows: Path, config: Any, inputs: Sequence[str | Path], seconds: float, **extra: Any
) -> None:
    """Write the sidecar of a file of rows, with the file's hash among its ``products``.

    A sidecar that holds this hash already is of these very rows, and stays as it is.
    """
    digest = sha256(rows)
    if digest not in _noted(rows).get("products", {}).values():
        products = {provenance.portable_path(rows): digest}
        provenance.write_sidecar(rows, config, inputs, seconds, products=products, **extra)


def _noted(rows: Path) -> dict[str, Any]:
    """The sidecar of a file of rows; empty where there is none."""
    sidecar = provenance.sidecar_of(rows)
    record = read_json(sidecar.read_bytes(), str(sidecar)) if sidecar.exists() else {}
    if not isinstance(record, dict):
        raise ConfigError(f"{sidecar}: {_NO_RECORD}")
    return record
