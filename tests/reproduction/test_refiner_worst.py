"""The sheet of a refiner's worst answers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nseg_lib.data import coco
from reproduction.refiner_worst import sheet


def test_the_worst_answers_come_first(tiny_data: Path, tmp_path: Path) -> None:
    ids = sorted(coco.load_split(tiny_data, "val").annotations)
    judged = {"split": "val", "recipe": "plain_object", "image_id": ids}
    rows = tmp_path / "lite1.csv"
    pd.DataFrame(judged).assign(iou=[0.9, *(0.1 * i for i in range(1, len(ids)))]).to_csv(rows)
    figure = sheet(tiny_data, rows, "plain_object", "val", 2)
    titles = [title for ax in figure.axes if (title := ax.get_title())]
    assert [title.rpartition(", ")[2] for title in titles] == [f"{ids[1]}: 0.10", f"{ids[2]}: 0.20"]
    with pytest.raises(ValueError, match="no row of split 'val' and kind 'erode'"):
        sheet(tiny_data, rows, "erode", "val", 2)
