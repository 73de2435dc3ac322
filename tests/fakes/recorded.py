"""The simulated provider on a real port, with a log of everything that came in.

It runs in a thread with an event loop of its own, so that blocking tests may use it, and it goes on
when the gateway that calls it is killed. `answer` may take a request away from the simulation.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aieye.demo import DemoProvider, Receive, Scope, Send, serve_demo


@dataclass(slots=True)
class Seen:
    """One request as it came in; `headers` names are lower case. `body` grows as it is read."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytearray = field(default_factory=bytearray)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        found = (value for known, value in self.headers if known == name.encode())
        value = next(found, None)
        return None if value is None else value.decode("latin-1")

    @property
    def text(self) -> bytes:
        """Everything of it in one piece, to be searched."""
        lines = [b"%s: %s" % pair for pair in self.headers]
        return b"\n".join([self.raw_path, self.query, *lines, bytes(self.body)])


@dataclass(frozen=True, slots=True)
class Given:
    """An answer in place of the simulated one; `pieces` are sent one by one."""

    status: int
    pieces: tuple[bytes, ...]
    content_type: str = "application/json"


class RecordedDemo(DemoProvider):
    """Use it as a context manager: it serves from entering to leaving."""

    def __init__(self, answer: Callable[[Seen], Given | None] | None = None) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self.base_url = ""
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="recorded demo", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60), "the simulated provider did not start"
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = Seen(
            scope["method"],
            scope["path"],
            scope["raw_path"],
            scope["query_string"],
            [(name.lower(), value) for name, value in scope["headers"]],
        )
        self.seen.append(seen)

        async def recorded() -> MutableMapping[str, Any]:
            message = await receive()
            seen.body.extend(message.get("body", b""))
            return message

        if self._answer is None:
            await super().__call__(scope, recorded, send)
            return
        while (await recorded()).get("more_body", False):
            pass
        given = self._answer(seen)
        if given is None:
            await super().__call__(scope, _replay(bytes(seen.body), receive), send)
            return
        headers = [(b"content-type", given.content_type.encode()), (b"x-simulated", b"true")]
        await send({"type": "http.response.start", "status": given.status, "headers": headers})
        for piece in given.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())

    async def _run(self) -> None:
        server = await serve_demo("127.0.0.1", 0, app=self)
        self.base_url = server.base_url
        self._ready.set()
        await self._stop.wait()
        await server.close()


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, once more, and then whatever else comes."""
    first: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": body, "more_body": False}
    ]

    async def replay() -> MutableMapping[str, Any]:
        return first.pop() if first else await receive()

    return replay
