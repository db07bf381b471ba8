"""Simulated prompts: whatever the object and the kind, something that a person could have drawn."""

from pathlib import Path

import numpy as np
import pytest

from nseg_lib.config import RefinerConfig, load
from nseg_lib.data.scribbles import load_scribbles, stroke_statistics
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.strokes.paths import Target, path_length, through
from nseg_lib.strokes.people import PROMPTS, STROKES, draw_correction, draw_prompt

Y, X = np.mgrid[:120, :160]


def ellipse(y: float, x: float, high: float, wide: float) -> np.ndarray:
    return ((Y - y) / high) ** 2 + ((X - x) / wide) ** 2 < 1


BODY = ellipse(60, 70, 35, 45)
PIXEL = (Y == 7) & (X == 9)
OBJECTS = {
    "body": BODY,
    "pixel": PIXEL,
    "corner": (Y == 0) & (X == 0),
    "whole": np.ones(Y.shape, bool),
    "nearly whole": ~PIXEL,
    "parts": ellipse(10, 20, 18, 9) | ellipse(100, 130, 30, 40) | PIXEL,
    "ring": BODY & ~ellipse(60, 70, 28, 37),
    "hair": (Y == 40) & (X > 20) & (X < 150),
    "border": ellipse(119, 159, 60, 50),
}


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("name", OBJECTS)
def test_any_object_gets_a_stroke_on_it(kind: str, name: str) -> None:
    mask = OBJECTS[name]
    for number in range(4):
        drawn = draw_prompt(mask, kind, rng(number))
        assert drawn.object.shape == drawn.background.shape == mask.shape
        assert drawn.object.dtype == drawn.background.dtype == np.bool_
        assert (drawn.object & mask).any()
        assert not (drawn.object & drawn.background).any()
        assert not (name == "whole" and drawn.background.any())


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_generator_decides(kind: str) -> None:
    assert kind in (load("lite1", kind=RefinerConfig).prompts.mix or {}), "training draws it"
    first, again, other = (draw_prompt(BODY, kind, rng(key)) for key in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first.object != other.object).any()


def test_nothing_is_drawn_for_no_object_and_bad_arguments_are_named() -> None:
    assert not any(m.any() for m in draw_prompt(np.zeros((9, 9), bool), "sparse", rng(0)))
    with pytest.raises(ValueError, match="unknown kind of prompt 'scrawl'; one of: sparse, "):
        draw_prompt(BODY, "scrawl", rng(0))
    with pytest.raises(ValueError, match=r"mask must be bool H×W, got uint8 of shape \(120, 160\)"):
        draw_prompt(BODY.astype(np.uint8), "sparse", rng(0))


def statistics(kind: str, count: int = 25) -> list[dict[str, float]]:
    mask = np.kron(BODY, np.ones((2, 2), bool))
    return [stroke_statistics(draw_prompt(mask, kind, rng(n)), mask) for n in range(count)]


def test_sparse_strokes_are_thin_few_and_mostly_on_the_object() -> None:
    found = statistics("sparse")
    assert 0.008 < np.median([f["cover"] for f in found]) < 0.04
    assert max(f["cover"] for f in found) < 0.12
    assert np.mean([f["over"] for f in found]) < 0.03
    share = np.mean([np.isfinite(f["background_width"]) for f in found])
    assert 0.75 < share < 1
    assert all(np.isnan(f["background_width"]) for f in statistics("sparse_object", 8))


def test_dense_strokes_cover_more_and_those_beside_leave_the_object_in_part() -> None:
    cover = [f["cover"] for f in statistics("dense")]
    assert 0.1 < np.median(cover) < 0.35
    assert min(cover) > 0.02
    assert np.median([f["cover"] for f in statistics("fill", 15)]) > np.median(cover)
    assert 0.05 < np.median([f["over"] for f in statistics("beside", 15)]) < 0.45


def test_background_strokes_hardly_touch_the_object() -> None:
    drawn = [draw_prompt(BODY, kind, rng(n)).background for kind in STROKES for n in range(15)]
    assert np.mean([(background & BODY).sum() > 20 for background in drawn]) < 0.08


def test_sizes_follow_the_object() -> None:
    small, large = BODY[::2, ::2], np.kron(BODY, np.ones((2, 2), bool))
    for kind in ("dense", "fill"):
        cover = [
            np.mean([stroke_statistics(draw_prompt(m, kind, rng(n)), m)["cover"] for n in range(9)])
            for m in (small, large)
        ]
        assert 0.6 < cover[0] / cover[1] < 1.7


# --- corrections ----------------------------------------------------------------------------------


def test_a_miss_gets_an_object_stroke_within_it() -> None:
    missed = BODY & (X > 90)
    for number in range(10):
        drawn = draw_correction(BODY, BODY & ~missed, rng(number))
        assert not drawn.background.any()
        assert (drawn.object & missed).sum() > 0.9 * drawn.object.sum() > 0


def test_a_false_alarm_gets_a_background_stroke_even_beside_a_smaller_miss() -> None:
    alarm, missed = ellipse(60, 140, 14, 14), ellipse(60, 50, 6, 6)
    drawn = draw_correction(BODY, (BODY | alarm) & ~missed, rng(0))
    assert not drawn.object.any()
    assert (drawn.background & alarm & ~BODY).sum() > 0.9 * drawn.background.sum() > 0


def test_no_error_worth_a_stroke() -> None:
    speck = (Y == 60) & (X == 70)
    for prediction in (BODY, BODY & ~speck):
        assert not any(m.any() for m in draw_correction(BODY, prediction, rng(0)))
    everything = np.ones_like(BODY)
    assert not any(m.any() for m in draw_correction(BODY, ~BODY, rng(0), ignore=everything))


def test_ignored_pixels_are_no_error() -> None:
    left, right = BODY & (X < 50), BODY & (X > 90)
    drawn = draw_correction(BODY, BODY & ~left & ~right, rng(0), ignore=X < 60)
    assert (drawn.object & right).sum() == drawn.object.sum() > 0


# --- paths, and what is measured of strokes -------------------------------------------------------


def test_a_spine_is_long_and_keeps_to_the_middle() -> None:
    bent = ((X > 20) & (X < 40) & (Y > 10)) | ((Y > 90) & (Y < 110) & (X > 20))
    target = Target(bent)
    spines = [through(target, rng(number), 2, 2.0, spine=True) for number in range(9)]
    others = [through(target, rng(number), 2, 2.0) for number in range(9)]
    for path in spines:
        assert np.median(target.inside[path[:, 1].astype(int), path[:, 0].astype(int)]) > 6
    median_length = [np.median([path_length(path) for path in some]) for some in (others, spines)]
    assert median_length[1] > max(100, 1.2 * median_length[0])


def test_a_path_stays_in_one_of_two_parts() -> None:
    two = (X < 30) | (X > 100)
    for number in range(5):
        path = through(Target(two), rng(number), 3, 1.0)
        assert (path[:, 0] < 31).all() or (path[:, 0] > 100).all()


def test_statistics_of_a_line() -> None:
    line = (Y >= 58) & (Y < 62) & (X >= 40) & (X < 100)
    beside = (Y >= 100) & (Y < 104) & (X >= 40) & (X < 150)
    found = stroke_statistics(Drawn(line | PIXEL, beside), BODY)
    size = np.sqrt(BODY.sum())
    assert found["object_width"] * size == pytest.approx(4, abs=0.5)
    assert found["object_length"] * size == pytest.approx(60, rel=0.15)
    assert found["cover"] == pytest.approx(line.sum() / BODY.sum())
    assert found["over"] == pytest.approx(1 / (line.sum() + 1))
    assert found["background_depth"] * size == pytest.approx(10, abs=4)
    nothing = stroke_statistics(Drawn(~BODY & BODY, ~BODY & BODY), BODY)
    assert nothing["cover"] == 0
    assert np.isnan(nothing["over"])


def test_simulated_ranges_hold_what_people_drew(real_scribbles: Path) -> None:
    people, simulated = [], []
    for number, item in enumerate(load_scribbles(real_scribbles)):
        if number % 6 == 0:
            people.append(stroke_statistics(item.strokes["scribbles1"], item.mask))
            drawn = [draw_prompt(item.mask, "dense", rng(number, n)) for n in range(4)]
            simulated += [stroke_statistics(one, item.mask) for one in drawn]
    for key in ("object_width", "object_length", "object_depth", "background_depth", "cover"):
        low, high = np.nanpercentile([s[key] for s in simulated], [2, 98])
        assert low < np.median([p[key] for p in people]) < high, key
