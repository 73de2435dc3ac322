"""The real service on a real socket, in the test's own event loop, and what the tests ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import openai
import orjson
import pytest
import uvicorn
from pydantic import SecretStr
from sqlalchemy import func, select

from aieye.access.audit import SYSTEM, Actor
from aieye.access.providers import add_key, create_provider
from aieye.access.routes import Target, create_route
from aieye.access.setup import FirstStart
from aieye.access.snapshot import Grant, ProviderInfo
from aieye.access.tokens import create_token, update_token
from aieye.access.users import create_user, default_owner
from aieye.api.half_open import Connection
from aieye.app import create_app
from aieye.db.group_writer import NotRecorded
from aieye.db.tables import Base, CacheEntry, Call
from aieye.gateway.admission import OverBudget
from aieye.gateway.wire import Endpoint
from aieye.ledger.book import DONE, CallRecord
from aieye.presets.models import Preset, PresetType
from aieye.presets.service import create_preset
from aieye.settings import Settings
from aieye.state import State
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, Received
from tests.servers import DATABASE_KINDS

Json: TypeAlias = dict[str, Any]
Headers: TypeAlias = Mapping[str, str]

CHAT = "/v1/chat/completions"
MODEL = chat.MODEL
DONE_FRAME = chat.DONE
PROVIDER_KEY = "sk-canary-provider-4f1a9c77d2"
SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyz"
# How long a test waits for what should be there at once.
PATIENCE_SECONDS = 20.0

both_forms = pytest.mark.parametrize("form", ["plain", "streamed"])
both_databases = pytest.mark.parametrize("database_kind", DATABASE_KINDS, indirect=True)


def question(text: str = "What is it?", **fields: Any) -> Json:
    """A chat request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


def streamed(text: str = "What is it?", **fields: Any) -> Json:
    """A chat request for a stream."""
    return question(text, stream=True, **fields)


def asked(text: str, form: str, **fields: Any) -> Json:
    """A chat request in the form `plain` or `streamed`."""
    return question(text, **fields, **({"stream": True} if form == "streamed" else {}))


def text_of(answer: httpx.Response) -> str:
    """What the model said, in whichever form the answer came."""
    if answer.headers["content-type"].startswith("application/json"):
        return str(answer.json()["choices"][0]["message"]["content"])
    return "".join(
        choice["delta"].get("content") or ""
        for data in payloads(answer.content)
        for choice in data.get("choices", ())
    )


def payloads(stream: bytes) -> list[Json]:
    """The JSON payloads of a stream's events, `[DONE]` left out."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found = []
    for event in text.split(b"\n\n"):
        lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(line.removeprefix(b" ") for line in lines)
        if data.startswith(b"{"):
            found.append(orjson.loads(data))
    return found


def error_code(answer: httpx.Response) -> str | None:
    """The `code` of OpenAI's error object."""
    code: str | None = answer.json()["error"]["code"]
    return code


def _tcp_socket() -> socket.socket:
    """Asyncio switches Nagle's algorithm off for those sockets alone that name their protocol."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)


class Budget:
    """Lets in so many calls, and no more."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def admit(self, grant: Grant, endpoint: Endpoint) -> None:
        if self.left == 0:
            raise OverBudget("The budget of this token is spent.")
        self.left -= 1

    def settle(self, grant: Grant, record: CallRecord) -> None:
        return None


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers and its pauses: the process belongs to pytest."""

    async def begin(self, listening: socket.socket) -> None:
        if not self.config.loaded:
            self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listening])
        if self.should_exit:
            raise AssertionError("the service did not start")

    async def end(self) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            await eventually(lambda: not self.server_state.tasks, 2)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


class Gateway:
    """A running service with a token to call it with; its provider is a `FakeUpstream`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.token = ""
        self.client: httpx.AsyncClient
        self._server: _Server | None = None
        self._app: Any = None
        self.port = 0

    @property
    def state(self) -> State:
        """What the running service holds."""
        state: State = self._app.fastapi.state.aieye
        return state

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start serving, on the same port as before if there was one."""
        listening = _tcp_socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(1024)
        self.port = listening.getsockname()[1]
        self._app = create_app(self.settings, announce=self._announced)
        self._server = _Server(
            uvicorn.Config(
                self._app, http=Connection, log_config=None, access_log=False, lifespan="on"
            )
        )
        await self._server.begin(listening)
        self.client = self.make_client(self.token)

    async def stop(self) -> None:
        """Stop as SIGTERM does."""
        await self.client.aclose()
        if self._server is not None:
            await self._server.end()
        self._server = None

    async def restart(self) -> None:
        """Stop, and start again on the same data."""
        await self.stop()
        await self.start()

    def _announced(self, first: FirstStart, _default: ProviderInfo | None) -> None:
        self.token = first.token_secret or self.token

    # -- clients ----------------------------------------------------------------------------

    def make_client(self, token: str) -> httpx.AsyncClient:
        """A client that sends this token. Close it."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )

    def sdk(self, token: str | None = None) -> openai.AsyncOpenAI:
        """OpenAI's SDK, its own retries off."""
        return openai.AsyncOpenAI(
            api_key=token or self.token, base_url=f"{self.url}/v1", max_retries=0
        )

    async def ask(
        self,
        body: Json | bytes,
        *,
        path: str = CHAT,
        token: str | None = None,
        headers: Headers | None = None,
    ) -> httpx.Response:
        """POST a JSON body and read the whole answer."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"content-type": "application/json", **(headers or {})}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return await self.client.post(path, content=content, headers=sent)

    async def get(self, path: str, *, token: str | None = None) -> httpx.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return await self.client.get(path, headers=headers)

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncIterator[RawClient]:
        """A client that sends any bytes and leaves whenever it likes."""
        sock = _tcp_socket()
        # What the kernel holds for a client that does not read is bounded, and known.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        client = RawClient(*await asyncio.open_connection(sock=sock, limit=2**16))
        try:
            yield client
        finally:
            client.abort()

    def request(self, body: Json, *, path: str = CHAT, headers: Headers | None = None) -> bytes:
        """A whole HTTP request as bytes."""
        return self.head(path, len(orjson.dumps(body)), headers=headers) + orjson.dumps(body)

    def head(self, path: str, length: int | None, *, headers: Headers | None = None) -> bytes:
        """The head of a POST; chunked without `length`."""
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines = [
            f"POST {path} HTTP/1.1", "host: gateway", f"authorization: Bearer {self.token}",
            "content-type: application/json", framing,
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]  # fmt: skip
        return "\r\n".join((*lines, "", "")).encode()

    # -- what an administrator does -----------------------------------------------------------

    async def add_user(self, email: str, *, role: str = "user") -> int:
        async with self.state.database.write() as session:
            user = await create_user(
                session, email=email, role=role, password_hash=None, actor=SYSTEM
            )
        await self.state.directory.refresh()
        return user.id

    async def add_token(self, *, user_id: int | None = None, **fields: Any) -> str:
        """A new token's secret; the built-in owner's without `user_id`."""
        async with self.state.database.write() as session:
            owner = user_id or (await default_owner(session)).id
            _, secret = await create_token(
                session, self.state.directory.digest, user_id=owner, name="a token",
                actor=SYSTEM, **{"scope": "proxy", **fields},
            )  # fmt: skip
        await self.state.directory.refresh()
        return secret

    async def disable(self, token: str) -> None:
        """Disable a token, as the administrators' API does."""
        grant = self.state.directory.find_grant(token)
        assert grant is not None
        assert grant.token_id is not None
        async with self.state.database.write() as session:
            await update_token(session, grant.token_id, {"disabled": True}, actor=SYSTEM)
        await self.state.directory.refresh()

    async def add_provider(self, name: str, upstream: FakeUpstream | str, *keys: str) -> list[int]:
        """Add a provider with keys; their ids."""
        base_url = upstream if isinstance(upstream, str) else upstream.base_url
        async with self.state.database.write() as session:
            provider = await create_provider(session, name=name, base_url=base_url, actor=SYSTEM)
        return [await self.add_key(provider.id, key) for key in keys]

    async def add_key(self, provider_id: int, secret: str) -> int:
        async with self.state.database.write() as session:
            key = await add_key(
                session, self.state.cipher, provider_id=provider_id, name="a key", secret=secret,
                actor=SYSTEM,
            )  # fmt: skip
        await self.state.directory.refresh()
        return key.id

    async def add_route(self, alias: str, *targets: Target, strategy: str = "ordered") -> None:
        async with self.state.database.write() as session:
            await create_route(
                session, alias=alias, strategy=strategy, targets=targets, actor=SYSTEM
            )
        await self.state.directory.refresh()

    async def add_preset(
        self,
        name: str,
        type_: PresetType,
        config: Json,
        *,
        user_id: int | None = None,
        **fields: Any,
    ) -> Preset:
        """A preset; the built-in owner's without `user_id`."""
        actor = SYSTEM if user_id is None else Actor(user_id, "somebody", "user")
        async with self.state.database.write() as session:
            preset = await create_preset(
                session, name=name, type_=type_, config=config, actor=actor, **fields
            )
        await self.state.directory.refresh()
        return preset

    # -- what is stored -----------------------------------------------------------------------

    async def rows(self, count: int | None = None) -> list[Call]:
        """The ledger's rows in order; waits until `count` of them are final."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await self.state.writer.durable()
                except NotRecorded:
                    # Just after a fault the writer may be behind: then the rows say what is final.
                    if count is None:
                        raise
                async with self.state.database.read() as session:
                    rows = list(await session.scalars(select(Call).order_by(Call.id)))
                if count is None or sum(row.state == DONE for row in rows) >= count:
                    return rows
                await asyncio.sleep(0.01)

    async def row(self) -> Call:
        """The only row."""
        rows = await self.rows(1)
        assert len(rows) == 1, [(row.id, row.status, row.error) for row in rows]
        return rows[0]

    async def entries(self) -> int:
        """How many answers are stored."""
        await self.state.writer.durable()
        async with self.state.database.read() as session:
            return await session.scalar(select(func.count()).select_from(CacheEntry)) or 0

    async def stored(self) -> bytes:
        """All that the database holds, as text."""
        await self.state.writer.durable()
        parts = []
        async with self.state.database.read() as session:
            for table in Base.metadata.sorted_tables:
                parts += [repr(tuple(row)) for row in await session.execute(select(table))]
        return "\n".join(parts).encode()


StartGateway: TypeAlias = Callable[..., Awaitable[Gateway]]


def settings_for(
    directory: Path, database_url: str, upstream: FakeUpstream, **changes: Any
) -> Settings:
    """Settings whose provider is `upstream`; nothing of the outer environment counts."""
    given: Json = {
        "data_dir": directory,
        "database_url": database_url,
        "secret_key": SecretStr(SECRET_KEY),
        "OPENAI_API_KEY": PROVIDER_KEY,
        "OPENAI_BASE_URL": upstream.base_url,
        **changes,
    }
    return Settings(_env_file=None, **given)  # type: ignore[call-arg] # pydantic-settings' own argument


class RawClient:
    """A connection to the gateway whose bytes the test writes itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._buffer = bytearray()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            start = 0
            while (at := self._buffer.find(mark, start)) < 0:
                start = max(0, len(self._buffer) - len(mark))
                data = await self.reader.read(2**16)
                if not data:
                    raise EOFError(bytes(self._buffer[-200:]))
                self._buffer += data
        found = bytes(self._buffer[: at + len(mark)])
        del self._buffer[: at + len(mark)]
        return found

    async def read_head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the answer."""
        head = (await self.read_until(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        return int(first.split(" ")[1]), headers

    def abort(self) -> None:
        """Leave with a reset, whatever is still to be read."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def leave(self) -> None:
        """Close in order."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Rss:
    """How much the process grew while the context was open, in bytes, at its largest."""

    def __init__(self) -> None:
        self.growth = 0

    async def __aenter__(self) -> Rss:
        self._start = _rss()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            self.growth = max(self.growth, _rss() - self._start)
            await asyncio.sleep(0.002)


def _rss() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class LoopClock:
    """Seconds as the test's own loop lives them: what a busy machine takes from it does not count."""

    _TICK_SECONDS = 0.01

    def __init__(self) -> None:
        self._ticks = 0

    @property
    def seconds(self) -> float:
        return self._ticks * self._TICK_SECONDS

    async def __aenter__(self) -> LoopClock:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._TICK_SECONDS)
            self._ticks += 1


async def hears_within_a_second(request: Received) -> None:
    """The provider hears, within a second from now, that nobody waits for this any longer."""
    async with LoopClock() as clock:
        await request.wait_closed()
    assert clock.seconds < 1


async def eventually(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until it holds; TimeoutError when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def gather(calls: Sequence[Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """All at once."""
    return list(await asyncio.gather(*calls))
