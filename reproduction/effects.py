"""How large an effect is and what it decides: the arithmetic behind every verdict on a claim.

An :class:`Effect` is a mean with a 95 % interval. Intervals are over pictures, paired; where a
model has three seeds or more, their scatter widens the interval, and where it has fewer, a verdict
asks for as much room as the paper's numbers get (``tolerance`` in ``reports/paper.yml``): one
training against one other tells little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from nseg_lib.evaluation.summary import bootstrap_interval
from reproduction.evidence import Evidence

Pair = tuple[str, str]
"""Two methods; an effect is that of the first minus that of the second."""

HOLDS, WEAKER, DOES_NOT, UNKNOWN = (
    "holds",
    "not as large as printed",
    "does not hold",
    "cannot be told",
)

ENOUGH_SEEDS = 3

RESAMPLES = 2_000
"""Of pictures, for the interval of a correlation."""


@dataclass(frozen=True)
class Effect:
    """A mean, its 95 % interval, and what it is of."""

    mean: float
    low: float
    high: float
    n: int
    unit: str = "pictures"
    seeds: int = 0
    """The fewest seeds of a model in it; 0 where no seed is involved."""
    of: str = ""
    """Which methods and rows."""
    median: float = np.nan
    """Of the differences over pictures, where that is what it is a mean of."""


def decide(effect: Effect | None, sign: int, *, printed: float = np.nan, room: float = 0.0) -> str:
    """The verdict on a claim.

    Args:
        effect: ``None`` where nothing was measured.
        sign: +1 where the claim is that the effect is above 0, -1 where below.
        printed: the effect in the paper's own tables; NaN where it has none that can be compared.
        room: by how much an interval must clear 0, or the printed effect.

    Returns:
        ``holds`` where the whole interval lies on the claimed side, ``does not hold`` where it
        lies on the other. Between them, ``not as large as printed`` where it excludes what the
        paper prints: that says nothing of an effect too small to be seen here.
    """
    if effect is None:
        return UNKNOWN
    low, high = sorted((sign * effect.low, sign * effect.high))
    if low > room:
        return HOLDS
    if high < -room:
        return DOES_NOT
    return WEAKER if high < sign * printed - room else UNKNOWN


def compare(e: Evidence, pairs: Sequence[Pair], metric: str, split: str = "") -> Effect | None:
    """Mean paired difference of the pairs that have rows, on the split that chose nothing.

    Each method is averaged over its seeds, then the pairs over each other, per picture.
    """
    rows = e.results[e.results["split"] == (split or e.splits[-1])]
    there = [p for p in pairs if {*p} <= {*rows["method"]}]
    if not there:
        return None
    key = ["image_id", "annotation_id"]
    wide = rows.groupby([*key, "method"])[metric].mean().unstack()
    difference = pd.concat([wide[a] - wide[b] for a, b in there], axis=1).mean(axis=1)
    pictures = wide.index.get_level_values("image_id").to_numpy()
    low, high = bootstrap_interval(difference.to_numpy()[:, None], pictures)
    mean = float(difference.mean())
    seeds, scatter = _seed_scatter(rows, there, metric)
    if seeds >= ENOUGH_SEEDS:
        wide_by = stats.t.ppf(0.975, seeds - 1) * scatter
        low = mean - np.hypot(mean - low, wide_by)
        high = mean + np.hypot(high - mean, wide_by)
    of = ", ".join(f"{a} − {b}" for a, b in there)
    middle = float(difference.median())
    return Effect(mean, float(low[0]), float(high[0]), len(wide), "pictures", seeds, of, middle)


def _seed_scatter(rows: pd.DataFrame, pairs: Sequence[Pair], metric: str) -> tuple[int, float]:
    """The fewest seeds of any model in the pairs, and the standard error that seeds give."""
    per_seed = rows.dropna(subset="seed").groupby(["method", "seed"])[metric].mean()
    shares: Counter[str] = Counter()  # of each model in the mean over pairs, with its sign
    for first, second in pairs:
        shares.update({first: 1, second: -1})
    counts, variance = [], 0.0
    for method in [m for m in shares if m in per_seed.index]:
        values = per_seed.loc[method]
        counts.append(len(values))
        if len(values) > 1:
            variance += shares[method] ** 2 * float(values.var(ddof=1)) / len(values)
    return min(counts, default=0), variance**0.5 / len(pairs)


def matched(
    logs: pd.DataFrame, pair: Pair, column: str, third: Literal["", "first", "last"] = ""
) -> Effect | None:
    """Mean difference at equal epochs, over the epochs that both have.

    Args:
        logs: a row per ``model`` and ``epoch``, such as :func:`reproduction.paper.authors_logs`.
        third: only this third of those epochs.

    Returns:
        The interval is Student's, over epochs; these are of one training each, and epochs that
        follow each other are alike, so it is narrower than the truth.
    """
    if column not in logs:
        return None
    wide = logs.pivot(index="epoch", columns="model", values=column)
    if not {*pair} <= {*wide.columns}:
        return None
    first, second = pair
    differences = (wide[first] - wide[second]).dropna()
    if third:
        few = len(differences) // 3
        differences = (
            differences[:few] if third == "first" else differences[len(differences) - few :]
        )
    n = len(differences)
    if n < 2:
        return None
    half = stats.t.ppf(0.975, n - 1) * float(differences.std(ddof=1)) / n**0.5
    mean = float(differences.mean())
    return Effect(mean, mean - half, mean + half, n, "epochs", 1, f"{first} − {second}")


def own_logs(e: Evidence) -> pd.DataFrame:
    """The first seed's validation rows of every model that has been evaluated."""
    logs = [of_model[0].log().assign(model=m) for m, of_model in e.logs.items() if m in e.evaluated]
    return pd.concat(logs) if logs else pd.DataFrame(columns=["model", "epoch"])


def areas(rows: pd.DataFrame) -> pd.DataFrame:
    """Pixels of intersection (``shared``), ``union`` and ``predicted`` mask, from the metrics.

    With intersection I, union U and N pixels, U - I = (1 - accuracy) N and I = IoU · U. They are
    whole pixels again, so that an empty prediction has none.
    """
    wrong = (1 - rows["pixel_accuracy"]) * rows["width"] * rows["height"]
    perfect = rows["iou"] >= 1
    union = (wrong / (1 - rows["iou"].where(~perfect))).where(~perfect, rows["object_area"])
    shared = rows["iou"] * union
    predicted = union - rows["object_area"] + shared
    return pd.DataFrame({"shared": shared, "union": union, "predicted": predicted}).round()


def per_picture(e: Evidence) -> pd.DataFrame:
    """A row per picture of the mean over the paper's models that have rows, and what it is like.

    Of the split that chose nothing. Columns: ``split``, ``image_id``, ``stroke`` (IoU of the
    stroke), ``size`` (share of the picture), ``clutter``, ``iou``, ``recovered`` (of the IoU that
    the stroke lacks, the share that the models add; NaN of a perfect stroke), ``precision`` (1 of
    an empty prediction) and ``recall``.
    """
    rows = e.results[e.results["split"] == e.splits[-1]]
    rows = rows.join(areas(rows))
    rows["precision"] = (rows["shared"] / rows["predicted"].where(rows["predicted"] > 0)).fillna(1)
    rows["recall"] = rows["shared"] / rows["object_area"]
    rows["size"] = rows["object_area"] / (rows["width"] * rows["height"])
    key = ["split", "image_id", "annotation_id"]
    stroke = rows[rows["method"] == "identity"].set_index(key)
    models = rows[rows["method"].isin(e.evaluated)].groupby(key)
    found = models[["iou", "precision", "recall"]].mean()
    found["stroke"], found["size"] = stroke["iou"], stroke["size"]
    lacking = 1 - found["stroke"]
    found["recovered"] = (found["iou"] - found["stroke"]) / lacking.where(lacking > 0)
    clutter = e.pictures.set_index(["split", "image_id"])["clutter"]
    return found.reset_index().join(clutter, on=["split", "image_id"])


def rank_correlation(
    frame: pd.DataFrame, a: str, b: str, given: str | None = None
) -> Effect | None:
    """Spearman's correlation, with what ranks of ``given`` explain taken out of both, if any.

    The interval resamples pictures (rows). ``None`` where there are fewer than ten.
    """
    frame = frame.dropna(subset=[a, b])
    n = len(frame)
    if n < 10:
        return None
    columns = [a, b] if given is None else [a, b, given]
    values = frame[columns].to_numpy(np.float64)
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    draws[0] = np.arange(n)
    ranks = stats.rankdata(values[draws], axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    r = np.einsum("dni,dnj->dij", ranks, ranks)
    found = r[:, 0, 1]
    if given is not None:
        unexplained = (1 - r[:, 0, 2] ** 2) * (1 - r[:, 1, 2] ** 2)
        found = (found - r[:, 0, 2] * r[:, 1, 2]) / np.sqrt(np.maximum(unexplained, 1e-12))
    low, high = np.percentile(found[1:], [2.5, 97.5])
    return Effect(float(found[0]), float(low), float(high), n)
