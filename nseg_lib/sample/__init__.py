"""The built-in sample data set: made on the spot, so that everything runs with no download.

`make_sample` writes it. Data flows build ← scene ← surfaces ← sources, and scene ← shapes.
"""

from nseg_lib.sample.build import make_sample
from nseg_lib.sample.sources import photograph

__all__ = ["make_sample", "photograph"]
