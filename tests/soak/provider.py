"""The provider of a soak: answers, fails and breaks off by chance, and remembers what it told."""

from __future__ import annotations

import random
import time

from tests.fakes import chat
from tests.fakes.troubled import troubled_chats
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    json_answer,
    realistic,
)

SETTLED_SECONDS = 1.0
# No answer of this provider takes longer.
LONGEST_SECONDS = 60.0
WEIGHTS = {"whole": 12, "slow": 5, "503": 1, "400": 1, "cut": 1}


def troubled(chance: random.Random) -> Behaviour:
    """Chats with a usage of their own, or a failure; everything else as a real provider answers."""
    chats, otherwise = troubled_chats(chance, WEIGHTS, longest_wait=0.02), realistic()

    async def answer(request: Received, connection: Connection) -> None:
        if request.path.endswith("/files"):
            made = {"id": f"file-{request.number}", "object": "file"}
            await json_answer(200, made)(request, connection)
            return
        if not request.path.endswith("/chat/completions"):
            await otherwise(request, connection)
            return
        await chats(request, connection)

    return answer


class Told:
    """What the provider's log comes to, without the bytes: a soak's own memory is bounded too."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.usages: dict[str, chat.Json] = {}
        # Those that told all of their usage to somebody who was there to the end.
        self.heard: set[str] = set()
        self._upstream = upstream
        self._pending: list[Received] = []
        self._next = 0

    @property
    def requests(self) -> int:
        return len(self._upstream.requests)

    def read(self, *, everything: bool = False) -> None:
        """Take in the requests that are over, or `everything`, and drop their bytes."""
        self._pending += self._upstream.requests[self._next :]
        self._next = len(self._upstream.requests)
        moment = time.monotonic()
        over = [one for one in self._pending if everything or _is_over(one, moment)]
        self._pending = [one for one in self._pending if not everything and one not in over]
        for request in over:
            if request.path.endswith("/chat/completions") and request.usage is not None:
                name = f"req_fake_{request.number}"
                self.usages[name] = request.usage
                if request.finished_at is not None and request.closed_at is None:
                    self.heard.add(name)
            request.body = b""
            request.sent.clear()
            request.sent_body.clear()


def _is_over(request: Received, moment: float) -> bool:
    """Whether nothing more will be known: also that its client left as it got the last byte."""
    if request.finished_at is not None:
        return moment - request.finished_at > SETTLED_SECONDS
    return request.closed_at is not None or moment - request.arrived_at > LONGEST_SECONDS
