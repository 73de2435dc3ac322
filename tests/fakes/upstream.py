"""A scripted provider on a real socket that can send any byte at any time.

It is written on bare asyncio, so that nothing repairs what a test breaks, and keeps an append-only
log of its own: what came in, what went out, when the client left, and which faults fired. Tests
assert on that log, never on what the gateway says about itself:

    async with FakeUpstream() as up:
        up.script(json_answer(429, error_body(), headers={"Retry-After": "0"}), chat_answer("Hi"))
        ...
        assert [request.key for request in up.requests] == ["sk-a", "sk-a"]
        assert up.fired["status-429"] == 1

A behaviour answers one request: `async def (request, connection) -> None`. Scripted ones are used
in order, one a request; after them comes `up.default`, by default `realistic()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import Any, NoReturn, Self, TypeAlias

import orjson

from tests.fakes import chat

Json: TypeAlias = dict[str, Any]
Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
Behaviour: TypeAlias = Callable[["Received", "Connection"], Awaitable[None]]

# A peer that is reset may lose what it has not read yet; on loopback it has read it by then.
READING_SECONDS = 0.02
# `endless_line` ends at some point, lest a client without a cap fill the machine.
MOST_ENDLESS_BYTES = 512 * 2**20


class ConnectionEndedError(Exception):
    """The connection is over, by our own doing or because the client has left."""


# --------------------------------------------------------------------------------------- the log


@dataclass(slots=True, eq=False)
class Received:
    """One request as it came in and what became of it. Times are `time.monotonic()` seconds.

    It is in the log as soon as its head is complete; `body_complete` tells whether the body was.
    """

    number: int
    connection: int
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    arrived_at: float
    body: bytes = b""
    body_complete: bool = False
    # Everything written in answer, as on the wire, and the body alone, without chunk framing.
    sent: bytearray = field(default_factory=bytearray)
    sent_body: bytearray = field(default_factory=bytearray)
    # When the last byte of the answer was sent; None when it was cut short or still goes on.
    finished_at: float | None = None
    # When the client closed the connection that carried the request; None when we did, or nobody.
    closed_at: float | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value of a header, in any case."""
        wanted = name.lower().encode()
        found = (value for key, value in self.headers if key.lower() == wanted)
        value = next(found, None)
        return None if value is None else value.decode("latin-1")

    @property
    def key(self) -> str | None:
        """The bearer that came with the request."""
        scheme, _, value = (self.header("authorization") or "").partition(" ")
        return value if scheme.lower() == "bearer" else None

    @property
    def json(self) -> Json:
        """The body as a JSON object; raises orjson.JSONDecodeError when it is none."""
        parsed: Json = orjson.loads(self.body)
        return parsed

    @property
    def streamed(self) -> bool:
        """Whether the client asked for a stream."""
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
            return self.json.get("stream") is True
        return False

    @property
    def abandoned(self) -> bool:
        """Whether the client left before the answer was complete."""
        return self.closed_at is not None and self.finished_at is None

    @property
    def wire_body(self) -> bytes:
        """What was sent after the head, as on the wire, with its chunk framing."""
        return bytes(self.sent).partition(b"\r\n\r\n")[2]

    @property
    def usages(self) -> list[Json]:
        """Every usage object sent in full, in order: what the provider would charge for."""
        payloads = [bytes(self.sent_body)]
        if not payloads[0].lstrip().startswith(b"{"):
            text = payloads[0].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            # What follows the last blank line is an event that was cut.
            lines = (line for event in text.split(b"\n\n")[:-1] for line in event.split(b"\n"))
            payloads = [line[5:] for line in lines if line.startswith(b"data:")]
        return [found for payload in payloads if (found := _find_usage(payload)) is not None]

    @property
    def usage(self) -> Json | None:
        """The last usage sent, or None."""
        return next(reversed(self.usages), None)

    async def wait_closed(self, timeout: float = 20.0) -> float:
        """Wait until the client has closed the connection; TimeoutError when it does not."""
        async with asyncio.timeout(timeout):
            await self.closing.wait()
        assert self.closed_at is not None
        return self.closed_at


def _find_usage(payload: bytes) -> Json | None:
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict):
        return None
    inner = parsed.get("response")
    found = (inner if isinstance(inner, dict) else parsed).get("usage")
    return found if isinstance(found, dict) else None


# ------------------------------------------------------------------------------------ connections


class Connection:
    """One accepted connection: reads requests, and writes what a behaviour tells it to."""

    def __init__(
        self,
        upstream: FakeUpstream,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.upstream = upstream
        self.number = number
        self.requests: list[Received] = []
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._fresh = asyncio.Event()
        self._left = asyncio.Event()
        self._chunked = False
        self._remaining: int | None = None
        self._ended = False
        # Bytes that may still be sent before the connection is cut, and how it is cut then.
        self._allowance: int | None = None
        self._cut: Callable[[], Awaitable[None]] = self.finish

    @property
    def request(self) -> Received:
        """The request being answered."""
        return self.requests[-1]

    def fire(self, name: str) -> None:
        """Count that a fault has happened, for the test to assert on."""
        self.upstream.fired[name] += 1

    def cut_after(self, count: int, cut: Callable[[], Awaitable[None]]) -> None:
        """After `count` more bytes on the wire, `cut` (which is `finish` or `reset`)."""
        self._allowance, self._cut = count, cut

    async def write(self, data: bytes, *, free: bool = False, last: bool = False) -> None:
        """Put bytes on the wire as they are.

        `free` ones do not count towards `cut_after`; with the `last` ones the answer is finished.
        """
        allowance = None if free else self._allowance
        allowed = data if allowance is None else data[:allowance]
        self.request.sent += allowed
        self._writer.write(allowed)
        if last and len(allowed) == len(data):
            # Before anything is awaited: a client may leave as soon as it has the last byte.
            self.request.finished_at = time.monotonic()
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ConnectionEndedError from error
        if allowance is not None:
            self._allowance = allowance - len(allowed)
            if len(allowed) < len(data) or self._allowance == 0:
                await self._cut()
                raise ConnectionEndedError

    async def start(
        self, status: int = 200, headers: Headers = (), *, length: int | None = None
    ) -> None:
        """Send a response head: with Content-Length, or chunked without `length`."""
        self._chunked = length is None
        self._remaining = length
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", framing]
        lines.append(f"x-request-id: req_fake_{self.request.number}")
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines += [f"{name}: {value}" for name, value in pairs]
        head = "\r\n".join(lines) + "\r\n\r\n"
        await self.write(head.encode("latin-1"), free=True)

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, framed as a chunk where `start` said so."""
        head, tail = (b"%x\r\n" % len(data), b"\r\n") if self._chunked else (b"", b"")
        before = len(self.request.sent)
        if self._remaining is not None:
            self._remaining -= len(data)
        try:
            await self.write(head + data + tail, last=self._remaining == 0)
        finally:
            framed = bytes(self.request.sent[before:])
            self.request.sent_body += framed[len(head) : len(head) + len(data)]

    async def end(self) -> None:
        """End the body; the connection stays open for the next request."""
        if self._chunked:
            await self.write(b"0\r\n\r\n", last=True)

    async def hang(self) -> NoReturn:
        """Say nothing more until the client leaves, which ends the behaviour."""
        await self._left.wait()
        raise ConnectionEndedError

    async def finish(self) -> None:
        """Close the connection in order (FIN)."""
        self._ended = True
        self._writer.close()

    async def reset(self) -> None:
        """Break the connection off (RST)."""
        await asyncio.sleep(READING_SECONDS)
        if self._left.is_set():
            raise ConnectionEndedError
        self._ended = True
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def serve(self) -> None:
        """Answer requests until either side closes."""
        pump = asyncio.create_task(self._pump())
        try:
            while (request := await self._next_request()) is not None:
                if not await self._answer(request, pump):
                    break
        finally:
            self._writer.close()
            pump.cancel()
            await asyncio.wait({pump})

    def abort(self) -> None:
        """Drop the connection at once, with whatever is still to be sent."""
        self._ended = True
        self._writer.transport.abort()

    async def _answer(self, request: Received, pump: asyncio.Task[None]) -> bool:
        """Run the behaviour for a request; False when the connection is over."""
        behaviour = self.upstream.next_behaviour()
        self._allowance = None
        answering = asyncio.ensure_future(behaviour(request, self))
        try:
            await asyncio.wait({answering, pump}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # It is done, or the client has left, or the fake is being closed.
            answering.cancel()
            await asyncio.wait({answering})
        if answering.cancelled():
            return False
        error = answering.exception()
        if error is None:
            request.finished_at = request.finished_at or time.monotonic()
            return not self._ended
        if not isinstance(error, ConnectionEndedError):
            self.upstream.failures.append(error)
        return False

    async def _pump(self) -> None:
        """Read all the time, so that a client that leaves is noticed at once."""
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(2**16):
                self._buffer += data
                self._fresh.set()
        now = time.monotonic()
        for request in self.requests:
            if not self._ended:
                request.closed_at = now
                request.closing.set()
        self._left.set()
        self._fresh.set()

    async def _next_request(self) -> Received | None:
        """Read a request with its body; None when the client leaves first."""
        head = await self._read_until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.split(b"\r\n")
        words = first.split(b" ")
        if len(words) != 3:
            self.upstream.malformed.append(head)
            return None
        request = Received(
            number=len(self.upstream.requests),
            connection=self.number,
            method=words[0].decode("latin-1"),
            target=words[1].decode("latin-1"),
            headers=[_header(line) for line in lines],
            arrived_at=time.monotonic(),
        )
        self.requests.append(request)
        self.upstream.log(request)
        return request if await self._read_body(request) else None

    async def _read_body(self, request: Received) -> bool:
        """Fill in the body; False when the client leaves before its end."""
        if (request.header("expect") or "").lower() == "100-continue":
            await self.write(b"HTTP/1.1 100 Continue\r\n\r\n", free=True)
        if "chunked" in (request.header("transfer-encoding") or "").lower():
            request.body_complete = await self._read_chunks(request)
        else:
            body = await self._read_exactly(int(request.header("content-length") or 0))
            request.body_complete = body is not None
            request.body = body or b""
        if request.body_complete:
            self.upstream.note()
        return request.body_complete

    async def _read_chunks(self, request: Received) -> bool:
        while (size := await self._read_until(b"\r\n")) is not None:
            count = int(size.partition(b";")[0], 16)
            if count == 0:
                # Trailers, if any, end with an empty line.
                while line := await self._read_until(b"\r\n"):
                    request.headers.append(_header(line))
                return line is not None
            chunk = await self._read_exactly(count + 2)
            if chunk is None:
                return False
            request.body += chunk[:-2]
        return False

    async def _read_until(self, mark: bytes) -> bytes | None:
        while (at := self._buffer.find(mark)) < 0:
            if not await self._more():
                return None
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return found

    async def _read_exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            if not await self._more():
                return None
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    async def _more(self) -> bool:
        """Wait for more bytes; False when no more will come."""
        if self._left.is_set():
            return False
        self._fresh.clear()
        await self._fresh.wait()
        return True


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


# -------------------------------------------------------------------------------------- the fake


class FakeUpstream:
    """The server. Its log only grows: `requests`, `fired`, `malformed`, `connections`."""

    def __init__(self, default: Behaviour | None = None) -> None:
        self.default = default or realistic()
        self.requests: list[Received] = []
        # How often each fault has happened, by the names that the behaviours document.
        self.fired: Counter[str] = Counter()
        # Heads that were no HTTP request.
        self.malformed: list[bytes] = []
        # What test handlers raised; closing the fake raises the first.
        self.failures: list[BaseException] = []
        self.connections = 0
        self._accepted: list[Connection] = []
        self._open: set[asyncio.Task[None]] = set()
        self._scripted: deque[Behaviour] = deque()
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if self.failures and error is None:
            raise self.failures[0]

    async def stop(self) -> None:
        """Stop listening and close every connection: from now on the provider is down."""
        if self._server is not None:
            self._server.close()
        for connection in self._accepted:
            connection.abort()
        if self._open:
            for task in self._open:
                task.cancel()
            await asyncio.wait(self._open)
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as `base_url`."""
        return f"{self.origin}/v1"

    @property
    def open_connections(self) -> int:
        """How many connections are open now, idle ones included."""
        return len(self._open)

    @property
    def usages(self) -> list[Json]:
        """The last usage sent for each request that got one."""
        return [request.usage for request in self.requests if request.usage is not None]

    def script(self, *behaviours: Behaviour) -> None:
        """Queue behaviours for the next requests, one each."""
        self._scripted.extend(behaviours)

    def next_behaviour(self) -> Behaviour:
        """The next scripted behaviour, else the default one."""
        return self._scripted.popleft() if self._scripted else self.default

    def calls(self, path: str | None = None, *, key: str | None = None) -> list[Received]:
        """The requests to a path (`/v1/chat/completions`), with a key, or both."""
        return [
            request
            for request in self.requests
            if path in (None, request.path) and key in (None, request.key)
        ]

    async def wait_for(self, count: int, timeout: float = 20.0) -> list[Received]:
        """Wait until `count` requests have come, bodies included; raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while sum(request.body_complete for request in self.requests) < count:
                self._news.clear()
                await self._news.wait()
        return self.requests

    def log(self, request: Received) -> None:
        """Append to the log. Called by connections."""
        self.requests.append(request)

    def note(self) -> None:
        """Wake those who wait for requests. Called by connections."""
        self._news.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, self.connections, reader, writer)
        self.connections += 1
        self._accepted.append(connection)
        task = asyncio.create_task(connection.serve())
        self._open.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections.

    It is bound, so that nobody else takes it meanwhile, and does not listen.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# ------------------------------------------------------------------------------ behaviours: answers

_SSE: tuple[tuple[str, str], ...] = (("Content-Type", "text/event-stream; charset=utf-8"),)
_DEFAULT_USAGE = chat.usage()


def json_answer(
    status: int = 200, body: object = None, headers: Headers = (), *, key: str | None = None
) -> Behaviour:
    """A whole answer; bytes and text go as they are. Fires `status-<status>`, or `key`."""
    payload = _payload(body)
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    typed = any(name.lower() == "content-type" for name, _ in given)
    sent = given if typed else [("Content-Type", "application/json"), *given]

    async def answer(_request: Received, connection: Connection) -> None:
        connection.fire(key or f"status-{status}")
        await connection.start(status, sent, length=len(payload))
        await connection.send(payload)

    return answer


def _payload(body: object) -> bytes:
    if body is None:
        return b"{}"
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def chat_answer(
    text: str = "Hello.",
    *,
    usage: Json | None = _DEFAULT_USAGE,
    model: str = chat.MODEL,
    finish: str = "stop",
    delay: float = 0,
) -> Behaviour:
    """A chat completion in the form that was asked for. A stream has usage only if asked for it.

    `delay` is in seconds, before each event of a stream. Fires `chat`.
    """

    async def answer(request: Received, connection: Connection) -> None:
        connection.fire("chat")
        if not request.streamed:
            body = chat.chat_body(text, usage=usage, model=model, finish=finish)
            await json_answer(200, body)(request, connection)
            return
        shown = usage if _wants_usage(request.json) else None
        frames = chat.chat_frames(text, usage=shown, model=model, finish=finish)
        await sse(frames, delay)(request, connection)

    return answer


def _wants_usage(body: Json) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def sse(
    frames: Iterable[bytes], delay: float = 0, done: bool = True, *, headers: Headers = ()
) -> Behaviour:
    """A stream of frames, `delay` seconds before each, then `[DONE]`. Fires `sse`."""
    every = [*frames, chat.DONE] if done else list(frames)

    async def stream(_request: Received, connection: Connection) -> None:
        connection.fire("sse")
        await connection.start(200, _with_sse(headers))
        await _send_frames(connection, every, delay)
        await connection.end()

    return stream


def _with_sse(headers: Headers) -> list[tuple[str, str]]:
    return [*_SSE, *(headers.items() if isinstance(headers, Mapping) else headers)]


async def _send_frames(connection: Connection, frames: Iterable[bytes], delay: float) -> None:
    for event in frames:
        await asyncio.sleep(delay)
        await connection.send(event)


def realistic(usage: Json | None = None) -> Behaviour:
    """What a healthy provider answers: the echo of the last thing said, in the form asked for.

    Chat, completions, responses, embeddings and models; 404 for anything else. Fires `realistic`.
    """
    used = usage or _DEFAULT_USAGE

    async def answer(request: Received, connection: Connection) -> None:
        connection.fire("realistic")
        body = request.json if request.body else {}
        await _realistic(request.path, body, used)(request, connection)

    return answer


def _realistic(path: str, body: Json, used: Json) -> Behaviour:
    text, model, streamed = (
        chat.last_user_text(body),
        str(body.get("model")),
        bool(body.get("stream")),
    )
    shown = used if not streamed or _wants_usage(body) else None
    match path.removeprefix("/v1"), streamed:
        case "/chat/completions", False:
            return json_answer(200, chat.chat_body(text, usage=shown, model=model))
        case "/chat/completions", True:
            return sse(chat.chat_frames(text, usage=shown, model=model))
        case "/completions", False:
            return json_answer(200, chat.completion_body(text, usage=shown, model=model))
        case "/completions", True:
            return sse(chat.completion_frames(text, usage=shown, model=model))
        case "/responses", False:
            return json_answer(200, chat.response_body(text, usage=_renamed(used), model=model))
        case "/responses", True:
            return sse(chat.response_frames(text, usage=_renamed(used), model=model), done=False)
        case "/embeddings", _:
            encoded = body.get("encoding_format") == "base64"
            return json_answer(200, chat.embedding_body(model=model, encoded=encoded))
        case "/models", _:
            return json_answer(200, chat.models_body())
        case _:
            return json_answer(404, chat.error_body(f"Invalid URL ({path})"))


def _renamed(used: Json) -> Json:
    return chat.response_usage(used["prompt_tokens"], used["completion_tokens"])


# ------------------------------------------------------------------------------- behaviours: faults


def hang_before_headers() -> Behaviour:
    """Take the request and never say a word. Fires `hang`."""

    async def hang(_request: Received, connection: Connection) -> None:
        connection.fire("hang")
        await connection.hang()

    return hang


def headers_then_silence(headers: Headers = ()) -> Behaviour:
    """The head of a stream, and nothing after it. Fires `silence`."""
    return stream_then_silence((), headers=headers)


def stream_then_silence(frames: Iterable[bytes], *, headers: Headers = ()) -> Behaviour:
    """A stream that stops after `frames` without ending. Fires `silence`, when it falls silent."""
    every = list(frames)

    async def stall(_request: Received, connection: Connection) -> None:
        await connection.start(200, _with_sse(headers))
        await _send_frames(connection, every, 0)
        connection.fire("silence")
        await connection.hang()

    return stall


def cut_after(count: int, then: Behaviour | None = None) -> Behaviour:
    """Answer as `then`, and close in order (FIN) `count` bytes after the head. Fires `cut`.

    Bytes are counted as on the wire, chunk framing included; 0 cuts right after the head.
    """
    return _broken(count, then or realistic(), "cut", Connection.finish)


def reset_after(count: int, then: Behaviour | None = None) -> Behaviour:
    """As `cut_after`, with a reset (RST). Fires `reset`."""
    return _broken(count, then or realistic(), "reset", Connection.reset)


def _broken(
    count: int, then: Behaviour, name: str, break_off: Callable[[Connection], Awaitable[None]]
) -> Behaviour:
    async def answer(request: Received, connection: Connection) -> None:
        async def cut() -> None:
            connection.fire(name)
            await break_off(connection)

        connection.cut_after(count, cut)
        await then(request, connection)

    return answer


def raw(pieces: Iterable[bytes], *, delay: float = 0, close: bool = True) -> Behaviour:
    """Any bytes, head and all, `delay` seconds before each piece. Fires `raw`.

    With `close` the connection is closed afterwards, else it stays open without another word.
    """
    every = list(pieces)

    async def send(request: Received, connection: Connection) -> None:
        connection.fire("raw")
        for number, piece in enumerate(every, start=1):
            await asyncio.sleep(delay)
            await connection.write(piece, last=close and number == len(every))
        request.sent_body += b"".join(every).partition(b"\r\n\r\n")[2]
        if not close:
            await connection.hang()
        await connection.finish()

    return send


def header_bomb(count: int = 10_000) -> Behaviour:
    """A 200 with that many headers. Fires `raw`."""
    lines = b"".join(b"X-Bomb-%d: %d\r\n" % (number, number) for number in range(count))
    return raw([b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\n{}"])


def length_and_chunked(body: bytes = b"{}") -> Behaviour:
    """A 200 with both Content-Length and Transfer-Encoding, which RFC 9112 forbids. Fires `raw`."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return raw([head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk])


def wrong_length(body: bytes, announced: int, *, close: bool = True) -> Behaviour:
    """A 200 whose Content-Length is not its body's length. Fires `raw`."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return raw([head % announced + body], close=close)


def endless_line(piece_bytes: int = 2**16) -> Behaviour:
    """A stream with one event that never ends, as fast as the client reads. Fires `endless`."""

    async def flood(request: Received, connection: Connection) -> None:
        connection.fire("endless")
        await connection.start(200, _SSE)
        await connection.send(b"data: ")
        piece = b"x" * piece_bytes
        sent = 0
        while sent < MOST_ENDLESS_BYTES:
            await connection.send(piece)
            sent += len(piece)
            # The log of a flood would itself fill the memory.
            request.sent.clear()
            request.sent_body.clear()
        await connection.finish()

    return flood


@lru_cache(maxsize=4)
def _bomb(megabytes: int, layers: int) -> bytes:
    packed = bytes(megabytes * 2**20)
    for _ in range(layers):
        packed = gzip.compress(packed, compresslevel=1, mtime=0)
    return packed


def gzip_bomb(megabytes: int = 64, *, layers: int = 1) -> Behaviour:
    """A small gzip body that becomes that many MiB of zeros, asked for or not. Fires `bomb`."""
    encoding = ", ".join(["gzip"] * layers)

    async def send(request: Received, connection: Connection) -> None:
        headers = {"Content-Encoding": encoding}
        body = _bomb(megabytes, layers)
        await json_answer(200, body, headers, key="bomb")(request, connection)

    return send


def redirect(url: str, status: int = 302) -> Behaviour:
    """A redirect to another place. Fires `redirect`."""
    return json_answer(status, b"", {"Location": url}, key="redirect")


# --------------------------------------------------------------------------- behaviours: combining


def delay(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """Wait, then answer as `then`. Fires `delay`."""
    following = then or realistic()

    async def wait(request: Received, connection: Connection) -> None:
        connection.fire("delay")
        await asyncio.sleep(seconds)
        await following(request, connection)

    return wait


def held(gate: asyncio.Event, then: Behaviour | None = None) -> Behaviour:
    """Wait until the test opens the gate, then answer as `then`. Fires `held`."""
    following = then or realistic()

    async def wait(request: Received, connection: Connection) -> None:
        connection.fire("held")
        await gate.wait()
        await following(request, connection)

    return wait


def sequence(*behaviours: Behaviour) -> Behaviour:
    """One behaviour after the other, one a request; the last one stays."""
    remaining = deque(behaviours)

    async def answer(request: Received, connection: Connection) -> None:
        current = remaining.popleft() if len(remaining) > 1 else remaining[0]
        await current(request, connection)

    return answer


def by_key(choices: Mapping[str, Behaviour], otherwise: Behaviour | None = None) -> Behaviour:
    """A behaviour for each bearer."""
    return _choose(choices, otherwise, lambda request: request.key or "")


def by_path(choices: Mapping[str, Behaviour], otherwise: Behaviour | None = None) -> Behaviour:
    """A behaviour for each path, such as `/v1/embeddings`."""
    return _choose(choices, otherwise, lambda request: request.path)


def by_model(choices: Mapping[str, Behaviour], otherwise: Behaviour | None = None) -> Behaviour:
    """A behaviour for each `model` of a JSON body."""
    return _choose(choices, otherwise, lambda request: str(request.json.get("model")))


def _choose(
    choices: Mapping[str, Behaviour],
    otherwise: Behaviour | None,
    name: Callable[[Received], str],
) -> Behaviour:
    default = otherwise or realistic()

    async def answer(request: Received, connection: Connection) -> None:
        await choices.get(name(request), default)(request, connection)

    return answer
