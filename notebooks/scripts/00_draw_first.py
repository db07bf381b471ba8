# %% [markdown]
# # 00 · Draw first
#
# You paint roughly over an object, with a broad brush, in a second. Out comes its exact outline. That
# is the promise of **coarse-mask refinement**, and the best way to understand it is to try it. So this
# chapter begins with a picture that you can draw on. All explanations come afterwards.
#
# After this chapter you will be able to
#
# - turn a stroke into a mask by hand and with one line of code;
# - say what IoU measures, and compute it;
# - explain why a refiner must be compared with the stroke that it was given.
#
# | | |
# |---|---|
# | before you start | nothing but a little Python; no graphics card is needed |
# | learning time | 45 minutes |
# | running time | half a minute; the first time, the built-in pictures are made in another half |
# | makes | no table or figure of the paper: the thing that the paper is about |
# | previous, next | –, [01 · Masks and COCO](01_masks_and_coco.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
picture = "astronaut"  # a photograph's name, or the path of a picture of yours

# %% [markdown]
# ## Draw
#
# Run the cell and brush over the woman: hold the mouse button and move. When you let go, the mask
# appears. There are strokes on the picture already, so that the chapter also runs without you; press
# the bin to remove them and draw your own. Once there is a mask, further strokes **correct** it: the
# tool *Object* adds what was missed, and *Background*, or the right mouse button, takes away what does
# not belong. `[` and `]` change the size of the brush, `Z` undoes, and `?` lists the rest. To use a
# picture of your own, drop it onto the canvas.

# %%
from nseg_lib import Refiner
from nseg_lib.course import canvases, exercises, look, plots, standins
from nseg_lib.evaluation import metrics
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.provenance import project_root
from nseg_lib.strokes.drawing import rasterize

look.use_style()
refiner = Refiner.from_pretrained()
canvas = canvases.one(picture, refiner)
canvas

# %% [markdown]
# What you drew is an ordinary Python value now: `canvas.strokes` is a list of strokes, each of them a
# list of points with a radius, and `canvas.mask` is an array of zeros and ones as large as the picture.
# The library needs one line to get from one to the other: `refiner.refine(image, stroke)`. Everything
# else in this course explains what happens inside that line, and how one finds out whether the answer
# is any good.

# %%
print(f"{len(canvas.strokes)} strokes; the first has {len(canvas.strokes[0]['points'])} points")
print(f"the mask: {canvas.mask.shape}, {canvas.mask.mean():.1%} of the picture")

# %% [markdown]
# ## Three things and their names
#
# Three things are in play, and the whole course calls them by the same names:
#
# - the **image** $I$ is a photograph: an array of height × width × 3 numbers from 0 to 255, for red,
#   green and blue;
# - the **stroke** $S$ is what somebody brushed: an array of height × width that is true where the brush
#   went. It is right in some places and wrong in others;
# - the **mask** $M$ is the object as it really is: an array like the stroke, true on the object. It
#   was outlined by a person beforehand and is called the *ground truth*.
#
# A **refiner** is a function that takes an image and a stroke and returns a mask of its own,
# $\hat M = R(I, S)$. It is good if $\hat M$ is close to $M$. The network never sees $M$ when it answers;
# we keep $M$ to judge it.
#
# Two of the refiners that come with the package are used here. `tiny16-32` is the smallest network of
# the paper that this course takes apart, *NeuralSegmentello* (Gentilini, Magrini, Petrarca and
# Scandale, 2025). It has 118 thousand numbers to learn, called parameters. The other one is a newer
# refiner of this project, to which chapters 12 to 14 lead. It has nearly four million parameters, and
# it was trained on many kinds of strokes.
#
# ## Guess first
#
# The next cell gives both networks two strokes for the same astronaut: first a **line** down the middle
# of her, and then a mask that was **painted** almost to the edge. Before you run it, write down your
# guess: which of the four answers will be best, and which will be worst?

# %%
PHOTOS = standins.photographs(standins.data_set(project_root() / photos))
photo = standins.photograph(PHOTOS, "astronaut")
height, width = photo.mask.shape

middle = [[225, 70, 6], [225, 170, 6], [200, 260, 6], [190, 360, 6], [230, 450, 6]]
line = rasterize([{"kind": "object", "points": middle}], height, width).object
strokes = {"a line": line, "painted": photo.stroke}
networks = {"tiny16-32": Refiner.from_pretrained(PRETRAINED[-1]), "refiner": refiner}

# %%
shown = {}
for kind, stroke in strokes.items():
    title = f"{kind}: IoU {metrics.iou(stroke, photo.mask):.2f}"
    shown[title] = {"image": photo.image, "stroke": stroke, "mask": photo.mask}
    for name, network in networks.items():
        answer = network.refine(photo.image, stroke)
        title = f"{name} on {kind}: {metrics.iou(answer, photo.mask):.2f}"
        shown[title] = {"image": photo.image, "mask": photo.mask, "prediction": answer}
look.gallery(shown, legend_of=("stroke", "truth", "prediction"))

# %% [markdown]
# **What to look for.** The orange area is the stroke, the blue line is the true outline, and the magenta
# line is the outline of the answer. Follow the magenta line in the upper row: does it run along the
# object, or along the stroke? Then look at the lower row, where the stroke covered nearly everything
# from the start.
#
# <details><summary>Answer to the guess</summary>
#
# The worst answer is the small network's on the line: it returns the line, a little thicker. That is not
# a defect of the network. All the strokes that it saw in training were masks with bites taken out of
# them, so it has learned to fill bites and to smooth edges. It has never met a stroke that leaves the
# edge open. The best numbers belong to the painted stroke, but look at the first picture of that row: it
# was nearly right *before* any network touched it. A high number at the end says little, as long as one
# does not know the number at the beginning.
#
# </details>
#
# ## IoU: how close are two masks?
#
# The number in the titles is the **intersection over union**, IoU for short. Take all pixels that lie in
# both masks, and divide their number by that of all pixels that lie in at least one:
#
# $$\mathrm{IoU}(P, T) = \frac{|P \cap T|}{|P \cup T|}$$
#
# It is 1 for two equal masks, and 0 for two masks that do not meet. Two masks of which each has half of
# its pixels in the other reach only one third, so a value of 0.5 is less bad than it sounds. The
# drawing shows it on a small grid, where you can count for yourself.

# %%
overlap, union = plots.two_masks_on_a_grid()
print(f"{overlap} pixels in both, {union} in at least one: IoU = {overlap / union:.3f}")

# %% [markdown]
# ## Better than what? The identity
#
# Here is the idea that this course will not let go of. A method that returns the stroke **unchanged** is
# a method as well. It costs nothing and it has an IoU. We call it the **identity**. A network that
# reaches 0.86 where the stroke had 0.82 has added 0.04; a network that reaches 0.86 where the stroke had
# 0.90 has done harm. So no method appears in this course without the row of the identity beside it.
#
# Below are photographs that come with the package, each with a painted stroke that a program made from
# the true mask. The last column is the difference that the small network makes.

# %%
rows = []
for sample in PHOTOS:
    answer = networks["tiny16-32"].refine(sample.image, sample.stroke)
    before, after = metrics.iou(sample.stroke, sample.mask), metrics.iou(answer, sample.mask)
    rows.append((sample.category, before, after, after - before))
plots.table(
    rows, ("picture", "identity", "tiny16-32", "difference"), "{:.3f}", difference="{:+.3f}"
)

# %% [markdown]
# **What to look for.** Read the column of the identity first. Where the stroke was nearly right, hardly
# anything is left to gain, and the network may even lose. Where the stroke was poor, as on a small
# object of which the program ate a large part, the network gains much. So the same network looks useless
# or excellent, depending on the strokes that it is given. The paper prints the IoU of its networks and
# not that of the strokes. Chapter 02 measures the strokes, and chapter 09 puts the identity into the
# paper's table.
#
# ## Stroke after stroke
#
# A tool for people is not finished after one answer. If something is missing, you add a stroke; if there
# is too much, you mark it as background. The refiner takes all strokes so far **and its own last mask**,
# and answers again. The three steps below are written out as a list of points $(x, y, \text{radius})$, so
# that you can change them: a stroke over the face, then one over the suit, and then one on the
# background, at the lower left, where the mask has spilled over onto the flag.

# %%
steps = [
    {"kind": "object", "points": [[225, 60, 8], [228, 120, 8]]},
    {"kind": "object", "points": [[150, 240, 8], [190, 330, 8], [120, 430, 8]]},
    {"kind": "background", "points": [[12, 360, 6], [12, 480, 6]]},
]
answer, shown = None, {}
for number in range(1, len(steps) + 1):
    drawn = rasterize(steps[:number], height, width)
    answer = refiner.refine(photo.image, drawn.object, drawn.background, answer)
    title = f"after stroke {number}: IoU {metrics.iou(answer, photo.mask):.2f}"
    shown[title] = {"image": photo.image, "drawn": drawn, "prediction": answer}
look.gallery(shown, legend_of=("stroke", "background stroke", "prediction"))

# %% [markdown]
# **What to look for.** After the first stroke the network has to guess how much is meant: the face, the
# head, or the whole person? One stroke cannot say. The second stroke decides it. The third is dark blue,
# at the left edge of the last picture: the outline draws back from it. Watch also what happens *far
# away* from a new stroke: a good correction changes what is wrong and leaves alone what was right.
#
# The two networks can answer your own strokes as well, side by side. Draw in either of the two canvases;
# the other one follows.

# %%
canvases.side_by_side(canvas, networks)

# %% [markdown]
# ## The map
#
# | chapter | what you do in it | of the paper |
# |---|---|---|
# | [01](01_masks_and_coco.ipynb) | read COCO, polygons and run lengths; choose 1,000 pictures | Figure 1 |
# | [02](02_strokes.ipynb) | make strokes from masks, and measure how good they are | section 2.2 |
# | [03](03_unet.ipynb) | build the U-Net by hand, from the convolution up | Figure 2 |
# | [04](04_training_by_hand.ipynb) | write a training loop and watch the network learn | Figure 5 |
# | [05](05_losses.ipynb) | see what each loss rewards, and what it makes of a network | section 2.5 |
# | [06](06_two_residuals.ipynb) | find out which "residual" network was trained | Figure 3, Table 2 |
# | [07](07_attention.ipynb) | add attention gates, look at them, and break them | Figure 4 |
# | [08](08_metrics_by_hand.ipynb) | build every metric on masks that one can count | section 2.6 |
# | [09](09_results_table.ipynb) | read a results table: identity, pairs, intervals, lucky epochs | Table 1 |
# | [10](10_errors.ipynb) | find failures by slicing, not by looking | Figures 6, 7 |
# | [11](11_reproduce.ipynb) | make a result again, and catch one changed digit | all |
# | [12](12_strokes_as_drawn.ipynb) | strokes as people draw them | beyond it |
# | [13](13_corrections.ipynb) | a refiner that can be corrected | beyond it |
# | [14](14_judging_a_tool.ipynb) | judge a tool, and say where it fails | beyond it |
# | [15](15_related_work.ipynb) | five neighbouring ideas, running on our own network | beyond it |
#
# Chapters 01 to 04 build on each other. After 04 you can follow your interest.

# %% [markdown]
# ## Exercises
#
# Every chapter ends with seven exercises: three questions with a choice of answers, two functions to
# write, an experiment, and an open question. For a question, write the letter of your answer between the
# quotation marks. For a function, replace the three dots; the check prints `right`, or says what is
# wrong. Solutions of the functions are in `notebooks/solutions/00_draw_first.py`.
#
# **1.** A stroke covers 80 % of an object and nothing else. What is the IoU of doing nothing?
#
# - a) 0, because no network has answered yet.
# - b) 0.8.
# - c) It is not defined.

# %%
print(exercises.choose("iou of doing nothing", ""))

# %% [markdown]
# **2.** A square of 10 × 10 pixels is predicted 10 pixels too far to the right, so that it just touches
# the true square. What is the IoU, and what would it be 100 pixels too far?
#
# - a) 0.5, and then less.
# - b) 0, and then 0 as well.
# - c) Nearly 1, since the shape is right, and then 0.

# %%
print(exercises.choose("iou after a shift", ""))

# %% [markdown]
# **3.** What shows that a refiner helped?
#
# - a) Its IoU is high.
# - b) It changed many pixels of the stroke.
# - c) Its IoU is higher than that of the stroke, on the same picture.

# %%
print(exercises.choose("what a good refiner does", ""))

# %% [markdown]
# **4. Made worse.** From two lists, the IoU of every picture's stroke and that of its refined mask,
# return the share of pictures that the refiner made worse. An unchanged IoU is not worse.


# %%
def made_worse(before, after): ...  # your turn


print(exercises.check(made_worse))

# %% [markdown]
# **5. What did it do?** IoU says how good an answer is, but not what was done. From a stroke and an
# answer, both arrays of bool, return two numbers: how many pixels were added and how many were taken
# away, each divided by the number of pixels of the *stroke*.


# %%
def what_changed(stroke, answer): ...  # your turn


print(exercises.check(what_changed))

# %% [markdown]
# **6. Experiment.** Set `picture = "coffee"` among the parameters and run the chapter again. The
# strokes leave open whether the cup is meant or the saucer. How many strokes do you need until the
# mask is the cup alone, and how many for cup and saucer? Which kind of stroke helped most?
#
# **7. Open question.** A colleague writes: "Our refiner reaches an IoU of 0.93, so it is ready to be
# used." Write five sentences in reply.
#
# <details><summary>Rubric</summary>
#
# One point each: (1) it asks for the IoU of the strokes, the identity; (2) it asks on how many pictures
# it got worse, since an average hides them; (3) it asks what the strokes were and whether people draw
# like that; (4) it asks on which pictures it was measured, and whether they had been used for training
# or choosing; (5) it proposes one measurement that would change your mind. Four points are a good answer.
#
# </details>
#
# ## Recap
#
# - A refiner turns an image and a stroke into a mask; strokes that follow correct the mask.
# - IoU says how close two masks are, from 0 to 1.
# - The stroke itself has an IoU, that of the identity. A refiner is judged by what it adds.
#
# ## Words
#
# - **Ground truth**: the mask that we take to be right, outlined by a person.
# - **Identity**: the method that returns the stroke unchanged.
# - **IoU**: intersection over union, also called the Jaccard index.
# - **Parameter**: a number in a network that training sets.
# - **Refiner**: a function from an image and a stroke to a mask.
#
# ## References
#
# - Jaccard, P. (1912). The distribution of the flora in the alpine zone. *New Phytologist* 11(2), 37–50.
#   [doi:10.1111/j.1469-8137.1912.tb05611.x](https://doi.org/10.1111/j.1469-8137.1912.tb05611.x)
# - Xu, N. et al. (2016). Deep interactive object selection. *CVPR*.
#   [doi:10.1109/CVPR.2016.47](https://doi.org/10.1109/CVPR.2016.47)
#
# Next: [01 · Masks and COCO](01_masks_and_coco.ipynb), where the masks come from.
