"""Drawings of single ideas show what their chapters say of them."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from nseg_lib.course import look, plots
from nseg_lib.palette import PALETTE

mpl.use("Agg")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Figure, str]]]:
    """The figures that were shown, each with its description."""
    kept: list[tuple[Figure, str]] = []
    monkeypatch.setattr(look, "finish", lambda fig, alt: kept.append((fig, alt)))
    yield kept
    for fig, _ in kept:
        mpl.pyplot.close(fig)


Drawn = list[tuple[Figure, str]]


def test_a_ray_from_within_crosses_an_odd_number_of_edges(drawn: Drawn) -> None:
    plots.crossings()
    said = [text.get_text() for text in drawn[0][0].axes[0].texts]
    assert said == ["1: inside", "3: inside", "2: outside", "4: outside"]


def test_the_arrows_are_the_hausdorff_distance_both_ways(drawn: Drawn) -> None:
    plots.farthest(*plots.toy_pair())
    titles = [ax.get_title() for ax in drawn[0][0].axes]
    assert titles == ["prediction to target: 3.00 px", "target to prediction: 1.41 px"]


def test_the_middle_of_a_distribution_is_dark(drawn: Drawn) -> None:
    plots.distribution(np.linspace(0, 1, 1000), 0.25, 0.75, "gain")
    bars = drawn[0][0].axes[0].patches
    dark = [to_hex(bar.get_facecolor()).upper() == PALETTE["res"] for bar in bars]
    assert dark == [False] * 10 + [True] * 20 + [False] * 10


def test_what_follows_from_a_change_is_marked_and_nothing_else(drawn: Drawn) -> None:
    made_from = {"a": [], "b": ["a"], "c": ["b"], "d": ["a"], "e": ["c", "d"]}
    plots.steps(made_from, changed="b", stale=["c", "e"])
    boxes = {t.get_text().split("\n")[0]: t for t in drawn[0][0].axes[0].texts if t.get_text()}
    marked = [
        step
        for step, text in boxes.items()
        if to_hex(text.get_bbox_patch().get_facecolor()).upper() == PALETTE["stroke"]
    ]
    assert marked == ["b", "c", "e"]
    assert boxes["a"].get_position()[0] < boxes["b"].get_position()[0]


def test_a_gap_goes_from_the_stroke_to_1(drawn: Drawn) -> None:
    plots.gaps([("identity", 0.8), ("better", 0.9), ("worse", 0.7)])
    widths = [round(bar.get_width(), 3) for bar in drawn[0][0].axes[0].patches]
    assert widths == [1, 0.8, 0, 1, 0.8, 0.1, 1, 0.7, -0.1]
