"""A provider that answers chats by chance: whole, slowly, not at all, or in part."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    Received,
    chat_answer,
    cut_after,
    json_answer,
    sse,
)

KINDS: Final = ("whole", "slow", "503", "400", "cut")


def troubled_chats(
    chance: random.Random, weights: Mapping[str, int], *, longest_wait: float
) -> Behaviour:
    """Each chat has a usage of its own and ends in one of `KINDS`; waits are in seconds."""

    async def answer(request: Received, connection: Connection) -> None:
        usage = chat.usage(chance.randrange(1, 500), chance.randrange(1, 500))
        text = chat.last_user_text(request.json)
        await asyncio.sleep(chance.random() * longest_wait)
        (kind,) = chance.choices(KINDS, [weights[kind] for kind in KINDS])
        connection.fire(kind)
        if kind in {"503", "400"}:
            await json_answer(int(kind), chat.error_body())(request, connection)
        elif kind == "cut":
            await cut_after(700, chat_answer(text, usage=usage))(request, connection)
        elif kind == "slow" and request.streamed:
            await sse(chat.chat_frames(text, usage=usage), delay=0.01)(request, connection)
        else:
            await chat_answer(text, usage=usage)(request, connection)

    return answer
