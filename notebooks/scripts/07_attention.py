# %% [markdown]
# # 07 · Attention
#
# "The network looks at the object": that is what pictures of attention seem to show, and people like to believe
# them. In this chapter you build attention gates, look at such pictures, and then do what an engineer does
# with an explanation: you break the thing, and see whether the answer breaks with it.
#
# After this chapter you will be able to
#
# - build an attention gate by hand and put it on a U-Net's skips;
# - read a map of attention, and ask three questions before believing it;
# - test whether a network uses its attention.
#
# | | |
# |---|---|
# | before you start | chapter 03; chapter 06 helps |
# | learning time | 45 minutes |
# | running time | half a minute |
# | makes | **Figure 4**: the U-Net with attention |
# | previous, next | [06 · Two residuals](06_two_residuals.ipynb), [08 · Metrics by hand](08_metrics_by_hand.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks
out = "reports/sample"  # figures go here

# %%
import numpy as np
import torch
from torch import nn

from nseg_lib import networks
from nseg_lib.course import attention, diagrams, exercises, look, plots, standins
from nseg_lib.data.scaling import rescale
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from reproduction import paper
from reproduction.artefacts import save_figure

look.use_style()
ROOT = project_root()
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))

# %% [markdown]
# ## The idea
#
# A skip connection carries all features of the encoder to the decoder, also those of the background. An
# **attention gate** (Oktay et al. 2018) weighs them first: for every pixel it computes a number $\alpha$
# between 0 and 1, and all channels of the skip are multiplied by it. By what is the gate to judge? By the
# skip's features $x$ at that pixel, and by what the decoder already knows there, the gating signal $g$:
#
# $$\alpha = \sigma\Big(\mathrm{GN}_1\big(w * \mathrm{ReLU}(\mathrm{GN}_8(W_g * g) +
#   \mathrm{GN}_8(W_x * x))\big)\Big), \qquad \hat x = \alpha \cdot x$$
#
# $W_g$, $W_x$ and $w$ are 1×1 convolutions, so each pixel is judged by itself. The two sides are brought to
# half the channels and *added*; hence the name additive attention.
#
# Text and code differ once more. The paper lists "U-Net Tiny / Residual with Attention"; its network with
# attention is a plain U-Net, and no stroke is added to the logits.
#
# ## The gate, by hand


# %%
class AttentionGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.gate = nn.Sequential(nn.Conv2d(channels, half, 1), nn.GroupNorm(8, half))
        self.skip = nn.Sequential(nn.Conv2d(channels, half, 1), nn.GroupNorm(8, half))
        self.score = nn.Sequential(nn.Conv2d(half, 1, 1), nn.GroupNorm(1, 1))

    def forward(self, gate, skip):
        score = self.score(torch.relu(self.gate(gate) + self.skip(skip)))
        return skip * torch.sigmoid(score)


# %% [markdown]
# A U-Net of the library asks its method `weigh` for what to do with each skip; the plain one returns the skip
# as it is. So all that is left to do is to answer with a gate.


# %%
class AttentionUNet(networks.UNet):
    def __init__(self, widths):
        super().__init__(widths)
        self.gates = nn.ModuleList(AttentionGate(width) for width in reversed(widths))

    def weigh(self, depth, skip, gate):  # depth 0 is the deepest
        return self.gates[depth](gate, skip)


mine, library = AttentionUNet([16, 32]), networks.AttentionUNet([16, 32])
mine.load_state_dict(library.state_dict())
x = torch.rand(1, 3, 60, 90)
with torch.no_grad():
    torch.testing.assert_close(mine(x), library(x), rtol=0, atol=0)
print("same parameters, same output")

# %% [markdown]
# ## Figure 4

# %%
panels = diagrams.of_the_paper("figure4")
figure4 = diagrams.architecture(panels)
save_figure(figure4, ROOT / out / "figures" / "figure4", diagrams.stages(panels))
look.finish(figure4, "Figure 4: the U-Net with a gate on every skip, drawn as blocks of layers.")

# %% [markdown]
# **What to look for.** Each circle with an α has two arrows in: the skip from the left, and the upsampled
# features from below (the green slab). What leaves it is the skip again, weighed: the white slab. All four
# gates together have about 1 % of the network's parameters.
#
# ## Guess first
#
# The next cells show α on a photograph. If you have not trained the paper's network with gates, they take a
# smaller one that comes with nseg: it has two gates (widths 16 and 32), and was trained on COCO as the others
# were. Where do you expect α to be high: on the object, on the background, along the edge, or where the stroke
# is? And will the two gates agree with each other?

# %%
small = "attn16-32_bce-dice-bound"
refiner = standins.refiner(ROOT / runs, "attn32-256_bce-dice-bound", small)
photo = standins.photograph(PHOTOS, "camera")
image, mask, stroke = rescale(photo.image, photo.mask, photo.stroke, 0.5)
maps, prediction = attention.maps(refiner, image, stroke)
print(f"IoU {metrics.iou(stroke, mask):.3f} → {metrics.iou(prediction, mask):.3f}")

# %%
attention.show(maps, image, stroke, mask)

# %% [markdown]
# **What to look for.** From left to right, from the deepest gate to the one at full size; bright is a large α.
# A checkerboard comes from the transposed convolutions, whose 2 × 2 weights differ from each other. A story is
# quickly told about such a picture. Before you believe one, ask:
#
# 1. Does α follow the *object*, or only the *stroke*, which was in the input?
# 2. Is it high where it should be? A gate may as well mark what to leave out.
# 3. Does the network *use* it at all?
#
# ## Question one: object or stroke?
#
# Take the mean of α in four regions of the picture: where the stroke is right, what the stroke missed of the object, what it
# added wrongly, and the rest. If a gate finds the object, the first two agree. If it repeats the stroke, the
# second agrees with the rest. Question two is answered by the same table: is α larger on the object than in the
# rest, or smaller?

# %%
regions = {
    "stroke, right": stroke & mask, "missed by the stroke": mask & ~stroke,
    "added by the stroke": stroke & ~mask, "rest": ~mask & ~stroke,
}  # fmt: skip
full = [attention.at_full_size(alpha, mask.shape) for alpha in maps]
rows = [
    (name, *(alpha[region].mean() if region.any() else np.nan for alpha in full))
    for name, region in regions.items()
]
plots.table(rows, ("region", *(f"α at {a.shape[1]}×{a.shape[0]}" for a in maps)), "{:.2f}")

# %% [markdown]
# <details><summary>Answer to the guess</summary>
#
# Read your table. In the network that comes with nseg, the gate at full size is bright where the stroke is, and
# the deeper gate is *dark* there, and bright along the edge. So the two gates do not agree with each other. And
# they follow the stroke and not the object: what the stroke missed has about the α of the rest in the gate at full size, and what it
# added wrongly has nearly the α of the stroke. That is no surprise, since the stroke is the clearest thing in the
# input. Another random start may give other maps. So whoever shows one such map as an explanation shows one of
# several that the same training could have given.
#
# </details>
#
# ## An aside: where, but not whether
#
# Before the sigmoid, the scores go through a group norm of *one* channel. Over the whole picture they get mean
# 0 and variance 1, and then a scale γ and a shift β that were learned. So a gate has the same spread of scores
# on **every** picture. Single pixels can be shut, with an α near 0, and others opened. What the gate cannot do
# is to say "there is nothing here to look at": a picture without anything of interest gets as much contrast as
# any other. It says *where*, never *whether*.

# %%
rows = []
for alpha, gate in zip(maps, refiner.network.gates, strict=True):
    scores = np.log(alpha / (1 - alpha))
    scale, shift = gate.score[1].weight.item(), gate.score[1].bias.item()
    rows.append(
        (f"{alpha.shape[1]}×{alpha.shape[0]}", abs(scale), scores.std(), shift, scores.mean())
    )
plots.table(rows, ("gate", "|γ|", "deviation of scores", "β", "mean of scores"), "{:.2f}")

# %% [markdown]
# The deviation is |γ| and the mean is β, in every row, whatever the picture shows.
#
# ## Question three: is it used?
#
# The test of an explanation: break it, and see whether the answer breaks. Three versions of the same trained
# network: the gates as they are; gates that let the *mean* of α through everywhere, so that "where" is lost;
# and gates wide open, with α = 1.

# %%
samples = [(s.category, *rescale(s.image, s.mask, s.stroke, 0.5)) for s in list(PHOTOS)[:5]]
rows = []
for name, picture, truth, drawn in samples:
    row = [name, metrics.iou(drawn, truth)]
    for how in ("as trained", "mean", "open"):
        with attention.broken(refiner.network, how):
            row.append(metrics.iou(refiner.refine(picture, drawn, scale=1), truth))
    rows.append(row)
plots.table(rows, ("picture", "identity", "gates as trained", "gates: mean", "gates: open"))

# %% [markdown]
# **What to look for.** Compare "as trained" with "mean". Where they differ much, the network relies on *where*
# its gates open; where they hardly differ, the pretty maps explain nothing. With the network that comes with
# nseg, the five answers change by about a hundredth of IoU at most. So it hardly relies on *where*. That its gates
# are shut in part matters more: on the coin, whose stroke is poor, wide open gates cost a tenth.
#
# Note what this test cannot say. A network may rely on its gates and still be no better than one that was
# trained without any. For that, one has to train both. Two sources know such pairs: the authors' logs, and
# the rows of this project.

# %%
logs = paper.authors_logs().pivot(index="epoch", columns="model", values="val_iou")
pair = [f"{name}_bce-dice-bound" for name in ("attn32-256", "res32-256")]
gap = (logs[pair[0]] - logs[pair[1]]).dropna()
late = [logs[name].dropna().tail(5).mean() for name in pair]
print(f"the authors' logs, attn minus res: {gap.mean():+.4f} over {len(gap)} epochs,")
print(f"{late[0] - late[1]:+.4f} over the last five of each")
plots.table(standins.committed_rows(ROOT, ["identity", *pair]),
            ("on COCO, test", "IoU", "1-px boundary IoU", "made worse"))  # fmt: skip

# %% [markdown]
# In two sentences: in the authors' logs the network with gates lies ahead of the one without, but there is one
# training of each, and another training of the same network may differ by as much. In our rows, on test
# pictures that chose nothing, it does not lie ahead. The paper's Table 1 takes single epochs that were chosen
# by their loss on the very pictures of the table; chapter 09 shows what that adds.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/07_attention.py`.
#
# **1.** A map of attention is bright on the object. What follows?
#
# - a) The network has found the object and uses it.
# - b) Nothing yet: the stroke is bright there too, and the gate may not matter.
# - c) The network would be worse without attention.

# %%
print(exercises.choose("bright map", ""))

# %% [markdown]
# **2.** With all gates open the answers hardly change. What follows?
#
# - a) The gates are useless, also in training.
# - b) This network does not rely on where its gates open; what they did in training is not known.
# - c) The gates were open all the time.

# %%
print(exercises.choose("gates open", ""))

# %% [markdown]
# **3.** Why can the gates of this network not say "nothing here"?
#
# - a) Their scores are normalised over the picture, so that their spread is always the same.
# - b) A sigmoid never reaches 0.
# - c) They see only one pixel at a time.

# %%
print(exercises.choose("cannot be quiet", ""))

# %% [markdown]
# **4. What a gate costs.** Return the parameters of a gate for so many channels (a multiple of 16). A group
# norm of $n$ channels has $2n$. Check yourself: the four gates of `attn32-256` have 88,732 together.


# %%
def gate_parameters(channels): ...  # your turn


print(exercises.check(gate_parameters))

# %% [markdown]
# **5. Attention as a mask.** How good a mask does a map of attention make, at its best? Return the *highest*
# IoU with `mask` that any threshold reaches: a pixel is predicted where `alpha` is at least the threshold.
# (Which thresholds have to be tried? Only those at which the predicted mask changes.)


# %%
def best_threshold_iou(alpha, mask): ...  # your turn


print(exercises.check(best_threshold_iou))

# %% [markdown]
# **6. Experiment.** Train the small network twice more, from other random seeds, and show the maps of all three
# for one photograph. What do they have in common? Compute exercise 5 for each map, and for the stroke itself.
#
# **7. Open question.** A company shows heat maps of its medical network to doctors, "so that they can see what
# it looks at". Which experiment would you demand before such maps are shown, and which harm can a map do that
# explains nothing?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the experiment changes what the map claims to be important, and watches the answer;
# (2) it has a control, such as changing something unimportant to the same extent; (3) it is done on many
# pictures, with a number; (4) harm: trust in wrong answers, because the map looks sensible; (5) harm: doctors
# learn to look where the map is bright, and miss what is elsewhere.
#
# </details>
#
# ## Recap
#
# - A gate weighs each pixel of a skip by what the skip and the decoder say there.
# - A map is a picture, not an explanation. Ask: object or stroke, bright or dark, used or not?
# - The test is to break it. The comparison is to train without it.
#
# ## Words
#
# - **Ablation**: leaving a part out, to see what it is worth.
# - **Attention gate**: a learned weight between 0 and 1 for each pixel of a skip.
# - **Gating signal**: the decoder's features by which the gate judges.
#
# ## References
#
# - Oktay, O. et al. (2018). Attention U-Net: learning where to look for the pancreas.
#   [doi:10.48550/arXiv.1804.03999](https://doi.org/10.48550/arXiv.1804.03999)
# - Adebayo, J. et al. (2018). Sanity checks for saliency maps. *NeurIPS*.
#   [doi:10.48550/arXiv.1810.03292](https://doi.org/10.48550/arXiv.1810.03292)
#
# Next: [08 · Metrics by hand](08_metrics_by_hand.ipynb), where the numbers come from.
