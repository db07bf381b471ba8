"""Reading pictures and strokes: every mode and orientation, and what is refused and how."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_builder import HEIGHT, WIDTH, document, picture, write_set
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nseg_lib.data import coco, masks
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
    # Pillow cannot write this kind.
    cv2.imwrite(str(tmp_path / "deep.png"), colours[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "deep.png"), colours)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_without_a_known_range_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.full((3, 3), 70_000, kind)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="save it with 8 "):
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


# --- files of other programs and cameras ----------------------------------------------------------


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_tiff_of_its_records_size_is_read_as_it_is_stored(
    tmp_path: Path, colours: np.ndarray, orientation: int
) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(colours).save(path, tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(pictures.read_image(path, (HEIGHT, WIDTH)), colours)
    upright = UPRIGHT[orientation](colours)
    np.testing.assert_array_equal(pictures.read_image(path), upright)
    if orientation >= 5:
        np.testing.assert_array_equal(pictures.read_image(path, (WIDTH, HEIGHT)), upright)


def test_an_orientation_beside_a_broken_tag_is_read(tmp_path: Path, colours: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0100] = 6, 30
    good = exif.tobytes()
    # ImageWidth, a number (kind 4), as bytes (kind 7), which Pillow cannot write again.
    broken = good.replace(bytes.fromhex("01000004"), bytes.fromhex("01000007"))
    assert broken != good
    Image.fromarray(colours).save(tmp_path / "a.png", exif=broken)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.png"), np.rot90(colours, -1))


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (16, 65535)])
def test_16_bits_that_are_not_used_up_are_read_as_the_same_picture_in_8(
    tmp_path: Path, bits: int, white: int
) -> None:
    eight = np.arange(0, 251, 25)[None]
    Image.fromarray((eight * white // 255).astype(np.uint16)).save(tmp_path / "deep.png")
    read = pictures.read_image(tmp_path / "deep.png")[..., 0].astype(int)
    assert np.abs(read - eight).max() <= 1
    ((kind, _, outcome),) = pictures.notes(tmp_path / "deep.png")
    assert (kind, outcome) == ("16-bit picture", f"its range of 0 to {white} is scaled to 8 bits")


def test_a_colour_profile_is_converted_but_not_for_a_data_set(tmp_path: Path) -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Another profile: red and green exchanged, and another name.
    other = srgb.replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")
    other = other.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    colours = np.full((4, 5, 3), (200, 60, 40), np.uint8)
    for name, profile in (("other", other), ("srgb", srgb), ("broken", b"no profile")):
        Image.fromarray(colours).save(tmp_path / f"{name}.png", icc_profile=profile)
        same = np.array_equal(pictures.read_image(tmp_path / f"{name}.png"), colours)
        assert same == (name != "other")
        stored = pictures.read_image(tmp_path / f"{name}.png", (4, 5))
        np.testing.assert_array_equal(stored, colours)


def test_a_thumbnail_before_the_picture_is_passed_over(tmp_path: Path, colours: np.ndarray) -> None:
    first, second = Image.fromarray(colours[::2, ::2]), Image.fromarray(colours)
    first.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second], tiffinfo={254: 1})
    with Image.open(tmp_path / "a.tif") as written:
        kinds = []
        for page in range(written.n_frames):
            written.seek(page)
            kinds.append(written.tag_v2.get(254, 0))
    expected = colours if kinds == [1, 0] else colours[::2, ::2]
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.tif"), expected)
    assert pictures.notes(tmp_path / "a.tif")[0][0] == "several frames"


def test_a_bitmap_whose_alpha_is_unused_keeps_its_colours(
    tmp_path: Path, colours: np.ndarray
) -> None:
    rgba = np.dstack([colours, np.zeros(colours.shape[:2], np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.bmp"), colours)


@pytest.mark.parametrize(("given", "mode"), [("LA", "La"), ("RGBA", "RGBa")])
def test_premultiplied_alpha_is_laid_on_white(given: str, mode: str) -> None:
    grey = Image.new(given, (3, 2), (60,) * (len(given) - 1) + (128,))
    rgb = pictures.to_rgb(grey.convert(mode))
    assert np.abs(rgb.astype(int) - pictures.to_rgb(grey)).max() <= 2


def test_long_texts_in_a_png_do_no_harm(tmp_path: Path, colours: np.ndarray) -> None:
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "step " * 300_000, zip=True)
    Image.fromarray(colours).save(tmp_path / "a.png", pnginfo=texts)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.png"), colours)


def test_a_png_that_cannot_hold_what_it_claims_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (15_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bomb\.png: .* bytes cannot hold the 15000x15000 pixels"):
        pictures.read_image(path)


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
    assert np.array_equal(masks.read_stroke(tmp_path / "s.png"), stroke)


def test_a_stroke_is_read_as_its_photograph_is(tmp_path: Path) -> None:
    stroke = np.zeros((20, 30), bool)
    stroke[5:10, 3:9] = True
    turned = Image.fromarray(stroke.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(masks.read_stroke(tmp_path / "turned.png"), np.rot90(stroke, -1))
    deep = np.where(stroke, 65535, 300).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(masks.read_stroke(tmp_path / "deep.png"), stroke)


def test_a_few_clear_pixels_do_not_make_all_that_is_opaque_brushed(tmp_path: Path) -> None:
    stroke = np.zeros((20, 30), bool)
    stroke[5:10, 3:9] = True
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, 3] = 0  # one clear pixel in a corner
    pixels[stroke, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "s.png")
    assert np.array_equal(masks.read_stroke(tmp_path / "s.png"), stroke)


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
    assert np.array_equal(masks.read_stroke(tmp_path / "s.png"), stroke)


STROKE = np.zeros((20, 30), bool)
STROKE[5:12, 3:19] = True


def saved(path: Path, pixels: np.ndarray, **more: object) -> Path:
    Image.fromarray(pixels).save(path, **more)
    return path


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
    with pytest.raises(DataError, match="the colours 0/0/0, 0/255/0, 255/0/0; a stroke is white"):
        masks.read_stroke(saved(tmp_path / "colours.png", colours))


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
