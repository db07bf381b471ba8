"""The one interface of all methods: a picture and a prompt in, logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import cv2
import numpy as np

from nseg_lib.arrays import Image, Logits, Mask, check

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels from the picture's upper left corner; the column ``right``
and the row ``bottom`` are the first ones outside."""

Extent = Literal["part", "object", "whole"]
"""How much of what is brushed is meant: usually the object; else only a part of what would be taken
for it, such as a face, or the larger whole that it belongs to, such as the person."""


def scale_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at another size (width, height): bool H×W."""
    # A pixel is set where the mask covers at least half of it. A thin line covers half of no pixel
    # and would vanish: then the pixels are set that it covers most.
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return (share > 0) & (share >= min(0.5, float(share.max())))


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a user drew on a picture to say which object is meant."""

    object: Mask
    """bool H×W: strokes over the object. At least one pixel is True, unless there is a box."""
    background: Mask | None = None
    """bool H×W: strokes over what is not the object; None if there are none."""
    mask: Mask | None = None
    """bool H×W: an earlier mask, to be corrected; None if there is none."""
    box: Box | None = None
    """The object is only in here; None if nothing is said of that."""
    extent: Extent = "object"
    """Asks for another answer than the usual one. With ``mask`` it says nothing: the mask itself
    shows how much is meant."""

    @property
    def planes(self) -> tuple[Mask, Mask, Mask]:
        """Object strokes, background strokes and mask; a part that is None is all False.

        All that is outside the box is background. Where a box is all that was drawn, it is the
        object stroke too, painted full.
        """
        nothing = np.zeros_like(self.object)
        stroke, mask = self.object, nothing if self.mask is None else self.mask
        background = nothing if self.background is None else self.background
        if self.box is not None:
            outside = ~self.inside
            background = background | outside
            stroke = stroke & ~outside if stroke.any() else ~background
        return stroke, background, mask

    @property
    def inside(self) -> Mask:
        """The pixels in the box, bool H×W; all of them without one."""
        if self.box is None:
            return np.ones_like(self.object)
        left, top, right, bottom = self.box
        inside = np.zeros_like(self.object)
        inside[top:bottom, left:right] = True
        return inside

    def shrunk(self, size: tuple[int, int]) -> Prompt:
        """The same prompt for a smaller picture of ``size`` (width, height)."""
        box = self.box
        if box is not None:  # the smallest one that holds the same part of the picture
            (height, width), (narrow, low) = self.object.shape, size
            left, right = box[0] * narrow // width, -(-box[2] * narrow // width)
            box = left, box[1] * low // height, right, -(-box[3] * low // height)
        return Prompt(
            scale_mask(self.object, size),
            None if self.background is None else scale_mask(self.background, size),
            None if self.mask is None else scale_mask(self.mask, size),
            box,
            self.extent,
        )

    def check(self, image: Image) -> None:
        """Raise an error of one line unless the prompt fits ``image``.

        Raises:
            TypeError: a wrong dtype, or something that is no array.
            ValueError: a wrong shape, an object stroke without a pixel and no box, strokes that
                all lie outside the box, a background that leaves nothing of the object stroke (or
                of the box, without one), a box that is empty or reaches beyond the picture, or an
                unknown extent.
        """
        if self.extent not in get_args(Extent):
            allowed = ", ".join(get_args(Extent))
            raise ValueError(f"extent is {self.extent!r:.40}; allowed: {allowed}")
        given = {"background": self.background, "mask": self.mask}
        masks = {name: plane for name, plane in given.items() if plane is not None}
        check(image, stroke=self.object, **masks)
        height, width = self.object.shape
        if self.box is not None:
            # True is an int to Python, and no pixel to anybody.
            numbers = [*self.box] if isinstance(self.box, tuple | list | np.ndarray) else []
            if len(numbers) != 4 or not all(
                isinstance(n, int | np.integer) and not isinstance(n, bool) for n in numbers
            ):
                raise TypeError(f"box must be four whole numbers, got {self.box!r}")
            left, top, right, bottom = self.box
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise ValueError(
                    f"box {self.box} must be left, top, right, bottom with left < right <= {width} "
                    f"and top < bottom <= {height}, none below 0"
                )
            if self.object.any() and not (self.object & self.inside).any():
                raise ValueError("stroke and box: nothing is brushed inside the box")
        elif not self.object.any():
            more = "" if self.mask is None else ", also to take a part of the mask away"
            raise ValueError(f"stroke is empty: brush over the object first{more}")
        if self.background is not None:
            meant = self.object & self.inside if self.object.any() else self.inside
            if (meant <= self.background).all():
                what = "stroke" if self.object.any() else "box"
                raise ValueError(f"background covers all of the {what}; is it inverted?")


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
