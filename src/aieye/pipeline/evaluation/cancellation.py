"""The end of a run at somebody's word."""

from __future__ import annotations

from collections.abc import Callable


class Cancellation:
    """Ends the run that follows it."""

    __slots__ = ("_end", "is_asked")

    def __init__(self) -> None:
        self.is_asked = False
        self._end: Callable[[], None] | None = None

    def ask(self) -> None:
        """Say that the run is to end. Its calls are broken off, its other results are kept."""
        self.is_asked = True
        if self._end is not None:
            self._end()

    def follow(self, end: Callable[[], None]) -> None:
        """Call `end` when the word is said, at once if it was."""
        self._end = end
        if self.is_asked:
            end()
