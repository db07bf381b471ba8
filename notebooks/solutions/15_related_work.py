"""Solutions of chapter 15."""

import numpy as np


def gaussian_map(shape, clicks, sigma):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    found = np.zeros(shape)
    for x, y in clicks:
        squared = (columns - x) ** 2 + (rows - y) ** 2
        found = np.maximum(found, np.exp(-squared / (2 * sigma**2)))
    return found


def crop_around(points, margin, height, width):
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top = max(0, min(xs) - margin), max(0, min(ys) - margin)
    return left, top, min(width, max(xs) + margin + 1), min(height, max(ys) + margin + 1)
