"""Solutions of chapter 12."""

import itertools
import math


def in_capsule(x, y, a, b, radius):
    (ax, ay), (bx, by) = a, b
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    along = ((x - ax) * dx + (y - ay) * dy) / length2 if length2 else 0.0
    along = min(1.0, max(0.0, along))
    return (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 <= radius**2


def relative_length(points, mask):
    pairs = itertools.pairwise(points)
    length = sum(math.dist(a[:2], b[:2]) for a, b in pairs)
    return length / math.sqrt(mask.sum())
