"""A folder of rough masks made precise, with a table of what changed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nseg_lib.arrays import Image, Mask, sureness
from nseg_lib.asked import tell_one_colour
from nseg_lib.console import few, progress_bar
from nseg_lib.data import coco, masks, outputs
from nseg_lib.data.images import as_rgb, list_pictures, open_picture, tell_unusual
from nseg_lib.data.painted import seems_inverted
from nseg_lib.data.records import DataError, Record, mend
from nseg_lib.data.scaling import mask_on_photo
from nseg_lib.files import append_row, check_writable, only_writer, sha256, write_atomic
from nseg_lib.prompt import scale_mask
from nseg_lib.refine import Refiner

TABLE = "refined.csv"
"""The table's name, in the folder of the masks."""

COCO_FILE = "annotations.json"
"""The name of the COCO file beside the table."""

AHEAD = 2
"""Pictures that are read before their turn, and masks that wait to be written."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Row:
    """What became of one rough mask."""

    mask: str
    """Name of the refined mask's file."""
    photo: str
    iou: float
    """Of the rough and the refined mask: 1 where nothing changed."""
    added: int
    """Pixels."""
    removed: int
    """Pixels."""
    sure: float
    """:func:`nseg_lib.arrays.sureness` of the refined mask."""
    made_from: str
    """A hash of photo, rough mask and weights: another one, and the mask is made again."""
    seconds: float
    """To read both and to refine."""


@dataclass(frozen=True)
class Work:
    """A photograph and one of its rough masks."""

    photo: Path
    name: str
    """Of the refined mask's file."""
    source: str
    """What messages call the rough mask."""
    stamp: Callable[[], str]
    """Its hash, which changes with the rough mask."""
    read: Callable[[Callable[[str], None]], tuple[Image, Mask]]
    """Takes a function that is told what looks odd, as in :func:`nseg_lib.asked.read_prompt`."""


def refine_folder(
    refiner: Refiner,
    weights: Path,
    coarse: Path,
    photos: Path,
    out: Path,
    *,
    say: Callable[[str], None],
    progress: bool = False,
    write_coco: bool = True,
) -> tuple[list[Row], list[str]]:
    """Refine the rough masks of a folder's photographs; goes on where it was stopped.

    Args:
        weights: the refiner's file.
        coarse: a folder of masks, each named as its photo, or that name, ``_`` and more: of
            ``cat.jpg``, ``cat.png`` or ``cat_2.png``. Or a COCO file; then a mask's name is the
            photo's, ``_`` and the annotation's id.
        photos: the folder of photographs.
        out: the folder of the masks, PNG, of :data:`TABLE`, and of a COCO file of all masks,
            :data:`COCO_FILE`, from which ``nseg convert`` makes a report page.
        say: is told what is left out.
        write_coco: whether to write the COCO file; for it, masks that were there already are read.

    Returns:
        A row per mask, in the order of their names, and a line for each that failed.

    Raises:
        DataError: a missing folder, or nothing that belongs together.
        ValueError: another process writes ``out``.
        OSError: a result cannot be written.
    """
    if out.resolve() in (coarse.resolve(), photos.resolve()):
        raise DataError(f"--out {out}: is the folder of the input; choose another")
    if (out / COCO_FILE).exists() and not (out / TABLE).exists():
        raise DataError(f"--out {out}: has another {COCO_FILE} already; choose another folder")
    found = _of_coco(coarse, photos, say) if coarse.is_file() else _of_folder(coarse, photos, say)
    model, rows, failed = sha256(weights), [], []
    with only_writer(out / TABLE), few(say, str(coarse), "lines such as these") as tell:
        check_writable(out / TABLE)
        if not (out / TABLE).exists():
            # Masks that are there are somebody else's, and would be lost.
            if there := [work.name for work in found if (out / work.name).exists()]:
                raise DataError(
                    f"--out {out}: has another {there[0]} already; choose another folder"
                )
            append_row(out / TABLE, _names())
        known = read_table(out / TABLE)
        # One thread reads what comes next and one writes what is done, while the network answers:
        # files and pictures leave the processor free half of the time. No more than AHEAD pictures
        # are in memory on either side, however many there are.
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            reading = _ahead(reader, lambda work: _open(work, known, out, model, tell), found)
            writing: deque[Future[None]] = deque()
            for work, opened in progress_bar(reading, "refining", progress, len(found)):
                try:
                    done = opened.result()
                    if not isinstance(done, Row):
                        mask, row = _refine(refiner, work, *done)
                        writing.append(writer.submit(_keep, out, row, mask))
                        done = row
                    rows.append(done)
                except (DataError, ValueError) as error:
                    said = str(error)
                    failed.append(said if work.source in said else f"{work.source}: {said}")
                while len(writing) > AHEAD:
                    writing.popleft().result()
            for written in writing:
                written.result()
        # Once more, in order and without rows that were replaced.
        write_table(out / TABLE, rows)
        if rows and write_coco:
            made = _refined(coarse, out, rows) if coarse.is_file() else _as_coco(photos, out, rows)
            write_atomic(out / COCO_FILE, json.dumps(made))
    return rows, failed


def _names() -> list[str]:
    return [field.name for field in fields(Row)]


def _ahead(
    pool: Executor, do: Callable[[Work], Value], found: Sequence[Work]
) -> Iterator[tuple[Work, Future[Value]]]:
    """Each work with what ``do`` makes of it in another thread, :data:`AHEAD` in advance."""
    waiting: deque[tuple[Work, Future[Value]]] = deque()
    try:
        for work in found:
            waiting.append((work, pool.submit(do, work)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting
    finally:
        for _, future in waiting:  # after an error, nothing more is read
            future.cancel()


def _open(
    work: Work, known: dict[str, Row], out: Path, model: str, tell: Callable[[str], None]
) -> Row | tuple[Image, Mask, str, float]:
    """The row of a mask that is there already; else picture, rough mask, their hash and seconds."""
    started = time.perf_counter()
    if not work.photo.is_file():
        raise DataError(f"{work.photo}: no such picture")
    made_from = f"{sha256(work.photo)[:16]}-{work.stamp()[:16]}-{model[:16]}"
    row = known.get(work.name)
    if row is not None and row.made_from == made_from and (out / work.name).is_file():
        return row
    image, rough = work.read(tell)
    if not rough.any():
        raise DataError(f"{work.source}: nothing is painted")
    if seems_inverted(rough):
        tell(f"{work.source}: covers {rough.mean():.0%} of the picture; is it inverted?")
    tell_one_colour(work.photo, image, tell)
    return image, rough, made_from, time.perf_counter() - started


def _refine(
    refiner: Refiner, work: Work, image: Image, rough: Mask, made_from: str, seconds: float
) -> tuple[Mask, Row]:
    """A mask and its row; ``seconds`` is what reading took."""
    started = time.perf_counter()
    mask, probability = refiner.refine(image, rough, return_probability=True)
    return mask, Row(
        work.name, work.photo.name, round(float((mask & rough).sum() / (mask | rough).sum()), 4),
        int((mask & ~rough).sum()), int((rough & ~mask).sum()),
        round(sureness(probability, mask), 4), made_from,
        round(seconds + time.perf_counter() - started, 2),
    )  # fmt: skip


def _keep(out: Path, row: Row, mask: Mask) -> None:
    """Write a mask, and then its row: a row is there only if its mask is."""
    outputs.write_png(out / row.mask, mask)
    append_row(out / TABLE, asdict(row).values())


def read_table(path: Path) -> dict[str, Row]:
    """The rows of an earlier run by the mask's name; a row that was cut off is none."""
    found = {}
    if path.is_file():
        # What is no row, or no text at all, counts as none.
        opened = path.open(encoding="utf-8", errors="replace", newline="")
        with opened as file, suppress(csv.Error):
            for each in csv.DictReader(file):
                with suppress(ValueError, TypeError, KeyError):
                    row = Row(
                        each["mask"], each["photo"], float(each["iou"]), int(each["added"]),
                        int(each["removed"]), float(each["sure"]), each["made_from"],
                        float(each["seconds"]),
                    )  # fmt: skip
                    found[row.mask] = row
    return found


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write a table, the masks of which the network is least sure first; whole or, with an
    OSError, not at all."""
    text = io.StringIO(newline="")
    lines = [_names(), *(asdict(row).values() for row in sorted(rows, key=lambda row: row.sure))]
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomic(path, text.getvalue())


def stem_of_photo(mask: str, photos: Container[str]) -> str | None:
    """The name that a mask's begins with, of those of ``photos``, all without their endings.

    ``cat_2_b`` may belong to ``cat_2_b``, ``cat_2`` or ``cat``; the longest that is there counts.
    """
    parts = mask.split("_")
    stems = ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((stem for stem in stems if stem in photos), None)


def _of_folder(coarse: Path, photos: Path, say: Callable[[str], None]) -> list[Work]:
    """Each mask of a folder, with the photo that has the longest name the mask's begins with."""
    photographs: dict[str, list[Path]] = {}
    for path in list_pictures(photos)[0]:
        photographs.setdefault(path.stem, []).append(path)
    found: list[Work] = []
    alone, first = [], dict[str, Path]()
    for path in list_pictures(coarse)[0]:
        stem = stem_of_photo(path.stem, photographs)
        if stem is None:
            alone.append(path.name)
            continue
        named = photographs[stem]
        other = first.setdefault(path.stem, path)

        def read(
            tell: Callable[[str], None],
            photo: Path = named[0],
            path: Path = path,
            named: list[Path] = named,
            other: Path = other,
        ) -> tuple[Image, Mask]:
            if len(named) > 1:
                both = " and ".join(map(str, named[:2]))
                raise DataError(f"{path}: may belong to {both}; rename one of them")
            if other != path:
                raise DataError(f"{path}: its result would have the name of {other}'s")
            taken = masks.open_photo(photo)
            tell_unusual(photo, taken.stored, tell)
            return taken.image, masks.read_mask(path, taken, warn=tell)

        stamp = partial(sha256, path)
        name = f"{path.stem}.png" if other == path else path.name
        found.append(Work(named[0], name, str(path), stamp, read))
    if not found:
        raise DataError(f"{coarse}: no mask is named as a photo of {photos}")
    if alone:
        more = ", …" if len(alone) > 5 else ""
        names = f"{', '.join(alone[:5])}{more}"
        say(f"{coarse}: left out, for want of a photo: {len(alone)} masks ({names})")
    return found


def _of_coco(path: Path, photos: Path, say: Callable[[str], None]) -> list[Work]:
    """Each annotation of a COCO file whose picture is in the folder."""
    if not photos.is_dir():
        raise DataError(f"{photos}: no such folder")
    content = coco.read_json(path)
    split, findings = coco.parse_split(content, photos.parent, photos.name, path.name)
    coco.refuse(findings, path.parent)
    for severity, problem, what in (
        ("left out", None, "are left out"), ("note", coco.OTHER_SIZE, "are scaled"),
    ):  # fmt: skip
        told = [f for f in findings if f.severity == severity and problem in (None, f.problem)]
        with few(say, str(path), f"annotations {what}; nseg convert names them all") as tell:
            for finding in told:
                tell(finding.at(path.parent))
    if crowds := [a for records in split.annotations.values() for a in records if a.get("iscrowd")]:
        say(f"{path}: left out, as no masks of single objects: {len(crowds)} crowds")
    found = []
    for image_id, annotation in _annotations(split):
        photo = photos / Path(split.images[image_id]["file_name"]).name

        def read(
            tell: Callable[[str], None], image_id: int = image_id, record: Record = annotation
        ) -> tuple[Image, Mask]:
            photo = split.image_path(image_id)
            stored = open_picture(photo)
            mask = mask_on_photo(path, split, image_id, record, photo, stored, tell)
            tell_unusual(photo, stored, tell)
            return as_rgb(photo, stored, (mask.shape[0], mask.shape[1])), mask

        source = f"{path}: annotation {annotation['id']} of {photo.name}"

        def stamp(record: Record = annotation) -> str:
            return hashlib.sha256(json.dumps(record["segmentation"]).encode()).hexdigest()

        found.append(Work(photo, f"{photo.stem}_{annotation['id']}.png", source, stamp, read))
    if not any(work.photo.is_file() for work in found):
        raise DataError(f"{path}: no usable annotation of an object in a picture of {photos}")
    return found


def _annotations(split: coco.Split) -> Iterator[tuple[int, Record]]:
    """The objects that have a mask, crowds left out, each with its picture's id."""
    for image_id, records in split.annotations.items():
        for record in records:
            if not record.get("iscrowd"):
                yield image_id, record


def _refined(path: Path, out: Path, rows: Iterable[Row]) -> dict[str, Any]:
    """The content of the COCO file that was given, with the refined masks as RLE, and under
    ``sure`` how sure the network is of each."""
    content = coco.read_json(path)
    images = {record["id"]: record for record, _ in map(mend, content["images"])}
    made = {row.mask: row.sure for row in rows}
    for record in content["annotations"]:
        read, _ = mend(record)  # as the masks were named, whatever form the ids have
        image = images.get(read.get("image_id")) if isinstance(read, dict) else None
        name = f"{Path(image['file_name']).stem}_{read['id']}.png" if image is not None else ""
        if image is None or name not in made:
            continue
        # The photograph may be larger or smaller than its record says; all masks of the file are
        # of the record's size.
        size = image["width"], image["height"]
        mask = scale_mask(masks.read_mask(out / name), size)
        if mask.any():
            new = outputs.annotation(mask, sure=made[name])
            record |= {key: new[key] for key in ("segmentation", "area", "bbox", "sure")}
        else:
            record |= {"segmentation": coco.mask_to_rle(mask), "area": 0, "sure": made[name]}
    return content


def _as_coco(photos: Path, out: Path, rows: Iterable[Row]) -> dict[str, Any]:
    """The content of a COCO file of the refined masks; empty masks are left out."""
    images: dict[str, Record] = {}
    annotations: list[Record] = []
    for row in rows:
        mask = masks.read_mask(out / row.mask)
        if not mask.any():
            continue
        size = {"height": mask.shape[0], "width": mask.shape[1]}
        image = {"id": len(images) + 1, "file_name": row.photo} | size
        image_id = images.setdefault(row.photo, image)["id"]
        orientation = open_picture(photos / row.photo, reduced=True).orientation
        made = outputs.annotation(outputs.as_readers_turn(mask, orientation), sure=row.sure)
        annotations.append(made | {"id": len(annotations) + 1, "image_id": image_id})
    return outputs.document(list(images.values()), annotations)
