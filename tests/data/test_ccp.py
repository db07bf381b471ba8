"""Clothing Co-Parsing as a data set in COCO's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nseg_lib.data import ccp, coco


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five pictures, of which two are held out, each with a person of two parts."""
    monkeypatch.setattr(ccp, "HELD_OUT", 2)
    root = tmp_path / "ccp"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 6):
        labels = np.zeros((200, 100), np.uint8)
        labels[20:180, 30:70] = 1
        labels[20:50, 40:60] = 2
        labels[0:3, 0:3] = 2
        Image.fromarray(labels).save(root / "labels" / f"{number:04d}.png")
        Image.fromarray(np.stack([labels * 100] * 3, axis=-1)).save(
            root / "images" / f"{number:04d}.jpg"
        )
    (root / "labels.json").write_text(json.dumps({"0": "null", "1": "coat", "2": "hat"}))
    return root


def test_persons_and_their_parts(parsed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ccp.convert(parsed, out, max_side=100) == {"train": 3, "val": 1, "test": 1}
    split = coco.load_split(out, "train")
    assert [*split.images] == [1, 2, 3]
    assert not split.left_out
    person, *parts = split.annotations[1]
    assert split.read_image(1).shape == (100, 50, 3)
    mask = split.mask(1, person)
    assert mask[50, 25]
    assert abs(int(mask.sum()) - 1600) < 60
    # The coat is large enough at half the size; the hat, of 150 px there, is not.
    assert [split.categories[part["category_id"]]["name"] for part in parts] == ["coat"]
    assert max(split.annotations[1], key=lambda a: a["area"]) is person


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda root: (root / "labels.json").unlink(), "labels.json: no such file"),
        (lambda root: (root / "labels.json").write_text('["coat"]'), "numbers of labels and"),
        (
            lambda root: (root / "images" / "0002.jpg").rename(root / "images" / "two.jpg"),
            "two.jpg: a picture's name must be a number",
        ),
        (lambda root: (root / "labels" / "0002.png").write_bytes(b"x"), "0002.png: cannot be read"),
        (
            lambda root: Image.new("L", (9, 9)).save(root / "labels" / "0002.png"),
            "0002.jpg: its labels have another size",
        ),
        (lambda root: [p.unlink() for p in (root / "images").iterdir()], "0 pictures; over 2"),
    ],
)
def test_what_is_missing_is_named(parsed: Path, tmp_path: Path, broken: object, said: str) -> None:
    broken(parsed)  # type: ignore[operator]
    with pytest.raises(coco.DataError, match=said):
        ccp.convert(parsed, tmp_path / "out")
