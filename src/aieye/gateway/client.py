"""The only module that knows the HTTP library: one pool for all providers, for the whole process.

Bytes come as the provider sent them (nothing is decompressed by the library, redirects are not
followed, no proxy or cookie of the environment is used). Faults of the connection become the
exceptions below; each says whether the provider can have begun to work.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from aieye.access.addresses import ForbiddenAddress, check_address
from aieye.errors import AieyeError
from aieye.gateway.wire import Header

# A header line or the whole head of an answer beyond this is not HTTP that anybody needs.
_LONGEST_HEADER_LINE = 16 * 1024
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
# What a compressed answer may unpack to, as a multiple of what was received, once it is large.
_MOST_EXPANSION = 50
_ALWAYS_ALLOWED = 1024 * 1024


class UpstreamError(AieyeError):
    """The provider could not be reached or broke off."""

    status = 502
    type = "upstream_error"
    code = "upstream_error"


class Unreachable(UpstreamError):
    """No connection: refused, no such name, TLS failure, or no answer to the connection attempt."""

    code = "upstream_unreachable"


class BrokenOff(UpstreamError):
    """The connection ended, or spoke no proper HTTP, before the answer was complete."""

    code = "upstream_broken"


class UpstreamTimeout(UpstreamError):
    """The provider was silent for too long."""

    status = 504
    code = "upstream_timeout"


class _CheckedResolver(AbstractResolver):
    """Resolves names and refuses what they must not stand for, at the moment of connecting."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._seconds):
            found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        for *_, address in found:
            check_address(ipaddress.ip_address(str(address[0]).partition("%")[0]))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        return None


# The present attempt as the ledger has it; `sent` says there was a connection to send it on.
ATTEMPT: ContextVar[dict[str, Any] | None] = ContextVar("attempt", default=None)


class _NotingConnector(aiohttp.TCPConnector):
    """Notes for the attempt whether it got as far as a connection."""

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        attempt = ATTEMPT.get()
        if attempt is not None:
            attempt["sent"] = True
        return connection


class Deadline:
    """Cancels the task it was made in when the present phase of a call takes too long.

    `extend` moves the moment; it is only a number, read by a single timer, so that it costs nothing
    per event of a stream. Use as a context manager: the cancellation comes out as UpstreamTimeout.
    """

    __slots__ = ("_armed_at", "_at", "_expired", "_handle", "_loop", "_phase", "_task", "_total_at")

    def __init__(self, seconds: float, phase: str, total_seconds: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        start = self._loop.time()
        self._total_at = float("inf") if total_seconds is None else start + total_seconds
        self._at = min(start + seconds, self._total_at)
        self._phase = phase
        self._armed_at = self._at
        self._expired = False
        self._task: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def extend(self, seconds: float, phase: str) -> None:
        """From now on, `seconds` of silence are allowed in `phase`."""
        self._at = self._loop.time() + seconds
        self._phase = phase
        if self._at < self._armed_at:
            self._arm()

    def __enter__(self) -> Deadline:
        self._task = asyncio.current_task()
        self._arm()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._expired and self._task is not None:
            if self._task.uncancel() > 0:
                return
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                raise UpstreamTimeout(f"The provider did not answer in time ({self._phase}).")

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_at = min(self._at, self._total_at)
        self._handle = self._loop.call_at(self._armed_at, self._look)

    def _look(self) -> None:
        due = min(self._at, self._total_at)
        # Timers may fire a little early: what is left is less than a clock tick then.
        if self._loop.time() + 0.002 < due:
            self._arm()
            return
        if self._at > self._total_at:
            self._phase = "total time"
        self._expired = True
        if self._task is not None:
            self._task.cancel()


class UpstreamResponse:
    """An answer whose head has come. Read it whole or in chunks, then `release` or `close` it."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: tuple[Header, ...] = response.raw_headers

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    async def read(self, most_bytes: int, progress: Callable[[], None]) -> bytes:
        """The whole body, decoded if it came encoded; `progress` is called as bytes come.

        Raises `BrokenOff`, also for a body over `most_bytes`.
        """
        content = self._response.content
        if self._encoding() is None and content.is_eof() and content.exception() is None:
            # A small answer is here with its head.
            whole: bytes = content.read_nowait()
            if len(whole) <= most_bytes:
                return whole
        first = b""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > most_bytes:
                self.close()
                raise BrokenOff(f"The provider's answer is larger than {most_bytes} bytes.")
            if not first:
                first = chunk
                continue
            progress()
            parts.append(chunk)
        return first if not parts else b"".join((first, *parts))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `BrokenOff` when it ends before it is complete."""
        decoder = self._decoder()
        content = self._response.content
        try:
            while True:
                chunk = await content.readany()
                if not chunk:
                    break
                yield chunk if decoder is None else decoder.decode(chunk)
        except aiohttp.ClientError as error:
            raise _translate(error) from error
        except zlib.error as error:
            raise BrokenOff("The provider's answer is compressed and damaged.") from error
        if decoder is not None and not decoder.is_complete:
            raise BrokenOff("The provider's compressed answer ended before it was complete.")

    def release(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()

    def close(self) -> None:
        """Close the connection: the provider sees that nobody waits any more."""
        self._response.close()

    def _encoding(self) -> str | None:
        encoding = self._response.headers.get("Content-Encoding", "").strip().lower()
        return None if encoding in {"", "identity"} else encoding

    def _decoder(self) -> _Decoder | None:
        """We ask for `identity`; for what comes encoded all the same, a bounded decoder."""
        encoding = self._encoding()
        if encoding is None:
            return None
        if encoding not in _ENCODINGS:
            self.close()
            raise BrokenOff("The provider's answer is encoded in a way that was not asked for.")
        return _Decoder()


class _Decoder:
    """gzip and deflate, up to a reasonable size for what was received."""

    def __init__(self) -> None:
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._received = self._produced = 0

    @property
    def is_complete(self) -> bool:
        return self._machine.eof

    def decode(self, chunk: bytes) -> bytes:
        """What `chunk` unpacks to. Raises `BrokenOff`, `zlib.error`."""
        self._received += len(chunk)
        allowed = max(_ALWAYS_ALLOWED, self._received * _MOST_EXPANSION) - self._produced
        output = self._machine.decompress(chunk, max(1, allowed))
        self._produced += len(output)
        if self._machine.unconsumed_tail:
            raise BrokenOff("The provider's answer unpacks to an unreasonable size.")
        return output


class UpstreamClient:
    """The pool of connections to all providers; lives as long as the process."""

    def __init__(self, *, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._urls: dict[tuple[str, str], URL] = {}
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Open the pool, in the event loop that it belongs to."""
        connector = _NotingConnector(
            limit=0,
            resolver=_CheckedResolver(self._connect_timeout),
            ttl_dns_cache=30,
            keepalive_timeout=30,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            max_line_size=_LONGEST_HEADER_LINE,
            max_field_size=_LONGEST_HEADER_LINE,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def open(
        self,
        method: str,
        base_url: str,
        path: str,
        headers: dict[str, str],
        body: bytes | AsyncIterator[bytes] | None,
        query: str = "",
    ) -> UpstreamResponse:
        """Send a request and wait for the head of the answer.

        Raises `Unreachable`, `BrokenOff`. Cancelling closes the connection.
        """
        if self._session is None:
            raise Unreachable("The gateway is not started.")
        try:
            response = await self._session.request(
                method, self._url(base_url, path, query), headers=headers, data=body,
                allow_redirects=False,
            )  # fmt: skip
        except (aiohttp.ClientError, OSError, ssl.SSLError, ForbiddenAddress) as error:
            raise _translate(error) from error
        return UpstreamResponse(response)

    def _url(self, base_url: str, path: str, query: str) -> URL:
        if query:
            return URL(f"{base_url}{path}?{query}", encoded=True)
        known = self._urls.get((base_url, path))
        if known is None:
            known = URL(base_url + path, encoded=True)
            # Paths with ids in them are many; those of the hot path are eight.
            if len(self._urls) < 512:
                self._urls[base_url, path] = known
        return known


def _translate(error: Exception) -> UpstreamError:
    """The library's exceptions as ours. Their texts may hold addresses, never secrets."""
    if isinstance(error, ForbiddenAddress):
        return Unreachable("The provider's name stands for an address that is never called.")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Unreachable("The provider did not accept a connection in time.")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorDNSError):
        return Unreachable("The provider cannot be reached.")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return UpstreamTimeout("The provider was silent for too long.")
    return BrokenOff("The connection to the provider broke off.")
