"""Limits on what a file may ask for: each is checked before the memory for it is taken.

A file of a few bytes can claim a picture of gigabytes. What exceeds a limit is refused in one line
that names the file and the limit.
"""

from __future__ import annotations

MAX_PICTURE_PIXELS = 250_000_000
"""Pixels of a picture that is read, about 15,800 × 15,800; up to 1 GB while it is decoded."""

MAX_RECORD_PIXELS = 89_478_485
"""Pixels of a picture in a data set, about 9,400 × 9,400: Pillow's limit against decompression
bombs. Networks that see all of a picture at once have the same limit."""

MAX_PNG_RATIO = 1032
"""Bytes of pixels per byte of a PNG file: deflate, which packs them, cannot do better. A file that
claims more is damaged, or an attack."""

MAX_PNG_TEXT = 64 * 2**20
"""Bytes of one text in a PNG file, unpacked; image generators write their workflow there."""

MAX_OUTLINE = 2_000_000
"""Pixels along the outlines of one annotation's polygons; rasterising takes some 100 bytes each."""

MAX_JSON_BYTES = 4 * 2**30
"""Bytes of an annotation file; parsed, it takes some 5 times as much. COCO's largest has 0.5 GB."""

MAX_STROKE_POINTS = 100_000
"""Points of all strokes of one drawing: some hours of drawing by hand."""

MAX_STROKES = 5_000
"""Strokes of one drawing: some seconds' work."""

MAX_STROKE_RADIUS = 20_000.0
"""Radius of a brush in pixels: more than the side of any square picture that is read."""

MAX_STROKE_ROWS = 20_000_000
"""Rows of pixels under a brush, summed over all pairs of neighbouring points of one drawing: some
ten seconds' work, and fifty times as much as it takes to draw all over a large picture."""

MAX_CONFIG_BYTES = 2**16
"""Bytes of a configuration: a YAML file, or what a file of weights carries."""

MAX_CHANNELS = 512
"""Channels of a network's level; the paper's widest has 256. Seven levels of as many have 82
million weights, 330 MB."""

MAX_BATCH = 256
"""Pictures, or crops, that a training sees at once."""

MAX_WORKERS = 256
"""Processes that prepare pictures for one training."""

MAX_PICTURES = 10_000_000
"""Pictures that a data set is asked to have; COCO has 330,000."""

MAX_PAINTED = 100_000
"""Painted objects that the edge network's training keeps, some 10 kB each."""

MAX_SHOWN = 200
"""Characters of a value or a key that an error message shows."""

MAX_UPLOAD = 512 * 2**20
"""Bytes of a file that is opened in the canvas; it is collected in memory."""

MAX_SERVED = 64 * 2**20
"""Bytes of a request to `nseg serve`: a picture's file, or a prompt."""
