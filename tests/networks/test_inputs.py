"""A network's input: how it is made from a picture and a stroke, and which ones are refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nseg_lib.networks.inputs import CHANNELS, network_input

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
STROKE = np.zeros((12, 17), bool)
STROKE[4:9, 5:12] = True


@pytest.mark.parametrize(
    ("image", "stroke", "kind", "error", "says"),
    [
        (IMAGE, STROKE, "foo", ValueError, "unknown kind of input 'foo'; one of: gray_sobel, rgb"),
        (IMAGE, STROKE * np.uint8(255), "rgb", TypeError, r"bool \(try stroke > 0\), got uint8"),
        (IMAGE, STROKE.T, "rgb", ValueError, r"height and width \(12, 17\), got \(17, 12\)"),
    ],
)
def test_what_is_no_picture_stroke_or_kind_is_named_in_one_line(
    image: object, stroke: object, kind: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        network_input(image, stroke, kind)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_gray_sobel_is_stroke_luma_and_gradient() -> None:
    channels = network_input(IMAGE, STROKE, "gray_sobel")
    assert channels.dtype == np.float32
    assert channels.shape == (3, 12, 17)
    assert np.array_equal(channels[0], STROKE)
    luma = IMAGE @ np.array([0.299, 0.587, 0.114])
    assert abs(channels[1] * 255 - luma).max() <= 0.51
    assert channels[2].max() == pytest.approx(1)
    gray = cv2.cvtColor(IMAGE, cv2.COLOR_RGB2GRAY).astype(float)
    dx = (gray[1:-1, 2:] - gray[1:-1, :-2]) * 2 + (
        gray[:-2, 2:] - gray[:-2, :-2] + gray[2:, 2:] - gray[2:, :-2]
    )
    dy = (gray[2:, 1:-1] - gray[:-2, 1:-1]) * 2 + (
        gray[2:, :-2] - gray[:-2, :-2] + gray[2:, 2:] - gray[:-2, 2:]
    )
    inner = np.hypot(dx, dy)
    ratio = channels[2, 1:-1, 1:-1] / np.maximum(inner, 1e-9)
    assert np.ptp(ratio[inner > 1]) < 1e-6


def test_a_flat_picture_has_no_gradient_and_no_nan_and_a_stroke_may_be_empty() -> None:
    """Shrinking a training picture may leave nothing of a thin one."""
    channels = network_input(np.full_like(IMAGE, 77), STROKE & False)
    assert not channels[[0, 2]].any()
    assert np.isfinite(channels).all()


def test_rgb_is_stroke_and_colours() -> None:
    channels = network_input(IMAGE, STROKE, "rgb")
    assert channels.shape == (CHANNELS["rgb"], 12, 17)
    assert np.array_equal(channels[0], STROKE)
    assert np.array_equal(np.rint(channels[1:] * 255), np.moveaxis(IMAGE, -1, 0))
