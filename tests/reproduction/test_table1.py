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
from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.methods import baselines
from nseg_lib.evaluation.rows import evaluate
from nseg_lib.evaluation.summary import read_folder, summarise
from reproduction import paper
from reproduction.artefacts import Table, grouped, save_table
from reproduction.table1 import PAPER_METRICS, table2
from reproduction.table1 import table1 as make_table1

MODEL = "res16-32_bce-dice"
ON_PAPER = PAPER_METRICS


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real rows; the "network" is the dilation under a model's name."""
    from conftest import write_split

    root = tmp_path_factory.mktemp("data")
    write_split(root, "val", [(120, 160)] * 4, 1)
    write_split(root, "test", [(120, 160)] * 3, 20)
    folder = root / "rows"
    for split in ("val", "test"):
        samples = EvaluationSamples(coco.load_split(root, split))
        evaluate(baselines(), samples, folder / "baselines.csv")
    lines = (folder / "baselines.csv").read_text().splitlines(keepends=True)
    renamed = [line.replace("dilation,,", f"{MODEL},42,") for line in lines if "dilation" in line]
    (folder / f"{MODEL}_seed42.csv").write_text("".join([lines[0], *renamed]))
    return folder


def make(rows: Path, profile: str) -> Table:
    results = read_folder(rows)
    return make_table1(results, paper.numbers(), paper.authors_logs(), profile)


@pytest.fixture(scope="module")
def table1(rows: Path) -> Table:
    return make(rows, "half")


def test_doing_nothing_comes_first_then_the_classical_then_all_eight(table1: Table) -> None:
    methods = list(table1.text["", "method"])
    assert methods == [*BASELINES, *config.THE_EIGHT]
    assert methods[0] == "identity"


def test_what_was_not_run_says_so(table1: Table) -> None:
    text = table1.text.set_index(("", "method"))
    for name in config.THE_EIGHT:
        assert (text.loc[name, ("", "verdict")] == "not run") == (name != MODEL)
        assert (text.loc[name, ("IoU", "ours")] == "–") == (name != MODEL)
    missing = ", ".join(name for name in config.THE_EIGHT if name != MODEL)
    assert table1.notes[-1] == f"Not run: {missing}."
    assert text.loc["attn32-256_bce-dice-bound", ("IoU", "paper")] == "0.8792"
    assert text.loc["identity", ("IoU", "paper")] == "–"


def test_the_authors_epoch_stands_with_its_neighbours(table1: Table) -> None:
    text = table1.text.set_index(("", "method"))["authors' log, IoU"]
    assert text.loc[MODEL].tolist() == ["5 of 11", "0.8236, 0.8380"]
    assert text.loc["identity"].tolist() == ["–", "–"]


def test_a_verdict_is_given_in_the_papers_setting_alone(rows: Path, table1: Table) -> None:
    assert table1.text.set_index(("", "method")).loc[MODEL, ("", "verdict")] == "–"
    verdict = make(rows, "paper").text.set_index(("", "method"))["", "verdict"]
    assert verdict["identity"] == "–"
    assert verdict[MODEL].startswith("differs: ")
    printed = paper.numbers()
    val = read_folder(rows)
    val = val[(val["method"] == MODEL) & (val["split"] == "val")]
    near = {name: val[name].mean() + 0.9 * printed["tolerance"][name] for name in ON_PAPER}
    close = {**printed, "table1": {**printed["table1"], MODEL: near}}
    table = make_table1(read_folder(rows), close, paper.authors_logs(), "paper")
    assert table.text.set_index(("", "method")).loc[MODEL, ("", "verdict")] == "agrees"


@pytest.mark.parametrize(("split", "group"), [("val", "validation"), ("test", "test")])
def test_the_difference_is_paired_and_of_its_own_split(
    rows: Path, table1: Table, split: str, group: str
) -> None:
    summary = summarise(read_folder(rows), split=split).set_index("method")
    mean, low, high = summary.loc[MODEL, ["iou_difference", "iou_low", "iou_high"]]
    row = table1.text[table1.text["", "method"] == MODEL]
    cell = row[group, "Δ IoU to identity [95 %]"].item()
    assert cell == f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def test_the_numbers_are_those_of_the_text(table1: Table) -> None:
    numbers = table1.numbers.set_index(["method", "split"])
    text = table1.text.set_index(("", "method"))
    assert f"{numbers.loc[(MODEL, 'val'), 'iou']:.4f}" == text.loc[MODEL, ("IoU", "ours")]
    assert f"{numbers.loc[(MODEL, 'test'), 'iou']:.4f}" == text.loc[MODEL, ("test", "IoU")]
    assert numbers.loc[(MODEL, "val"), "paper_iou"] == 0.8611
    assert pd.isna(numbers.loc[("identity", "val"), "paper_iou"])


def test_without_the_baselines_there_is_no_table(rows: Path, tmp_path: Path) -> None:
    shutil.copy(rows / f"{MODEL}_seed42.csv", tmp_path)
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
    columns = {line.count("|") for line in stem.with_suffix(".md").read_text().splitlines()[2:16]}
    assert columns == {len(table1.text.columns) + 1}
    tex = stem.with_suffix(".tex").read_text()
    lines = tex.partition(r"\bottomrule")[0].splitlines()
    body = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in body} == {len(table1.text.columns) - 1}
    assert r"res16-32\_bce-dice" in tex
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
