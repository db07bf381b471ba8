"""What decides a claim, and what does not: effects, verdicts, and every row of the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nseg_lib import config
from nseg_lib.config import ConfigError
from nseg_lib.evaluation.summary import paired_difference
from nseg_lib.provenance import PROJECT
from nseg_lib.training.runs import Run
from reproduction import ablations, claims, estimates, evidence, listings, measure, spread
from reproduction.estimates import Estimate, Verdict
from reproduction.evidence import Evidence, mask_areas

TINY, RES = "tiny16-32_bce-dice", "res16-32_bce-dice"
CLAIMS = claims.read_claims(PROJECT / "reports" / "claims.yml")
BEST = CLAIMS.pairs["attention against all rivals"]
PATIENT = "tiny16-128_bce-dice-frozen"
"""An ablation that waits 15 epochs."""


@pytest.fixture(scope="module")
def half() -> Evidence:
    return evidence.load(PROJECT, "half")


def with_model(e: Evidence, name: str, gain: float, seeds: tuple[int, ...]) -> Evidence:
    """The same evidence with a made-up model, better than the smallest by ``gain`` in IoU."""
    base = e.results[e.results["method"] == TINY]
    rng = np.random.default_rng(0)
    parts = [e.results[e.results["method"] != name]]
    for seed in seeds:
        part = base.assign(method=name, seed=seed)
        noise = rng.normal(0, 0.004, len(part)) + 0.0005 * seed
        parts.append(part.assign(iou=(part["iou"] + gain + noise).clip(0, 1)))
    rows = pd.concat(parts, ignore_index=True).astype({"seed": "Int64"})
    return replace(e, results=rows)


@pytest.mark.parametrize(
    ("low", "high", "sign", "printed", "tolerance", "verdict"),
    [
        (0.01, 0.03, 1, 0.02, 0.0, Verdict.HOLDS),
        (0.01, 0.03, 1, 0.02, 0.029, Verdict.OPEN),  # one training each: too near to 0
        (0.04, 0.06, 1, 0.02, 0.029, Verdict.HOLDS),
        (-0.01, 0.03, 1, 0.02, 0.0, Verdict.OPEN),
        (-0.002, 0.001, 1, 0.024, 0.0, Verdict.SMALLER),  # between, and excludes what is printed
        (-0.002, 0.001, 1, 0.024, 0.029, Verdict.OPEN),
        (0.001, 0.02, 1, 0.0694, 0.024, Verdict.SMALLER),
        (-0.001, 0.02, 1, 0.0694, 0.024, Verdict.SMALLER),
        (-0.002, 0.001, 1, np.nan, 0.0, Verdict.OPEN),
        (-0.03, -0.01, 1, 0.02, 0.0, Verdict.FAILS),
        (-0.03, -0.01, -1, -0.02, 0.0, Verdict.HOLDS),
        (0.1, 0.6, -1, -3.5, 0.0, Verdict.FAILS),
        (-0.1, 0.6, -1, -3.5, 0.0, Verdict.SMALLER),
        (-4.0, 0.6, -1, -3.5, 0.0, Verdict.OPEN),
    ],
)
def test_a_verdict_follows_from_the_interval(
    low: float, high: float, sign: int, printed: float, tolerance: float, verdict: Verdict
) -> None:
    one = Estimate((low + high) / 2, low, high, 100, seeds=1)
    assert estimates.verdict(one, sign, printed=printed, tolerance=tolerance) == verdict
    three = replace(one, seeds=3)
    without = estimates.verdict(one, sign, printed=printed)
    assert estimates.verdict(three, sign, printed=printed, tolerance=tolerance) == without
    assert estimates.verdict(None, sign, printed=printed) == Verdict.OPEN


def test_a_comparison_is_paired_and_on_the_split_that_chose_nothing(half: Evidence) -> None:
    expected = paired_difference(half.results, RES, TINY, split="test")
    found = estimates.paired_difference(half.held_out, [(RES, TINY)], "iou")
    assert found is not None
    assert (found.n, found.seeds) == (expected.n, 1)
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    without = replace(half, results=half.results[half.results["method"] != RES])
    assert estimates.paired_difference(without.held_out, [(RES, TINY)], "iou") is None


def test_seeds_widen_an_interval_and_make_a_verdict_possible(half: Evidence) -> None:
    name = "tiny16-128_bce-dice"
    for seeds, verdict in (((1,), Verdict.OPEN), ((1, 2, 3), Verdict.HOLDS)):
        e = with_model(half, name, 0.02, seeds)
        e = with_model(e, RES, 0.0, (1, 2, 3))
        found = estimates.paired_difference(e.held_out, [(name, RES)], "iou")
        assert found is not None
        assert found.seeds == len(seeds)
        assert estimates.verdict(found, 1, tolerance=0.029) == verdict
    three = estimates.paired_difference(e.held_out, [(name, RES)], "iou")
    assert three is not None
    key = ["image_id", "annotation_id", "method"]
    wide = e.held_out.groupby(key)["iou"].mean().unstack()
    plain = 1.96 * (wide[name] - wide[RES]).std() / len(wide) ** 0.5
    assert (three.high - three.low) / 2 > plain


def test_equal_epochs_are_compared_and_the_interval_is_students(half: Evidence) -> None:
    pair = CLAIMS.pairs["boundary loss"][0]
    found = estimates.equal_epochs_difference(half.authors, pair, "val_iou")
    logs = half.authors.set_index(["model", "epoch"])["val_iou"]
    differences = (logs[pair[0]] - logs[pair[1]]).dropna().to_numpy()
    assert found is not None
    assert found.n == len(differences) == 9
    low, high = stats.t.interval(0.95, 8, differences.mean(), stats.sem(differences))
    assert (found.low, found.high) == pytest.approx((low, high))
    late = estimates.equal_epochs_difference(half.authors, pair, "val_iou", "last third")
    assert late is not None
    assert (late.n, late.mean) == (3, pytest.approx(differences[-3:].mean()))
    early = estimates.equal_epochs_difference(half.authors, pair, "val_iou", "first third")
    assert early is not None
    assert (early.n, early.mean) == (3, pytest.approx(differences[:3].mean()))
    first = half.authors[half.authors["epoch"] < 2]
    assert estimates.equal_epochs_difference(first, pair, "val_iou") is not None
    assert estimates.equal_epochs_difference(first, pair, "val_iou", "last third") is None
    assert estimates.equal_epochs_difference(half.authors, pair, "no_such_column") is None


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


def test_a_partial_correlation_takes_out_what_the_stroke_explains() -> None:
    rng = np.random.default_rng(0)
    stroke = rng.random(300)
    frame = pd.DataFrame(
        {
            "stroke": stroke,
            "iou": stroke + rng.normal(0, 0.1, 300),
            "size": stroke + rng.normal(0, 0.1, 300),
        }
    )
    plain = estimates.rank_correlation(frame, "iou", "size")
    partial = estimates.rank_correlation(frame, "iou", "size", "stroke")
    assert plain is not None
    assert partial is not None
    assert plain.mean == pytest.approx(stats.spearmanr(frame["iou"], frame["size"]).statistic)
    assert plain.low > 0.8
    assert partial.low < 0 < partial.high
    assert estimates.rank_correlation(frame[:9], "iou", "size") is None


def test_every_claim_has_a_row_a_test_and_a_verdict(half: Evidence) -> None:
    table = claims.claims_table(half)
    text = table.text
    assert len(text) == 30
    assert text["", "claim"].is_unique
    for verdict in text["ours", "verdict"]:
        assert verdict.startswith((Verdict.HOLDS, Verdict.SMALLER, Verdict.FAILS, Verdict.OPEN))
    assert (text["", "test"].str.len() > 20).all()
    assert (text["", "from"].str.len() > 5).all()
    verdicts = table.numbers.set_index("claim")["verdict"]
    assert verdicts["residual"] == Verdict.OPEN, "one seed"
    assert verdicts["refines"].startswith(Verdict.HOLDS)


def test_the_best_has_to_beat_every_rival_and_the_smallest_need_all_eight(half: Evidence) -> None:
    best = BEST[0][0]
    e = with_model(half, best, 0.05, (1, 2, 3))
    rivals = [rival for _, rival in BEST]
    for gain, rival in zip((0.0, 0.01, 0.04), rivals, strict=True):
        assert CLAIMS.claims["small"].judge(e).verdict == Verdict.OPEN
        e = with_model(e, rival, gain, (1, 2, 3))
    attention = CLAIMS.claims["attention"]
    e = replace(e, results=raised(e.results, best, 0.1))
    assert attention.judge(e).verdict == Verdict.HOLDS
    without = replace(e, results=e.results[e.results["method"] != rivals[0]])
    assert attention.judge(without).verdict == Verdict.OPEN, "one rival has no rows"
    beaten = replace(e, results=raised(e.results, rivals[1], 0.2))
    assert attention.judge(beaten).verdict == Verdict.FAILS


def raised(rows: pd.DataFrame, method: str, gain: float) -> pd.DataFrame:
    """The same rows with one method better by ``gain`` in the boundary IoU."""
    more = (rows["method"] == method) * gain
    return rows.assign(boundary_iou_1px=rows["boundary_iou_1px"] + more)


def test_a_distance_has_the_tolerance_of_the_pictures_size(half: Evidence) -> None:
    assert half.tolerance("hausdorff_region") == pytest.approx(8.2 / 2)
    assert half.tolerance("iou") == pytest.approx(0.029)


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
        ("notes:", "more: []\nnotes:", "unknown key 'more'; allowed here: pairs, claims, notes"),
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


def test_the_authors_logs_take_the_printed_differences_apart(half: Evidence) -> None:
    """As read from the logs by hand: the gain of the boundary loss in IoU is training length."""
    iou, band, far = (
        CLAIMS.claims[f"boundary-{metric}"].judge(half).numbers
        for metric in ("iou", "biou", "hausdorff")
    )
    assert iou["printed"] == pytest.approx(0.8749 - 0.8534, abs=1e-4)
    assert iou["logs_mean"] == pytest.approx(-0.0012, abs=1e-4)
    assert band["logs_mean"] == pytest.approx(0.0137, abs=1e-4)
    assert far["logs_mean"] == pytest.approx(0.26, abs=0.01)


def test_each_column_is_held_against_what_is_printed_of_its_own_pair(half: Evidence) -> None:
    """The attention model's closest rival in print is not its closest in the logs or in ours."""
    best, (first, rival, twin) = BEST[0][0], (rival for _, rival in BEST)
    e = half
    for name, gain in ((best, 0.03), (first, 0.01), (rival, 0.01), (twin, 0.02)):
        e = with_model(e, name, 0.0, (1,))
        e = replace(e, results=raised(e.results, name, gain))
    result = CLAIMS.claims["attention"].judge(e)
    assert result.printed == "+0.0170", "of the least favourable pair in our rows"
    assert result.source == f"test rows: {best} − {twin}"
    assert result.logs.endswith(f"{best} − {rival}, printed +0.0128")
    assert result.logs_verdict == "no, not as large as printed"


def test_the_least_favourable_of_several_pairs_decides(half: Evidence) -> None:
    rows = half.results
    for (name, base), gain in zip(CLAIMS.pairs["boundary loss"], (0.09, 0.01), strict=True):
        part = rows[rows["method"] == base]
        rows = rows[rows["method"] != name]
        rows = pd.concat([rows, part.assign(method=name, iou=part["iou"] + gain)])
    result = CLAIMS.claims["boundary-iou"].judge(replace(half, results=rows))
    assert result.numbers["ours_mean"] == pytest.approx(0.01)
    assert result.verdict == Verdict.OPEN
    assert result.ours.endswith("all pairs: +0.0900, +0.0100")
    assert result.source.endswith("both kept epoch 23")


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
    assert command.startswith("nseg train attn")
    assert "training.precision" not in str(table.loc[f"{TINY}, seed 42", "command"])
    assert command.endswith("training.precision=bf16-mixed"), "its own setting in the profile"


def test_an_ablation_is_judged_beside_what_it_departs_from(half: Evidence) -> None:
    name, base = "tiny16-128_bce-dice-rgb", "tiny16-128_bce-dice"
    assert {pair[0] for pair in ablations.PAIRS} == {*config.names()} - {*config.THE_EIGHT}
    verdicts = {}
    for gain in (0.1, 0.005, -0.1, None):
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
    assert verdicts == {0.1: "better", 0.005: Verdict.OPEN, -0.1: "worse", None: "not run"}


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
    seeded = spread.data(with_model(half, TINY, 0.0, (1, 2)))
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
