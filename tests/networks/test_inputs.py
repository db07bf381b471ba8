"""A network's input: what cannot be made into one is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from nseg_lib.networks.inputs import network_input

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
STROKE = np.zeros((12, 17), bool)
STROKE[4:9, 5:12] = True


@pytest.mark.parametrize(
    ("image", "stroke", "kind", "error", "says"),
    [
        (IMAGE, STROKE, "foo", ValueError, "unknown kind of input 'foo'; one of: gray_sobel, rgb"),
        (IMAGE / 255, STROKE, "rgb", TypeError, "image must be uint8 in 0..255, got float64"),
        (IMAGE[..., 0], STROKE, "gray_sobel", ValueError, r"image must have shape \(height, width"),
        (IMAGE.tolist(), STROKE, "rgb", TypeError, "image must be a NumPy array, got list"),
        (IMAGE, STROKE * np.uint8(255), "rgb", TypeError, r"bool \(try stroke > 0\), got uint8"),
        (IMAGE, STROKE.astype(float), "gray_sobel", TypeError, "stroke must be bool"),
        (IMAGE, STROKE.T, "rgb", ValueError, r"height and width \(12, 17\), got \(17, 12\)"),
    ],
)
def test_what_is_no_picture_stroke_or_kind_is_named_in_one_line(
    image: object, stroke: object, kind: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        network_input(image, stroke, kind)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_empty_stroke_is_an_input_like_any_other() -> None:
    """Shrinking a training picture may leave nothing of a thin one."""
    channels = network_input(IMAGE, STROKE & False)
    assert not channels[0].any()
    assert np.array_equal(channels[1:], network_input(IMAGE, STROKE)[1:])
