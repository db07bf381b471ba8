"""Reading pictures of every mode, depth and orientation; which files are refused, and how."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_builder import HEIGHT, WIDTH, document, picture, write_set
from PIL import Image, ImageCms, PngImagePlugin

from nseg_lib.data import coco
from nseg_lib.data import images as pictures
from nseg_lib.data.coco import DataError


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """uint8 HEIGHT×WIDTH×3: a smooth picture, which JPEG keeps within a few grey levels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x, 2 * y, (x + y) // 2], axis=2).astype(np.uint8)


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


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    assert pictures.read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


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


@pytest.mark.parametrize("kind", ["png", "webp", "tif", "jpg"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_a_photo_but_not_a_picture_of_its_record(
    tmp_path: Path, colours: np.ndarray, kind: str, orientation: int
) -> None:
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    Image.fromarray(colours).save(path, exif=exif, **lossless.get(kind, {}))
    upright = UPRIGHT[orientation](colours)
    off = 6 if kind == "jpg" else 0
    np.testing.assert_allclose(pictures.read_image(path), upright, atol=off)
    np.testing.assert_allclose(pictures.read_image(path, (HEIGHT, WIDTH)), colours, atol=off)
    if orientation >= 5:
        np.testing.assert_allclose(pictures.read_image(path, (WIDTH, HEIGHT)), upright, atol=off)
    with pytest.raises(DataError, match="the picture is 160x120, its record says 31x20"):
        pictures.read_image(path, (20, 31))


def test_a_damaged_picture_is_refused(tmp_path: Path, colours: np.ndarray) -> None:
    path = tmp_path / "a.jpg"
    picture(0).save(path)
    content = path.read_bytes()
    bad = [content[:length] for length in range(0, len(content), 97)]
    Image.fromarray(colours).save(path, "PNG")
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    for each in (*bad, changed, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        path.write_bytes(each)
        with pytest.raises(DataError, match=r"a\.jpg: not a readable picture"):
            pictures.read_image(path)


def test_what_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.jpg").touch()
    reasons = {
        "empty.jpg": "the file is empty",
        "pipe.png": "is no file",
        ".": "is a folder, not a pi",
        "b.jpg": "no such picture",
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=reason):
            pictures.read_image(tmp_path / name)


def test_a_split_reads_a_picture_in_its_records_size(tmp_path: Path) -> None:
    content = document([1, 2])
    write_set(tmp_path, "train", content)
    split = coco.load_split(tmp_path)
    picture(9).resize((WIDTH, HEIGHT + 1)).save(split.image_path(1))
    with pytest.raises(DataError, match=r"000000000001\.jpg: the picture is 160x121"):
        split.read_image(1)
    with pytest.raises(DataError, match="split train has no picture 7"):
        split.read_image(7)


# --- files of other programs and cameras ----------------------------------------------------------


def test_an_orientation_beside_a_broken_tag_is_read(tmp_path: Path, colours: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0100] = 6, 30
    good = exif.tobytes()
    # ImageWidth, a number (kind 4), as bytes (kind 7), which Pillow cannot write again.
    broken = good.replace(bytes.fromhex("01000004"), bytes.fromhex("01000007"))
    assert broken != good
    Image.fromarray(colours).save(tmp_path / "a.png", exif=broken)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.png"), np.rot90(colours, -1))


@pytest.mark.parametrize(
    ("kind", "channels"),
    [("png", 1), ("png", 3), ("png", 4), ("tif", 1), ("tif", 3), ("pgm", 1), ("ppm", 3)],
)
@pytest.mark.parametrize(("bits", "white"), [(8, 255), (12, 4095), (16, 65535)])
def test_16_bits_that_are_not_used_up_are_read_as_the_same_picture_in_8(
    tmp_path: Path, kind: str, channels: int, bits: int, white: int
) -> None:
    eight = np.arange(0, 256, 5, dtype=np.uint32).reshape(4, 13, 1) // [1, 2, 3][: min(channels, 3)]
    deep = (eight * white // 255).astype(np.uint16)
    if channels == 4:
        deep = np.dstack([deep, np.full(deep.shape[:2], 65535, np.uint16)])
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    cv2.imwrite(str(tmp_path / f"deep.{kind}"), deep[..., order])
    read = pictures.read_image(tmp_path / f"deep.{kind}").astype(int)
    assert np.abs(read - eight).max() <= 1
    found = pictures.notes(pictures.open_picture(tmp_path / f"deep.{kind}"))
    assert found[0][2] == f"its range of 0 to {white} is scaled to 8 bits"


def tiff(path: Path, values: np.ndarray, **tags: int) -> Path:
    """A grey TIFF of one strip; Pillow writes no signed values and none whose lowest is white."""
    height, width = values.shape
    entries = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1}
    entries |= {262: tags.get("photometric", 1), 273: 146, 277: 1, 278: height}
    entries |= {279: values.nbytes, 284: 1, 339: tags.get("format", 1)}
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(header + listed + bytes(4) + values.tobytes())
    return path


def test_tiffs_of_scanners_and_microscopes(tmp_path: Path) -> None:
    values = np.arange(0, 3000, 250).reshape(3, 4)
    expected = np.round(values * 255 / 4095)
    path = tmp_path / "a.tif"
    inverted = tiff(path, (4095 - values).astype("<u2"), photometric=0)
    assert np.abs(pictures.read_image(inverted)[..., 0] - expected).max() <= 1
    signed = tiff(path, values.astype("<i2"), format=2)
    assert np.abs(pictures.read_image(signed)[..., 0] - expected).max() <= 1
    refused = {
        "signed pixels, from -1000 to 1750": (values - 1000, "<i2", 2),
        "signed pixels; save it": (values // 50 - 20, "i1", 2),
        "32-bit or signed pixels": (values + 70_000, "<i4", 2),
        "floating-point pixels; save it with 8 ": (values, "<f4", 3),
        "cannot identify image file": (values, "<f8", 3),
    }
    for reason, (pixels, kind, number) in refused.items():
        with pytest.raises(DataError, match=reason):
            pictures.read_image(tiff(path, pixels.astype(kind), format=number))


def test_a_colour_profile_is_converted_but_not_for_a_data_set(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Another profile: red and green exchanged, and another name.
    other = srgb.replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")
    other = other.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    colours = np.full((4, 5, 3), (200, 60, 40), np.uint8)
    for profile in (other, srgb, b"broken"):
        Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=profile)
        shown = pictures.read_image(tmp_path / "a.png")
        assert np.array_equal(shown, colours) == (profile != other)
        np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.png", (4, 5)), colours)


def test_a_thumbnail_before_the_picture_is_passed_over(tmp_path: Path, colours: np.ndarray) -> None:
    first, second = Image.fromarray(colours[::2, ::2]), Image.fromarray(colours)
    second.encoderinfo = {"tiffinfo": {}}
    path = tmp_path / "a.tif"
    first.save(path, save_all=True, append_images=[second], tiffinfo={254: 1})
    np.testing.assert_array_equal(pictures.read_image(path), colours)
    assert pictures.notes(pictures.open_picture(path))[0][0] == "several frames"


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
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "step " * 300_000, zip=True)
    Image.fromarray(colours).save(tmp_path / "a.png", pnginfo=texts)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "a.png"), colours)


@pytest.mark.parametrize("ending", ["avif", "heic"])
def test_pictures_of_phones_are_read_and_listed(
    tmp_path: Path, colours: np.ndarray, ending: str
) -> None:
    Image.fromarray(colours).save(tmp_path / f"10.{ending}", quality=95)
    Image.fromarray(colours).save(tmp_path / "9.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    seen = pictures.read_image(tmp_path / f"10.{ending}")
    assert np.abs(seen.astype(int) - colours).mean() < 6
    found, left_out = pictures.list_pictures(tmp_path)
    assert [path.name for path in found] == ["9.png", f"10.{ending}"]
    assert left_out == ["gone.png", "loop.png", "notes.txt"]
