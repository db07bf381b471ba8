"""Data sets: the scale of their pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.data.images import rescale, scaled_size

bad_scales = pytest.mark.parametrize("scale", [-1.0, 0.0, 1.5, float("nan"), float("inf")])


@bad_scales
def test_a_scale_beyond_0_to_1_is_refused(scale: float) -> None:
    says = f"scale must be above 0 and at most 1, got {scale}"
    with pytest.raises(ValueError, match=says):
        scaled_size(480, 640, scale)
    mask = np.ones((8, 9), bool)
    with pytest.raises(ValueError, match=says):
        rescale(np.zeros((8, 9, 3), np.uint8), mask, mask, scale)


@bad_scales
def test_a_refused_scale_leaves_nothing_behind(
    tiny_data: Path, tmp_path: Path, scale: float
) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    shutil.rmtree(root / "strokes", ignore_errors=True)
    with pytest.raises(ValueError, match="scale must be above 0 and at most 1"):
        EvaluationSamples(coco.load_split(root, "val"), scale=scale)
    assert not (root / "strokes").exists()


def test_a_scaled_picture_has_at_least_a_pixel() -> None:
    assert scaled_size(480, 640, 1.0) == (480, 640)
    assert scaled_size(481, 640, 0.5) == (240, 320)
    assert scaled_size(48, 64, 1e-6) == (1, 1)
