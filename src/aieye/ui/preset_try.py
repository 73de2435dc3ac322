"""A preset tried on its page: asked as a call asks, by whoever looks at it, in the version that runs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aieye.access.grants import grant_of_user
from aieye.access.snapshot import Grant
from aieye.errors import AieyeError, InvalidRequest
from aieye.gateway.calls import Call
from aieye.presets.asking import texts_of_completion, vector_of
from aieye.presets.embedding import Payer
from aieye.presets.models import Preset
from aieye.presets.processing import Answered, Asker
from aieye.presets.search import Result
from aieye.ui import reading
from aieye.ui.session import Visitor
from aieye.waiting import unless_gone

LONGEST: Final = 100_000
BEST: Final = 10
_NUMBERS: Final = 8


@dataclass(frozen=True, slots=True)
class Used:
    """What an attempt took: its calls together; of which model and which call, the first says."""

    call_id: str
    model: str
    calls: int
    cache: str
    latency_ms: float | None
    tokens_input: int | None
    tokens_output: int | None
    cost_nano: int | None


@dataclass(frozen=True, slots=True)
class Tried:
    """What was typed and what came of it; nothing yet where there is neither answer nor error."""

    text: str = ""
    prompt: str = ""
    documents: str = ""
    answers: Sequence[str] = ()
    results: Sequence[Result] = ()
    numbers: Sequence[float] = ()
    dimensions: int = 0
    is_found: bool = False
    error: str = ""
    status: int = 200
    used: Used | None = field(default=None)

    @property
    def is_there(self) -> bool:
        return bool(self.error or self.used or self.is_found)


async def try_out(visitor: Visitor, preset: Preset, typed: Tried) -> Tried:
    """Ask what was typed; an error is told in what comes back."""
    signed_in = visitor.signed_in
    grant = grant_of_user(visitor.user_id, visitor.actor.label, signed_in.role)
    calls: list[Call] = []
    try:
        if len(typed.text) > LONGEST:
            raise InvalidRequest(f"This is more than {LONGEST:,} characters.", param="text")
        if preset.type == "search":
            found = await _search(visitor, preset, typed, grant, calls)
        else:
            found = await _ask(visitor, preset, typed, grant, calls)
    except AieyeError as error:
        found = replace(typed, error=error.message, status=error.status)
    return replace(found, used=_used(calls))


async def _ask(
    visitor: Visitor, preset: Preset, typed: Tried, grant: Grant, calls: list[Call]
) -> Tried:
    asker = Asker(grant, calls=calls)
    work = visitor.state.processing.process(preset, typed.text, typed.prompt or None, asker)
    answered = await unless_gone(visitor.request, work, at_leaving=asker.left)
    if (failed := answered.failed) is not None:
        said = reading.answered((failed.body or b"").decode("utf-8", "replace"))
        message = said[0].text if said else f"The provider answered {failed.status}."
        return replace(typed, error=message, status=failed.status)
    if preset.type == "embeddings":
        return _vector(typed, answered)
    return replace(typed, answers=_texts(preset, answered))


async def _search(
    visitor: Visitor, preset: Preset, typed: Tried, grant: Grant, calls: list[Call]
) -> Tried:
    payer = Payer(grant, calls=calls)
    documents = [line for line in typed.documents.split("\n") if line.strip()]
    given: object = None if preset.document_count else documents
    work = visitor.state.search.run(
        preset, typed.text, payer, documents=given, top_k=BEST, with_text=True
    )
    found = await unless_gone(visitor.request, work, at_leaving=payer.left)
    return replace(typed, results=found.results, is_found=True)


def _texts(preset: Preset, answered: Answered) -> Sequence[str]:
    """The answers as they are read."""
    if preset.type == "completion":
        return texts_of_completion(answered.asking, preset.config, answered.bodies)
    said = reading.answered(answered.bodies[0].decode("utf-8", "replace"))
    return [part.text for part in said]


def _vector(typed: Tried, answered: Answered) -> Tried:
    vector: Any = vector_of(answered.bodies[0])
    if isinstance(vector, str):
        vector = _unpacked(vector)
    return replace(typed, numbers=vector[:_NUMBERS], dimensions=len(vector))


def _unpacked(text: str) -> list[float]:
    """A vector in base64, 32-bit floats with their little end first."""
    try:
        raw = base64.b64decode(text, validate=True)
        return list(memoryview(raw).cast("f"))
    except (binascii.Error, TypeError) as error:
        raise InvalidRequest("The provider's vector cannot be read.") from error


def _used(calls: Sequence[Call]) -> Used | None:
    records = [call.record for call in calls]
    if not records:
        return None
    first = records[0]
    return Used(
        call_id=first.id,
        model=first.model or first.model_asked or "",
        calls=len(records),
        cache=first.cache,
        latency_ms=None if first.latency_us is None else first.latency_us / 1000,
        tokens_input=_sum([one.tokens_input for one in records]),
        tokens_output=_sum([one.tokens_output for one in records]),
        cost_nano=_sum([one.cost_nano for one in records]),
    )


def _sum(values: Sequence[int | None]) -> int | None:
    """Together; unknown where one of them is."""
    known = [one for one in values if one is not None]
    return sum(known) if len(known) == len(values) else None
