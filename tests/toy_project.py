"""A project of its own in a folder: the library, the workflow, small data and two chapters."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from conftest import write_split

from nseg_lib.provenance import PROJECT
from reproduction.notebooks import sync

DATA = "data/t o: #1's ü"
"""The folder of the data set, from the project's root: its name is as hard to quote as can be."""

PROFILE = f"""\
data: {{source: coco, folder: "{DATA}", pictures: 8, test_pictures: 2}}
photos: {{source: coco, folder: "{DATA}", pictures: 8, test_pictures: 2}}
models: [tiny16-32_bce-dice]
settings: {{data.scale: 0.25, training.epochs: 1}}
"""

COCO = "co co: #1 {x}'s"
"""The folder of the source data, from the project's root."""

FIRST = """\
# %% [markdown]
# # Data
#
# Of $x^2$.

# %% tags=["parameters"]
data = "data/none"
out = "reports/none"
greeting = "hello"

# %%
from pathlib import Path
from nseg_lib.strokes.recipes import MIN_STROKE_AREA
print(greeting, MIN_STROKE_AREA, len(list(Path(data, "train").iterdir())))

# %%
import json, matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(2, 1))
axes.plot([1, 2])
folder = Path(out, "figures")
folder.mkdir(parents=True, exist_ok=True)
for suffix in ("png", "pdf"):
    figure.savefig(folder / f"figure1.{suffix}")
(folder / "figure1.csv").write_text("toy")
_ = (folder / "figure1.json").write_text(json.dumps({"device": "toy"}))
"""

SECOND = """\
# %% tags=["parameters"]
profile = "none"
rows = "reports/none/rows"
out = "reports/none"

# %%
from pathlib import Path
from nseg_lib import networks
from nseg_lib.evaluation.summary import read_folder
from reproduction import paper, table1
from reproduction.artefacts import save_table
results = read_folder(rows)
numbers = paper.numbers()
first = table1.table1(results, numbers, profile)
sizes = [networks.size(name) for name in numbers["table2"]]
second = table1.table2(sizes, numbers["table2"])
_ = save_table(first, Path(out, "tables/table1"), profile=profile)
_ = save_table(second, Path(out, "tables/table2"), profile=profile)
"""


def make_project(root: Path) -> Path:
    """Fill an empty folder with a project whose steps take half a minute."""
    junk = shutil.ignore_patterns("__pycache__", "*.part")
    for folder in ("nseg_lib", "reproduction", "workflow"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=junk)
    (root / "reports").mkdir()
    for path in PROJECT.glob("reports/*.*"):
        shutil.copy(path, root / "reports")
    (root / "pyproject.toml").touch()
    (root / "workflow" / "profiles" / "toy.yml").write_text(PROFILE)
    write_split(root / COCO, "train", [(240, 320)] * 10, 1)
    (root / "notebooks" / "scripts").mkdir(parents=True, exist_ok=True)
    (root / "notebooks" / "scripts" / "01_masks_and_coco.py").write_text(FIRST)
    (root / "notebooks" / "scripts" / "09_results_table.py").write_text(SECOND)
    sync(root)
    return root


def nseg(root: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the project's own command line in its folder."""
    command = [sys.executable, "-m", "reproduction.commands", *arguments]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=timeout, check=False
    )
