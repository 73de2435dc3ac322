"""The way of every call of `/v1`: questions to a model, and all that is passed on without a cache.

What is kept at a provider, and forms with files, are passed on here. Whose the objects are that a
call names is decided in `ownership`; which path goes up, in `wire`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import orjson

from aieye.access.snapshot import KeyInfo
from aieye.errors import AieyeError, Forbidden
from aieye.gateway.calls import Call, Reply
from aieye.gateway.dispatch import Outcome
from aieye.gateway.faults import UpstreamError
from aieye.gateway.forward import Forward
from aieye.gateway.lists import OwnLists
from aieye.gateway.models import ModelList
from aieye.gateway.multipart import find_model
from aieye.gateway.owned import NoSuchObject, Owned, candidate_at
from aieye.gateway.ownership import Ownership
from aieye.gateway.pieces import Pieces
from aieye.gateway.prepare import check_model
from aieye.gateway.references import read_answer
from aieye.gateway.routing import Candidate, ModelNotAllowed, resolve
from aieye.gateway.service import Gateway
from aieye.gateway.sse import StreamMeter
from aieye.gateway.upload import Upload
from aieye.gateway.usage import Usage, normalise_usage, usage_of_body
from aieye.gateway.wire import MULTIPART, Header, header, response_headers
from aieye.settings import Settings


class Relay:
    """One a process."""

    def __init__(self, settings: Settings, gateway: Gateway, owned: Owned) -> None:
        self.models = ModelList(gateway.directory)
        self._settings = settings
        self._gateway = gateway
        self._ownership = Ownership(owned)
        self._lists = OwnLists(owned, gateway.directory)
        self._forward = Forward(gateway.client, settings)

    async def infer(self, call: Call) -> Reply:
        """A question to a model: the objects that it names have to be the caller's.

        Raises what `Gateway.infer` does.
        """
        reply = await self._gateway.infer(call, self._ownership.bind)
        return await self._ownership.note_stored(call, reply)

    async def handle(self, call: Call) -> Reply:
        """Anything else. Raises `AieyeError`, after the call was settled."""
        record, grant = call.record, call.grant
        record.token_id, record.user_id = grant.token_id, grant.user_id
        record.cost_nano, record.cost_state = 0, "exact"
        try:
            self._gateway.admission.admit(grant, call.match.endpoint)
            return await self._handle(call)
        except AieyeError as error:
            if record.status is None:
                _doubt(call)
                await self._gateway.settle_failed(call, error)
            raise
        except asyncio.CancelledError:
            if record.status is None:
                self._settle_left(call)
            raise

    # -- where a call goes ------------------------------------------------------------------

    async def _handle(self, call: Call) -> Reply:
        endpoint = call.match.endpoint
        if endpoint.name == "models/{model}" and endpoint.method == "GET":
            own = self.models.find_own(call.grant, _model_in_path(call))
            if own is not None:
                return await self._answer(call, None, orjson.dumps(own))
        if endpoint.lists is not None:
            outcome = await self._lists.find(call, partial(self._ask, call))
        else:
            outcome = await self._ask(call, await self._candidates(call), call.query)
        if outcome.body is None:
            return self._streamed(call, outcome)
        body = self._read(call, outcome, outcome.body) if outcome.status < 300 else outcome.body
        return await self._answer(call, outcome, body)

    async def _candidates(self, call: Call) -> Sequence[Candidate]:
        """To the key that the call's objects were made with, else as any other."""
        snapshot, grant = self._gateway.directory.current, call.grant
        model = _model(call)
        call.record.model_asked = model
        place = await self._ownership.place(call)
        if place is None:
            return resolve(snapshot, grant, model)
        found = candidate_at(snapshot, place, model)
        if found is None:
            raise NoSuchObject("The key that the object was made with is not in use any more.")
        return [found]

    async def _ask(self, call: Call, candidates: Sequence[Candidate], query: str) -> Outcome:
        """The first candidate's answer that can be given to the caller, or the last failure's."""
        record, circuits = call.record, self._gateway.circuits
        upload = None if call.upload is None else Upload(call.upload())
        if upload is None:
            call.on_upstream()
        else:
            # Most uploads can be sent once only: not with a key that failed just now.
            candidates = sorted(
                (
                    Candidate(one.provider, (key,), one.model)
                    for one in candidates
                    for key in one.keys
                ),
                key=lambda one: circuits.of(one.keys[0]).failures,
            )
        if record.attempts is None:
            record.attempts = []
        outcome = await self._gateway.dispatcher.run(
            candidates,
            partial(self._send, call, upload, query),
            record.attempts,
            may_repeat=None if upload is None else upload.may_repeat,
        )
        record.upstream_request_id = outcome.request_id
        return outcome

    async def _send(
        self,
        call: Call,
        upload: Upload | None,
        query: str,
        candidate: Candidate,
        key: KeyInfo,
        seconds: float,
    ) -> Outcome:
        call.record.provider_id, call.record.key_id = candidate.provider.id, key.id
        try:
            outcome = await self._forward.open(
                call, candidate, key, seconds, query=query, upload=upload
            )
        except UpstreamError as error:
            # What ended an upload on the client's side is not the provider's fault.
            raise call.upload_error or error from error
        if upload is not None:
            upload.answered(outcome.status)
        return outcome

    # -- what comes back --------------------------------------------------------------------

    def _read(self, call: Call, outcome: Outcome, body: bytes) -> bytes:
        """Note what a good answer says; the answer as the caller gets it."""
        endpoint = call.match.endpoint
        if endpoint.name == "models":
            return self.models.add_own(call.grant, body)
        if endpoint.kind == MULTIPART:
            usage, model, _ = usage_of_body(body)
            self._charge(call, outcome, usage, model)
            return body
        answer = None if endpoint.lists is not None else read_answer(body)
        if answer is not None:
            self._ownership.note_made(call, outcome, answer)
        is_simulated = outcome.candidate.provider.is_simulated
        if endpoint.name == "batches" and endpoint.method == "POST" and not is_simulated:
            # Its questions are asked and paid for later, out of sight.
            call.record.cost_nano, call.record.cost_state = None, "unknown"
        return body

    def _charge(self, call: Call, outcome: Outcome, usage: Usage | None, model: str | None) -> None:
        record, candidate = call.record, outcome.candidate
        record.model = model or candidate.model
        charge = self._gateway.tariff.charge(
            candidate.provider, record.model, usage, asked=candidate.model
        )
        record.cost_nano, record.cost_state = charge.cost_nano, charge.cost_state
        record.price_id = charge.price_id
        if usage is not None:
            record.tokens_input, record.tokens_output = usage.input, usage.output
            record.tokens_cached, record.tokens_reasoning = usage.cached, usage.reasoning
            record.usage = usage.raw

    async def _answer(self, call: Call, outcome: Outcome | None, body: bytes) -> Reply:
        record = call.record
        record.status = 200 if outcome is None else outcome.status
        if record.status >= 400 and record.attempts:
            record.error = record.attempts[-1].get("error") or f"status {record.status}"
        self._gateway.settle(call)
        await self._gateway.durable(call)
        return Reply(record.status, _headers(call, outcome), body)

    def _streamed(self, call: Call, outcome: Outcome) -> Reply:
        return Reply(outcome.status, _headers(call, outcome), chunks=self._pieces(call, outcome))

    async def _pieces(self, call: Call, outcome: Outcome) -> AsyncIterator[bytes]:
        if outcome.response is None:
            raise RuntimeError("an answer is neither read nor open")

        async def record(fault: AieyeError | None, meter: StreamMeter | None) -> None:
            self._book_pieces(call, outcome, fault, meter)
            await self._gateway.durable(call)

        pieces = Pieces(call, outcome, outcome.response, self._settings).read(record)
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()  # type: ignore[attr-defined] # an async generator, always
            if call.record.status is None:
                self._settle_left(call)

    # -- settling ---------------------------------------------------------------------------

    def _book_pieces(
        self, call: Call, outcome: Outcome, fault: AieyeError | None, meter: StreamMeter | None
    ) -> None:
        record = call.record
        record.status = outcome.status if fault is None else fault.status
        record.error = None if fault is None else fault.code
        if call.match.endpoint.kind == MULTIPART:
            usage = None if meter is None else normalise_usage(meter.usage)
            self._charge(call, outcome, usage, None if meter is None else meter.model)
        self._gateway.settle(call)

    def _settle_left(self, call: Call) -> None:
        _doubt(call)
        call.record.status, call.record.error = call.cancelled_as
        self._gateway.settle(call)


def _doubt(call: Call) -> None:
    """A question to a model that was sent and not answered may have cost something."""
    attempts = call.record.attempts or [{}]
    if call.match.endpoint.kind == MULTIPART and attempts[-1].get("sent"):
        call.record.cost_nano, call.record.cost_state = None, "unknown"


def _model_in_path(call: Call) -> str:
    return call.match.path.removeprefix("/models/")


def _model(call: Call) -> str | None:
    """The model that a call is about. Raises `Forbidden` and its kin where it may not be."""
    endpoint, grant = call.match.endpoint, call.grant
    if endpoint.name == "models/{model}":
        if endpoint.method == "DELETE" and not grant.is_administrator:
            raise Forbidden("Only an administrator's token may delete a model.")
        return _model_in_path(call)
    if endpoint.name == "batches" and grant.models is not None:
        raise ModelNotAllowed(
            "This token is limited to models, and a batch may ask any: it may not make batches."
        )
    if endpoint.kind != MULTIPART:
        return None
    place = find_model(header(call.headers, b"content-type") or b"", call.body)
    if place is None and grant.models is not None:
        raise ModelNotAllowed("This token is limited to models: name one of them.", param="model")
    return None if place is None else check_model(place.model)


def _headers(call: Call, outcome: Outcome | None) -> list[Header]:
    record = call.record
    own: list[Header] = [
        (b"x-request-id", record.request_id.encode()),
        (b"x-aieye-cache", b"bypass"),
        (b"cache-status", b"aieye; fwd=bypass"),
    ]
    if outcome is None:
        return [*own, (b"content-type", b"application/json")]
    own.append((b"x-aieye-provider", outcome.candidate.provider.name.encode()))
    if outcome.request_id is not None:
        own.append((b"x-aieye-upstream-request-id", outcome.request_id.encode("latin-1")))
    return own + response_headers(outcome.headers, outcome.key.hidden)
