"""The graph of steps: what each is made from, and whether what is there still belongs to that.

data → train (model × seed) → evaluate (model × seed, and the baselines), measure → chapters and
evidence (claims, every run, what moves a number) → page.

A step is judged by content, not by times of files: beside its artefact lies a sidecar with the
hash of everything that it was made from. So a fresh checkout, a copied folder or a network that
came from another machine stays what it is, and what changed can be named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nseg_lib import config as configuration
from nseg_lib.config import THE_EIGHT
from reproduction.exhibits import made_by
from reproduction.ingredients import Hashes, hash_files, hash_splits, read_notebook, sources
from reproduction.kept import KEPT
from reproduction.paper import LATENCY
from reproduction.profiles import Profile

RECIPE = "erode"
"""The strokes that networks are trained and judged on, the paper's."""

COMMITTED = {
    "09_draw_your_own": ("nseg_lib/weights/SHA256SUMS",),
    "10_beyond_the_paper": (
        "nseg_lib/weights/SHA256SUMS",
        *(
            f"reports/refiner/{name}.csv"
            for name in ("strokes", "training", "overview", "curve", "corrections", "prompts")
        ),
        "reports/refiner/ablation/ablation.csv",
    ),
}
"""Committed files that a chapter reads, beside what its parameters name: where there are any."""


@dataclass(frozen=True)
class Step:
    """One job of the graph."""

    name: str
    """``data``, ``train/<model>_seed<k>``, ``evaluate/baselines``, ``measure/redraws``,
    ``chapter/00_…``, ``evidence``, ``page``."""
    artefact: Path
    """What it is about: a data set, weights, rows, an executed notebook, the page."""
    needs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """Modules it starts from; those they import count too."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Callable[[], Hashes] = dict
    """What it reads besides code and settings, hashed when asked."""
    products: Callable[[], Hashes] = dict
    """What it makes; gone or changed, the step is stale."""
    weight: int = 0
    """Of the steps that can start, the heaviest does."""

    @property
    def kind(self) -> str:
        """``data``, ``train``, ``evaluate``, ``measure``, ``chapter``, ``evidence`` or ``page``."""
        first = self.name.partition("/")[0]
        return "data" if first == "photos" else first

    @property
    def sidecar(self) -> Path:
        """Where :func:`nseg_lib.provenance.write_sidecar` writes for the artefact."""
        return self.artefact.with_name(f"{self.artefact.name}.json")

    @property
    def begun(self) -> Path:
        """While the artefact is being made: what from."""
        return self.artefact.with_name(f"{self.artefact.name}.begun")


@dataclass(frozen=True)
class State:
    """``done``, ``stale`` or ``missing``, and why."""

    kind: str
    why: tuple[str, ...] = ()


def made_from(root: Path, step: Step) -> Hashes:
    """Everything that decides what a step makes: settings, code and inputs."""
    settings = {f"setting {key}": value for key, value in _flat(step.settings).items()}
    return {**settings, **hash_files(root, sources(root, step.modules)), **step.inputs()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def read_record(step: Step) -> dict[str, Any]:
    """The sidecar that the graph wrote; empty where there is none."""
    try:
        record = json.loads(step.sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and "made_from" in record else {}


def state(root: Path, step: Step) -> State:
    """Compare what is there with what it would be made from now."""
    record = read_record(step)
    if not record:
        if step.begun.exists():
            return State("missing", ("begun, not finished",))
        there = step.artefact.exists()
        return State("missing", ("there, but not recorded" if there else "not made yet",))
    why = changes(record["made_from"], made_from(root, step))
    products = step.products()
    for name in record["products"].keys() | products.keys():
        if products.get(name) is None:
            why.append(f"{name} is gone")
        elif record["products"].get(name) != products[name]:
            why.append(f"{name} was changed since")
    return State("stale", tuple(why)) if why else State("done")


def changes(before: Hashes, now: Hashes) -> list[str]:
    """A few words for every ingredient that is not what it was."""
    why = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key.startswith("setting "):
            why.append(f"{key.removeprefix('setting ')}: {_short(old)} → {_short(new)}")
        elif key not in now:
            why.append(f"{key} is not used any more")
        elif new is None:
            why.append(f"{key} is gone")
        else:
            why.append(f"{key} changed" if key in before else f"{key} is new")
    return why


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "…"


def plan(root: Path, steps: Mapping[str, Step]) -> dict[str, State]:
    """The state of every step; where one is to be made again, those after it wait for it."""
    states: dict[str, State] = {}
    for name, step in steps.items():
        own = state(root, step)
        waits = [need for need in step.needs if states[need].kind != "done"]
        if waits and own.kind == "done":
            more = f" and {len(waits) - 1} more" if len(waits) > 1 else ""
            own = State("stale", (f"to be compared after {waits[0]}{more}",))
        states[name] = own
    return states


def build(root: Path, profile: Profile) -> dict[str, Step]:
    """All steps of a profile by name, each after those it needs."""
    data = [_data_step(root, profile, "data")]
    if profile.photos.folder != profile.data.folder:
        data.append(_data_step(root, profile, "photos"))
    train = [
        _train_step(root, profile, model, seed)
        for model in profile.models
        for seed in profile.seeds
    ]
    evaluate = [_evaluate_step(root, profile, run) for run in (None, *train)]
    readable = {"data": data[:1], "photos": data[-1:], "runs": train, "rows": evaluate}
    notebooks = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    chapters = [_chapter_step(root, profile, notebook, readable) for notebook in notebooks]
    measure = _measure_steps(root, profile, train)
    evidence = _evidence_step(root, profile, (*evaluate, *measure))
    before = (*data, *train, *evaluate, *measure, *chapters, evidence)
    page = _page_step(root, profile, before)
    return {step.name: step for step in (*before, page)}


def _data_step(root: Path, profile: Profile, name: str) -> Step:
    source = profile.data if name == "data" else profile.photos
    return Step(
        name,
        root / source.folder,
        modules=(
            "nseg_lib.sample" if source.source == "sample" else "nseg_lib.data.reduce",
            "nseg_lib.data.datasets",  # it freezes the evaluation strokes
        ),
        settings=source.model_dump(mode="json", exclude={"folder"}),
        products=lambda: hash_splits(root, source.folder),
        weight=99,
    )


def _train_step(root: Path, profile: Profile, model: str, seed: int) -> Step:
    config = configuration.load(model, {**profile.settings_of(model), "training.seed": seed})
    folder = root / "runs" / profile.name / model / f"seed{seed}"
    files = [folder / name for name in ("weights.safetensors", "log.csv", "steps.csv")]
    return Step(
        f"train/{model}_seed{seed}",
        files[0],
        ("data",),
        ("nseg_lib.training.unet",),
        config.model_dump(mode="json"),
        lambda: hash_splits(root, profile.data.folder, ("train", "val")),
        lambda: hash_files(root, files),
        weight=10 + max(config.model.widths) // 8,
    )


def _evaluate_step(root: Path, profile: Profile, run: Step | None) -> Step:
    """The rows of one trained network, or those of all baselines where ``run`` is None."""
    name = run.name.partition("/")[2] if run else "baselines"
    rows = root / "reports" / profile.name / "rows" / f"{name}.csv"
    method = "nseg_lib.refine" if run else "nseg_lib.evaluation.baselines"
    weights = [run.artefact] if run else []
    return Step(
        f"evaluate/{name}",
        rows,
        ("data", run.name) if run else ("data",),
        ("nseg_lib.evaluation.rows", "nseg_lib.data.datasets", method),
        {"recipe": RECIPE, "scale": profile.scale},
        lambda: {
            **hash_splits(root, profile.data.folder, ("val", "test")),
            **hash_files(root, weights),
        },
        lambda: hash_files(root, [rows]),
        weight=5,
    )


def redrawn(profile: Profile) -> list[tuple[str, int]]:
    """Model and seed of the networks whose scatter over redrawn strokes is measured.

    The paper's two smallest, of those that the profile trains: the claim about their difference
    rests on the fourth decimal.
    """
    return [(name, profile.seeds[0]) for name in THE_EIGHT[:2] if name in profile.models]


def _measure_steps(root: Path, profile: Profile, train: Iterable[Step]) -> list[Step]:
    """``measure/pictures`` and ``measure/redraws``, see :mod:`reproduction.measure`."""
    folder = root / "reports" / profile.name / "measured"
    wanted = {f"train/{model}_seed{seed}" for model, seed in redrawn(profile)}
    networks = [step for step in train if step.name in wanted]

    def step(name: str, splits: tuple[str, ...], of: list[Step]) -> Step:
        target = folder / f"{name}.csv"
        return Step(
            f"measure/{name}",
            target,
            ("data", *(network.name for network in of)),
            ("reproduction.measure", *(("nseg_lib.refine",) if of else ())),
            {"scale": profile.scale},
            lambda: {
                **hash_splits(root, profile.data.folder, splits),
                **hash_files(root, [network.artefact for network in of]),
            },
            lambda: hash_files(root, [target]),
            weight=5,
        )

    return [
        step("pictures", ("train", "val", "test"), []),
        step("redraws", ("test",), networks),
    ]


def _evidence_step(root: Path, profile: Profile, before: Iterable[Step]) -> Step:
    out, trained = root / "reports" / profile.name, root / "runs" / profile.name

    def inputs() -> Hashes:
        files = [*out.glob("rows/*.csv"), *out.glob("measured/*.csv"), root / LATENCY]
        files += [out / "rows" / "baselines.csv.json"]
        files += [path for name in KEPT for path in trained.glob(f"*/seed*/{name}")]
        return hash_files(root, sorted(files))

    def products() -> Hashes:
        files = [path for exhibit in made_by("") for path in exhibit.files(out)]
        return hash_files(root, [*files, *sorted(out.glob("training/*/*/*"))])

    return Step(
        "evidence",
        out / "tables" / "claims.csv",
        tuple(step.name for step in before),
        ("reproduction.exhibits",),
        profile.model_dump(mode="json", include={"seeds", "settings", "own"}),
        inputs,
        products,
        weight=2,
    )


def _chapter_step(
    root: Path, profile: Profile, notebook: Path, readable: Mapping[str, list[Step]]
) -> Step:
    """A chapter needs what its parameters name: ``data``, ``photos``, ``runs`` or ``rows``."""
    out = root / "reports" / profile.name
    declared, digest, modules = read_notebook(notebook)
    needs = {s.name: s for key, steps in readable.items() if key in declared for s in steps}
    executed = out / "notebooks" / notebook.name
    files = [executed, *(p for exhibit in made_by(notebook.stem) for p in exhibit.files(out))]

    def inputs() -> Hashes:
        hashes: Hashes = {f"notebooks/{notebook.name}": digest}
        hashes |= hash_files(root, [root / name for name in COMMITTED.get(notebook.stem, ())])
        for step in needs.values():
            hashes |= step.products()
        return hashes

    return Step(
        f"chapter/{notebook.stem}",
        executed,
        tuple(needs),
        ("reproduction.notebooks", *modules),
        chapter_parameters(profile, notebook.stem, declared),
        inputs,
        lambda: hash_files(root, files),
        weight=1,
    )


def chapter_parameters(profile: Profile, chapter: str, declared: Iterable[str]) -> dict[str, Any]:
    """The values that a profile gives to the parameters that a chapter declares."""
    known = {
        "profile": profile.name,
        "data": profile.data.folder.as_posix(),
        "photos": profile.photos.folder.as_posix(),
        "runs": f"runs/{profile.name}",
        "rows": f"reports/{profile.name}/rows",
        "out": f"reports/{profile.name}",
    }
    values = {key: value for key, value in known.items() if key in declared}
    return values | profile.chapters.get(chapter, {})


def _page_step(root: Path, profile: Profile, before: Iterable[Step]) -> Step:
    out = root / "reports" / profile.name
    parts = [step for step in before if step.kind in {"train", "evaluate", "chapter", "evidence"}]
    pages = [s.artefact.with_suffix(".html") for s in parts if s.kind == "chapter"]

    def inputs() -> Hashes:
        hashes: Hashes = {}
        for step in parts:
            hashes |= step.products()
        return hashes

    return Step(
        "page",
        out / "index.html",
        tuple(step.name for step in parts),
        ("reproduction.page",),
        {"models": profile.models, "seeds": profile.seeds},
        inputs,
        lambda: hash_files(root, [out / "index.html", out / "README.md", *pages]),
    )
