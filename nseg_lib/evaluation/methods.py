"""Whatever turns strokes into a mask, behind one call, so that all are measured alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nseg_lib.arrays import Image, Mask
from nseg_lib.evaluation.baselines import SEEDED
from nseg_lib.networks.weights import PRETRAINED, shipped


class InteractiveMethod(Protocol):
    """A way to segment an object that somebody drew on, under a name.

    It may also carry ``weights``, the file of its network.
    """

    @property
    def name(self) -> str: ...

    @property
    def seed(self) -> int | None:
        """Of its training, where it was trained."""
        ...

    def predict(
        self, image: Image, stroke: Mask, background: Mask, mask: Mask | None = None
    ) -> Mask:
        """The object, bool H×W.

        Args:
            image: uint8 H×W×3, RGB.
            stroke: bool H×W, all strokes on the object so far, at least one pixel.
            background: bool H×W, all strokes on the background, perhaps none.
            mask: bool H×W, the answer before the last stroke, where there is one.
        """
        ...


@dataclass(frozen=True)
class SeededMethod:
    """A baseline of :data:`nseg_lib.evaluation.baselines.SEEDED`."""

    name: str
    seed: None = None

    def __post_init__(self) -> None:
        if self.name not in SEEDED:
            raise ValueError(f"unknown baseline '{self.name}'; one of: {', '.join(SEEDED)}")

    def predict(
        self, image: Image, stroke: Mask, background: Mask, mask: Mask | None = None
    ) -> Mask:
        return SEEDED[self.name](image, stroke, background, mask)


@dataclass(frozen=True)
class RefinerMethod:
    """A :class:`nseg_lib.refine.Refiner`.

    One that does not correct sees the object strokes alone. A network of the paper is asked at
    the scale that it was trained at, and its logits are enlarged.
    """

    refiner: Any
    name: str
    seed: int | None = None
    scale: float = 1.0
    weights: Path | None = None

    def predict(
        self, image: Image, stroke: Mask, background: Mask, mask: Mask | None = None
    ) -> Mask:
        if getattr(self.refiner, "corrects", False):
            drawn = background if background.any() else None
            return self.refiner.refine(image, stroke, drawn, mask)
        return self.refiner.enlarged_logits(image, stroke, self.scale) > 0


def names() -> tuple[str, ...]:
    """Every method that needs no file: the seeded baselines and the shipped networks."""
    from nseg_lib.networks.weights import PRETRAINED

    return *SEEDED, *PRETRAINED


def method(wanted: str) -> InteractiveMethod:
    """A method by what the command line calls it.

    Args:
        wanted: a seeded baseline, a network that the package ships, or ``NAME=FILE``, a
            checkpoint and the name it goes by.

    Raises:
        ValueError: none of these, or the file is no checkpoint.
    """
    from nseg_lib import refine

    if wanted in SEEDED:
        return SeededMethod(wanted)
    name, equals, file = wanted.partition("=")
    if equals:
        weights = Path(file)
    elif wanted in PRETRAINED:
        weights = shipped(wanted)
    else:
        known = ", ".join(names())
        raise ValueError(f"unknown method '{wanted}'; one of: {known}; or NAME=weights.safetensors")
    refiner = refine.Refiner.load(weights)
    return RefinerMethod(refiner, name, refiner.config.training.seed, refiner.scale, weights)
