"""The clients of a soak: patient, leaving, not reading, wrong, sending twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.installation import Made, call_id

CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
PAUSE_SECONDS = 0.05


class Traffic:
    """Calls until it is told to stop. `finished` are the ledger's ids of answers seen whole."""

    def __init__(self, base_url: str, token: Made, chance: random.Random, *, clients: int) -> None:
        self.finished: set[str] = set()
        self.kinds: Counter[str] = Counter()
        self._base_url = base_url
        self._token = token
        self._chance = chance
        self._clients = clients
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(
            self._base_url, headers=self._token.headers, timeout=timeout
        ) as session:
            await asyncio.gather(*(self._client(session) for _ in range(self._clients)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        kinds: dict[Callable[[aiohttp.ClientSession], Awaitable[None]], int] = {
            self._ask: 6,
            self._stream: 6,
            self._leave: 2,
            self._do_not_read: 1,
            self._send_twice: 1,
            self._upload: 1,
            self._list: 1,
            self._be_wrong: 1,
        }
        while not self._stop.is_set():
            (call,) = self._chance.choices(list(kinds), list(kinds.values()))
            try:
                await call(session)
            except (aiohttp.ClientError, TimeoutError) as error:
                # A provider that breaks off makes such, too.
                self.kinds[type(error).__name__] += 1
            else:
                self.kinds[call.__name__.strip("_")] += 1
            await asyncio.sleep(self._chance.random() * 2 * PAUSE_SECONDS)

    def _body(self, **more: Any) -> dict[str, Any]:
        body = {
            "model": "gpt-4o-mini",
            "messages": [
                {"role": "user", "content": f"number {self._chance.randrange(10_000)} of many"}
            ],
            **more,
        }
        if self._chance.random() < 0.5:
            body["messages"][0]["content"] = f"number {self._chance.randrange(20)} of twenty"
        if self._chance.random() < 0.25:
            body["cache"] = {"mode": self._chance.choice(["off", "refresh"])}
        return body

    async def _ask(self, session: aiohttp.ClientSession, **headers: str) -> None:
        async with session.post(CHAT, json=self._body(), headers=headers) as answer:
            await answer.read()
            if answer.status == 200:
                self.finished.add(call_id(answer.headers))

    async def _stream(self, session: aiohttp.ClientSession) -> None:
        async with session.post(CHAT, json=self._body(stream=True)) as answer:
            received = await answer.read()
            if answer.status == 200 and received.endswith(DONE):
                self.finished.add(call_id(answer.headers))

    async def _leave(self, session: aiohttp.ClientSession) -> None:
        is_stream = self._chance.random() < 0.5
        asking = asyncio.create_task(self._stream(session) if is_stream else self._ask(session))
        await asyncio.sleep(self._chance.random() * 0.08)
        asking.cancel()
        await asyncio.wait({asking})
        if not asking.cancelled():
            asking.exception()

    async def _do_not_read(self, session: aiohttp.ClientSession) -> None:
        async with session.post(CHAT, json=self._body(stream=True)):
            await asyncio.sleep(1)

    async def _send_twice(self, session: aiohttp.ClientSession) -> None:
        key = {"Idempotency-Key": f"soak-{self._chance.getrandbits(64):x}"}
        body = self._body()
        for _ in range(2):
            async with session.post(CHAT, json=body, headers=key) as answer:
                await answer.read()
                if answer.status == 200:
                    self.finished.add(call_id(answer.headers))

    async def _upload(self, session: aiohttp.ClientSession) -> None:
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", b"x" * self._chance.randrange(300_000), filename="a.jsonl")
        async with session.post("/v1/files", data=form) as answer:
            await answer.read()

    async def _list(self, session: aiohttp.ClientSession) -> None:
        async with session.get("/v1/models") as answer:
            await answer.read()

    async def _be_wrong(self, session: aiohttp.ClientSession) -> None:
        body = self._chance.choice([b"{", b"[]", b'{"model": 5}', b"x" * 5_000])
        async with session.post(CHAT, data=body) as answer:
            await answer.read()
