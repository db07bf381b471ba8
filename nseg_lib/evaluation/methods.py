"""The methods that are judged: each a predictor with the name that stands in its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nseg_lib.evaluation.baselines import BASELINES, SEEDED, Baseline
from nseg_lib.networks.weights import PRETRAINED, checkpoint_file
from nseg_lib.prompt import Predictor

if TYPE_CHECKING:
    from nseg_lib.refine import Refiner


@dataclass(frozen=True)
class Method:
    """A predictor under a name."""

    name: str
    predictor: Predictor
    seed: int | None = None
    """Of its training, where it was trained."""
    weights: Path | None = None
    """The file of its network, where it has one: rows of other weights do not mix with its own."""


def baselines(scale: float = 1.0) -> list[Method]:
    """Every baseline for coarse masks, for pictures at this scale."""
    return [Method(name, Baseline(segment, scale)) for name, segment in BASELINES.items()]


def trained(refiner: Refiner, weights: Path | None = None) -> Method:
    """A network under its configuration's name and seed, asked about pictures as they are."""
    return Method(refiner.config.name, refiner.predictor, refiner.config.training.seed, weights)


def names() -> tuple[str, ...]:
    """Every name that :func:`method` knows without a file."""
    return *SEEDED, *PRETRAINED


def method(wanted: str) -> Method:
    """A method for any strokes, on pictures at native size, by what the command line calls it.

    Args:
        wanted: one of :func:`names`, or ``NAME=FILE``, a checkpoint and the name that it goes by.

    Raises:
        ValueError: neither, or the file is no checkpoint.
    """
    from nseg_lib.refine import Refiner

    if wanted in SEEDED:
        return Method(wanted, Baseline(SEEDED[wanted]))
    name, equals, file = wanted.partition("=")
    if not equals and wanted not in PRETRAINED:
        known = ", ".join(names())
        raise ValueError(f"unknown method '{wanted}'; one of: {known}; or NAME=weights.safetensors")
    weights = checkpoint_file(file or wanted)
    refiner = Refiner.load(weights)
    return Method(name, refiner, refiner.config.training.seed, weights)
