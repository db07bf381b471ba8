"""The shipped refiner's recipe at toy size."""

from __future__ import annotations

from typing import Any

from nseg_lib import config
from nseg_lib.config import RefinerConfig

TINY = {"network.look": 64, "network.zoom": 64, "edge": None}
"""Looks of a size that takes no time, and no edge network."""

SHORT = TINY | {
    "training.pretrained": False,
    "training.steps": 3,
    "training.size": [64],
    "training.batch_size": 2,
}
"""A training of three steps."""


def lite0(changes: dict[str, Any] | None = None) -> RefinerConfig:
    """The shipped recipe with other settings."""
    return config.load("lite0", changes, kind=RefinerConfig)
