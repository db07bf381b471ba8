# %% [markdown]
# # 01 · Masks and COCO
#
# After this chapter you will be able to
#
# - read COCO's annotation files: records, polygons and run-length encodings (RLE);
# - turn an annotation into a mask, and write an RLE by hand;
# - choose 1,000 pictures of COCO so that anybody can choose the same 1,000.
#
# | | |
# |---|---|
# | makes | **Figure 1**: the distribution of picture sizes |
# | inputs → outputs | a data set in COCO's layout → `figures/figure1` |
# | takes | about a quarter of a minute |
# | previous, next | [00 · Draw first](00_draw_first.ipynb), [02 · Strokes](02_strokes.ipynb) |

# %% tags=["parameters"]
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the data set that holds the split "photos"
out = "reports/sample"  # figures go here

# %%
import json

import numpy as np
from IPython.display import Markdown
from pycocotools import mask as coco_mask

from nseg_lib.course import exercises, look, standins
from nseg_lib.data import coco, reduce
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from reproduction import figures, paper
from reproduction.artefacts import save_figure

look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / data)
PHOTOS = standins.data_set(ROOT / photos)
OUT = ROOT / out

# %% [markdown]
# ## COCO's layout
#
# COCO, *Common Objects in Context* (Lin et al. 2014), is a folder of JPEGs and one JSON file for
# each split:
#
# ```
# ROOT/annotations/instances_<split>.json
# ROOT/<split>/*.jpg
# ```
#
# The JSON holds three lists, `images`, `annotations` and `categories`, tied together by ids. An
# annotation is one object. Let us open the file by hand once, before the library does it.

# %%
splits = coco.find_splits(PHOTOS)
name = "photos" if "photos" in splits else "val"
document = json.loads(splits[name].read_text())

print({key: len(value) for key, value in document.items() if isinstance(value, list)})
print(json.dumps(document["images"][0], indent=1))

# %% [markdown]
# And one annotation, its outline shortened:

# %%
outlined = [a for a in document["annotations"] if isinstance(a["segmentation"], list)]
annotation = dict(max(outlined, key=lambda a: len(a["segmentation"][0])))
polygon = annotation["segmentation"][0]
for key, value in annotation.items():
    shown = f"[[{', '.join(map(str, polygon[:8]))}, …]]" if key == "segmentation" else value
    print(f"{key:>13}: {shown}")

# %% [markdown]
# - `bbox` is [x, y, width, height] in pixels; x runs to the right and y *down*;
# - `segmentation` is a list of polygons, each a flat list x₁, y₁, x₂, y₂, … (an object behind a
#   lamp post has two), or a run-length encoding;
# - `iscrowd` says that a whole group was outlined as one;
# - `area` is that of the object in pixels.
#
# The library reads, checks and indexes all this: `load_split` leaves out what cannot be used and
# says so, and `read_image` refuses a file whose size disagrees with its record.

# %%
split = coco.load_split(PHOTOS, name)
record = split.images[annotation["image_id"]]
height, width = record["height"], record["width"]
image = split.read_image(annotation["image_id"])

print(f"{len(split.images)} pictures, {len(split.left_out)} annotations left out")
print(image.shape, image.dtype)

# %% [markdown]
# ## From polygon to mask
#
# A polygon is drawn in continuous coordinates, a mask is made of pixels. Which pixels belong to it?
# The simplest rule: those whose *centre* lies inside. Inside means that a ray from the centre
# crosses the outline an odd number of times (the *even-odd rule*). The next cell does just this,
# for all pixels at once, one edge of the polygon at a time.


# %%
def inside(polygon, height, width):
    """Even-odd rule at the pixel centres: polygon [x1, y1, …] → bool height×width."""
    corners = np.array(polygon).reshape(-1, 2)
    x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    odd = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (y0 > y) != (y1 > y)  # the rows that the edge spans
        if y0 != y1:
            at = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            odd ^= crossed & (x < at)
    return odd


ours = np.zeros((height, width), bool)
for part in annotation["segmentation"]:
    ours |= inside(part, height, width)
theirs = coco.annotation_mask(annotation, height, width)

print(f"IoU of the two rules: {metrics.iou(ours, theirs):.4f}")
print(f"{np.count_nonzero(ours != theirs)} of {theirs.sum()} pixels differ")

# %%
crop = look.around(theirs)
corners = np.array(polygon).reshape(-1, 2) - 0.5  # imshow has pixel centres at whole numbers
rows, columns = crop

fig, axes = look.panels(1, 3, size=(2.8, 2.6))
look.show(axes[0, 0], image, crop=crop, title=f"a polygon of {len(corners)} corners")
shifted = corners - [columns.start, rows.start]
closed = np.vstack([shifted, shifted[:1]])
axes[0, 0].plot(*closed.T, "o-", color=look.PALETTE["truth"], ms=2.5, lw=1)
look.show(axes[0, 1], theirs, crop=crop, title="COCO's mask of it")
points = np.argwhere(ours != theirs if (ours != theirs).any() else theirs)[:2000]
near = np.abs(points[:, None] - points).max(axis=2) < 25
y, x = points[near.sum(axis=0).argmax()]  # where they differ most
zoom = slice(max(0, y - 25), y + 25), slice(max(0, x - 30), x + 30)
look.show_errors(axes[0, 2], image, theirs, ours, crop=zoom, title="where the rules differ")
look.legend(fig, ("truth", "missed", "extra"))

# %% [markdown]
# **What to look for.** Left, the corners that a person clicked: few where the outline is straight.
# Right, enlarged, pixels on which our rule and COCO's disagree: single ones, all of them *on* the
# outline, since pycocotools rasterises outlines by a rule of its own. A mask is only ever known to
# about a pixel. Remember it when a metric looks at outlines one pixel wide (chapter 08).
#
# Everybody who compares numbers must use one rule. From here on it is COCO's, through
# `coco.annotation_mask`.

# %% [markdown]
# ## Run-length encoding, by hand
#
# A mask is stored as the lengths of its runs, read *down the columns* as in Fortran, taking turns
# between background and object, and starting with background (with 0 if the first pixel is object).


# %%
def encode(mask):
    """Bool H×W → run lengths, column by column, background first."""
    pixels = mask.flatten(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff([0, *changes, pixels.size]).tolist()
    return [0, *counts] if pixels[0] else counts


def decode(counts, height, width):
    """Run lengths → bool H×W."""
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


small = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]], bool)
print(small.astype(int), encode(small), sep="\n")

# %% [markdown]
# Three pixels of background in the first column; then, going on downwards, two of object, one of
# background, three of object, three of background. Check one against the other, then on a real
# mask against the library.

# %%
counts = encode(theirs)
assert (decode(counts, height, width) == theirs).all()
assert (coco.rle_to_mask({"size": [height, width], "counts": counts}) == theirs).all()
print(f"{theirs.size} pixels in {len(counts)} runs")

# %% [markdown]
# COCO's files squeeze the runs once more, into a string. Two ideas:
#
# 1. from the fourth run on, store the *difference to the run two before*: neighbouring columns of
#    an object have runs of nearly the same length, so the differences are small;
# 2. write a number as groups of five bits, lowest first, each with a sixth bit that says "there is
#    more", and add 48 to land among printable characters.


# %%
def squeeze(counts):
    """Run lengths → COCO's compressed string."""
    text = ""
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            group = number & 31
            number >>= 5  # keeps the sign
            more = number != (-1 if group & 16 else 0)
            text += chr((group | 32 if more else group) + 48)
    return text


rle = coco.mask_to_rle(theirs)
assert squeeze(counts) == rle["counts"]
assert coco_mask.area({**rle, "counts": rle["counts"].encode()}) == theirs.sum()
print(f"{len(counts)} runs in {len(rle['counts'])} characters: {rle['counts'][:40]}…")

# %% [markdown]
# Equal to the last character. From here on: `coco.mask_to_rle` and `coco.rle_to_mask`.

# %% [markdown]
# ## The object that counts
#
# A picture has many objects, and the paper's released code takes **the largest annotation of each
# picture**, groups (`iscrowd`) included. The text says "diverse objects"; in fact small objects are
# hardly ever the target. How large are the targets, then, next to all objects?

# %%
train = coco.load_split(DATA, "train")


def share(annotation):
    """The part of its picture that an object covers."""
    record = train.images[annotation["image_id"]]
    return annotation["area"] / (record["height"] * record["width"])


everything = [share(a) for found in train.annotations.values() for a in found]
largest = [share(coco.largest_annotation(a)) for a in train.annotations.values() if a]

fig, axes = look.plt.subplots(figsize=(5.5, 2.6), layout="constrained")
bins = np.geomspace(1e-4, 1, 30)
axes.hist(everything, bins, color="#c9c9c9", label=f"all {len(everything)} objects")
axes.hist(largest, bins, histtype="step", lw=1.8, color=look.PALETTE["res"],
          label=f"the largest of each of {len(largest)} pictures")  # fmt: skip
axes.set(xscale="log", xlabel="share of the picture", ylabel="objects")
axes.legend(loc="upper left")

print(
    f"median share: all objects {np.median(everything):.3f}, the largest {np.median(largest):.3f}"
)

# %% [markdown]
# **What to look for.** The outline of the largest objects sits at the right end of the grey hill.
# In 900 pictures of COCO it is more striking still: the median object covers .6 % of its picture,
# the median target 11 %. A network trained on these targets has hardly met a small object, and
# section 3.4 of the paper finds that small objects fail.

# %% [markdown]
# ## Choosing 1,000 pictures
#
# The paper trains on 900 pictures and validates on 100, drawn from COCO's 2014 training pictures
# *without a seed*: which pictures they were cannot be recovered. We want a choice that anybody can
# repeat, and that depends on nothing but the seed and the ids: not on the order of the records, not
# on a random generator that changes with a library's version. So each id gets a number that looks
# random but is computed, its SHA-256 hash together with the seed; the ids are sorted by it, and the
# first 1,000 are taken.

# %%
ids = list(train.images)
shuffled = [int(i) for i in np.random.default_rng().permutation(ids)]

print(reduce.rank(ids, seed=42)[:8])
print(reduce.rank(shuffled, seed=42)[:8], "in any order of the records")
print(reduce.rank(ids, seed=43)[:8], "with another seed")
assert reduce.rank(ids, 42) == reduce.rank(shuffled, 42)

# %% [markdown]
# `nseg data reduce --coco DIR --images 1000 --seed 42 --out DIR` does this for a COCO that you
# have, and `nseg data fetch` loads only the chosen pictures. Both write the chosen ids down, make
# the 900/100 split, and keep what the paper does not have: an untouched **test split**, pictures
# that served neither early stopping nor any choice.
#
# The data set at hand:

# %%
lines = ["| split | pictures | objects | largest covers (median) |", "|---|---:|---:|---:|"]
for split_name in coco.find_splits(DATA):
    part = coco.load_split(DATA, split_name)
    objects = sum(len(found) for found in part.annotations.values())
    covers = [
        coco.largest_annotation(found)["area"]
        / (part.images[i]["height"] * part.images[i]["width"])
        for i, found in part.annotations.items()
        if found
    ]
    lines.append(f"| {split_name} | {len(part.images)} | {objects} | {np.median(covers):.2f} |")
Markdown("\n".join(lines))

# %% [markdown]
# ## Figure 1
#
# The paper's Figure 1 shows the widths and heights of its 1,000 pictures, the mean as a dashed red
# line and the median as a solid green one. Ours shows the pictures of train and val, with marks on
# the axis for the paper's mean and median.

# %%
chosen = [coco.load_split(DATA, part).images.values() for part in ("train", "val")]
widths = [record["width"] for records in chosen for record in records]
heights = [record["height"] for records in chosen for record in records]

data1 = figures.figure1_data(zip(widths, heights, strict=True))
figure1 = figures.figure1(data1, paper.numbers()["figure1"])
_ = save_figure(
    figure1,
    OUT / "figures" / "figure1",
    data1,
    inputs=[coco.find_splits(DATA)[part] for part in ("train", "val")],
)

# %%
facts = paper.numbers()["figure1"]
lines = ["| | mean | median | range |", "|---|---:|---:|---|"]
for what, values in (("width", widths), ("height", heights)):
    theirs = facts[what]
    ours = f"{np.mean(values):.1f} | {np.median(values):.0f} | {min(values)}–{max(values)}"
    lines.append(f"| {what}, ours | {ours} |")
    printed = f"{theirs['mean']} | {theirs['median']} | {theirs['low']}–{theirs['high']}"
    lines.append(f"| {what}, the paper's | {printed} |")
Markdown("\n".join(lines))

# %% [markdown]
# **What to look for.** On COCO nearly all pictures have a longer side of 640 pixels: one tall peak
# at the right end of the widths, and a tail towards the *left* from the upright pictures. So the
# mean (579) lies below the median (640). The paper's caption calls the widths "right-skewed"; by
# the usual definition this is left-skewed, as mean < median already tells. Where a profile uses the
# built-in sample, its small pictures crowd at the left and the figure says that it is not the
# paper's setting.

# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/01_masks_and_coco.py`.
#
# **1. Area of a polygon.** From COCO's flat list [x₁, y₁, x₂, y₂, …], by the *shoelace formula*:
# $A = \frac12 \left| \sum_i (x_i y_{i+1} - x_{i+1} y_i) \right|$, where the last corner is followed
# by the first.


# %%
def polygon_area(polygon): ...  # your turn


# %%
print(exercises.check(polygon_area))

# %% [markdown]
# **2. Area of an RLE**, from the run lengths alone, without making the mask.


# %%
def rle_area(counts): ...  # your turn


# %%
print(exercises.check(rle_area))

# %% [markdown]
# **3. Bounding box.** COCO's [x, y, width, height] of a bool H×W mask.


# %%
def bounding_box(mask): ...  # your turn


# %%
print(exercises.check(bounding_box))

# %% [markdown]
# **4. A sample that does not depend on order.** Choose `number` of `ids` by `seed`, so that the
# same ids in another order give the same choice, and another seed gives another one.


# %%
def sample(ids, number, seed): ...  # your turn


# %%
print(exercises.check(sample))

# %% [markdown]
# ## What you have seen
#
# An annotation is a polygon or a run-length encoding, and its mask is known to about a pixel. The
# target is always the largest object. A sample that is a function of seed and ids can be repeated
# by anybody; the paper's cannot.
#
# Next: [02 · Strokes](02_strokes.ipynb): the mask is there, but who draws 1,000
# strokes?
