"""nseg: coarse-mask refinement, from a brush stroke to a precise mask."""

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime reports its use to its maker unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Refiner", "__version__"]

if TYPE_CHECKING:
    from nseg_lib.refine import Refiner


def __getattr__(name: str) -> Any:
    """Import torch only when a network is asked for: ``nseg --help`` stays quick."""
    if name == "Refiner":
        from nseg_lib.refine import Refiner

        return Refiner
    raise AttributeError(f"module 'nseg_lib' has no attribute {name!r}")
