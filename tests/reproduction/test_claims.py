"""How claims are decided, and the tables and the figure that are made from the evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nseg_lib import config
from nseg_lib.config import ConfigError
from nseg_lib.provenance import PROJECT
from nseg_lib.training.runs import Run
from reproduction import ablations, claims, listings, measure, spread
from reproduction.estimates import Verdict
from reproduction.evidence import Evidence, mask_areas

TINY, RES = "tiny16-32_bce-dice", "res16-32_bce-dice"
CLAIMS = claims.read_claims(PROJECT / "reports" / "claims.yml")
BEST = CLAIMS.pairs["attention against all rivals"]
PATIENT = "tiny16-128_bce-dice-frozen"
"""An ablation that waits 15 epochs."""


def test_precision_and_recall_follow_from_iou_and_accuracy() -> None:
    rng = np.random.default_rng(1)
    truth, answer = rng.random((2, 20, 30, 40)) > rng.uniform(0.2, 0.8, (2, 20, 1, 1))
    both, either = ((truth & answer).sum((1, 2)), (truth | answer).sum((1, 2)))
    area = truth.sum((1, 2))
    rows = pd.DataFrame({"iou": both / either, "width": 40, "height": 30, "object_area": area})
    rows["pixel_accuracy"] = (truth == answer).mean((1, 2))
    found = mask_areas(rows)
    assert np.allclose(found["shared"], both)
    assert np.allclose(found["predicted"], answer.sum((1, 2)))
    nothing = rows.assign(pixel_accuracy=1 - area / 1200, iou=0.0)
    assert (mask_areas(nothing)["predicted"] == 0).all()
    perfect = rows.assign(pixel_accuracy=1.0, iou=1.0)
    assert np.allclose(mask_areas(perfect)["predicted"], area)


def test_every_claim_has_a_row_a_test_and_a_verdict(half: Evidence) -> None:
    table, tests = claims.claims_table(half), claims.claim_tests_table(half)
    text = table.text
    assert len(text) == len(tests.text) == len(CLAIMS.claims) == 28
    assert text["", "claim"].is_unique
    for verdict in text["", "verdict"]:
        assert verdict.startswith(("within ±", *map(str, Verdict)))
    assert half.margin("hausdorff_region") == pytest.approx(0.5), "on pictures of half the size"
    assert table.numbers.set_index("claim").loc["refines", "verdict"] == Verdict.HOLDS
    real_time = text.set_index(("", "claim")).loc["Fast enough for real time"]
    assert real_time["", "verdict"] == "not tested on a GPU"
    assert real_time["", "ours [95 %]"].count(" s") == 2, "both CPU figures"


def test_a_verdict_that_many_tests_do_not_leave_standing_is_open(single: Evidence) -> None:
    assert CLAIMS.claims["bigger"].judge(single).verdict == Verdict.HOLDS
    judged = claims.judge(single).set_index("claim")
    bigger = judged.loc["bigger"]
    assert bigger["p"] < 0.05 < bigger["holm"]
    assert bigger["verdict"] == Verdict.OPEN
    assert bigger["remark"].startswith("corrected for ")
    primary = judged["role"] == "primary"
    assert {"residual", "boundary-iou", "attention", "small", "clutter"} <= {*judged.index[primary]}
    alone = ~primary | (judged.index == "real-time")
    assert (judged["holm"].isna() == alone).all()


def with_gains(e: Evidence, gains: dict[str, float], metric: str) -> Evidence:
    """The same evidence, with some networks as the smallest one but for a gain in one metric."""
    base = e.results[e.results["method"] == TINY]
    rows = [e.results[~e.results["method"].isin([*gains])]]
    rows += [base.assign(method=name) for name in gains]
    rows[1:] = [
        part.assign(**{metric: part[metric] + gains[part["method"].iloc[0]]}) for part in rows[1:]
    ]
    return replace(e, results=pd.concat(rows, ignore_index=True))


def test_the_best_has_to_beat_every_rival(half: Evidence) -> None:
    best, rivals = BEST[0][0], [rival for _, rival in BEST]
    attention = CLAIMS.claims["attention"]
    metric = "boundary_iou_1px"
    e = with_gains(half, {best: 0.1, **dict.fromkeys(rivals, 0.0)}, metric)
    assert attention.judge(e).verdict == Verdict.HOLDS
    without = replace(e, results=e.results[e.results["method"] != rivals[0]])
    assert attention.judge(without).verdict == Verdict.OPEN, "one rival has no rows"
    assert CLAIMS.claims["small"].judge(without).verdict == Verdict.OPEN
    beaten = with_gains(e, {rivals[1]: 0.2}, metric)
    assert attention.judge(beaten).verdict == Verdict.FAILS


def test_the_least_favourable_pair_decides_and_is_held_against_what_is_printed_of_it(
    single: Evidence,
) -> None:
    gains = {"tiny16-128_bce-dice": -0.03, "res16-128_bce-dice": -0.01, RES: 0.0}
    result = CLAIMS.claims["depth"].judge(with_gains(single, gains, "iou"))
    assert result.ours is not None
    assert result.ours.mean == pytest.approx(-0.01)
    assert result.ours.of == f"res16-128_bce-dice − {RES}"
    assert result.printed == pytest.approx(-0.0077), "of that pair"
    assert result.source.startswith(f"test rows: res16-128_bce-dice − {RES}, 146 pictures, 1 seed")
    assert "all pairs: -0.0300, -0.0100" in result.source
    assert result.source.endswith(f"authors' logs: tiny16-128_bce-dice − {TINY}, printed -0.0081")


def test_late_epochs_stand_beside_the_chosen_one(half: Evidence) -> None:
    late = CLAIMS.claims["gates"].judge(half).late
    logs = {
        name: pd.read_csv(half.logs[name][0].folder / "log.csv")["val_iou"][-5:]
        for name in CLAIMS.pairs["attention gates"][0]
    }
    assert late is not None
    assert (late.n, late.seeds) == (5, 1)
    first, second = logs.values()
    assert late.mean == pytest.approx((first - second).mean())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("caveat: gates", "but: gates", "claim 'gates': unknown key 'but'; allowed here: id, "),
        ("metric: iou", "metric: dice", "claim 'refines': 'metric': Input should be 'iou', "),
        ("pairs: larger network", "pairs: wider", "claim 'bigger': 'pairs' must be one of: res"),
        ("test: latency", "test: speed", "claim 'real-time': 'test' must be one of gain_over_"),
        ("id: depth-biou", "id: depth", "claim 'depth': 'id' is that of an earlier claim"),
        ("margin: 0.02", "margin: -1", "claim 'small': 'margin': Input should be greater than 0"),
        ("[res16-32_bce-dice, tiny16-32", "[res16-64, tiny16-32", "no model 'res16-64'; there"),
        ("claims:", "more: []\nclaims:", "unknown key 'more'; allowed here: pairs, claims"),
        ("role: primary", "role: first", "claim 'refines': 'role': Input should be 'primary' or"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (PROJECT / "reports" / "claims.yml").read_text()
    path = tmp_path / "claims.yml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        claims.read_claims(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_ablation_is_judged_beside_what_it_departs_from(single: Evidence) -> None:
    name, base = "tiny16-128_bce-dice-rgb", "tiny16-128_bce-dice"
    assert {pair[0] for pair in ablations.PAIRS} == {*config.names()} - {*config.THE_EIGHT}
    others = single.results[single.results["method"] != name]
    rows = others[others["method"] == base].assign(method=name)
    for gain, verdict in (
        (0.1, "better"), (0.001, Verdict.TOO_SMALL), (-0.1, "worse"), (None, "not run"),
    ):  # fmt: skip
        results = others
        if gain is not None:
            results = pd.concat([others, rows.assign(iou=rows["iou"] + gain)])
        table = ablations.ablations_table(replace(single, results=results))
        text = table.text.set_index(("", "method"))
        assert text.index[0] == "identity"
        assert text.loc[name]["", "what differs"] == "inputs: rgb, not gray_sobel"
        assert text.loc[name]["IoU", "verdict"] == verdict
        numbers = table.numbers.set_index("method").loc[name]
        assert numbers["iou"] == pytest.approx(gain or np.nan, nan_ok=True)


@pytest.mark.parametrize(
    ("model", "epochs", "evaluated", "state"),
    [
        (TINY, [0.3, 0.2, 0.1], False, "unfinished, 3 of 25 epochs"),
        (TINY, [0.3, 0.2, 0.1], True, "cut short, 3 of 25 epochs"),
        (TINY, [0.1, 0.2, 0.2, 0.2, 0.2, 0.2], True, "done"),
        (TINY, [0.1, 0.2, 0.2, 0.2, 0.2, 0.2], False, "trained, not evaluated"),
        (PATIENT, [0.1, 0.2, 0.2, 0.2, 0.2, 0.2], True, "cut short, 6 of 25 epochs"),
        (TINY, [1 / (i + 1) for i in range(25)], True, "done"),
    ],
)
def test_the_state_of_a_run_follows_from_its_log(
    half: Evidence, tmp_path, model: str, epochs: list[float], evaluated: bool, state: str
) -> None:
    lines = [f"{i},{loss}" for i, loss in enumerate(epochs)]
    (tmp_path / "log.csv").write_text("\n".join(["epoch,val_loss", *lines]) + "\n")
    run = Run(model, 42, tmp_path)
    assert listings.run_state(half.profile, run, evaluated=evaluated) == state
    assert listings.run_state(half.profile, None, evaluated=False) == "not run"


def test_what_moves_a_number_has_every_source_and_says_what_is_missing(
    half: Evidence, single: Evidence
) -> None:
    def moves(e: Evidence, source: str) -> pd.DataFrame:
        found = spread.spread(e).numbers.query("metric == 'iou' and source == @source")
        return found.set_index("of")["moves"]

    assert "tiny16-128_bce-dice, seed 1" in moves(half, "another seed")
    assert "missing" in moves(single, "another seed").index[0]
    assert len(moves(single, "an epoch earlier or later, authors")) == 16
    drawn = moves(single, "strokes drawn anew")
    assert "identity, draw 0" in drawn, "the draw of all tables"
    assert len(drawn) == 3 * (1 + measure.DRAWS)
    without = replace(single, results=single.results[single.results["method"] != TINY])
    for e, there in ((single, True), (without, False)):  # a log alone is of a run that goes on
        own = moves(e, "an epoch earlier or later, ours")
        assert (f"{TINY}, seed 42" in own) == there
    again = single.results[single.results["method"] == TINY].assign(seed=1)
    again["iou"] -= 0.01
    seeded = replace(single, results=pd.concat([single.results, again]))
    seeded = moves(seeded, "another seed")
    assert seeded.tolist() == pytest.approx([0.005, 0.005], abs=2e-6)


def test_redrawn_strokes_are_averaged_over_the_pictures_that_each_draw_has(tmp_path) -> None:
    path = tmp_path / "redraws.csv"
    path.write_text(
        "draw,method,image_id,iou,boundary_iou_1px\n"
        "1,identity,7,0.5,0.1\n1,identity,8,0.9,0.3\n2,identity,7,0.7,0.2\n"
    )
    means = measure.read_redraws(path).set_index("draw")
    assert means["iou"].tolist() == [0.7, 0.7]
