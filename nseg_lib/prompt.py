"""How every method is asked: a picture and a prompt in, logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from nseg_lib.arrays import Image, Logits, Mask, check


@dataclass(frozen=True, eq=False)
class Prompt:
    """What somebody drew on a picture to say which object is meant."""

    object: Mask
    """bool H×W, brushed over the object; it always has a pixel."""
    background: Mask | None = None
    """bool H×W, brushed over what is not the object; None means nowhere."""
    mask: Mask | None = None
    """bool H×W, the answer to correct: an earlier one, or one from elsewhere."""

    @property
    def planes(self) -> tuple[Mask, Mask, Mask]:
        """Object strokes, background strokes and mask; all False what is None."""
        nothing = np.zeros_like(self.object)
        background = nothing if self.background is None else self.background
        return self.object, background, nothing if self.mask is None else self.mask

    def shrunk(self, size: tuple[int, int]) -> Prompt:
        """The prompt of a smaller picture, of ``size`` (width, height).

        A pixel belongs to a mask that covers half of it. Of a line thinner than that, which would
        vanish, the pixels stay that it covers most.
        """

        def shrink(plane: Mask) -> Mask:
            share = cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            return (share > 0) & (share >= min(0.5, float(share.max())))

        return Prompt(
            shrink(self.object),
            None if self.background is None else shrink(self.background),
            None if self.mask is None else shrink(self.mask),
        )

    def check(self, image: Image) -> None:
        """Raise, in one line, unless this prompt can be answered on ``image``.

        Raises:
            TypeError: a wrong dtype, or something that is no array.
            ValueError: a wrong shape, or no pixel of the object was brushed over.
        """
        given = {"background": self.background, "mask": self.mask}
        masks = {name: plane for name, plane in given.items() if plane is not None}
        check(image, stroke=self.object, **masks)
        if not self.object.any():
            more = "" if self.mask is None else ", also to take a part of the mask away"
            raise ValueError(f"stroke is empty: brush over the object first{more}")


class Predictor(Protocol):
    """Whatever answers a prompt: a network, a refiner, a baseline, a model of somebody else's."""

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        """The answer, float32 H×W; the mask is where it is above 0.

        A predictor uses what it knows of a prompt and passes over the rest: the paper's networks
        see the object strokes alone.

        Args:
            image: uint8 H×W×3, RGB.
            prompt: of the picture's size.
        """
        ...
