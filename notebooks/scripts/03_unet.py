# %% [markdown]
# # 03 · From convolution to U-Net
#
# After this chapter you will be able to
#
# - build the paper's smallest network by hand, and account for each of its 117,681 parameters;
# - explain group normalisation, and why batches of one picture need it;
# - say how far the network sees, and what it does with sizes that cannot be halved.
#
# | | |
# |---|---|
# | makes | **Figure 2**: the U-Net |
# | inputs → outputs | one photograph → `figures/figure2` |
# | takes | about a quarter of a minute |
# | previous, next | [02 · Strokes](02_strokes.ipynb), [04 · Training by hand](04_training_by_hand.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks
out = "reports/sample"  # figures go here

# %%
import copy

import numpy as np
import pandas as pd
import torch
from torch import nn

from nseg_lib import networks
from nseg_lib.course import diagrams, exercises, look, standins
from nseg_lib.course.tracing import trace
from nseg_lib.networks.inputs import network_input
from nseg_lib.provenance import project_root
from reproduction.artefacts import save_figure

look.use_style()
ROOT = project_root()
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
OUT = ROOT / out

# %% [markdown]
# ## What the network sees
#
# The paper says "the binary mask is concatenated with the input image"; "in addition, the gradient
# is added, resulting in a 3-channel input". A colour image, a mask and a gradient would be five
# channels. What its code does: the stroke, the **grey** picture over 255, and the magnitude of its
# Sobel gradient over the maximum. The colours are gone before the network starts.

# %%
photo = standins.photograph(PHOTOS, "coffee")
channels = network_input(photo.image, photo.stroke)
print(channels.shape, channels.dtype, f"values in [{channels.min():.0f}, {channels.max():.0f}]")

fig, axes = look.panels(1, 4, size=(2.3, 1.9))
look.show(axes[0, 0], photo.image, title="the image (not seen)")
for ax, channel, title in zip(
    axes[0, 1:], channels, ("0: stroke", "1: grey", "2: gradient"), strict=True
):
    look.show(ax, channel, title=title)

# %% [markdown]
# **What to look for.** The gradient is divided by its maximum in *this* picture: one glaring edge
# somewhere makes all others faint. And think of two neighbouring things of different colour and
# equal brightness: their edge is in none of the three channels.

# %% [markdown]
# ## One block
#
# A U-Net (Ronneberger et al. 2015) is made of one brick, two times
#
# $$\phi(x) = \mathrm{ReLU}\big(\mathrm{GN}(W * x + b)\big)$$
#
# a 3×3 convolution, a normalisation, a ReLU. The convolution's border is padded with zeros, so that
# the size stays.


# %%
class DoubleConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.layers(x)


# %% [markdown]
# ### Group normalisation
#
# Deep networks train badly when the scale of their features drifts, so each layer's output is
# brought to mean 0 and variance 1, and then given a scale $\gamma$ and a shift $\beta$ to learn:
# $\hat x = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$. What differs between methods
# is over which values $\mu$ and $\sigma$ are taken.
#
# - *Batch* normalisation: over one channel of *all pictures of the batch*. The paper's batches hold
#   one picture, as sizes differ; then the statistics are of that picture alone in training, but
#   running averages over many in use: two different functions.
# - *Group* normalisation (Wu and He 2018): over a *group of channels of one picture*, here eight
#   groups. Training and use are the same function.
#
# By hand, and against torch:

# %%
x = torch.randn(1, 16, 6, 7) * 3 + 5
groups = x.reshape(1, 8, -1)  # 8 groups of 2 channels
mean, variance = groups.mean(2, keepdim=True), groups.var(2, keepdim=True, unbiased=False)
by_hand = ((groups - mean) / torch.sqrt(variance + 1e-5)).reshape(x.shape)

torch.testing.assert_close(by_hand, nn.GroupNorm(8, 16)(x))

# %% [markdown]
# And the two functions that batch normalisation would be at a batch of one, on dark and bright
# features:

# %%
norm = nn.BatchNorm2d(1)
for value in (1.0, 9.0) * 20:
    norm(torch.randn(1, 1, 8, 8) + value)
bright = torch.randn(1, 1, 8, 8) + 9
print(f"mean after batch norm, training: {norm.train()(bright).mean():+.2f}")
print(f"mean after batch norm, in use:   {norm.eval()(bright).mean():+.2f}")

# %% [markdown]
# ## The network
#
# - **Encoder**: at each level a block, then 2×2 max pooling, which halves the size. Channels grow
#   as the size shrinks.
# - **Bottleneck**: a block of twice the last width.
# - **Decoder**: at each level a 2×2 transposed convolution of stride 2 doubles the size, the
#   encoder's features of that size are put beside it (the **skip connection**), and a block mixes
#   the two.
# - **Head**: a 1×1 convolution to one number a pixel, the **logit**. Its sigmoid is the probability
#   that the pixel belongs to the object; above 0 means above one half.
#
# Why skips? Going down, the network learns *what* is where, roughly; but a pixel's exact place is
# lost in pooling. The skip brings the exact places back, right where the outline is decided. The
# paper says that its models have skips, and the networks that it measured have them. The newest
# version of its released code lost them, and does not run.


# %%
class UNet(nn.Module):
    def __init__(self, widths, in_channels=3):
        super().__init__()
        above = [in_channels, *widths[:-1]]
        below = [*widths[1:], 2 * widths[-1]]
        self.encoder = nn.ModuleList(map(DoubleConv, above, widths))
        self.bottleneck = DoubleConv(widths[-1], 2 * widths[-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, w, 2, stride=2)
            for w, b in zip(reversed(widths), reversed(below), strict=True)
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w) for w in reversed(widths))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for up, block in zip(self.up, self.decoder, strict=True):
            skip = skips.pop()
            x = up(x)
            if x.shape != skip.shape:  # an odd size was rounded down on the way
                x = nn.functional.interpolate(x, size=skip.shape[-2:])
            x = block(torch.cat((skip, x), dim=1))
        return self.head(x)


# %% [markdown]
# ### Is it the library's?
#
# Two networks are the same if they have the same parameters and, with the same weights, give the
# same output. `tiny16-32` has the widths 16 and 32.


# %%
def count(network):
    return sum(p.numel() for p in network.parameters())


mine, library = UNet([16, 32]), networks.UNet([16, 32])
assert count(mine) == count(library) == 117_681
assert count(UNet([16, 32, 64, 128])) == 1_944_049  # tiny16-128

theirs = library.state_dict().values()
mine.load_state_dict(dict(zip(mine.state_dict(), theirs, strict=True)))
with torch.no_grad():
    picture = torch.from_numpy(channels)[None]
    torch.testing.assert_close(mine(picture), library(picture), rtol=0, atol=0)
print("same parameters, same output")

# %% [markdown]
# From here on: `nseg_lib.networks.UNet`.

# %% [markdown]
# ## Where the parameters are, and where the work is
#
# The next table is not typed: it is traced while the network runs on a picture of 640×480.

# %%
stages = trace(library, 480, 640)


def multiplications(stage, before):
    """Of a stage's convolutions: one per weight and pixel."""
    _, height, width = stage.shape
    inputs, total = before.shape[0], 0
    for layer in stage.layers:
        if layer.kind == "convolution":
            total += layer.kernel**2 * inputs * layer.channels * height * width
            inputs = layer.channels
        if layer.kind == "upsampling":
            total += inputs * layer.channels * height * width
    return total


table = pd.DataFrame(
    {
        "stage": s.name,
        "channels": s.shape[0],
        "size": f"{s.shape[2]}×{s.shape[1]}",
        "parameters": s.parameters,
        "multiplications (millions)": multiplications(s, stages[s.sources[0]]) / 1e6,
    }
    for s in stages[1:]
    if s.parameters
)
table.style.format(precision=0, thousands=",").hide()

# %% [markdown]
# **What to look for.** The bottleneck has nearly half of the parameters. The work is elsewhere: two
# fifths of it at full resolution, on a tenth of the parameters. From one level to the next below, a
# block has four times the parameters on a quarter of the pixels: the same work. So sixteen times the
# parameters cost less than twice the work:

# %%
names = ("tiny16-32_bce-dice", "tiny16-128_bce-dice", "res32-256_bce-dice-bound")
sizes = [networks.size(name) for name in names]
pd.DataFrame(
    {"model": s.name, "parameters": s.parameters, "GFLOP at 640×480": s.gflop} for s in sizes
).style.format(precision=1, thousands=",").hide()

# %% [markdown]
# ## Figure 2
#
# Drawn from the same trace, for the network of four levels: change the module and the figure
# changes with it.

# %%
panels = diagrams.of_the_paper("figure2")
figure2 = diagrams.architecture(panels)
data2 = diagrams.stages(panels)
_ = save_figure(figure2, OUT / "figures" / "figure2", data2)

# %% [markdown]
# **What to look for.** Follow one row from left to right: the encoder's last block of a size is the
# white slab of the decoder's first. Count the numbers below: what enters a decoder block has twice
# the channels of what leaves it, half from the skip and half from below.

# %% [markdown]
# ## How far does it see?
#
# The **receptive field** of an output pixel is the part of the input that can change it. We can
# measure it: take the gradient of one output pixel with respect to the input, and look where it is
# not zero. One thing must be taken out first. Group normalisation divides by statistics of the
# *whole picture*, so strictly every pixel changes every other, a little. Without the norms:


# %%
def receptive_map(network, size):
    """Where the input can change the output's middle pixel, norms left out: bool size×size."""
    network = copy.deepcopy(network)
    for block in network.modules():
        if isinstance(block, nn.Sequential):
            for i, layer in enumerate(block):
                if isinstance(layer, nn.GroupNorm):
                    block[i] = nn.Identity()
    network.pool = nn.AvgPool2d(2)  # which of four is the largest changes with the picture
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)  # positive: no ReLU closes, nothing cancels
    x = torch.rand(1, network.encoder[0].layers[0].in_channels, size, size, requires_grad=True)
    network(x)[0, 0, size // 2, size // 2].backward()
    return (x.grad[0].abs().sum(0) > 0).numpy()


fig, axes = look.panels(1, 3, size=(2.6, 2.6))
for ax, widths in zip(axes[0], ([8], [8, 8], [8, 8, 8, 8]), strict=True):
    seen = receptive_map(networks.UNet(widths), 256)
    side = np.flatnonzero(seen.any(0))
    extent = side[-1] - side[0] + 1
    look.show(ax, seen, title=f"levels: {len(widths)}, {extent} px across")
    ax.plot(128, 128, ".", color=look.PALETTE["prediction"])

# %% [markdown]
# **What to look for.** White is all that the magenta pixel can know about. With two poolings
# (`tiny16-32`) it is a few dozen pixels, and a bite of the `erode` stroke is up to 40 pixels
# across: in the middle of a large bite the smallest network can hardly see the bite's rim. With
# four (`tiny16-128`) it is plenty.

# %% [markdown]
# ## Sizes that cannot be halved
#
# Pooling 427 rows gives 213, and 213 gives 106: one row is lost each time. On the way up, 2 × 106 =
# 212 is not 213, so the decoder's features are stretched to the skip's size by repeating a row (the
# nearest neighbour). No size is refused.

# %%
odd = trace(library, 427, 333)
print(
    " → ".join(f"{s.shape[2]}×{s.shape[1]}" for s in odd if s.kind in {"input", "pooling", "block"})
)
assert odd[-1].shape == (1, 427, 333)

# %% [markdown]
# ## What is inside?
#
# Some channels on the way through, for the photograph from above. The network is a trained
# `tiny16-32`: one of yours where there is one, else the one that comes with nseg.

# %%
network = standins.refiner(ROOT / runs, "tiny16-32_bce-dice", ROOT / photos).network

seen = {}
for name in ("encoder.0", "encoder.1", "bottleneck", "decoder.0", "decoder.1"):
    part = network.get_submodule(name)
    part.register_forward_hook(lambda _m, _i, result, name=name: seen.update({name: result[0]}))
with torch.no_grad():
    logits = network(picture)[0, 0]

# %%
fig, axes = look.panels(3, 6, size=(1.6, 1.25))
for column, (name, features) in zip(axes.T, seen.items(), strict=False):
    strongest = features.std(dim=(1, 2)).argsort(descending=True)[:3]
    for ax, index in zip(column, strongest, strict=True):
        look.show(ax, features[index].numpy(), title=f"{name}, {int(index)}")
look.show(axes[0, 5], logits.numpy(), title="logits")
look.show(axes[1, 5], logits.sigmoid().numpy(), title="probability")
_ = look.show(axes[2, 5], (logits > 0).numpy(), title="above one half")

# %% [markdown]
# **What to look for.** From left to right, the three channels of each block that vary most. The
# first are sharp; the bottleneck's are blurred; the decoder's are sharp again: that is the skip
# connection at work. And nearly every channel of a trained network shows the *stroke*; the picture
# itself is hard to find in them.

# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/03_unet.py`.
#
# **1. Parameters of a convolution** with so many input and output channels and a square kernel of
# side `kernel`, biases included.


# %%
def convolution_parameters(inputs, outputs, kernel): ...  # your turn


# %%
print(exercises.check(convolution_parameters))

# %% [markdown]
# **2. Parameters of the U-Net**, for any widths, without building it. A transposed convolution
# counts like a convolution; a group norm has a scale and a shift per channel.


# %%
def unet_parameters(widths, in_channels): ...  # your turn


# %%
print(exercises.check(unet_parameters))

# %% [markdown]
# **3. Receptive field of the bottleneck**, in pixels across, after `levels` poolings. Keep two
# numbers while you go down: the side so far, and the step, the distance in input pixels between two
# neighbouring features. A 3×3 convolution adds 2 steps to the side; a 2×2 pooling adds 1 step and
# then doubles the step.


# %%
def receptive_field(levels): ...  # your turn


# %%
print(exercises.check(receptive_field))

# %% [markdown]
# **4. Padding.** The smallest height and width, at least those given, that `levels` poolings halve
# without a rest.


# %%
def padded_size(height, width, levels): ...  # your turn


# %%
print(exercises.check(padded_size))

# %% [markdown]
# ## What you have seen
#
# A U-Net is one block, repeated; skips carry the exact places past the pooling; group norm makes
# training on single pictures the same function as use. The parameters sit at the bottom and the
# work at the top, and the smallest network sees about as far as a bite of the stroke is wide.
#
# Next: [04 · Training by hand](04_training_by_hand.ipynb), where text and code of the paper part.
