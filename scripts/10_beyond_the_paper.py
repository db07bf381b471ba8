# %% [markdown]
# # 10 · Beyond the paper
#
# After this chapter you will be able to
#
# - say how much there is to gain over the stroke, and how much of it a network gains;
# - show what happens to a refiner when the strokes stop being the ones it was trained on;
# - lay down, before training anything, how the next refiner will be judged.
#
# | | |
# |---|---|
# | makes | nothing that is in the paper: what the paper does not ask |
# | inputs → outputs | trained networks, per-picture results → a protocol, and its first numbers |
# | takes | about half a minute; about two at full size on COCO |
# | previous | [09 · Draw your own](09_draw_your_own.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
runs = "runs/sample"  # trained networks
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from nseg_lib import Refiner, course, exercises, figures, metrics, paper, probes, summaries, tables
from nseg_lib import runs as trained_runs
from nseg_lib.baselines import grabcut
from nseg_lib.coco import load_split
from nseg_lib.datasets import EvaluationSamples
from nseg_lib.notebooks import project_root
from nseg_lib.strokes import make_stroke

ROOT = project_root()
DATA, OUT = course.data_set(Path(ROOT, data)), Path(ROOT, out)
RUNS = course.trained(Path(ROOT, runs), DATA)
ROWS = course.evaluated(Path(ROOT, rows), RUNS, DATA)

# %% [markdown]
# ## What is left to gain
#
# A stroke of IoU $s$ leaves $1 - s$ to gain. A method of IoU $m$ closes the share
# $(m - s) / (1 - s)$ of that gap. The model below is the one of highest IoU on the *validation*
# pictures; it is judged on pictures that did not choose it, where there are some.

# %%
results = tables.read_rows(ROWS)
judged_on = "test" if "test" in set(results["split"]) else "val"
found = trained_runs.find(RUNS)
on_val = summaries.summarise(results, split="val").set_index("method")["iou"]
chosen = on_val[on_val.index.isin(found)].idxmax()
summary = summaries.summarise(results, split=judged_on).set_index("method")
stroke_iou = summary.loc["identity", "iou"]

closed = pd.DataFrame({"IoU": summary["iou"]})
for name, column in (("mean", "iou_difference"), ("low", "iou_low"), ("high", "iou_high")):
    closed[f"gap closed, {name}"] = summary[column] / (1 - stroke_iou)
print(f"on {judged_on}, {summary['n'].iloc[0]} pictures; chosen on val: {chosen}")
closed.loc[["identity", *tables.BASELINES, chosen]].drop_duplicates().style.format("{:.3f}").format(
    "{:+.0%}", subset=[c for c in closed if c != "IoU"]
)

# %% [markdown]
# *What to look for:* how far from 100 % everything is, and how wide the intervals are. The
# paper's Table 1 has no such column: its IoU hides that most of it was handed in with the stroke.
#
# ## The strokes people draw are another world
#
# The network was trained on one recipe: nearly all of the object, with bites out of the edge. What
# does a person draw? Often a line through the middle of the thing. Simulated as the object's
# skeleton, a few pixels wide:

# %%
model = Refiner.load(found[chosen][0].weights)
scale = model.config.data.scale
pen = max(1, round(4 * scale))
samples = EvaluationSamples(load_split(DATA, judged_on), scale=scale)
pictures = [samples[i] for i in range(min(16, len(samples)))]


def recipe(name):
    """A recipe of the library, drawn at native size and shrunk, as the frozen strokes are."""

    def make(s):
        native = round(s.mask.shape[1] / scale), round(s.mask.shape[0] / scale)
        mask = cv2.resize(s.mask.astype(np.uint8), native, interpolation=cv2.INTER_NEAREST) > 0
        stroke = make_stroke(mask, name, image_id=s.image_id, annotation_id=s.annotation_id, draw=1)
        size = s.mask.shape[::-1]
        return cv2.resize(stroke.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5

    return make


kinds = {
    "erode (trained on)": lambda s: s.stroke,
    "dist": recipe("dist"),
    "paintbrush": recipe("paintbrush"),
    "thin scribble": lambda s: probes.thin_scribble(s.mask, pen),
}

# %% [markdown]
# The picture is chosen by a rule, as in chapter 08: of those that a report may show, the one whose
# stroke has the median IoU.

# %%
free = [s for s in pictures if samples.split.credit(s.image_id)] or pictures
shown = sorted(free, key=lambda s: metrics.iou(s.stroke, s.mask))[(len(free) - 1) // 2]
fig, axes = figures.panels(2, 4, size=(2.4, 2.1))
for column, (kind, make) in enumerate(kinds.items()):
    stroke = make(shown)
    crop = figures.around(shown.mask, *(make(shown) for make in kinds.values()))
    answer = model.refine(shown.image, stroke)
    before, after = metrics.iou(stroke, shown.mask), metrics.iou(answer, shown.mask)
    figures.show(
        axes[0, column], shown.image, stroke=stroke, crop=crop, title=f"{kind}: {before:.2f}"
    )
    figures.show(axes[1, column], shown.image, mask=shown.mask, prediction=answer, crop=crop)
    axes[1, column].set_title(f"{chosen}: {after:.2f}", fontsize=7)
figures.legend(fig, ("stroke", "truth", "prediction"))
plt.show()
print("photograph:", samples.split.credit(shown.image_id))

# %% [markdown]
# *What to look for:* in the last column, is the prediction an object, or a slightly thicker line?
#
# How strange is each kind to the network? Two numbers say it: how much of the object the stroke
# covers, and how much of the stroke lies outside.

# %%
drawn = {kind: [(make(s), s) for s in pictures] for kind, make in kinds.items()}
drawn = {kind: [(m, s) for m, s in pairs if m.any()] for kind, pairs in drawn.items()}
pd.DataFrame(
    {
        kind: {
            "of the object, covered": np.mean(
                [(m & s.mask).sum() / s.mask.sum() for m, s in pairs]
            ),
            "of the stroke, outside": np.mean([(m & ~s.mask).sum() / m.sum() for m, s in pairs]),
            "pictures": len(pairs),
        }
        for kind, pairs in drawn.items()
    }
).T.style.format("{:.0%}", subset=["of the object, covered", "of the stroke, outside"]).format(
    "{:.0f}", subset="pictures"
)

# %% [markdown]
# Now every method on every kind of stroke. For the thin scribble the classical method is told
# what it is looking at: the scribble is *surely object*, the picture's frame *surely background*,
# everything else is open. No training, the textbook's use of GrabCut.


# %%
def grabcut_from_seeds(image, stroke):
    """GrabCut that takes the stroke for a seed, not for a nearly finished mask."""
    labels = np.full(stroke.shape, cv2.GC_PR_BGD, np.uint8)
    labels[[0, -1]] = labels[:, [0, -1]] = cv2.GC_BGD
    labels[stroke] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


methods = {
    "stroke unchanged": lambda image, stroke: stroke,
    chosen: model.refine,
    "GrabCut in a ring": lambda image, stroke: grabcut(image, stroke, scale=scale),
    "GrabCut from seeds": grabcut_from_seeds,
}
scores = []
for kind, pairs in drawn.items():
    for name, method in methods.items():
        if name == "GrabCut from seeds" and kind != "thin scribble":
            continue  # a stroke with pixels outside the object is no seed
        for stroke, s in pairs:
            iou = metrics.iou(method(s.image, stroke), s.mask)
            scores.append({"kind": kind, "method": name, "image_id": s.image_id, "IoU": iou})
scores = pd.DataFrame(scores)
means = scores.groupby(["method", "kind"], sort=False)["IoU"].mean().unstack()
means.style.format("{:.3f}", na_rep="–").highlight_max(axis=0, props="font-weight: bold")

# %% [markdown]
# *What to look for:* read the network's row from left to right. And in the last column, compare
# it with a method from 2004 that has no weights at all.
#
# ## How much of the object must be there already?
#
# Between "nearly all" and "a line" lies a scale. Let the stroke cover a growing share of the
# object's core: the stroke's IoU is that share. A refiner that *understood* the picture would lie
# far above the diagonal; one that trims and pads what it is given follows it.

# %%
shares = np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
dozen = pictures[:12]
curve = np.array(
    [
        [metrics.iou(model.refine(s.image, probes.too_small(s.mask, p)), s.mask) for s in dozen]
        for p in shares
    ]
)
low, high = summaries.bootstrap_interval(curve.T, [s.image_id for s in dozen])
fig, ax = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
ax.plot([0, 1], [0, 1], ls="--", color=figures.PALETTE["identity"], label="stroke unchanged")
ax.plot(shares, curve.mean(axis=1), "o-", color=figures.colour(chosen), label=chosen)
ax.fill_between(shares, low, high, color=figures.colour(chosen), alpha=0.2, label="95 % interval")
ax.set(xlabel="share of the object that the stroke covers", ylabel="IoU")
ax.legend()
plt.show()

# %% [markdown]
# ## How a refiner should be judged
#
# What the chapters before have found wanting, as a protocol of six rules. Each is a row, a column
# or a part of a cell in the table below it:
#
# 1. **Against the stroke it was given**, picture by picture: the mean difference.
# 2. **With an interval** over pictures, and on pictures that chose nothing.
# 3. **By the share made worse**: a tool that spoils one picture in four is not used twice.
# 4. **In absolute terms too**: where the stroke is a thin line, beating it means little.
# 5. **On more than one kind of stroke**, at least one of which it was not trained on.
# 6. **Beside a method without training**, under the same rules.


# %%
def verdict(method, kind):
    """Rules 1 to 4 for one method on one kind of stroke."""
    of_kind = scores[scores["kind"] == kind].pivot(index="image_id", columns="method", values="IoU")
    difference = of_kind[method] - of_kind["stroke unchanged"]
    low, high = summaries.bootstrap_interval(
        difference.to_numpy()[:, None], difference.index.to_numpy()
    )
    worse = (difference < -summaries.IOU_MARGIN).mean()
    change = f"{difference.mean():+.3f} [{low[0]:+.3f}, {high[0]:+.3f}]"
    return f"{of_kind[method].mean():.3f}: {change}, {worse:.0%} worse"


protocol = pd.DataFrame(
    {kind: {name: verdict(name, kind) for name in (chosen, "GrabCut in a ring")} for kind in kinds}
).T
note = paper.setting_note(profile)
protocol.style.set_caption(f"IoU: difference to the stroke's [95 %], share made worse. {note}")

# %% [markdown]
# ## What would come next
#
# Each of these is a question with the measurement that would answer it, in the table above:
#
# - *Is it the strokes or the network?* Train the same network on a mixture of the recipes and of
#   scribbles. If the last row comes near the first while the first stays, it was the strokes.
# - *Does colour help?* The networks see grey and a gradient; `inputs: rgb` in a configuration
#   gives them colour. The first row answers.
# - *Would a second stroke help more than a better network?* Give the method the worst missing
#   pixel as a further stroke, and plot IoU against the number of strokes.
# - *What of background strokes?* A person can say what is **not** the object. The networks have no
#   channel for it; GrabCut has.
#
# ## Exercises
#
# **1. Share of the gap.** From the IoU of identity and of a method, the share of the gap that is
# closed.


# %%
def share_of_gap(identity, method): ...  # your turn


print(exercises.check_share_of_gap(share_of_gap))

# %% [markdown]
# **2. Background strokes for GrabCut.** Return OpenCV's labels as `uint8`: 1 (surely object) on
# the stroke, 0 (surely background) on the background stroke, 2 (probably background) elsewhere.


# %%
def trimap(stroke, background): ...  # your turn


print(exercises.check_trimap(trimap))

# %% [markdown]
# **3. The worst kind.** From a dictionary, kind of stroke → list of differences to identity, return
# the kind on which the mean difference is lowest.


# %%
def worst_kind(differences): ...  # your turn


print(exercises.check_worst_kind(worst_kind))

# %% [markdown]
# ## What you have seen
#
# - Most of a refiner's IoU comes in with the stroke; what it adds is the share of the gap it
#   closes.
# - A network knows the strokes it was trained on. A different kind of stroke is a different task,
#   and should be a row of its own.
# - A protocol comes before the next model, so that the model cannot choose it.
#
# Back to the [start](00_start_here.ipynb).
