"""Claims that one kind of network does better than another: pairs of networks, and their tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nseg_lib.evaluation.tables import LABELS, number
from reproduction import effects
from reproduction.effects import DOES_NOT, HOLDS, UNKNOWN, WEAKER, Effect, Pair, decide
from reproduction.evidence import Evidence
from reproduction.findings import Finding, least, like_the_paper, plain, room, show, side, source

RESIDUAL: tuple[Pair, ...] = (("res16-32_bce-dice", "tiny16-32_bce-dice"),)
RESIDUALS: tuple[Pair, ...] = (
    *RESIDUAL,
    ("res16-128_bce-dice", "tiny16-128_bce-dice"),
    ("res16-128_bce-dice-bound", "tiny16-128_bce-dice-bound"),
)
DEPTH: tuple[Pair, ...] = (
    ("tiny16-128_bce-dice", "tiny16-32_bce-dice"),
    ("res16-128_bce-dice", "res16-32_bce-dice"),
)
BOUNDARY: tuple[Pair, ...] = (
    ("tiny16-128_bce-dice-bound", "tiny16-128_bce-dice"),
    ("res16-128_bce-dice-bound", "res16-128_bce-dice"),
)
GATES: tuple[Pair, ...] = (("attn32-256_bce-dice-bound", "res32-256_bce-dice-bound"),)
BEST: tuple[Pair, ...] = tuple(
    ("attn32-256_bce-dice-bound", rival)
    for rival in (
        "tiny16-128_bce-dice-bound",
        "res16-128_bce-dice-bound",
        "res32-256_bce-dice-bound",
    )
)
WORST: tuple[Pair, ...] = tuple(
    ("res16-128_bce-dice", rival)
    for rival in ("tiny16-32_bce-dice", "res16-32_bce-dice", "tiny16-128_bce-dice")
)
WIDTH: tuple[Pair, ...] = (("res32-256_bce-dice-bound", "res16-128_bce-dice-bound"),)

LOGGED = {
    "iou": "val_iou",
    "boundary_iou_1px": "val_boundary_iou",
    "pixel_accuracy": "val_accuracy",
    "hausdorff_region": "val_hausdorff",
}
"""Metric → its column in the authors' logs."""

SEEN = {
    HOLDS: "yes",
    DOES_NOT: "no, the opposite",
    WEAKER: f"no, {WEAKER}",
    UNKNOWN: UNKNOWN,
}
"""A verdict on the authors' logs in words: of one training each, nothing can be said to hold."""


@dataclass(frozen=True)
class Comparison:
    """A claim that the first network of each pair does better than the second."""

    key: str
    claim: str
    pairs: tuple[Pair, ...]
    metric: str
    sign: int = 1
    but: str = ""
    """What else the networks differ in, or are not."""

    def find(self, e: Evidence) -> Finding:
        """Judge it by our rows and by the authors' logs, each beside its own pair's print."""
        column = LOGGED[self.metric]
        found = [effects.compare(e, [p], self.metric) for p in self.pairs if _run(e, p)]
        ours = least(found, self.sign)
        theirs = least([effects.matched(e.authors, p, column) for p in self.pairs], self.sign)
        printed = _printed(e, ours, self.pairs, self.metric, self.sign)
        comparable = printed if like_the_paper(e, self.metric) else math.nan
        verdict = decide(ours, self.sign, printed=comparable, room=room(e, ours, self.metric))
        if verdict == HOLDS and len(found) < len(self.pairs):
            verdict = UNKNOWN
        pairs = ", ".join(f"{a} − {b}" for a, b in self.pairs)
        each = "each " * (len(self.pairs) > 1)
        return Finding(
            self.key,
            self.claim,
            f"{LABELS[self.metric]}, {pairs}{self.but}: {each}interval "
            + side(e, ours, self.metric, self.sign),
            number(printed, self.metric, "+"),
            show(ours, self.metric) + _the_pairs(found, self.metric),
            verdict,
            *_logged(e, theirs, self.pairs, self.metric, self.sign),
            source(e, ours) + _kept(e, ours) + _part(found, self.pairs),
            (("printed", printed), *plain("ours", ours), *plain("logs", theirs)),
        )


def _run(e: Evidence, pair: Pair) -> bool:
    return {*pair} <= {*e.evaluated}


def _printed(
    e: Evidence, effect: Effect | None, pairs: Sequence[Pair], metric: str, sign: int
) -> float:
    """What the paper prints of an effect's pair; without one, of the pair that speaks least."""
    table = e.printed["table1"]
    differences = {f"{a} − {b}": table[a][metric] - table[b][metric] for a, b in pairs}
    if effect is not None:
        return float(differences[effect.of])
    return float(min(differences.values(), key=lambda value: sign * value))


def _logged(
    e: Evidence, theirs: Effect | None, pairs: Sequence[Pair], metric: str, sign: int
) -> tuple[str, str]:
    """The effect in the authors' logs, with its pair where there are several, and what it says."""
    if theirs is None:
        return "–", "–"
    printed = _printed(e, theirs, pairs, metric, sign)
    said = SEEN[decide(theirs, sign, printed=printed)]
    if len(pairs) == 1:
        return show(theirs, metric), said
    return f"{show(theirs, metric)}: {theirs.of}, printed {number(printed, metric, '+')}", said


def _the_pairs(found: Sequence[Effect | None], metric: str) -> str:
    """The means of all pairs, where there are several."""
    means = [number(f.mean, metric, "+") for f in found if f is not None]
    return f"; all pairs: {', '.join(means)}" if len(means) > 1 else ""


def _kept(e: Evidence, effect: Effect | None) -> str:
    """Whether the two kept the same epoch, so that they are compared at equal epochs."""
    if effect is None:
        return ""
    logs = [e.logs.get(name, []) for name in effect.of.split(" − ")]
    epochs = {run.best_epoch for of_model in logs for run in of_model}
    both = all(logs) and len(epochs) == 1
    return f"; both kept epoch {epochs.pop()}" if both else ""


def _part(found: Sequence[Effect | None], pairs: Sequence[Pair]) -> str:
    return f"; {len(found)} of {len(pairs)} pairs run" if 0 < len(found) < len(pairs) else ""


@dataclass(frozen=True)
class MatchedEpochs:
    """The boundary loss at equal epochs of our own trainings: all of them, or the last third."""

    third: Literal["", "last"] = ""

    def find(self, e: Evidence) -> Finding:
        """Validation IoU is all that our logs hold of these metrics."""
        logs = effects.own_logs(e)
        found = [effects.matched(logs, p, "val_iou", self.third) for p in BOUNDARY if _run(e, p)]
        ours = least(found, 1)
        printed = _printed(e, ours, BOUNDARY, "iou", 1)
        which = "the last third of the epochs" if self.third else "the epochs"
        return Finding(
            "boundary-matched-late" if self.third else "boundary-matched",
            f"{_LOSS} IoU, at equal epochs of our trainings{', late ones' * bool(self.third)}",
            f"validation IoU, with − without the loss, over {which} that both have: each interval "
            + side(e, ours, "iou", 1),
            number(printed, "iou", "+"),
            show(ours, "iou") + _the_pairs(found, "iou"),
            decide(ours, 1, printed=printed, room=room(e, ours, "iou")),
            source=_of_logs(ours),
            numbers=(("printed", printed), *plain("ours", ours)),
        )


def converges(e: Evidence) -> Finding:
    """Residual networks early in training: their validation loss beside their plain twins'."""
    logs = effects.own_logs(e)
    found = [effects.matched(logs, p, "val_loss", "first") for p in RESIDUALS if _run(e, p)]
    theirs = [effects.matched(e.authors, p, "val_loss", "first") for p in RESIDUALS]
    ours, logged = least(found, -1), least(theirs, -1)
    pairs = ", ".join(f"{a} − {b}" for a, b in RESIDUALS)
    return Finding(
        "convergence",
        "Residual connections make training converge faster",
        f"validation loss, {pairs}{_NO_BLOCKS}, over the first third of the epochs that both "
        "have: each interval below 0; one training each decides nothing",
        effect=show(ours, "val_loss") + _the_pairs(found, "val_loss"),
        logs="–" if logged is None else f"{show(logged, 'val_loss')}: {logged.of}",
        logs_verdict="–" if logged is None else SEEN[decide(logged, -1)],
        source=_of_logs(ours),
        numbers=(*plain("ours", ours), *plain("logs", logged)),
    )


def _of_logs(effect: Effect | None) -> str:
    return f"training logs of one seed each: {effect.of}" if effect else "no such pair of logs"


_SHALLOW = "Residual connections help a shallow net"
_DEPTH = "Without boundary loss, depth hurts"
_LOSS = "Boundary loss helps"
_ALL, _BAND, _FAR = "pixel_accuracy", "boundary_iou_1px", "hausdorff_region"
_BEST = "The attention model is the best"
_NO_BLOCKS = " (the stroke added to the logits, not residual blocks)"
_NO_STROKE = " (gates in, and the stroke that is added to the logits out)"

RESIDUAL_HELPS = (
    Comparison("residual", f"{_SHALLOW}: IoU", RESIDUAL, "iou", 1, _NO_BLOCKS),
    Comparison("residual-biou", f"{_SHALLOW}: boundary IoU", RESIDUAL, _BAND, 1, _NO_BLOCKS),
    Comparison("residual-accuracy", f"{_SHALLOW}: pixel accuracy", RESIDUAL, _ALL, 1, _NO_BLOCKS),
    Comparison(
        "residual-hausdorff", f"{_SHALLOW}: Hausdorff distance", RESIDUAL, _FAR, -1, _NO_BLOCKS
    ),
)
DEPTH_HURTS = (
    Comparison("depth", f"{_DEPTH}: IoU", DEPTH, "iou", -1),
    Comparison("depth-biou", f"{_DEPTH}: boundary IoU", DEPTH, _BAND, -1),
)
LOSS_HELPS = (
    Comparison("boundary-iou", f"{_LOSS} IoU", BOUNDARY, "iou"),
    Comparison("boundary-biou", f"{_LOSS} the boundary IoU", BOUNDARY, _BAND),
    Comparison("boundary-hausdorff", f"{_LOSS} the Hausdorff distance", BOUNDARY, _FAR, -1),
)
SIZE_AND_GATES = (
    Comparison("gates", "Attention gates help, at equal widths", GATES, "iou", 1, _NO_STROKE),
    Comparison("attention", f"{_BEST}: boundary IoU", BEST, _BAND),
    Comparison("attention-accuracy", f"{_BEST}: pixel accuracy", BEST, _ALL),
    Comparison(
        "worst-accuracy", "res16-128 without boundary loss is the worst: pixel accuracy", WORST,
        _ALL, -1,
    ),
    Comparison("bigger", "Bigger is better, at equal loss", WIDTH, "iou"),
    Comparison(
        "precise", "Residual connections and attention give more precise boundaries: boundary IoU",
        (*RESIDUALS, *GATES), _BAND,
    ),
)  # fmt: skip
