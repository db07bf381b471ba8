"""A report is what its rows make; a changed digit anywhere is found and named."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from nseg_lib.evaluation import refiner_tables as comparison
from nseg_lib.files import sha256
from nseg_lib.networks.weights import shipped, write_checksums
from nseg_lib.provenance import PROJECT
from reproduction import commands as cli
from reproduction import refiner_ablation as ablation
from reproduction import verify
from reproduction.exhibits import EXHIBITS

HALF = PROJECT / "reports" / "half"


def test_the_committed_report_is_what_its_rows_make() -> None:
    found = verify.verify(PROJECT, "half")
    assert found.problems == []
    names = set(found.checked)
    for exhibit in EXHIBITS:
        if exhibit.maker and exhibit.files(HALF)[0].is_file():
            kept = {path.relative_to(HALF) for path in exhibit.files(HALF)}
            assert {path.as_posix() for path in kept if path.suffix != ".json"} <= names
    assert "rows/baselines.csv" in names
    assert any(name.startswith("training/") for name in names)
    left = {line.partition(":")[0] for line in found.left}
    assert {"figures/figure6", "figures/figure7"} <= left


def change_a_digit(path: Path, pattern: str = r"0\.\d+") -> tuple[str, str]:
    """Change the last digit of the last match; returns the number before and after."""
    text = path.read_text()
    match = list(re.finditer(pattern, text))[-1]
    before = match[0]
    after = before[:-1] + ("1" if before[-1] != "1" else "2")
    path.write_text(text[: match.start()] + after + text[match.end() :])
    return before, after


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, path
    path.write_text(text.replace(old, new, 1))


def test_every_change_of_a_report_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "project"
    for folder in ("workflow/profiles", "benchmarks/results", "reports"):
        shutil.copytree(PROJECT / folder, root / folder)
    shutil.copy(PROJECT / "README.md", root)
    out = root / "reports" / "half"
    # Digits, cells and whole files of tables and figures.
    digits = {
        f"tables/{name}": change_a_digit(out / "tables" / name)
        for name in ("table1.csv", "table1.tex", "claims.md")
    }
    for name in ("figure2", "figure5", "figure6"):
        digits[f"figures/{name}.csv"] = change_a_digit(out / f"figures/{name}.csv", r"\d+\.?\d+")
    table1 = out / "tables" / "table1.md"
    lines = table1.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.startswith("| res16-32 |"))
    lines[place] = lines[place].replace("0.861", "0.862", 1)
    table1.write_text("".join(lines))
    categories = out / "tables" / "categories.md"
    first, *middle, last, _ = categories.read_text().splitlines()
    categories.write_text("\n".join([f"{first} | 5", *middle[:4], "| more | 1 |", *middle[4:]]))
    picture = out / "figures" / "spread.png"
    picture.write_bytes(picture.read_bytes() + b" ")
    (out / "tables" / "claims.tex").unlink()
    (out / "figures" / "figure9.csv").write_text("made,up\n")
    # Rows and logs, and what is recorded of them.
    sources = ("rows/res16-32_bce-dice_seed42.csv", "training/res16-32_bce-dice/seed42/log.csv")
    changed, log = (out / name for name in sources)
    replace_in(changed.with_name(f"{changed.name}.json"), sha256(changed), "0" * 64)
    log.write_text(log.read_text() + "\n")
    rows = "rows/tiny16-32_bce-dice_seed42.csv.json"
    training = "training/tiny16-32_bce-dice/seed42/weights.safetensors.json"
    replace_in(out / rows, '"dirty": false', '"dirty": true')
    replace_in(out / "tables" / "table1.json", '"commit": "', '"commit": "f')
    record = json.loads((out / training).read_text())
    record["config"]["training"]["epochs"] = 50
    (out / training).write_text(json.dumps(record | {"products": []}))
    (out / "rows" / "baselines.csv.json").unlink()
    (out / "rows" / "more.csv.json").write_text("{}")
    # Prose.
    replace_in(out / "README.md", "**0.7903** IoU", "**0.7913** IoU")
    replace_in(root / "reports" / "limitations.md", "9 of 100", "8 of 100")
    replace_in(root / "README.md", "at most 25", "at most 50")

    problems = verify.verify(root, "half").problems

    def of(name: str) -> list[str]:
        return [line.removeprefix(f"{name}: ") for line in problems if line.startswith(f"{name}: ")]

    for name, (before, after) in digits.items():
        line = of(name)[0]
        assert line.startswith("line ")
        committed, rebuilt = line.split(": committed ")[1].split(", rebuilt ")
        assert after in committed
        assert before in rebuilt
    where = f"line {place + 1} (res16-32), IoU: paper"
    assert of("tables/table1.md") == [f"{where}: committed '0.862', rebuilt '0.861'"]
    added, *row, note = of("tables/categories.md")
    assert added.endswith("committed '5', rebuilt ''")
    assert len(row) == 2, "the lines below the added row are where they were"
    assert repr(last) in note
    for name in ("figure2", "figure5", "figure6"):
        drawn = f"is not the file that was drawn with figures/{name}.json"
        assert of(f"figures/{name}.csv")[1:] == [drawn]
    assert of("figures/spread.png") == ["is not the file that was drawn with figures/spread.json"]
    assert of("tables/claims.tex") == ["is missing"]
    assert of("rows/baselines.csv") == ["no run is noted for it"]
    assert of("figures/figure9.csv") == ["nothing makes it"]
    for name in sources:
        assert of(name) == ["was changed since its run wrote it"]
    for name in (rows, "tables/table1.json", training):
        assert verify.RECORD_CHANGED in of(name)
    assert of("rows/more.csv.json") == ["is not in SHA256SUMS"]
    assert "'training.epochs' is 50, the profile has 25" in of(training)
    assert of(training.replace("weights.safetensors.json", "log.csv")) == ["no run is noted for it"]
    assert any("committed '- **0.7913** IoU" in line for line in of("README.md"))
    assert "should say “at most 25 of the paper's 50 epochs”" in of("README.md")
    assert of("reports/limitations.md") == ["should say “9 of 100 and 4 of 150.”"]

    monkeypatch.chdir(root)
    run = CliRunner().invoke(cli.app, ["verify", "--profile", "half"])
    assert run.exit_code == 1
    assert "rows/baselines.csv: no run is noted for it" in run.output
    for written, says in (
        ("[]", "holds [], an object is needed"),
        ("{", "not valid JSON"),
        ('{"commit": ""}', "expected a mapping of settings, got NoneType"),
    ):
        (out / training).write_text(written)
        with pytest.raises(ValueError, match=re.escape(f"{out / training}: {says}")):
            verify.verify(root, "half")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The committed report of the refiner, in a project of its own."""
    return Path(shutil.copytree(PROJECT / "reports" / "refiner", tmp_path / "reports" / "refiner"))


def test_the_refiner_s_tables_are_verified_too(folder: Path, tmp_path: Path) -> None:
    found = verify.verify_refiner(tmp_path)
    assert not found.problems
    names = {"overview.csv", "ablation/ablation.md", "rows/minisam.csv", "training.csv"}
    assert names | {"corrections/watershed.csv", "ablation/one_look.csv"} <= set(found.checked)
    (folder / "sizes.md").unlink()
    table = folder / "overview.csv"
    text = table.read_text()
    digit = next(i for i, c in enumerate(text) if c == "." and text[i + 1].isdigit()) + 1
    table.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    missing, changed = verify.verify_refiner(tmp_path).problems
    assert missing == "sizes.md: is missing"
    assert changed.startswith("overview.csv: line ")


def test_changed_rows_of_the_refiner_are_named_though_the_tables_follow(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("rows/minisam.csv", "corrections/lite0.csv", "ablation/one_look.csv"):
        rows = pd.read_csv(folder / name)
        rows.assign(iou=rows["iou"] / 2).to_csv(folder / name, index=False, lineterminator="\n")
    for name, text in comparison.tables_of(folder).items():
        (folder / name).write_text(text)
    ablation.write_table(folder / "ablation")
    change_a_digit(folder / "training_edge.csv")
    (folder / "strokes.csv").unlink()
    (folder / "rows" / "identity.csv.json").unlink()
    (folder / "made_up.csv").write_text("iou\n1\n")
    (folder / "refiner.png").write_bytes(b"other")
    weights = tmp_path / "nseg_lib" / "weights"
    weights.mkdir(parents=True)
    (weights / "one.safetensors").write_bytes(b"weights")
    write_checksums(weights)
    (weights / "one.safetensors").write_bytes(b"weighty")
    changed = "was changed since its run wrote it"
    assert verify.verify_refiner(tmp_path).problems == [
        f"ablation/one_look.csv: {changed}",
        f"corrections/lite0.csv: {changed}",
        "made_up.csv: no run is noted for it",
        "rows/identity.csv: no run is noted for it",
        f"rows/minisam.csv: {changed}",
        "strokes.csv: is missing",
        f"training_edge.csv: {changed}",
        "refiner.png: is not the file that was drawn with refiner.json",
        "../../nseg_lib/weights/one.safetensors: is not as nseg_lib/weights/SHA256SUMS has it",
    ]


def test_the_ablation_notes_its_rows_and_says_what_they_compare_with(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation.training, "train", lambda *_, **__: shipped("lite0"))
    data = shutil.copytree(tiny_data, tmp_path / "data")
    out = tmp_path / "ablation"
    table = ablation.run(data, tmp_path, out, 1, ["the recipe"])
    assert "compare a row with the other rows, not with the shipped refiner" in table.read_text()
    for name, inputs in (("stroke_unchanged", 0), ("the_recipe", 1)):
        noted = json.loads((out / f"{name}.csv.json").read_text())
        assert [*noted["products"].values()] == [sha256(out / f"{name}.csv")]
        assert len(noted["inputs"]) == inputs + 1 + len(ablation.KINDS)
