"""Tables 1 and 2: the paper beside ours, and nothing left out in silence."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from nseg_lib import config
from nseg_lib import networks as models
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.summary import one_training, read_folder, summarise
from nseg_lib.provenance import PROJECT
from reproduction import paper
from reproduction.artefacts import Table, grouped, save_table
from reproduction.table1 import PAPER_METRICS, native_table, table1b, table2
from reproduction.table1 import table1 as make_table1

MODEL = "res16-32_bce-dice"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """The committed rows of the baselines and of one training of one network."""
    results = read_folder(PROJECT / "reports" / "half" / "rows")
    return one_training(results[results["method"].isin([*BASELINES, MODEL])])


def of_method(text: pd.DataFrame, name: str) -> pd.Series:
    return text.set_index(("", "method")).loc[name]


@pytest.fixture(scope="module")
def table1(rows: pd.DataFrame) -> Table:
    return make_table1(rows, paper.numbers(), "half")


def test_table_1_has_the_papers_rows_and_says_what_was_not_run(table1: Table) -> None:
    text = table1.text
    networks = [name.partition("_")[0] for name in config.THE_EIGHT]
    assert text["", "network"].tolist() == networks
    place = config.THE_EIGHT.index(MODEL)
    assert [cell == "not run" for cell in text["IoU", "ours"]] == [i != place for i in range(8)]
    assert text["IoU", "paper"].tolist()[-1] == "0.879"
    assert text["Hausdorff, region (px)", "paper"].tolist()[0] == "43.1"
    missing = ", ".join(name for name in config.THE_EIGHT if name != MODEL)
    assert table1.notes[-1] == f"Not run: {missing}."


def test_what_is_counted_in_pixels_stands_beside_the_papers_at_its_size_alone(
    rows: pd.DataFrame, table1: Table
) -> None:
    place = config.THE_EIGHT.index(MODEL)
    assert table1.text["1-px boundary IoU", "ours"][place] == "–"
    full = make_table1(rows.assign(width=640, height=480), paper.numbers(), "half").text
    assert full["1-px boundary IoU", "ours"][place].startswith("0.")


def test_a_verdict_is_given_in_the_papers_setting_alone(rows: pd.DataFrame, table1: Table) -> None:
    assert ("", "verdict") not in table1.text
    printed, place = paper.numbers(), config.THE_EIGHT.index(MODEL)
    verdict = make_table1(rows, printed, "paper").text["", "verdict"]
    assert verdict[0] == "not run"
    assert verdict[place].startswith("differs: ")
    val = rows[(rows["method"] == MODEL) & (rows["split"] == "val")]
    near = {name: val[name].mean() + 0.9 * printed["tolerance"][name] for name in PAPER_METRICS}
    close = {**printed, "table1": {**printed["table1"], MODEL: near}}
    assert make_table1(rows, close, "paper").text["", "verdict"][place] == "agrees"


def test_table_1b_begins_with_the_stroke_and_pairs_the_test_pictures(rows: pd.DataFrame) -> None:
    text = table1b(rows).text
    methods = text["", "method"].tolist()
    assert methods[0] == "identity: the stroke unchanged"
    assert {*methods[1:-1]} == {*BASELINES} - {"identity"}
    assert methods[-1] == MODEL
    row = summarise(rows, split="test").set_index("method").loc[MODEL]
    shown = of_method(text, MODEL)
    assert shown["", "Δ IoU [95 %]"] == (
        f"{row['iou_difference']:+.4f} [{row['iou_low']:+.4f}, {row['iou_high']:+.4f}]"
    )
    assert shown["", "parameters"] == "117,681"


def test_the_authors_networks_are_judged_on_the_largest_and_on_every_object(
    rows: pd.DataFrame,
) -> None:
    native = rows.replace({"method": {MODEL: f"released-{MODEL}"}}).query("split == 'test'")
    smaller = native.assign(annotation_id=native["annotation_id"] + 1000, object_area=1, iou=0.5)
    table = native_table(native, pd.concat([native, smaller]))
    shown = of_method(table.text, f"{MODEL}, as the authors released it")
    assert shown["", "parameters"] == "117,681"
    mean = native[native["method"] == f"released-{MODEL}"]["iou"].mean()
    largest, every = table.text.columns.get_level_values(0).unique()[1:]
    assert largest.startswith("the largest object of each picture")
    assert shown[largest, "IoU"] == f"{mean:.4f}"
    assert shown[every, "IoU"] == f"{(mean + 0.5) / 2:.4f}"


def test_the_numbers_hold_every_method_and_split(table1: Table) -> None:
    numbers = table1.numbers.set_index(["method", "split"])
    assert {*numbers.index.get_level_values(0)} == {*BASELINES, *config.THE_EIGHT}
    place = config.THE_EIGHT.index(MODEL)
    assert f"{numbers.loc[(MODEL, 'val'), 'iou']:.3f}" == table1.text["IoU", "ours"][place]
    assert numbers.loc[(MODEL, "val"), "paper_iou"] == 0.8611
    assert pd.notna(numbers.loc[(MODEL, "test"), "iou"])
    assert pd.isna(numbers.loc[("identity", "val"), "paper_iou"])


def test_without_the_baselines_there_is_no_table(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "reports" / "half" / "rows" / f"{MODEL}_seed42.csv", tmp_path)
    with pytest.raises(ValueError, match=r"no baselines\.csv; 'make reproduce'"):
        read_folder(tmp_path)


def test_table_2_sets_weights_and_checkpoint_beside_the_papers_megabytes() -> None:
    names = ("tiny16-32_bce-dice", "blockres16-128_bce-dice-bound")
    sizes = [models.size(name) for name in names]
    text = table2(sizes, paper.numbers()["table2"]).text
    assert text.iloc[0].tolist() == [
        "tiny16-32_bce-dice",
        "117,681",
        "1.40",
        "0.45",
        "1.35",
        "-3.8 %",
        "15.1",
    ]
    assert text.iloc[1]["paper", "MB"] == "–"


def test_a_table_is_saved_in_three_formats_with_its_setting(table1: Table, tmp_path: Path) -> None:
    stem = tmp_path / "tables" / "table1"
    for profile, says in (("half", True), ("paper", False)):
        shown = save_table(table1, stem, profile=profile)
        for suffix in (".csv", ".md", ".tex"):
            text = stem.with_suffix(suffix).read_text()
            assert ("Not the paper's setting: COCO at half resolution" in text) == says
        assert ("Not the paper's setting" in html.unescape(shown._repr_html_())) == says
    columns = {line.count("|") for line in stem.with_suffix(".md").read_text().splitlines()[2:12]}
    assert columns == {len(table1.text.columns) + 1}
    tex = stem.with_suffix(".tex").read_text()
    lines = tex.partition(r"\bottomrule")[0].splitlines()
    body = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in body} == {len(table1.text.columns) - 1}
    assert r"res16-32 & BCE, Dice &" in tex
    assert "%" not in tex.replace(r"\%", "").replace("{!}{%", "")
    assert json.loads(stem.with_suffix(".json").read_text())["setting"] == "the paper's"
    assert len(pd.read_csv(stem.with_suffix(".csv"))) == len(table1.numbers)


def test_no_cell_breaks_the_format_it_is_written_in(tmp_path: Path) -> None:
    text = grouped([{("", "what"): "a|b & c_d <e> --set f=5 %"}])
    table = Table("Odd cells.", text, pd.DataFrame({"a": [1]}), ("50 % & more",))
    save_table(table, tmp_path / "odd")
    assert r"| a\|b & c_d <e> --set f=5 % |" in (tmp_path / "odd.md").read_text()
    tex = (tmp_path / "odd.tex").read_text()
    assert r"a|b \& c\_d $<$e$>$ -{}-set f=5 \% \\" in tex
    assert r"50 \% \& more \\" in tex
    assert "a|b &amp; c_d &lt;e&gt;" in table._repr_html_()
    sidecar = json.loads((tmp_path / "odd.json").read_text())
    assert sidecar["seconds"] is None, "nobody said how long it took"
    assert sidecar["profile"] is None
