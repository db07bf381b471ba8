# %% [markdown]
# # 02 · Strokes
#
# To train a refiner one needs thousands of pairs of a stroke and a mask. COCO has the masks. Nobody has
# drawn the strokes. So the paper makes them: a program takes the true mask and spoils it. What the program
# spoils is what the network learns to repair, and what it leaves as it was need not be learned at all. This
# chapter makes the strokes step by step, and then measures them.
#
# After this chapter you will be able to
#
# - make the paper's strokes from masks, to the pixel;
# - tell four recipes apart by what they get wrong;
# - say how good a stroke is before any network touches it, and why that depends on the picture's size.
#
# | | |
# |---|---|
# | before you start | chapter 00; chapter 01 for where masks come from |
# | learning time | 50 minutes |
# | running time | half a minute |
# | makes | nothing that is numbered: section 2.2 of the paper in pictures |
# | previous, next | [01 · Masks and COCO](01_masks_and_coco.ipynb), [03 · From convolution to U-Net](03_unet.ipynb) |

# %% tags=["parameters"]
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the data set that holds the split "photos"

# %%
import zlib

import cv2
import numpy as np

from nseg_lib.course import exercises, look, plots, standins
from nseg_lib.data.coco import load_split
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from nseg_lib.strokes.recipes import RECIPES, make_stroke

look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / data)
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
photo = standins.photograph(PHOTOS, "camera")

# %% [markdown]
# ## Two operations that carry everything
#
# Two operations on masks are needed, and both slide a small shape over the mask; here it is an ellipse.
#
# **Erosion** keeps those pixels around which the *whole* ellipse fits into the mask. It peels off a rim, and
# whatever is thinner than the ellipse disappears. **Opening** is an erosion followed by the reverse, a
# dilation, which puts the rim on again. What was too thin to survive the erosion does not come back, so
# opening leaves broad parts alone and cuts off fingers, straps and ears.


# %%
def ellipse(size):
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


mask = photo.mask.astype(np.uint8) * 255  # OpenCV works on bytes: 0 and 255
crop = look.around(photo.mask)
look.gallery({
    "the mask": mask,
    "eroded by 35 px": cv2.erode(mask, ellipse(35)),
    "opened by 35 px": cv2.morphologyEx(mask, cv2.MORPH_OPEN, ellipse(35)),
}, crop=crop)  # fmt: skip

# %% [markdown]
# ## Guess first
#
# The paper's recipe takes the mask, bites some discs out of its rim, opens what is left, blurs it and cuts it
# at one half. Before you see it: which IoU do you expect of such a stroke, 0.5, 0.7, or 0.9? And which part of
# the object's *outline* will be exactly right?
#
# ## The paper's recipe, step by step
#
# The text of the paper speaks of "morphological operations and randomized noise". The numbers are in the
# released code, in a recipe called `erode`:
#
# 1. draw a width $b$ from 30 … 40 px;
# 2. the **band** is the mask minus its erosion by a $b \times b$ ellipse;
# 3. remove 2 … 6 **discs** of radius $b/4$ … $b/2$, centred on random pixels of the band;
# 4. **open** what is left by an ellipse of $b/2$ … $b$ px;
# 5. **blur** by a Gaussian of sigma 6 … 12 px and **cut** at one half.
#
# First the randomness. A stroke must come out the same whenever somebody asks for it, in whatever order and
# on whatever machine. So the random generator is seeded by what the stroke is *of*: a seed, the ids of
# picture and annotation, the recipe's name, and a number that training raises every epoch.

# %%
key = dict(seed=0, image_id=photo.image_id, annotation_id=photo.annotation_id, draw=0)
rng = np.random.default_rng((0, photo.image_id, photo.annotation_id, zlib.crc32(b"erode"), 0))

b = int(rng.integers(30, 40, endpoint=True))
inner = cv2.erode(mask, ellipse(b))
band = mask - inner

# %%
discs = np.zeros_like(band)
centres = np.column_stack(np.nonzero(band))
for _ in range(int(rng.integers(2, 6, endpoint=True))):
    y, x = centres[rng.integers(len(centres))]
    radius = int(rng.integers(b // 4, b // 2, endpoint=True))
    cv2.circle(discs, (int(x), int(y)), radius, 255, -1)
bitten = mask & ~discs

# %%
size = int(rng.integers(b // 2, b, endpoint=True))
opened = cv2.morphologyEx(bitten, cv2.MORPH_OPEN, ellipse(size))
sigma = rng.uniform(6.0, 12.0)
blurred = cv2.GaussianBlur(opened, (0, 0), sigmaX=sigma)
stroke = blurred > 127
assert (stroke == make_stroke(photo.mask, "erode", **key)).all()
print("the library's stroke, pixel by pixel")

# %%
look.gallery({
    f"the band, {b} px": band, "discs centred on it": discs, "mask without discs": bitten,
    f"opened by {size} px": opened, f"blurred, sigma {sigma:.0f} px": blurred,
    f"cut: IoU {metrics.iou(stroke, photo.mask):.2f}":
        {"image": photo.image, "stroke": stroke, "mask": photo.mask},
}, crop=crop, legend_of=("stroke", "truth"))  # fmt: skip

# %% [markdown]
# **What to look for.** The discs sit on the outline, because their centres were drawn from the band. Opening
# takes away what is thin, and the blur rounds the corners off. In the last picture, compare orange and blue.
#
# <details><summary>Answer to the guess</summary>
#
# The title of the last picture says how close the stroke is, and for an object of this size it is close.
# *Outside* the bites and the rounded corners, the outline of the stroke **is** the outline of the object,
# since it was copied from it. So a network that is given this stroke need not find outlines. It has to find
# the bites and fill them, and to keep its hands off everything else.
#
# </details>
#
# ## Four recipes
#
# The released code has three further recipes, which the paper does not mention:
#
# - `v1` adds small discs around the edge, then dilates, erodes and blurs slightly;
# - `paintbrush` adds large discs *outside* the edge, like a brush that overshoots;
# - `dist` keeps the pixels that lie deeper in the object than 12 px, where smooth noise makes the 12 a little
#   more here and a little less there. So its strokes are thinner everywhere.

# %%
shown = {}
for recipe in RECIPES:
    made = make_stroke(photo.mask, recipe, **key)
    title = f"{recipe}: IoU {metrics.iou(made, photo.mask):.2f}"
    shown[title] = {"image": photo.image, "stroke": made, "mask": photo.mask}
look.gallery(shown, columns=2, crop=crop, legend_of=("stroke", "truth"))

# %% [markdown]
# **What to look for.** Follow the blue outline in each picture and ask on which side of it the orange ends.
# `erode` is right except for its bites. `v1` has knobs that stick out here and there. `paintbrush`
# overshoots in large lumps, and `dist` stays inside nearly everywhere, and so loses whatever is narrow.
#
# ## How good is a stroke?
#
# There are two ways to be wrong: missing a part of the object $M$, and lying outside it.
#
# $$\text{missed} = \frac{|M \setminus S|}{|M|}, \qquad \text{outside} = \frac{|S \setminus M|}{|S|}$$
#
# IoU sums up both. And since refinement is about outlines, we add the **1-px boundary IoU**, which is the IoU
# of the two outlines, each drawn one pixel wide. It is merciless: a shift by a single pixel takes most of it.


# %%
def judge(stroke, mask):
    """What a stroke gets wrong, as shares, and how close it is."""
    return (
        np.count_nonzero(mask & ~stroke) / np.count_nonzero(mask),
        np.count_nonzero(stroke & ~mask) / max(1, np.count_nonzero(stroke)),
        metrics.iou(stroke, mask),
        metrics.boundary_iou_1px(stroke, mask),
    )


val = load_split(DATA, "val")
samples = {recipe: list(EvaluationSamples(val, recipe)) for recipe in RECIPES}
quality = {r: np.array([judge(s.stroke, s.mask) for s in of]) for r, of in samples.items()}
rows = [(r, len(q), *q.mean(axis=0)) for r, q in quality.items()]
plots.table(rows, ("recipe", "strokes", "missed", "outside", "IoU", "1-px boundary IoU"),
            strokes="{:d}")  # fmt: skip

# %% [markdown]
# **What to look for.** Two recipes miss nearly nothing and reach far outside, `v1` and `paintbrush`; the other
# two hardly reach outside, and miss a good part. (The objects of this table are smaller than the photographer
# above, so the same knobs and bites weigh more.) In the last column compare `erode` with the others: it
# has kept more of the true outline than any other recipe.
#
# The row `erode` is the **identity** for the paper's networks: the score of a method that returns the stroke
# as it is. Now the same for photographs of COCO, from results that are part of this project: the strokes of
# 146 test pictures, drawn at the pictures' own size and then halved together with them, and what the smallest
# network makes of them.

# %%
plots.table(standins.committed_rows(ROOT, ("identity", "tiny16-32_bce-dice")),
            ("method, on COCO", "IoU", "1-px boundary IoU", "made worse"))  # fmt: skip

# %% [markdown]
# Read it slowly. Before any network runs, the strokes have an IoU of 0.79, and the paper's Table 1 begins at
# 0.85. The paper does not print the first number, so its reader takes the whole 0.85 for the network's work.
# Most of it was handed in with the stroke. What is left to learn: fill the bites, round out the corners,
# touch nothing else.
#
# ## Size matters
#
# The recipe counts in pixels. Its bites are 15 … 40 *pixels* across, however large the object is. A large
# object hardly notices them; a small one is eaten.


# %%
def at_size(mask, factor):
    """The side of a mask at another size, and the mean IoU of eight strokes that are made of it."""
    resized = cv2.resize(mask.astype(np.uint8), None, fx=factor, fy=factor, interpolation=0) > 0
    made = [make_stroke(resized, "erode", **{**key, "draw": draw}) for draw in range(8)]
    return np.sqrt(resized.sum()), np.mean([metrics.iou(one, resized) for one in made])


lines = {}
for sample in list(PHOTOS)[:3]:
    points = [at_size(sample.mask, factor) for factor in (0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.4)]
    lines[sample.category] = tuple(zip(*points, strict=True))
look.curves({"three masks, each at eight sizes": lines}, x="√ area of the object (px)",
            y="mean IoU of the strokes", ylim=(0, 1))  # fmt: skip

# %% [markdown]
# **What to look for.** Each curve is one mask, shrunk or enlarged; nothing else changes from point to point. It
# rises steeply for small objects and then levels off. Where two curves differ at the same size, it is the shape:
# thin parts are lost sooner. So strokes on the small pictures of the built-in sample are worse than those on
# photographs at full size, and a network has more to gain on them. Numbers from different picture sizes must
# never stand in one table.
#
# Strokes of fewer than 50 pixels are dropped and counted, never replaced. The released code took the *next*
# picture instead, without a word, and often it was one that it had trained on.

# %%
for recipe in RECIPES:
    print(f"{recipe:>10}: {len(EvaluationSamples(val, recipe).dropped)} strokes dropped")

# %% [markdown]
# ## How much does chance matter?
#
# If all strokes are drawn anew, the mean IoU moves, although nothing else has changed. A difference between
# two models that is smaller than this is noise, unless both saw the same strokes. The released code drew its
# *validation* strokes anew in every epoch. Here they are drawn once and frozen to a file.


# %%
def mean_of_draw(draw):
    some = samples["erode"][:30]
    ids = [dict(image_id=s.image_id, annotation_id=s.annotation_id, draw=draw) for s in some]
    made = [make_stroke(s.mask, **of) for s, of in zip(some, ids, strict=True)]
    return np.mean([metrics.iou(m, s.mask) for m, s in zip(made, some, strict=True)])


means = [mean_of_draw(draw) for draw in range(8)]
print(f"mean IoU of 8 draws over the same pictures: {min(means):.3f} to {max(means):.3f}")

# %% [markdown]
# ## And people?
#
# Nobody draws like `erode`. Asked to mark an object, people draw a line through it, or fill it with a brush
# that spills over. A line covers a few percent of the object and *none* of its outline. A network that was
# trained on `erode` has never had to find an outline that the stroke does not already show; you saw in
# chapter 00 what it does with a line. This is the distance between the paper and a tool, and the subject of
# chapters 12 to 14.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/02_strokes.py`.
#
# **1.** An opening removes an object completely. What do you know?
#
# - a) The object is smaller than the ellipse in area.
# - b) The ellipse fits nowhere into the object.
# - c) The object touches the picture's border.

# %%
print(exercises.choose("opened away", ""))

# %% [markdown]
# **2.** The same recipe is used on pictures of half the size. The strokes' IoU
#
# - a) stays the same, since masks and strokes shrink alike.
# - b) falls, since the bites keep their size in pixels.
# - c) rises, since there are fewer pixels to get wrong.

# %%
print(exercises.choose("half the size", ""))

# %% [markdown]
# **3.** Why is the random generator seeded by picture and annotation, and not once for the whole data set?
#
# - a) So that a stroke does not depend on which pictures came before it.
# - b) So that all strokes are alike.
# - c) Because it is faster.

# %%
print(exercises.choose("seed by picture", ""))

# %% [markdown]
# **4. IoU from the two faults.** The shares *missed* $a$ and *outside* $o$ determine the IoU, without any
# mask. Find the formula and write it. (Set $|M| = 1$; how large is the overlap, and how large is $S$?)


# %%
def iou_of_faults(missed, outside): ...  # your turn


print(exercises.check(iou_of_faults))

# %% [markdown]
# **5. A recipe of your own.** A scribble as people draw it: **one connected line**, thin (at most 9 pixels
# wide), within the object, covering between 0.5 % and 15 % of it, and at least four times as long as it is
# wide. Use the generator `rng` for all that is random. The check accepts any scribble that fits, so look at
# yours, too.


# %%
def scribble(mask, rng): ...  # your turn


print(exercises.check(scribble))

# %% [markdown]
# **6. Experiment.** Change the recipe so that its lengths scale with the object: replace the 30 … 40 pixels
# by a share of the object's longer side. How does the plot of IoU against size change? Would you train on
# the old recipe or on the new one, and why?
#
# **7. Open question.** You want a recipe for people who paint with a finger on a phone. Describe how they
# draw (where they start, how wide, how exact, what they leave out), and turn two of these observations into
# steps of a recipe. How would you find out whether your recipe is right?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) observations that differ from `erode` in kind, such as lines or overshooting; (2) at
# least two are turned into steps with numbers; (3) the numbers scale with the object or with the finger;
# (4) real strokes are collected for comparison, by several people; (5) a measured quantity is named on which
# both are compared, such as width, length, or the share outside.
#
# </details>
#
# ## Recap
#
# - The paper's stroke is the true mask with bites taken out: most of its outline is the truth.
# - Returned unchanged it is already close. The identity is the row to beat.
# - Its errors are counted in pixels, so they depend on the size of the picture.
#
# ## Words
#
# - **Band**: the rim of the mask in which the bites are centred.
# - **Dilation, erosion, opening**: growing a mask, shrinking it, and shrinking then growing.
# - **Frozen stroke**: one that was drawn once and saved, so that every method gets the same.
# - **Recipe**: a function from a mask and a random generator to a stroke.
#
# ## References
#
# - Serra, J. (1986). Introduction to mathematical morphology. *Computer Vision, Graphics, and Image
#   Processing* 35(3). [doi:10.1016/0734-189X(86)90002-2](https://doi.org/10.1016/0734-189X%2886%2990002-2)
# - Xu, N. et al. (2016). Deep interactive object selection. *CVPR* (simulated clicks for training).
#   [doi:10.1109/CVPR.2016.47](https://doi.org/10.1109/CVPR.2016.47)
#
# Next: [03 · From convolution to U-Net](03_unet.ipynb), the network that is to fill the bites.
