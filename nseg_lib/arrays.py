"""The array types of the library, the check of what a user passes in, and how sure a mask is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 H×W×3, RGB: a picture."""

Mask = NDArray[np.bool_]
"""bool H×W: the pixels of a stroke, of the object, or of a predicted mask."""

Probability = NDArray[np.float32]
"""float32 H×W in [0, 1]: how sure a network is that a pixel is object."""

Logits = NDArray[np.float32]
"""float32 H×W: a prediction before the threshold. A pixel belongs to the object where its logit is
above 0, which is a probability above 0.5."""


UNSURE = 0.2, 0.8
"""A pixel's probability between these two says that the network is not sure of it."""


def check(image: object, **masks: object) -> None:
    """Raise an error of one line unless ``image`` is a picture and every mask has its size.

    Args:
        image: must be uint8 H×W×3 with at least one pixel.
        masks: each must be bool H×W; its keyword is its name in messages.

    Raises:
        TypeError: a wrong dtype, or something that is no array.
        ValueError: a wrong shape.
    """
    image = _array("image", image, np.dtype(np.uint8), "uint8 in 0..255")
    found = {
        name: _array(name, mask, np.dtype(bool), f"bool (try {name} > 0)")
        for name, mask in masks.items()
    }
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must have shape (height, width, 3), got {image.shape}")
    for name, mask in found.items():
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"{name} must have the picture's height and width {image.shape[:2]}, "
                f"got {mask.shape}"
            )


def sureness(probability: Probability, mask: Mask) -> float:
    """How sure a network is of a mask: the IoU to be expected of the mask if the network's
    probabilities p are right.

    This is the sum of p in the mask, divided by the mask's pixels plus the sum of p outside; 0 for
    an empty mask. It is the network's own opinion, and high too where the network is surely wrong.

    Args:
        probability: float32 H×W in [0, 1].
        mask: bool H×W.

    Returns:
        In [0, 1].
    """
    if not mask.any():
        return 0.0
    inside = float(probability[mask].sum(dtype=np.float64))
    outside = float(probability.sum(dtype=np.float64)) - inside
    return inside / (int(mask.sum()) + max(0.0, outside))


def unsure(probability: Probability) -> Mask:
    """Where a network is not sure: the pixels whose probability lies between the two of UNSURE.

    Args:
        probability: float32 H×W in [0, 1].

    Returns:
        bool H×W.
    """
    return (probability > UNSURE[0]) & (probability < UNSURE[1])


def _array(name: str, value: object, dtype: np.dtype[Any], wanted: str) -> NDArray[Any]:
    # Masked arrays hide some of their numbers, and a matrix multiplies in another way.
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name} must be {wanted}, got {value.dtype}")
    return value
