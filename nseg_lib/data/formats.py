"""Masks as other tools have them, read and written: labelme, YOLO-seg, VOC's palettes, COCO.

Reading gives the objects of each picture of a folder, as COCO segmentations. Polygons run along the
edges of pixels; where a format knows no holes, they are filled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from nseg_lib import parsing
from nseg_lib.arrays import Mask
from nseg_lib.console import few
from nseg_lib.data import coco, report_page
from nseg_lib.data.coco import outlines
from nseg_lib.data.images import open_picture, read_image
from nseg_lib.data.outputs import cutout, png, sure_of
from nseg_lib.data.records import DataError, same_ratio
from nseg_lib.data.scaling import mask_on_photo, own_size
from nseg_lib.files import check_writable, write_atomic

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The classes of PASCAL VOC 2012, from number 1."""

VOID = 255
"""VOC's number for pixels of no class."""

KINDS = ("coco", "labelme", "yolo", "voc", "masks", "cutouts", "report")
"""What :func:`write` writes."""

FOLDERS = {"yolo": ("labels",), "voc": ("SegmentationClass", "SegmentationObject")}
"""The folders into which a kind's files go, where there are any."""


class Found(NamedTuple):
    """An object of another tool."""

    category: str
    segmentation: Any
    """As COCO has it: polygons in pixels, or RLE."""
    sure: float | None = None
    """How sure a network is of it, where the file has that under ``sure``."""


# --- reading --------------------------------------------------------------------------------------


def read(
    source: Path, pictures: Sequence[Path], say: Callable[[str], None]
) -> Iterator[tuple[Path, tuple[int, int], list[Found]]]:
    """The pictures that another tool has objects of, their height and width, and the objects.

    Args:
        source: a COCO file; or a folder with a file for each picture, named as the picture:
            labelme's ``.json``, YOLO-seg's ``.txt``, or VOC's palette ``.png``.
        say: is told of what is left out.

    Raises:
        DataError: nothing there belongs to these pictures, or a malformed file.
    """
    with few(say, str(source), "lines such as these") as tell:
        yield from (_read_coco if source.is_file() else _read_folder)(source, pictures, tell)


def _read_folder(
    source: Path, pictures: Sequence[Path], say: Callable[[str], None]
) -> Iterator[tuple[Path, tuple[int, int], list[Found]]]:
    readers = {".json": _read_labelme, ".txt": _read_yolo, ".png": _read_voc}
    folders = [source, source / "labels", source / "SegmentationObject"]
    for folder in folders:
        for ending, reader in readers.items():
            pairs = [(picture, folder / f"{picture.stem}{ending}") for picture in pictures]
            pairs = [(p, path) for p, path in pairs if path.is_file() and path != p]
            for picture, path in pairs:
                size = open_picture(picture, reduced=True).upright  # as these tools see it
                try:
                    yield picture, size, reader(path, size, say)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    said = str(error) if str(path) in str(error) else f"{path}: {error}"
                    raise DataError(said) from None
            if pairs:
                return
    raise DataError(
        f"{source}: no file that is named as a picture of the folder; read are COCO's file, "
        "labelme's .json, YOLO-seg's .txt and VOC's palette .png"
    )


def _read_coco(
    path: Path, pictures: Sequence[Path], say: Callable[[str], None]
) -> Iterator[tuple[Path, tuple[int, int], list[Found]]]:
    split, findings = coco.parse_split(coco.read_json(path), path.parent, path.stem, path.name)
    coco.refuse(findings, path.parent)
    named = {picture.name: picture for picture in pictures}
    if not any(Path(record["file_name"]).name in named for record in split.images.values()):
        raise DataError(f"{path}: none of its {len(split.images)} pictures is of the folder")
    for finding in findings:
        if finding.problem == coco.OTHER_SIZE:
            say(finding.at(path.parent))
    for image_id, record in split.images.items():
        picture = named.get(Path(record["file_name"]).name)
        there = record["height"], record["width"]
        if picture is None or not split.annotations[image_id]:
            continue
        try:
            stored = open_picture(picture, reduced=True)
            size = own_size(picture, stored, there)
        except DataError as error:
            say(f"{path}: left out: {error}")
            continue
        found = []
        for each in split.annotations[image_id]:
            segmentation = each["segmentation"]
            if size != there:  # the objects were drawn on a smaller or larger copy
                mask = mask_on_photo(path, split, image_id, each, picture, stored, say)
                segmentation = coco.mask_to_rle(mask)
            name = str(split.categories[each["category_id"]].get("name"))
            found.append(Found(name, segmentation, sure_of(each)))
        yield picture, size, found


def _read_labelme(path: Path, size: tuple[int, int], say: Callable[[str], None]) -> list[Found]:
    """Polygons, rectangles and circles; shapes of one group are one object."""
    content = coco.read_json(path)
    said, factors = (content.get("imageHeight"), content.get("imageWidth")), (1.0, 1.0)
    if None not in said and said != size:
        drawn_on = f"{path}: drawn on {said[1]!r:.20}x{said[0]!r:.20} pixels"
        if not same_ratio(said, size):
            raise DataError(f"{drawn_on}, not {size[1]}x{size[0]}")
        say(f"{drawn_on}, scaled to the picture's {size[1]}x{size[0]}")
        factors = size[1] / said[1], size[0] / said[0]
    groups: dict[Any, Found] = {}
    for number, shape in enumerate(content["shapes"]):
        kind = shape.get("shape_type", "polygon")
        points = np.asarray(shape["points"], np.float64) * factors
        if kind == "rectangle":
            (x0, y0), (x1, y1) = points
            points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        elif kind == "circle":
            angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            radius = np.hypot(*(points[1] - points[0]))
            points = points[0] + radius * np.column_stack([np.cos(angles), np.sin(angles)])
        elif kind != "polygon" or len(points) < 3:
            say(f"{path}: shape {number + 1} is a {kind}, which is no area: left out")
            continue
        key = shape.get("group_id")
        key = ("single", number) if key is None else (shape["label"], key)
        one = groups.setdefault(key, Found(str(shape["label"]), []))
        one.segmentation.append([float(value) for value in points.ravel()])
    return list(groups.values())


def _yolo_names(folder: Path) -> dict[int, str]:
    """Class names, from ``data.yaml`` or ``classes.txt`` in the folder or above it."""
    for place in (folder, folder.parent):
        if (path := place / "data.yaml").is_file():
            names = parsing.read_yaml(path.read_text(encoding="utf-8"), str(path)).get("names", {})
            pairs = enumerate(names) if isinstance(names, list) else names.items()
            return {int(number): str(name) for number, name in pairs}
        if (path := place / "classes.txt").is_file():
            return dict(enumerate(path.read_text(encoding="utf-8").split("\n")))
    return {}


def _read_yolo(path: Path, size: tuple[int, int], say: Callable[[str], None]) -> list[Found]:
    """A line per object: class, and the corners of its polygon as shares of width and height."""
    names, found = _yolo_names(path.parent), []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        values = [float(word) for word in line.split()]
        if not values:
            continue
        if len(values) < 7 or len(values) % 2 == 0 or not np.isfinite(values).all():
            say(f"{path}: line {number} is no polygon (of a box, say): left out")
            continue
        corners = np.reshape(values[1:], (-1, 2)) * (size[1], size[0])
        name = names.get(int(values[0])) or f"class {int(values[0])}"
        found.append(Found(name, [[float(value) for value in corners.ravel()]]))
    return found


def _read_voc(path: Path, size: tuple[int, int], say: Callable[[str], None]) -> list[Found]:
    """Every number of the palette but 0 and 255 is an object."""
    picture = open_picture(path).picture
    values = np.asarray(picture)
    if picture.mode not in ("P", "L") or values.shape != size:
        raise DataError(f"{path}: a palette picture of {size[1]}x{size[0]} pixels is needed")
    instances = path.parent.name == "SegmentationObject"
    classes = path.parent.parent / "SegmentationClass" / path.name
    by_class = (
        np.asarray(open_picture(classes).picture) if instances and classes.is_file() else None
    )
    labels = path.parent.parent / "labels.txt"
    names = labels.read_text(encoding="utf-8").split("\n") if labels.is_file() else VOC_CLASSES
    found = []
    for value in np.unique(values):
        if value in (0, VOID):
            continue
        mask = values == value
        number = int(np.bincount(by_class[mask]).argmax()) if by_class is not None else int(value)
        known = number <= len(names) and not (instances and by_class is None)
        found.append(Found(names[number - 1] if known else "object", coco.mask_to_rle(mask)))
    return found


# --- writing --------------------------------------------------------------------------------------


def check_target(kind: str, out: Path) -> None:
    """Check, before anything is read, that :func:`write` knows the kind and can write into the
    folder.

    Raises:
        DataError: an unknown kind.
        OSError: no file can be written there.
    """
    if kind not in KINDS:
        raise DataError(f"cannot write '{kind}'; one of: {', '.join(KINDS)}")
    for folder in FOLDERS.get(kind, ("",)):
        check_writable(out / folder, folder=True)


def write(
    split: coco.Split, kind: str, out: Path, warn: Callable[[str], None] = lambda line: None
) -> int:
    """Write the objects of a data set's pictures in a tool's form; the number of files.

    Args:
        kind: of :data:`KINDS`: COCO with polygons; labelme, a JSON file per picture; YOLO-seg, a
            text file per picture (an object's parts are lines of their own) and ``data.yaml``;
            VOC, palette pictures of classes and of objects, and ``labels.txt``; a mask per object;
            a cut-out per object, cropped, its edge softened by a pixel; or ``report.html``, a page
            of all pictures, outlines, labels and areas.
        out: the folder that they go to.
        warn: is told of holes and of shared pixels, which some forms cannot hold.

    Raises:
        DataError: an unknown kind, a picture that is needed and cannot be read, two pictures whose
            files would have one name, or a file that would be written over a picture.
        OSError: a file cannot be written.
    """
    check_target(kind, out)
    _check_names(split, kind, out)
    names = [str(record.get("name")) for record in split.categories.values()]
    number_of = {key: index for index, key in enumerate(split.categories)}
    files: dict[str, bytes] = {}
    drawn = [(image_id, found) for image_id, found in split.annotations.items() if found]
    if kind == "coco":
        files["annotations.json"] = _coco_of(split)
    if kind == "report":
        files["report.html"] = report_page.page(split)
    if kind == "yolo":
        files["data.yaml"] = json.dumps({"names": dict(enumerate(names))}).encode()
    if kind == "voc":
        files["labels.txt"] = "\n".join(names).encode()
    for path, content in files.items():
        write_atomic(out / path, content)
    written = len(files)
    for image_id, found in drawn:
        record = split.images[image_id]
        stem, size = Path(record["file_name"]).stem, (record["height"], record["width"])
        objects = [
            (a["id"], number_of[a["category_id"]], split.mask(image_id, a))
            for a in found if not a.get("iscrowd")
        ]  # fmt: skip
        for lost in _lost(kind, objects):
            warn(f"{record['file_name']}: {lost}")
        made: dict[str, bytes] = {}
        if kind == "labelme":
            made[f"{stem}.json"] = _labelme_of(record["file_name"], size, objects, names)
        elif kind == "yolo":
            made[f"labels/{stem}.txt"] = _yolo_of(size, objects)
        elif kind == "voc":
            for folder in FOLDERS["voc"]:
                made[f"{folder}/{stem}.png"] = _voc_of(size, objects, folder)
        elif kind == "masks":
            made = {f"{stem}_{n}.png": png(mask) for n, _, mask in objects}
        elif kind == "cutouts":
            image = read_image(split.image_path(image_id), size)
            made = {
                f"{stem}_{n}.png": png(cutout(image, mask)) for n, _, mask in objects if mask.any()
            }
        for path, content in made.items():
            write_atomic(out / path, content)
        written += len(made)
    return written


def _lost(kind: str, objects: list[tuple[int, int, Mask]]) -> Iterator[str]:
    """A line for everything about a picture's objects that a form cannot hold."""
    for number, _, mask in objects if kind in ("coco", "labelme", "yolo") else ():
        if pixels := _in_holes(mask, outlines(mask)):
            yield f"annotation {number}: polygons have no holes; {pixels} pixels are filled"
    shared = int((np.sum([mask for *_, mask in objects], axis=0) > 1).sum()) if objects else 0
    if kind == "voc" and shared:
        yield f"{shared} pixels are of several objects; the last one of them has them"


def _in_holes(mask: Mask, polygons: list[list[float]]) -> int:
    """Pixels that the polygons of a mask hold beyond it."""
    if not polygons:
        return 0
    filled = coco.annotation_mask({"segmentation": polygons}, *mask.shape)
    return int((filled & ~mask).sum())


def _check_names(split: coco.Split, kind: str, out: Path) -> None:
    """Refuse, before anything is written, files that would take the place of another or a picture.

    Files are named after their pictures, without folder and ending; objects' files also after the
    object's id.
    """
    pictures = {split.image_path(image_id).resolve() for image_id in split.images}
    made_of: dict[str, str] = {}
    for image_id, found in split.annotations.items():
        name = split.images[image_id]["file_name"]
        stem = Path(name).stem
        stems = [f"{stem}_{a['id']}" for a in found] if kind in ("masks", "cutouts") else [stem]
        for each in stems if found and kind not in ("coco", "report") else []:
            other = made_of.setdefault(each, name)
            if other != name:
                raise DataError(
                    f"{name}: its {kind} files would be named as those of {other}; rename a picture"
                )
            target = (out / f"{each}.png").resolve()
            if kind in ("masks", "cutouts") and target in pictures:
                raise DataError(f"{out}: {target.name} is a picture of it; choose another folder")


def _coco_of(split: coco.Split) -> bytes:
    """The split as a COCO file in which every object is polygons."""
    annotations = [
        a | {"segmentation": polygons, "area": int(mask.sum()) + _in_holes(mask, polygons)}
        for image_id, found in split.annotations.items() for a in found
        for mask in [split.mask(image_id, a)] for polygons in [outlines(mask)]
    ]  # fmt: skip
    lists = {
        "images": list(split.images.values()), "annotations": annotations,
        "categories": list(split.categories.values()),
    }  # fmt: skip
    return json.dumps(split.header | lists).encode()


def _labelme_of(
    name: str, size: tuple[int, int], objects: list[tuple[int, int, Mask]], names: list[str]
) -> bytes:
    shapes = [
        {
            "label": names[category], "points": np.reshape(ring, (-1, 2)).tolist(),
            "group_id": number, "shape_type": "polygon", "flags": {},
        }
        for number, category, mask in objects for ring in outlines(mask)
    ]  # fmt: skip
    content: dict[str, Any] = {
        "version": "5.0.0", "flags": {}, "shapes": shapes, "imagePath": Path(name).name,
        "imageData": None, "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip
    return json.dumps(content).encode()


def _yolo_of(size: tuple[int, int], objects: list[tuple[int, int, Mask]]) -> bytes:
    lines = []
    for _, category, mask in objects:
        for ring in outlines(mask):
            shares = np.reshape(ring, (-1, 2)) / (size[1], size[0])
            lines.append(" ".join([str(category), *(f"{value:.7g}" for value in shares.ravel())]))
    return ("\n".join(lines) + "\n").encode()


def _voc_of(size: tuple[int, int], objects: list[tuple[int, int, Mask]], folder: str) -> bytes:
    """Classes or objects as a palette picture; a pixel of several objects is the last one's."""
    by_class = folder == "SegmentationClass"
    numbers = [category + 1 if by_class else i for i, (_, category, _) in enumerate(objects, 1)]
    if max(numbers, default=0) >= VOID:
        raise DataError(f"{folder}: {max(numbers)} do not fit into VOC's palette, at most 254")
    values = np.zeros(size, np.uint8)
    for number, (_, _, mask) in zip(numbers, objects, strict=True):
        values[mask] = number
    picture = Pillow.fromarray(values, "P")
    # VOC's own palette: bit by bit, a number's lowest three bits are the highest of the colours.
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    weights = 1 << (7 - np.arange(8) // 3)
    colours = [(bits[:, channel::3] * weights[channel::3]).sum(axis=1) for channel in range(3)]
    picture.putpalette(np.stack(colours, axis=1).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
