# %% [markdown]
# # 03 · From convolution to U-Net
#
# The networks of this course are made of four parts: the convolution, the pooling, the transposed convolution and the
# skip connection. Each of them is simple enough to be done by hand with a pencil. In this chapter you do so, and then
# you put them together into the paper's smallest network, all of whose 117,681 parameters you can account for.
#
# After this chapter you will be able to
#
# - compute a convolution, a pooling and a transposed convolution by hand;
# - build a U-Net, and say what its skip connections are good for;
# - say how far a network sees, and what it does with sizes that cannot be halved.
#
# | | |
# |---|---|
# | before you start | chapter 02; some PyTorch helps, and no experience with networks is needed |
# | learning time | 60 minutes |
# | running time | a quarter of a minute |
# | makes | **Figure 2**: the U-Net |
# | previous, next | [02 · Strokes](02_strokes.ipynb), [04 · Training by hand](04_training_by_hand.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks
out = "reports/sample"  # figures go here

# %%
import torch
from torch import nn
from torch.nn import functional as F

from nseg_lib import networks
from nseg_lib.course import diagrams, exercises, look, networks_inside, plots, standins
from nseg_lib.networks.inputs import network_input
from nseg_lib.provenance import project_root
from reproduction.artefacts import save_figure

look.use_style()
ROOT = project_root()
photo = standins.photograph(standins.photographs(standins.data_set(ROOT / photos)), "coffee")

# %% [markdown]
# ## What the network sees
#
# The paper says "the binary mask is concatenated with the input image", and "in addition, the gradient is added,
# resulting in a 3-channel input". A colour picture, a mask and a gradient would be five channels. The released code
# shows which three are meant: the **stroke**, the **grey** picture divided by 255, and the length of its **gradient**
# (how steep the brightness is), divided by its maximum. The colours are gone before the network starts.

# %%
channels = network_input(photo.image, photo.stroke)
print(channels.shape, channels.dtype, f"values in [{channels.min():.0f}, {channels.max():.0f}]")
names = ("channel 0: stroke", "channel 1: grey", "channel 2: gradient")
look.gallery(dict(zip(names, channels, strict=True)))

# %% [markdown]
# **What to look for.** The gradient is divided by its largest value in *this* picture, so one glaring edge makes all
# others faint. And think of two things side by side, of different colour and equal brightness: their common edge is
# in none of the three channels, and no training can bring it back.
#
# ## Convolution
#
# A convolution slides a small window, the **kernel**, over the picture. At each place it multiplies the nine numbers
# under the window by the nine weights of the kernel, adds them up, and writes down the sum. The same nine weights are
# used everywhere; that is the idea. What helps to find an edge at the top left also helps at the bottom right.

# %%
picture = torch.tensor([[0.0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]])
kernel = torch.tensor([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])
answer = F.conv2d(picture[None, None], kernel[None, None], padding=1)[0, 0]
plots.numbers({"the picture": picture, "the kernel": kernel, "the convolution": answer})

# %% [markdown]
# **What to look for.** Take the third number of the second row on the right, and compute it with a pencil: lay the
# kernel over the picture so that its middle is there. This kernel subtracts what is on the left from what is on the
# right, so its answer is large where the picture gets brighter from left to right. It is an edge detector. Nobody
# writes kernels by hand any more; training finds them. Beyond the border the picture is filled up with zeros
# (*padding*), so that the size stays. That makes an edge where there is none: look at the last column.
#
# A layer has many kernels. With 16 output channels it has 16 of them, and each has nine weights for *every* input
# channel. After a convolution comes a **ReLU**, which turns negative numbers into 0. Without it, two convolutions in
# a row would be no more than one larger convolution.
#
# ## Pooling, and the way back
#
# **Max pooling** halves the size: of each 2 × 2 square it keeps the largest number. It makes the picture smaller and
# the view of every later kernel wider, and it forgets where exactly in its square the number was. The **transposed
# convolution** goes back: every number is multiplied by a small kernel of 2 × 2 weights, the *stamp*, and painted
# into a square of the doubled picture.

# %%
part = picture[:, :4]
small = F.max_pool2d(part[None, None], 2)[0, 0]
stamp = torch.tensor([[1.0, 0.5], [0.5, 0.25]])
large = F.conv_transpose2d(small[None, None], stamp[None, None], stride=2)[0, 0]
plots.numbers({"4 × 4 of the picture": part, "pooled": small, "the stamp": stamp,
               "transposed convolution": large})  # fmt: skip

# %% [markdown]
# **What to look for.** Compare the first grid with the last. The picture is back at its old size, but where the edge
# ran is lost, and so is its step in the lowest row: the pooling kept that there *was* a 1 in each square on the
# right, and not where in the square.
#
# ## Guess first
#
# Here is the question that the U-Net answers. Going down with pooling, the network sees more and more of the picture,
# and so it can find out *what* is there. But refinement is about *where* the edge is, to the pixel, and pooling
# forgets just that. How would you give the exact places back to the way up, without losing what was found out on the
# way down? Think for a minute before you read on.
#
# <details><summary>Answer to the guess</summary>
#
# By a detour around the pooling. Before each pooling, put the features aside. On the way up, when the features have
# the same size again, lay the two stacks of channels on top of each other: the exact but short-sighted ones from the
# left, and the blurred but far-sighted ones from below. A convolution over both can decide the edge from the first
# and the meaning from the second. This is the **skip connection** (Ronneberger et al. 2015). The paper's measured
# networks have it; the newest version of its released code lost it, and does not run.
#
# </details>
#
# ## The block
#
# The brick of all networks here is the same thing twice: a 3×3 convolution, a normalisation and a ReLU.
#
# Why the **normalisation**? Deep networks train badly if the scale of their features drifts. So each layer's output
# is brought to mean 0 and variance 1, and then multiplied by a learned scale and shifted by a learned amount. *Batch*
# normalisation takes mean and variance over all pictures of a batch. The paper's batches hold one picture, as sizes
# differ. So in training the statistics would be those of a single picture, and in use they would be those of many:
# the network that is used would not be the one that was trained. *Group* normalisation (Wu and He 2018) takes them
# over a group of channels of *one* picture, here in eight groups. It is the same function in training and in use.


# %%
class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU(),
        )  # fmt: skip


x = torch.randn(1, 16, 6, 7) * 3 + 5
groups = x.reshape(1, 8, -1)  # 8 groups of 2 channels
mean, variance = groups.mean(2, keepdim=True), groups.var(2, keepdim=True, unbiased=False)
by_hand = ((groups - mean) / torch.sqrt(variance + 1e-5)).reshape(x.shape)
torch.testing.assert_close(by_hand, nn.GroupNorm(8, 16)(x))

# %% [markdown]
# ## The network
#
# - **Encoder**: at each level a block, then max pooling. Channels grow as the size shrinks.
# - **Bottleneck**: a block with twice the last width.
# - **Decoder**: at each level a transposed convolution doubles the size, the encoder's features are laid on
#   top (the skip), and a block mixes the two.
# - **Head**: a 1×1 convolution to one number per pixel, the **logit**. Its sigmoid is the probability that
#   the pixel belongs to the object; a logit above 0 means more than one half.


# %%
class UNet(nn.Module):
    def __init__(self, widths, in_channels=3):
        super().__init__()
        below = [*widths[1:], 2 * widths[-1]]
        self.encoder = nn.ModuleList(map(DoubleConv, [in_channels, *widths[:-1]], widths))
        self.bottleneck = DoubleConv(widths[-1], 2 * widths[-1])
        pairs = list(zip(widths, below, strict=True))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, w, 2, stride=2) for w, b in pairs)
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w) for w, _ in pairs)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        return self.head(up_again(self, *down(self, x)))


# %% [markdown]
# The way through it is told by two functions, one for each half of the U. The way down returns the bottom and the
# features that were put aside; the way up takes them from the last to the first.


# %%
def down(network, x):
    skips = []
    for block in network.encoder:
        x = block(x)
        skips.append(x)
        x = F.max_pool2d(x, 2)
    return network.bottleneck(x), skips


def up_again(network, x, skips):
    for up, block, skip in zip(network.up, network.decoder, reversed(skips), strict=True):
        x = up(x)
        if x.shape != skip.shape:  # an odd size was rounded down on the way
            x = F.interpolate(x, size=skip.shape[-2:])
        x = block(torch.cat((skip, x), dim=1))
    return x


# %% [markdown]
# Two networks are the same if they have the same parameters and, with the same weights, give the same output.
# `tiny16-32` has the widths 16 and 32.


# %%
def count(network):
    return sum(p.numel() for p in network.parameters())


mine, library = UNet([16, 32]), networks.UNet([16, 32])
assert count(mine) == count(library) == 117_681
weights = library.state_dict().values()
mine.load_state_dict(dict(zip(mine.state_dict(), weights, strict=True)))
with torch.no_grad():
    picture = torch.from_numpy(channels)[None]
    torch.testing.assert_close(mine(picture), library(picture), rtol=0, atol=0)
print(f"{count(mine):,} parameters, and the same output, bit by bit")

# %% [markdown]
# From here on: `nseg_lib.networks.UNet`.
#
# ## Figure 2
# The paper's figure, drawn from the network itself: a picture is followed through the module, and every
# slab, number and arrow is what was found on the way. Change the module and the figure changes.

# %%
panels = diagrams.of_the_paper("figure2")
figure2 = diagrams.architecture(panels)
figure_file = ROOT / out / "figures" / "figure2"
save_figure(figure2, figure_file, diagrams.stages(panels))
look.finish(figure2, "Figure 2: the U-Net as blocks of layers, down, across by skips, and up.")

# %% [markdown]
# **What to look for.** Follow one row from left to right: the encoder's last block of a size comes back as the white
# slab of the decoder. What enters a decoder block has twice the channels of what leaves it: one half from the skip
# and the other half from below.
#
# ## Where the parameters are, and where the work is
#
# The table is traced while the network runs on a picture of 640 × 480. A *multiplication* is one weight times one
# number, and it is what takes the time.

# %%
rows = networks_inside.stages_table(library, 480, 640)
plots.table(rows, ("stage", "channels", "size", "parameters", "million multiplications"), "{:,.0f}")

# %%
models = ("tiny16-32_bce-dice", "tiny16-128_bce-dice", "res32-256_bce-dice-bound")
sizes = [networks.size(name) for name in models]
plots.table([(s.name, s.parameters, s.gflop) for s in sizes],
            ("network", "parameters", "GFLOP at 640 × 480"), "{:,.0f}")  # fmt: skip

# %% [markdown]
# **What to look for.** In the first table, the bottleneck has nearly half of the parameters and a seventh of the
# work. Two fifths of all multiplications happen at full resolution, on a tenth of the parameters: that is where the
# pixels are. From one level to the next below, a block has four times the parameters on a quarter of the pixels,
# which is the same work. So in the second table, `tiny16-128`, with two more levels, has sixteen times the parameters
# of `tiny16-32` and needs less than twice the work.
#
# ## How far does it see?
#
# The **receptive field** of an output pixel is the part of the input that can change it. It can be measured: take the
# gradient of one output pixel with respect to the input, and see where it is not zero. (One thing must be taken out
# first. Group normalisation uses statistics of the whole picture, so strictly every pixel changes every other a
# little.) White is what the magenta pixel can know about.

# %%
networks_inside.show_receptive_fields({1: [8], 2: [8, 8], 4: [8, 8, 8, 8]})

# %% [markdown]
# **What to look for.** With two poolings, as in `tiny16-32`, the view is a few dozen pixels wide. A bite of the
# `erode` stroke is up to 40 pixels across. So in the middle of a large bite the smallest network can hardly see the
# bite's rim; with four poolings the view is wide enough for several bites.
#
# ## Sizes that cannot be halved
#
# Pooling 427 rows gives 213, and pooling these gives 106: one row is lost each time. On the way up, twice 106 is 212
# and not 213, so the features are stretched to the skip's size by repeating a row. No size is refused.

# %%
with torch.no_grad():
    print(tuple(library(torch.zeros(1, 3, 427, 333)).shape))

# %% [markdown]
# ## What is inside a trained one?
#
# Some channels on the way through a trained `tiny16-32`: of each block the three that vary most. How much of a
# channel is the *stroke*, and how much is the picture? The number above each panel is the correlation of the channel
# with the stroke, which is 1 for a copy, −1 for its negative and 0 for no relation.

# %%
trained = standins.refiner(ROOT / runs, "tiny16-32_bce-dice").network
networks_inside.show_channels(trained, picture)

# %% [markdown]
# **What to look for.** Read the numbers from left to right. The strongest channels of the first and of the last block
# are close to copies of the stroke. In between, the picture comes in: the rim of the cup and the grain of the table,
# which belong to no stroke, are seen in the middle columns, and their correlations are smaller. Sharpness tells the
# other half of the story: the last block is as sharp as the first, although the bottleneck has a quarter of the
# resolution. That is the skip connection at work.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/03_unet.py`.
#
# **1.** You remove all skip connections, and train again. What gets worst?
#
# - a) The network no longer finds the object.
# - b) The outline, which is blurred or shifted by some pixels.
# - c) Nothing, since the decoder has enough parameters.

# %%
print(exercises.choose("no skips", ""))

# %% [markdown]
# **2.** A network of convolutions without any ReLU between them is
#
# - a) as powerful as one with ReLU, but slower to train.
# - b) no more than a single convolution with a larger kernel.
# - c) not trainable.

# %%
print(exercises.choose("no relu", ""))

# %% [markdown]
# **3.** Which part of `tiny16-32` would you make smaller to save *time* at 640 × 480?
#
# - a) The blocks at full resolution.
# - b) The bottleneck, which has the most parameters.
# - c) The head.

# %%
print(exercises.choose("where to save time", ""))

# %% [markdown]
# **4. Parameters of the U-Net**, for any widths, without building it. A convolution from $a$ to $b$ channels
# with a kernel of side $k$ has $a\, b\, k^2$ weights and $b$ biases, and so has a transposed one; a group norm
# has two numbers per channel.


# %%
def unet_parameters(widths, in_channels): ...  # your turn


print(exercises.check(unet_parameters))

# %% [markdown]
# **5. Receptive field of the bottleneck**, in pixels across, after `levels` poolings. Keep two numbers while
# you go down: the side so far, and the step, which is the distance in input pixels between two neighbouring
# features. A 3×3 convolution adds 2 steps to the side; a pooling adds 1 step and then doubles the step.


# %%
def receptive_field(levels): ...  # your turn


print(exercises.check(receptive_field))

# %% [markdown]
# **6. Experiment.** Change `up_again` so that it lays zeros in place of the skip, and compare the output of a
# *trained* network with and without (copy the weights as above). Which of the two skips matters more? Show
# it with one picture and one number.
#
# **7. Open question.** The network never sees colours. Give one example of a photograph on which that must
# fail, one on which it does not matter, and describe an experiment that says what colour is worth, with the
# number that you would report.
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the failing example has two things of equal brightness side by side; (2) the other one is
# decided by brightness or by the stroke; (3) the experiment trains the same network with three more channels and
# everything else equal; (4) it compares on the same pictures and strokes, against the identity; (5) it names an
# interval, or several seeds. (`reports/half/tables/ablations.md` has such a row.)
#
# </details>
#
# ## Recap
#
# - Convolution: the same small kernel everywhere. Pooling: wider view, lost places.
# - A U-Net is one block repeated; skips carry the exact places past the pooling.
# - Group norm makes training on single pictures the same function as use.
# - The parameters sit at the bottom and the work at the top.
#
# ## Words
#
# - **Bottleneck**: the block at the smallest size.
# - **Channel**: one map of numbers; a layer's output is a stack of them.
# - **Kernel**: the small window of weights of a convolution.
# - **Receptive field**: the part of the input that an output pixel can see.
# - **Skip connection**: features handed from the way down to the way up.
#
# ## References
#
# - Ronneberger, O., Fischer, P. and Brox, T. (2015). U-Net: convolutional networks for biomedical image
#   segmentation. *MICCAI*. [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28)
# - Wu, Y. and He, K. (2018). Group normalization. *ECCV*.
#   [doi:10.1007/978-3-030-01261-8_1](https://doi.org/10.1007/978-3-030-01261-8_1)
#
# Next: [04 · Training by hand](04_training_by_hand.ipynb): the network is there, and knows nothing yet.
