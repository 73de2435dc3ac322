"""`preset/NAME` as a model of `/v1`, and `MODEL@preset/NAME`: any OpenAI client calls a preset.

The preset's fields and the request's become the body that goes up, the ordinary way: cache,
retries, streams and the ledger see a call of the model. Who decides a field is in
`aieye.presets.precedence`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from aieye.access.snapshot import Grant
from aieye.api.search_chats import reply_of_search
from aieye.cache.controls import from_field
from aieye.cache.key import read_object, write_json
from aieye.errors import AieyeError, InvalidRequest
from aieye.gateway.calls import Call, Reply
from aieye.gateway.models import Model
from aieye.gateway.relay import Relay
from aieye.gateway.routing import ModelNotAllowed, ModelNotFound, is_allowed
from aieye.gateway.wire import INFER, RESPONSES
from aieye.ledger.book import EXACT, CallRecord
from aieye.presets.book import PresetBook
from aieye.presets.called import (
    PREFIX,
    Named,
    Question,
    asked_of_chat,
    asked_of_completion,
    asked_of_embeddings,
    asked_of_responses,
    check_place,
    last_user_text,
    read_name,
)
from aieye.presets.embedding import Payer
from aieye.presets.models import Preset
from aieye.presets.processing import Processing, tags_of
from aieye.presets.search import Search

# What metrics call a search, whose calls of models are counted by themselves.
ENDPOINT: Final = "preset"
# A body that names a preset holds this; a slash may be written in two ways.
_MAY_NAME: Final = re.compile(rb"preset\\?/")


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that names a preset, with its body read."""

    preset: Preset
    # The model in front of the preset.
    model: str | None
    document: Mapping[str, Any]

    @property
    def has_row(self) -> bool:
        """Whether the call itself is one of a model: a search makes calls of its own, with rows."""
        return self.preset.type != "search"


class PresetModels:
    """One a process."""

    def __init__(
        self, book: PresetBook, processing: Processing, search: Search, relay: Relay
    ) -> None:
        self._book = book
        self._processing = processing
        self._search = search
        self._relay = relay

    def read(self, call: Call) -> Asked | None:
        """What a call that names a preset asks; None for any other.

        Raises `ModelNotFound`, `ModelNotAllowed`, `WrongPlace`.
        """
        # Most bodies do not even hold the word.
        if call.match.endpoint.kind != INFER or b"preset" not in call.body:
            return None
        if _MAY_NAME.search(call.body) is None:
            return None
        document = read_object(call.body)
        named = read_name(document.get("model"))
        if named is None:
            return None
        preset = self._get(call.grant, named)
        call.tags, call.record.preset = tags_of(preset), preset.counted_as
        check_place(preset.type, call.match.endpoint)
        return Asked(preset, named.model, document)

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
        preset, document = asked.preset, asked.document
        config, model = preset.config, asked.model or preset.model
        if preset.type == "chat":
            in_words = asked_of_responses if call.match.endpoint is RESPONSES else asked_of_chat
            return await self._ask(call, in_words(config, document, model))
        if preset.type == "search":
            return await self._find(call, asked)
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

    async def _find(self, call: Call, asked: Asked) -> Reply:
        """The results of a search as the text of a chat."""
        said = last_user_text(asked.document.get("messages"))
        if said is None:
            raise InvalidRequest("There is no message of the user's.", param="messages")
        preset, record = asked.preset, call.record
        if asked.model is not None:
            preset = replace(preset, config={**preset.config, "engine_id": asked.model})
        payer = Payer(call.grant, from_field(asked.document.get("cache"), call.controls))
        call.on_upstream()
        record.endpoint = ENDPOINT
        try:
            found = await self._search.best(preset, said, payer)
        except AieyeError as error:
            if payer.calls:
                record.status, record.id = error.status, payer.calls[-1].record.id
            raise
        record.status, record.id = 200, payer.calls[0].record.id
        record.cost_nano, record.cost_state = 0, EXACT
        return reply_of_search(found, asked.document, payer.calls)

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
            call.match, call.grant, body,
            CallRecord(call.match.endpoint.name, preset=call.record.preset),
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
