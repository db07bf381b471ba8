"""Solutions of chapter 12."""


def scaled(strokes, factor):
    return [
        {**stroke, "points": [[x, y, radius * factor] for x, y, radius in stroke["points"]]}
        for stroke in strokes
    ]


def in_capsule(x, y, a, b, radius):
    (ax, ay), (bx, by) = a, b
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    along = ((x - ax) * dx + (y - ay) * dy) / length2 if length2 else 0.0
    along = min(1.0, max(0.0, along))
    return (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 <= radius**2
