"""Reduce COCO to a seeded sample of pictures, split as in the paper.

The sample does not depend on the order of the records, nor on the version of a random generator: every
candidate is ranked by the SHA-256 of seed and id, and the first ones that can be read are taken. So a
reduction of the full COCO and `nseg_lib.fetch` choose the same pictures.

    OUT/annotations/instances_{train,val,test}.json    OUT/{train,val,test}/*.jpg    OUT/reduction.json
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nseg_lib.coco import DataError, Split, load_split, read_json

VAL_SHARE = 0.1  # the paper's 900 for training and 100 for validation
UNFINISHED = "reduction.json.part"


@dataclass(frozen=True)
class Request:
    """What makes one reduction differ from another; kept in reduction.json.

    `split`: the source split. `images`: pictures in train and val together, at least 2. `test_images`:
    at most so many of the pictures left over. `seed`: of the sample.
    """

    split: str
    images: int = 1000
    test_images: int = 500
    seed: int = 42

    def __post_init__(self) -> None:
        if self.images < 2:
            raise DataError(
                f"images is {self.images}, at least 2 are needed: one to train, one to validate"
            )
        if self.test_images < 0:
            raise DataError(f"test_images is {self.test_images}, it cannot be negative")

    def sizes(self) -> dict[str, int]:
        """Pictures wanted in train, val and (at most) test."""
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
) -> dict[str, Any]:
    """Make a reduced data set of `images` pictures of `coco` in the folder `out`.

    A picture is a candidate if it has a usable annotation and can be read; 10 % of `images` are for
    validation; up to `test_images` of the candidates left over make an untouched test split, where
    there are any. Pictures are hard links; copies where links are impossible or `copy` is asked for.
    The same source, numbers and seed give the same bytes. Run again, it finds the result finished, or
    finishes it.

    Returns the content of reduction.json. DataError: too few candidates, a source that `load_split`
    refuses, or an `out` that holds something else.
    """
    coco, out = Path(coco), Path(out)
    source = load_split(coco, split)
    request = Request(source.name, images, test_images, seed)
    done = claim(out, request)
    broken: list[str] = []

    def usable(image_id: int) -> bool:
        try:
            source.read_image(image_id)
        except DataError as error:
            broken.append(str(error).replace(f"{source.image_dir}{os.sep}", ""))
            return False
        return True

    chosen = chosen_before(done, source) or choose(source, request, usable)
    if done is not None:
        broken = done["left_out"]["unreadable_pictures"]
    for name, ids in chosen.items():
        for image_id in ids:
            target = out / name / source.images[image_id]["file_name"]
            _place(source.image_path(image_id), target, copy)
    return finish(out, source, request, chosen, broken)


# --- the choice, shared with fetch ------------------------------------------------------------------


def rank(image_ids: Iterable[int], seed: int) -> list[int]:
    """The ids in a seeded order that depends on nothing but each id and the seed."""
    return sorted(image_ids, key=lambda i: (hashlib.sha256(f"{seed}:{i}".encode()).digest(), i))


def choose(
    source: Split, request: Request, usable: Callable[[int], bool] = lambda _: True
) -> dict[str, list[int]]:
    """The ids of each split, ascending; train and val first, then test. No empty split is returned.

    `usable` is asked in rank order until there are enough. DataError if train and val get too few.
    """
    candidates = rank((i for i, found in source.annotations.items() if found), request.seed)
    wanted = request.sizes()
    taken: list[int] = []
    for image_id in candidates:
        if len(taken) == sum(wanted.values()):
            break
        if usable(image_id):
            taken.append(image_id)
    if len(taken) < request.images:
        raise DataError(
            f"{source.root}: split {source.name} has {len(taken)} pictures that can be used "
            f"(a usable annotation and a readable file), {request.images} are asked for"
        )
    chosen, start = {}, 0
    for name, number in wanted.items():
        if ids := sorted(taken[start : start + number]):
            chosen[name] = ids
        start += number
    return chosen


# --- the folder, shared with fetch ------------------------------------------------------------------


def claim(out: Path, request: Request) -> dict[str, Any] | None:
    """Make `out` ready for this reduction; return its reduction.json if it was finished before.

    DataError if the folder holds another reduction, or anything else.
    """
    for path in (out / "reduction.json", out / UNFINISHED):
        if not path.exists():
            continue
        held = read_json(path)
        if not isinstance(held, Mapping) or held.get("request") != asdict(request):
            raise DataError(
                f"{out}: holds another reduction ({held.get('request') if isinstance(held, Mapping) else held}); "
                f"choose another folder for {asdict(request)}"
            )
        return dict(held) if path.name == "reduction.json" else None
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out}: the folder is not empty and holds no reduction; choose another")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / UNFINISHED, as_json({"request": asdict(request)}))
    return None


def chosen_before(done: Mapping[str, Any] | None, source: Split) -> dict[str, list[int]] | None:
    """The choice of a finished reduction, if its pictures are (still) those of `source`."""
    if done is None:
        return None
    chosen: dict[str, list[int]] = done["chosen"]
    for name, ids in chosen.items():
        known = all(source.annotations.get(image_id) for image_id in ids)
        if not known or _digest(split_document(source, ids)) != done["sha256"][name]:
            raise DataError(f"{source.root}: changed since it was reduced; choose another folder")
    return chosen


def finish(
    out: Path,
    source: Split,
    request: Request,
    chosen: Mapping[str, list[int]],
    broken: list[str],
) -> dict[str, Any]:
    """Write the annotation files and, last, reduction.json, whose presence says that all is there."""
    number = sum(map(len, chosen.values()))
    annotated = sum(1 for found in source.annotations.values() if found)
    reduction = {
        "request": asdict(request),
        "pictures": {name: len(ids) for name, ids in chosen.items()},
        "annotations": {
            name: sum(len(source.annotations[i]) for i in ids) for name, ids in chosen.items()
        },
        "left_out": {
            "pictures_without_usable_annotation": len(source.images) - annotated,
            "unreadable_pictures": sorted(broken),
            "pictures_not_chosen": annotated - number - len(broken),
            "unusable_annotations": dict(
                sorted(Counter(f.problem for f in source.left_out).items())
            ),
        },
        "sha256": {},
        "chosen": dict(chosen),
    }
    for name, ids in chosen.items():
        content = split_document(source, ids)
        reduction["sha256"][name] = _digest(content)
        write_atomic(out / "annotations" / f"instances_{name}.json", content)
    write_atomic(out / "reduction.json", as_json(reduction))
    (out / UNFINISHED).unlink(missing_ok=True)
    return reduction


def split_document(source: Split, image_ids: Iterable[int]) -> bytes:
    """The annotation file of some of a split's pictures: the source's header and categories, all their
    usable annotations, records by ascending id."""
    ids = sorted(image_ids)
    return as_json(
        source.header
        | {
            "categories": [source.categories[key] for key in sorted(source.categories)],
            "images": [source.images[i] for i in ids],
            "annotations": sorted(
                (a for i in ids for a in source.annotations[i]), key=lambda record: record["id"]
            ),
        }
    )


def as_json(value: Any) -> bytes:
    """Deterministic JSON."""
    return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that is either complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _place(source: Path, target: Path, copy: bool) -> None:
    """Link or copy one picture; nothing to do where the target is already of the source's size."""
    source = source.resolve()
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        if copy:
            raise OSError("no link is wanted")
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
    os.replace(part, target)
