"""Places that are shared out among those who want them, so that nobody has all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Places:
    """`count` places: an owner gets one while more are free than they have.

    So whoever keeps all that they can get leaves half of what there was to others, and the last one
    to somebody who has none. One that becomes free goes to whoever has the fewest of those who wait,
    first come first served among equals. The owner None stands for nobody in particular, who may have
    all.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._held: Counter[Hashable] = Counter()
        # In the order in which they came.
        self._waiting: dict[asyncio.Future[None], Hashable] = {}

    @asynccontextmanager
    async def place(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a place and have it inside."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = owner
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                del self._waiting[turn]
            else:
                # It was handed out in the very moment in which its owner gave up.
                self._give_back(owner)
            raise
        try:
            yield
        finally:
            self._give_back(owner)

    def _hand_out(self) -> None:
        while self._free:
            possible = [(turn, one) for turn, one in self._waiting.items() if self._may_have(one)]
            if not possible:
                return
            turn, owner = min(possible, key=lambda waiting: self._held[waiting[1]])
            del self._waiting[turn]
            self._free -= 1
            self._held[owner] += 1
            if not turn.done():
                turn.set_result(None)

    def _may_have(self, owner: Hashable) -> bool:
        return owner is None or self._held[owner] < self._free

    def _give_back(self, owner: Hashable) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._hand_out()
