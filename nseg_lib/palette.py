"""The colours of all figures, overlays and the canvas, each named by what it shows."""

from __future__ import annotations

PALETTE = {
    # What is drawn on a picture.
    "stroke": "#E69F00",
    "background stroke": "#1747A6",
    "refined mask": "#0072B2",
    "truth": "#29B6F6",
    "prediction": "#E0399A",
    "missed": "#29B6F6",
    "extra": "#E0399A",
    # Whose numbers these are.
    "identity": "#404040",
    "classical": "#9A9A9A",
    "tiny": "#009E73",
    "res": "#0072B2",
    "attn": "#B45CC4",
    "blockres": "#8C6D31",
    "paper": "#808080",
    # What a distribution shows.
    "counts": "#B8CFE0",
    "mean": "#C62828",
    "median": "#2E7D32",
}
"""The colours stay distinct under the usual colour blindnesses (after Okabe and Ito 2008): stroke,
truth and prediction differ in lightness too, and ``mean`` and ``median`` also in their dashes."""

LAYERS = {
    "input": "#BBBBBB",
    "convolution": "#7FB2D8",
    "norm": "#F2E394",
    "relu": "#E8A33D",
    "pooling": "#C8553D",
    "upsampling": "#4C9F70",
    "copy": "#FFFFFF",
    "head": "#8E6BAE",
}
"""The colours of the layers in the drawings of the networks."""

CANVAS = {
    "object": "#268BFF",
    "background": "#FF5C33",
    "mask": "#B7F01A",
}
"""The colours of the drawing canvas, brighter than those for print. ``canvas.js`` and
``canvas.css`` repeat them."""


LABELS = ("#BA82FF", "#2ED9C3", "#FFD23F", "#FF7AC6", "#C58B4E", "#8FA8FF")
"""The colours of finished objects on the canvas, by label; after the last, the first again."""


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#E69F00"`` → (230, 159, 0)."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
