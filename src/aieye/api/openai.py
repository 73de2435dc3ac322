"""`/v1`: OpenAI's API as a plain ASGI endpoint, in front of the framework's routing.

It reads the request, finds the caller, asks the gateway and sends the reply. Errors are OpenAI's
error object, also where the fault lies with the provider or with AI-Eye itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from aieye.access.directory import Directory
from aieye.access.snapshot import SCOPES, Grant
from aieye.api.bodies import Scope, check_head, read_body, stream_body
from aieye.api.idempotency import Idempotency
from aieye.api.pipeline_models import PipelineModels
from aieye.api.preset_models import Asked, PresetModels
from aieye.api.rendering import error_body
from aieye.cache.controls import DEFAULT, from_header
from aieye.errors import AieyeError, InvalidToken, Unauthenticated
from aieye.gateway.calls import LEFT, Call, Reply
from aieye.gateway.relay import Relay
from aieye.gateway.service import Gateway
from aieye.gateway.sse import error_frame, number_after
from aieye.gateway.wire import INFER, MULTIPART, UPLOAD, Header, beta_of, header, match
from aieye.headers import TrustedProxies, client_ip
from aieye.ledger.book import EXACT, CallRecord
from aieye.settings import Settings
from aieye.telemetry.denials import DENIED, denials
from aieye.telemetry.loggers import get_logger
from aieye.telemetry.logs import request_id
from aieye.telemetry.metrics import Metrics
from aieye.waiting import SLOW_SECONDS, STOPPING, ShuttingDown

log = get_logger()

# How long the end of a call that the server's stop cuts off may take.
STOP_SECONDS = 2.0
_BEARER = b"bearer "
_LONGEST_TOKEN = 200


class OpenAIEndpoint:
    """The ASGI application for paths under `/v1/`."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        gateway: Gateway,
        relay: Relay,
        idempotency: Idempotency,
        metrics: Metrics,
        pipelines: PipelineModels,
        presets: PresetModels,
    ) -> None:
        self._settings = settings
        self._pipelines = pipelines
        self._presets = presets
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._directory = directory
        self._gateway = gateway
        self._relay = relay
        self._idempotency = idempotency
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        record = CallRecord("unknown")
        request_id.set(record.request_id)
        connection = _Connection(self._gateway, receive, record)
        self._metrics.began()
        try:
            await self._answer(scope, connection, record, send)
        except _Aborted:
            record = connection.record
            # The status is out and there is no event to say it with: the connection just ends.
            log.info("answer_broken_off", request_id=record.request_id, error=record.error)
        except AieyeError as error:
            record = connection.record
            if error.status in DENIED:
                self._note_denial(scope, error)
            if record.status is None and connection.grant is not None:
                record.cost_nano, record.cost_state = 0, EXACT
                error = await self._gateway.accounts.settle_refused(connection.grant, record, error)
            await _send_error(send, error, record)
            record.status = record.status or error.status
        except asyncio.CancelledError:
            _go_on()
            if not connection.client_left:
                await self._say_stopped(connection, connection.record, send)
        except Exception as error:
            # The last resort, before the server would just close the connection.
            record = connection.record
            log.exception("call_crashed", request_id=record.request_id, error=type(error).__name__)
            fault = AieyeError("Something went wrong in AI-Eye itself; its log says what.")
            if record.status is None and connection.grant is not None:
                fault = await self._gateway.accounts.settle_refused(connection.grant, record, fault)
            # The server refuses a second beginning where an answer has begun already.
            with suppress(RuntimeError):
                await _send_error(send, fault, record)
        finally:
            record = connection.record
            connection.close()
            self._metrics.ended(record)

    async def _answer(
        self, scope: Scope, connection: _Connection, record: CallRecord, send: Any
    ) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        connection.grant = grant = await self._grant(headers)
        found = match(scope["method"], scope["path"])
        endpoint = found.endpoint
        record.endpoint = endpoint.name
        kind = endpoint.kind
        body = b""
        if kind != UPLOAD and scope["method"] in {"POST", "PUT", "PATCH"}:
            limit = (
                self._settings.max_upload_bytes
                if kind == MULTIPART
                else self._settings.max_json_bytes
            )
            body = await read_body(scope, headers, connection.receive, limit)
        control = headers.get(b"cache-control")
        if control is not None:
            # Several headers of a name are one list (RFC 9110, 5.3).
            control = b",".join(
                value for name, value in scope["headers"] if name == b"cache-control"
            )
        call = Call(
            found,
            grant,
            body,
            record,
            tuple(scope["headers"]),
            scope["query_string"].decode("latin-1"),
            beta_of(scope["headers"]) if b"openai-beta" in headers else "",
            DEFAULT if control is None else from_header(control),
            on_upstream=connection.watch,
            cancelled_as=STOPPED,
        )
        connection.call = call
        if kind == UPLOAD:
            limit = self._settings.max_upload_bytes
            check_head(headers, limit)
            # An upload that has come is watched like any other call.
            call.upload = lambda: stream_body(
                scope, connection.receive, call, limit, connection.watch
            )
        respond = self._respond
        asked = self._pipelines.read(call)
        if asked is not None:
            connection.has_row = False
            respond = partial(self._run, asked)
        elif (named := self._presets.read(call)) is not None:
            connection.has_row = named.has_row
            respond = partial(self._ask_preset, named)
        key = headers.get(b"idempotency-key")
        if key is not None and scope["method"] == "POST":
            await self._idempotency.answer(call, scope["path"], key, send, respond)
            return
        await respond(call, send)

    async def _run(self, asked: Mapping[str, Any], call: Call, send: Any) -> None:
        """Answer a call that asks a pipeline."""
        await send_reply(send, await self._pipelines.answer(call, asked))

    async def _ask_preset(self, named: Asked, call: Call, send: Any) -> None:
        """Answer a call that names a preset."""
        await self._send(call, await self._presets.infer(call, named), send)

    async def _respond(self, call: Call, send: Any) -> None:
        """Find the answer and send it."""
        relay = self._relay
        is_inference = call.match.endpoint.kind == INFER
        reply = await (relay.infer(call) if is_inference else relay.handle(call))
        await self._send(call, reply, send)

    async def _send(self, call: Call, reply: Reply, send: Any) -> None:
        """Send an answer; events that the server's stop cuts off end with an error."""
        try:
            await send_reply(send, reply)
        except asyncio.CancelledError:
            if call.cancelled_as is not STOPPED or not _is_events(reply):
                raise
            _go_on()
            with suppress(AieyeError, TimeoutError):
                await self._end_events(call, reply, send)

    async def _end_events(self, call: Call, reply: Reply, send: Any) -> None:
        error = ShuttingDown(STOPPING)
        object_ = {"message": error.message, "type": error.type, "code": error.code, "param": None}
        number = number_after(reply.last_sent)
        frame = error_frame(call.match.endpoint.dialect, object_, sequence_number=number)
        async with asyncio.timeout(STOP_SECONDS):
            await self._gateway.durable()
            await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _say_stopped(self, connection: _Connection, record: CallRecord, send: Any) -> None:
        """Answer a call that the server's stop has cut off, if its answer has not begun yet."""
        error: AieyeError = ShuttingDown(STOPPING)
        # The server refuses a second beginning where an answer has begun already.
        with suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                if record.status is None and connection.grant is not None:
                    record.cost_nano, record.cost_state = 0, EXACT
                    error = await self._gateway.accounts.settle_refused(
                        connection.grant, record, error
                    )
                await _send_error(send, error, record)

    def _note_denial(self, scope: Scope, error: AieyeError) -> None:
        method, path, ip = scope["method"], scope["path"], client_ip(scope, self._proxies)
        denials.note(error.status, error.code, method=method, path=path, ip=ip)

    async def _grant(self, headers: dict[bytes, bytes]) -> Grant:
        """Whose call it is. Raises `Unauthenticated`."""
        value = headers.get(b"authorization", b"")
        if value[:7].lower() != _BEARER:
            raise Unauthenticated(
                "No token was given: send it as the header `Authorization: Bearer <token>`."
            )
        secret = value[7:].strip()
        grant = None
        if len(secret) <= _LONGEST_TOKEN:
            grant = await self._directory.know_grant(secret)
        if grant is None:
            raise InvalidToken
        if grant.expires_at is not None and grant.expires_at <= time.time_ns() // 1000:
            raise InvalidToken
        if grant.scope < SCOPES["proxy"]:
            raise Unauthenticated("The token is not meant for this.")
        return grant


class _Connection:
    """Watches, for calls that take their time, whether the client is still there."""

    __slots__ = ("_gateway", "_handle", "_record", "_task", "_watcher", "call", "client_left",
                 "grant", "has_row", "receive")  # fmt: skip

    def __init__(self, gateway: Gateway, receive: Any, record: CallRecord) -> None:
        self.receive = receive
        self.grant: Grant | None = None
        self.call: Call | None = None
        self.client_left = False
        # The runs of pipelines have records of their own.
        self.has_row = True
        self._gateway = gateway
        self._record = record
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._handle: asyncio.TimerHandle | None = None

    @property
    def record(self) -> CallRecord:
        """The call's, which is another one where it had to be made once more."""
        return self._record if self.call is None else self.call.record

    def watch(self) -> None:
        """Begin to watch shortly, unless the answer is there by then."""
        if self._handle is None:
            self._task = asyncio.current_task()
            self._handle = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._begin)

    def _begin(self) -> None:
        record = self.record
        if record.status is None and self.has_row:
            if self.grant is not None:
                record.token_id = self.grant.token_id
                record.user_id = self.grant.user_id
            self._gateway.book.open(record)
        self._watcher = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                # A call that is settled is at its end, which is also reported like this.
                if self.record.status is None:
                    self._cancel()
                return

    def _cancel(self) -> None:
        self.client_left = True
        if self.call is not None:
            self.call.cancelled_as = LEFT
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        # They point back here: what a call holds is to go with its end, not when a collector comes.
        self._handle = self._watcher = self._task = self.call = None


class _Aborted(Exception):
    """An answer that is no event stream broke off after it had begun."""


# An error may repeat what the client sent: no browser is to guess a page in it, or to keep it.
_PROTECTION = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
STOPPED = (ShuttingDown.status, ShuttingDown.code)


def _go_on() -> None:
    """Take back that this task was cancelled: there is still something to do."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _is_events(reply: Reply) -> bool:
    kind = header(reply.headers, b"content-type") or b""
    return reply.chunks is not None and kind.startswith(b"text/event-stream")


async def send_reply(send: Any, reply: Reply) -> None:
    """Send a reply; its stream, if it has one, is read to its end or closed."""
    headers = reply.headers
    body = reply.body
    if body is not None:
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    chunks = reply.chunks
    if chunks is None:
        raise RuntimeError("a reply has either a body or chunks")
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        async for chunk in chunks:
            reply.last_sent = chunk
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except AieyeError as error:
        raise _Aborted from error
    finally:
        # Closing settles the call; it does nothing to one that was read to its end.
        await chunks.aclose()  # type: ignore[attr-defined] # an async generator, always
    await send({"type": "http.response.body", "body": b""})


async def _send_error(send: Any, error: AieyeError, record: CallRecord) -> None:
    body = error_body(error)
    headers: list[Header] = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", record.request_id.encode()),
        *_PROTECTION,
    ]
    if record.status is not None:
        headers.append((b"x-aieye-cache", record.cache.encode()))
    headers += [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in error.headers.items()
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
