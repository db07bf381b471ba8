"""The sheet of a refiner's worst answers."""

from __future__ import annotations

import json
import shutil
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


def test_only_pictures_that_may_be_passed_on_are_shown_and_each_is_credited(
    tiny_data: Path, tmp_path: Path
) -> None:
    split = coco.load_split(tiny_data, "val")
    ids = sorted(split.annotations)
    rows = tmp_path / "rows.csv"
    judged = {"split": "val", "recipe": "plain_object", "image_id": ids, "method": "lite1"}
    others = pd.DataFrame(judged).assign(method="other", iou=0.0)
    pd.concat([pd.DataFrame(judged).assign(iou=0.5), others]).to_csv(rows)
    # Two of the pictures have a licence; only one of the two allows to pass on a changed picture.
    annotations = tmp_path / "data" / "annotations"
    shutil.copytree(tiny_data, tmp_path / "data")
    for path in annotations.glob("*val*.json"):
        content = json.loads(path.read_text())
        names = {1: "Attribution License", 2: "Attribution-NoDerivs License"}
        content["licenses"] = [{"id": i, "name": name, "url": "there"} for i, name in names.items()]
        for record in content["images"]:
            record.pop("license", None)
            record.update(
                {"license": ids.index(record["id"]) + 1} if record["id"] in ids[:2] else {}
            )
        path.write_text(json.dumps(content))
    figure = sheet(tmp_path / "data", rows, "plain_object", "val", 6, "lite1", shown=True)
    titles = [title for ax in figure.axes if (title := ax.get_title())]
    assert [title.rpartition(", ")[2] for title in titles] == [f"{ids[0]}: 0.50"]
    credit = figure.get_suptitle()
    assert credit.startswith(f"{ids[0]}: ")
    assert "Attribution License, there" in credit
