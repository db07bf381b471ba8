"""Draw in a notebook: brush over an object, get its mask. Chapter ``09_draw_your_own``."""

from nseg_lib.widget.answers import Later
from nseg_lib.widget.canvas import StrokeCanvas
from nseg_lib.widget.session import FolderSession

__all__ = ["FolderSession", "Later", "StrokeCanvas"]
