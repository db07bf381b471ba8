"""The checks of the course's exercises: each tells a right answer from a wrong one, and says why.

A chapter poses an exercise as a function whose body is ``...``. ``check_<exercise>(function)``
returns one line: ``right``, ``not done yet``, or ``wrong:`` and what is wrong. It never raises, so
a chapter runs from top to bottom with its exercises untouched. The solutions lie in ``solutions/``
and the tests hold all of them, and some wrong answers, against these checks.
"""

from nseg_lib.course.exercises.checking import NOT_DONE, RIGHT, Case, check
from nseg_lib.course.exercises.data import *  # noqa: F403
from nseg_lib.course.exercises.drawing import *  # noqa: F403
from nseg_lib.course.exercises.judging import *  # noqa: F403
from nseg_lib.course.exercises.networks import *  # noqa: F403

__all__ = ["NOT_DONE", "RIGHT", "Case", "check"]
__all__ += [name for name in dir() if name.startswith("check_")]
