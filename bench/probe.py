"""One client that waits for each answer before it asks again: latencies, each of them kept.

wrk is not asked for them: it adds samples that it believes to have missed, which at one connection
makes the tail longer than it was.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from bench.load import Bodies, request_head
from bench.processes import NotMeasured

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_FEWEST = 50


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds, in order of size."""

    ms: tuple[float, ...] = field(repr=False)

    def percentile(self, share: float) -> float:
        """The latency that a share (0 to 1) of the calls stayed within."""
        return self.ms[min(len(self.ms) - 1, int(share * len(self.ms)))]

    @property
    def p50(self) -> float:
        return self.percentile(0.5)

    @property
    def p99(self) -> float:
        return self.percentile(0.99)


def sorted_latencies(ms: Iterable[float]) -> Latencies:
    """Raises `NotMeasured` when there are too few for a percentile to mean anything."""
    found = Latencies(tuple(sorted(ms)))
    if len(found.ms) < _FEWEST:
        raise NotMeasured(f"{len(found.ms)} latencies are too few.")
    return found


def measure(
    port: int,
    bodies: Bodies,
    seconds: float,
    *,
    token: str = "sk-bench",
    until: Literal["whole", "first event"] = "whole",
    cache: str | None = None,
) -> Latencies:
    """Ask for `seconds`, one call at a time, and note how long each takes.

    `until` says what a call waits for: its whole answer or the first event of a stream. `cache` is
    what `x-aieye-cache` has to say each time. Raises `NotMeasured`.
    """
    head = request_head(bodies.template, token)
    taken: list[float] = []
    with _connected(port) as client, _without_collections():
        deadline = time.perf_counter() + seconds
        for nonce in bodies.nonces():
            request = head + bodies.template.body(nonce)
            started = time.perf_counter()
            if started > deadline:
                break
            client.sendall(request)
            answer = _until_events(client) if until == "first event" else _whole(client)
            taken.append((time.perf_counter() - started) * 1_000)
            _check(answer, cache)
            if until == "first event":
                _read_stream(client, answer)
    return sorted_latencies(taken)


def ask(port: int, bodies: Bodies, *, token: str = "sk-bench") -> bytes:
    """One whole answer, its head included."""
    request = request_head(bodies.template, token) + bodies.template.body(next(bodies.nonces()))
    with _connected(port) as client:
        client.sendall(request)
        if b'"stream":true' in request:
            return _read_stream(client, _until_events(client))
        return _whole(client)


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


@contextmanager
def _without_collections() -> Iterator[None]:
    """Pauses of the measuring are not the server's latencies."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _receive(client: socket.socket) -> bytes:
    data = client.recv(65_536)
    if not data:
        raise NotMeasured("A server closed the connection in the middle of an answer.")
    return data


def _whole(client: socket.socket) -> bytes:
    data = _receive(client)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(client)
    size = end + 4 + _content_length(data[:end])
    while len(data) < size:
        data += _receive(client)
    return data


def _content_length(head: bytes) -> int:
    name = b"\r\ncontent-length:"
    start = head.lower().find(name)
    if start < 0:
        raise NotMeasured(f"An answer without a length:\n{head!r}")
    return int(head[start + len(name) :].split(b"\r\n", 1)[0])


def _until_events(client: socket.socket) -> bytes:
    data = _receive(client)
    while b"\r\ndata: " not in data:
        data += _receive(client)
    return data


def _read_stream(client: socket.socket, begun: bytes) -> bytes:
    data = begun
    while not data.endswith(_LAST_CHUNK):
        data += _receive(client)
    return data


def _check(answer: bytes, cache: str | None) -> None:
    head = answer.split(b"\r\n\r\n", 1)[0].lower()
    if not head.startswith(b"http/1.1 200 "):
        raise NotMeasured(f"A call failed:\n{answer[:1_000]!r}")
    if cache is not None and b"\r\nx-aieye-cache: %b" % cache.encode() not in head:
        raise NotMeasured(f"An answer should have been a {cache}:\n{head!r}")
