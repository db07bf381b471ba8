"""The drawing widget: brush over an object in a notebook or browser and get its mask.

Explained in chapter ``00_draw_first``.
"""

from nseg_lib.widget.canvas import StrokeCanvas
from nseg_lib.widget.models import Later
from nseg_lib.widget.session import FolderSession

__all__ = ["FolderSession", "Later", "StrokeCanvas"]
