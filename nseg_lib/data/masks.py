"""Strokes and masks from files: which pixels count as painted.

What is read, and nothing else:

- a clear layer with something painted on it, in any colour (a cut-out is one too);
- black and one other colour or grey: white on black, 1 on 0, a palette of two entries; or one
  colour on white. What lies between both is taken for soft edges, or for JPEG's, where it is thin;
- of a picture with more values than that (instances, classes, a trimap), the one that the caller
  names as ``label``;
- the files that the canvas saves: its strokes, and a COCO file with the mask of the picture.

Everything else is refused in a line that names the values found. What was drawn on a smaller or
larger copy of the photograph is scaled to it; any other size is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import OTHER_SIZE, parse_json, parse_split, read_json, refuse
from nseg_lib.data.images import (
    UPRIGHT,
    Stored,
    as_rgb,
    open_picture,
    tell_unusual,
    to_rgb,
    to_rgba,
    turn,
)
from nseg_lib.data.records import DataError, same_ratio
from nseg_lib.data.scaling import Warn, mask_on_photo, scaled
from nseg_lib.prompt import Box
from nseg_lib.strokes.drawing import Drawn, box_of, check_strokes, rasterize

TOLERANCE = 16
"""Grey levels of 255 by which JPEG's black and white may be off."""

COLOUR_TOLERANCE = 24
"""The same for the colour of a stroke, along Cb and Cr. JPEG stores these at half the size, so
along edges a colour is paler or darker than in the middle, but of one hue."""

CHROMA = np.array([[-0.169, 0.5], [-0.331, -0.419], [0.5, -0.081]], np.float32)
"""Of red, green and blue, the shares in Cb and Cr (JFIF 1.02)."""

BLOCK = np.ones((3, 3), np.uint8)
"""So many pixels of one value are an area; edges and JPEG's spoiled pixels are thinner."""

STROKES_FORMAT = "nseg strokes 1"
"""The value of ``format`` in every file of strokes, by which the file is recognised."""


class Photo(NamedTuple):
    """The picture that a stroke or mask belongs to."""

    path: Path
    stored: Stored
    image: Image
    """uint8 H×W×3 RGB, upright."""


def open_photo(path: Path) -> Photo:
    """A photograph, upright, and what its file says; raises DataError as `read_image` does."""
    stored = open_picture(path)
    return Photo(path, stored, as_rgb(path, stored))


def read_mask(
    path: Path,
    photo: Photo | None = None,
    name: str = "mask",
    label: int | None = None,
    warn: Warn = lambda line: None,
) -> Mask:
    """What was painted, bool H×W, perhaps all False; the module's docstring says what counts.

    Args:
        path: a picture file, turned as its EXIF says, as the photograph is; or a JSON file.
        photo: the mask is scaled to its size; both must have the same ratio of sides, to a pixel.
        name: what messages call it. The ``background`` of a file of strokes is what was brushed as
            background there; any other name takes the object's strokes.
        label: the object's, where the file holds more than two values: a grey level (of 16 bits
            too), the number of a palette's entry, or the id of a COCO annotation.
        warn: is told if the mask was scaled, or is one of several frames.

    Raises:
        DataError: not a picture, of another shape, the photograph itself with something painted on
            it, or values that do not say what is painted.
    """
    drawn, _ = read_drawing(path, photo, warn, name, label)
    return drawn.object


def read_annotation(
    path: Path, photo: Photo, label: int | None = None, warn: Warn = lambda line: None
) -> Mask:
    """The mask of a photograph's annotation in a COCO file, bool H×W; arguments and errors as of
    :func:`read_mask`."""
    return _annotated(path, read_json(path), photo, label, warn)


def read_drawing(
    path: Path,
    photo: Photo | None,
    warn: Warn = lambda line: None,
    name: str = "stroke",
    label: int | None = None,
) -> tuple[Drawn, Box | None]:
    """What was brushed on a photograph, perhaps nothing, and the box that a file of strokes holds;
    arguments and errors as of :func:`read_mask`."""
    if path.suffix.lower() != ".json":
        painted = _painted(path, photo, name, label, warn)
        if photo is not None:
            painted = scaled(painted, photo.image.shape[:2], str(path), photo.path, warn)
    elif photo is None:
        raise DataError(f"{path}: the picture that it was drawn on is needed")
    else:
        content = read_json(path)
        if not (isinstance(content, Mapping) and "annotations" in content):
            height, width = photo.image.shape[:2]
            strokes = _strokes(content, height, width, str(path), warn)
            drawn = rasterize(strokes, height, width)
            if name == "background":  # what the canvas calls background, and not its object
                if not drawn.background.any():
                    raise DataError(f"{path}: holds no stroke on the background of {photo.path}")
                drawn = Drawn(drawn.background, drawn.object)
            return drawn, box_of(strokes, height, width)
        painted = _annotated(path, content, photo, label, warn)
    return Drawn(painted, np.zeros_like(painted)), None


# --- what the canvas saves ------------------------------------------------------------------------


def parse_strokes(
    text: str | bytes, height: int, width: int, name: str = "strokes"
) -> tuple[list[Any], list[int]]:
    """Read the strokes in a file that the canvas saved.

    Args:
        text: what the file holds.
        height, width: of the picture on which the strokes will be drawn.
        name: the file's name in messages.

    Returns:
        The strokes, and their steps: how many strokes there were each time the network made a
        mask. Each of these masks corrects the one before it; the last number counts all strokes.

    Raises:
        DataError: another kind of file, or strokes of a picture of another size.
    """
    try:
        content = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not valid JSON: {error}") from None
    strokes = _strokes(content, height, width, name)
    return strokes, steps_of(content, len(strokes), name)


def read_strokes(path: Path, height: int, width: int) -> tuple[list[Any], list[int]] | None:
    """As :func:`parse_strokes`, scaled to a picture's size; None for a file of another kind."""
    if path.suffix.lower() != ".json" or "annotations" in (content := read_json(path)):
        return None
    strokes = _strokes(content, height, width, str(path), lambda line: None)
    return strokes, steps_of(content, len(strokes), str(path))


def steps_of(content: Mapping[str, Any], count: int, name: str) -> list[int]:
    """The numbers under ``steps``, as :func:`parse_strokes` gives them; without them, one step.

    Raises:
        DataError: anything but whole numbers that rise to ``count``.
    """
    steps = content.get("steps", [count])
    whole = isinstance(steps, list) and all(type(step) is int for step in steps)
    if not whole or (sorted({0, *steps, count}) != [0, *steps] and steps != [0]):
        raise DataError(f"{name}: 'steps' must be whole numbers that rise to the {count} strokes")
    return list(steps)


def _strokes(
    content: Any, height: int, width: int, name: str, warn: Warn | None = None
) -> list[Any]:
    """The strokes of a parsed file; those of another size are scaled, and told to ``warn``, or
    refused where there is none."""
    if not isinstance(content, dict) or content.get("format") != STROKES_FORMAT:
        raise DataError(f"{name}: not a file of strokes; 'format' must be '{STROKES_FORMAT}'")
    size: tuple[Any, Any] = content.get("width"), content.get("height")
    other = size != (width, height)
    if other and (warn is None or not same_ratio(size, (width, height))):
        raise DataError(
            f"{name}: drawn on {size[0]!r:.20}x{size[1]!r:.20} pixels, "
            f"the picture has {width}x{height}"
        )
    try:
        check_strokes(content.get("strokes"))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    strokes = list(content["strokes"])
    if other and warn is not None:
        factors = np.array([width / size[0], height / size[1], width / size[0]])
        strokes = [
            stroke | {"points": (np.asarray(stroke["points"], np.float64) * factors).tolist()}
            for stroke in map(dict, strokes)
        ]
        own = f"{size[0]}x{size[1]} pixels"
        warn(f"{name}: drawn on {own}, scaled to the picture's {width}x{height}")
    return strokes


def _annotated(path: Path, content: Any, photo: Photo, label: int | None, warn: Warn) -> Mask:
    """The mask of a photograph's annotation in a COCO file, upright."""
    split, findings = parse_split(content, path.parent, path.stem, path.name)
    refuse(findings, path.parent)
    # The picture of this name, or the only one.
    named = [i for i, r in split.images.items() if Path(r["file_name"]).name == photo.path.name]
    found = named or list(split.images)
    if len(found) != 1:
        raise DataError(f"{path}: holds {len(found)} pictures, none named {photo.path.name}")
    (image_id,) = found
    objects = {annotation["id"]: annotation for annotation in split.annotations[image_id]}
    if label is None and len(objects) == 1:
        (label,) = objects
    if label not in objects:
        ids = ", ".join(map(str, list(objects)[:5]))
        dropped = [finding for finding in findings if finding.severity == "left out"]
        if not objects and dropped:
            raise DataError(dropped[0].at(path.parent))
        if not objects:
            raise DataError(f"{path}: holds no annotation of {photo.path.name}")
        raise DataError(f"{path}: --label must be the id of an annotation of it; there are: {ids}")
    for finding in findings:
        if (finding.record, finding.problem) == (f"annotation {label}", OTHER_SIZE):
            warn(finding.at(path.parent))
    mask = mask_on_photo(path, split, image_id, objects[label], photo.path, photo.stored, warn)
    picture = turn(photo.stored, (mask.shape[0], mask.shape[1]))
    # COCO's readers leave a photograph as it is stored where its record has that size.
    if picture is photo.stored.picture and photo.stored.orientation > 1:
        turned = Pillow.fromarray(mask).transpose(UPRIGHT[photo.stored.orientation])
        mask = np.asarray(turned, dtype=bool)
    return mask


# --- pictures -------------------------------------------------------------------------------------


def _painted(path: Path, photo: Photo | None, name: str, label: int | None, warn: Warn) -> Mask:
    """What is painted in a picture file, upright."""
    stored = open_picture(path)
    # A mask of 16 bits that uses a part of them is common, and read right.
    tell_unusual(path, stored._replace(white=None), warn)
    try:
        picture = turn(stored, None)
        if picture.mode == "F":  # 0 and 1, as programs that measure write it
            levels = np.unique(np.asarray(picture))
            if len(levels) <= 2 and levels[0] == 0 and np.isfinite(levels).all():
                picture = Pillow.fromarray((np.asarray(picture) > 0).astype(np.uint8) * 255)
        rgb = to_rgb(picture)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if photo is not None and not same_ratio(rgb.shape[1::-1], photo.image.shape[1::-1]):
        own, theirs = (
            f"{each.upright[1]}x{each.upright[0]} pixels"
            + " (turned as its EXIF says)" * (each.orientation >= 5)
            for each in (stored, photo.stored)
        )
        raise DataError(
            f"{path}: the {name} is {own}, but {photo.path} is {theirs}; both must have the same "
            "size, or the same ratio of sides"
        )
    # Upside down or mirrored has the same size, so nothing else tells how it was drawn.
    turned = photo.stored.orientation if photo is not None and stored.orientation == 1 else 1
    if photo is not None and turned > 1:
        as_stored = photo.stored.width, photo.stored.height
        if same_ratio(rgb.shape[1::-1], as_stored):
            warn(
                f"{path}: is taken as drawn on {photo.path} as viewers show it, turned as its EXIF "
                f"says ({turned}); a {name} of the pixels as stored would be wrong"
            )
    # Its own values: H×W palette entries or grey levels, of 16 bits too, or H×W×3 colours.
    deep, grey = picture.mode.startswith("I"), bool((rgb == rgb[..., :1]).all())
    values = np.asarray(picture) if deep else rgb[..., 0] if grey else rgb
    entries = np.asarray(picture) if picture.mode == "P" else values
    if label is not None:
        if not (entries == label).any():
            raise DataError(f"{path}: no pixel has the value {label}; it holds {_listed(entries)}")
        return np.asarray(entries == label)
    clear = picture.has_transparency_data
    if clear and (painted := _on_clear_layer(path, picture, rgb, name)) is not None:
        return painted
    if photo is not None and rgb.shape == photo.image.shape and _shows(rgb, photo.image):
        raise DataError(
            f"{path}: shows {photo.path} itself; a {name} is white on black, or in any colour on a "
            "clear layer of its own"
        )
    painted = _two_values(values)
    if painted is None:
        lossy = stored.picture.format in ("JPEG", "WEBP", "AVIF", "HEIF")
        painted = _soft_edges(values, 65535 if deep else 255, lossy)
    if painted is None:
        one = " (--label takes one of them)" if entries.ndim == 2 and name == "mask" else ""
        raise DataError(
            f"{path}: holds {_listed(entries)}{one}; a {name} is white on black, or in one colour "
            "on black, on white or on a clear layer, with a hard brush"
        )
    return painted


def seems_inverted(mask: Mask) -> bool:
    """Whether a mask covers more than half of the picture and most of its border: objects seldom
    do, what was left black on white does."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(mask.mean() > 0.5 and border.mean() > 0.5)


def _on_clear_layer(path: Path, picture: Pillow.Image, rgb: Image, name: str) -> Mask | None:
    """What is opaque; None where hardly anything is clear, so that the colours have to tell."""
    alpha = np.asarray(to_rgba(picture).getchannel("A"))
    peak = int(alpha.max())
    if 0 < peak < 26:
        raise DataError(f"{path}: the {name} is too transparent, {peak / 255:.0%} at most")
    # A translucent brush counts from half of its own opacity on.
    opaque = alpha > peak / 2
    colours = rgb[opaque]
    black, white = (colours <= TOLERANCE).all(axis=1), (colours >= 255 - TOLERANCE).all(axis=1)
    if black.any() and white.any() and (black | white).all():
        painted = np.zeros_like(opaque)  # white on black, with clear pixels somewhere
        painted[opaque] = white
        return painted
    return opaque if opaque.mean() < 0.99 else None


def _two_values(values: NDArray[np.integer[Any]]) -> Mask | None:
    """Where the other value is than black; None if there are more, or none of them is black."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    # The first pixel that is not like the first one has the second value, if there are two.
    one = flat[0]
    other = flat[(flat != one).any(axis=1).argmax()]
    is_one, is_other = (flat == one).all(axis=1), (flat == other).all(axis=1)
    if not (is_one | is_other).all():
        return None
    if (one == other).all():  # one value: all black, or all white
        painted = np.full(len(flat), bool(one.any()))
        known = not one.any() or one.min() in (255, 65535)
    else:
        painted = is_other if one.max() == 0 else is_one
        known = 0 in (one.max(), other.max())
    return painted.reshape(values.shape[:2]) if known else None


def _soft_edges(values: NDArray[np.integer[Any]], white_at: int, lossy: bool) -> Mask | None:
    """What is bright, where all is black or white but for thin greys between; else None."""
    if values.ndim == 3:
        if (values.max(axis=2) - values.min(axis=2)).max() > TOLERANCE // 2:
            return _one_colour(values, lossy)
        values = values[..., 1]
    levels = (values.astype(np.int64) * 255 // white_at).astype(np.uint8)
    black, white = levels <= TOLERANCE, levels >= 255 - TOLERANCE
    grey = ~(black | white)
    # A block of one grey is an area, of a label or a trimap, and not an edge.
    flat = grey & (cv2.erode(levels, BLOCK) == cv2.dilate(levels, BLOCK))
    if not black.any() or not white.any() or flat.any() or grey.mean() > 0.25:
        return None
    return levels > 127


def _one_colour(values: NDArray[np.integer[Any]], lossy: bool) -> Mask | None:
    """Where one colour is, on black or on white, with soft edges or as JPEG leaves it; else None.

    ``values`` are H×W×3 of 8 bits; a ``lossy`` file's format spoils single pixels.
    """
    # White is the ground where it is most of the picture and of its border, else black.
    ground = 255 if seems_inverted(values.min(axis=2) >= 255 - TOLERANCE) else 0
    pixels = values.astype(np.float32) - ground
    reach = np.linalg.norm(pixels, axis=2)
    colour = pixels[reach > 0.8 * reach.max()].mean(axis=0)
    if np.abs(colour).max() < 128:
        return None
    # A pixel is a mix of ground and colour: how much of the colour, and how far from its hue.
    share = pixels @ colour / (colour @ colour)
    hues, hue = pixels @ CHROMA, colour @ CHROMA
    beside = np.abs(hues[..., 0] * hue[1] - hues[..., 1] * hue[0]) / np.linalg.norm(hue)
    beside = np.maximum(beside, -(hues @ hue) / np.linalg.norm(hue))  # the opposite hue
    # A block of one mix is an area of another colour, and not an edge.
    ends = np.minimum(np.abs(pixels).max(axis=2), np.abs(pixels - colour).max(axis=2))
    between, levels = ends > 1.5 * TOLERANCE, values.astype(np.uint8)
    even = (cv2.erode(levels, BLOCK) == cv2.dilate(levels, BLOCK)).all(axis=2)
    painted = np.asarray(share > 0.5)
    # What is of another hue in a block, or in many pixels, was drawn so.
    other = (beside > COLOUR_TOLERANCE).astype(np.uint8)
    spoiled = 0.05 * painted.sum() if lossy else 0
    mixed = cv2.erode(other, BLOCK, borderValue=0).any() or other.sum() > spoiled
    if mixed or (between & even).any() or between.mean() > 0.25:
        return None
    return painted


def _listed(values: NDArray[np.integer[Any]]) -> str:
    """The values of an array, the commonest first, for a message."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    found, counts = np.unique(flat[:: max(1, len(flat) // 10**6)], axis=0, return_counts=True)
    first = found[np.argsort(-counts, kind="stable")][:5].tolist()
    shown = ", ".join("/".join(map(str, value)) for value in first)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"the {'colours' if values.ndim == 3 else 'values'} {shown}{more}"


def _shows(rgb: Image, photo: Image) -> bool:
    """Whether most of what is neither dark nor bright in a photograph is the same in ``rgb``."""
    luma, of_photo = (np.asarray(Pillow.fromarray(shown).convert("L")) for shown in (rgb, photo))
    grey = (of_photo > 48) & (of_photo < 208)
    same = np.abs(luma[grey].astype(np.int16) - of_photo[grey]) <= 8
    return bool(grey.any() and same.mean() > 0.5)
