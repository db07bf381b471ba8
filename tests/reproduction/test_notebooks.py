"""Running one notebook: each of papermill's traps, and the pairs of scripts and notebooks."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nseg_lib import provenance
from reproduction import notebooks
from reproduction.notebooks import NotebookError, check_parameters, read_parameters, run

PARAMETERS = 'profile = "sample"\nsteps = 3\nrate = 0.5\nnote = None'


def book(*code: str, parameters: str | None = PARAMETERS, kernel: str = "python3"):
    cells = [new_markdown_cell("# Toy")]
    if parameters is not None:
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [new_code_cell(source) for source in code]
    return new_notebook(cells=cells, metadata={"kernelspec": {**notebooks.KERNEL, "name": kernel}})


def write(folder: Path, notebook, name: str = "07_toy") -> Path:
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def text_of(notebook) -> str:
    outputs = (o for c in notebook.cells for o in c.get("outputs", []))
    return "".join(o.get("text", "") for o in outputs)


def test_a_good_notebook_runs_with_its_parameters_in_the_given_folder(tmp_path):
    code = "import os; print(profile, steps, os.getcwd(), os.environ['NSEG_HEADLESS'])"
    source = write(tmp_path, book(code, ""))
    target, lines = tmp_path / "out" / "07_toy.ipynb", []
    run(source, target, {"profile": "smoke"}, cwd=tmp_path, say=lines.append)
    assert text_of(nbformat.read(target, as_version=4)) == f"smoke 3 {tmp_path} 1\n"
    assert [line.split(":")[0] for line in lines[:3]] == [
        "cell 2/5 starts",
        lines[1],
        "cell 3/5 starts",
    ]
    assert lines[1].startswith("cell 2/5 ends after ")
    assert lines[-1].startswith("done in ")
    assert os.listdir(target.parent) == ["07_toy.ipynb"]
    assert notebooks.HEADLESS not in os.environ


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profil": "x"}, "unknown parameter 'profil'; did you mean 'profile'?"),
        ({"xyz": 1}, r"unknown parameter 'xyz' \(it has: profile, steps, rate, note\)"),
        ({"steps": "3"}, "parameter 'steps' must be int, got '3'"),
        ({"steps": 3.0}, "parameter 'steps' must be int, got 3.0"),
        ({"steps": True}, "parameter 'steps' must be int, got True"),
    ],
)
def test_a_wrong_parameter_is_an_error_before_anything_runs(tmp_path, given, message):
    source = write(tmp_path, book("open('ran', 'w')"))
    with pytest.raises(NotebookError, match=f"07_toy: {message}"):
        run(source, tmp_path / "out.ipynb", given, cwd=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out.ipynb").exists()


def test_a_whole_number_fits_a_float_and_anything_fits_none():
    declared = read_parameters(book().cells, "toy")
    assert declared == {"profile": "sample", "steps": 3, "rate": 0.5, "note": None}
    check_parameters({"rate": 1, "note": [1]}, declared, "toy")


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
    source = write(tmp_path, book(parameters=cell))
    with pytest.raises(NotebookError, match=f"07_toy: .*{message}"):
        run(source, tmp_path / "out.ipynb")


def test_two_parameters_cells_are_refused(tmp_path):
    notebook = book()
    notebook.cells.append(new_code_cell("a = 1", metadata={"tags": ["parameters"]}))
    with pytest.raises(NotebookError, match="has 2"):
        read_parameters(notebook.cells, "toy")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nraise ValueError('no such\\nthing')", "cell 4/6 failed: ValueError: no such;"),
        ("import sys; sys.exit()", "cell 4/6 failed: SystemExit;"),
        ("import sys; sys.exit(0)", "cell 4/6 failed: SystemExit: 0;"),
        ("quit()", r"cell 4/6 failed: it calls exit\(\) or quit\(\);"),
        ("import os; os._exit(0)", "cell 4/6 failed: the kernel died"),
    ],
)
def test_a_failure_names_its_cell_and_spares_the_good_notebook(tmp_path, code, message):
    source = write(tmp_path, book("print('fine')", code, "print('after')", ""))
    target = tmp_path / "out" / "07_toy.ipynb"
    target.parent.mkdir()
    target.write_text("the good one")
    with pytest.raises(NotebookError, match=f"^07_toy: {message}") as caught:
        run(source, target)
    assert "\n" not in str(caught.value)
    assert target.read_text() == "the good one"
    failed = nbformat.read(target.parent / "failed" / "07_toy.ipynb", as_version=4)
    assert "fine" in text_of(failed)
    assert "after" not in text_of(failed)
    assert sorted(os.listdir(target.parent)) == ["07_toy.ipynb", "failed"]


def test_success_takes_the_failed_one_away(tmp_path):
    target = tmp_path / "07_toy.ipynb"
    with pytest.raises(NotebookError, match="ZeroDivisionError"):
        run(write(tmp_path.parent, book("1 / 0")), target)
    assert not target.exists()
    assert (tmp_path / "failed" / "07_toy.ipynb").exists()
    run(write(tmp_path.parent, book("1 / 1")), target)
    assert target.exists()
    assert not (tmp_path / "failed" / "07_toy.ipynb").exists()


def test_the_limit_is_for_the_whole_notebook(tmp_path):
    source = write(tmp_path, book("import time; time.sleep(1.5)", "time.sleep(60)"))
    with pytest.raises(
        NotebookError, match="cell 4/4 stopped: the notebook's limit of 3 s is over"
    ):
        run(source, tmp_path / "out.ipynb", limit=3)
    assert (tmp_path / "failed" / "out.ipynb").exists()


def test_the_kernel_must_be_this_python(tmp_path, monkeypatch):
    source = write(tmp_path, book(kernel="julia"))
    with pytest.raises(NotebookError, match="asks for the kernel 'julia', must be 'python3'"):
        run(source, tmp_path / "out.ipynb")
    kernels = tmp_path / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text('{"argv": ["/bin/sh"], "display_name": "x"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(NotebookError, match="is another Python than the one that has nseg"):
        run(write(tmp_path, book()), tmp_path / "out.ipynb")


def test_widget_state_stays_out(tmp_path):
    code = (
        "import ipywidgets; from IPython.display import display\ndisplay(ipywidgets.IntSlider(7))"
    )
    run(write(tmp_path, book(code)), tmp_path / "out.ipynb")
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "widgets" not in executed.metadata
    assert "widget-view" not in (tmp_path / "out.ipynb").read_text()
    assert "IntSlider" in executed.cells[2].outputs[0].data["text/plain"]


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
    (project / "notebooks" / "scripts" / "00_toy.py").write_text(SCRIPT + "print(2)\n")
    assert "notebooks/00_toy.ipynb: differs from notebooks/scripts/00_toy.py" in notebooks.check(
        project
    )


def test_check_refuses_computed_parameters(project):
    (project / "notebooks" / "scripts" / "00_toy.py").write_text(
        SCRIPT.replace('"sample"', "1 + 1")
    )
    notebooks.sync(project)
    assert "parameters cell, line 1" in notebooks.check(project)[0]


def test_the_root_is_found_from_within_and_missed_in_one_line(project, tmp_path_factory):
    assert provenance.project_root(project / "notebooks" / "scripts") == project
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(ValueError, match=r"no pyproject\.toml here or above"):
        provenance.project_root(elsewhere)
