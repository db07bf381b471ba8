"""What each step of a profile makes, and from what: its code, its settings and its inputs.

A sidecar beside the first file that a step makes records this. So a checkout, a copied folder or a
network that came from another machine can be compared with what would be made now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nseg_lib import config as configuration
from nseg_lib.config import THE_EIGHT, ConfigError
from nseg_lib.files import sha256, write_atomic
from nseg_lib.parsing import dotted
from nseg_lib.provenance import sidecar_of
from reproduction import exhibits, profiles
from reproduction.code import code_hashes
from reproduction.notebooks import read_cells, read_parameters
from reproduction.profiles import Profile

RECIPE = "erode"
"""The strokes that networks are trained and judged on, the paper's."""

OTHER_STROKES = ("nseg_lib.strokes.people", "nseg_lib.strokes.plain")
"""Modules with kinds of stroke that no step draws before the chapters, though the function that
draws by name could."""

LOGGED = ("nseg_lib.evaluation.metrics",)
"""Modules whose results a training writes into its log, and that change no weight."""

STARTER = "NSEG_REPRODUCE"
"""Environment variable of a run's jobs: the process number of their ``nseg reproduce``."""

SUMS = "SHA256SUMS"
"""File of a data set with a hash of each split; a step that reads the data set depends on it."""


def artefacts(root: Path, profile: Profile) -> dict[str, Path]:
    """Every step of a profile, after those it needs → the first file it makes, from the root."""
    report, runs = Path("reports", profile.name), Path("runs", profile.name)
    networks = [(model, seed) for model in profile.models for seed in profile.seeds]
    evidence = exhibits.made_by("")[0].files(report)[0]
    found = {kind: getattr(profile, kind).folder / SUMS for kind in ("photos", "data")}
    if found["photos"] == found["data"]:
        del found["photos"]
    for model, seed in networks:
        found[f"train/{model}_seed{seed}"] = runs / model / f"seed{seed}" / "weights.safetensors"
    for name in ("baselines", *(f"{model}_seed{seed}" for model, seed in networks)):
        found[f"evaluate/{name}"] = report / "rows" / f"{name}.csv"
    for name in ("pictures", "redraws"):
        found[f"measure/{name}"] = report / "measured" / f"{name}.csv"
    for name in profiles.chapters(root):
        found[f"chapter/{name}"] = report / "notebooks" / f"{name}.ipynb"
    return found | {"evidence": evidence, "page": report / "index.html"}


def redrawn(profile: Profile) -> list[str]:
    """The models whose scatter over redrawn strokes is measured, with the profile's first seed.

    The paper's two smallest, of those that the profile trains: the claim about their difference
    rests on the fourth decimal.
    """
    return [model for model in THE_EIGHT[:2] if model in profile.models]


def function_of(profile: Profile, step: str) -> str:
    """The name of the function in :mod:`reproduction.steps` that does a step."""
    kind = step.partition("/")[0]
    if kind in ("data", "photos"):
        return f"make_{getattr(profile, kind).source}"
    alone = ("evaluate/baselines", "measure/pictures", "measure/redraws")
    return step.replace("/", "_") if step in alone else kind


def made_from(root: Path, profile: Profile, step: str) -> dict[str, Any]:
    """The code and the settings that decide what a step makes, apart from its inputs.

    Raises:
        ConfigError: the profile has no such step.
    """
    steps = artefacts(root, profile)
    if step not in steps:
        raise ConfigError(f"no step '{step}'; there are: {', '.join(steps)}")
    kind, _, name = step.partition("/")
    start = [("reproduction.steps", function_of(profile, step))]
    if kind == "chapter":
        notebook = root / "notebooks" / f"{name}.ipynb"
        cells = read_cells(notebook)
        # Without the lines that only IPython understands.
        code = (line for c in cells if c["cell_type"] == "code" for line in c["source"].split("\n"))
        python = "\n".join(line for line in code if not line.lstrip().startswith(("%", "!")))
        hashes = code_hashes(root, start, python)
        content = [[c["cell_type"], c["source"], c["metadata"].get("tags", [])] for c in cells]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        hashes[f"notebooks/{notebook.name}"] = digest
    elif kind in ("evidence", "page"):
        made = [x for x in exhibits.EXHIBITS if not x.chapter] if kind == "evidence" else []
        makers = [f"reproduction.{exhibit.maker}".partition(":")[::2] for exhibit in made]
        hashes = code_hashes(root, start + makers)
    else:
        without = OTHER_STROKES + (LOGGED if kind == "train" else ())
        hashes = code_hashes(root, start, without=without)
    return {"code": hashes, "settings": settings(root, profile, step)}


def settings(root: Path, profile: Profile, step: str) -> dict[str, Any]:
    """The values of a profile that change what a step makes, by dotted key."""
    kind, _, name = step.partition("/")
    match kind:
        case "data" | "photos":
            return getattr(profile, kind).model_dump(mode="json", exclude={"folder"})
        case "train":
            model, _, seed = name.rpartition("_seed")
            chosen = {**profile.settings_of(model), "training.seed": int(seed)}
            return dotted(configuration.load(model, chosen).model_dump(mode="json"))
        case "evaluate":
            return {"recipe": RECIPE, "scale": profile.scale}
        case "measure":
            return {"scale": profile.scale}
        case "chapter":  # those of its parameters that a profile gives
            known = {
                "profile": profile.name,
                "data": profile.data.folder.as_posix(),
                "photos": profile.photos.folder.as_posix(),
                "runs": f"runs/{profile.name}",
                "rows": f"reports/{profile.name}/rows",
                "out": f"reports/{profile.name}",
            }
            declared = read_parameters(read_cells(root / "notebooks" / f"{name}.ipynb"), name)
            return {key: value for key, value in known.items() if key in declared}
    # Tables, figures and the page show the note.
    parts = {"seeds", "settings", "own"} if kind == "evidence" else {"models", "seeds"}
    return dotted(profile.model_dump(mode="json", include=parts | {"note"}))


# --- records beside the outputs -------------------------------------------------------------------


def read_record(artefact: Path) -> dict[str, Any]:
    """The sidecar that a step wrote; empty where there is none."""
    try:
        record = json.loads(sidecar_of(artefact).read_bytes())
    except (OSError, ValueError):
        return {}
    told = record.get("made_from") if isinstance(record, dict) else None
    return record if isinstance(told, dict) and "code" in told else {}


def write_record(artefact: Path, record: Mapping[str, Any]) -> None:
    """Replace a sidecar."""
    write_atomic(sidecar_of(artefact), json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def hash_files(root: Path, files: Iterable[Path | str]) -> dict[str, str | None]:
    """Path from ``root`` → SHA-256 of each file; ``None`` where it is missing."""
    return {
        path.relative_to(root).as_posix(): sha256(path) if path.is_file() else None
        for path in (root / file for file in files)
    }


def changes(root: Path, record: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between a step's record and what it would be made from now, in plain words.

    Files that are not there, such as pictures and weights in a fresh checkout, count as unchanged.

    Args:
        record: from :func:`read_record`.
        now: from :func:`made_from`.
    """
    if not record:
        return ["there, but not recorded"]
    before = record["made_from"]
    files = {**before.get("inputs", {}), **record.get("products", {})}
    there = hash_files(root, files)
    why = [f"{path} changed since" for path in files if there[path] not in (None, files[path])]
    for path in sorted(before["code"].keys() | now["code"].keys()):
        old, new = before["code"].get(path), now["code"].get(path)
        if old != new:
            verb = "changed" if old and new else "is new" if new else "is not used any more"
            why.append(f"{path} {verb}")
    for key in sorted(before["settings"].keys() | now["settings"].keys()):
        old, new = (part["settings"].get(key, "unset") for part in (before, now))
        if old != new:
            why.append(f"{key}: {old} → {new}")
    return why
