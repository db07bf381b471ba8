"""From ``results.csv`` to what a method adds to the stroke it was given.

A mean hides whether a method helps everywhere a little or some pictures much and others not at
all. So each method is compared with identity, the stroke unchanged, on the same
pictures: the mean of the per-picture differences, an interval for it, and the share of pictures
that came out worse. No summary drops a picture: a method's failures have a value (see
:mod:`nseg_lib.evaluation.metrics`), and NaN, infinity or a missing row stops at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nseg_lib.config import TrainingConfig, names
from nseg_lib.evaluation.baselines import BASELINES, SEEDED
from nseg_lib.evaluation.metrics import METRICS
from nseg_lib.evaluation.rows import COLUMNS, RULES, read_rows

Array = NDArray[np.float64]

IOU_MARGIN = 0.005
"""A picture counts as made worse where its IoU falls by more than this."""

REPLICATES = 10_000
"""Bootstrap resamples; the ends of a 95 % interval then move by a few percent of its width."""

KEPT_BYTES = 2**28
"""The draws of a bootstrap are kept for the next one if they take no more bytes than this."""

_TEXT = ("method", "split", "recipe", "category", "supercategory")
_FLAGS = tuple("empty_prediction" + suffix for suffix in RULES.values())
_OBJECT = ["image_id", "annotation_id"]


def read_results(results_csv: str | Path) -> pd.DataFrame:
    """Read and check a file that :func:`nseg_lib.evaluation.rows.evaluate` wrote.

    Returns:
        One row per method, seed and picture, with the file's columns. ``seed`` is ``Int64`` and
        ``<NA>`` for a method without one, ``empty_prediction*`` are bool, metrics float64.

    Raises:
        ValueError: no such file, other columns, a broken or repeated line, no row at all, or a
            value that is no finite number.
    """
    rows = read_rows(results_csv)
    if not rows:
        raise ValueError(f"{results_csv}: has no results yet")
    text = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = text.drop(columns=["seed", *_TEXT]).apply(pd.to_numeric, errors="coerce")
    bad = np.argwhere(~np.isfinite(numbers.to_numpy(np.float64)))
    if len(bad):
        line, column = bad[0, 0], numbers.columns[bad[0, 1]]
        raise ValueError(
            f"{results_csv}: line {line + 2}: {column} must be a finite number, "
            f"got '{text[column].iloc[line]}'"
        )
    seeds = pd.array([int(seed) if seed else None for seed in text["seed"]], dtype="Int64")
    results = text.assign(**{name: numbers[name] for name in numbers}, seed=seeds)
    return results.astype(dict.fromkeys(_FLAGS, "bool"))


def summarise(
    results: pd.DataFrame,
    *,
    split: str | None = None,
    recipe: str | None = None,
    rule: str = "probability",
) -> pd.DataFrame:
    """One row per method, identity first, over the pictures of one split and recipe.

    Args:
        results: from :func:`read_results`.
        split, recipe: needed where ``results`` hold more than one.
        rule: threshold of the masks that are judged, a key of :data:`RULES`.

    Returns:
        Columns ``method``, ``n`` (objects, the same for all), ``seeds``; for each metric its
        mean over pictures and seeds under its own name, ``<metric>_std`` (standard deviation
        over seeds of the per-seed means, with n - 1; NaN where there is one seed only),
        ``<metric>_difference`` (mean of method - identity per picture, averaged over seeds
        first), ``<metric>_low`` and ``<metric>_high`` (its 95 % interval);
        ``made_worse`` and ``made_worse_at_all`` (share of predictions whose IoU is below that of
        identity by more than :data:`IOU_MARGIN`, and by anything); ``empty_predictions`` (their
        number over all seeds) and ``seconds`` (mean per picture).

    Raises:
        ValueError: an ambiguous or unknown split, recipe or rule; no rows of identity; methods or
            seeds evaluated on different pictures; a value that is not finite.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got '{rule}'")
    columns = [f"{name}{RULES[rule]}" for name in (*METRICS, "empty_prediction")]
    pictures, values = _by_method(_select(results, split, recipe), [*columns, "seconds"])
    if "identity" not in values:
        raise ValueError(f"'identity' is not in the results; there are {', '.join(values)}")
    methods = ["identity", *(name for name in values if name != "identity")]

    # What each method adds to the stroke, object by object. Its seeds are averaged first: they
    # are the same objects again, and would make the interval too narrow.
    scores = {method: values[method][..., : len(METRICS)] for method in methods}
    base = scores["identity"].mean(axis=0)
    differences = {method: scores[method].mean(axis=0) - base for method in methods}

    # One bootstrap for all methods and metrics: the same pictures are drawn for each of them.
    ends = bootstrap_interval(np.concatenate(list(differences.values()), axis=1), pictures)
    low, high = (end.reshape(len(methods), len(METRICS)) for end in ends)

    rows = []
    for i, method in enumerate(methods):
        row = {"method": method, "n": len(pictures), "seeds": len(values[method])}
        for j, metric in enumerate(METRICS):
            per_seed = scores[method][..., j].mean(axis=1)
            row[metric] = per_seed.mean()
            row[f"{metric}_std"] = per_seed.std(ddof=1) if len(per_seed) > 1 else float("nan")
            row[f"{metric}_difference"] = differences[method][:, j].mean()
            row[f"{metric}_low"], row[f"{metric}_high"] = low[i, j], high[i, j]
        iou = METRICS.index("iou")
        lost = base[:, iou] - scores[method][..., iou]
        row["made_worse"] = (lost > IOU_MARGIN).mean()
        row["made_worse_at_all"] = (lost > 0).mean()
        row["empty_predictions"] = int(values[method][..., -2].sum())
        row["seconds"] = values[method][..., -1].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def bootstrap_interval(
    values: Array, pictures: Sequence[int] | NDArray[np.int64], *, replicates: int = REPLICATES
) -> tuple[Array, Array]:
    """95 % percentile bootstrap intervals of the means of several columns.

    Pictures are resampled, not rows: two objects in one picture are not independent. Own code in
    place of ``scipy.stats.bootstrap``, which resamples rows, and each column anew: here one draw
    of pictures serves all columns, as counts of how often each was drawn, so that the resampled
    means of every method and metric are a single matrix product. The interval covers the choice of
    pictures, not that of training seeds.

    Args:
        values: float64 n×k, k columns to average.
        pictures: n ids; rows with the same id are drawn together.

    Returns:
        Lower and upper ends, float64 k each.

    Raises:
        ValueError: no rows.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if not len(values):
        raise ValueError("no rows to average")
    ids, owner = np.unique(np.asarray(pictures), return_inverse=True)
    sums = np.zeros((len(ids), values.shape[1] + 1))
    np.add.at(sums, owner, np.column_stack((values, np.ones(len(values)))))
    # A report asks for the same number of pictures again and again, and drawing takes longest.
    kept = len(ids) * replicates <= KEPT_BYTES
    drawn = _kept_draws(len(ids), replicates) if kept else _draws(len(ids), replicates)
    means = np.empty((replicates, values.shape[1]))
    start = 0
    for weights in drawn:
        totals = weights.astype(np.float64) @ sums
        means[start : start + len(weights)] = totals[:, :-1] / totals[:, -1:]
        start += len(weights)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def _draws(pictures: int, replicates: int) -> Iterator[NDArray[np.uint8]]:
    """How often each picture is drawn in each resample, in portions of replicates×pictures.

    The same arguments give the same draws. The counts fit into a byte, as no picture is drawn 256
    times: for one of n pictures in n draws, that has a probability below 1/256!.
    """
    rng = np.random.default_rng(0)
    step = max(1, 2_000_000 // pictures)  # bounds the memory: 16 MB of counts at a time
    for start in range(0, replicates, step):
        count = min(step, replicates - start)
        drawn = rng.integers(pictures, size=(count, pictures))
        drawn += np.arange(count)[:, None] * pictures
        counts = np.bincount(drawn.ravel(), minlength=count * pictures)
        yield counts.reshape(count, pictures).astype(np.uint8)


@lru_cache(maxsize=2)  # validation and test pictures
def _kept_draws(pictures: int, replicates: int) -> list[NDArray[np.uint8]]:
    return [*_draws(pictures, replicates)]


def _select(results: pd.DataFrame, split: str | None, recipe: str | None) -> pd.DataFrame:
    """The rows of one split and one recipe."""
    for column, wanted in (("split", split), ("recipe", recipe)):
        present = sorted(results[column].unique())
        if wanted is None and len(present) == 1:
            continue
        if wanted not in present:
            got = "none was chosen" if wanted is None else f"got '{wanted}'"
            raise ValueError(f"{column} must be one of {', '.join(present)}; {got}")
        results = results[results[column] == wanted]
    return results


def _by_method(
    results: pd.DataFrame, columns: Sequence[str]
) -> tuple[NDArray[np.int64], dict[str, Array]]:
    """Each object's picture id, and method → float64 seeds×objects×columns, in the same order."""
    objects: pd.Index | None = None
    found: dict[str, list[Array]] = {}
    named = results.assign(seed=results["seed"].astype("string").fillna(""))
    for (method, seed), rows in named.groupby(["method", "seed"], sort=False):
        label = f"{method} (seed {seed})" if seed else method
        table = rows.set_index(_OBJECT)[list(columns)].sort_index()
        if not np.isfinite(table.to_numpy(np.float64)).all():
            raise ValueError(f"{label}: a value is not finite; it would vanish from the mean")
        objects = table.index if objects is None else objects
        if not table.index.equals(objects):
            odd = len(table.index.symmetric_difference(objects)) or "repeated"
            raise ValueError(
                f"{label} was not evaluated on the same pictures as the method before it "
                f"({odd} objects differ); evaluate again to fill the gaps"
            )
        found.setdefault(str(method), []).append(table.to_numpy(np.float64))
    assert objects is not None
    pictures = objects.get_level_values("image_id").to_numpy(np.int64)
    return pictures, {method: np.stack(of_seeds) for method, of_seeds in found.items()}


def in_table_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their ``method`` in the order of all tables: baselines, the paper's, others."""
    known = dict.fromkeys((*BASELINES, *SEEDED, *names()))
    order = {name: place for place, name in enumerate(known)}
    place = rows["method"].map(lambda name: (order.get(name, len(order)), name))
    return rows.iloc[np.argsort(place.rank(method="dense"), kind="stable")].reset_index(drop=True)


def one_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the one training that stands for each network where a picture shows its answer.

    It is the one of the seed that no setting changed, or else of the smallest seed, as in
    :func:`nseg_lib.training.runs.find_runs`. Rows without a seed stay.
    """
    usual = TrainingConfig().seed
    place = rows["seed"].where(rows["seed"] != usual, -1).fillna(-1)
    return rows[place == place.groupby(rows["method"]).transform("min")]


def read_folder(folder: str | Path) -> pd.DataFrame:
    """All results of a folder: ``baselines.csv`` and a file for each model and seed.

    Methods come in the order of the tables, see :func:`in_table_order`.

    Raises:
        ValueError: no ``baselines.csv``, without which no table can show the identity row, or a
            file that is none of results.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if Path(folder) / "baselines.csv" not in files:
        raise ValueError(f"{folder}: no baselines.csv; 'make reproduce' evaluates into this folder")
    results = pd.concat([read_results(path) for path in files], ignore_index=True)
    return in_table_order(results)
