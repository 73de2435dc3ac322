"""The ASGI app: a request comes in, and its answer goes out as the model's name asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson

from aieye.demo.accounts import Account, Shelf
from aieye.demo.answers import Answer, Json, Stream, digest
from aieye.demo.behaviour import PLAIN, Behaviour
from aieye.demo.calls import Call, Handler, perform, understand
from aieye.demo.errors import ProviderError
from aieye.demo.forms import Part, parse_form
from aieye.demo.params import check_common, parse_object
from aieye.demo.routing import find_handler

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[str, str]]

# A request body above this is refused (413), so that the demo cannot fill the machine's memory.
MAX_BODY_BYTES = 64 * 2**20
_SSE_HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
)


class DemoProvider:
    """The ASGI app. Each instance has accounts of its own.

    `open_calls` counts the requests that are being answered at this moment.
    """

    def __init__(self) -> None:
        self.open_calls = 0
        self._accounts: Shelf[Account] = Shelf()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; there are no lifespan events and no web sockets."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the simulated provider does not speak {scope['type']}")
        self.open_calls += 1
        try:
            await self._exchange(scope, receive, send)
        except ConnectionResetError:
            pass  # There is nobody left to answer.
        finally:
            self.open_calls -= 1

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, behaviour = b"", PLAIN
        try:
            body = await _read_body(receive)
            handler, call = self._understand(scope, body)
            behaviour = call.behaviour
            outcome = perform(handler, call)
            if isinstance(outcome, dict):
                outcome = Answer(orjson.dumps(outcome))
        except ProviderError as error:
            outcome = _refusal(error)
        except orjson.JSONEncodeError:
            # It writes fewer levels of nesting than it reads.
            outcome = _refusal(ProviderError(400, "The JSON body is nested too deeply."))
        sending = _send(send, outcome, _headers(scope, body), behaviour)
        if isinstance(outcome, Stream) or behaviour.delay_seconds:
            sending = _until_client_leaves(receive, sending)
        await sending

    def _understand(self, scope: Scope, body: bytes) -> tuple[Handler, Call]:
        path, headers = scope["path"], dict(scope["headers"])
        handler, ids = find_handler(scope["method"], path)
        key = _bearer(headers)
        account = self._accounts.get(key) or self._accounts.put(key, Account(key))
        params, files = _read_fields(headers, body if scope["method"] == "POST" else b"")
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        return handler, understand(path, account, params, files, ids, query)


def _refusal(error: ProviderError) -> Answer:
    return Answer(orjson.dumps(error.body), status=error.status, headers=error.headers)


def _bearer(headers: Mapping[bytes, bytes]) -> str:
    """The API key; raises 401 without one. Any key that is not empty has an account here."""
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        message = "You didn't provide an API key in an Authorization header using Bearer auth."
        raise ProviderError(401, message)
    return key.strip()


def _read_fields(headers: Mapping[bytes, bytes], body: bytes) -> tuple[Json, tuple[Part, ...]]:
    """The fields and the files of a body, which may be empty (`…/cancel`)."""
    if not body:
        return {}, ()
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    if content_type.lower().startswith("multipart/form-data"):
        parts = parse_form(content_type, body)
        texts = (part for part in parts if part.filename is None)
        fields = {part.name: part.content.decode("utf-8", "replace") for part in texts}
        return fields, tuple(part for part in parts if part.filename is not None)
    params = parse_object(body)
    check_common(params)
    return params, ()


async def _read_body(receive: Receive) -> bytes:
    """The whole body; raises 413, or ConnectionResetError when the client leaves."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            # The rest of the body is not read, so the connection cannot serve another request.
            refusal = "The simulated provider takes at most 64 MiB."
            raise ProviderError(413, refusal, headers=(("connection", "close"),))
    return bytes(body)


def _headers(scope: Scope, body: bytes) -> Headers:
    """What every answer carries; the request id is a hash too."""
    return (
        ("x-simulated", "true"),
        ("x-request-id", f"req_{digest(scope['method'], scope['path'], body)[:32]}"),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "1"),
    )


async def _send(send: Send, answer: Answer | Stream, headers: Headers, asked: Behaviour) -> None:
    """Send an answer. A body left without its end makes the server close the connection."""
    if asked.delay_seconds:
        await asyncio.sleep(asked.delay_seconds)
    if isinstance(answer, Stream):
        await _start(send, 200, (*_SSE_HEADERS, *headers))
        for sent, event in enumerate(answer.events):
            if sent == asked.cut_after_events:
                return
            # Without a gap too: others have their turn, and a client that leaves is seen.
            await asyncio.sleep(asked.gap_seconds if sent else 0)
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        own = (("content-type", answer.content_type), ("content-length", str(len(answer.body))))
        await _start(send, answer.status, (*own, *answer.headers, *headers))
        cut = asked.cut_after_events is not None
        body = answer.body[: len(answer.body) // 2] if cut else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": cut})


async def _start(send: Send, status: int, headers: Headers) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _until_client_leaves(receive: Receive, sending: Coroutine[Any, Any, None]) -> None:
    """Carry out `sending`, or stop it as soon as the client has left."""
    task, leaving = asyncio.create_task(sending), asyncio.create_task(_leave(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.wait({task, leaving})
    if not task.cancelled():
        task.result()


async def _leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


demo_app = DemoProvider()
