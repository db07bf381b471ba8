"""The data: COCO read, checked, reduced and fetched; pictures, masks, and frozen strokes."""
