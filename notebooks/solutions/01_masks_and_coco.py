"""Solutions of chapter 01."""

import hashlib

import numpy as np


def polygon_area(polygon):
    x, y = np.array(polygon[0::2]), np.array(polygon[1::2])
    return float(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2)


def rle_area(counts):
    return sum(counts[1::2])


def bounding_box(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def sample(ids, number, seed):
    def rank(i):
        return hashlib.sha256(f"{seed}:{i}".encode()).digest()

    return sorted(ids, key=rank)[:number]
