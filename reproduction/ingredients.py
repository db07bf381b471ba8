"""What each step of a profile is made from: its code, its settings and its inputs.

A sidecar beside the first output of a step keeps this, so that a checkout, a copied folder or a
network that came from another machine can be compared with what would be made now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nseg_lib import config as configuration
from nseg_lib.config import THE_EIGHT, ConfigError
from nseg_lib.files import sha256, write_atomic
from reproduction import code, profiles
from reproduction.profiles import Profile

RECIPE = "erode"
"""The strokes that networks are trained and judged on, the paper's."""

OTHER_STROKES = ("nseg_lib.strokes.people", "nseg_lib.strokes.plain")
"""Modules with kinds of stroke that no step draws before the chapters, though the function that
draws by name could."""

SUMS = "SHA256SUMS"
"""File of a data set with a hash of each split; a step that reads the data set depends on it."""


def names(root: Path, profile: Profile) -> list[str]:
    """All steps of a profile, each after those it needs."""
    networks = [f"{model}_seed{seed}" for model in profile.models for seed in profile.seeds]
    return [
        "data",
        *(["photos"] if profile.photos.folder != profile.data.folder else []),
        *(f"train/{network}" for network in networks),
        "evaluate/baselines",
        *(f"evaluate/{network}" for network in networks),
        "measure/pictures",
        "measure/redraws",
        *(f"chapter/{chapter}" for chapter in profiles.chapters(root)),
        "evidence",
        "page",
    ]


def redrawn(profile: Profile) -> dict[str, list[Any]]:
    """Models and seeds of the networks whose scatter over redrawn strokes is measured.

    The paper's two smallest, of those that the profile trains: the claim about their difference
    rests on the fourth decimal.
    """
    models = [model for model in THE_EIGHT[:2] if model in profile.models]
    return {"model": models, "seed": profile.seeds[:1] * len(models)}


def function_of(profile: Profile, step: str) -> str:
    """The name of the function in :mod:`reproduction.steps` that does a step."""
    kind = step.partition("/")[0]
    if kind in ("data", "photos"):
        source = profile.data if kind == "data" else profile.photos
        return "compose_sample" if source.source == "sample" else "reduce_coco"
    special = {
        "evaluate/baselines": "judge_baselines",
        "measure/pictures": "measure_pictures",
        "measure/redraws": "measure_redraws",
    }
    general = {
        "train": "train",
        "evaluate": "judge_network",
        "chapter": "run_chapter",
        "evidence": "write_evidence",
        "page": "write_page",
    }
    return special.get(step) or general[kind]


def made_from(root: Path, profile: Profile, step: str) -> dict[str, Any]:
    """The code and the settings that decide what a step makes, apart from its inputs.

    Raises:
        ConfigError: the profile has no such step.
    """
    if step not in names(root, profile):
        raise ConfigError(f"no step '{step}'; there are: {', '.join(names(root, profile))}")
    start = [("reproduction.steps", function_of(profile, step))]
    if not step.startswith("chapter/"):
        recipes_alone = step.partition("/")[0] in ("data", "photos", "train", "evaluate", "measure")
        hashes = code.code_hashes(root, start, without=OTHER_STROKES if recipes_alone else ())
        return {"code": hashes, "settings": settings(root, profile, step)}
    notebook = root / "notebooks" / f"{step.partition('/')[2]}.ipynb"
    cells, digest = code.read_notebook(notebook)
    hashes = code.code_hashes(root, start, cells)
    hashes[f"notebooks/{notebook.name}"] = digest
    return {"code": hashes, "settings": settings(root, profile, step)}


def settings(root: Path, profile: Profile, step: str) -> dict[str, Any]:
    """The values of a profile that change what a step makes, by dotted key."""
    kind, _, name = step.partition("/")
    if kind in ("data", "photos"):
        source = profile.data if kind == "data" else profile.photos
        return source.model_dump(mode="json", exclude={"folder"})
    if kind == "train":
        model, _, seed = name.rpartition("_seed")
        chosen = {**profile.settings_of(model), "training.seed": int(seed)}
        return flat(configuration.load(model, chosen).model_dump(mode="json"))
    if kind == "evaluate":
        return {"recipe": RECIPE, "scale": profile.scale}
    if kind == "measure":
        return {"scale": profile.scale}
    if kind == "chapter":
        return chapter_parameters(root, profile, name)
    parts = {"seeds", "settings", "own"} if kind == "evidence" else {"models", "seeds"}
    parts |= {"note"}  # tables, figures and page show it
    return flat(profile.model_dump(mode="json", include=parts))


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def chapter_parameters(root: Path, profile: Profile, chapter: str) -> dict[str, Any]:
    """The values that a profile gives to the parameters that a chapter declares."""
    known = {
        "profile": profile.name,
        "data": profile.data.folder.as_posix(),
        "photos": profile.photos.folder.as_posix(),
        "runs": f"runs/{profile.name}",
        "rows": f"reports/{profile.name}/rows",
        "out": f"reports/{profile.name}",
    }
    declared = code.notebook_parameters(root / "notebooks" / f"{chapter}.ipynb")
    values = {key: value for key, value in known.items() if key in declared}
    return values | profile.chapters.get(chapter, {})


# --- records beside the outputs -------------------------------------------------------------------


def sidecar(artefact: Path) -> Path:
    """The file beside an artefact that says where it came from."""
    return artefact.with_name(f"{artefact.name}.json")


def read_record(artefact: Path) -> dict[str, Any]:
    """The sidecar that a step wrote; empty where there is none."""
    try:
        record = json.loads(sidecar(artefact).read_bytes())
    except (OSError, ValueError):
        return {}
    told = record.get("made_from") if isinstance(record, dict) else None
    return record if isinstance(told, dict) and "code" in told else {}


def write_record(artefact: Path, record: Mapping[str, Any]) -> None:
    """Replace a sidecar."""
    write_atomic(sidecar(artefact), json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def hash_files(root: Path, files: Sequence[Path]) -> dict[str, str | None]:
    """Path from ``root`` → SHA-256 of each file; ``None`` where it is missing."""
    return {
        (root / path).relative_to(root).as_posix(): sha256(path) if path.is_file() else None
        for path in (root / file for file in files)
    }


def recorded(root: Path, artefact: Path) -> dict[str, Any]:
    """What :func:`made_from` was when the artefact was made; ``other`` names files changed since.

    Files that are not there, such as pictures and weights in a fresh checkout, count as unchanged.
    """
    record = read_record(root / artefact)
    found = record.get("made_from", {})
    files = {**found.get("inputs", {}), **record.get("products", {})}
    now = hash_files(root, [Path(path) for path in files])
    other = [path for path in files if now[path] not in (None, files[path])]
    kept = {"code": found.get("code", {}), "settings": found.get("settings", {})}
    return kept | ({"other": other} if other else {})
