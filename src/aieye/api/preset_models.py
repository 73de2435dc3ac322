"""`preset/NAME` as a model of `/v1`, and `MODEL@preset/NAME`: any OpenAI client calls a preset.

The preset's fields and the request's become the body that goes up, the ordinary way: cache,
retries, streams and the ledger see a call of the model. Who decides a field is in
`aieye.presets.precedence`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aieye.access.snapshot import Grant
from aieye.cache.key import read_object, write_json
from aieye.errors import AieyeError
from aieye.gateway.calls import Call, Reply
from aieye.gateway.models import Model
from aieye.gateway.relay import Relay
from aieye.gateway.routing import ModelNotAllowed, ModelNotFound, is_allowed
from aieye.gateway.wire import INFER
from aieye.ledger.book import CallRecord
from aieye.presets.book import PresetBook
from aieye.presets.called import (
    PREFIX,
    Named,
    Question,
    asked_of_chat,
    asked_of_completion,
    asked_of_embeddings,
    check_place,
    read_name,
)
from aieye.presets.models import Preset
from aieye.presets.processing import Processing, tags_of

# A body that names a preset holds this; a slash may be written in two ways.
_MAY_NAME: Final = re.compile(rb"preset\\?/")


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that names a preset, with its body read."""

    named: Named
    document: Mapping[str, Any]


class PresetModels:
    """One a process."""

    def __init__(self, book: PresetBook, processing: Processing, relay: Relay) -> None:
        self._book = book
        self._processing = processing
        self._relay = relay

    def read(self, call: Call) -> Asked | None:
        """What a call that names a preset asks; None for any other."""
        # Most bodies do not even hold the word.
        if call.match.endpoint.kind != INFER or b"preset" not in call.body:
            return None
        if _MAY_NAME.search(call.body) is None:
            return None
        document = read_object(call.body)
        named = read_name(document.get("model"))
        return None if named is None else Asked(named, document)

    def list(self, grant: Grant) -> list[Model]:
        """The presets that the caller may use, as models."""
        found = self._book.list_callable(grant.user_id, is_administrator=grant.is_administrator)
        return [
            {
                "id": PREFIX + one.name,
                "object": "model",
                "created": int(one.created_at.timestamp()),
                "owned_by": "aieye",
            }
            for one in found
        ]

    async def infer(self, call: Call, asked: Asked) -> Reply:
        """The reply to a call that names a preset. Raises `AieyeError`."""
        preset = self._get(call.grant, asked.named)
        call.tags = tags_of(preset)
        check_place(preset.type, call.match.endpoint)
        model = asked.named.model or preset.model
        config, document = preset.config, asked.document
        if preset.type == "chat":
            return await self._ask(call, asked_of_chat(config, document, model))
        if preset.type == "embeddings":
            return await self._ask(call, asked_of_embeddings(config, document, model))
        wanted = call.match.endpoint
        ask = partial(asked_of_completion, config, document, wanted, model)
        through_chat = self._processing.is_through_chat(call.grant, model)
        reply = await self._ask(call, ask(through_chat=through_chat))
        if self._processing.is_wrong_way(model, reply, through_chat=through_chat):
            # What was asked in vain has its row; the client is told of the call that answers.
            call.record = CallRecord(wanted.name)
            reply = await self._ask(call, ask(through_chat=not through_chat))
        return reply

    def _get(self, grant: Grant, named: Named) -> Preset:
        if grant.models is not None and not is_allowed(named.shown, grant.models):
            raise ModelNotAllowed(
                f"This token may not use the model {named.shown[:100]!r}.", param="model"
            )
        found = self._book.find_callable(
            named.preset, grant.user_id, is_administrator=grant.is_administrator
        )
        if found is None:
            raise ModelNotFound(f"There is no model {named.shown[:100]!r}.", param="model")
        return found

    async def _ask(self, call: Call, question: Question) -> Reply:
        asking = question.asking
        bodies = [write_json(body) for body in asking.bodies]
        call.match, call.body = asking.match, bodies[0]
        call.record.endpoint = asking.match.endpoint.name
        if not (question.is_answered_as_it_is or question.is_stream):
            call.restate = partial(_restate, call.record, question)
        if len(bodies) == 1:
            replies = [await self._relay.infer(call)]
        else:
            call.on_upstream()
            replies = list(await self._processing.ask_all(_split(call, bodies), own=call))
        reply = replies[0]
        if reply.status >= 400 or question.is_answered_as_it_is:
            return reply
        if question.is_stream:
            return _reshaped(reply, question)
        reply.body = question.answer([one.body or b"" for one in replies])
        return reply


def _restate(record: CallRecord, question: Question, body: bytes | None) -> None:
    """Book what is answered here, where the provider's answer cannot be read."""
    if body is None or (record.status or 0) >= 400 or len(question.asking.bodies) > 1:
        return
    try:
        question.answer([body])
    except AieyeError as error:
        record.status, record.error = error.status, error.code


def _split(call: Call, bodies: list[bytes]) -> list[Call]:
    """A call of its own for each body, the first of them the client's."""
    others = [
        Call(
            call.match, call.grant, body, CallRecord(call.match.endpoint.name),
            controls=call.controls, cancelled_as=call.cancelled_as, tags=call.tags,
        )
        for body in bodies[1:]
    ]  # fmt: skip
    return [call, *others]


def _reshaped(reply: Reply, question: Question) -> Reply:
    """The stream, or the stored one that comes in one piece, as the client asked for it."""
    stream = question.stream()
    if reply.chunks is None:
        reply.body = stream.feed(reply.body or b"")
    else:
        reply.chunks = _chunks(reply.chunks, stream.feed)
    return reply


async def _chunks(chunks: AsyncIterator[bytes], feed: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            if said := feed(chunk):
                yield said
    finally:
        # Closing settles the call; it does nothing to one that was read to its end.
        await chunks.aclose()  # type: ignore[attr-defined] # an async generator, always
