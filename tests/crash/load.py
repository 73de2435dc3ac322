"""Clients that go on calling until they are told to stop, and remember what they saw finished."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.installation import Made, call_id

DONE = b"data: [DONE]\n\n"
CLIENTS = 12
KINDS = 6
_number = count(1)


@dataclass
class Seen:
    """The ledger's ids of calls whose answers a client saw finished, by kind of call."""

    finished: dict[str, str] = field(default_factory=dict)
    broken: int = 0

    @property
    def kinds(self) -> Counter[str]:
        return Counter(self.finished.values())


class Load:
    """Twelve clients in a thread of their own; a context manager that starts and stops them."""

    def __init__(self, base_url: str, token: Made, *, clients: int = CLIENTS) -> None:
        self.seen = Seen()
        self._base_url = base_url
        self._token = token
        self._clients = clients
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the clients hang"

    def wait_for_each_kind(self, seconds: float = 90) -> None:
        """Until one call of each kind was seen finished; fails when that does not come."""
        deadline = time.monotonic() + seconds
        while len(self.seen.kinds) < KINDS:
            assert time.monotonic() < deadline, f"only {self.seen.kinds} were finished"
            time.sleep(0.02)

    def wait_for(self, calls: int, seconds: float = 90) -> None:
        """Until so many calls were seen finished; fails when they do not come."""
        deadline = time.monotonic() + seconds
        while len(self.seen.finished) < calls:
            assert time.monotonic() < deadline, f"only {len(self.seen.finished)} were finished"
            time.sleep(0.02)

    def _run(self) -> None:
        asyncio.run(self._call_all())

    async def _call_all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=15)
        async with aiohttp.ClientSession(
            self._base_url, headers=self._token.headers, timeout=timeout
        ) as session:
            await asyncio.gather(*(self._client(session, n) for n in range(self._clients)))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        kinds: list[tuple[str, Callable[[aiohttp.ClientSession], Awaitable[str]]]] = [
            ("plain", lambda one: _plain(one, fresh())),
            ("hit", lambda one: _plain(one, "the same as always")),
            ("stream", lambda one: _streamed(one, fresh())),
            ("stream hit", lambda one: _streamed(one, "the same as always, streamed")),
            ("embedding", lambda one: _embedded(one, fresh())),
            ("models", _listed),
        ]
        for turn in count(number):
            if self._stop.is_set():
                return
            kind, call = kinds[turn % len(kinds)]
            try:
                self.seen.finished[await call(session)] = kind
            except (aiohttp.ClientError, TimeoutError, OSError, _Unfinished):
                self.seen.broken += 1
                await asyncio.sleep(0.02)


class _Unfinished(Exception):
    """An answer that is no success, or no whole one."""


def fresh() -> str:
    """Something that was never asked before."""
    return f"question {next(_number)}"


def chat(question: str, **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": question}],
        **more,
    }


async def _plain(session: aiohttp.ClientSession, question: str) -> str:
    return await _whole(session, "/v1/chat/completions", chat(question))


async def _embedded(session: aiohttp.ClientSession, question: str) -> str:
    body = {"model": "text-embedding-3-small", "input": question, "dimensions": 8}
    return await _whole(session, "/v1/embeddings", body)


async def _whole(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> str:
    async with session.post(path, json=body) as response:
        await response.read()
        if response.status != 200:
            raise _Unfinished
        return call_id(response.headers)


async def _listed(session: aiohttp.ClientSession) -> str:
    async with session.get("/v1/models") as response:
        await response.read()
        if response.status != 200:
            raise _Unfinished
        return call_id(response.headers)


async def _streamed(session: aiohttp.ClientSession, question: str) -> str:
    async with session.post("/v1/chat/completions", json=chat(question, stream=True)) as response:
        received = b""
        async for piece in response.content.iter_any():
            received += piece
            if DONE in received:
                # Whoever reads events is done here, whatever becomes of the connection.
                return call_id(response.headers)
        raise _Unfinished
