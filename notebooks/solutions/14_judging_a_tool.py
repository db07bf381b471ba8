"""Solutions of chapter 14."""


def share_of_gap(identity, method):
    return (method - identity) / (1 - identity)


def strokes_until(ious, target, most):
    reached = [number for number, iou in enumerate(ious[:most], 1) if iou >= target]
    return reached[0] if reached else most
