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
from reproduction import ablations, claims, evidence, listings, measure, spread
from reproduction.evidence import Evidence, mask_areas
from reproduction.verdicts import Verdict

TINY, RES = "tiny16-32_bce-dice", "res16-32_bce-dice"
CLAIMS = claims.read_claims(PROJECT / "reports" / "claims.yml")
BEST = CLAIMS.pairs["attention against all rivals"]
PATIENT = "tiny16-128_bce-dice-frozen"
"""An ablation that waits 15 epochs."""


@pytest.fixture(scope="module")
def half() -> Evidence:
    return evidence.load(PROJECT, "half")


def test_precision_and_recall_follow_from_iou_and_accuracy() -> None:
    rng = np.random.default_rng(1)
    lines = []
    for _ in range(20):
        truth, answer = rng.random((2, 30, 40)) > rng.uniform(0.2, 0.8, (2, 1, 1))
        both, either = (truth & answer).sum(), (truth | answer).sum()
        lines.append(
            {
                "pixel_accuracy": (truth == answer).mean(),
                "iou": both / either,
                "width": 40,
                "height": 30,
                "object_area": truth.sum(),
                "both": both,
                "answer": answer.sum(),
            }
        )
    rows = pd.DataFrame(lines)
    found = mask_areas(rows)
    assert np.allclose(found["shared"], rows["both"])
    assert np.allclose(found["predicted"], rows["answer"])
    nothing = rows.assign(pixel_accuracy=1 - rows["object_area"] / 1200, iou=0.0)
    assert (mask_areas(nothing)["predicted"] == 0).all()
    perfect = rows.assign(pixel_accuracy=1.0, iou=1.0)
    assert np.allclose(mask_areas(perfect)["predicted"], rows["object_area"])


def test_every_claim_has_a_row_a_test_and_a_verdict(half: Evidence) -> None:
    table, tests = claims.claims_table(half), claims.claim_tests_table(half)
    text = table.text
    assert len(text) == len(tests.text) == len(CLAIMS.claims) == 28
    assert text["", "claim"].is_unique
    for verdict in text["", "verdict"]:
        assert verdict.startswith(("within ±0.01: too small", *map(str, Verdict)))
    assert (tests.text["", "test"].str.len() > 20).all()
    assert (tests.text["", "made from"].str.len() > 5).all()
    numbers = table.numbers.set_index("claim")
    assert numbers.loc["refines", "verdict"] == Verdict.HOLDS
    real_time = text.set_index(("", "claim")).loc["Fast enough for real time"]
    assert real_time["", "verdict"] == "not tested on a GPU"
    assert real_time["", "ours [95 %]"].count(" s") == 2, "both CPU figures"


def test_a_verdict_that_many_tests_do_not_leave_standing_is_open(half: Evidence) -> None:
    judged = {each.claim.id: each for each in claims.judge(half)}
    bigger = judged["bigger"]
    assert bigger.result.verdict == Verdict.HOLDS
    assert bigger.result.p < 0.05 < bigger.corrected
    assert bigger.verdict.startswith(f"{Verdict.OPEN}: holds by itself, but not among")
    roles = {name: each.claim.role for name, each in judged.items()}
    statements = {name for name, role in roles.items() if role == "primary"}
    assert {"residual", "boundary-iou", "attention", "small", "clutter"} <= statements
    for name, role in roles.items():
        assert np.isnan(judged[name].corrected) == (role == "secondary" or name == "real-time")


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


def test_each_column_is_held_against_what_is_printed_of_its_own_pair(half: Evidence) -> None:
    gains = {"tiny16-128_bce-dice": -0.03, "res16-128_bce-dice": -0.01, RES: 0.0}
    result = CLAIMS.claims["depth"].judge(with_gains(half, gains, "iou"))
    assert result.printed == pytest.approx(-0.0077), "of the least favourable pair in our rows"
    assert result.source.startswith(f"test rows: res16-128_bce-dice − {RES}, 146 pictures, 1 seed")
    assert result.source.endswith(f"authors' logs: tiny16-128_bce-dice − {TINY}, printed -0.0081")


def test_the_least_favourable_of_several_pairs_decides(half: Evidence) -> None:
    (name, base), (other, its_base) = CLAIMS.pairs["boundary loss"]
    gains = {name: 0.09, base: 0.0, other: 0.01, its_base: 0.0}
    result = CLAIMS.claims["boundary-iou"].judge(with_gains(half, gains, "iou"))
    assert result.ours is not None
    assert result.ours.mean == pytest.approx(0.01)
    assert result.ours.of == f"{other} − {its_base}"
    assert "all pairs: +0.0900, +0.0100" in result.source


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


def test_margins_of_distances_shrink_with_the_pictures(half: Evidence) -> None:
    assert half.margin("hausdorff_region") == pytest.approx(0.5)
    assert half.margin("iou") == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("caveat: gates", "but: gates", "claim 'gates': unknown key 'but'; allowed here: id, "),
        ("metric: iou", "metric: dice", "claim 'refines': 'metric': Input should be 'iou', "),
        ("pairs: larger network", "pairs: wider", "claim 'bigger': 'pairs' must be one of: res"),
        ("test: latency", "test: speed", "claim 'real-time': 'test' must be one of gain_over_"),
        ("id: depth-biou", "id: depth", "claim 'depth': 'id' is that of an earlier claim"),
        ("margin: 0.02", "margin: -1", "claim 'small': 'margin': Input should be greater than 0"),
        ("[res16-32_bce-dice, tiny16-32", "[res16-64, tiny16-32", "no network 'res16-64'; there"),
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


def test_categories_count_every_picture_once(half: Evidence) -> None:
    found = listings.categories(half.results, half.evaluated)
    identity = half.results[half.results["method"] == "identity"]
    assert found["n"].sum() == len(identity)
    weighted = (found["identity"] * found["n"]).sum() / found["n"].sum()
    assert weighted == pytest.approx(identity["iou"].mean())


def test_the_list_of_runs_leaves_none_out(half: Evidence) -> None:
    table = listings.runs_table(half).numbers.set_index("run")
    assert len(table) == 1 + len(config.names()) * len(half.profile.seeds)
    assert table.loc[f"{TINY}, seed 42", "state"] == "done"
    command = str(table.loc["attn32-256_bce-dice-bound, seed 42", "command"])
    assert "nseg train attn" in command
    assert "training.precision" not in str(table.loc[f"{TINY}, seed 42", "command"])
    assert command.endswith("training.precision=bf16-mixed"), "its own setting in the profile"


def test_an_ablation_is_judged_beside_what_it_departs_from(half: Evidence) -> None:
    name, base = "tiny16-128_bce-dice-rgb", "tiny16-128_bce-dice"
    assert {pair[0] for pair in ablations.PAIRS} == {*config.names()} - {*config.THE_EIGHT}
    verdicts = {}
    for gain in (0.1, 0.001, -0.1, None):
        others = half.results[half.results["method"] != name]
        e = replace(half, results=others)
        if gain is not None:
            rows = others[others["method"] == base]
            e = replace(
                e, results=pd.concat([others, rows.assign(method=name, iou=rows["iou"] + gain)])
            )
        table = ablations.ablations_table(e)
        text = table.text.set_index(("", "method"))
        assert text.index[0] == "identity"
        row = text.loc[name]
        assert row["", "what differs"] == "inputs: rgb, not gray_sobel"
        verdicts[gain] = row["IoU", "verdict"]
        if gain is not None:
            plain = table.numbers.set_index("method").loc[name]
            assert plain["iou"] == pytest.approx(gain)
            assert plain["boundary_iou_1px"] == 0
    assert verdicts == {
        0.1: "better", 0.001: Verdict.TOO_SMALL, -0.1: "worse", None: "not run"
    }  # fmt: skip


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


def test_what_moves_a_number_has_every_source_and_says_what_is_missing(half: Evidence) -> None:
    moves = spread.data(half)
    for metric in spread.METRICS:
        of_metric = moves[moves["metric"] == metric].set_index("source")
        assert "missing" in of_metric.loc["another seed", "of"]
        assert np.isnan(of_metric.loc["another seed", "moves"])
        assert len(of_metric.loc["an epoch earlier or later, authors"]) == 16
        assert (of_metric["moves"].dropna() >= 0).all()
        drawn = of_metric.loc["strokes drawn anew"].set_index("of")["moves"]
        assert "identity, draw 0" in drawn, "the draw of all tables"
        assert len(drawn) == 3 * (1 + measure.DRAWS)
    without = replace(half, results=half.results[half.results["method"] != TINY])
    for e, there in ((half, True), (without, False)):  # a log alone is of a run that goes on
        own = spread.data(e).query("source == 'an epoch earlier or later, ours'")["of"]
        assert (f"{TINY}, seed 42" in set(own)) == there
    again = half.results[half.results["method"] == TINY].assign(seed=1)
    again["iou"] -= 0.01
    seeded = spread.data(replace(half, results=pd.concat([half.results, again])))
    seed = seeded[(seeded["source"] == "another seed") & (seeded["metric"] == "iou")]
    assert len(seed) == 2
    assert seed["moves"].iloc[0] == pytest.approx(seed["moves"].iloc[1], abs=2e-6)


def test_redrawn_strokes_are_averaged_over_the_pictures_that_each_draw_has(tmp_path) -> None:
    path = tmp_path / "redraws.csv"
    path.write_text(
        "draw,method,image_id,iou,boundary_iou_1px\n"
        "1,identity,7,0.5,0.1\n1,identity,8,0.9,0.3\n2,identity,7,0.7,0.2\n"
    )
    means = measure.read_redraws(path).set_index("draw")
    assert means["n"].tolist() == [2, 1]
    assert means["iou"].tolist() == [0.7, 0.7]
    assert measure.read_redraws(tmp_path / "none.csv").empty
