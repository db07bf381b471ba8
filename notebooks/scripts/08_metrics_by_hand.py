# %% [markdown]
# # 08 · Metrics by hand
#
# A metric takes two masks, the *predicted* one and the *target*, and returns one number. Every such number
# leaves something out: that is its purpose, and its danger. In this chapter you compute all metrics of the
# paper by hand, on masks so small that you can count their pixels. Then you make mistakes on purpose and
# see which metric notices which.
#
# After this chapter you will be able to
#
# - compute accuracy, IoU, both boundary IoUs and the Hausdorff distance, and say what each one punishes;
# - say what happens where a mask is empty, and why that decides results;
# - tell a threshold on probabilities from a threshold on logits.
#
# | | |
# |---|---|
# | before you start | chapter 00 for IoU |
# | learning time | 50 minutes |
# | running time | a few seconds |
# | makes | nothing that is numbered: the metrics of section 2.6 of the paper |
# | previous, next | [07 · Attention](07_attention.ipynb), [09 · Reading a results table](09_results_table.ipynb) |

# %% tags=["parameters"]
metric = "hausdorff_contour"  # the metric that the last plot follows while a mask is shifted

# %%
import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from nseg_lib.course import exercises, look, plots
from nseg_lib.evaluation import metrics

look.use_style()
predicted, target = plots.toy_pair()
plots.grids({"grey: both · blue: missed · magenta: added": (predicted, target)})

# %% [markdown]
# ## Guess first
#
# Look at the two masks above and count, or estimate: which share of *all* squares is right? Which share of
# the coloured squares is grey? And how far is the worst magenta square from the nearest square of the
# target? The first number is the accuracy and the second is the IoU. The third is the Hausdorff distance in
# one of its two directions.
#
# ## Accuracy and IoU: counting
#
# *Pixel accuracy* is the share of the picture's pixels that are right. *IoU* leaves out the pixels that are
# background in both masks: nobody deserves credit for those.

# %%
right = (predicted == target).sum()
both, either = (predicted & target).sum(), (predicted | target).sum()
print(f"accuracy {right} / {target.size} = {right / target.size:.3f}")
print(f"IoU      {both} / {either} = {both / either:.3f}")
assert right / target.size == metrics.pixel_accuracy(predicted, target)
assert both / either == metrics.iou(predicted, target)

# %% [markdown]
# The smaller the object, the more an *empty* answer is worth in accuracy. An object that covers 2 % of its
# picture gives an accuracy of 0.98 to a method that never finds anything. That is why all accuracies in the
# paper's Table 1 begin with 0.98, and why this course looks elsewhere.
#
# ## Boundary IoU: two metrics of one name
#
# Refinement is about outlines, so there should be a number that looks at outlines only. The **paper's**
# Boundary IoU takes the inner boundary of each mask, *one pixel wide*, and computes the IoU of the two
# boundaries. A pixel belongs to the boundary if it is in the mask and one of its eight neighbours is not.
# The function below finds it by shifting: a pixel survives if all nine shifted copies of the mask have it.


# %%
def inner(mask, depth=1, beyond=True):
    """The mask less `depth` erosions by a 3×3 square; `beyond` is what lies outside the picture."""
    height, width = mask.shape
    eroded = mask
    for _ in range(depth):
        padded = np.pad(eroded, 1, constant_values=beyond)
        shifts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        eroded = np.all(shifts, axis=0)
    return mask & ~eroded


boundaries = inner(predicted), inner(target)
thin = metrics.iou(*boundaries)
assert thin == metrics.boundary_iou_1px(predicted, target)
thicker = inner(predicted, 2), inner(target, 2)
plots.grids({f"1 px wide: IoU {thin:.3f}": boundaries,
             f"2 px wide: IoU {metrics.iou(*thicker):.3f}": thicker})  # fmt: skip

# %% [markdown]
# **What to look for.** Look at the left edges: they are one pixel apart, and two boundaries of one pixel width
# then have nothing in common there. Boundaries of two pixels still share half. So the thin metric is merciless:
# small shifts that no eye would notice cost most of the score.
#
# The **literature's** Boundary IoU (Cheng et al. 2021) takes a band of 2 % of the picture's diagonal
# instead, so that being one pixel off costs little and being far off costs all. In a picture of 640 × 480
# the band is 16 pixels wide. The two metrics share a name and nothing else; in this project they are called
# `boundary_iou_1px` and `boundary_iou`. If a paper says "Boundary IoU", look up which one it is.

# %%
depth = max(1, round(0.02 * np.hypot(*target.shape)))
wide = metrics.iou(inner(predicted, depth, beyond=False), inner(target, depth, beyond=False))
assert wide == metrics.boundary_iou(predicted, target)
print(f"2 % of this picture's diagonal is {depth} pixel: {wide:.3f}")

# %% [markdown]
# ## Hausdorff distance: the worst pixel
#
# From each pixel of one mask, go to the *nearest* pixel of the other. Of all these distances, take the
# *largest*. Do the same in the other direction, and take the larger of the two. That is the Hausdorff
# distance, in pixels. Both directions are needed: a mask that lies entirely within the target is at distance
# 0 from it, even if it is a single pixel.

# %%
plots.farthest(predicted, target)

# %% [markdown]
# **What to look for.** Each arrow starts at the pixel that has the longest way to the other mask, and ends at the
# nearest pixel there. The longer of the two arrows is the Hausdorff distance. Move the lower magenta row in
# your mind: as long as no pixel gets farther away than the arm's last one, the distance stays what it is.
#
# The paper's text says that the distance is taken "between boundaries"; its code takes all pixels of the
# masks (*region*). Both are here. HD95 takes the 95th percentile in place of the largest distance, so that
# a single stray pixel does not decide everything.


# %%
def contour(mask):
    """Mask pixels with one of four neighbours outside the mask, or on the picture's border."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def both_ways(a, b):
    """Distance of each pixel of a to the nearest of b, and of each of b to the nearest of a."""
    distances = cdist(np.argwhere(a), np.argwhere(b))
    return distances.min(axis=1), distances.min(axis=0)


# %%
region = max(d.max() for d in both_ways(predicted, target))
outline = max(d.max() for d in both_ways(contour(predicted), contour(target)))
hd95 = max(np.percentile(d, 95) for d in both_ways(contour(predicted), contour(target)))
assert np.isclose(region, metrics.hausdorff_region(predicted, target))
assert np.isclose(outline, metrics.hausdorff_contour(predicted, target))
assert np.isclose(hd95, metrics.hd95(predicted, target))
print(f"region {region:.2f} px, contour {outline:.2f} px, 95 % of the contour {hd95:.2f} px")

# %% [markdown]
# <details><summary>Answer to the guess</summary>
#
# The accuracy looks comfortable, because most squares of the grid are background and right. The IoU of the
# same two masks is far lower. The worst magenta square is three squares away from the target. One small arm
# of three squares has decided the Hausdorff distance alone; without it the distance would be little more than
# one.
#
# </details>
#
# From here on the library's versions are used. They compute the same numbers with distance transforms, in
# milliseconds instead of minutes.
#
# ## What each metric sees
#
# Now a disc of 80 pixels across in a picture of 640 × 480, and one kind of mistake at a time. Before you
# run the cell, guess for each row which metric will be lowest.

# %%
y, x = np.ogrid[:480, :640]


def disc(dx=0, radius=40):
    return (y - 240) ** 2 + (x - 320 - dx) ** 2 <= radius**2


speck = disc()
speck[20, 20] = True
mistakes = {
    "shifted by 1 px": disc(1),
    "shifted by 4 px": disc(4),
    "1 px too small all round": disc(radius=39),
    "one wrong pixel, far away": speck,
    "a quarter missing": disc() & ~((y > 240) & (x > 320)),
    "empty": np.zeros((480, 640), bool),
}

# %%
NAMES = ("pixel_accuracy", "iou", "boundary_iou_1px", "boundary_iou", "hausdorff_contour", "hd95")
seen = {name: metrics.evaluate_mask(mask, disc()) for name, mask in mistakes.items()}
plots.table([(name, *(values[m] for m in NAMES)) for name, values in seen.items()],
            ("mistake", *NAMES), "{:.3f}")  # fmt: skip

# %% [markdown]
# **What to look for.** Accuracy hardly moves, not even for the empty mask. A single pixel takes the
# Hausdorff distance to the other end of the picture and leaves everything else alone: a *mean* of Hausdorff
# distances is mostly a count of stray specks. A shift by one pixel takes more than half of the one-pixel
# Boundary IoU and next to nothing of IoU. No single number is enough.

# %%
shifts = range(0, 41, 2)
followed = [metrics.evaluate_mask(disc(dx), disc()) for dx in shifts]
look.curves(
    {
        "overlaps": {name: (shifts, [v[name] for v in followed]) for name in NAMES[:4]},
        f"{metric}, divided by 40 px": {metric: (shifts, [v[metric] / 40 for v in followed])},
    },
    x="shifted by (px)", y="metric",
)  # fmt: skip

# %% [markdown]
# **What to look for.** Which curve has fallen to a third first, and which one still tells a shift of 20
# pixels from one of 30? A metric is useful where it changes. The one-pixel boundary decides between good
# masks, and a distance decides between bad ones.
#
# ## Empty masks
#
# What is 0 / 0? Every implementation decides it, and most do so silently. Popular libraries return "not a
# number" for the distance to an empty mask **and then leave it out of the mean**. So the worst failure of
# all, an answer without a single pixel, *raises* the average. In this project every case has a value, and
# two tests hold it: two empty masks agree, and one empty mask is as wrong as can be. Its overlap is 0 and
# its distance is the picture's whole diagonal, which no two real masks can have.

# %%
small, empty, full = disc()[200:280, 280:360], np.zeros((80, 80), bool), np.ones((80, 80), bool)
cases = {
    "both empty": (empty, empty), "predicted empty": (empty, small),
    "target empty": (small, empty), "predicted full": (full, small), "both full": (full, full),
}  # fmt: skip
judged = {name: metrics.evaluate_mask(*pair) for name, pair in cases.items()}
plots.table([(name, *(values[m] for m in NAMES)) for name, values in judged.items()],
            ("case", *NAMES), "{:.2f}")  # fmt: skip

# %% [markdown]
# ## Threshold: probability 0.5 or logit 0.5?
#
# A network gives a logit $\ell$ for each pixel, and the probability is $p = \sigma(\ell) = 1 / (1 +
# e^{-\ell})$. To get a mask, one needs a threshold. The natural one is $p > 0.5$, which is the same as $\ell
# > 0$. The paper's released code compares the *logit* with 0.5. That is another place on the same curve, and
# it makes every mask a little smaller.

# %%
logits = np.linspace(-1, 1, 9)
pd.DataFrame({"logit": logits, "probability": 1 / (1 + np.exp(-logits)),
              "p > .5": logits > 0, "logit > .5": logits > 0.5}).style.format(precision=3)  # fmt: skip

# %%
print(f"a logit of .5 is a probability of {1 / (1 + np.exp(-0.5)):.3f}")

# %% [markdown]
# The tables of this project use $p > 0.5$ for every method; the rows hold the results of the other rule too.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/08_metrics_by_hand.py`.
#
# **1.** A method never finds anything: all its masks are empty. The objects cover 3 % of their pictures.
# What are its accuracy and its IoU?
#
# - a) 0.97 and 0.
# - b) 0 and 0.
# - c) 0.97 and 0.03.

# %%
print(exercises.choose("always empty", ""))

# %% [markdown]
# **2.** Two methods have the same mean IoU. One of them has a much worse mean Hausdorff distance. What is
# the likeliest reason?
#
# - a) Its outlines are shifted by a pixel or two.
# - b) It leaves a few stray specks far away from the object.
# - c) Its masks are somewhat too small.

# %%
print(exercises.choose("worse hausdorff", ""))

# %% [markdown]
# **3.** A library leaves "not a number" out of its means. A network answers with an empty mask on the ten
# hardest of 100 pictures. What does its mean distance show?
#
# - a) It is worse than it should be.
# - b) It is better than it should be.
# - c) It is right: an empty mask has no distance.

# %%
print(exercises.choose("nan left out", ""))

# %% [markdown]
# **4. Average surface distance.** Hausdorff takes the worst distance; a milder relative takes the mean.
# From two sets of points, arrays of n×2 and m×2, return the mean of *all* n + m distances: of each point of
# the one set to the nearest point of the other, in both directions.


# %%
def average_distance(a, b): ...  # your turn


print(exercises.check(average_distance))

# %% [markdown]
# **5. Dice from IoU.** The Dice coefficient is $D = 2 |P \cap T| / (|P| + |T|)$. It is a function of IoU
# alone, whatever the masks are. Find that function and write it down. Which of the two is larger?


# %%
def dice_of(iou): ...  # your turn


print(exercises.check(dice_of))

# %% [markdown]
# **6. Experiment.** Take the disc and remove a fringe of random pixels from its edge, more and more of them.
# Plot all metrics against the share of the edge that is removed. Which of them would you optimise if you
# wanted smooth outlines, and which one would let ragged ones through?
#
# **7. Open question.** You judge a tool that surgeons use to outline tumours. The outline will be used to
# aim radiation. Which two metrics do you report, and which one do you keep out of the abstract? Give your
# reasons in terms of what each metric sees.
#
# <details><summary>Rubric</summary>
#
# One point each: (1) a distance in millimetres is among them, since harm grows with distance; (2) its
# sensitivity to single specks is discussed, for instance by HD95; (3) missed and added parts are treated
# apart, as they do different harm; (4) accuracy is kept out, and the reason is the large background; (5) it
# is said what happens to an empty answer.
#
# </details>
#
# ## Recap
#
# - Accuracy counts background; IoU does not.
# - "Boundary IoU" and "Hausdorff" each stand for more than one definition.
# - Each metric is blind to something; report at least an overlap and something about the outline.
# - Empty masks and thresholds are decisions, and silent ones change results.
#
# ## Words
#
# - **Boundary IoU**: the IoU of two outlines, of a stated width.
# - **Dice coefficient**: twice the overlap over the sum of the two sizes.
# - **Hausdorff distance**: the largest distance from a pixel of one mask to the nearest of the other.
# - **HD95**: the same with the 95th percentile in place of the largest.
# - **Logit**: a number whose sigmoid is a probability.
#
# ## References
#
# - Cheng, B. et al. (2021). Boundary IoU: improving object-centric image segmentation evaluation. *CVPR*.
#   [doi:10.1109/CVPR46437.2021.01508](https://doi.org/10.1109/CVPR46437.2021.01508)
# - Huttenlocher, D. P., Klanderman, G. A. and Rucklidge, W. J. (1993). Comparing images using the Hausdorff
#   distance. *IEEE TPAMI* 15(9). [doi:10.1109/34.232073](https://doi.org/10.1109/34.232073)
# - Maier-Hein, L. et al. (2024). Metrics reloaded: recommendations for image analysis validation. *Nature
#   Methods* 21. [doi:10.1038/s41592-023-02151-z](https://doi.org/10.1038/s41592-023-02151-z)
#
# Next: [09 · Reading a results table](09_results_table.ipynb), where these numbers stand in rows.
