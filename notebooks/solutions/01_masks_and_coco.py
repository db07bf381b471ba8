"""Solutions of chapter 01."""

import numpy as np


def polygon_area(polygon):
    x, y = np.array(polygon[0::2]), np.array(polygon[1::2])
    return float(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2)


def box_of_runs(counts, height):
    ends = np.cumsum(counts)
    rows, columns = [], []
    for start, end in zip(ends[:-1:2], ends[1::2], strict=False):
        if end == start:
            continue
        first, last = start // height, (end - 1) // height
        columns += [first, last]
        rows += [start % height, (end - 1) % height] if first == last else [0, height - 1]
    x, y = int(min(columns)), int(min(rows))
    return [x, y, int(max(columns)) - x + 1, int(max(rows)) - y + 1]
