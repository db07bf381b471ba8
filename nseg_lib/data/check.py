"""Say what is wrong with a data set, record by record, and what can be done with it.

The records are judged by the functions that `nseg_lib.data.coco.load_split` uses, the pictures by
those that `nseg_lib.data.images.read_image` uses: what is reported here is what happens there.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pycocotools import mask as coco_mask

from nseg_lib.console import progress_bar
from nseg_lib.data import coco
from nseg_lib.data.coco import Split, find_splits
from nseg_lib.data.images import Note, notes, open_picture, to_rgb, turn
from nseg_lib.data.records import REFUSED, DataError, Finding, Problem, Record
from nseg_lib.data.reduce import FINISHED, UNFINISHED, changed_files, keeps_a_stroke
from nseg_lib.data.scaling import own_size
from nseg_lib.files import sha256
from nseg_lib.strokes.recipes import MIN_STROKE_AREA

AREA_RATIO = 1.5
"""An annotation's "area" may differ from its mask's by this factor: COCO's are of the polygons."""


@dataclass(frozen=True)
class Report:
    """All that `check` found."""

    root: Path
    findings: tuple[Finding, ...]
    splits: dict[str, dict[str, int]]
    """Split name → numbers of pictures, readable pictures, annotations and usable annotations."""
    uses: tuple[str, ...] = ()
    """What `nseg train`, `nseg evaluate` and `nseg data reduce` can do with it, a line each."""

    @property
    def ok(self) -> bool:
        """Whether the data set can be used as it stands: no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def counts(self) -> dict[tuple[str, str], int]:
        """(severity, problem) → number of findings, errors first, the most frequent first."""
        counted = Counter((f.severity, f.problem) for f in self.findings)
        return dict(sorted(counted.items(), key=lambda c: (c[0][0], -c[1], c[0])))

    def lines(self, most: int | None = None) -> list[str]:
        """The report as text: a line per finding (at most `most` of a kind), numbers and uses."""
        shown: Counter[tuple[str, str]] = Counter()
        lines = []
        for finding in self.findings:
            kind = finding.severity, finding.problem
            shown[kind] += 1
            if most is None or shown[kind] <= most:
                lines.append(f"{finding.severity}: {finding}")
            elif shown[kind] == most + 1:
                lines.append(f"{finding.severity}: {finding.problem}: and more of the same …")
        lines += [f"{n:6} {severity}: {what}" for (severity, what), n in self.counts().items()]
        for name, numbers in self.splits.items():
            lines.append(f"{name}: " + ", ".join(f"{n} {what}" for what, n in numbers.items()))
        return [*lines, *self.uses]


def check(root: Path, split: str | None = None, *, progress: bool = False) -> Report:
    """Check the splits of a data set in COCO's layout, without stopping at what it finds.

    Every picture is decoded and every mask's area counted: 1 to 2 ms a picture on one core.

    A folder that is no data set is an error in the report, not an exception.

    Args:
        root: the data set's folder.
        split: check this one only.
        progress: show bars on the error stream.
    """
    root = Path(root)
    findings = _reduction_findings(root)
    numbers: dict[str, dict[str, int]] = {}
    readable: dict[str, int] = {}  # split → readable pictures with an object; 0 if it is refused
    strokes: dict[str, int] = {}  # the same, but 0 if no object keeps a stroke
    owners: dict[str, str] = {}  # SHA-256 of a picture → the first file that has it
    try:
        names = [coco.choose_split(root, split)] if split else list(find_splits(root))
    except DataError as error:
        return Report(root, (Finding("error", "", "", "no data set", str(error)), *findings), {})
    for name in names:
        path = find_splits(root)[name]
        file = path.relative_to(root).as_posix()
        try:
            document = coco.read_json(path, progress=progress)
        except DataError as error:
            detail = str(error).removeprefix(f"{path}: ")
            findings.append(Finding("error", file, "", "unreadable annotations", detail, REFUSED))
            readable[name] = strokes[name] = 0
            continue
        loaded, found = coco.parse_split(document, root, name, file, progress=progress)
        found += _mask_findings(loaded, file, progress)
        unread, in_pictures = _picture_findings(loaded, owners, progress)
        found += in_pictures
        annotated = {image_id for image_id, objects in loaded.annotations.items() if objects}
        refused = any(f.outcome == REFUSED for f in found)
        readable[name] = strokes[name] = 0 if refused else len(annotated - unread)
        objects = sum(map(len, loaded.annotations.values()))
        numbers[name] = {
            "pictures": len(loaded.images),
            "readable pictures": len(loaded.images) - len(unread),
            "annotations": objects + len(loaded.left_out),
            "usable annotations": objects,
        }
        if not refused and not (annotated and keeps_a_stroke(loaded)):
            small = f"every stroke has fewer than {MIN_STROKE_AREA} pixels" if annotated else ""
            outcome = "nothing can be trained on or judged"
            found.append(Finding("error", file, "", "no usable annotations", small, outcome))
            strokes[name] = 0
        findings += found
    return Report(root, tuple(findings), numbers, () if split else _uses(readable, strokes))


def _uses(readable: dict[str, int], strokes: dict[str, int]) -> tuple[str, ...]:
    """What each command can do, given every split's number of usable pictures."""

    def lacking(*names: str) -> str:
        why = [f"{n} has no usable picture" if n in strokes else f"no split {n}" for n in names]
        return f"cannot: {', '.join(why)}"

    missing = [name for name in ("train", "val") if not strokes.get(name)]
    if missing:
        train = f"{lacking(*missing)}; 'nseg data reduce' makes train and val of one split"
    else:
        train = f"{strokes['train']} pictures, {strokes['val']} to validate"
    judged = [f"{strokes[n]} pictures of {n}" for n in ("val", "test") if strokes.get(n)]
    evaluate = ", ".join(judged) or lacking("val", "test")
    if others := [n for n in strokes if strokes[n] and n not in ("val", "test")]:
        evaluate += f"; with --split, {' or '.join(others)}"
    none = " (no object of which keeps a stroke)"
    sources = ", ".join(
        f"{n} of {name}{'' if strokes[name] else none}" for name, n in readable.items() if n > 1
    )
    reduce = f"--images up to {sources}" if sources else "cannot: two pictures are needed"
    return f"nseg train: {train}", f"nseg evaluate: {evaluate}", f"nseg data reduce: {reduce}"


def _reduction_findings(root: Path) -> list[Finding]:
    """Whether a reduction was finished, and its annotation files are those that it wrote."""
    findings = []
    if (root / UNFINISHED).exists():
        outcome = "run the same command again to finish it"
        findings.append(Finding("error", UNFINISHED, "", "unfinished reduction", "", outcome))
    if (root / FINISHED).exists():
        try:
            for path in changed_files(root):
                file = path.relative_to(root).as_posix()
                findings.append(Finding("error", file, "", "missing or changed since it was made"))
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            findings.append(Finding("error", FINISHED, "", "unreadable reduction", str(error)))
    return findings


# --- masks ----------------------------------------------------------------------------------------


def _mask_findings(split: Split, file: str, progress: bool) -> list[Finding]:
    """What the usable annotations' masks show, and pictures that have none."""
    findings = []
    title = f"{split.name}: masks"
    for image_id, usable in progress_bar(list(split.annotations.items()), title, progress):
        image = split.images[image_id]
        height, width = image["height"], image["width"]
        if not usable:
            label = f"image {image_id}"
            findings.append(Finding("left out", file, label, "no usable annotation"))
        seen: dict[tuple[int, str | bytes], int] = {}
        for annotation in usable:
            packed = coco.packed_rle(annotation["segmentation"], height, width)
            found = _mask_notes(annotation, int(coco_mask.area(packed)), height, width)
            same = annotation["category_id"], packed["counts"]
            if (first := seen.setdefault(same, annotation["id"])) != annotation["id"]:
                what = f"the mask of annotation {first}"
                found.append(("repeated annotation", what, "it counts twice"))
            label = f"annotation {annotation['id']}"
            findings += [Finding("note", file, label, *note) for note in found]
    return findings


def _mask_notes(annotation: Record, area: int, height: int, width: int) -> list[Note]:
    """What is doubtful about an annotation whose mask has `area` pixels."""
    found, stated = [], annotation["area"]
    if area == 0:
        found.append(("empty mask", "less than a pixel", "no stroke can be made of it"))
    # A pixel more or less is much of a small object.
    elif max(area, stated) > 100 and not 1 / AREA_RATIO <= stated / area <= AREA_RATIO:
        outcome = "the stated area decides which annotation is the largest"
        found.append(
            ("area disagrees with the mask", f"{stated:g}, {area} pixels are set", outcome)
        )
    polygons = annotation["segmentation"]
    if isinstance(polygons, list):
        left, top = (min(min(p[axis::2]) for p in polygons) for axis in (0, 1))
        right, bottom = (max(max(p[axis::2]) for p in polygons) for axis in (0, 1))
        beyond = max(-left, -top, right - width, bottom - height)
        if beyond > 1:
            found.append(("polygon crosses the border", f"by {beyond:g} pixels", "it is cut there"))
    return found


# --- pictures -------------------------------------------------------------------------------------


def _picture_findings(
    split: Split, owners: dict[str, str], progress: bool
) -> tuple[set[int], list[Finding]]:
    """Ids of pictures that cannot be read, and what the files show; `owners` remembers contents
    from split to split."""
    if not split.image_dir.is_dir():
        finding = Finding("error", f"{split.name}/", "", "no folder of pictures", "", REFUSED)
        return set(split.images), [finding]
    findings = []
    known = {split.image_path(image_id) for image_id in split.images}
    extra = sorted(
        path.relative_to(split.image_dir).as_posix()
        for path in split.image_dir.rglob("*")
        if path not in known and path.suffix != ".json" and path.is_file()
    )
    if extra:
        detail = f"{len(extra)}, first {extra[0]!r:.60}"
        findings.append(Finding("left out", f"{split.name}/", "", "files without a record", detail))
    # A missing picture may be there in another folder, case or spelling.
    similar = {_bare(name): name for name in extra}
    unread: set[int] = set()
    # Threads, since Pillow decodes outside of Python's lock.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looked = pool.map(lambda image_id: _look(split, image_id), split.images)
        title = f"{split.name}: pictures"
        for image_id in progress_bar(list(split.images), title, progress):
            problem, found, digest = next(looked)
            file = f"{split.name}/{split.images[image_id]['file_name']}"
            if problem:
                unread.add(image_id)
                if problem[0] == "missing picture" and (there := similar.get(_bare(file))):
                    remedy = f"file_name must be a path from {split.image_dir.name}/"
                    problem = problem[0], f"{there!r:.60} is there: {remedy}"
                outcome = "training and evaluation stop there; a reduction passes it over"
                findings.append(Finding("error", file, f"image {image_id}", *problem, outcome))
            elif (same := owners.setdefault(digest, file)) != file:
                outcome = "it counts twice; between splits, it leaks"
                found.append(("repeated picture", f"the same bytes as {same}", outcome))
            findings += [Finding("note", file, f"image {image_id}", *note) for note in found]
    return unread, findings


def _look(split: Split, image_id: int) -> tuple[Problem | None, list[Note], str]:
    """Decode a picture: why it cannot be read, what is unusual about it, its file's SHA-256."""
    path, record = split.image_path(image_id), split.images[image_id]
    size = record["height"], record["width"]
    if not path.is_file():
        return ("missing picture", ""), [], ""
    found: list[Note] = []
    problem = "unreadable picture"  # what it is called if the next step fails
    try:
        stored = open_picture(path, reduced=True)
        found = notes(stored, size)
        problem = "sizes disagree"
        picture = turn(stored, size)
        problem = "unsupported pixels"
        pixels = to_rgb(picture)
        digest = sha256(path)
    except (DataError, ValueError) as error:
        said = str(error).removeprefix(f"{path}: ")
        if problem == "sizes disagree":
            with suppress(DataError):
                own_size(path, stored, size)
                said += "; as the shapes agree, 'nseg draw' and 'nseg refine' scale the masks"
        return (problem, said), found, ""
    if (pixels == pixels[..., :1]).all():
        found.append(("greyscale picture", "", "read as three equal channels"))
    return None, found, digest


def _bare(name: str) -> str:
    """A file's name without folder, case, %20 for a space, and the two ways to write an accent."""
    bare = unquote(name).replace("\\", "/").rsplit("/", 1)[-1]
    return unicodedata.normalize("NFC", bare).casefold()
