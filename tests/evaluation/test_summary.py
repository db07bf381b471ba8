"""Means, paired differences and their intervals, against SciPy and by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nseg_lib.evaluation import summary
from nseg_lib.evaluation.metrics import METRICS
from nseg_lib.evaluation.rows import COLUMNS
from nseg_lib.evaluation.summary import bootstrap_interval, read_results, summarise


@pytest.fixture
def results() -> pd.DataFrame:
    """Two seeds of a net that helps twice, harms once a lot and once a little, in all metrics."""
    frames = []
    for method, seed, values in (
        ("identity", None, [0.80, 0.60, 0.70, 0.50]),
        ("net", 1, [0.90, 0.80, 0.50, 0.496]),
        ("net", 2, [0.86, 0.80, 0.50, 0.498]),
    ):
        frame = pd.DataFrame({"image_id": range(4), "annotation_id": range(100, 104)})
        frame = frame.assign(method=method, split="val", recipe="erode", category="cat")
        frame = frame.assign(supercategory="animal", width=4, height=3, object_area=5)
        frame = frame.assign(stroke_area=4, seconds=0.25)
        for suffix in ("", "_logit05"):
            frame = frame.assign(**{name + suffix: values for name in METRICS})
            frame["empty_prediction" + suffix] = False
        frames.append(frame.assign(seed=pd.array([seed] * 4, dtype="Int64")))
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def test_means_spread_and_differences_by_hand(results: pd.DataFrame) -> None:
    summary = summarise(results).set_index("method")
    net = summary.loc["net"]
    assert (net["n"], net["seeds"]) == (4, 2)
    assert net["iou"] == pytest.approx((2.696 + 2.658) / 8)
    assert net["iou_std"] == pytest.approx(abs(2.696 - 2.658) / 4 / np.sqrt(2))
    assert net["iou_difference"] == pytest.approx(net["iou"] - 0.65)
    assert net["made_worse"] == 2 / 8
    assert net["made_worse_at_all"] == 4 / 8
    assert net["seconds"] == 0.25
    identity = summary.loc["identity"]
    assert (identity["seeds"], identity["made_worse_at_all"]) == (1, 0)
    assert identity["iou_difference"] == identity["iou_low"] == identity["iou_high"] == 0
    assert np.isnan(identity["iou_std"])


def test_identity_is_the_first_row(results: pd.DataFrame) -> None:
    assert list(summarise(results[::-1])["method"]) == ["identity", "net"]


def test_each_rule_has_its_own_columns(results: pd.DataFrame) -> None:
    logit = results.assign(
        iou_logit05=results["iou"] / 2, empty_prediction_logit05=results["method"] == "net"
    )
    summary = summarise(logit, rule="logit")
    assert summary["iou"].tolist() == pytest.approx([0.325, 2.677 / 8])
    assert summary["empty_predictions"].tolist() == [0, 8]
    assert summarise(logit)["empty_predictions"].tolist() == [0, 0]


# --- intervals ---------------------------------------------------------------------------------


def test_the_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).exponential(size=(80, 2))
    ours = bootstrap_interval(values, np.arange(80), replicates=20_000)
    for column in range(2):
        oracle = stats.bootstrap(
            (values[:, column],), np.mean, method="percentile", n_resamples=20_000, rng=1
        ).confidence_interval
        width = oracle.high - oracle.low
        assert ours[0][column] == pytest.approx(oracle.low, abs=0.015 * width)
        assert ours[1][column] == pytest.approx(oracle.high, abs=0.015 * width)


def test_draws_that_are_kept_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(300, 2))
    kept = [bootstrap_interval(values, np.arange(300)) for _ in range(2)]
    monkeypatch.setattr(summary, "KEPT_BYTES", 0)
    assert np.array_equal(kept, [bootstrap_interval(values, np.arange(300))] * 2)


def test_objects_of_one_picture_are_drawn_together() -> None:
    """Ten copies of each value are no more evidence than one."""
    values = np.random.default_rng(0).normal(size=(40, 1))
    once = bootstrap_interval(values, np.arange(40))
    tenfold = bootstrap_interval(np.repeat(values, 10, axis=0), np.repeat(np.arange(40), 10))
    assert np.allclose(once, tenfold)


def test_many_pictures_are_drawn_in_blocks() -> None:
    """More pictures than fit one block of counts: every replicate is filled."""
    values = np.random.default_rng(0).normal(3, 1, (3000, 1))
    low, high = bootstrap_interval(values, np.arange(3000), replicates=1500)
    assert values.mean() - 0.05 < low[0] < values.mean() < high[0] < values.mean() + 0.05


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["identity", "net"])
def test_no_value_vanishes_from_a_mean(results: pd.DataFrame, value: float, method: str) -> None:
    results.loc[results.index[results["method"] == method][1], "iou"] = value
    with pytest.raises(ValueError, match=f"{method}.* is not finite"):
        summarise(results)


def test_methods_on_different_pictures_are_not_compared(results: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"net \(seed 2\) was not evaluated on the same.*1 obj"):
        summarise(results[:-1])
    moved = results.assign(image_id=results["image_id"] + (results["seed"] == 1).fillna(False))
    with pytest.raises(ValueError, match=r"net \(seed 1\) was not evaluated on the same"):
        summarise(moved)
    with pytest.raises(ValueError, match="same pictures"):
        summarise(pd.concat([results, results[:1]]))


def test_one_split_and_recipe_at_a_time(results: pd.DataFrame) -> None:
    both = pd.concat([results, results.assign(split="test", iou=0.5)])
    with pytest.raises(ValueError, match="split must be one of test, val; none was chosen"):
        summarise(both)
    assert summarise(both, split="test")["iou"].tolist() == [0.5, 0.5]
    assert summarise(both, split="val")["iou"][0] == pytest.approx(0.65)
    with pytest.raises(ValueError, match="split must be one of test, val; got 'train'"):
        summarise(both, split="train")
    recipes = pd.concat([results, results.assign(recipe="dist")])
    with pytest.raises(ValueError, match="recipe must be one of dist, erode; none"):
        summarise(recipes)


def test_unknown_names_say_what_there_is(results: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="'identity' is not in the results; there are net"):
        summarise(results[results["method"] == "net"])
    with pytest.raises(ValueError, match="rule must be one of probability, logit, got 'argmax'"):
        summarise(results, rule="argmax")
    with pytest.raises(ValueError, match="no rows to average"):
        bootstrap_interval(np.empty((0, 1)), np.empty(0))


# --- reading -----------------------------------------------------------------------------------


def write(path: Path, results: pd.DataFrame) -> Path:
    flags = [c for c in COLUMNS if c.startswith("empty")]
    results.astype(dict.fromkeys(flags, int)).to_csv(path, index=False, lineterminator="\n")
    return path


def test_a_file_reads_back_as_it_was(results: pd.DataFrame, tmp_path: Path) -> None:
    awkward = results.assign(category="NA", supercategory="null", hd95=1 / 3)
    back = read_results(write(tmp_path / "r.csv", awkward))
    pd.testing.assert_frame_equal(back, awkward, check_dtype=False)
    assert back["seed"].dtype == "Int64"
    assert back["seed"].isna().sum() == 4
    assert back["empty_prediction"].dtype == bool
    assert summarise(back)["iou"].tolist() == summarise(results)["iou"].tolist()


def test_a_cell_that_is_no_number_is_named(results: pd.DataFrame, tmp_path: Path) -> None:
    cells = results.astype({"hd95": object})
    for text in ("nan", "inf", "", "much"):
        cells.loc[2, "hd95"] = text
        path = write(tmp_path / "r.csv", cells)
        with pytest.raises(ValueError, match=f"line 4: hd95 must be a finite number, got '{text}'"):
            read_results(path)
    with pytest.raises(ValueError, match="has no results yet"):
        read_results(write(tmp_path / "r.csv", results[:0]))
