"""Estimates with their intervals, and the verdicts that follow from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nseg_lib.evaluation.summary import summarise
from reproduction import estimates
from reproduction.estimates import (
    Estimate,
    Scatter,
    Verdict,
    holm,
    p_value,
    verdict,
    verdict_of_pairs,
)
from reproduction.evidence import Evidence

TINY, RES = "tiny16-32_bce-dice", "res16-32_bce-dice"
NONE = Scatter(0.0, 28)
"""Trainings that all end alike."""


def simulated(networks: int, columns: int, seed: int = 0, sd: float = 1.0) -> pd.DataFrame:
    """Means of networks that lie 5 apart, with a shift by each seed that all share, and noise."""
    rng = np.random.default_rng(seed)
    effects = 5 * np.arange(networks)[:, None] + rng.normal(0, 3, (1, columns))
    return pd.DataFrame(effects + rng.normal(0, sd, (networks, columns)))


def test_the_scatter_is_the_noise_without_networks_and_seeds() -> None:
    found, covered = [], []
    for seed in range(400):
        table = simulated(8, 3, seed)
        trainings = estimates.scatter(table)
        assert trainings is not None
        found.append(trainings)
        reach = stats.t.ppf(0.975, trainings.degrees) * trainings.sd * (2 / 3) ** 0.5
        covered.append(abs(table.loc[1].mean() - table.loc[0].mean() - 5) < reach)
    assert {each.degrees for each in found} == {14}
    assert np.mean([each.sd**2 for each in found]) == pytest.approx(1, rel=0.1)
    assert 0.92 < np.mean(covered) < 0.98, "an interval has the true difference in 95 of 100"
    alone = [estimates.scatter(simulated(8, 3, seed), shared=False) for seed in range(200)]
    assert np.mean([each.sd**2 for each in alone if each]) == pytest.approx(1 + 9, rel=0.2)
    assert estimates.scatter(simulated(2, 3)) is None, "two degrees of freedom are too few"


def test_a_comparison_is_paired_over_pictures(single: Evidence) -> None:
    # Compared with TINY in the place of the stroke.
    rows = single.results[single.results["method"].isin([TINY, RES])]
    summary = summarise(rows.replace({"method": {TINY: "identity"}}), split="test")
    expected = summary.set_index("method").loc[RES]
    found = estimates.paired_difference(single.held_out, [(RES, TINY)], "iou", NONE)
    assert found is not None
    assert (found.n, found.seeds) == (expected["n"], 1)
    assert found.mean == pytest.approx(expected["iou_difference"])
    ends = expected["iou_low"], expected["iou_high"]
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-5)
    without = single.held_out[single.held_out["method"] != RES]
    assert estimates.paired_difference(without, [(RES, TINY)], "iou", NONE) is None


def test_trainings_widen_an_interval_and_more_seeds_narrow_it(single: Evidence) -> None:
    rows = single.held_out[single.held_out["method"].isin([TINY, RES])]
    more = pd.concat([rows.assign(seed=seed) for seed in (42, 43, 44)])
    one, three, stroke = (
        estimates.paired_difference(these, [(RES, base)], "iou", Scatter(0.004, 14))
        for these, base in ((rows, TINY), (more, TINY), (single.held_out, "identity"))
    )
    assert one and three and stroke  # noqa: PT018
    assert one.seed_error == pytest.approx(0.004 * 2**0.5)
    assert three.seed_error == pytest.approx(0.004 * (2 / 3) ** 0.5)
    assert stroke.seed_error == pytest.approx(0.004), "the stroke is not trained"
    assert one.high - one.low > three.high - three.low
    assert 14 < one.degrees < three.degrees
    # A network whose seeds the other lacks is compared at those that both have.
    other = pd.concat([rows, rows[rows["method"] == TINY].assign(seed=7, iou=0.0)])
    same = estimates.paired_difference(other, [(RES, TINY)], "iou", Scatter(0.004, 14))
    assert same == one


def test_equal_epochs_are_compared_with_room_for_another_training(half: Evidence) -> None:
    pair, authors = ("tiny16-128_bce-dice-bound", "tiny16-128_bce-dice"), half.authors
    found = estimates.epochs_difference(authors, pair, "val_iou")
    logs = authors.pivot(index="epoch", columns="model", values="val_iou")
    last = (logs[pair[0]] - logs[pair[1]]).dropna()[-5:]
    trainings = estimates.scatter(logs.loc[last.index].T)
    assert found and trainings  # noqa: PT018
    assert found.sample() == "5 epochs, 1 seed"
    assert found.mean == pytest.approx(last.mean())
    reach = stats.t.ppf(0.975, 28) * trainings.sd * 2**0.5
    assert found.high - found.mean == pytest.approx(reach)
    early = estimates.epochs_difference(authors, pair, "val_iou", "first third")
    assert early and early.n == 3  # noqa: PT018
    assert estimates.epochs_difference(authors, pair, "no_such_column") is None
    assert estimates.epochs_difference(authors[authors["epoch"] < 1], pair, "val_iou") is None


def test_epochs_of_one_seed_are_compared_though_a_network_has_more(
    single: Evidence, tmp_path: Path
) -> None:
    name = single.evaluated[2]
    (run,) = single.logs[name]
    log = run.log()
    log.assign(val_iou=log["val_iou"][::-1].to_numpy()).to_csv(tmp_path / "log.csv")
    logs = single.logs | {name: [replace(run, seed=1, folder=tmp_path), run]}
    again = single.results[single.results["method"] == name].assign(seed=1)
    more = replace(single, logs=logs, results=pd.concat([single.results, again]))
    assert len(more.own_logs) == len(single.own_logs) + 25
    assert more.scatter("iou") == single.scatter("iou")
    pair = (single.evaluated[0], name)
    found, before = (
        estimates.epochs_difference(e.own_logs, pair, "val_iou") for e in (more, single)
    )
    assert found == before


def test_seeds_take_the_place_of_epochs_as_soon_as_three_networks_have_them(
    single: Evidence,
) -> None:
    assert single.scatter("iou").source == "epochs"
    assert single.scatter("boundary_iou_1px").source == "epochs of the authors"
    rng, rows = np.random.default_rng(0), [single.results]
    for place, name in enumerate(single.evaluated[:3]):
        base = single.results[single.results["method"] == name]
        rows += [base.assign(seed=s, iou=base["iou"] + rng.normal(0, 0.01)) for s in (1, 2)]
        source = replace(single, results=pd.concat(rows)).scatter("iou").source
        assert source == ("seeds" if place == 2 else "epochs")


@pytest.mark.parametrize(
    ("low", "high", "sign", "printed", "found"),
    [
        (0.002, 0.03, 1, 0.02, Verdict.HOLDS),
        (-0.03, -0.002, 1, 0.02, Verdict.FAILS),
        (-0.03, -0.002, -1, -0.02, Verdict.HOLDS),
        (-0.009, 0.009, 1, 0.02, Verdict.TOO_SMALL),
        (0.001, 0.009, 1, 0.02, Verdict.TOO_SMALL),  # sure of its sign, and still too small
        (-0.02, 0.015, 1, 0.024, Verdict.SMALLER),
        (-0.015, 0.02, -1, -0.024, Verdict.SMALLER),
        (-0.02, 0.03, 1, 0.024, Verdict.OPEN),
        (-0.02, 0.015, 1, np.nan, Verdict.OPEN),
    ],
)
def test_a_verdict_follows_from_the_interval(
    low: float, high: float, sign: int, printed: float, found: Verdict
) -> None:
    estimate = Estimate((low + high) / 2, low, high, 100)
    assert verdict(estimate, sign, margin=0.01, printed=printed) == found
    assert verdict(None, sign, margin=0.01, printed=printed) == Verdict.OPEN


def test_too_small_to_matter_is_said_of_several_pairs_only_if_each_is() -> None:
    small, helps, open_ = (
        Estimate((low + high) / 2, low, high, 100)
        for low, high in ((-0.004, 0.006), (0.004, 0.018), (-0.012, 0.006))
    )
    for others, found in (
        ([small], Verdict.TOO_SMALL), ([helps], Verdict.NOT_EACH), ([open_], Verdict.OPEN),
    ):  # fmt: skip
        assert verdict_of_pairs([small, *others], 1, margin=0.01) == found
    assert verdict_of_pairs([helps, helps], 1, margin=0.01) == Verdict.HOLDS


def test_p_and_power_follow_from_the_interval() -> None:
    touches = Estimate(0.02, 0.0, 0.04, 100, degrees=14)
    assert touches.p == pytest.approx(0.05)
    assert touches.smallest_effect == pytest.approx(0.02 / 2.145 * (2.145 + 0.868), rel=1e-3)
    against = replace(touches, mean=-0.02, low=-0.04, high=0.0)
    assert p_value(touches, 1, 3) == pytest.approx(0.05), "the least favourable pair decides"
    assert p_value(against, 1, 3) == pytest.approx(0.15), "each of three pairs could refute"


def test_holm_corrects_step_by_step() -> None:
    corrected = holm({"a": 0.03, "b": 0.01, "c": 0.04, "d": 0.9})
    assert corrected == pytest.approx({"b": 0.04, "a": 0.09, "c": 0.09, "d": 0.9})
    assert holm({}) == {}


def test_a_partial_correlation_takes_out_what_the_stroke_explains() -> None:
    rng = np.random.default_rng(0)
    stroke = rng.random(300)
    noise = rng.normal(0, 0.1, (2, 300))
    frame = pd.DataFrame({"stroke": stroke, "iou": stroke + noise[0], "size": stroke + noise[1]})
    plain = estimates.rank_correlation(frame, "iou", "size")
    partial = estimates.rank_correlation(frame, "iou", "size", "stroke")
    assert plain and partial  # noqa: PT018
    assert plain.mean == pytest.approx(stats.spearmanr(frame["iou"], frame["size"]).statistic)
    assert plain.low > 0.8
    assert partial.low < 0 < partial.high
    assert estimates.rank_correlation(frame[:9], "iou", "size") is None
