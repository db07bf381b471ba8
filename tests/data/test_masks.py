"""Reading strokes and masks: which pixels count as painted, which files are refused, and how."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_builder import document, square
from drawing import stroke
from PIL import Image

from nseg_lib.data import masks
from nseg_lib.data.coco import DataError
from nseg_lib.data.outputs import check_default, write_png
from nseg_lib.data.painted import seems_inverted

STROKE = np.zeros((20, 30), bool)
STROKE[5:12, 3:19] = True


WHITE = STROKE.astype(np.uint8) * 255


def saved(path: Path, pixels: np.ndarray, **more: object) -> Path:
    Image.fromarray(pixels).save(path, **more)
    return path


def layer(colour: tuple[int, ...], stroke: np.ndarray = STROKE) -> np.ndarray:
    """A clear layer with the stroke on it, of these red, green, blue and opacity."""
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[stroke] = colour
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [
        *((STROKE * value).astype(kind) for value in (1, 7, 128, 255) for kind in ("u1", "u2")),
        np.where(STROKE, 65535, 300).astype("u2"),
        np.where(STROKE[..., None], (0, 0, 9), 0).astype("u1"),
        *(layer((*colour, 255)) for colour in ((255, 0, 0), (0, 0, 0), (255, 255, 255))),
        layer((255, 255, 0, 102)),  # 40 % of opacity
        # A few clear pixels do not make all that is opaque brushed.
        np.dstack([WHITE] * 3 + [np.where(np.arange(600).reshape(20, 30), 255, 0)]).astype("u1"),
    ],
)
def test_one_value_on_black_or_on_a_clear_layer_is_the_object(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    assert np.array_equal(masks.read_mask(saved(tmp_path / "m.png", pixels)), STROKE)


def test_a_clear_layer_may_be_painted_over_most(tmp_path: Path) -> None:
    most = np.arange(20)[:, None] + np.zeros(30) < 14
    path = saved(tmp_path / "m.png", layer((0, 0, 0, 255), most))
    assert np.array_equal(masks.read_mask(path), most)


def test_a_stroke_is_turned_as_its_photograph_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    path = saved(tmp_path / "turned.png", WHITE, exif=exif)
    assert np.array_equal(masks.read_mask(path), np.rot90(STROKE, -1))
    # A mask without the photograph's turn is told of where its size does not say how it was drawn.
    plain = saved(tmp_path / "plain.png", WHITE)
    for orientation, told in ((1, 0), (2, 1), (3, 1), (6, 0)):
        said: list[str] = []
        masks.read_mask(plain, photo(tmp_path, orientation), warn=said.append)
        assert len(said) == told
        assert all(f"turned as its EXIF says ({orientation})" in line for line in said)


def test_soft_edges_and_jpeg_count_from_one_half_on(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(WHITE, (3, 3), 0)
    assert np.array_equal(masks.read_mask(saved(tmp_path / "m.png", soft)), soft > 127)
    path = saved(tmp_path / "m.jpg", WHITE, quality=90)
    assert np.array_equal(masks.read_mask(path), STROKE)
    orange = (soft[..., None] * np.array([1, 0.5, 0.1])).astype(np.uint8)
    assert np.array_equal(masks.read_mask(saved(tmp_path / "c.png", orange)), soft > 127)
    orange[0, :3] = (0, 0, 90)  # of another colour
    with pytest.raises(DataError, match=r"c\.png: holds the colours"):
        masks.read_mask(saved(tmp_path / "c.png", orange))


LINE = np.zeros((80, 120), np.uint8)
cv2.polylines(LINE, [np.array([(15, 20), (60, 60), (100, 25)])], False, 1, 7)


@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (38, 139, 255)]
)
def test_one_colour_is_read_on_black_and_on_white_from_jpeg_too(
    tmp_path: Path, colour: tuple[int, int, int], ground: int
) -> None:
    pixels = np.full((80, 120, 3), ground, np.uint8)
    pixels[LINE > 0] = colour
    assert np.array_equal(masks.read_mask(saved(tmp_path / "m.png", pixels)), LINE > 0)
    found = masks.read_mask(saved(tmp_path / "m.jpg", pixels, quality=75))
    assert (found != (LINE > 0)).sum() <= 0.02 * LINE.sum()
    # A line of another colour is what the first one is not.
    pixels[70:73, 10:110] = colour[1:] + colour[:1]
    for name in ("two.png", "two.jpg"):
        with pytest.raises(DataError, match="holds the colours"):
            masks.read_mask(saved(tmp_path / name, pixels))


def test_of_several_frames_the_first_counts_and_a_line_says_so(tmp_path: Path) -> None:
    pages, told = [Image.fromarray(LINE * value) for value in (255, 0)], list[str]()
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    assert (masks.read_mask(tmp_path / "m.tif", warn=told.append) == (LINE > 0)).all()
    assert told == [f"{tmp_path / 'm.tif'}: several frames (2): the first is read"]


@pytest.mark.parametrize("size", [(60, 40), (240, 160), (61, 40), (121, 80)])
def test_a_mask_of_a_smaller_or_larger_copy_is_scaled(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("RGB", (120, 80), "grey").save(tmp_path / "photo.png")
    taken, told = masks.open_photo(tmp_path / "photo.png"), list[str]()
    path = saved(tmp_path / "m.png", cv2.resize(LINE * 255, size, interpolation=cv2.INTER_NEAREST))
    found = masks.read_mask(path, taken, warn=told.append)
    assert (found & (LINE > 0)).sum() > 0.8 * (found | (LINE > 0)).sum()
    assert told == [f"{path}: {size[0]}x{size[1]} pixels, scaled to {taken.path}'s 120x80"]
    for other in ((size[1], size[0]), (size[0] + 9, size[1]), (1, 1)):
        saved(path, np.zeros(other[::-1], np.uint8))
        with pytest.raises(DataError, match="the same size, or the same ratio of sides"):
            masks.read_mask(path, taken)


@pytest.mark.parametrize("white", [1, 255])
def test_floating_point_zero_and_one_other_value(tmp_path: Path, white: float) -> None:
    values = STROKE.astype(np.float32) * white
    assert np.array_equal(masks.read_mask(saved(tmp_path / "m.tif", values)), STROKE)
    values[0, 0] = np.nan
    with pytest.raises(DataError, match=r"m\.tif: floating-point pixels"):
        masks.read_mask(saved(tmp_path / "m.tif", values))


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
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[STROKE], colours[15:] = (255, 0, 0), (0, 255, 0)
    grey = Image.fromarray(other(128).astype(np.uint8))
    numbers = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    classes = palette(np.where(other(9) == 255, 1, np.where(other(9) == 9, 2, 0)))
    path = tmp_path / "a.png"
    for picture, values, label, count in (
        (grey, r"the values 0, 255, 128 \(--label", 128, 40),
        (numbers, "the values 0, 1, 2, 3, 4 and 595 more", 480, 1),
        (classes, r"the values 0, 1, 2 \(--label", 1, STROKE.sum()),
        (Image.fromarray(colours), "the colours 0/0/0, 0/255/0, 255/0/0; a mask is white", 0, None),
    ):
        picture.save(path)
        with pytest.raises(DataError, match=rf"a\.png: holds {values}"):
            masks.read_mask(path)
        if count is not None:
            assert masks.read_mask(path, label=label).sum() == count
            with pytest.raises(DataError, match="no pixel has the value 999; it holds the values"):
                masks.read_mask(path, label=999)


def test_a_palette_of_two_entries_is_read_by_its_colours(tmp_path: Path) -> None:
    palette(STROKE.astype(int)).save(tmp_path / "p.png")
    assert np.array_equal(masks.read_mask(tmp_path / "p.png"), STROKE)


def test_clear_layers_with_holes_and_faint_brushes(tmp_path: Path) -> None:
    pixels = layer((255, 255, 255, 255))
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
    assert seems_inverted(~STROKE)
    assert not seems_inverted(STROKE)


# --- what the canvas saves ------------------------------------------------------------------------


def photo(folder: Path, orientation: int = 1) -> masks.Photo:
    """A photograph that is 30x20 once it is upright."""
    turned = Image.new("RGB", (20, 30) if orientation in (5, 6, 7, 8) else (30, 20), "grey")
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(folder / "photo.jpg", exif=exif)
    path = folder / "photo.jpg"
    return masks.open_photo(path)


def test_a_file_of_strokes_is_read_with_its_background(tmp_path: Path) -> None:
    strokes = [stroke((5, 5, 3), (20, 5, 3)), stroke((15, 17, 2), kind="background")]
    content = {"format": masks.STROKES_FORMAT, "width": 30, "height": 20, "strokes": strokes}
    path = tmp_path / "photo_strokes.json"
    path.write_text(json.dumps(content))
    drawn, *_ = masks.read_drawing(path, photo(tmp_path))
    assert drawn.object[5, 5:20].all()
    assert drawn.background[17, 15]
    for wrong, reason in (
        ({"width": 31}, "drawn on 31x20 pixels, the picture has 30x20"),
        ({"format": "mine"}, "not a file of strokes"),
        ({"strokes": [stroke((0, 0, 1e9))]}, "stroke 1: "),
    ):
        path.write_text(json.dumps(content | wrong))
        with pytest.raises(DataError, match=rf"photo_strokes\.json: {reason}"):
            masks.read_drawing(path, photo(tmp_path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_coco_file_of_the_canvas_is_read_upright(tmp_path: Path, orientation: int) -> None:
    from nseg_lib.widget.results import export

    taken = photo(tmp_path, orientation)
    name, content = export("rle", taken.image, STROKE, [], "photo.jpg", orientation)
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(masks.read_mask(tmp_path / name, taken), STROKE)


def test_of_several_objects_one_is_chosen_by_its_id(tmp_path: Path) -> None:
    objects = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": [square(left, 2, 6)]}
        for i, left in ((7, 2), (8, 12))
    ]
    content = document([1, 2]) | {"annotations": objects}
    for record, name in zip(content["images"], ("photo.jpg", "other.jpg"), strict=True):
        record.update(file_name=name, width=30, height=20)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    taken = photo(tmp_path)
    with pytest.raises(DataError, match=r"--label must be the id of an annotation of it; .*7, 8"):
        masks.read_mask(path, taken)
    assert masks.read_mask(path, taken, label=8)[5].tolist() == [12 <= x < 18 for x in range(30)]
    content["images"][0]["file_name"] = "another.jpg"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"holds 2 pictures, none named photo\.jpg"):
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
