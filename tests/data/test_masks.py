"""Reading strokes and masks: which pixels count as painted, which files are refused, and how."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nseg_lib.data import masks
from nseg_lib.data.coco import DataError
from nseg_lib.data.images import open_picture, read_image
from nseg_lib.data.outputs import check_default, write_png

STROKE = np.zeros((20, 30), bool)
STROKE[5:12, 3:19] = True


def saved(path: Path, pixels: np.ndarray, **more: object) -> Path:
    Image.fromarray(pixels).save(path, **more)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_strokes_on_black_and_on_clear_layers_read_alike(tmp_path: Path, mode: str) -> None:
    stroke = STROKE
    if mode == "RGBA":
        pixels = np.zeros((20, 30, 4), np.uint8)
        pixels[stroke] = (10, 200, 30, 255)
        Image.fromarray(pixels).save(tmp_path / "s.png")
    else:
        Image.fromarray(stroke.astype(np.uint8) * 255).convert(mode).save(tmp_path / "s.png")
    assert np.array_equal(masks.read_mask(tmp_path / "s.png"), stroke)


def test_a_stroke_is_read_as_its_photograph_is(tmp_path: Path) -> None:
    stroke = STROKE
    turned = Image.fromarray(stroke.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(masks.read_mask(tmp_path / "turned.png"), np.rot90(stroke, -1))
    deep = np.where(stroke, 65535, 300).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(masks.read_mask(tmp_path / "deep.png"), stroke)


def test_a_few_clear_pixels_do_not_make_all_that_is_opaque_brushed(tmp_path: Path) -> None:
    stroke = STROKE
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, 3] = 0  # one clear pixel in a corner
    pixels[stroke, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "s.png")
    assert np.array_equal(masks.read_mask(tmp_path / "s.png"), stroke)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("share", [0.2, 0.7])
def test_a_clear_layer_is_painted_in_any_colour(
    tmp_path: Path, colour: tuple[int, int, int], share: float
) -> None:
    stroke = np.zeros((20, 30), bool)
    stroke[: round(20 * share)] = True
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[stroke] = (*colour, 255)
    Image.fromarray(pixels).save(tmp_path / "s.png")
    assert np.array_equal(masks.read_mask(tmp_path / "s.png"), stroke)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("value", [1, 7, 128, 255])
def test_one_value_on_black_is_the_object(tmp_path: Path, kind: type, value: int) -> None:
    path = saved(tmp_path / "m.png", (STROKE * value).astype(kind))
    assert np.array_equal(masks.read_mask(path), STROKE)
    colour = saved(tmp_path / "c.png", np.where(STROKE[..., None], (0, 0, value), 0).astype("u1"))
    assert np.array_equal(masks.read_mask(colour), STROKE)


def test_soft_edges_and_jpeg_count_from_one_half_on(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(STROKE.astype(np.uint8) * 255, (3, 3), 0)
    assert np.array_equal(masks.read_mask(saved(tmp_path / "m.png", soft)), soft > 127)
    path = saved(tmp_path / "m.jpg", STROKE.astype(np.uint8) * 255, quality=90)
    assert np.array_equal(masks.read_mask(path), STROKE)


def other(value: int) -> np.ndarray:
    """The stroke in white, and an area of another grey."""
    values = STROKE.astype(np.uint16) * 255
    values[14:18, 10:20] = value
    return values


def palette(values: np.ndarray) -> Image.Image:
    picture = Image.fromarray(values.astype(np.uint8), "L").convert("P")
    picture.putdata(values.ravel().tolist())
    picture.putpalette([0, 0, 0, 128, 0, 0, 224, 224, 192] + [9, 9, 9] * 253)
    return picture


def test_values_that_do_not_say_what_is_painted_are_named(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", other(128).astype(np.uint8))
    with pytest.raises(DataError, match=r"grey.png: holds the values 0, 255, 128 \(--label"):
        masks.read_mask(grey)
    assert masks.read_mask(grey, label=128).sum() == 40
    with pytest.raises(DataError, match="no pixel has the value 3; it holds the values 0, 255"):
        masks.read_mask(grey, label=3)
    numbers = saved(tmp_path / "numbers.png", np.arange(600, dtype=np.uint16).reshape(20, 30))
    with pytest.raises(DataError, match=r"the values 0, 1, 2, 3, 4 and 595 more"):
        masks.read_mask(numbers)
    assert masks.read_mask(numbers, label=480).sum() == 1
    classes = np.where(other(9) == 255, 1, np.where(other(9) == 9, 2, 0))
    palette(classes).save(tmp_path / "classes.png")
    with pytest.raises(DataError, match=r"holds the values 0, 1, 2 \(--label"):
        masks.read_mask(tmp_path / "classes.png")
    assert np.array_equal(masks.read_mask(tmp_path / "classes.png", label=1), STROKE)
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[STROKE], colours[15:] = (255, 0, 0), (0, 255, 0)
    with pytest.raises(DataError, match="the colours 0/0/0, 0/255/0, 255/0/0; a mask is white"):
        masks.read_mask(saved(tmp_path / "colours.png", colours))


def test_a_palette_of_two_entries_is_read_by_its_colours(tmp_path: Path) -> None:
    palette(STROKE.astype(int)).save(tmp_path / "p.png")
    assert np.array_equal(masks.read_mask(tmp_path / "p.png"), STROKE)


def test_clear_layers_with_holes_and_translucent_brushes(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[STROKE] = (255, 255, 0, 102)  # 40 % of opacity
    assert np.array_equal(masks.read_mask(saved(tmp_path / "a.png", pixels)), STROKE)
    pixels[STROKE] = (255, 255, 255, 255)
    pixels[7:9, 6:9] = (0, 0, 0, 255)  # a hole, painted black
    holed = STROKE.copy()
    holed[7:9, 6:9] = False
    assert np.array_equal(masks.read_mask(saved(tmp_path / "b.png", pixels)), holed)
    pixels[..., 3] = np.where(pixels[..., 3] > 0, 9, 0)
    with pytest.raises(DataError, match="the mask is too transparent, 4% at most"):
        masks.read_mask(saved(tmp_path / "c.png", pixels))


def test_the_clear_grey_of_two_bits_is_clear(tmp_path: Path) -> None:
    """Black on clear white, as Pillow's issue 9281 has it."""
    raw = b"".join(b"\0" + bytes([0b11_00_11_11]) for _ in range(4))
    chunks = [
        (b"IHDR", (4).to_bytes(4, "big") * 2 + bytes([2, 0, 0, 0, 0])),
        (b"tRNS", bytes([0, 3])),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        content += len(data).to_bytes(4, "big") + kind + data + crc
    (tmp_path / "a.png").write_bytes(content)
    expected = np.zeros((4, 4), bool)
    expected[:, 1] = True
    assert np.array_equal(masks.read_mask(tmp_path / "a.png"), expected)


def test_a_mask_left_black_on_white_seems_inverted() -> None:
    assert masks.seems_inverted(~STROKE)
    assert not masks.seems_inverted(STROKE)


# --- what the canvas saves ------------------------------------------------------------------------


def photo(folder: Path, orientation: int = 1) -> masks.Photo:
    """A photograph that is 30x20 once it is upright."""
    turned = Image.new("RGB", (20, 30) if orientation in (5, 6, 7, 8) else (30, 20), "grey")
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(folder / "photo.jpg", exif=exif)
    path = folder / "photo.jpg"
    return masks.Photo(path, open_picture(path), read_image(path))


def test_a_file_of_strokes_is_read_with_its_background(tmp_path: Path) -> None:
    strokes = [
        {"kind": "object", "points": [[5, 5, 3], [20, 5, 3]]},
        {"kind": "background", "points": [[15, 17, 2]]},
    ]
    content = {"format": masks.STROKES_FORMAT, "width": 30, "height": 20, "strokes": strokes}
    path = tmp_path / "photo_strokes.json"
    path.write_text(json.dumps(content))
    drawn = masks.read_stroke(path, photo(tmp_path))
    assert drawn.object[5, 5:20].all()
    assert drawn.background[17, 15]
    for wrong, reason in (
        ({"width": 31}, "drawn on 31x20 pixels, the picture has 30x20"),
        ({"format": "mine"}, "not a file of strokes"),
        ({"strokes": [{"kind": "object", "points": [[0, 0, 1e9]]}]}, "stroke 1: "),
        ({"strokes": []}, "nothing is brushed"),
    ):
        path.write_text(json.dumps(content | wrong))
        with pytest.raises(DataError, match=rf"photo_strokes\.json: {reason}"):
            masks.read_stroke(path, photo(tmp_path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_coco_file_of_the_canvas_is_read_upright(tmp_path: Path, orientation: int) -> None:
    from nseg_lib.widget.results import export

    taken = photo(tmp_path, orientation)
    name, content = export("rle", taken.image, STROKE, [], "photo.jpg", orientation)
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(masks.read_mask(tmp_path / name, taken), STROKE)


def test_of_several_objects_one_is_chosen_by_its_id(tmp_path: Path) -> None:
    squares = [[[2, 2, 8, 2, 8, 8, 2, 8]], [[12, 2, 18, 2, 18, 8, 12, 8]]]
    objects = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": s}
        for i, s in enumerate(squares, 7)
    ]
    images = [{"id": i, "file_name": f, "width": 30, "height": 20} for i, f in
              enumerate(("photo.jpg", "other.jpg"), 1)]  # fmt: skip
    path = tmp_path / "annotations.json"
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "a"}]}
    path.write_text(json.dumps(content))
    taken = photo(tmp_path)
    with pytest.raises(DataError, match=r"--label must be the id of an annotation of it; .*7, 8"):
        masks.read_mask(path, taken)
    assert masks.read_mask(path, taken, label=8)[5].tolist() == [12 <= x < 18 for x in range(30)]
    images[0]["file_name"] = "another.jpg"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"holds 2 pictures, none of them named photo\.jpg"):
        masks.read_mask(path, taken, label=8)


# --- masks out ------------------------------------------------------------------------------------


def test_the_mask_of_another_photograph_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name, shade in (("photo.png", 9), ("photo.jpg", 99), ("other/photo.png", 199)):
        Image.new("L", (30, 20), shade).save(tmp_path / name)
    mask = tmp_path / "photo_mask.png"
    check_default(mask, tmp_path / "photo.png")  # none is there
    write_png(mask, STROKE, tmp_path / "photo.png")
    check_default(mask, tmp_path / "photo.png")  # its own may be made anew
    Image.new("L", (30, 20), 10).save(tmp_path / "photo.png")
    check_default(mask, tmp_path / "photo.png")  # and after the photograph was edited
    for other in ("photo.jpg", "other/photo.png"):
        with pytest.raises(DataError, match=r"was made from photo\.png, not from .* with -o"):
            check_default(mask, tmp_path / other)
    saved(mask, STROKE)
    with pytest.raises(DataError, match="is there already, not from"):
        check_default(mask, tmp_path / "photo.png")
