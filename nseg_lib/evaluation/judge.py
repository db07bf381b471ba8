"""Judge methods on a data set: write their rows, none of them twice, and the tables of them.

:func:`evaluate_networks` is ``nseg evaluate``: the paper's networks and baselines on coarse masks.
:func:`evaluate_methods` is ``nseg evaluate-refiner``: methods that know any strokes, on every kind
of prompt and corrected stroke by stroke. Both go on where they were stopped.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pandas as pd

from nseg_lib import provenance
from nseg_lib.config import ConfigError
from nseg_lib.data import coco, frozen
from nseg_lib.data.datasets import fingerprint, picture_hashes
from nseg_lib.evaluation import methods, refiner_numbers, refiner_tables, tables
from nseg_lib.evaluation.corrections import CORRECTIONS, corrections
from nseg_lib.evaluation.methods import Method
from nseg_lib.evaluation.rows import RowsOf, check_rows_of, evaluate, note, resume
from nseg_lib.evaluation.stroke_habits import SCRIBBLES
from nseg_lib.evaluation.summary import read_results, summarise
from nseg_lib.files import only_writer, sha256, write_atomic
from nseg_lib.networks.weights import checkpoint_file
from nseg_lib.refine import Refiner
from nseg_lib.strokes.recipes import RECIPES


def evaluate_networks(
    checkpoints: Sequence[Path],
    data: Path,
    out: Path,
    splits: Sequence[str] | None = None,
    scale: float | None = None,
    *,
    every: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Evaluate every checkpoint and every baseline on the frozen strokes of each split.

    Args:
        checkpoints: files of ``nseg train``, or shipped networks' names; each goes by its
            configuration's name and seed.
        data: a reduced or sample data set.
        out: made if missing; ``results.csv`` in it is added to.
        splits: by default those of val and test that there are.
        scale: of the pictures; by default the one that the checkpoints were trained at, else 1.
        every: judge every object of :data:`nseg_lib.data.frozen.MIN_OBJECT` pixels or more in place
            of the largest of each picture. Intervals are of pictures, as always.

    Returns:
        A Markdown table per split; the same as CSV, and a sidecar of provenance, beside each.

    Raises:
        ConfigError: the checkpoints were trained at different scales and none is given, or
            ``results.csv`` has rows of other weights, other data or another scale; or two of the
            checkpoints have one name and seed.
        ValueError: a checkpoint or the data set cannot be used, or another process evaluates into
            ``out``.
    """
    began = time.monotonic()
    # The networks, each file once. Rows tell them apart by name and seed.
    files = list(dict.fromkeys(map(checkpoint_file, checkpoints)))
    refiners = [Refiner.load(path) for path in files]
    networks = [methods.trained(r, path) for r, path in zip(refiners, files, strict=True)]
    owners: dict[tuple[str, int | None], Path] = {}
    for each, path in zip(networks, files, strict=True):
        other = owners.setdefault((each.name, each.seed), path)
        if other != path:
            raise ConfigError(f"{path}: is {each.name}, seed {each.seed}, as {other} is; give one")

    # The baselines see pictures at the networks' scale, so there is one for all.
    scales = sorted({r.scale for r in refiners}) or [1.0]
    if scale is None and len(scales) > 1:
        raise ConfigError(f"the checkpoints were trained at scales {scales}; choose one (--scale)")
    scale = scales[0] if scale is None else scale
    judged = [*methods.baselines(scale), *networks]

    # The pictures and their strokes, which are frozen now where they were not before.
    found = coco.find_splits(data)
    splits = [n for n in ("val", "test") if n in found] if splits is None else splits
    if not splits:
        there = ", ".join(found)
        raise coco.DataError(f"{data}: no split val or test (there: {there}); choose one (--split)")
    samples = {}
    for name in splits:
        split = replace(coco.load_split(data, name), spare=out)
        samples[name] = frozen.EvaluationSamples(split, scale=scale, every=every)
        samples[name].check()

    results, inputs = out / "results.csv", [*files, *(found[name] for name in splits)]
    rows_of = _hashes(data, splits)
    rows_of |= {f"{m.name}, seed {m.seed}": sha256(p) for m, p in zip(networks, files, strict=True)}
    with only_writer(out):
        # Broken rows and rows of other weights or data are refused before anything is written. What
        # these are of is noted before the first one is: a call may be cut off at any time.
        resume(results)
        settings = {
            "splits": list(splits),
            "scale": scale,
            "recipe": "erode",
            "objects": "every" if every else "largest",
            "dropped": {name: len(s.dropped) for name, s in samples.items()},
            "rows_of": check_rows_of(results, rows_of, scale),
        }
        provenance.write_sidecar(results, settings, inputs, 0)
        for name in splits:
            evaluate(judged, samples[name], results, progress=progress)

        # The tables are made of the file of rows alone.
        frame = read_results(results)
        written = []
        for name in splits:
            summary, table = summarise(frame, split=name, recipe="erode"), out / f"table_{name}.md"
            write_atomic(table.with_suffix(".csv"), tables.to_csv(summary))
            write_atomic(table, tables.to_markdown(summary))
            provenance.write_sidecar(table, settings, [results], time.monotonic() - began)
            written.append(table)
        provenance.write_sidecar(results, settings, inputs, time.monotonic() - began)
        return written


# --- any strokes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is measured, on which data. Strokes that people drew count too where the environment
    variable NSEG_SCRIBBLES names their folder.

    Raises:
        ValueError: an unknown kind of prompt or way to draw corrections.
    """

    data: Path
    out: Path
    """``rows/METHOD.csv`` in it has one answer to each prompt, ``corrections/METHOD.csv`` one row
    per stroke."""
    split: str = "test"
    kinds: Sequence[str] = (
        *RECIPES, "sparse", "sparse_object", "dense", "plain_sparse", "plain_object",
    )  # fmt: skip
    """Of prompts, of :data:`nseg_lib.data.frozen.KINDS`."""
    ways: Sequence[str] = tuple(CORRECTIONS)
    """How to draw corrections, of :data:`nseg_lib.evaluation.corrections.CORRECTIONS`."""
    pictures: int | None = None
    """Only so many of the split, the first by id; for rehearsals."""
    corrected: int = 60
    """Pictures that are corrected; 0 for none."""

    def __post_init__(self) -> None:
        for what, given, allowed in (
            ("kind of prompt", self.kinds, frozen.KINDS),
            ("way to draw corrections", self.ways, CORRECTIONS),
        ):
            if unknown := [name for name in given if name not in allowed]:
                raise ValueError(f"unknown {what} '{unknown[0]}'; one of: {', '.join(allowed)}")


def evaluate_methods(methods: Sequence[Method], plan: Plan, *, progress: bool = True) -> list[Path]:
    """Evaluate each method, then write tables and figure of all rows that ``plan.out`` holds.

    Raises:
        ValueError: as :func:`evaluate_method`, or there are no rows of identity, which every table
            needs, and it is not among the methods; nothing is measured then.
    """
    coco.choose_split(plan.data, plan.split)
    if all(method.name != "identity" for method in methods):
        refiner_numbers.check_identity(plan.out)
    for method in methods:
        _files_of(method, plan)
    for method in methods:
        evaluate_method(method, plan, progress=progress)
    return refiner_tables.write(plan.out)


def evaluate_method(method: Method, plan: Plan, *, progress: bool = True) -> None:
    """Fill both files of one method, with a sidecar of provenance each.

    A call that adds no row leaves a sidecar as it is.

    Raises:
        ConfigError: there are rows of other weights or other data under the method's name.
        ValueError, coco.DataError: data, a kind or a file of rows cannot be used.
    """
    split = replace(coco.load_split(plan.data, plan.split), spare=plan.out)
    people = os.environ.get(SCRIBBLES)
    for file, rows_of in _files_of(method, plan).items():
        corrects, start = file.parent.name == "corrections", time.monotonic()
        if corrects and not plan.corrected:
            continue
        settings = {"method": method.name, "seed": method.seed, "rows_of": rows_of}
        # The weights are no input where nobody knows whether all rows are of them.
        inputs = [coco.find_splits(plan.data)[plan.split]]
        inputs += [method.weights] if method.weights and method.name in rows_of else []
        if not file.exists():  # noted before the first row: a call may be cut off at any time
            provenance.write_sidecar(file, settings, inputs, 0)
        if corrects:
            count = min(plan.corrected, plan.pictures or plan.corrected)
            corrections(method, split, file, plan.ways, pictures=count, progress=progress)
        else:
            prompts = [frozen.freeze_prompts(split, kind).prompts for kind in plan.kinds]
            total = sum(len(list(of_kind)[: plan.pictures]) for of_kind in prompts)
            samples = chain(
                frozen.prompt_samples(split, plan.kinds, pictures=plan.pictures),
                frozen.human_samples(Path(people), plan.pictures) if people else (),
            )
            evaluate([method], samples, file, released_rule=False, total=total, progress=progress)
        # What the file holds by now, whatever this call added.
        frame = pd.read_csv(file)
        kind = "strokes" if corrects else "recipe"
        seen = frame[["split", kind, "image_id"]].drop_duplicates()
        objects = sorted(Counter(zip(seen["split"], seen[kind], strict=True)).items())
        held = [k for (s, k), _ in objects if s == split.name and k in frozen.KINDS]
        of_rows = [frozen.freeze_prompts(split, k) for k in held]
        note(
            file, settings, [*inputs, *(p.path for p in of_rows)], time.monotonic() - start,
            objects={f"{s}, {k}": n for (s, k), n in objects},
            dropped={p.kind: len(p.dropped) for p in of_rows if p.dropped},
        )  # fmt: skip


def _files_of(method: Method, plan: Plan) -> dict[Path, RowsOf]:
    """A method's two files of rows, each with the weights and the data that its rows are of."""
    rows_of: RowsOf = {
        method.name: sha256(method.weights) if method.weights else None,
        **_hashes(plan.data, [plan.split]),
    }
    files = (plan.out / folder / f"{method.name}.csv" for folder in ("rows", "corrections"))
    return {file: check_rows_of(file, rows_of) for file in files}


def _hashes(data: Path, splits: Sequence[str]) -> RowsOf:
    """Hashes of each split's annotations and pictures, under the names that messages use."""
    hashes: RowsOf = {f"split {name}": h for name, h in fingerprint(data, splits).items()}
    return hashes | {f"set of {n} pictures": h for n, h in picture_hashes(data, splits).items()}
