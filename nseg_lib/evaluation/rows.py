"""Method × picture → one row in ``results.csv``, the only source of any number in a table.

:func:`evaluate` fills the file picture by picture; a run that was killed goes on where it stopped.
:mod:`nseg_lib.evaluation.summary` reads the file and says what a method adds to its stroke.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from nseg_lib.arrays import Image, Mask
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.metrics import METRICS, evaluate_mask
from nseg_lib.files import write_atomic

RULES = {"probability": "", "logit": "_logit05"}
"""Threshold → suffix of its metrics' columns. ``probability``: mask where probability > .5.
``logit``: where the logit > .5 (probability .62), as the paper's released code has it."""

_KEY = ("method", "seed", "split", "recipe", "image_id", "annotation_id")
"""The columns by which a row is known."""

COLUMNS = (
    *_KEY,
    "category",
    "supercategory",
    "width",
    "height",
    "object_area",
    "stroke_area",
    *(name + suffix for suffix in RULES.values() for name in METRICS),
    *("empty_prediction" + suffix for suffix in RULES.values()),
    "seconds",
)
"""Columns of ``results.csv``. ``seed`` is empty for a method without one; areas are in pixels,
``empty_prediction`` is 1 where the predicted mask is empty, ``seconds`` is the wall time of the
prediction, reading and metrics not included."""


class EvaluationSample(Protocol):
    """One picture, one object in it and one stroke; :class:`nseg_lib.data.frozen.Sample` is one.

    A sample may also carry ``ignore``, bool H×W: the undecided pixels that no metric counts; and
    ``background``, bool H×W: strokes on the background, which ``predict`` then gets as well.
    """

    @property
    def split(self) -> str: ...
    @property
    def recipe(self) -> str: ...
    @property
    def image_id(self) -> int: ...
    @property
    def annotation_id(self) -> int: ...
    @property
    def category(self) -> str: ...
    @property
    def supercategory(self) -> str: ...
    @property
    def image(self) -> Image: ...
    @property
    def mask(self) -> Mask: ...
    @property
    def stroke(self) -> Mask: ...


class Method(Protocol):
    """Anything that turns a picture and a stroke into a mask, under a name and a seed."""

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int | None: ...

    def predict(self, image: Image, stroke: Mask) -> Mapping[str, Mask]:
        """``mask`` (probability > .5) and, where it differs, ``mask_logit05`` (logit > .5)."""
        ...


@dataclass(frozen=True)
class BaselineMethod:
    """A baseline of ``baselines.BASELINES``; ``scale`` is the pictures' scale."""

    name: str
    scale: float = 1.0
    seed: None = None

    def __post_init__(self) -> None:
        if self.name not in BASELINES:
            raise ValueError(f"unknown baseline '{self.name}'; one of: {', '.join(BASELINES)}")

    def predict(self, image: Image, stroke: Mask) -> dict[str, Mask]:
        """A baseline has no probabilities, so no threshold: one mask for both rules."""
        return {"mask": BASELINES[self.name](image, stroke, scale=self.scale)}


class _Refiner(Protocol):
    def logits(self, image: Image, stroke: Mask) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class ModelMethod:
    """A network: anything with ``logits(image, stroke)`` → float32 H×W, such as a Refiner."""

    refiner: _Refiner
    name: str
    seed: int | None

    def predict(self, image: Image, stroke: Mask) -> dict[str, Mask]:
        """Masks by both rules; a probability above .5 is a logit above 0.

        Raises:
            ValueError: a logit that is not finite. It would pass for "not object".
        """
        logits = self.refiner.logits(image, stroke)
        if not np.isfinite(logits).all():
            raise ValueError(f"{self.name}: the network's logits are not all finite")
        return {"mask": logits > 0, "mask_logit05": logits > 0.5}


def evaluate(
    methods: Sequence[Method],
    samples: Iterable[EvaluationSample],
    results_csv: str | Path,
    *,
    total: int | None = None,
    progress: bool = True,
) -> Path:
    """Add to ``results_csv`` the row of each method on each sample that it does not hold yet.

    Rows are written as they are made. After a kill the same call repairs a line cut short and
    goes on from there; at the end the file is sorted, so that its order tells nothing about the
    way it was made. A row is known by method, seed, split, recipe, picture and annotation: after
    retraining a network under the same name and seed, delete the file.

    Args:
        methods: each with its own pair of name and seed.
        samples: read once, lazily; each is judged by all methods before the next is read.
        results_csv: created where missing, its folder too.
        total: number of samples, for the progress bar, where ``samples`` does not tell.

    Raises:
        ValueError: a file with other columns or a broken line; two methods with the same name
            and seed; a sample that occurs twice; an input that a method refuses; a prediction
            that is no bool H×W mask or comes from logits that are not finite.
    """
    _check_names(methods)
    path = Path(results_csv)
    rows = _resume(path)
    done = {tuple(row[: len(_KEY)]) for row in rows}
    seen: set[tuple[str, ...]] = set()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        for sample in track(samples, "evaluating", total, disable=not progress):
            for method in methods:
                key = tuple(_text(value) for value in _key(method, sample))
                if key in seen:
                    raise ValueError(f"samples: annotation {sample.annotation_id} occurs twice")
                seen.add(key)
                if key not in done:
                    row = _row(method, sample)
                    rows.append([_text(row[column]) for column in COLUMNS])
                    writer.writerow(rows[-1])
                    file.flush()
    _write_sorted(path, _with_those_of_others(path, rows))
    return path


def _with_those_of_others(path: Path, rows: list[list[str]]) -> list[list[str]]:
    """Our rows, and those that another process has added to the file meanwhile."""
    data = path.read_bytes()
    there = _parse(path, data[: data.rfind(b"\n") + 1])
    ours = {tuple(row[: len(_KEY)]) for row in rows}
    return rows + [row for row in there if tuple(row[: len(_KEY)]) not in ours]


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


def _resume(path: Path) -> list[list[str]]:
    """The rows that an earlier call finished; a line that it left unfinished is cut off."""
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
        raise ValueError(
            f"{path}: not a results file, or of another version; "
            f"columns missing: {_few(set(COLUMNS).difference(header))}; "
            f"unknown: {_few(set(header).difference(COLUMNS))}"
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


def _few(names: set[str]) -> str:
    """At most five names, each on one line and short, for a message."""
    shown = [" ".join(name.split())[:30] for name in sorted(names)[:5]]
    return ", ".join(shown) + (", …" if len(names) > 5 else "") or "none"


def _order(row: Sequence[str]) -> tuple[Any, ...]:
    """Sort key of a row: split, recipe, method, seed (none first), picture, annotation."""
    method, seed, split, recipe, image_id, annotation_id = row[: len(_KEY)]
    return split, recipe, method, seed != "", int(seed or 0), int(image_id), int(annotation_id)


def _write_sorted(path: Path, rows: list[list[str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([COLUMNS, *sorted(rows, key=_order)])
    write_atomic(path, buffer.getvalue())


def _check_names(methods: Sequence[Method]) -> None:
    names = [(method.name, method.seed) for method in methods]
    for name, seed in names:
        if names.count((name, seed)) > 1:
            raise ValueError(f"methods: two are named {name} with seed {seed}; tell them apart")


def _key(method: Method, sample: EvaluationSample) -> tuple[Any, ...]:
    """The values of the columns in ``_KEY``."""
    picture = sample.split, sample.recipe, sample.image_id, sample.annotation_id
    return method.name, method.seed, *picture


def _row(method: Method, sample: EvaluationSample) -> dict[str, Any]:
    """Predict and judge: column → value."""
    ignore: Mask | None = getattr(sample, "ignore", None)
    image, target, stroke = sample.image, sample.mask, sample.stroke
    drawn: tuple[Mask, ...] = (sample.background,) if hasattr(sample, "background") else ()
    row = dict(zip(_KEY, _key(method, sample), strict=True)) | {
        "category": sample.category,
        "supercategory": sample.supercategory,
        "width": target.shape[1],
        "height": target.shape[0],
        "object_area": np.count_nonzero(target),
        "stroke_area": np.count_nonzero(stroke),
    }
    try:
        start = time.perf_counter()
        predicted = method.predict(image, stroke, *drawn)
        row["seconds"] = round(time.perf_counter() - start, 6)
        for suffix in RULES.values():
            mask = predicted.get("mask" + suffix, predicted["mask"])
            if not suffix or mask is not predicted["mask"]:
                values = evaluate_mask(mask, target, ignore)
            row |= {name + suffix: value for name, value in values.items()}
            judged = mask if ignore is None else mask & ~ignore
            row["empty_prediction" + suffix] = int(not judged.any())
    except (TypeError, ValueError) as error:
        where = f"{method.name}, picture {sample.image_id}, annotation {sample.annotation_id}"
        raise ValueError(f"{where}: {error}") from error
    return row


def _text(value: Any) -> str:
    """As written to the file: floats read back the same, names stay on one line."""
    return "" if value is None else " ".join(str(value).split())
