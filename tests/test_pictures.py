"""Reading pictures and strokes: every mode and orientation, and what is refused and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from coco_builder import HEIGHT, WIDTH, document, picture, write_set
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nseg_lib.data import coco
from nseg_lib.data import images as pictures
from nseg_lib.data.coco import DataError


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """uint8 HEIGHT×WIDTH×3: a smooth picture, which JPEG keeps within a few grey levels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([8 * x, 12 * y, 4 * (x + y)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("jpg", mode) for mode in ("RGB", "L", "CMYK")]
    + [("png", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA")]
    + [("tif", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "YCbCr")],
)
def test_modes_become_rgb(tmp_path: Path, colours: np.ndarray, kind: str, mode: str) -> None:
    image = Image.fromarray(colours).convert(mode)
    path = tmp_path / f"picture.{kind}"
    image.save(path, **({"quality": 100, "subsampling": 0} if kind == "jpg" else {}))
    rgb = pictures.read_image(path)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(rgb - expected).max() <= (6 if kind == "jpg" else 0)


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    path = tmp_path / f"deep.{kind}"
    Image.fromarray(values).save(path)
    rgb = pictures.read_image(path)
    np.testing.assert_array_equal(rgb[0, :, 0], [0, 0, 1, 1, 128, 255])
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])


def test_16_bit_colour_is_scaled(tmp_path: Path, colours: np.ndarray) -> None:
    import cv2  # Pillow cannot write this kind

    cv2.imwrite(str(tmp_path / "deep.png"), colours[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "deep.png"), colours)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_without_a_known_range_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.full((3, 3), 70_000, kind)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="save it with 8 or 16 bits"):
        pictures.read_image(tmp_path / "a.tif")


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    assert pictures.read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def rotated(path: Path, colours: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(path, exif=exif)
    return path


# EXIF 2.32, 4.6.4: what each value says about the stored rows and columns.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_a_photo_but_not_a_picture_of_its_record(
    tmp_path: Path, colours: np.ndarray, orientation: int
) -> None:
    path = rotated(tmp_path / "a.png", colours, orientation)
    upright = UPRIGHT[orientation](colours)
    np.testing.assert_array_equal(pictures.read_image(path), upright)
    np.testing.assert_array_equal(pictures.read_image(path, (HEIGHT, WIDTH)), colours)
    if orientation >= 5:
        np.testing.assert_array_equal(pictures.read_image(path, (WIDTH, HEIGHT)), upright)
    with pytest.raises(DataError, match="the picture is 30x20, its record says 31x20"):
        pictures.read_image(path, (20, 31))


def test_a_truncated_picture_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    picture(0).save(whole)
    content = whole.read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "cut.jpg").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut\.jpg: not a readable picture"):
            pictures.read_image(tmp_path / "cut.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged tags
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_picture_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(1).save(path, kind, exif=exif)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        rgb = pictures.read_image(path)
    except DataError as refusal:
        said = str(refusal)
    else:
        said = f"{path} is {rgb.dtype} {rgb.shape[2:]}"
    assert said.startswith(str(path))
    assert "\n" not in said
    assert " is uint8 (3,)" in said or ": " in said


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match="not a readable picture"):
        pictures.read_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="is a folder, not a picture"):
        pictures.read_image(tmp_path)
    with pytest.raises(DataError, match="no such picture"):
        pictures.read_image(tmp_path / "b.jpg")


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [16_000, 60_000])
def test_a_decompression_bomb_is_not_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bomb\.png: too large: {side}x{side} pixels, at most"):
        pictures.read_image(path)


def test_a_split_reads_a_picture_in_its_records_size(tmp_path: Path) -> None:
    content = document([1, 2])
    write_set(tmp_path, "train", content)
    split = coco.load_split(tmp_path)
    picture(9).resize((WIDTH, HEIGHT + 1)).save(split.image_path(1))
    with pytest.raises(DataError, match=r"000000000001\.jpg: the picture is 30x21"):
        split.read_image(1)
    with pytest.raises(DataError, match="split train has no picture 7"):
        split.read_image(7)


# --- strokes in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_strokes_on_black_and_on_clear_layers_read_alike(tmp_path: Path, mode: str) -> None:
    stroke = np.zeros((12, 20), bool)
    stroke[3:7, 5:15] = True
    if mode == "RGBA":
        pixels = np.zeros((12, 20, 4), np.uint8)
        pixels[stroke] = (10, 200, 30, 255)
        Image.fromarray(pixels).save(tmp_path / "s.png")
    else:
        Image.fromarray(stroke.astype(np.uint8) * 255).convert(mode).save(tmp_path / "s.png")
    assert np.array_equal(pictures.read_stroke(tmp_path / "s.png"), stroke)


def test_a_stroke_is_read_as_its_photograph_is(tmp_path: Path) -> None:
    stroke = np.zeros((20, 30), bool)
    stroke[5:10, 3:9] = True
    turned = Image.fromarray(stroke.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(pictures.read_stroke(tmp_path / "turned.png"), np.rot90(stroke, -1))
    deep = np.where(stroke, 65535, 300).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(pictures.read_stroke(tmp_path / "deep.png"), stroke)


def test_a_few_clear_pixels_do_not_make_all_that_is_opaque_brushed(tmp_path: Path) -> None:
    stroke = np.zeros((20, 30), bool)
    stroke[5:10, 3:9] = True
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, 3] = 0  # one clear pixel in a corner
    pixels[stroke, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "s.png")
    assert np.array_equal(pictures.read_stroke(tmp_path / "s.png"), stroke)


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
    assert np.array_equal(pictures.read_stroke(tmp_path / "s.png"), stroke)
