"""The checks of the course's exercises: whether an answer is right, and what is wrong with it.

A chapter poses an exercise as a function whose body is ``...``. ``check_<exercise>(function)``
returns one line: ``right``, ``not done yet: …`` or ``wrong: …`` with the reason. It never raises,
so a chapter runs from top to bottom with its exercises untouched. The solutions are in
``notebooks/solutions/``; the tests run them, and some wrong answers, through these checks.
"""

from nseg_lib.course.exercises.checking import NOT_DONE, RIGHT, Case, check
from nseg_lib.course.exercises.data import *  # noqa: F403
from nseg_lib.course.exercises.drawing import *  # noqa: F403
from nseg_lib.course.exercises.judging import *  # noqa: F403
from nseg_lib.course.exercises.networks import *  # noqa: F403

__all__ = ["NOT_DONE", "RIGHT", "Case", "check"]
__all__ += [name for name in dir() if name.startswith("check_")]
