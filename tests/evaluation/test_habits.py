"""People's strokes and simulated ones in numbers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nseg_lib.evaluation import stroke_habits as habits
from nseg_lib.files import sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mask = np.zeros((80, 100), np.uint8)
    mask[20:60, 20:80] = 255
    strokes = np.zeros((80, 100, 4), np.uint8)
    strokes[38:42, 30:70] = (0, 255, 0, 255)
    strokes[5:7, 10:90] = (255, 0, 0, 255)
    for name, pixels in (
        ("images", np.full((80, 100, 3), 90, np.uint8)),
        ("masks", mask),
        ("scribbles1", strokes),
    ):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    return tmp_path


def test_every_drawing_has_a_row_and_people_come_first(folder: Path) -> None:
    table = habits.measure(folder)
    assert list(table.columns[:2]) == ["strokes", "picture"]
    assert list(table["strokes"]) == ["scribbles1", *habits.SIMULATED]
    person = table.iloc[0]
    assert person["cover"] == pytest.approx(160 / 2400)
    assert person["over"] == 0
    assert person["object_width"] == pytest.approx(4 / 2400**0.5, rel=0.25)


def test_the_command_writes_numbers_or_asks_for_the_strokes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NSEG_SCRIBBLES", raising=False)
    with pytest.raises(SystemExit, match="set NSEG_SCRIBBLES"):
        habits.main()
    monkeypatch.setenv("NSEG_SCRIBBLES", str(folder))
    habits.main()
    out = folder / "reports" / "refiner" / "strokes.csv"
    assert len(pd.read_csv(out)) == 1 + len(habits.SIMULATED)
    sidecar = json.loads(out.with_name("strokes.csv.json").read_text())
    assert [*sidecar["products"].values()] == [sha256(out)]


def test_the_committed_numbers_are_those_of_the_strokes(real_scribbles: Path) -> None:
    kept = pd.read_csv(Path(__file__).parents[2] / "reports" / "refiner" / "strokes.csv")
    people = ~kept["strokes"].isin(habits.SIMULATED)
    again = habits.measure(real_scribbles)
    fresh = again[~again["strokes"].isin(habits.SIMULATED)].round(4)
    pd.testing.assert_frame_equal(kept[people], fresh, check_dtype=False, atol=2e-4)
