"""Running one notebook, and the pairs of scripts and notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nseg_lib import provenance
from reproduction import notebooks
from reproduction.notebooks import NotebookError

PARAMETERS = 'profile = "sample"\nsteps = 3\nrate = 0.5\nnote = None'


def write(folder: Path, *code: str, parameters: str | None = PARAMETERS) -> Path:
    cells = [new_markdown_cell("# Toy")]
    if parameters is not None:
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [new_code_cell(source) for source in code]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": notebooks.KERNEL})
    nbformat.write(notebook, folder / "07_toy.ipynb")
    return folder / "07_toy.ipynb"


def run(
    source: Path,
    target: Path,
    parameters: dict[str, object],
    limit: float = 60,
    say: Callable[[str], None] = print,
) -> None:
    where = {"cwd": source.parent, "failed": target.parent / "failed"}
    notebooks.run(source, target, parameters, limit=limit, say=say, **where)


def text_of(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))


def test_a_good_notebook_runs_with_its_parameters_in_the_given_folder_and_our_python(
    tmp_path, monkeypatch
):
    kernels = tmp_path / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text('{"argv": ["/bin/sh"], "display_name": "x"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    code = "import os, sys, ipywidgets; print(profile, steps, os.getcwd(), sys.executable)"
    source = write(tmp_path, code, "", "display(ipywidgets.IntSlider(7))")
    target, lines = tmp_path / "out" / "07_toy.ipynb", []
    run(source, target, {"profile": "smoke"}, say=lines.append)
    assert text_of(target) == f"smoke 3 {tmp_path} {sys.executable}\n"
    assert "IntSlider" in target.read_text()
    assert "widget-view" not in target.read_text(), "its state is not kept"
    assert lines[0].startswith("cell 2/6 starts: ")
    assert lines[1].startswith("cell 2/6 ends after ")
    assert lines[-1].startswith("done in ")
    assert os.listdir(target.parent) == ["07_toy.ipynb"]


def test_a_parameter_that_is_not_there_is_an_error_before_anything_runs(tmp_path):
    source = write(tmp_path, "open('ran', 'w')")
    said = r"07_toy: unknown parameter 'xyz' \(it has: profile, steps, rate, note\)"
    with pytest.raises(NotebookError, match=said):
        run(source, tmp_path / "out.ipynb", {"xyz": 1})
    assert os.listdir(tmp_path) == ["07_toy.ipynb"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a = 1\nb = a * 2", "line 2: 'b = a \\* 2' is not 'name = literal'"),
        ("from pathlib import Path\na = Path('x')", "line 1: 'from pathlib"),
        ("a = b = 1", "line 1: 'a = b = 1'"),
        ("a += 1", "line 1"),
        ("a = {'k': f'{1}'}", "line 1"),
        ("a: int", "line 1"),
        ("a = ", "line 1: invalid syntax"),
        (None, "needs exactly one code cell tagged 'parameters', has 0"),
    ],
)
def test_only_literals_in_the_parameters_cell(tmp_path, cell, message):
    source = write(tmp_path, parameters=cell)
    with pytest.raises(NotebookError, match=f"07_toy: .*{message}"):
        run(source, tmp_path / "out.ipynb", {})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nraise ValueError('no such\\nthing')", "cell 5/7 failed: ValueError: no such;"),
        ("import sys; sys.exit()", "cell 5/7 failed: SystemExit;"),
        ("import sys; sys.exit(0)", "cell 5/7 failed: SystemExit: 0;"),
        ("quit()", r"cell 5/7 failed: it calls exit\(\) or quit\(\);"),
        ("import os; os._exit(0)", "cell 5/7 failed: the kernel died"),
    ],
)
def test_a_failure_names_its_cell_and_spares_the_good_notebook(tmp_path, code, message):
    source = write(tmp_path, "print('fine')", code, "print('after')", "")
    target = tmp_path / "out" / "07_toy.ipynb"
    target.parent.mkdir()
    target.write_text("the good one")
    with pytest.raises(NotebookError, match=f"^07_toy: {message}") as caught:
        run(source, target, {})
    assert "\n" not in str(caught.value)
    assert target.read_text() == "the good one"
    failed = target.parent / "failed" / "07_toy.ipynb"
    assert text_of(failed).startswith("fine")
    assert "after" not in text_of(failed)
    assert sorted(os.listdir(target.parent)) == ["07_toy.ipynb", "failed"]
    run(write(tmp_path, "1 / 1"), target, {})
    assert not failed.exists()


def test_the_limit_is_for_the_whole_notebook(tmp_path):
    source = write(tmp_path, "import time; time.sleep(1.5)", "time.sleep(60)")
    stopped = "cell 5/5 stopped: the notebook's limit of 3 s is over"
    with pytest.raises(NotebookError, match=stopped):
        run(source, tmp_path / "out.ipynb", {}, limit=3)
    assert (tmp_path / "failed" / "out.ipynb").exists()


SCRIPT = """# %% [markdown]
# # Toy

# %% tags=["parameters"]
profile = "sample"

# %%
print(profile)
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks" / "scripts").mkdir(parents=True, exist_ok=True)
    (tmp_path / "notebooks" / "scripts" / "00_toy.py").write_text(SCRIPT)
    return tmp_path


def test_pairs_are_made_once_and_the_same_every_time(project):
    pair = project / "notebooks" / "00_toy.ipynb"
    assert notebooks.sync(project) == [pair]
    first = pair.read_bytes()
    assert notebooks.sync(project) == []
    pair.unlink()
    notebooks.sync(project)
    assert pair.read_bytes() == first
    assert notebooks.check(project) == []
    made = nbformat.read(pair, as_version=4)
    assert [cell.id for cell in made.cells] == ["cell-00", "cell-01", "cell-02"]
    assert made.metadata.kernelspec.name == "python3"


def test_check_names_what_disagrees(project, monkeypatch, capsys):
    monkeypatch.chdir(project / "notebooks" / "scripts")
    assert notebooks.main(["sync"]) == 0
    pair = project / "notebooks" / "00_toy.ipynb"
    notebook = nbformat.read(pair, as_version=4)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="x")]
    nbformat.write(notebook, pair)
    (project / "notebooks" / "01_alone.ipynb").write_text(pair.read_text())
    (project / "notebooks" / "scripts" / "02_new.py").write_text(SCRIPT)
    assert notebooks.check(project) == [
        "notebooks/00_toy.ipynb: carries outputs",
        "notebooks/01_alone.ipynb: notebooks/scripts/01_alone.py is missing",
        "notebooks/scripts/02_new.py: has no notebook yet",
    ]
    assert notebooks.main(["check"]) == 1
    assert "carries outputs" in capsys.readouterr().err
    notebooks.sync(project)
    script = project / "notebooks" / "scripts" / "00_toy.py"
    script.write_text(SCRIPT + "print(2)\n")
    differs = "notebooks/00_toy.ipynb: differs from notebooks/scripts/00_toy.py"
    assert differs in notebooks.check(project)
    script.write_text(SCRIPT.replace('"sample"', "1 + 1"))
    notebooks.sync(project)
    assert "parameters cell, line 1" in notebooks.check(project)[0]


def test_the_root_is_found_from_within_and_missed_in_one_line(project, tmp_path_factory):
    assert provenance.project_root(project / "notebooks" / "scripts") == project
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(ValueError, match=r"no pyproject\.toml here or above"):
        provenance.project_root(elsewhere)
