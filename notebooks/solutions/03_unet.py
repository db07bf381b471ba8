"""Solutions of chapter 03."""


def unet_parameters(widths, in_channels):
    def convolution(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + outputs

    def block(inputs, outputs):
        norms = 2 * 2 * outputs
        return convolution(inputs, outputs, 3) + convolution(outputs, outputs, 3) + norms

    total = block(widths[-1], 2 * widths[-1]) + convolution(widths[0], 1, 1)
    for above, width in zip([in_channels, *widths], widths, strict=False):
        total += block(above, width)  # encoder
    for width, below in zip(widths, [*widths[1:], 2 * widths[-1]], strict=True):
        total += convolution(below, width, 2) + block(2 * width, width)  # up, decoder
    return total


def receptive_field(levels):
    side, step = 1, 1
    for _ in range(levels):
        side += 2 * 2 * step  # two 3x3 convolutions
        side += step  # one 2x2 pooling
        step *= 2
    return side + 2 * 2 * step  # the bottleneck's two convolutions
