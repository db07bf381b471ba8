# %% [markdown]
# # 04 · Training by hand
#
# After this chapter you will be able to
#
# - train a network, read its log, and tell why training stopped where it did;
# - read a figure of two trainings that differ in more than one thing.
#
# | | |
# |---|---|
# | makes | Figure 5 |
# | inputs → outputs | photographs, training logs (ours and the authors') → Figure 5 |
# | takes | about half a minute in every profile: the network trained here is a small one |
# | previous, next | [03 · From convolution to U-Net](03_unet.ipynb), [05 · Losses](05_losses.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the built-in data set, for the training below
runs = "runs/sample"  # trained networks
out = "reports/sample"  # where tables and figures go

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from nseg_lib import config
from nseg_lib.course import exercises, look, standins
from nseg_lib.data.coco import load_split
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation.metrics import iou
from nseg_lib.provenance import project_root
from nseg_lib.training import unet as training
from nseg_lib.training.runs import Run, logged_runs
from reproduction import figures, paper
from reproduction.artefacts import save_figure
from reproduction.kept import missing_run_command

look.use_style()
ROOT = project_root()
DATA, RUNS, OUT = Path(ROOT, data), Path(ROOT, runs), Path(ROOT, out)
PHOTOS = standins.data_set(Path(ROOT, photos))

# %% [markdown]
# ## Training, live
#
# One small network, a few epochs, on the built-in pictures at half their size. The paper's recipe
# (section 2.5): Adam with a learning rate of .001, one picture at a time, a new stroke for every
# picture in every epoch, and after each epoch a look at the validation pictures.

# %%
settings = config.load(
    "tiny16-32_bce-dice", {"model.widths": [8, 16], "training.epochs": 4, "data.scale": 0.5}
)
with tempfile.TemporaryDirectory() as folder:
    training.train(settings, PHOTOS, Path(folder), workers=0, accelerator="cpu", say=print)
    live = Run(settings.name, 0, Path(folder))
    log, steps, best = live.log(), live.steps(), live.best_epoch

# %% [markdown]
# What training wrote while it ran: a row an epoch in `log.csv`, a row every five steps in
# `steps.csv`. Everything one may say about a training comes from these two files.

# %%
log

# %% [markdown]
# One number is missing in every training log that we know of: what *doing nothing* scores. The
# stroke is already close to the object, so a rising IoU means little until it passes the stroke's
# own.

# %%
strokes = EvaluationSamples(load_split(PHOTOS, "val"), scale=0.5)
identity = np.mean([iou(sample.stroke, sample.mask) for sample in strokes])

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
at = steps["step"] / log["steps"][0]
left.plot(at, steps["train_loss"], ".", ms=2, color=look.PALETTE["stroke"], label="one step")
smooth = steps["train_loss"].rolling(figures.SMOOTHING, min_periods=1).mean()
left.plot(at, smooth, color=look.PALETTE["stroke"], label="mean of the last 80 logged")
left.plot(log["epoch"] + 1, log["val_loss"], "o-", color=look.PALETTE["res"], label="validation")
left.set(yscale="log", xlabel="epochs finished", ylabel="loss (log axis)")
figures.plain_log_axis(left)
left.legend()
right.plot(log["epoch"] + 1, log["val_iou"], "o-", color=look.PALETTE["res"], label="network")
right.axhline(identity, color=look.PALETTE["identity"], ls="--", label="stroke unchanged")
right.set(xlabel="epochs finished", ylabel="validation IoU")
right.legend()
plt.show()
print(f"kept: epoch {best}; its IoU minus the stroke's: {log['val_iou'][best] - identity:+.3f}")

# %% [markdown]
# *What to look for:* single steps scatter widely, because some pictures are hard;
# only the running mean shows progress. Validation can lie below training: strokes for training
# are drawn anew and the mean still holds older, worse steps. And on the right: is the network
# above the dashed line yet?
#
# **Early stopping** keeps the epoch of lowest validation loss, and ends training when five epochs
# in a row (the *patience*) bring none lower. Logs number the epochs from 0: the
# first point of a curve, after one finished epoch, is epoch 0.
#
# ## Figure 5: two full trainings
#
# The paper shows the loss of the model that it found best by pixel accuracy and of the one it found
# worst. Solid lines are ours, where they have been trained; dotted lines are the authors' own
# validation losses, from the logs they released. A star marks the epoch that was kept. Where a
# model was trained from several seeds, each has its curve, and a band spans their range.

# %%
shown, logs = paper.numbers()["figure5"], logged_runs(RUNS)
data5 = figures.figure5_data(shown, logs, paper.authors_logs())
commands = {model: missing_run_command(model, DATA, RUNS) for model in shown}
figure5 = figures.figure5(data5, commands)
inputs = [run.folder for model in shown for run in logs.get(model, [])]
inputs.append(paper.REPORTS / "authors_logs.csv")
save_figure(figure5, OUT / "figures" / "figure5", data5, profile=profile, inputs=inputs)
plt.show()

# %% [markdown]
# *What to look for:* the two trainings differ in more than the network: the left one's loss has a
# third term and other weights, so **the two vertical positions cannot be compared**, only the
# shapes. And the authors' right one stopped after a few epochs. Hold that thought.

# %%
chosen = {
    name: {"ours, best epoch": logs[name][0].best_epoch if name in logs else "not run here",
           "authors', best epoch": epoch}
    for name, epoch in paper.numbers()["chosen_epochs"].items()
}  # fmt: skip
pd.DataFrame(chosen).T


# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/04_training_by_hand.py`.


# %% [markdown]
# **1. Running mean.** The mean of the last `window` values at each place; at the beginning, of as
# many as there are. It is the smoothing of Figure 5.


# %%
def running_mean(values, window): ...  # your turn


print(exercises.check(running_mean))


# %% [markdown]
# **2. Early stopping.** Given the validation loss of every epoch that *would* come, return the
# epoch that is kept and the last epoch that is trained, counted from 0, for a given patience.


# %%
def stops_at(losses, patience): ...  # your turn


print(exercises.check(stops_at))


# %% [markdown]
# ## What you have seen
#
# A training log becomes readable once it is smoothed and once it carries the score of doing nothing.
#
# Next: [05 · Losses](05_losses.ipynb), what the network is told to do.
