"""The graph on a project of two networks and two chapters: made once, then changed piece by piece.

One run of the whole graph is shared; each test works on a copy of it, which must be as good.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from toy_project import make_project, nseg

from nseg_lib import config
from nseg_lib.cli import overrides
from nseg_lib.config import ConfigError
from nseg_lib.provenance import PROJECT
from reproduction import graph, notebooks, pipeline, profiles, steps
from reproduction.ingredients import hash_file, sources

TINY, RES = "train/tiny16-32_bce-dice_seed42", "train/res16-32_bce-dice_seed42"
ALL = [
    "data",
    TINY,
    RES,
    "evaluate/baselines",
    TINY.replace("train", "evaluate"),
    RES.replace("train", "evaluate"),
    "measure/pictures",
    "measure/redraws",
    "chapter/01_dataset_reduction",
    "chapter/07_evaluation",
    "evidence",
    "page",
]
COMPARED = "to be compared after"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished project, and what the console said; do not write to it."""
    root = make_project(tmp_path_factory.mktemp("made"))
    run = nseg(root, "reproduce", "--profile", "toy")
    assert run.returncode == 0, run.stdout + run.stderr
    return root, run.stdout


@pytest.fixture
def project(made, tmp_path):
    """A copy of the finished project, with other times of its files."""
    shutil.copytree(made[0], tmp_path / "copy", copy_function=shutil.copy)
    return tmp_path / "copy"


def states(root: Path) -> dict[str, graph.State]:
    return graph.plan(root, graph.build(root, profiles.load(root, "toy")))


def to_do(root: Path) -> dict[str, str]:
    """Step → first reason, of those not done."""
    return {name: s.why[0] for name, s in states(root).items() if s.kind != "done"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def do(root: Path, name: str) -> None:
    """One step in this process, as its own process would do it."""
    profile = profiles.load(root, "toy")
    before = os.getcwd()
    os.chdir(root)
    try:
        steps.run_step(steps.Job(root, profile, graph.build(root, profile)[name], None))
    finally:
        os.chdir(before)


# --- the whole graph ------------------------------------------------------------------------------


def test_everything_is_made_and_told_in_order(made):
    root, said = made
    lines = said.splitlines()
    assert lines[0] == "12 of 12 steps of 'toy' to do:"
    assert "  data: missing (there, but not recorded)" in lines
    for name in ALL:
        assert re.search(rf"^{name}: done in \d+ s$", said, re.MULTILINE), name
    assert re.search(rf"^{TINY}: epoch   0  train loss", said, re.MULTILINE)
    assert lines[-1] == str(root / "reports" / "toy" / "index.html")
    assert list(states(root)) == ALL
    assert to_do(root) == {}


def test_nothing_is_left_lying_about(made):
    left = [p for p in made[0].rglob("*") if p.suffix in {".begun", ".part"} or ".part." in p.name]
    assert left == []
    assert not (made[0] / "reports" / "toy" / "failed").exists()


def test_the_second_time_there_is_nothing_to_do(project):
    began = time.monotonic()
    run = nseg(project, "reproduce", "--profile", "toy")
    assert time.monotonic() - began < 20
    assert run.stdout.splitlines()[0] == "nothing to do: all 12 steps of 'toy' are done"
    assert run.stdout.rstrip().endswith("reports/toy/index.html")
    assert run.returncode == 0


def test_every_artefact_has_a_sidecar(made):
    for step in graph.build(made[0], profiles.load(made[0], "toy")).values():
        record = json.loads(step.sidecar.read_text())
        assert record["step"] == step.name
        assert {"commit", "packages", "device", "seconds", "finished", "made_from"} <= set(record)
        assert None not in record["products"].values()
        assert str(made[0]) not in step.sidecar.read_text()


# --- what makes a step stale ----------------------------------------------------------------------


def test_a_changed_metric_is_evaluated_again_but_not_trained(project):
    edit(project / "nseg_lib" / "metrics.py", "import", "WORSE = 1\nimport")
    found = to_do(project)
    assert [name for name in found if name.startswith("train") or name == "data"] == []
    for name in ALL[3:6]:
        assert found[name] == "nseg_lib/evaluation/metrics.py changed"
    assert found["chapter/07_evaluation"] == "nseg_lib/evaluation/metrics.py changed"
    assert "chapter/01_dataset_reduction" not in found
    assert "nseg_lib/evaluation/metrics.py changed" in states(project)["page"].why or found[
        "page"
    ].startswith(COMPARED)


def test_a_changed_loss_is_trained_again(project):
    edit(project / "nseg_lib" / "losses.py", "import", "SHARPER = 1\nimport")
    found = to_do(project)
    assert found[TINY] == found[RES] == "nseg_lib/training/losses.py changed"
    assert found[ALL[4]].startswith(COMPARED)
    assert "evaluate/baselines" not in found
    assert "data" not in found


def test_words_make_nothing_stale(project):
    losses = project / "nseg_lib" / "losses.py"
    text = losses.read_text()
    losses.write_text(text.replace('"""', '"""Better said: ', 1) + "\n# and a comment\n")
    notebook = project / "notebooks" / "07_evaluation.ipynb"
    opened = nbformat.read(notebook, as_version=4)
    opened.cells[-1].outputs = [nbformat.v4.new_output("stream", text="saved with outputs")]
    nbformat.write(opened, notebook)
    assert to_do(project) == {}


def test_a_changed_setting_names_both_values(project):
    edit(project / "workflow" / "profiles" / "toy.yml", "epochs: 1", "epochs: 2")
    assert to_do(project)[TINY] == "training.epochs: 1 → 2"
    assert "evaluate/baselines" not in to_do(project)


def test_a_changed_notebook_runs_again_alone(project):
    edit(project / "scripts" / "01_dataset_reduction.py", "greeting =", "more = 1\ngreeting =")
    notebooks.sync(project)
    assert to_do(project) == {
        "chapter/01_dataset_reduction": "notebooks/01_dataset_reduction.ipynb changed",
        "page": f"{COMPARED} chapter/01_dataset_reduction",
    }


def test_a_changed_picture_reaches_what_reads_it(project):
    picture = next((project / "data" / "toy" / "test").iterdir())
    picture.write_bytes(picture.read_bytes() + b"\0")
    found = states(project)
    assert found["data"].why == ("data/toy:test was changed since",)
    assert found["evaluate/baselines"].why == ("data/toy:test changed",)
    assert found[TINY].why == (f"{COMPARED} data",)
    before = (project / "runs/toy/tiny16-32_bce-dice/seed42/weights.safetensors").stat().st_mtime_ns
    do(project, "data")
    do(project, TINY)
    after = (project / "runs/toy/tiny16-32_bce-dice/seed42/weights.safetensors").stat().st_mtime_ns
    assert after == before
    assert "data" not in to_do(project)
    assert TINY not in to_do(project)


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("reports/toy/figures/figure1.pdf", "chapter/01_dataset_reduction"),
        ("reports/toy/tables/table1.tex", "chapter/07_evaluation"),
        ("reports/toy/notebooks/07_evaluation.ipynb", "chapter/07_evaluation"),
        ("reports/toy/rows/baselines.csv", "evaluate/baselines"),
        ("runs/toy/res16-32_bce-dice/seed42/weights.safetensors", RES),
        ("reports/toy/index.html", "page"),
    ],
)
def test_what_is_gone_or_was_touched_up_is_made_again(project, path, step):
    (project / path).write_bytes((project / path).read_bytes() + b" ")
    assert states(project)[step].why == (f"{path} was changed since",)
    (project / path).unlink()
    assert states(project)[step].why == (f"{path} is gone",)
    untouched = ALL[: ALL.index(step)]
    assert set(to_do(project)).isdisjoint(untouched)


def test_a_network_trained_by_hand_is_taken_over(project):
    folder = project / "runs/toy/tiny16-32_bce-dice/seed42"
    before = (folder / "weights.safetensors").stat().st_mtime_ns
    (folder / "weights.safetensors.json").unlink()
    assert to_do(project)[TINY] == "there, but not recorded"
    do(project, TINY)
    assert list(to_do(project)) == ["evidence", "page"], "the list of runs says where from"
    sidecar = folder / "weights.safetensors.json"
    ended = "2020-01-01T00:00:00+00:00"
    known = json.loads(sidecar.read_text()) | {"finished": ended}
    del known["made_from"]  # as training by hand leaves it
    sidecar.write_text(json.dumps(known))
    do(project, TINY)
    record = json.loads(sidecar.read_text())
    assert record["made_from"], "recorded anew"
    assert record["finished"] == ended, "when it was trained, not when it was recorded"
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before


def test_rows_without_a_record_are_made_anew(project):
    rows = project / "reports/toy/rows/tiny16-32_bce-dice_seed42.csv"
    text = rows.read_text()
    header, first, *rest = text.splitlines(keepends=True)
    rows.write_text(header + first.replace("0.", "1.", 1) + "".join(rest))  # another network's
    rows.with_name(f"{rows.name}.json").write_text("<<<<<<< HEAD")
    do(project, TINY.replace("train", "evaluate"))
    seconds = header.strip().split(",").index("seconds")
    made, before = (
        [r[:seconds] for r in csv.reader(io.StringIO(t))] for t in (rows.read_text(), text)
    )
    assert made == before


def test_a_stale_network_is_trained_anew_and_the_old_one_kept_aside(project):
    edit(project / "workflow" / "profiles" / "toy.yml", "epochs: 1", "epochs: 2")
    folder = project / "runs/toy/tiny16-32_bce-dice"
    old = (folder / "seed42" / "weights.safetensors").read_bytes()
    do(project, TINY)
    assert (folder / "seed42.replaced" / "weights.safetensors").read_bytes() == old
    assert len((folder / "seed42" / "log.csv").read_text().splitlines()) == 3
    assert TINY not in to_do(project)


def test_trained_networks_are_kept_on_request_and_say_so(project):
    edit(project / "nseg_lib" / "losses.py", "import", "SHARPER = 1\nimport")
    steps_ = graph.build(project, profiles.load(project, "toy"))
    lines: list[str] = []
    pipeline._keep_trained(project, steps_, lines.append)
    assert lines == [f"kept {n} though nseg_lib/training/losses.py changed" for n in (TINY, RES)]
    assert list(to_do(project)) == ["evidence", "page"], "the list of runs says so"
    record = graph.read_record(steps_[TINY])
    assert record["kept_despite"] == ["nseg_lib/training/losses.py changed"]
    edit(project / "workflow" / "profiles" / "toy.yml", "epochs: 1", "epochs: 2")
    steps_ = graph.build(project, profiles.load(project, "toy"))
    pipeline._keep_trained(project, steps_, lines.append)
    assert lines[-1] == f"cannot keep {RES}: training.epochs: 1 → 2"
    assert TINY in to_do(project)


def test_a_setting_that_came_later_leaves_trained_networks_as_they_are(project):
    folder = project / "runs/toy/tiny16-32_bce-dice/seed42"
    for name, keys in (
        ("run.json", ("config", "training")),
        ("weights.safetensors.json", ("made_from",)),
    ):
        values = json.loads((folder / name).read_text())
        part = values
        for key in keys:
            part = part[key]
        part.pop("precision", None), part.pop("setting training.precision", None)
        (folder / name).write_text(json.dumps(values))
    assert to_do(project)[TINY] == "training.precision: unset → 32-true"
    lines: list[str] = []
    pipeline._keep_trained(
        project, graph.build(project, profiles.load(project, "toy")), lines.append
    )
    assert lines == [f"kept {TINY} though training.precision: unset → 32-true"]
    assert TINY not in to_do(project)


def test_what_cannot_be_kept_is_not_trained_anew_unasked(project):
    edit(project / "workflow" / "profiles" / "toy.yml", "epochs: 1", "epochs: 2")
    weights = project / "runs/toy/tiny16-32_bce-dice/seed42/weights.safetensors"
    before = weights.stat().st_mtime_ns
    run = nseg(project, "reproduce", "--profile", "toy", "--keep-trained")
    assert run.returncode != 0
    assert f"nothing was trained: without --keep-trained, {TINY}, {RES} are made" in run.stdout
    assert weights.stat().st_mtime_ns == before
    assert not weights.parent.with_name("seed42.replaced").exists()


def test_data_are_made_before_networks_are_held_against_them(project):
    losses = project / "nseg_lib" / "losses.py"
    losses.write_text(losses.read_text() + "SHARPER = 1\n")
    (strokes,) = (project / "data/toy/strokes").glob("val_erode*")
    good = strokes.read_bytes()
    strokes.write_bytes(good + b" ")
    run = nseg(project, "reproduce", "--profile", "toy", "--keep-trained")
    assert f"kept {TINY} though nseg_lib/training/losses.py changed" in run.stdout
    assert strokes.read_bytes() == good
    assert not list(project.glob("runs/toy/*/seed42.replaced"))
    assert run.returncode == 0
    assert not to_do(project)


def test_a_run_that_was_cut_short_is_taken_over_on_request_and_listed_so(project):
    sidecar = project / "runs/toy/tiny16-32_bce-dice/seed42/weights.safetensors.json"
    sidecar.unlink()
    edit(project / "workflow" / "profiles" / "toy.yml", "epochs: 1", "epochs: 2")
    profile = profiles.load(project, "toy")
    steps_ = graph.build(project, profile)
    lines: list[str] = []
    pipeline._keep_trained(project, steps_, lines.append)
    assert lines[0] == f"took over {TINY}"
    assert TINY not in to_do(project)
    assert json.loads(sidecar.read_text())["taken_over"] == ["training.epochs: 1 of 2"]
    do(project, "evidence")
    listed = (project / "reports/toy/tables/runs.csv").read_text()
    assert 'tiny16-32_bce-dice, seed 42","cut short, 1 of 2 epochs"' in listed
    sidecar.unlink()
    edit(project / "workflow" / "profiles" / "toy.yml", "data.scale: 0.25", "data.scale: 0.5")
    steps_ = graph.build(project, profiles.load(project, "toy"))
    pipeline._keep_trained(project, steps_, lines.append)
    assert f"cannot take over {TINY}: data.scale: 0.25 → 0.5, training.epochs: 1 → 2" in lines


def test_only_what_is_imported_counts():
    names = {p.name for p in sources(PROJECT, ["nseg_lib.training.unet"])}
    assert {"training.py", "losses.py", "strokes.py", "unet.py"} <= names
    assert names.isdisjoint({"metrics.py", "evaluation.py", "figures.py", "cli.py"})
    assert PROJECT / "reports" / "paper.yml" in sources(PROJECT, ["reproduction.paper"])
    assert PROJECT / "nseg_lib" / "refine.py" in sources(PROJECT, ["nseg_lib.Refiner"])


def test_a_hash_of_code_ignores_words_alone(tmp_path):
    path = tmp_path / "a.py"
    hashes = []
    for text in ('X = 1\n"""Why."""\n', "X = 1  # no\n", "X = 2\n", "X = '1'\n", "X = = 1\n"):
        path.write_text(text)
        os.utime(path, ns=(0, len(hashes)))
        hashes.append(hash_file(path))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


# --- failures and kills ---------------------------------------------------------------------------


def test_a_failing_chapter_is_named_and_spares_the_good_one(project):
    good = (project / "reports/toy/notebooks/01_dataset_reduction.ipynb").read_bytes()
    script = project / "scripts" / "01_dataset_reduction.py"
    script.write_text(script.read_text() + "\n# %%\nraise ValueError('no luck')\n")
    notebooks.sync(project)
    run = nseg(project, "reproduce", "--profile", "toy")
    assert run.returncode == 1
    assert (
        "chapter/01_dataset_reduction: FAILED: 01_dataset_reduction: cell 6/6 failed: "
        in run.stdout
    )
    assert "ValueError: no luck; see reports/toy/failed/01_dataset_reduction.ipynb" in run.stdout
    assert "not done: chapter/01_dataset_reduction, page" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert (project / "reports/toy/notebooks/01_dataset_reduction.ipynb").read_bytes() == good
    assert (project / "reports/toy/failed/01_dataset_reduction.ipynb").is_file()
    assert "no luck" in (project / "reports/toy/logs/chapter_01_dataset_reduction.log").read_text()


def test_a_killed_training_goes_on_where_it_was(project):
    edit(project / "workflow" / "profiles" / "toy.yml", "epochs: 1", "epochs: 6")
    command = [sys.executable, "-m", "reproduction.steps", "toy", TINY]
    first = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert any("epoch   1" in line for line in first.stdout)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert to_do(project)[TINY] == "begun, not finished"
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    epochs = re.findall(r"epoch +(\d+)", again.stdout)
    assert epochs[-1] == "5"
    assert int(epochs[0]) >= 1
    assert TINY not in to_do(project)


def test_an_unfinished_part_of_something_else_is_not_gone_on_with(project):
    steps_ = graph.build(project, profiles.load(project, "toy"))
    baselines = steps_["evaluate/baselines"]
    rows = baselines.artefact.read_text().splitlines(keepends=True)
    baselines.sidecar.unlink()
    doctored = re.sub(r",0\.\d+", ",0.125", rows[1], count=1)
    for begun, kept in (({"other": 1}, False), (graph.made_from(project, baselines), True)):
        baselines.artefact.write_text(rows[0] + doctored)
        baselines.begun.write_text(json.dumps(begun))
        baselines.sidecar.unlink(missing_ok=True)
        assert to_do(project)["evaluate/baselines"] == "begun, not finished"
        do(project, "evaluate/baselines")
        assert (doctored in baselines.artefact.read_text()) is kept
        assert not baselines.begun.exists()


def test_two_processes_do_not_make_the_same_at_once(project, monkeypatch):
    (project / "reports/toy/index.html").unlink()
    running, together = [], []

    def slow(job):
        running.append(job)
        together.append(len(running))
        time.sleep(0.3)
        job.step.artefact.write_text("page")
        running.remove(job)

    monkeypatch.setitem(steps.BODIES, "page", slow)
    profile = profiles.load(project, "toy")
    page = graph.build(project, profile)["page"]
    jobs = [steps.Job(project, profile, page, None) for _ in range(3)]
    threads = [threading.Thread(target=steps.run_step, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1]


# --- profiles, clusters, command line -------------------------------------------------------------


def test_the_projects_profiles_are_as_the_paper_and_the_course_need_them():
    known = {name: profiles.load(PROJECT, name) for name in profiles.available(PROJECT)}
    assert sorted(known) == ["half", "paper", "sample", "smoke"]
    for name, models in (("half", config.names()), ("paper", config.names())):
        assert known[name].models == [*models]
    for name in ("sample", "smoke"):
        assert known[name].models == [*config.THE_EIGHT]
    paper = known["paper"]
    assert (paper.settings, paper.seeds) == ({}, [1, 2, 3])
    assert (paper.data.pictures, paper.data.source) == (1000, "coco")
    half = known["half"]
    assert (half.scale, half.seeds) == (0.5, [42])
    assert half.data == paper.data
    assert {known[name].data.source for name in ("smoke", "sample")} == {"sample"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modles: []", "toy.yml: 'modles': Extra inputs"),
        ("models: [vgg]", "toy.yml: 'models': no model 'vgg'; there are tiny16-32_bce-dice"),
        ("settings: {training.epoch: 3}", "unknown key 'training.epoch'"),
        ("seeds: 3", "toy.yml: 'seeds'"),
        ("minutes: {train: 0}", "toy.yml: 'minutes.train'"),
        ("- x", "toy.yml: not a mapping"),
    ],
)
def test_a_wrong_profile_is_one_line(tmp_path, line, message):
    folder = tmp_path / "workflow" / "profiles"
    folder.mkdir(parents=True)
    data = "{source: sample, folder: data/x, pictures: 8}"
    good = f"data: {data}\nphotos: {data}\n"
    (folder / "toy.yml").write_text(line if line.startswith("-") else good + line)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        profiles.load(tmp_path, "toy")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no profile 'tyo'; there are: toy"):
        profiles.load(tmp_path, "tyo")


def test_coco_is_asked_for_before_anything_starts(project):
    shutil.rmtree(project / "data" / "toy")
    with pytest.raises(ConfigError, match="profile 'toy' needs COCO: add COCO=DIR"):
        pipeline.reproduce(project, "toy", say=lambda line: None)
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        pipeline.reproduce(project, "toy", coco=Path("nowhere"), say=lambda line: None)


def test_the_jobs_of_a_cluster(project):
    """Snakemake's own list, with the executor for Slurm chosen; nothing is submitted."""
    profile = project / "workflow" / "profiles" / "toy.yml"
    profile.write_text(
        profile.read_text()
        + "seeds: [1, 2]\naccelerator: auto\nmemory: 7000\nminutes: {train: 99}\n"
    )
    run = nseg(project, "reproduce", "--profile", "toy", "--slurm", "--dry-run")
    assert run.returncode == 0, run.stderr
    jobs = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^\[|\Z)", run.stderr + run.stdout, re.M | re.S))
    trained = {name for name in jobs if name.startswith("train_")}
    assert trained == {f"train_{m}16_32_bce_dice_seed{k}" for m in ("tiny", "res") for k in (1, 2)}
    for name in trained:
        assert re.search(r"runtime=99\b", jobs[name])
        assert re.search(r"gpu=1\b", jobs[name])
        assert re.search(r"mem_mb=7000\b", jobs[name])
    assert len([name for name in jobs if name.startswith("evaluate_")]) == 4
    assert "gpu=0" in jobs["page"]
    assert "data" not in jobs
    settings = (project / "workflow" / "slurm" / "config.yaml").read_text()
    assert "executor: slurm" in settings
    assert f"--profile {project / 'workflow' / 'slurm'}" in run.stderr + run.stdout


def test_status_gives_a_line_a_step_with_its_reason(project):
    (project / "reports/toy/figures/figure1.png").unlink()
    run = nseg(project, "status", "--profile", "toy")
    *lines, counts = run.stdout.splitlines()
    rows = {
        name: (kind, *why)
        for kind, name, *why in (re.split("  +| (?=[a-z]+/)", line, maxsplit=2) for line in lines)
    }
    assert list(rows) == ALL
    assert rows["data"] == ("done",)
    assert rows["chapter/01_dataset_reduction"] == (
        "stale",
        "reports/toy/figures/figure1.png is gone",
    )
    assert counts == "10 done, 2 stale, 0 missing"


def test_the_command_of_each_row_trains_just_that_row():
    for name in profiles.available(PROJECT):
        profile = profiles.load(PROJECT, name)
        built = graph.build(PROJECT, profile)
        for model in profile.models:
            for seed in profile.seeds:
                step = built[f"train/{model}_seed{seed}"]
                words = profiles.train_command(profile, model, seed).split()
                assert words[:3] == ["nseg", "train", model]
                settings = [words[i + 1] for i, w in enumerate(words) if w == "--set"]
                meant = config.load(model, overrides(settings))
                assert meant.model_dump(mode="json") == step.settings
                assert PROJECT / words[words.index("--out") + 1] == step.artefact.parent
