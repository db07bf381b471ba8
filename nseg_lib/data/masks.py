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

import numpy as np
from PIL import Image as Pillow

from nseg_lib.arrays import Image, Mask
from nseg_lib.data import painted
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
from nseg_lib.prompt import Box, Extent
from nseg_lib.strokes.drawing import Drawn, box_of, check_strokes, extent_of, rasterize

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
    drawn, *_ = read_drawing(path, photo, warn, name, label)
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
) -> tuple[Drawn, Box | None, Extent]:
    """What was brushed on a photograph, perhaps nothing, and the box and the extent that a file of
    strokes holds; arguments and errors as of :func:`read_mask`."""
    if path.suffix.lower() != ".json":
        mask = _painted(path, photo, name, label, warn)
        if photo is not None:
            mask = scaled(mask, photo.image.shape[:2], str(path), photo.path, warn)
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
            return drawn, box_of(strokes, height, width), extent_of(strokes)
        mask = _annotated(path, content, photo, label, warn)
    return Drawn(mask, np.zeros_like(mask)), None, "object"


# --- pictures -------------------------------------------------------------------------------------


def _painted(path: Path, photo: Photo | None, name: str, label: int | None, warn: Warn) -> Mask:
    """What is painted in a picture file, upright."""
    stored, picture, rgb = _open_upright(path, warn)
    if photo is not None:
        _check_fits(path, stored, photo, name, warn)

    # The file's own values: H×W grey levels, of 16 bits too, or H×W×3 colours. A label may also be
    # the number of a palette's entry.
    deep, grey = picture.mode.startswith("I"), bool((rgb == rgb[..., :1]).all())
    values = np.asarray(picture) if deep else rgb[..., 0] if grey else rgb
    entries = np.asarray(picture) if picture.mode == "P" else values
    if label is not None:
        if not (entries == label).any():
            found = painted.listed(entries)
            raise DataError(f"{path}: no pixel has the value {label}; it holds {found}")
        return np.asarray(entries == label)

    # Without a label it is what lies on a clear layer, or else what differs from the ground. The
    # photograph itself, with something painted on it, does not say what was painted.
    if picture.has_transparency_data:
        try:
            layer = painted.on_clear_layer(np.asarray(to_rgba(picture).getchannel("A")), rgb)
        except ValueError as error:
            raise DataError(f"{path}: the {name} is {error}") from None
        if layer is not None:
            return layer
    if photo is not None and rgb.shape == photo.image.shape and painted.shows(rgb, photo.image):
        raise DataError(
            f"{path}: shows {photo.path} itself; a {name} is white on black, or in any colour on a "
            "clear layer of its own"
        )
    mask = painted.two_values(values)
    if mask is None:
        lossy = stored.picture.format in ("JPEG", "WEBP", "AVIF", "HEIF")
        mask = painted.soft_edges(values, 65535 if deep else 255, lossy)
    if mask is None:
        one = " (--label takes one of them)" if entries.ndim == 2 and name == "mask" else ""
        raise DataError(
            f"{path}: holds {painted.listed(entries)}{one}; a {name} is white on black, or in one "
            "colour on black, on white or on a clear layer, with a hard brush"
        )
    return mask


def _check_fits(path: Path, stored: Stored, photo: Photo, name: str, warn: Warn) -> None:
    """Refuse what has another ratio of sides than the photograph; tell what may be turned."""
    if not same_ratio(stored.upright[::-1], photo.image.shape[1::-1]):
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
    turned, as_stored = photo.stored.orientation, (photo.stored.width, photo.stored.height)
    only_photo = stored.orientation == 1 and turned > 1
    if only_photo and same_ratio(stored.upright[::-1], as_stored):
        warn(
            f"{path}: is taken as drawn on {photo.path} as viewers show it, turned as its EXIF "
            f"says ({turned}); a {name} of the pixels as stored would be wrong"
        )


def _open_upright(path: Path, warn: Warn) -> tuple[Stored, Pillow.Image, Image]:
    """A picture of strokes or of a mask: as stored, upright, and upright as RGB."""
    stored = open_picture(path)
    # A mask of 16 bits that uses a part of them is common, and read right: nothing to tell.
    tell_unusual(path, stored._replace(white=None), warn)
    try:
        picture = turn(stored, None)
        if picture.mode == "F":  # 0 and one other number, as programs that measure write it
            levels = np.unique(np.asarray(picture))
            if len(levels) <= 2 and levels[0] == 0 and np.isfinite(levels).all():
                picture = Pillow.fromarray((np.asarray(picture) > 0).astype(np.uint8) * 255)
        return stored, picture, to_rgb(picture)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


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
