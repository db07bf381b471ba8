"""The one interface of all methods: a picture and a prompt in, logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from nseg_lib.arrays import Image, Logits, Mask, check


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a user drew on a picture to say which object is meant."""

    object: Mask
    """bool H×W: strokes over the object. At least one pixel is True."""
    background: Mask | None = None
    """bool H×W: strokes over what is not the object; None if there are none."""
    mask: Mask | None = None
    """bool H×W: an earlier mask, to be corrected; None if there is none."""

    @property
    def planes(self) -> tuple[Mask, Mask, Mask]:
        """Object strokes, background strokes and mask; a part that is None is all False."""
        nothing = np.zeros_like(self.object)
        background = nothing if self.background is None else self.background
        return self.object, background, nothing if self.mask is None else self.mask

    def shrunk(self, size: tuple[int, int]) -> Prompt:
        """The same prompt for a smaller picture of ``size`` (width, height)."""

        def shrink(plane: Mask) -> Mask:
            # A pixel is set where the mask covers at least half of it. A thin line covers half of
            # no pixel and would vanish: then the pixels are set that it covers most.
            share = cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            return (share > 0) & (share >= min(0.5, float(share.max())))

        return Prompt(
            shrink(self.object),
            None if self.background is None else shrink(self.background),
            None if self.mask is None else shrink(self.mask),
        )

    def check(self, image: Image) -> None:
        """Raise an error of one line unless the prompt fits ``image``.

        Raises:
            TypeError: a wrong dtype, or something that is no array.
            ValueError: a wrong shape, or an object stroke without a pixel.
        """
        given = {"background": self.background, "mask": self.mask}
        masks = {name: plane for name, plane in given.items() if plane is not None}
        check(image, stroke=self.object, **masks)
        if not self.object.any():
            more = "" if self.mask is None else ", also to take a part of the mask away"
            raise ValueError(f"stroke is empty: brush over the object first{more}")


class Predictor(Protocol):
    """Anything that answers a prompt: a network, a baseline, or a model of your own."""

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        """The logits, float32 H×W; the mask is where they are above 0.

        A predictor may use only a part of the prompt: the paper's networks see nothing but the
        object strokes.

        Args:
            image: uint8 H×W×3, RGB.
            prompt: its masks have the picture's height and width.
        """
        ...
