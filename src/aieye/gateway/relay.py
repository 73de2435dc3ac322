"""Calls on what is kept at a provider, and forms with files: passed on, never cached.

Who may name which object is decided here (`aieye.gateway.owned`); which path goes up, in `wire`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from aieye.access.snapshot import Grant, KeyInfo
from aieye.cache.key import read_object
from aieye.errors import AieyeError, Forbidden
from aieye.gateway.calls import Call, Reply
from aieye.gateway.client import Head, UpstreamResponse
from aieye.gateway.deadline import Deadline
from aieye.gateway.dispatch import Outcome
from aieye.gateway.exchange import without_key
from aieye.gateway.faults import BrokenOff, UpstreamError
from aieye.gateway.multipart import find_model, replace_model
from aieye.gateway.owned import NoSuchObject, Owned, answer_id, may_refer, references
from aieye.gateway.prepare import check_model
from aieye.gateway.routing import Candidate, ModelNotAllowed, is_allowed, resolve, with_key
from aieye.gateway.service import Gateway
from aieye.gateway.sse import EventTooLarge, FrameSplitter, error_frame
from aieye.gateway.upstream import MOST_ANSWER_BYTES
from aieye.gateway.usage import usage_of_body
from aieye.gateway.wire import (
    MULTIPART,
    UPLOAD,
    Header,
    header,
    request_headers,
    response_headers,
)
from aieye.settings import Settings

ExtraModels = Callable[[Grant], list[dict[str, Any]]]
_REST = "the rest of the answer"
# What a finished batch or upload brings with it.
_BROUGHT = ("output_file_id", "error_file_id")


class Relay:
    """The way of every call that is not a question to a model in JSON, and the check of those that
    are."""

    def __init__(self, settings: Settings, gateway: Gateway, owned: Owned) -> None:
        self._settings = settings
        self._gateway = gateway
        self._owned = owned
        # Models that AI-Eye itself offers beside the provider's: aliases, and what others add.
        self.extra_models: list[ExtraModels] = [self._aliases]

    async def infer(self, call: Call) -> Reply:
        """A question to a model: the objects that it names have to be the caller's."""
        if may_refer(call.body):
            await self._check_references(call)
        reply = await self._gateway.infer(call)
        if call.match.endpoint.dialect == "responses" or b'"store"' in call.body:
            return await self._note_stored(call, reply)
        return reply

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
                await self._gateway.settle_failed(call, error)
            raise
        except BaseException:
            if record.status is None:
                self._gateway.settle_left(call)
            raise

    # -- which objects ----------------------------------------------------------------------

    async def _check_references(self, call: Call) -> None:
        made_with = await self._owned.check(call.grant, references(read_object(call.body)))
        if made_with is not None:
            call.key_id = made_with[1]

    async def _note_stored(self, call: Call, reply: Reply) -> Reply:
        """A stored answer belongs to whoever was given it."""
        record = call.record
        if reply.status >= 300 or (record.provider_id is None and reply.chunks is None):
            return reply
        if reply.body is not None:
            external_id = answer_id(reply.body)
            if external_id is not None and record.provider_id is not None:
                self._own(call, external_id)
                await self._gateway.writer.durable()
            return reply
        if reply.chunks is not None:
            reply.chunks = self._note_streamed(call, reply.chunks)
        return reply

    async def _note_streamed(
        self, call: Call, chunks: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        external_id: str | None = None
        is_noted = False
        try:
            async for chunk in chunks:
                if external_id is None:
                    external_id = answer_id(chunk)
                if not is_noted and external_id is not None and call.record.provider_id is not None:
                    # The record knows its provider once it is settled: before the last bytes.
                    self._own(call, external_id)
                    await self._gateway.writer.durable()
                    is_noted = True
                yield chunk
        finally:
            await chunks.aclose()  # type: ignore[attr-defined] # an async generator, always

    def _own(self, call: Call, external_id: str) -> None:
        record = call.record
        kind = "response" if call.match.endpoint.dialect == "responses" else "chat.completion"
        self._owned.note(call.grant, external_id, kind, record.provider_id or 0, record.key_id)

    # -- passing on -------------------------------------------------------------------------

    async def _handle(self, call: Call) -> Reply:
        endpoint = call.match.endpoint
        if endpoint.name == "models/{model}":
            own = self._own_model(call)
            if own is not None:
                return await self._answer(call, 200, [], orjson.dumps(own))
        candidates = await self._candidates(call)
        attempts: list[dict[str, Any]] = []
        outcome = await self._gateway.dispatcher.run(
            candidates,
            lambda candidate, key, seconds: self._send(call, candidate, key, seconds),
            attempts,
            may_repeat=None if call.upload is None else lambda: False,
        )
        record = call.record
        record.attempts = attempts
        record.provider_id, record.key_id = outcome.candidate.provider.id, outcome.key.id
        record.upstream_request_id = outcome.request_id
        if outcome.body is None:
            return self._streamed(call, outcome)
        body = await self._settled_body(call, outcome, outcome.body)
        return await self._answer(call, outcome.status, response_headers(outcome.headers), body)

    async def _candidates(self, call: Call) -> list[Candidate]:
        """Where the call goes: to the key that its objects were made with, else as any other."""
        snapshot, grant = self._gateway.directory.current, call.grant
        model = self._model(call)
        call.record.model_asked = model
        made_with = await self._made_with(call)
        if made_with is None:
            return resolve(snapshot, grant, model)
        provider = snapshot.providers_by_id.get(made_with[0])
        if provider is None:
            raise NoSuchObject("The provider of that object is not set up any more.")
        found = with_key(Candidate(provider, provider.keys, model), made_with[1])
        if not found.keys:
            raise NoSuchObject("The key that the object was made with is not in use any more.")
        return [found]

    def _model(self, call: Call) -> str | None:
        endpoint = call.match.endpoint
        if endpoint.name == "models/{model}":
            if endpoint.method == "DELETE" and not call.grant.is_administrator:
                raise Forbidden("Only an administrator's token may delete a model.")
            return call.match.path.removeprefix("/models/")
        if endpoint.kind == MULTIPART:
            found = find_model(_content_type(call), call.body)
            if found is None and call.grant.models is not None:
                raise ModelNotAllowed(
                    "This token is limited to models: name one of them.", param="model"
                )
            return None if found is None else check_model(found[0])
        return None

    async def _made_with(self, call: Call) -> tuple[int, int | None] | None:
        ids = list(call.match.ids)
        if call.body and call.match.endpoint.kind not in {MULTIPART, UPLOAD}:
            ids += references(read_object(call.body))
        # The first id in a path is the object; a second one lives within it.
        return await self._owned.check(call.grant, ids[:1] if len(call.match.ids) > 1 else ids)

    async def _send(
        self, call: Call, candidate: Candidate, key: KeyInfo, seconds: float
    ) -> Outcome:
        try:
            return await self._open(call, candidate, key, seconds)
        except UpstreamError as error:
            # What ended an upload on the client's side is not the provider's fault.
            raise call.upload_error or error from error

    async def _open(
        self, call: Call, candidate: Candidate, key: KeyInfo, seconds: float
    ) -> Outcome:
        headers = dict(request_headers(call.headers))
        headers |= {
            "authorization": f"Bearer {key.secret}",
            "accept-encoding": "identity",
            "user-agent": "aieye",
        }
        body, path = self._body_and_path(call, candidate, headers)
        if call.upload is None:
            call.on_upstream()
        with Deadline(
            max(self._settings.first_byte_timeout, self._settings.upstream_timeout)
            if call.upload is not None
            else self._settings.first_byte_timeout,
            "first byte",
            seconds,
        ) as deadline:
            head = Head.of(
                call.match.endpoint.method, candidate.provider.base_url, path, headers, call.query
            )
            response = await self._gateway.client.open(head, body)
            outcome = Outcome(candidate, key, response.status, response.headers)
            try:
                if 300 <= response.status < 400:
                    raise BrokenOff(
                        "The provider answered with a redirect, which is never followed."
                    )
                kind = header(response.headers, b"content-type") or b""
                if response.status < 300 and not kind.startswith(b"application/json"):
                    outcome.response = response
                    return outcome
                deadline.extend(self._settings.idle_timeout, _REST)
                outcome.body = without_key(
                    await response.read(
                        MOST_ANSWER_BYTES,
                        lambda: deadline.extend(self._settings.idle_timeout, _REST),
                    ),
                    key,
                )
            except BaseException:
                response.close()
                raise
            response.release()
            return outcome

    def _body_and_path(
        self, call: Call, candidate: Candidate, headers: dict[str, str]
    ) -> tuple[bytes | AsyncIterator[bytes] | None, str]:
        endpoint, path = call.match.endpoint, call.match.path
        if call.upload is not None:
            length = header(call.headers, b"content-length")
            if length is not None:
                headers["content-length"] = length.decode("latin-1")
            return call.upload(), path
        if endpoint.name == "models/{model}":
            return None, f"/models/{candidate.model}"
        if endpoint.kind == MULTIPART and candidate.model is not None:
            found = find_model(_content_type(call), call.body)
            if found is not None and found[0] != candidate.model:
                return replace_model(call.body, found, candidate.model), path
        return call.body or None, path

    # -- what comes back --------------------------------------------------------------------

    async def _settled_body(self, call: Call, outcome: Outcome, body: bytes) -> bytes:
        """Note what the answer made or brought, and take out of lists what is not the caller's."""
        endpoint = call.match.endpoint
        if outcome.status >= 300:
            return body
        if endpoint.kind == MULTIPART:
            self._charge(call, outcome, body)
            return body
        if endpoint.name == "models":
            return self._with_own_models(call, body)
        answer = _object(body)
        if answer is None:
            return body
        provider_id, key_id = outcome.candidate.provider.id, outcome.key.id
        if endpoint.creates is not None and isinstance(answer.get("id"), str):
            self._owned.note(call.grant, answer["id"], endpoint.creates, provider_id, key_id)
        brought = [answer.get(name) for name in _BROUGHT]
        file = answer.get("file")
        brought.append(file.get("id") if isinstance(file, dict) else None)
        for external_id in brought:
            if isinstance(external_id, str):
                self._owned.note(call.grant, external_id, "file", provider_id, key_id)
        if endpoint.lists:
            return await self._own_only(call, answer, body)
        return body

    async def _own_only(self, call: Call, answer: dict[str, Any], body: bytes) -> bytes:
        data = answer.get("data")
        if not isinstance(data, list):
            return body
        ids = [
            one["id"] for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]
        own = await self._owned.own_ids(call.grant, ids)
        if len(own) == len(data):
            return body
        kept = [one for one in data if isinstance(one, dict) and one.get("id") in own]
        changed = {**answer, "data": kept}
        if "first_id" in answer:
            changed["first_id"] = kept[0]["id"] if kept else None
        return orjson.dumps(changed)

    def _charge(self, call: Call, outcome: Outcome, body: bytes) -> None:
        usage, model, _ = usage_of_body(body)
        record, candidate = call.record, outcome.candidate
        record.model = model or candidate.model
        charge = self._gateway.tariff.charge(candidate.provider, record.model, usage)
        record.cost_nano, record.cost_state = charge.cost_nano, charge.cost_state
        record.price_id = charge.price_id
        if usage is not None:
            record.tokens_input, record.tokens_output = usage.input, usage.output
            record.usage = usage.raw

    async def _answer(self, call: Call, status: int, headers: list[Header], body: bytes) -> Reply:
        record = call.record
        record.status = status
        if status >= 400 and record.attempts:
            record.error = record.attempts[-1].get("error") or f"status {status}"
        self._gateway.settle(call)
        await self._gateway.durable()
        own: list[Header] = [(b"x-request-id", record.request_id.encode())]
        if not headers:
            own.append((b"content-type", b"application/json"))
        if record.upstream_request_id is not None:
            own.append(
                (b"x-aieye-upstream-request-id", record.upstream_request_id.encode("latin-1"))
            )
        own += [(b"x-aieye-cache", b"bypass"), (b"cache-status", b"aieye; fwd=bypass")]
        return Reply(status, own + headers, body)

    def _streamed(self, call: Call, outcome: Outcome) -> Reply:
        headers: list[Header] = [
            (b"x-request-id", call.record.request_id.encode()),
            (b"x-aieye-cache", b"bypass"),
            (b"cache-status", b"aieye; fwd=bypass"),
            *response_headers(outcome.headers),
        ]
        return Reply(outcome.status, headers, chunks=self._pieces(call, outcome))

    async def _pieces(self, call: Call, outcome: Outcome) -> AsyncIterator[bytes]:
        """The answer as it comes, its last piece only once the call is recorded."""
        record, gateway = call.record, self._gateway
        response = outcome.response
        if response is None:
            return
        is_events = (header(outcome.headers, b"content-type") or b"").startswith(b"text/event")
        splitter = FrameSplitter(self._settings.max_event_bytes) if is_events else None
        held = b""
        try:
            try:
                while chunk := await self._next(call, response):
                    if record.ttft_us is None:
                        record.ttft_us = record.elapsed_us()
                    piece = chunk if splitter is None else splitter.feed(chunk)
                    if held and piece:
                        yield held
                    held = piece or held
                if splitter is not None:
                    held += splitter.take()
            except (AieyeError, EventTooLarge) as error:
                record.status = outcome.status
                record.error = error.code if isinstance(error, AieyeError) else "event_too_large"
                gateway.settle(call)
                await gateway.durable()
                if splitter is None:
                    raise
                yield held + error_frame("other", {"message": str(error), "code": record.error})
                return
            record.status = outcome.status
            if call.match.endpoint.kind == MULTIPART:
                record.cost_nano, record.cost_state = None, "unknown"
            gateway.settle(call)
            await gateway.durable()
            if held:
                yield held
        finally:
            response.release()
            if record.status is None:
                record.status, record.error = call.cancelled_as
                gateway.settle(call)

    async def _next(self, call: Call, response: UpstreamResponse) -> bytes:
        """The next bytes, b"" at the end, within the time between bytes and the call's whole time."""
        left = self._settings.upstream_timeout - call.record.elapsed_us() / 1e6
        with Deadline(self._settings.idle_timeout, "between bytes", max(left, 0.001)):
            return await response.chunk()

    # -- models -----------------------------------------------------------------------------

    def _aliases(self, _grant: Grant) -> list[dict[str, Any]]:
        return [
            {"id": alias, "object": "model", "created": 0, "owned_by": "aieye"}
            for alias in sorted(self._gateway.directory.current.routes)
        ]

    def _extra(self, grant: Grant) -> list[dict[str, Any]]:
        return [model for extra in self.extra_models for model in extra(grant)]

    def _own_model(self, call: Call) -> dict[str, Any] | None:
        name = call.match.path.removeprefix("/models/")
        if call.match.endpoint.method != "GET":
            return None
        allowed = call.grant.models
        if allowed is not None and not is_allowed(name, allowed):
            raise ModelNotAllowed("This token may not use that model.", param="model")
        return next((one for one in self._extra(call.grant) if one["id"] == name), None)

    def _with_own_models(self, call: Call, body: bytes) -> bytes:
        """The provider's list, byte for byte unless there is something to add or to leave out."""
        extra, allowed = self._extra(call.grant), call.grant.models
        if not extra and allowed is None:
            return body
        answer = _object(body)
        if answer is None or not isinstance(answer.get("data"), list):
            return body
        data = [one for one in answer["data"] + extra if isinstance(one, dict)]
        if allowed is not None:
            data = [one for one in data if is_allowed(str(one.get("id")), allowed)]
        return orjson.dumps({**answer, "data": data})


def _content_type(call: Call) -> bytes:
    return header(call.headers, b"content-type") or b""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None
