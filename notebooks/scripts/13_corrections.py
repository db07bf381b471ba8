# %% [markdown]
# # 13 · A refiner that corrects
#
# A tool is not finished after one answer. The user sees what is wrong, adds a stroke, and expects the mask to get
# better there and to stay as it is elsewhere. This chapter follows the refiner of this project from the strokes to
# its mask. Then it plays the game by which such tools are measured: how many strokes does a good mask take?
#
# After this chapter you will be able to
#
# - say what a network must see to be correctable;
# - follow a picture through two looks, a wide one and a close one;
# - play and score the game of corrections.
#
# | | |
# |---|---|
# | before you start | chapters 03 and 12 |
# | learning time | 50 minutes |
# | running time | half a minute |
# | makes | nothing that is in the paper |
# | previous, next | [12 · Strokes as people draw them](12_strokes_as_drawn.ipynb), [14 · Judging a tool](14_judging_a_tool.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
rounds = 5  # strokes of each game

# %%
import itertools

from nseg_lib import Refiner
from nseg_lib.course import exercises, games, look, plots, standins
from nseg_lib.provenance import project_root
from nseg_lib.strokes.drawing import rasterize

look.use_style()
ROOT = project_root()
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
refiner = Refiner.from_pretrained()
print(f"{sum(p.numel() for p in refiner.network.parameters()):,} parameters")

# %% [markdown]
# ## What a network must see to be corrected
#
# The paper's networks have three channels: the stroke, the grey picture, and its gradient. To be correctable, a
# network needs more. This one has **six**:
#
# - three channels of colour, since things of equal brightness may differ in colour;
# - one channel with the strokes on the object, and another with the strokes on the **background**, so that a user
#   can also say "not this";
# - one channel with the **last mask**, so that the network knows what it is to correct. Before the first answer this
#   channel is empty.
#
# The last channel is the interesting one. A network that only sees all strokes so far starts afresh each time, and
# may change its mind about a part of the picture that nobody complained about. A network that sees its last mask can
# learn to keep what is right. But it has to be *taught* to do so: in most steps of its training, the network is shown
# its own answer, together with a stroke on the largest mistake of this answer.
#
# ## Two looks
#
# The paper's networks take in the whole picture, whatever the object's size: a cup in a large room is a few pixels.
# The refiner instead looks at the part of the picture where something was drawn. The first look is **wide**: it goes
# far around the strokes, because a line may cover little of its object. The second look is **close**: it goes around
# what the first look found, and enlarges it more, which keeps thin parts. Each look is a pass of the same network, and
# the second is told what the first one found, as the mask to correct. For a first answer, the shipped refiner looks a
# third time in the same way, at what the second look found: where a line leaves much open, the third look still gains
# a little.
#
# A correction stays near the strokes that ask for it, those that contradict the last mask. The network's change of
# the mask falls into connected parts. Only the parts that come close to such a stroke are made, and all others are
# dropped, so that no far part of a mask is lost while you mend another. A correction also keeps its direction: a
# stroke on the object takes nothing away from the mask, and a stroke on the background adds nothing to it.

# %%
photo = standins.photograph(PHOTOS, "coins")
line = [[347, 165, 6], [347, 208, 6]]
drawn = rasterize([{"kind": "object", "points": line}], *photo.mask.shape)
wide, close = games.looks(refiner, photo.image, drawn)
answer = refiner.refine(photo.image, drawn.object)
look.gallery({
    "the picture": {"image": photo.image, "drawn": drawn},
    "the wide look": {"image": photo.image, "drawn": drawn, "crop": wide},
    "the close look": {"image": photo.image, "drawn": drawn, "crop": close, "prediction": answer},
})  # fmt: skip

# %% [markdown]
# **What to look for.** The second panel shows the strokes with a wide margin; the third shows what the first look
# found, with a narrower margin. Only the coin under the line was meant. But the wide look also took its neighbour for
# a part of the object, so the close look shows both coins, and the answer has both. Where the first look is wrong, the
# second one starts wrong, and then only a further stroke can help.
#
# That further stroke shows what the six channels are for. It goes over the coin that was not meant, and says
# "background". The first four pictures are what the network sees now; it sees the part around the strokes, enlarged,
# and here you see the whole. The last picture is its new answer.

# %%
no = [[336, 112, 5], [336, 138, 5]]
both = [{"kind": "object", "points": line}, {"kind": "background", "points": no}]
corrected = rasterize(both, *photo.mask.shape)
better = refiner.refine(photo.image, corrected.object, corrected.background, answer)
look.gallery({
    "three channels: the colours": photo.image, "one: strokes on the object": corrected.object,
    "one: on the background": corrected.background, "one: the last mask": answer,
    "the new answer": {"image": photo.image, "drawn": corrected, "prediction": better},
})  # fmt: skip

# %% [markdown]
# **What to look for.** No channel by itself says what is wrong. The last mask has both coins, and one of the two is
# right. Only together with the strokes does it say which coin has to go and which one has to stay.
#
# ## Guess first
#
# Now the game. A simulated user draws a stroke through the **deepest mistake**: a stroke on the object where a part
# is missing, or on the background where the mask has too much. The refiner answers, the next stroke is drawn, and so
# on. After how many strokes will an IoU of 0.85 be reached, on a photograph like this? And will the IoU ever go *down*
# from one stroke to the next?
#
# ## The game of corrections

# %%
played = {}
for sample in PHOTOS:
    played[sample.category, sample.image_id] = games.play(refiner, sample, rounds)
first = {key: game[0][2] for key, game in played.items()}
worst = min(first, key=first.get)
sample = next(s for s in PHOTOS if s.image_id == worst[1])

# %%
shown = {}
for number, (strokes, mask, iou) in enumerate(played[worst], 1):
    title = f"stroke {number}: IoU {iou:.2f}"
    shown[title] = {
        "image": sample.image,
        "drawn": strokes,
        "mask": sample.mask,
        "prediction": mask,
    }
drawn_here = ("stroke", "background stroke", "truth", "prediction")
look.gallery(shown, legend_of=drawn_here, crop=look.around(sample.mask, margin=0.6))

# %% [markdown]
# **What to look for.** The photograph was chosen by a rule: it is the one whose *first* answer is worst. Each panel
# shows the stroke that was drawn last (orange on the object, blue on the background) and the answer to all strokes
# so far. Does a
# correction change more than it touches? Does a later stroke spoil what was right?

# %%
look.curves(
    {"all photographs": {f"{name} {i}": (range(1, len(g) + 1), [iou for *_, iou in g])
                         for (name, i), g in played.items()}},
    x="strokes so far", y="IoU", level={"target": 0.85}, xticks=range(1, rounds + 1),
)  # fmt: skip

# %%
falls = [
    after[2] - before[2]
    for game in played.values() for before, after in itertools.pairwise(game)
]  # fmt: skip
worse = sum(f < -0.005 for f in falls)
print(f"{len(falls)} corrections, of which {worse} cost more than .005 of IoU")

# %% [markdown]
# <details><summary>Answer to the guess</summary>
#
# The curves answer for these photographs: some may be done after the first stroke, and others need several. A
# correction can also make the whole worse, although it was drawn exactly where the mistake was; the line above counts
# how often. That is the most annoying thing that a tool can do, so it deserves a number of its own: the share of
# corrections that lose more than a margin. It is not visible in an average curve, which rises.
#
# </details>
#
# ## The field's number: NoC
#
# The **number of clicks**, NoC@85, is the mean number of strokes until an IoU of 0.85 is reached. At most 20 strokes
# are drawn; if 0.85 is never reached, 20 are counted. The table below is the project's measurement on photographs of
# COCO, with straight strokes of a kind that no training used. Beside the refiner stand methods without any training.

# %%
measured = standins.committed_table(ROOT, "corrections.csv")
plain = measured[measured["strokes"] == "plain"]
plots.table(plain[["method", "n", "noc85", "failed85"]].to_numpy().tolist(),
            ("method", "pictures", "NoC@85", "never reached"), "{:.0f}", **{"NoC@85": "{:.1f}"})  # fmt: skip

# %% [markdown]
# **What to look for.** Look at the column of pictures first: a slow method was run on fewer of them, and numbers of
# different pictures must not be compared (chapter 09). Then look at the last column: NoC counts a failure as 20
# strokes, so its mean mixes "slow" with "never". So both numbers are needed, NoC and how often 0.85 was never reached.
#
# ## More of the same: likeness
#
# How does a network find the rest of an object from a line? Part of the answer is a comparison. Its encoder turns
# each place of the picture into a vector of features. The mean vector under the stroke, the **prototype**, says
# what the object looks like. The cosine of the angle between the prototype and the vector of any other place says how
# *alike* that place is. The refiner's network computes this map and hands it to its later layers.

# %%
likeness = games.likeness(refiner, photo.image, drawn)
look.gallery({"the wide look": {"image": photo.image, "drawn": drawn, "crop": wide},
              "likeness to the stroke": likeness})  # fmt: skip

# %% [markdown]
# **What to look for.** The map is coarse and knows no edges. It says *where more of the same is*, also where no stroke
# went, and it lights up on other coins as well. It is left to the later layers to find the border, and to tell the
# brushed coin from its neighbour. The answer above shows that they do not always succeed.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/13_corrections.py`.
#
# **1.** Why is the last mask given to the network?
#
# - a) So that it can learn to change only what the new stroke asks for.
# - b) So that the user need not see it.
# - c) Because six channels are faster than five.

# %%
print(exercises.choose("why the last mask", ""))

# %% [markdown]
# **2.** Method A has NoC@85 of 6, method B of 5. Which is the better tool?
#
# - a) B.
# - b) A.
# - c) Not known: the failures, and how often corrections do harm, are missing.

# %%
print(exercises.choose("six or five clicks", ""))

# %% [markdown]
# **3.** The simulated user of the game always hits the deepest mistake. What does that make the numbers?
#
# - a) Too good for real users, who look for mistakes themselves and hit less exactly.
# - b) Too bad.
# - c) Exactly right, as every method gets the same user.

# %%
print(exercises.choose("perfect user", ""))

# %% [markdown]
# **4. The next stroke.** From the object and the last answer, both bool H×W: where should the next stroke go? Return
# `"object"` if the deepest mistake is a missed part, `"background"` if it is a wrongly added one, and `""` if there
# is no mistake. The depth of a mistake is the largest distance of one of its pixels to the nearest pixel outside
# it; beyond the picture nothing is wrong. Of two equally deep ones, the missed part comes first.


# %%
def next_stroke(mask, answer): ...  # your turn


print(exercises.check(next_stroke))

# %% [markdown]
# **5. The working size.** A crop of `height` × `width` is scaled so that its *longer* side is `longer`, and each side
# is rounded to a whole number; then it is padded below and on the right to multiples of `step`. Return the four
# numbers `(scaled height, scaled width, padded height, padded width)`.


# %%
def working_size(height, width, longer, step): ...  # your turn


print(exercises.check(working_size))

# %% [markdown]
# **6. Experiment.** Play the game again, but forget the last mask: call `refine` with all strokes so far and without
# `mask`. Compare the curves and the number of corrections that do harm. What is the last mask worth?
#
# **7. Open question.** Design a study with ten people that finds out whether this refiner saves time, compared with
# painting by hand. What do they do, what do you measure, and how could the study fool you?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the same people do both, in an order that changes from person to person; (2) the same pictures
# or equally hard ones; (3) time *and* quality are measured, as one can be traded for the other; (4) practice is
# accounted for, since the second method profits from the first; (5) the objects are not chosen by those who built
# the tool.
#
# </details>
#
# ## Recap
#
# - To be corrected, a network needs colours, strokes for yes and for no, and its last mask.
# - The refiner looks several times: wide around the strokes, then close around what was found.
# - A correction changes only parts that are connected with its strokes, only in their direction, and leaves the rest
#   alone.
# - Count strokes, count failures, and count the corrections that do harm.
#
# ## Words
#
# - **Feature**: a vector that a network computes for each place of the picture.
# - **Last mask**: the previous answer, given to the network as an input.
# - **NoC@85**: the mean number of strokes until an IoU of 0.85.
# - **Prototype**: the mean feature under the stroke.
#
# ## References
#
# - Sofiiuk, K., Petrov, I. and Konushin, A. (2022). Reviving iterative training with mask guidance for interactive
#   segmentation. *ICIP*. [doi:10.48550/arXiv.2102.06583](https://doi.org/10.48550/arXiv.2102.06583)
# - Wang, K. et al. (2019). PANet: few-shot image semantic segmentation with prototype alignment. *ICCV*.
#   [doi:10.1109/ICCV.2019.00929](https://doi.org/10.1109/ICCV.2019.00929)
#
# Next: [14 · Judging a tool](14_judging_a_tool.ipynb): is it any good?
