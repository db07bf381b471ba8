# %% [markdown]
# # 11 · Reproduce it
#
# "The code is available" is a promise about a file. "You will get the same numbers" is a promise about a
# result, and it is much harder to keep. In this chapter you see what it takes, on this project itself:
# settings that are written down, results that carry their history, a list of what is out of date, and a
# check that finds a single changed digit among thousands.
#
# After this chapter you will be able to
#
# - run a notebook with other settings without editing it;
# - read in a sidecar file where a number comes from;
# - say what a checksum notices and a table does not, and the other way round;
# - make the whole report again with one command.
#
# | | |
# |---|---|
# | before you start | chapter 09 for rows and tables |
# | learning time | 50 minutes |
# | running time | half a minute |
# | makes | nothing new: it makes again what is there |
# | previous, next | [10 · Errors](10_errors.ipynb), [12 · Strokes as people draw them](12_strokes_as_drawn.ipynb) |

# %% tags=["parameters"]
report = "half"  # the committed report that is checked
model = "tiny16-32_bce-dice"  # whose rows are tampered with

# %%
import hashlib
import json
import tempfile
from pathlib import Path

import nbformat

from nseg_lib.course import exercises, look, plots
from nseg_lib.evaluation.summary import read_folder
from nseg_lib.provenance import project_root
from reproduction import notebooks, profiles, workflow
from reproduction.artefacts import table_texts
from reproduction.table1 import table1b
from reproduction.verify import differing_cells

look.use_style()
ROOT = project_root()
REPORT = ROOT / "reports" / report

# %% [markdown]
# ## Guess first
#
# Somebody opens a file of results in an editor and changes one IoU in one row from 0.8523 to 0.8532. There
# are 237 such rows for each training of a network. The results table prints means with four decimals. Two
# things might notice: rebuilding the table from the rows, and comparing the file's checksum. Which of them
# will? Write down your guess; the last section tries it.
#
# ## Settings from outside: parameters
#
# A notebook that has its settings in the middle of its code must be edited to be run differently, and an
# edited notebook is another notebook. So every chapter of this course has one cell, tagged `parameters`,
# that holds nothing but names and plain values. The tool **papermill** inserts a second cell below it, with
# other values. The file itself stays as it is, and the executed copy shows both cells. Below is the
# smallest notebook that can do it, run twice.


# %%
def tiny_notebook(path):
    cells = [
        nbformat.v4.new_code_cell("pictures = 10", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(f'{pictures} pictures, {pictures * 3} strokes')"),
    ]
    kernel = {"kernelspec": notebooks.KERNEL}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


with tempfile.TemporaryDirectory() as folder:
    source, target = Path(folder, "00_tiny.ipynb"), Path(folder, "ran.ipynb")
    tiny_notebook(source)
    places = {"cwd": Path(folder), "failed": Path(folder, "failed"), "limit": 60}
    notebooks.run(source, target, {"pictures": 500}, say=lambda line: None, **places)
    for cell in notebooks.read_cells(target):
        said = [o["text"] for o in cell["outputs"]]
        print(cell["metadata"].get("tags"), "|", cell["source"].strip(), "|", said)

# %% [markdown]
# **What to look for.** Three cells came out of two: the second one was injected, and it wins because it
# runs after the first. That is also why only plain values are allowed there. If the cell computed
# `strokes = pictures * 3`, the injected cell would change `pictures` and leave the old `strokes`.
#
# ## A profile names all settings of a run
#
# A whole report has many settings: which pictures, which networks, how many epochs, how many seeds. They
# stand together in one small file, a **profile**. `smoke` runs everything in minutes to see whether it runs
# at all; `sample` is for a laptop; `half` is real photographs of COCO at half their size, whose results are
# part of this project; `paper` is the paper's own setting, for a machine with a graphics card.

# %%
lines = []
for name in profiles.available(ROOT):
    p = profiles.load(ROOT, name)
    lines.append((name, p.data.source, p.data.pictures, p.scale, len(p.models), str(p.seeds)))
plots.table(lines, ("profile", "pictures from", "how many", "scale", "networks", "seeds"), "{:g}")

# %% [markdown]
# A setting that is misspelt must not be ignored in silence: then one would believe in a setting that was
# never used. A profile with an unknown key, a wrong type or an impossible value is refused in one line.
#
# ## A result knows where it comes from: the sidecar
#
# Beside every file of results lies a small JSON file, its **sidecar**. It says which version of the code
# made the file (the commit, and whether something uncommitted was lying about), with which versions of the
# libraries, on which machine, with which settings and from which inputs, and how long it took.

# %%
rows_file = REPORT / "rows" / f"{model}_seed42.csv"
sidecar = json.loads(rows_file.with_name(rows_file.name + ".json").read_text())
for key in ("artefact", "commit", "dirty", "python", "device", "config", "seconds", "command"):
    print(f"{key:>9}: {sidecar[key]}")
print(f"    code: {len(sidecar['made_from']['code'])} files of the project were used")

# %% [markdown]
# Six months later these lines are worth more than the number itself. If two people get different numbers,
# they compare their sidecars first, and usually find the reason there: another version of a library, other
# data, or code that was changed and never committed.
#
# ## What is out of date?
#
# The sidecar also holds a fingerprint of every code file and setting that the result depends on. So a
# program can tell, without running anything, which results no longer belong to today's code: those of
# which an ingredient has changed. `nseg status` does that. It compares the *meaning* of a code file, not
# its letters: a changed comment makes nothing stale.

# %%
states = workflow.status(ROOT, report)
words = [state[0] for state in states.values()]
for word in sorted(set(words)):
    print(f"{words.count(word):3d} steps are {word}")

# %% [markdown]
# Why does a step become stale although its own code is as it was? Because something that it is made from was made
# anew. Suppose that somebody changes what a metric returns. The metrics are code of the step that writes the rows.

# %%
made_from = {
    "pictures": [], "training": ["pictures"], "baselines": ["pictures"],
    "rows": ["training", "baselines"],
    "tables": ["rows"], "chapters": ["rows"], "page": ["tables", "chapters"],
}  # fmt: skip
plots.steps(made_from, changed="rows", stale=["tables", "chapters", "page"])

# %% [markdown]
# **What to look for.** Follow the arrows from the step whose code changed to the right: all that they reach is stale.
# What lies to the left of it is not. So no network is trained again because of a metric, which saves hours. And
# which steps would be stale if the code of *training* had changed?
#
# A step is *done* if its result is there and belongs to today's code, *stale* if an ingredient has changed
# since, and *missing* if it was never made here. In a fresh copy of the project the trained networks and
# the executed chapters are missing, for they are too large to carry. `nseg reproduce` makes what is missing
# or stale, and nothing else.
#
# ## The table is made again
#
# Now the check itself. Table 1b of the committed report was made from rows, so it must come out the same
# when it is made from the same rows again: not nearly, but letter by letter.

# %%
committed = (REPORT / "tables" / "table1b.md").read_text()


def rebuilt(rows):
    return table_texts(table1b(read_folder(rows)), report)[".md"]


print("equal, letter by letter:", rebuilt(REPORT / "rows") == committed)

# %% [markdown]
# ## One changed digit
#
# We copy the rows to a temporary folder and tamper with one of them, in two ways: first one
# IoU is changed by 0.0009, as in the guess, and then by 0.3. Each time we rebuild the table and compare the
# file's **checksum**, which is a number of 64 hexadecimal digits computed from all bytes of the file
# (SHA-256).


# %%
def tampered(change):
    """The rows with the IoU of one picture changed: what the table and the checksum notice."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (REPORT / "rows").glob("*.csv"):
            text = path.read_text()
            if path == rows_file:
                text = shifted(text, change)
                same = hashlib.sha256(text.encode()).digest() == digest_of(path)
            Path(folder, path.name).write_text(text)
        cells = list(differing_cells(committed, rebuilt(Path(folder)), ".md"))
    return cells, same


# %%
def digest_of(path):
    return hashlib.sha256(path.read_bytes()).digest()


def shifted(text, change):
    """A file of rows with one number more or less in the column iou of a test picture's row."""
    header, *rows = text.splitlines(keepends=True)
    place = header.split(",").index("iou")
    number = next(i for i, row in enumerate(rows) if ",test," in row)
    cells = rows[number].split(",")
    cells[place] = f"{float(cells[place]) - change:.6f}"
    rows[number] = ",".join(cells)
    return "".join([header, *rows])


# %%
for change in (0.0009, 0.3):
    cells, same = tampered(change)
    print(f"IoU changed by {change}: checksum {'the same' if same else 'differs'},",
          f"{len(cells)} cells of the table differ")  # fmt: skip
    for cell in cells[:4]:
        print("   ", cell)

# %% [markdown]
# **What to look for.** Compare the two lines. For which change does the table say nothing?
#
# <details><summary>Answer to the guess</summary>
#
# The small change disappears in the mean: it moves the mean over 146 test pictures, and over all trainings of
# the network, by a few millionths, which no printed digit shows. Only the checksum notices it. The large change is noticed by both, and the
# rebuilt table also says *where*. The two checks complete each other. A checksum notices every change but
# cannot tell an honest repair from a forgery, nor say what it means. Rebuilding finds what matters in the
# result, also if somebody changed the table and left the rows alone, and renewed all checksums afterwards.
#
# </details>
#
# `nseg verify --profile half` does both for all tables and figures of the report, for numbers in its prose,
# and for the records beside them. It takes a minute or two; run it in a terminal. Then change a digit in
# `reports/half/tables/table1b.md`, run it again, and undo the change with `git checkout reports`.
#
# ## Everything again
#
# One command makes everything from nothing: `make reproduce PROFILE=smoke`. It installs what is needed,
# makes the pictures, trains eight networks for moments, evaluates them, runs all chapters and writes a
# page, within a few minutes. A second run says "nothing to do". With `PROFILE=sample` it takes about half an
# hour on a laptop and gives networks that beat their strokes.
#
# How equal is equal? The same code, data, seed, device and number of threads give the same weights, bit by
# bit, whether the training was interrupted or not. Another device adds up the same numbers in another order.
# Floating-point addition depends on the order, so the last digits differ, and over thousands of steps such
# differences grow. Then equality is a matter of intervals, as in chapter 09.

# %%
print(
    "order matters:", (0.1 + 0.2) + 0.3 == 0.1 + (0.2 + 0.3), (0.1 + 0.2) + 0.3, 0.1 + (0.2 + 0.3)
)

# %% [markdown]
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/11_reproduce.py`.
#
# **1.** A colleague runs your code and gets 0.8571 where you got 0.8563. What do you look at first?
#
# - a) The sidecars of both results: versions, commit, data, device, seed.
# - b) Nothing: the difference is small enough.
# - c) Your training code, line by line.

# %%
print(exercises.choose("two numbers differ", ""))

# %% [markdown]
# **2.** Why may a parameters cell hold no computed values?
#
# - a) Because papermill cannot run code.
# - b) Because a computed value would keep what it had before the injected cell changed its ingredient.
# - c) Because computing takes time.

# %%
print(exercises.choose("computed parameter", ""))

# %% [markdown]
# **3.** Somebody forges a table and renews its checksum. What finds it?
#
# - a) The checksum.
# - b) Making the table again from the rows.
# - c) Nothing can.

# %%
print(exercises.choose("forged table", ""))

# %% [markdown]
# **4. The same code?** Return `True` if two Python sources differ only in comments, blank lines or the way
# they are laid out, and `False` if they do something else. (The module `ast` reads source into a tree, in
# which comments do not occur.) A docstring counts as code here.


# %%
def same_code(a, b): ...  # your turn


print(exercises.check(same_code))

# %% [markdown]
# **5. What is stale?** You know for each step from which other steps it is made, as a dict from step to a
# list of steps. Given the set of steps of which the code has changed, return the sorted list of *all* steps
# that are stale: the changed ones and all that follow from a stale one, however far away. (Think of a
# chain, and of two ways that meet again.)


# %%
def all_stale(made_from, changed): ...  # your turn


print(exercises.check(all_stale))

# %% [markdown]
# **6. Experiment.** Run `nseg reproduce --profile smoke` to its end. Then change a comment in
# `nseg_lib/evaluation/metrics.py`, and ask `nseg status --profile smoke`. Then change what a metric returns,
# and ask again. Which steps are stale, which are not, and why are the trainings not among them? Undo it.
#
# **7. Open question.** Choose a published result that you rely on. What would you need to make its main
# number again? List what is there and what is missing, and name the missing piece that would cost you most.
#
# <details><summary>Rubric</summary>
#
# One point each: (1) code, with an exact version; (2) data, with the exact choice of samples; (3) settings
# and random seeds; (4) the environment: library versions and hardware; (5) rows, or raw outputs, so that
# tables can be checked without running anything. A good answer says for each whether it is there, and gives
# a reason for which loss hurts most.
#
# </details>
#
# ## Recap
#
# - Settings come from outside, in a parameters cell and in a profile.
# - A sidecar says where a result comes from; fingerprints say whether it is out of date.
# - Tables are rebuilt from rows and compared letter by letter; checksums find what rounding hides.
#
# ## Words
#
# - **Checksum**: a short number computed from all bytes of a file; another file has another one.
# - **Profile**: the file that holds all settings of a report.
# - **Provenance**: where a result comes from.
# - **Sidecar**: the file beside a result that holds its provenance.
# - **Stale**: made from something that has changed since.
#
# ## References
#
# - Sandve, G. K. et al. (2013). Ten simple rules for reproducible computational research. *PLOS
#   Computational Biology* 9(10).
#   [doi:10.1371/journal.pcbi.1003285](https://doi.org/10.1371/journal.pcbi.1003285)
# - Mölder, F. et al. (2021). Sustainable data analysis with Snakemake. *F1000Research* 10:33.
#   [doi:10.12688/f1000research.29032.2](https://doi.org/10.12688/f1000research.29032.2)
# - Goldberg, D. (1991). What every computer scientist should know about floating-point arithmetic. *ACM
#   Computing Surveys* 23(1). [doi:10.1145/103162.103163](https://doi.org/10.1145/103162.103163)
#
# Next: [12 · Strokes as people draw them](12_strokes_as_drawn.ipynb), where we leave the paper.
