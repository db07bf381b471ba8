"""Reduce COCO to a seeded sample of pictures, split as in the paper.

The sample depends neither on the order of the records nor on any random generator: candidates are
ranked by the SHA-256 of seed and id, and the first that can be read are taken. So reducing the full
COCO and fetching from it (`nseg_lib.data.fetch`) give the same pictures, in the same layout:

    OUT/annotations/instances_{train,val,test}.json
    OUT/{train,val,test}/*.jpg
    OUT/reduction.json
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from nseg_lib import limits
from nseg_lib.console import progress_bar
from nseg_lib.data.coco import Split, largest_annotation, load_split, read_json
from nseg_lib.data.records import DataError
from nseg_lib.files import replacing, sha256, write_atomic
from nseg_lib.strokes.recipes import MIN_STROKE_AREA, make_stroke

VAL_SHARE = 0.1
"""The paper's: 900 pictures to train on and 100 to validate."""

TRIED = 1000
"""Objects of a split for which a stroke is tried before it is said that none keeps one."""

FINISHED = "reduction.json"
UNFINISHED = "reduction.unfinished.json"
"""Marks a folder as ours while it is being filled, and says what with."""


@dataclass(frozen=True)
class Request:
    """What tells one reduction from another."""

    split: str
    """Name of the source split."""
    images: int = 1000
    """Pictures in train and val together, at least 2."""
    test_images: int = 500
    """At most so many of the pictures left over make the test split."""
    seed: int = 42

    def __post_init__(self) -> None:
        if self.images < 2:
            raise DataError(f"images is {self.images}; at least 2: one to train, one to validate")
        if self.test_images < 0:
            raise DataError(f"test_images is {self.test_images}; it must be 0 or more")
        for name in ("images", "test_images"):
            if getattr(self, name) > limits.MAX_PICTURES:
                raise DataError(f"{name} is {getattr(self, name)}; at most {limits.MAX_PICTURES:,}")

    def sizes(self) -> dict[str, int]:
        """Split name → pictures wanted."""
        val = max(1, round(self.images * VAL_SHARE))
        return {"train": self.images - val, "val": val, "test": self.test_images}


def reduce(
    coco: Path,
    out: Path,
    images: int = 1000,
    seed: int = 42,
    split: str | None = None,
    *,
    test_images: int = 500,
    copy: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Make a reduced data set of `images` pictures of `coco` in the folder `out`.

    A picture is a candidate if it has a usable annotation and can be read. A tenth of `images` is
    for validation; of the candidates left over, up to `test_images` make an untouched test split,
    where there are any. All usable annotations, the categories, licences and URLs are kept. The
    same source, numbers and seed give the same bytes. Run again, it finds the result finished, or
    finishes it.

    Args:
        coco: a folder in COCO's layout.
        out: a new or empty folder, or one where this reduction was begun or finished.
        images: pictures in train and val together.
        seed: of the sample.
        split: of `coco`; by default its only one, or the only one named train….
        test_images: pictures in the test split, at most.
        copy: copy the pictures; otherwise they are hard links wherever the disk allows.
        progress: show bars on the error stream.

    Returns:
        What reduction.json holds: request, numbers, what was left out and why, the chosen ids.

    Raises:
        DataError: too few candidates, a source that cannot be read, or an `out` that holds
            something else.
        OSError: a picture or a file cannot be written; the same call goes on from there.
    """
    source = load_split(Path(coco), split, progress=progress)
    out = Path(out)
    request = Request(source.name, images, test_images, seed)
    is_finished(out, asdict(request))  # refuses a folder of something else
    unreadable: list[str] = []

    def usable(image_id: int) -> bool:
        try:
            source.read_image(image_id)
        except DataError as error:
            # Without the folder, so that the result does not depend on where the source lies.
            reason = str(error).replace(f"{source.image_dir}{os.sep}", "")
            unreadable.append(f"image {image_id}: {reason}")
            return False
        return True

    chosen = choose(source, request, usable, progress=progress)
    made = plan(source, request, chosen, unreadable)
    made.check_against(out)
    begin(out, request)
    places = [(name, image_id) for name, ids in chosen.items() for image_id in ids]
    for name, image_id in progress_bar(places, "copying pictures", progress):
        target = out / name / source.images[image_id]["file_name"]
        _place(source.image_path(image_id), target, copy)
    made.finish(out)
    return made.reduction


def _place(source: Path, target: Path, copy: bool) -> None:
    """Link or copy one picture, where it is not there yet; an OSError names the target."""
    try:
        source = source.resolve()
        if target.exists() and target.stat().st_size == source.stat().st_size:
            return
        with replacing(target) as part:
            try:
                if copy:
                    raise OSError("no link is wanted")
                os.link(source, part)
            except OSError:  # another disk, or one without links
                shutil.copyfile(source, part)
    except OSError as error:
        raise OSError(
            f"{target}: cannot be copied from {source}: {error.strerror}; "
            "run the same command again to go on"
        ) from error


def keeps_a_stroke(split: Split) -> bool:
    """Whether one of the largest objects keeps a stroke of the paper's recipe; else a split is of
    no use to `nseg train` and `nseg evaluate`."""
    annotated = [(i, found) for i, found in split.annotations.items() if found]
    for image_id, found in annotated[:TRIED]:
        target = largest_annotation(found)
        key = {"image_id": image_id, "annotation_id": target["id"]}
        if make_stroke(split.mask(image_id, target), "erode", **key).sum() >= MIN_STROKE_AREA:
            return True
    return False


# --- shared with fetch ----------------------------------------------------------------------------


def rank(image_ids: Iterable[int], seed: int) -> list[int]:
    """The ids in a seeded order that depends on nothing but the seed and the ids themselves."""
    return sorted(image_ids, key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())


def choose(
    source: Split,
    request: Request,
    usable: Callable[[int], bool] = lambda image_id: True,
    *,
    progress: bool = False,
) -> dict[str, list[int]]:
    """Split name → ids of the chosen pictures, ascending; a test split only if pictures are left.

    Pictures without usable annotations are no candidates. `usable` is asked in rank order, until
    there are enough.

    Raises:
        DataError: there are too few for train and val.
    """
    sizes = request.sizes()
    candidates = iter(rank((i for i, found in source.annotations.items() if found), request.seed))
    taken: list[int] = []
    for _ in progress_bar(range(sum(sizes.values())), "choosing pictures", progress):
        image_id = next(filter(usable, candidates), None)
        if image_id is None:
            break
        taken.append(image_id)
    if len(taken) < request.images:
        raise DataError(
            f"{source.root}: split {source.name} has {len(taken)} pictures with a usable "
            f"annotation and a readable file; images is {request.images}. "
            "'nseg data check' says why the others cannot be used"
        )
    chosen: dict[str, list[int]] = {}
    for name, number in sizes.items():
        chosen[name], taken = sorted(taken[:number]), taken[number:]
    return {name: ids for name, ids in chosen.items() if ids}


def is_finished(out: Path, request: Mapping[str, Any]) -> bool:
    """Whether a data set of this request is finished in `out`; false if it is begun, or can be.

    Raises:
        DataError: the folder holds another data set, or anything else.
    """
    for path in (out / FINISHED, out / UNFINISHED):
        if path.exists():
            held = read_json(path)
            found = held.get("request") if isinstance(held, Mapping) else held
            if found != request:
                raise DataError(
                    f"{out}: holds another data set, {found!r:.200}; "
                    f"choose a new folder for {request}"
                )
            return path.name == FINISHED
    # A process that was killed at its first write may have left a part of the mark.
    if out.exists() and (
        not out.is_dir() or any(not p.name.startswith(f"{UNFINISHED}.") for p in out.iterdir())
    ):
        raise DataError(f"{out}: neither an empty folder nor a data set; choose a new folder")
    return False


def begin(out: Path, request: Request) -> None:
    """Mark `out` as this reduction's folder."""
    if not (out / FINISHED).exists():
        write_atomic(out / UNFINISHED, as_json({"request": asdict(request)}))


def changed_files(root: Path) -> list[Path]:
    """The annotation files that are missing or changed since the finished set in `root` was made;
    its record, if damaged, raises any of ValueError, KeyError, TypeError and AttributeError."""
    digests = read_json(root / FINISHED)["sha256"]
    files = {root / "annotations" / f"instances_{n}.json": d for n, d in digests.items()}
    return [path for path, d in files.items() if not path.is_file() or sha256(path) != d]


@dataclass(frozen=True)
class Plan:
    """All that a reduction, or the sample, writes beside the pictures."""

    documents: dict[str, bytes]
    """Split name → its annotation file."""
    reduction: dict[str, Any]
    """What reduction.json will hold."""

    @classmethod
    def make(
        cls, documents: Mapping[str, Mapping[str, Any]], request: Mapping[str, Any], **more: Any
    ) -> Plan:
        """Work the files out: the request, numbers and hashes, and `more`."""
        texts = {name: as_json(document) for name, document in documents.items()}
        reduction = {
            "request": request,
            "pictures": {name: len(document["images"]) for name, document in documents.items()},
            "annotations": {name: len(d["annotations"]) for name, d in documents.items()},
            "sha256": {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()},
        }
        return cls(texts, reduction | more)

    def check_against(self, out: Path) -> None:
        """Raise DataError if `out` holds a reduction that was made from other annotations."""
        path = out / FINISHED
        if path.exists() and read_json(path).get("sha256") != self.reduction["sha256"]:
            raise DataError(f"{out}: its source has changed since; choose a new folder")

    def finish(self, out: Path) -> None:
        """Write the annotation files, and last the file whose presence says that all is there."""
        for name, text in self.documents.items():
            write_atomic(out / "annotations" / f"instances_{name}.json", text)
        write_atomic(out / FINISHED, as_json(self.reduction))
        (out / UNFINISHED).unlink(missing_ok=True)


def plan(
    source: Split, request: Request, chosen: dict[str, list[int]], unreadable: list[str]
) -> Plan:
    """What is written for the chosen pictures. `unreadable`: why candidates were passed over."""
    documents = {
        name: source.header
        | {
            "categories": list(source.categories.values()),
            "images": [source.images[i] for i in ids],
            "annotations": sorted(
                (a for i in ids for a in source.annotations[i]), key=itemgetter("id")
            ),
        }
        for name, ids in chosen.items()
    }
    annotated = sum(map(bool, source.annotations.values()))
    left_out = {
        "pictures_without_usable_annotation": len(source.images) - annotated,
        "pictures_not_chosen": annotated - sum(map(len, chosen.values())) - len(unreadable),
        "unreadable_pictures": sorted(unreadable),
        "unusable_annotations": dict(Counter(f.problem for f in source.left_out)),
    }
    return Plan.make(documents, asdict(request), left_out=left_out, chosen=chosen)


def as_json(value: Any) -> bytes:
    """JSON whose bytes depend on the value alone."""
    return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()
