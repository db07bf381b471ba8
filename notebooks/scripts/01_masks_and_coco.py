# %% [markdown]
# # 01 · Masks and COCO
#
# The masks of chapter 00 came from somewhere: people clicked outlines, corner by corner, for hundreds of thousands of
# objects. COCO is the best-known collection of such outlines. In this chapter you open its files, turn an outline into
# a mask with your own hands, and find that even the "ground truth" is only known to about a pixel.
#
# After this chapter you will be able to
#
# - read COCO's annotation files: records, polygons and run lengths;
# - turn an annotation into a mask, and a mask into run lengths;
# - choose 1,000 pictures so that anybody else can choose the same 1,000.
#
# | | |
# |---|---|
# | before you start | chapter 00; NumPy |
# | learning time | 55 minutes |
# | running time | a quarter of a minute |
# | makes | **Figure 1**: the distribution of picture sizes |
# | previous, next | [00 · Draw first](00_draw_first.ipynb), [02 · Strokes](02_strokes.ipynb) |

# %% tags=["parameters"]
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the data set that holds the split "photos"
out = "reports/sample"  # figures go here

# %%
import json

import numpy as np
from pycocotools import mask as coco_mask

from nseg_lib.course import exercises, look, plots, standins
from nseg_lib.data import coco, reduce
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from reproduction import figures, paper
from reproduction.artefacts import save_figure

look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / data)
PHOTOS = standins.data_set(ROOT / photos)

# %% [markdown]
# ## COCO's layout
#
# COCO, *Common Objects in Context* (Lin et al. 2014), is a folder of photographs and one JSON file for each split, such
# as `annotations/instances_train2014.json`. The JSON holds three lists, `images`, `annotations` and `categories`, which
# are tied together by ids. An annotation is one object. Let us open the file once by hand, before the library does it.

# %%
splits = coco.find_splits(PHOTOS)
name = "photos" if "photos" in splits else "val"
document = json.loads(splits[name].read_text())
outlined = [a for a in document["annotations"] if isinstance(a["segmentation"], list)]
annotation = max(outlined, key=lambda a: len(a["segmentation"][0]))
polygon = annotation["segmentation"][0]
print({key: len(value) for key, value in document.items() if isinstance(value, list)})
for key, value in annotation.items():
    print(f"{key:>13}: {[polygon[:8], '…'] if key == 'segmentation' else value}")

# %% [markdown]
# The last lines are the annotation. Its fields need a word each:
#
# - `bbox` is [x, y, width, height] in pixels; x runs to the right and y **down**;
# - `segmentation` is a list of polygons, each a flat list x₁, y₁, x₂, y₂, … (an object behind a lamp post has two), or
#   a run-length encoding;
# - `iscrowd` says that a whole group was outlined as one; `area` is the object's area in pixels.
#
# The library reads, checks and indexes all this. What it cannot use it leaves out, and says so.

# %%
split = coco.load_split(PHOTOS, name)
record = split.images[annotation["image_id"]]
height, width = record["height"], record["width"]
image = split.read_image(annotation["image_id"])
print(f"{len(split.images)} pictures, {len(split.left_out)} annotations left out; {image.shape}")

# %% [markdown]
# ## Guess first
#
# A polygon has corners with fractions, such as (101.5, 33.2). A mask is made of whole pixels. Two programs draw the same
# polygon, each by a sensible rule. On how many pixels of a photograph will they disagree: on none, on a few along the
# outline, or on a few percent of the object?
#
# ## From polygon to mask
#
# The simplest rule: a pixel belongs to the polygon if its *centre* lies inside. And inside means that a ray from the
# centre crosses the outline an odd number of times (the **even-odd rule**): whoever starts inside and walks to the
# border of the picture leaves the object once more often than he enters it.

# %%
plots.crossings()

# %% [markdown]
# **What to look for.** Count the crosses on each dashed line. Both magenta points are inside, with one and with three
# crossings. The blue points are outside, with two and with four, although one of them lies between the two legs.
#
# The function below does this for all pixels at once, one edge at a time.


# %%
def inside(polygon, height, width):
    """Even-odd rule at the pixel centres: polygon [x1, y1, …] → bool height×width."""
    corners = np.array(polygon).reshape(-1, 2)
    x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    odd = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (y0 > y) != (y1 > y)  # the rows that the edge spans
        if y0 != y1:
            odd ^= crossed & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return odd


ours = np.logical_or.reduce([inside(part, height, width) for part in annotation["segmentation"]])
theirs = coco.annotation_mask(annotation, height, width)
print(f"IoU of the two rules: {metrics.iou(ours, theirs):.4f};",
      f"{np.count_nonzero(ours != theirs)} of {theirs.sum()} pixels differ")  # fmt: skip

# %%
zoom = plots.busiest_window(ours != theirs)
look.gallery({
    f"a polygon of {len(polygon) // 2} corners": {"image": image, "mask": theirs},
    "its mask, by COCO's rule": theirs,
    "enlarged: where the rules differ": plots.compared(ours[zoom], theirs[zoom]),
})  # fmt: skip

# %% [markdown]
# **What to look for.** The picture on the right is a small part of the outline, enlarged until the pixels show. Grey
# pixels belong to the object by both rules, blue ones by COCO's rule alone, and magenta ones, if there are any, by ours alone. Every pixel
# on which the two rules disagree lies *on* the outline, and most of the outline has none.
#
# <details><summary>Answer to the guess</summary>
#
# A few pixels along the outline. That looks like nothing, and for IoU it is nothing. But a metric that looks at outlines
# one pixel wide (chapter 08) sees little else. A mask is only ever known to about a pixel, and the people who clicked
# the corners were less exact than that. So everybody who compares numbers must use one rule. From here on it is COCO's,
# through `coco.annotation_mask`.
#
# </details>
#
# ## Run lengths
#
# A mask of 640 × 480 has 307,200 pixels, most of which are like their neighbours. **Run-length encoding** (RLE) stores
# how many equal pixels come in a row. COCO reads masks *down the columns*, first column first, and takes turns between
# background and object, beginning with background (with a 0 if the first pixel is object).


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
plots.grids({f"its runs, down the columns: {encode(small)}": (small, small)})

# %% [markdown]
# **What to look for.** Follow the columns downwards with a finger: three squares of background in the first column, then
# two of object, one of background, three of object, three of background. The numbers add up to the twelve squares of
# the mask, as they must. Now the same on a real mask.

# %%
counts = encode(theirs)
assert (decode(counts, height, width) == theirs).all()
assert (coco.rle_to_mask({"size": [height, width], "counts": counts}) == theirs).all()
print(f"{theirs.size:,} pixels in {len(counts)} runs")

# %% [markdown]
# COCO's files squeeze the runs once more, into a string of printable characters. The first idea is to store
# differences. Neighbouring columns of an object have runs of nearly the same length. So from the fourth run on, only
# the *difference to the run two before* is stored, which is a small number. The second idea is to spend few characters
# on a small number. The number is cut into groups of five bits, the lowest group first. Each group gets a sixth bit,
# which says whether another group follows. Then 48 is added, which turns the group into a printable character.


# %%
def squeeze(counts):
    """Run lengths → COCO's compressed string."""
    text = ""
    for i, count in enumerate(counts):
        number, more = (count - counts[i - 2] if i > 2 else count), True
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
# Equal to the last character. Why go to such lengths, for a file format? Because a format is a promise between people
# who never meet. The same string means the same mask in every program that reads COCO, to the pixel; whoever guesses
# one detail differently, such as the order of columns and rows, gets masks that look nearly right and are wrong. The
# quickest test of a reader is the one above: encode, decode, compare. It takes a second, and it has found mistakes in
# many published tools. From here on: `coco.mask_to_rle` and `coco.rle_to_mask`.
#
# ## The object that counts
#
# A picture has many objects. The paper's released code takes **the largest annotation of each picture**. The text speaks
# of "diverse objects"; in fact small objects are hardly ever the target. How large are the targets, next to all
# objects?

# %%
train = coco.load_split(DATA, "train")


def share(annotation):
    """The part of its picture that an object covers."""
    record = train.images[annotation["image_id"]]
    return annotation["area"] / (record["height"] * record["width"])


everything = [share(a) for found in train.annotations.values() for a in found]
largest = [share(coco.largest_annotation(found)) for found in train.annotations.values() if found]
plots.histogram({"all objects": everything, "the largest of each picture": largest},
                "share of the picture (log axis)")  # fmt: skip

# %% [markdown]
# **What to look for.** The blue line of the largest objects sits at the right end of the grey hill. In 900 pictures of COCO
# it is more striking still: the median object covers 0.6 % of its picture, and the median target covers 11 %. A network
# that was trained on such targets has hardly met a small object, and section 3.4 of the paper finds that small objects
# fail.
#
# ## Choosing 1,000 pictures
#
# The paper trains on 900 pictures and validates on 100, drawn from COCO's training pictures **without a seed**. Which
# pictures they were cannot be recovered. We want a choice that anybody can repeat, and that depends on nothing but a
# seed and the ids: not on the order of the records, nor on a random generator that may change with a library's version.
# So each id gets a number that looks random but is computed, the SHA-256 hash of seed and id. The ids are sorted by
# that number, and the first 1,000 are taken. This has a second advantage. If COCO adds pictures or somebody lacks a few of
# them, the order of all others stays as it was, so two such choices still agree on nearly all pictures. With a random
# generator that walks through the list, a single missing picture changes everything behind it.

# %%
ids = list(train.images)
shuffled = [int(i) for i in np.random.default_rng().permutation(ids)]
print(reduce.rank(ids, seed=42)[:8])
print(reduce.rank(shuffled, seed=42)[:8], "in any order of the records")
print(reduce.rank(ids, seed=43)[:8], "with another seed")
assert reduce.rank(ids, 42) == reduce.rank(shuffled, 42)

# %% [markdown]
# `nseg data reduce` does this for a COCO that you have, and `nseg data fetch` loads only the chosen pictures. Both write
# the chosen ids down, make the paper's split of 900 and 100, and keep what the paper does not have: an untouched **test
# split** of pictures that served neither early stopping nor any choice.
#
# ## Figure 1
#
# The widths and heights of the pictures, with the mean as a dashed red line and the median as a solid green one. Marks
# on the axis show the paper's mean and median.

# %%
records = [r for part in ("train", "val") for r in coco.load_split(DATA, part).images.values()]
sides = [(record["width"], record["height"]) for record in records]
data1, printed = figures.figure1_data(sides), paper.numbers()["figure1"]
figure1 = figures.figure1(data1, printed)
save_figure(figure1, ROOT / out / "figures" / "figure1", data1,
            inputs=[coco.find_splits(DATA)[part] for part in ("train", "val")])  # fmt: skip
look.finish(
    figure1, "Figure 1: histograms of the pictures' widths and heights, ours and the paper's."
)

# %%
rows = []
for place, what in enumerate(("width", "height")):
    values, theirs = [side[place] for side in sides], printed[what]
    rows.append((f"{what}, ours", np.mean(values), np.median(values), min(values), max(values)))
    rows.append((f"{what}, the paper's", *(theirs[k] for k in ("mean", "median", "low", "high"))))
plots.table(rows, ("side", "mean", "median", "lowest", "highest"), "{:.0f}")

# %% [markdown]
# **What to look for.** On COCO nearly all pictures have a longer side of 640 pixels: one tall peak at the right end of the
# widths, and a tail towards the *left* from the upright pictures. So the mean (579) lies below the median (640). The
# paper's caption calls the widths "right-skewed". By the usual definition a distribution is skewed to the side of its
# long tail, so this one is skewed to the left. Where a profile uses the built-in sample, its small pictures crowd at
# the left, and the figure says that it is not the paper's setting.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/01_masks_and_coco.py`.
#
# **1.** Two programs rasterise one polygon and differ in 40 pixels on the outline. Which one is wrong?
#
# - a) The one that counts fewer pixels.
# - b) Neither: they follow different rules. Comparisons must use one of them.
# - c) The one that is not COCO's.

# %%
print(exercises.choose("two rasterisers", ""))

# %% [markdown]
# **2.** The runs of a mask begin with 0. What do you know?
#
# - a) The mask is empty.
# - b) The file is broken.
# - c) The pixel at the top left belongs to the object.

# %%
print(exercises.choose("first run zero", ""))

# %% [markdown]
# **3.** You choose pictures with `random.seed(42)` and `random.sample(ids, 1000)`. Somebody repeats it on the same
# pictures and gets other ones. Why?
#
# - a) The ids came in another order.
# - b) Seeds do not work across machines.
# - c) 42 is a bad seed.

# %%
print(exercises.choose("same seed other sample", ""))

# %% [markdown]
# **4. Area of a polygon.** From COCO's flat list [x₁, y₁, x₂, y₂, …], by the *shoelace formula*: $A = \frac12 \left|
# \sum_i (x_i y_{i+1} - x_{i+1} y_i) \right|$, where the last corner is followed by the first.


# %%
def polygon_area(polygon): ...  # your turn


print(exercises.check(polygon_area))

# %% [markdown]
# **5. Bounding box from runs.** From run lengths and the mask's height, return COCO's [x, y, width, height] of the object,
# *without* making the mask. (Pixel number $n$ lies in column $n // h$ and row $n \bmod h$. Mind a run that goes on into
# the next column: which rows does it touch?)


# %%
def box_of_runs(counts, height): ...  # your turn


print(exercises.check(box_of_runs))

# %% [markdown]
# **6. Experiment.** Draw the polygon at twice the size, shrink the mask by taking the majority of each 2 × 2 square, and
# compare it with both rules. To which of the two is it nearer, and what is its IoU with them? What does this say about
# the best IoU that any method can be expected to reach?
#
# **7. Open question.** You want to collect outlines of your own for 500 pictures. Write the instructions for those who
# click: what counts as the object, what happens to holes, to things in front of it, and to hair? How do you find out
# how exact the outlines are?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) a rule for parts that are hidden; (2) a rule for holes and for what is carried or worn; (3) a rule
# for fuzzy borders, with an example; (4) some pictures are outlined twice, by different people, and compared by a
# number; (5) that number is used later, as the limit of what can be measured.
#
# </details>
#
# ## Recap
#
# - An annotation is a polygon or run lengths; its mask is known to about a pixel.
# - The target is always the largest object of the picture.
# - A choice that is computed from seed and ids can be repeated by anybody; the paper's cannot.
#
# ## Words
#
# - **Annotation**: the record of one object, with its outline.
# - **Even-odd rule**: inside is where a ray crosses the outline an odd number of times.
# - **Hash**: a number computed from any data, which looks random and is always the same.
# - **RLE**: run-length encoding.
# - **Split**: a part of a data set: for training, validation or test.
#
# ## References
#
# - Lin, T.-Y. et al. (2014). Microsoft COCO: common objects in context. *ECCV*.
#   [doi:10.1007/978-3-319-10602-1_48](https://doi.org/10.1007/978-3-319-10602-1_48)
# - Kuznetsova, A. et al. (2020). The Open Images dataset V4. *IJCV* 128.
#   [doi:10.1007/s11263-020-01316-z](https://doi.org/10.1007/s11263-020-01316-z)
#
# Next: [02 · Strokes](02_strokes.ipynb): the mask is there, but who draws a thousand strokes?
