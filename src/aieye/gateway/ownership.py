"""Which calls may name which objects, and whose the objects are that answers make or bring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aieye.cache.key import read_object
from aieye.gateway.calls import Call, Reply
from aieye.gateway.dispatch import Outcome
from aieye.gateway.owned import Owned, Place
from aieye.gateway.references import (
    answer_id,
    brought,
    continued,
    id_of,
    items_made,
    items_of,
    may_continue,
    may_refer,
    references,
)
from aieye.gateway.wire import MULTIPART, UPLOAD


class Ownership:
    """Reads calls and answers for `Owned`."""

    def __init__(self, owned: Owned) -> None:
        self._owned = owned

    # -- questions to a model ---------------------------------------------------------------

    async def bind(self, call: Call) -> None:
        """Bind a question to the key that the objects it names were made with.

        Raises `NoSuchObject` where they are not the caller's.
        """
        is_response = call.match.endpoint.dialect == "responses"
        if may_refer(call.body) or (is_response and may_continue(call.body)):
            document = read_object(call.body)
            ids = [*references(document), *(continued(document) if is_response else ())]
            place = await self._owned.check(call.grant, ids)
            if place is not None:
                call.key_id = place[1]

    async def note_stored(self, call: Call, reply: Reply) -> Reply:
        """A stored answer belongs to whoever was given it."""
        if call.match.endpoint.dialect != "responses" and b'"store"' not in call.body:
            return reply
        if reply.status >= 300:
            return reply
        if reply.chunks is not None:
            reply.chunks = self._watched(call, reply.chunks)
        elif reply.body is not None:
            made = [self._note(call, answer_id(reply.body)), self._note_items(call, reply.body)]
            if any(made):
                await self._owned.durable()
        return reply

    async def _watched(self, call: Call, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A stream; its answer is the caller's as soon as the caller knows it."""
        external_id: str | None = None
        is_noted = False
        try:
            async for chunk in chunks:
                external_id = external_id or answer_id(chunk)
                is_news = self._note_items(call, chunk)
                # The record knows its provider once the answer has begun.
                if not is_noted and external_id is not None and call.record.provider_id is not None:
                    is_noted = True
                    is_news |= self._note(call, external_id)
                # A call that goes on is durable before its last bytes, and this before it.
                if is_news and call.record.status is not None:
                    await self._owned.durable()
                yield chunk
        finally:
            await chunks.aclose()  # type: ignore[attr-defined] # an async generator, always

    def _note(self, call: Call, external_id: str | None) -> bool:
        """Note an answer of a provider; whether it was not noted before."""
        record = call.record
        if external_id is None or record.provider_id is None:
            return False
        kind = "response" if call.match.endpoint.dialect == "responses" else "chat.completion"
        return self._owned.note(call.grant, external_id, kind, (record.provider_id, record.key_id))

    def _note_items(self, call: Call, body: bytes) -> bool:
        """Note what later responses may go on from; whether any of it was not noted before."""
        record = call.record
        if record.provider_id is None or call.match.endpoint.dialect != "responses":
            return False
        place = record.provider_id, record.key_id
        news = [
            self._owned.note(call.grant, one, "response.item", place) for one in items_made(body)
        ]
        return any(news)

    # -- everything else --------------------------------------------------------------------

    async def place(self, call: Call) -> Place | None:
        """Where the objects were made that a call names; None when it names none that are known.

        Raises `NoSuchObject`.
        """
        ids = list(call.match.ids)
        if call.body and call.match.endpoint.kind not in {MULTIPART, UPLOAD}:
            ids += references(read_object(call.body))
        # The first id in a path is the object; a second one lives within it.
        return await self._owned.check(call.grant, ids[:1] if len(call.match.ids) > 1 else ids)

    def note_made(self, call: Call, outcome: Outcome, answer: dict[str, Any]) -> None:
        """What a call has made, and the files that a finished object brings, are the caller's."""
        place = outcome.candidate.provider.id, outcome.key.id
        endpoint = call.match.endpoint
        made = id_of(answer)
        if endpoint.creates is not None and made is not None:
            self._owned.note(call.grant, made, endpoint.creates, place)
        for external_id in brought(endpoint.name, answer):
            self._owned.note(call.grant, external_id, "file", place)
        if endpoint.name in {"responses/{id}", "responses/{id}/cancel"}:
            # One that went on in the background has more by now.
            for external_id in items_of(answer):
                self._owned.note(call.grant, external_id, "response.item", place)
