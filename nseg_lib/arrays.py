"""The two kinds of array that travel through the library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 H×W×3, RGB: a picture."""

Mask = NDArray[np.bool_]
"""bool H×W: a stroke, the object, or an answer."""
