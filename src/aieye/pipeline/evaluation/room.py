"""How much the values of one run may take: as JSON, as people count it, and in memory."""

from __future__ import annotations

from aieye.pipeline.limits import MAX_RUN_BYTES, MAX_RUN_MEMORY


class NoRoom(Exception):
    """The values of the run are too large together; the message says which."""


class Room:
    """What the values of one run have taken so far. They count until its end: its trace holds them."""

    __slots__ = ("_memory", "_results")

    def __init__(self) -> None:
        self._results = 0
        self._memory = 0

    def take_result(self, size: int, memory: int) -> None:
        """Count what a call gave back, in bytes. Raises `NoRoom`."""
        self._results += size
        if self._results > MAX_RUN_BYTES:
            raise NoRoom(f"the results of the run are larger than {MAX_RUN_BYTES:,} bytes")
        self.take(memory)

    def take(self, memory: int) -> None:
        """Count what an argument is, or what was made of a value. Raises `NoRoom`."""
        self._memory += memory
        if self._memory > MAX_RUN_MEMORY:
            raise NoRoom(f"the values of the run take more than {MAX_RUN_MEMORY:,} bytes of memory")
