"""The garbage collector's settings for a process that serves.

What was imported and built at the start lives as long as the process: looking through it again and
again, in the middle of calls, costs milliseconds and frees nothing.
"""

from __future__ import annotations

import gc

# Objects made before a look at the youngest ones, and how many looks before the older generations. A look
# takes two milliseconds a thousand objects, in which nobody is served; pages leave some thousand each.
_THRESHOLDS = (5_000, 500, 100)


def rest_while_starting() -> None:
    """Nothing that a start makes is garbage yet."""
    gc.disable()


def watch_what_comes() -> None:
    """From now on only what is made later is looked at."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
