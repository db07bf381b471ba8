"""Solutions of chapter 14."""


def strokes_until(ious, target, most):
    reached = [number for number, iou in enumerate(ious[:most], 1) if iou >= target]
    return reached[0] if reached else most


def verdict(low, high, margin):
    if -margin <= low and high <= margin:
        return "too small to matter"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "cannot be told"
