"""Say what is wrong with a data set, record by record, and what becomes of it.

The records are judged by the functions that `nseg_lib.data.coco.load_split` uses, the pictures by
those that `nseg_lib.data.images.read_image` uses: what is reported here is what happens there.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from rich.console import Console
from rich.progress import track

from nseg_lib.data.coco import (
    Split,
    annotation_mask,
    choose_split,
    find_splits,
    parse_split,
    read_json,
)
from nseg_lib.data.images import notes, open_picture, to_rgb, turn
from nseg_lib.data.records import DataError, Finding, Record
from nseg_lib.data.reduce import FINISHED, UNFINISHED

AREA_RATIO = 1.5
"""An annotation's "area" may differ from its mask's by this factor: COCO's are of the polygons."""

NO_PICTURE = "reading it stops with an error; a reduction passes it over"


@dataclass(frozen=True)
class Report:
    """All that `check` found."""

    root: Path
    findings: tuple[Finding, ...]
    splits: dict[str, dict[str, int]]
    """Split name → numbers of pictures, readable pictures, annotations and usable annotations."""

    @property
    def ok(self) -> bool:
        """Whether the data set can be used as it stands: no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def counts(self) -> dict[tuple[str, str], int]:
        """(severity, problem) → number of findings, errors first, the most frequent first."""
        order = ("error", "left out", "note")
        counted = Counter((f.severity, f.problem) for f in self.findings)
        return dict(sorted(counted.items(), key=lambda c: (order.index(c[0][0]), -c[1], c[0])))

    def lines(self, most: int | None = None) -> list[str]:
        """The report as text: a line per finding (at most `most` of a kind), then the numbers."""
        shown: Counter[tuple[str, str]] = Counter()
        lines = []
        for finding in self.findings:
            kind = finding.severity, finding.problem
            shown[kind] += 1
            if most is None or shown[kind] <= most:
                lines.append(f"{finding.severity}: {finding}")
            elif shown[kind] == most + 1:
                lines.append(f"{finding.severity}: {finding.problem}: and more of the same …")
        lines += [
            f"{n:6} {severity}: {problem}" for (severity, problem), n in self.counts().items()
        ]
        for name, numbers in self.splits.items():
            lines.append(f"{name}: " + ", ".join(f"{n} {what}" for what, n in numbers.items()))
        return lines


def check(root: Path, split: str | None = None, *, progress: bool = False) -> Report:
    """Check the splits of a data set in COCO's layout, without stopping at what it finds.

    Every picture is decoded and every mask rasterised: about 5 ms a picture.

    Args:
        root: the data set's folder.
        split: check this one only.
        progress: show a bar on the error stream.

    Returns:
        A report; a folder that is no data set is an error in it, not an exception.
    """
    root = Path(root)
    findings: list[Finding] = []
    splits: dict[str, dict[str, int]] = {}
    try:
        names = [choose_split(root, split)] if split else list(find_splits(root))
    except DataError as error:
        names = []
        findings.append(Finding("error", "", "", "no data set", str(error)))
    findings += _reduction_findings(root)
    owners: dict[str, str] = {}
    for name in names:
        path = find_splits(root)[name]
        try:
            document = read_json(path)
        except DataError as error:
            file, detail = path.relative_to(root).as_posix(), str(error).removeprefix(f"{path}: ")
            outcome = "the split is refused"
            findings.append(Finding("error", file, "", "unreadable annotations", detail, outcome))
            continue
        file = path.relative_to(root).as_posix()
        loaded, found = parse_split(document, root, name, file)
        found += _mask_findings(loaded, file, progress)
        found += _folder_findings(loaded)
        if loaded.image_dir.is_dir():
            found += _pictures_findings(loaded, owners, progress)
        splits[name] = _numbers(loaded, found)
        if not splits[name]["usable annotations"] and not any(f.severity == "error" for f in found):
            outcome = "nothing can be trained on or judged"
            found.append(Finding("error", file, "", "no usable annotations", "", outcome))
        findings += found
    return Report(root, tuple(findings), splits)


def _numbers(split: Split, findings: list[Finding]) -> dict[str, int]:
    unread = {f.record for f in findings if f.severity == "error" and f.outcome == NO_PICTURE}
    unread_all = not split.image_dir.is_dir()
    usable = sum(map(len, split.annotations.values()))
    return {
        "pictures": len(split.images),
        "readable pictures": 0 if unread_all else len(split.images) - len(unread),
        "annotations": usable + len(split.left_out),
        "usable annotations": usable,
    }


def _reduction_findings(root: Path) -> Iterator[Finding]:
    if (root / UNFINISHED).exists():
        outcome = "run the same command again to finish it"
        yield Finding("error", UNFINISHED, "", "unfinished reduction", "", outcome)
    if not (root / FINISHED).exists():
        return
    try:
        digests = read_json(root / FINISHED)["sha256"]
        for name, digest in digests.items():
            file = Path("annotations", f"instances_{name}.json")
            if hashlib.sha256((root / file).read_bytes()).hexdigest() != digest:
                yield Finding("error", file.as_posix(), "", "changed since it was reduced")
    except (DataError, OSError, KeyError, TypeError, AttributeError) as error:
        yield Finding("error", FINISHED, "", "unreadable reduction", str(error))


# --- masks ----------------------------------------------------------------------------------------


def _mask_findings(split: Split, file: str, progress: bool) -> list[Finding]:
    """What the usable annotations' masks show, and pictures that have none."""
    findings = []
    for image_id, usable in _bar(split.annotations, f"{split.name}: masks", progress):
        image = split.images[image_id]
        if not usable:
            label = f"image {image_id}"
            findings.append(Finding("left out", file, label, "no usable annotation"))
        seen: dict[str, int] = {}
        for annotation in usable:
            label = f"annotation {annotation['id']}"
            for note in _mask_notes(annotation, image["height"], image["width"]):
                findings.append(Finding("note", file, label, *note))
            same = json.dumps([annotation["category_id"], annotation["segmentation"]])
            if (first := seen.setdefault(same, annotation["id"])) != annotation["id"]:
                again = (
                    "repeated annotation",
                    f"the mask of annotation {first}",
                    "it counts twice",
                )
                findings.append(Finding("note", file, label, *again))
    return findings


def _mask_notes(annotation: Record, height: int, width: int) -> Iterator[tuple[str, str, str]]:
    area = int(annotation_mask(annotation, height, width).sum())
    stated = annotation["area"]
    if area == 0:
        yield "empty mask", "less than a pixel", "no stroke can be made of it"
    # A pixel more or less is much of a small object.
    elif max(area, stated) > 100 and not 1 / AREA_RATIO <= stated / area <= AREA_RATIO:
        outcome = "the stated area decides which annotation is the largest"
        yield "area disagrees with the mask", f"{stated:g}, {area} pixels are set", outcome
    if isinstance(annotation["segmentation"], list):
        x = [value for polygon in annotation["segmentation"] for value in polygon[::2]]
        y = [value for polygon in annotation["segmentation"] for value in polygon[1::2]]
        beyond = max(-min(x), -min(y), max(x) - width, max(y) - height)
        if beyond > 1:
            yield "polygon crosses the border", f"by {beyond:g} pixels", "it is cut there"


# --- pictures -------------------------------------------------------------------------------------


def _folder_findings(split: Split) -> Iterator[Finding]:
    if not split.image_dir.is_dir():
        outcome = "the split is refused"
        yield Finding("error", f"{split.name}/", "", "no folder of pictures", "", outcome)
        return
    known = {split.image_path(image_id) for image_id in split.images}
    files = (p for p in split.image_dir.rglob("*") if p.is_file() and p.suffix != ".json")
    extra = sorted(path for path in files if path not in known)
    if extra:
        detail = f"{len(extra)}, first {extra[0].relative_to(split.image_dir).as_posix()!r:.60}"
        yield Finding("left out", f"{split.name}/", "", "files without a record", detail)


def _pictures_findings(split: Split, owners: dict[str, str], progress: bool) -> list[Finding]:
    """What the pictures' files show; `owners` remembers file contents from split to split."""
    findings = []
    for image_id, record in _bar(split.images, f"{split.name}: pictures", progress):
        path, size = split.image_path(image_id), (record["height"], record["width"])
        file, label = f"{split.name}/{record['file_name']}", f"image {image_id}"
        if not path.is_file():
            detail = _elsewhere(path, split)
            findings.append(Finding("error", file, label, "missing picture", detail, NO_PICTURE))
            continue
        findings += [Finding("note", file, label, *note) for note in notes(path, size)]
        problem = "unreadable picture"
        try:
            picture = open_picture(path)
            problem = "sizes disagree"
            picture = turn(picture, size)
            problem = "unsupported pixels"
            pixels = to_rgb(picture)
        except DataError as error:
            detail = str(error).removeprefix(f"{path}: ")
            findings.append(Finding("error", file, label, problem, detail, NO_PICTURE))
            continue
        red, green, blue = (pixels[..., channel] for channel in range(3))
        if np.array_equal(red, green) and np.array_equal(green, blue):
            outcome = "read as three equal channels"
            findings.append(Finding("note", file, label, "greyscale picture", "", outcome))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if owners.setdefault(digest, file) != file:
            outcome = "it counts twice; between splits, it leaks"
            same = f"the same bytes as {owners[digest]}"
            findings.append(Finding("note", file, label, "repeated picture", same, outcome))
    return findings


def _elsewhere(path: Path, split: Split) -> str:
    """A hint where a missing picture may lie: under its bare name, or one without %20."""
    name = path.relative_to(split.image_dir).as_posix().replace("\\", "/")
    for other in (unquote(name), name.rsplit("/", 1)[-1], unquote(name.rsplit("/", 1)[-1])):
        if other != name and (split.image_dir / other).is_file():
            return f"{other!r:.60} is there: file_name must be a path from {split.image_dir.name}/"
    return ""


def _bar(values: Mapping[int, Any], title: str, progress: bool) -> Iterator[tuple[int, Any]]:
    console = Console(stderr=True)
    yield from track(list(values.items()), title, console=console, disable=not progress)
