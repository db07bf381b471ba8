"""A row of the table of claims, and the words and bars that all of its tests share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nseg_lib.evaluation.metrics import DISTANCES
from nseg_lib.evaluation.tables import number
from reproduction import effects
from reproduction.effects import UNKNOWN, Effect
from reproduction.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """One row of the table of claims."""

    key: str
    claim: str
    test: str
    printed: str = "–"
    effect: str = "–"
    verdict: str = UNKNOWN
    logs: str = "–"
    logs_verdict: str = "–"
    source: str = "no rows"
    numbers: tuple[tuple[str, float], ...] = ()


def least(found: Sequence[Effect | None], sign: int) -> Effect | None:
    """The effect that speaks least for a claim; a claim of several pairs is a claim of each."""
    there = [f for f in found if f is not None]
    return min(there, key=lambda f: min(sign * f.low, sign * f.high), default=None)


def side(e: Evidence, effect: Effect | None, metric: str, sign: int) -> str:
    """Where an interval must lie for the claim to hold: ``above +0.029 (with three seeds 0)``."""
    word = "above" if sign > 0 else "below"
    planned = len(e.profile.seeds) >= effects.ENOUGH_SEEDS
    asked = 0.0 if effect is None and planned else room(e, effect, metric)
    return f"{word} {sign * asked:+g} (with three seeds 0)" if asked else f"{word} 0"


def room(e: Evidence, effect: Effect | None, metric: str) -> float:
    """By how much an interval must clear 0: the tolerance, unless seeds are in the interval."""
    if effect is not None and effect.seeds >= effects.ENOUGH_SEEDS:
        return 0.0
    in_pixels = e.profile.scale if metric in DISTANCES else 1.0
    return in_pixels * float(e.printed["tolerance"][metric])


def like_the_paper(e: Evidence, metric: str) -> bool:
    """Whether a difference in this metric can be set beside the printed one at all.

    What is counted in pixels cannot where pictures are smaller.
    """
    return metric == "iou" or e.profile.scale == 1


def show(effect: Effect | None, metric: str) -> str:
    """``+0.0120 [+0.0041, +0.0199], 146 pictures``."""
    if effect is None:
        return "–"
    mean, low, high = (number(v, metric, "+") for v in (effect.mean, effect.low, effect.high))
    middle = f", median {number(effect.median, metric, '+')}" if metric in DISTANCES else ""
    middle *= effect.unit == "pictures"
    seed = f", {effect.seeds} seed{'s' * (effect.seeds > 1)}" if effect.unit == "pictures" else ""
    return f"{mean} [{low}, {high}]{middle}, {effect.n} {effect.unit}" + seed * bool(effect.seeds)


def plain(name: str, effect: Effect | None) -> tuple[tuple[str, float], ...]:
    """An effect as numbers: ``<name>_mean``, ``_low``, ``_high`` and ``_n``."""
    if effect is None:
        return ()
    values = {"mean": effect.mean, "low": effect.low, "high": effect.high, "n": effect.n}
    return tuple((f"{name}_{key}", float(value)) for key, value in values.items())


def source(e: Evidence, effect: Effect | None) -> str:
    """Which rows an effect is of."""
    if effect is None:
        return "no rows: these were not run"
    return f"{e.splits[-1]} rows: {effect.of}"
