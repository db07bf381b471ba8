"""A profile's steps on a project of one network and two chapters, through the command ``nseg``.

The whole is made once, in a folder whose name has all that is hard to quote. Each test works on a
copy, which must be as good as the first.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from toy_project import COCO, DATA, make_project, nseg

from nseg_lib.config import ConfigError
from reproduction import notebooks, workflow
from reproduction.replay import replay

TRAIN = "train/tiny16-32_bce-dice_seed42"
ROWS = ["evaluate/baselines", "evaluate/tiny16-32_bce-dice_seed42"]
RUN = "runs/toy/tiny16-32_bce-dice/seed42"
CHAPTERS = ["chapter/01_masks_and_coco", "chapter/09_results_table"]
MEASURE = ["measure/pictures", "measure/redraws"]
ALL = ["data", TRAIN, *ROWS, *MEASURE, *CHAPTERS, "evidence", "page"]
HARD = "a #1 {b}: c's ü"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished project, and what the console said; do not write to it."""
    root = make_project(tmp_path_factory.mktemp("made") / HARD)
    run = nseg(root, "reproduce", "--profile", "toy", "--coco", COCO)
    assert run.returncode == 0, run.stdout + run.stderr
    return root, run.stdout


@pytest.fixture
def project(made: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the finished project."""
    shutil.copytree(made[0], tmp_path / HARD)
    return tmp_path / HARD


def not_done(root: Path) -> dict[str, str]:
    """Step → state and reason, of those that ``nseg status`` does not call done."""
    found = workflow.status(root, "toy").items()
    return {step: f"{state} {why}" for step, (state, why) in found if state != "done"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def profile_of(root: Path) -> Path:
    return root / "workflow" / "profiles" / "toy.yml"


def change_losses(root: Path) -> None:
    losses = root / "nseg_lib" / "training" / "losses.py"
    losses.write_text(re.sub(r"\n    return ", "\n    return 2 * ", losses.read_text()))


def jobs_of(root: Path) -> list[str]:
    """Processes that work in a folder, on systems that have /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it ended, or is another user's
            found += [str(path)] if path.readlink() == root else []
    return found


# --- the whole ------------------------------------------------------------------------------------


def test_everything_is_made_told_in_order_and_noted(made: tuple[Path, str]) -> None:
    root, said = made
    lines = said.splitlines()
    assert lines[0] == "10 of 10 steps of 'toy' to do:"
    assert lines[1].startswith("  data: missing")
    for step in ALL:
        assert re.search(rf"^{step}: done in \d+ s \(\d+ of 10\)$", said, re.MULTILINE), step
        assert (root / f"reports/toy/logs/{step.replace('/', '_')}.log").is_file()
    assert re.search(rf"^{TRAIN}: epoch   0  train loss", said, re.MULTILINE)
    assert lines[-1] == str(root / "reports" / "toy" / "index.html")
    left = [p for p in root.rglob("*") if ".begun" in p.name or ".part" in p.name]
    assert left == []
    assert not (root / "reports" / "toy" / "failed").exists()

    noted = {}
    for path in [*root.glob("*/toy/**/*.json"), *(root / DATA).glob("*.json")]:
        record = json.loads(path.read_text())
        if "made_from" in record:
            noted[record["step"]] = record
            assert {"commit", "packages", "device", "seconds", "finished"} <= set(record)
            assert set(record["made_from"]) == {"code", "settings", "inputs"}
            assert None not in record["products"].values()
            assert str(root) not in path.read_text()
    assert sorted(noted) == sorted(ALL)
    assert f"{DATA}/SHA256SUMS" in noted[TRAIN]["made_from"]["inputs"]


def test_the_second_time_there_is_nothing_to_do(project: Path) -> None:
    for path in sorted(project.rglob("*.*"), reverse=True):  # as git and cp leave dates
        path.touch()
    run = nseg(project, "reproduce", "--profile", "toy")
    assert run.stdout.splitlines()[0] == "nothing to do: all 10 steps of 'toy' are done"
    assert run.stdout.rstrip().endswith("reports/toy/index.html")
    assert run.returncode == 0


def test_a_training_is_replayed(project: Path) -> None:
    """The first steps again are what the log has; a log that another training made is found."""
    assert replay(project, "toy", project / DATA, 5, print) == []
    log = project / "reports/toy/training/tiny16-32_bce-dice/seed42/steps.csv"
    log.write_text(re.sub(r",5,0", ",5,1", log.read_text()))
    (problem,) = replay(project, "toy", project / DATA, 5, print)
    assert problem.startswith("tiny16-32_bce-dice, seed 42: the losses of the first 5 steps differ")


# --- what makes a step stale ----------------------------------------------------------------------


def test_words_and_what_changes_no_number_make_nothing_stale(project: Path) -> None:
    losses = project / "nseg_lib" / "training" / "losses.py"
    losses.write_text(losses.read_text().replace('"""', '"""Better said: ', 1) + "\n# a comment\n")
    edit(project / "reproduction" / "kept.py", "MAX_WEIGHT_BYTES = ", "MAX_WEIGHT_BYTES = 1 + ")
    with profile_of(project).open("a") as file:
        file.write("memory: 9000\nthreads: 2\nminutes: {train: 7, chapter: 8}\n")
    notebook = project / "notebooks" / "09_results_table.ipynb"
    opened = nbformat.read(notebook, as_version=4)
    opened.cells[-1].outputs = [nbformat.v4.new_output("stream", text="saved with outputs")]
    nbformat.write(opened, notebook)
    (project / RUN / "steps.csv").unlink()
    assert not_done(project) == {}
    (project / "reports/toy/tables/table1.tex").unlink()
    assert not_done(project) == {CHAPTERS[1]: "missing not there: reports/toy/tables/table1.tex"}


def test_a_changed_metric_is_evaluated_again_but_not_trained(project: Path) -> None:
    people = project / "nseg_lib" / "strokes" / "people.py"
    people.write_text(re.sub(r"\b0\.(\d+)", r"0.\g<1>1", people.read_text()))
    metrics = project / "nseg_lib" / "evaluation" / "metrics.py"
    text = metrics.read_text()
    start = text.index("def iou(")
    metrics.write_text(text[:start] + text[start:].replace("    return ", "    return 2 * ", 1))
    found = not_done(project)
    assert found[ROWS[0]] == "stale nseg_lib/evaluation/metrics.py changed"
    assert "nseg_lib/evaluation/metrics.py changed" in found[ROWS[1]]
    assert {"data", TRAIN, MEASURE[0]}.isdisjoint(found), "they judge nothing"


def test_changed_settings_losses_and_files_are_named(project: Path) -> None:
    change_losses(project)
    edit(profile_of(project), "epochs: 1", "epochs: 2")
    script = project / "notebooks" / "scripts" / "01_masks_and_coco.py"
    edit(script, "greeting =", "more = 1\ngreeting =")
    notebooks.sync(project)
    with (project / "reports/toy/measured/pictures.csv").open("a") as file:
        file.write("\n")
    found = not_done(project)
    why = "nseg_lib/training/losses.py changed; training.epochs: 1 → 2"
    assert found[TRAIN] == f"stale {why}"
    assert found[ROWS[1]] == f"stale follows from {RUN}/weights.safetensors"
    assert found[CHAPTERS[0]] == "stale notebooks/01_masks_and_coco.ipynb changed"
    assert found[MEASURE[0]] == "stale reports/toy/measured/pictures.csv changed since"
    assert {"data", ROWS[0]}.isdisjoint(found)


def test_a_fresh_checkout_knows_what_is_done(project: Path) -> None:
    shutil.rmtree(project / ".snakemake")
    for pattern in (f"{DATA}/*", "runs/*", "reports/toy/notebooks", "reports/toy/index.html*"):
        for path in project.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    rows = project / "reports/toy/rows/baselines.csv.json"
    record = json.loads(rows.read_text())
    record["made_from"]["settings"]["scale"] = 1.0
    rows.write_text(json.dumps(record))
    found = not_done(project)
    assert {step: why.split()[0] for step, why in found.items()} == {
        "data": "missing",
        TRAIN: "missing",
        ROWS[0]: "stale",
        **dict.fromkeys(CHAPTERS, "missing"),
        "evidence": "stale",
        "page": "missing",
    }
    assert found[ROWS[0]] == "stale scale: 1.0 → 0.25"
    assert found["evidence"] == "stale follows from reports/toy/rows/baselines.csv"


# --- failures, ends and resumption ----------------------------------------------------------------


def test_a_failing_chapter_is_named_and_spares_the_good_one(project: Path) -> None:
    good = (project / "reports/toy/notebooks/01_masks_and_coco.ipynb").read_bytes()
    script = project / "notebooks" / "scripts" / "01_masks_and_coco.py"
    edit(script, '"toy"', '"broken"')
    script.write_text(script.read_text() + "\n# %%\nraise ValueError('no luck')\n")
    notebooks.sync(project)
    run = nseg(project, "reproduce", "--profile", "toy")
    assert run.returncode == 1
    assert f"{CHAPTERS[0]}: FAILED: 01_masks_and_coco: cell 6/6 failed: " in run.stdout
    assert "ValueError: no luck; see reports/toy/failed/01_masks_and_coco.ipynb" in run.stdout
    assert f"not done: {CHAPTERS[0]}, page" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert (project / "reports/toy/notebooks/01_masks_and_coco.ipynb").read_bytes() == good
    assert (project / "reports/toy/figures/figure1.csv").read_text() == "toy", "its figure too"
    assert (project / "reports/toy/failed/01_masks_and_coco.ipynb").is_file()
    assert "no luck" in (project / "reports/toy/logs/chapter_01_masks_and_coco.log").read_text()


def test_ended_from_outside_a_run_ends_its_jobs_and_goes_on_later(project: Path) -> None:
    edit(profile_of(project), "epochs: 1", "epochs: 9000, training.patience: 9000")
    old = (project / RUN / "weights.safetensors").read_bytes()

    def run_until(words: str, end: int) -> str:
        """Reproduce until a line has these words, then end it so; no job is left."""
        command = [sys.executable, "-m", "reproduction.commands", "reproduce", "--profile", "toy"]
        run = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        line = next(line for line in run.stdout if words in line)
        if end == signal.SIGKILL:  # once is enough: it is refused after 15 s
            again = nseg(project, "reproduce", "--profile", "toy")
            assert again.returncode != 0
            assert "another 'nseg reproduce' is at work" in again.stdout + again.stderr
        run.send_signal(end)
        assert run.wait(30) == (143 if end == signal.SIGTERM else -end)
        for _ in range(100):  # the jobs have to notice a kill -9 by themselves
            if end == signal.SIGKILL and jobs_of(project):
                time.sleep(0.1)
        assert jobs_of(project) == []
        return line

    run_until("epoch   1", signal.SIGKILL)
    assert (project / f"{RUN}.begun" / "last.ckpt").is_file()
    assert not_done(project)[TRAIN].startswith("stale")
    taken = len((project / f"{RUN}.begun" / "log.csv").read_text().splitlines()) - 1
    resumed = re.search(r"epoch +(\d+)", run_until("epoch ", signal.SIGTERM))
    assert resumed is not None
    assert int(resumed[1]) >= taken - 1
    assert (project / RUN / "weights.safetensors").read_bytes() == old
    assert (project / "reports/toy/index.html").is_file()


def step(root: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Do one step as Snakemake does."""
    command = [sys.executable, "-m", "reproduction.steps", name, "--profile", "toy", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_networks_are_kept_on_request_or_replaced_once(project: Path) -> None:
    sidecar = project / RUN / "weights.safetensors.json"
    weights = (project / RUN / "weights.safetensors").read_bytes()
    record = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(record | {"kept_despite": ["something earlier"]}))
    change_losses(project)
    run = nseg(project, "reproduce", "--profile", "toy", "--keep-trained")
    assert run.returncode == 0, run.stdout
    assert f"kept {TRAIN} though nseg_lib/training/losses.py changed" in run.stdout
    kept = json.loads(sidecar.read_text())
    assert kept["kept_despite"] == ["something earlier", "nseg_lib/training/losses.py changed"]
    assert kept["trained_from"] == record["made_from"], "what it was trained from is not lost"
    assert "nothing to do" in run.stdout
    edit(profile_of(project), "epochs: 1", "epochs: 2")
    run = nseg(project, "reproduce", "--profile", "toy", "--keep-trained")
    assert run.returncode == 1
    assert f"cannot keep {TRAIN}: training.epochs: 1 → 2" in run.stdout
    assert f"nothing was trained: without --keep-trained, {TRAIN} are made anew" in run.stdout
    assert (project / RUN / "weights.safetensors").read_bytes() == weights
    files = "--inputs", f"{DATA}/SHA256SUMS", "--outputs", f"{RUN}/weights.safetensors"
    for last in (rf"{TRAIN}: done in \d+ s", f"{TRAIN}: unchanged"):
        assert re.fullmatch(last, step(project, TRAIN, *files).stdout.splitlines()[-1])
    assert (project / f"{RUN}.replaced" / "weights.safetensors").read_bytes() == weights
    assert not (project / f"{RUN}.begun").exists()


def test_a_step_that_is_not_there_is_one_line(project: Path) -> None:
    run = step(project, "train/vgg", "--outputs", "x")
    assert run.returncode == 1
    assert run.stdout.startswith("train/vgg: FAILED: no step 'train/vgg'; there are: data, train/")
    assert run.stdout.count("\n") == 1


# --- profiles, clusters, command line -------------------------------------------------------------


def test_what_is_needed_is_asked_for_before_anything_starts(project: Path) -> None:
    with pytest.raises(ConfigError, match="no profile 'tyo'; there are: half, paper, sample,"):
        workflow.reproduce(project, "tyo")
    shutil.rmtree(project / DATA)
    with pytest.raises(ConfigError, match="profile 'toy' needs COCO: add COCO=DIR"):
        workflow.reproduce(project, "toy")
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        workflow.reproduce(project, "toy", coco=Path("nowhere"))
    with pytest.raises(ValueError, match="notebooks: no annotations/instances_"):
        workflow.reproduce(project, "toy", coco=project / "notebooks")
    edit(profile_of(project), "pictures: 8", "pictures: 900000000")
    with pytest.raises(ConfigError, match=r"MB free on this disk, about 900,000,\d+ are needed"):
        workflow.reproduce(project, "toy", coco=project / COCO)
    assert not (project / DATA).exists()


def test_the_jobs_of_a_cluster(project: Path) -> None:
    """Snakemake's own list, with the executor for Slurm chosen; nothing is submitted."""
    with profile_of(project).open("a") as file:
        file.write("seeds: [1, 2]\naccelerator: auto\nmemory: 7000\nminutes: {train: 99}\n")
    run = nseg(project, "reproduce", "--profile", "toy", "--slurm", "--dry-run")
    said = run.stderr + run.stdout
    assert run.returncode == 0, said
    jobs = re.findall(r"^rule (\w+):\n(.*?)(?=^\[|\Z)", said, re.M | re.S)
    trained = [job for rule, job in jobs if rule == "train"]
    assert sorted(re.findall(r"output: \S*(seed\d)", "".join(trained))) == ["seed1", "seed2"]
    for job in trained:
        assert {"runtime=99", "gpu=1", "mem_mb=7000"} <= set(re.findall(r"\w+=\d+", job))
    assert sum(rule == "evaluate" for rule, _ in jobs) == 2
    assert all("gpu=0" in job for rule, job in jobs if rule == "page")
    assert "data" not in [rule for rule, _ in jobs]
    settings = (project / "workflow" / "slurm" / "config.yaml").read_text()
    assert "executor: slurm" in settings
