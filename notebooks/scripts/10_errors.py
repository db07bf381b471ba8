# %% [markdown]
# # 10 · Errors
#
# After this chapter you will be able to
#
# - choose the pictures for a figure by a rule, so that nobody has to trust your taste;
# - turn "the model fails on small objects" into a number with an interval;
# - tell a model's failure from a failure of the stroke it was given.
#
# | | |
# |---|---|
# | makes | Figures 6 and 7, and the failure modes of section 3.4 as measurements |
# | inputs → outputs | trained networks, per-picture results → the two figures, slices |
# | takes | about half a minute; up to two at full size on COCO |
# | previous, next | [09 · Reading a results table](09_results_table.ipynb), [11 · Reproduce it](11_reproduce.ipynb) |

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

from nseg_lib import Refiner, config
from nseg_lib.course import exercises, look, probes, standins
from nseg_lib.data.coco import load_split
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.summary import bootstrap_interval, read_folder
from nseg_lib.provenance import project_root
from nseg_lib.training.runs import find_runs
from reproduction import figures, paper
from reproduction.artefacts import save_figure
from reproduction.figures import figure6, figure7
from reproduction.kept import missing_run_command, nearest_run

look.use_style()
ROOT = project_root()
DATA, OUT = standins.data_set(Path(ROOT, data)), Path(ROOT, out)
RUNS = standins.trained(Path(ROOT, runs), DATA)
ROWS = standins.evaluated(Path(ROOT, rows), RUNS, DATA)

# %% [markdown]
# ## The networks, and one picture
#
# All networks of the paper's that have been trained, the first seed of each:

# %%
trained = find_runs(RUNS)
found = {name: trained[name] for name in config.THE_EIGHT if name in trained}
refiners = {name: Refiner.load(of_model[0].weights) for name, of_model in found.items()}
scale = next(iter(refiners.values())).config.data.scale
split = load_split(DATA, "val")
val = EvaluationSamples(split, scale=scale)
print(f"{len(refiners)} of the paper's {len(config.THE_EIGHT)} models trained in {runs}; "
      f"{len(val)} validation pictures at scale {scale}")  # fmt: skip

# %% [markdown]
# Which picture to show? Whoever picks by looking picks a success, or a joke. The rule here is fixed
# before any prediction is drawn:
#
# > Of the validation pictures whose object covers between 5 % and 50 % of the picture, and whose
# > licence lets a report show them, the one on which the trained models' mean IoU is the
# **median**.
#
# Half of these pictures come out better than this one, half worse.

# %%
results = read_folder(ROWS)
known = results[results["method"].isin(refiners) & (results["split"] == "val")]
showable = [split.credit(image_id) is not None for image_id in known["image_id"]]
known = known[showable] if any(showable) else known
share = known["object_area"] / (known["width"] * known["height"])
eligible = known[share.between(0.05, 0.5)] if share.between(0.05, 0.5).any() else known
mean_iou = eligible.groupby("image_id")["iou"].mean().sort_values()
typical_id = mean_iou.index[(len(mean_iou) - 1) // 2]
showable_ids = [i for i in split.images if split.credit(i) is not None]
assert typical_id == probes.typical(results, list(refiners), showable_ids)
typical = next(sample for sample in val if sample.image_id == typical_id)
print(f"picture {typical_id} ({typical.category}): mean IoU {mean_iou[typical_id]:.3f}, "
      f"range over pictures {mean_iou.iloc[0]:.3f} to {mean_iou.iloc[-1]:.3f}")  # fmt: skip

# %% [markdown]
# ## Figure 6: one input, all models
#
# The stroke is what every model gets. Look at what each one changes of it, and whether the changes
# are in the right places: the prediction is magenta, the truth blue.

# %%
predictions = {
    name: refiners[name].refine(typical.image, typical.stroke, scale=1)
    if name in refiners
    else missing_run_command(name, DATA, Path(ROOT, runs))
    for name in config.THE_EIGHT
}
data6 = figures.figure6_data(results, list(refiners), typical_id)
ious = data6.set_index("method")["iou"].to_dict()
figure6 = figure6(typical.image, typical.stroke, typical.mask, predictions, ious)
weights = [of_model[0].weights for of_model in found.values()]
credit = split.credit(typical_id) or "licence not stated: not to be passed on"
save_figure(
    figure6, OUT / "figures" / "figure6", data6, profile=profile, inputs=[DATA / "val", *weights],
    credit=credit,
)  # fmt: skip
plt.show()

# %% [markdown]
# *What to look for:* do the models differ from each other as much as each differs from the truth?
# Which errors of the stroke does every model keep? The paper's text sees "more precise
# boundaries" in models with residual connections or attention; one picture can neither show nor
# refute that. The table of claims asks all test pictures.
#
# ## Figure 7: strokes that are too small, or too large
#
# The paper shows one object under an *ambiguous* stroke and the model failing on it. Two such
# strokes, made from the mask so that "too small" and "overshooting" have a measure:


# %%
def too_small_by_hand(mask, share):
    """The object's core: its deepest pixels."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = np.argsort(-depth, axis=None, kind="stable")[: round(share * mask.sum())]
    core = np.zeros(mask.size, bool)
    core[deepest] = True
    return core.reshape(mask.shape)


small, large = probes.too_small(typical.mask, 0.3), probes.overshooting(typical.mask, 2.0)
assert (small == too_small_by_hand(typical.mask, 0.3)).all()
strokes = {"too small, 30 % of the object": small, "overshooting, twice its area": large}

# %%
run = nearest_run(found, paper.numbers()["figure7"])
model = refiners[run.model]
papers = paper.numbers()["figure7"]
also = "" if run.model == papers else f" (nearest in the table to the paper's {papers})"
answers = {name: model.refine(typical.image, stroke, scale=1) for name, stroke in strokes.items()}
figure7 = figure7(typical.image, typical.mask, strokes, answers)
figure7.suptitle(run.model + also, fontsize=10)
data7 = pd.DataFrame(
    (
        typical_id,
        run.model,
        name,
        metrics.iou(stroke, typical.mask),
        metrics.iou(answers[name], typical.mask),
    )
    for name, stroke in strokes.items()
)
data7.columns = ["image_id", "method", "stroke", "iou_before", "iou_after"]
save_figure(
    figure7, OUT / "figures" / "figure7", data7, profile=profile, inputs=[DATA / "val", run.weights],
    credit=credit,
)  # fmt: skip
plt.show()

# %% [markdown]
# *What to look for:* how much of the stroke's shape is still in the prediction? How much of what
# a small stroke leaves out is still missing (blue), how much of what an overshooting one adds is
# still there (magenta)? In training, strokes never were like these (chapter 02).
#
# One picture is an anecdote. The same two strokes on up to thirty validation pictures:

# %%
thirty = [val[i] for i in range(min(30, len(val)))]
table = []
for name, make in (
    ("as in training", lambda s: s.stroke),
    ("too small, 30 %", lambda s: probes.too_small(s.mask, 0.3)),
    ("overshooting, 200 %", lambda s: probes.overshooting(s.mask, 2.0)),
):
    pairs = [(make(s), s) for s in thirty]
    before = np.array([metrics.iou(stroke, s.mask) for stroke, s in pairs])
    after = np.array(
        [metrics.iou(model.refine(s.image, stroke, scale=1), s.mask) for stroke, s in pairs]
    )
    low, high = bootstrap_interval((after - before)[:, None], [s.image_id for s in thirty])
    table.append((name, before.mean(), after.mean(), (after - before).mean(), low[0], high[0]))
columns = ["stroke", "IoU of the stroke", "IoU of the prediction", "difference", "low", "high"]
pd.DataFrame(table, columns=columns).set_index("stroke").rename_axis(None).style.format("{:.3f}")

# %% [markdown]
# ## Three failure modes, measured
#
# Section 3.4 of the paper names three kinds of pictures on which its models fail: **ambiguous
# strokes**, **cluttered backgrounds**, **small objects**. It shows an example of the first. An example proves
# that a failure *exists*; whether it is *more frequent* there takes three steps:
#
# 1. Give each picture a number: how good its stroke is, how busy its surroundings, how small its
#    object.
# 2. Cut the pictures at the number's terciles: three bins, equally many pictures in each.
# 3. Compare the bins, with intervals, and **compare the stroke's own IoU in the same bins**:
#    where doing nothing is just as bad, the model did not fail, the task was hard.
#
# The number for clutter: the mean gradient of the picture in a ring round the object.

# %%
luma = cv2.GaussianBlur(cv2.cvtColor(typical.image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
dx, dy = (cv2.Sobel(luma, cv2.CV_32F, x, 1 - x) / 8 for x in (1, 0))
gradient = np.sqrt(dx**2 + dy**2)
away = cv2.distanceTransform((~typical.mask).astype(np.uint8), cv2.DIST_L2, 5)
ring = (away > 2) & (away <= 17)
assert np.isclose(gradient[ring].mean(), probes.clutter(typical.image, typical.mask))

fig, axes = look.panels(1, 3)
crop = look.around(typical.mask)
look.show(axes[0, 0], typical.image, mask=typical.mask, crop=crop, title="picture")
look.show(axes[0, 1], gradient, crop=crop, title="gradient")
look.show(axes[0, 2], np.where(ring, gradient, 0), crop=crop, title="gradient in the ring")
plt.show()

# %% [markdown]
# Now for every validation and test picture. The model is the one of Figure 7. For each picture we
# also note *precision* (which share of the prediction is object) and *recall* (which share of the
# object is predicted), because the paper says that clutter costs precision.

# %%
splits = [name for name in ("val", "test") if name in set(results["split"])]
sliced = []
for split in splits:
    for s in EvaluationSamples(load_split(DATA, split), scale=scale):
        answer = model.refine(s.image, s.stroke, scale=1)
        both = (answer & s.mask).sum()
        sliced.append(
            {
                "split": split,
                "image_id": s.image_id,
                "stroke quality": metrics.iou(s.stroke, s.mask),
                "clutter": probes.clutter(s.image, s.mask),
                "object size": s.mask.mean(),
                "IoU": metrics.iou(answer, s.mask),
                "precision": both / max(1, answer.sum()),
                "recall": both / s.mask.sum(),
            }
        )
sliced = pd.DataFrame(sliced)
sliced["stroke's IoU"] = sliced["stroke quality"]
sliced["difference"] = sliced["IoU"] - sliced["stroke's IoU"]
print(f"{run.model} on {len(sliced)} pictures ({' and '.join(splits)})")

# %%
MODES = ("stroke quality", "clutter", "object size")
fig, axes = plt.subplots(2, 3, figsize=(10, 5), sharey="row", layout="constrained")
for column, mode in enumerate(MODES):
    bins = probes.binned(sliced, mode, ["IoU", "stroke's IoU", "difference"])
    for value, colour, shift in (("stroke's IoU", "identity", -0.06), ("IoU", "res", 0.06)):
        bars = [bins[value] - bins[f"{value}_low"], bins[f"{value}_high"] - bins[value]]
        label = {"IoU": "model", "stroke's IoU": "stroke unchanged"}[value]
        axes[0, column].errorbar(
            bins["bin"] + shift,
            bins[value],
            yerr=bars,
            fmt="o",
            color=look.PALETTE[colour],
            label=label,
        )
    bars = [
        bins["difference"] - bins["difference_low"],
        bins["difference_high"] - bins["difference"],
    ]
    axes[1, column].errorbar(bins["bin"], bins["difference"], yerr=bars, fmt="o", color="black")
    axes[1, column].axhline(0, color=look.PALETTE["identity"], ls="--")
    names = [f"{r.low:.2g} to {r.high:.2g}\nn = {r.n}" for r in bins.itertuples()]
    axes[0, column].set(title=mode, xticks=[])
    axes[1, column].set_xticks(bins["bin"], names)
    axes[1, column].set(xlim=(0.6, 3.4))
axes[0, 0].set_ylabel("IoU")
axes[1, 0].set_ylabel("model - stroke")
axes[0, 0].legend(loc="lower right")
plt.show()

# %% [markdown]
# *What to look for:* the upper row is what the paper talks about: where does the model's IoU
# fall? The lower row is what the *model* has to do with it: in which bins does it add something
# to the stroke, and in which does it take something away? A blue point that falls together with
# its grey neighbour is a hard picture, not a failing model.
#
# The three numbers are not independent. Where small objects also get the worse strokes, a trend
# along one may be the shadow of the other. The rank correlations between them, and with the
# model's IoU and what it adds:

# %%
ranks = sliced[[*MODES, "IoU", "difference", "precision", "recall"]].rank()
ranks.corr().loc[list(MODES)].style.format("{:+.2f}").background_gradient(
    cmap="PuOr", vmin=-1, vmax=1
)

# %% [markdown]
# Does clutter cost precision, as the paper says? And is it still so among pictures with equally
# good strokes? The second question takes the stroke's influence out of both sides (a partial rank
# correlation).


# %%
def correlation(frame, a, b, without=None):
    """Of the ranks of a and b, after removing what the ranks of `without` explain of both."""
    r = frame[[a, b] if without is None else [a, b, without]].rank().corr()
    if without is None:
        return r.loc[a, b]
    ac, bc = r.loc[a, without], r.loc[b, without]
    unexplained = (1 - ac**2) * (1 - bc**2)
    return (r.loc[a, b] - ac * bc) / np.sqrt(unexplained) if unexplained > 1e-9 else np.nan


rng = np.random.default_rng(0)
drawn = [sliced.sample(len(sliced), replace=True, random_state=rng) for _ in range(300)]


def with_interval(*columns):
    """The correlation, and where it lies in 95 % of resampled sets of pictures."""
    low, high = pd.Series([correlation(d, *columns) for d in drawn]).quantile([0.025, 0.975])
    return f"{correlation(sliced, *columns):+.2f} [{low:+.2f}, {high:+.2f}]"


claims = {
    "bad strokes: IoU with stroke quality": ("IoU", "stroke quality"),
    "clutter: precision with clutter": ("precision", "clutter"),
    "small objects: IoU with object size": ("IoU", "object size"),
}
pd.DataFrame(
    {
        claim: {
            "correlation [95 %]": with_interval(*pair),
            "at equal strokes [95 %]": with_interval(*pair, "stroke quality")
            if "stroke quality" not in pair
            else "–",
        }
        for claim, pair in claims.items()
    }
).T

# %% [markdown]
# *How to read it:* a correlation whose interval holds 0 has not been shown on this many pictures,
# however convincing its examples look. "At equal strokes" says what is left of it once the
# quality of the stroke is accounted for.
#
# Of *occluded* objects, which the paper names with the small ones, nothing is said here: the
# annotations do not say what is occluded.
#
# ## Where the errors are
#
# Finally the pictures at the two ends, again by rule: of those that a report may show, the one on
# which the model adds most to the stroke, and the one on which it takes most away.

# %%
loaded = {name: load_split(DATA, name) for name in splits}
free = [loaded[r.split].credit(r.image_id) is not None for r in sliced.itertuples()]
difference = sliced[free if any(free) else [True] * len(sliced)]["difference"]
ends = [sliced.loc[difference.idxmax()], sliced.loc[difference.idxmin()]]
fig, axes = look.panels(2, 3, size=(3, 2.6))
for line, title, row in zip(axes, ("adds most", "takes most away"), ends, strict=True):
    samples = EvaluationSamples(loaded[row["split"]], scale=scale)
    s = next(sample for sample in samples if sample.image_id == row["image_id"])
    answer, crop = model.refine(s.image, s.stroke, scale=1), look.around(s.mask, s.stroke)
    before = f"{title}: stroke {row['stroke quality']:.3f}"
    look.show(line[0], s.image, stroke=s.stroke, mask=s.mask, crop=crop, title=before)
    look.show(line[1], s.image, mask=s.mask, prediction=answer, crop=crop)
    line[1].set_title(f"model {row['IoU']:.3f}")
    look.show_errors(line[2], s.image, s.mask, answer, crop=crop, title="what is wrong in it")
look.legend(fig, ("stroke", "truth", "prediction", "missed", "extra"))
plt.show()
for row in ends:
    print("photograph:", loaded[row["split"]].credit(row["image_id"]))

# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/10_errors.py`.
#
# **1. Precision and recall.** Of a predicted mask and a target. An empty prediction has precision
# 1: nothing in it is wrong.


# %%
def precision_recall(predicted, target): ...  # your turn


print(exercises.check(precision_recall))

# %% [markdown]
# **2. A typical picture.** From a list of values, one per picture, return the place of the value
# that is nearest to the median; of equals, the first.


# %%
def typical_place(values): ...  # your turn


print(exercises.check(typical_place))

# %% [markdown]
# **3. Bins of equal count.** Sort the pictures along `by`, cut them into `bins` groups of equal
# count, and return the mean of `values` in each.


# %%
def bin_means(by, values, bins): ...  # your turn


print(exercises.check(bin_means))

# %% [markdown]
# ## What you have seen
#
# - Pictures in a figure are chosen by a rule that is written down before they are drawn.
# - The networks follow their stroke; a stroke unlike those of training goes wrong, in either
#   direction.
# - A failure mode is a slice with a count and an interval, beside the slice of doing nothing.
#
# Next: [11 · Reproduce it](11_reproduce.ipynb), where the strokes are yours.
