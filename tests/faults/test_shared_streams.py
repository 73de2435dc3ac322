"""Streams that several clients share, some of them slow, gone, or waiting for the other form."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from aieye.gateway.exchange import MOST_KEPT_BYTES, Exchange
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, hang_before_headers, held, sse
from tests.faults import harness
from tests.faults.harness import (
    DONE_FRAME,
    Gateway,
    StartGateway,
    eventually,
    payloads,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

BIG = chat.chat_frames("word" * 15_000, usage=chat.usage())
LARGE_PIECE = chat.frame({"id": "c", "choices": [{"index": 0, "delta": {"content": "x" * 60_000}}]})


def under_way(gateway: Gateway) -> Exchange:
    """The only exchange."""
    (forms,) = gateway.state.gateway.exchanges.flights.values()
    (exchange,) = forms.values()
    return exchange


async def test_who_waits_for_the_plain_form_gets_it_when_the_streams_reader_leaves(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    frames = [BIG[0], *[LARGE_PIECE] * 20, *BIG[1:]]
    upstream.script(held(gate, sse(frames)))
    async with gateway.raw() as leader:
        await leader.send(gateway.request(streamed()))
        await upstream.wait_for(1)
        asking = asyncio.create_task(gateway.ask(question()))
        await eventually(lambda: len(under_way(gateway).participants) == 2)
        leader.abort()
        await eventually(lambda: len(under_way(gateway).participants) == 1)
        gate.set()

        answer = await asyncio.wait_for(asking, 20)

    assert upstream.fired["held"] == len(upstream.requests) == 1
    assert len(text_of(answer)) > 20 * 60_000
    assert [row.status for row in await gateway.rows(2)] == [499, 200]


async def test_a_reader_far_behind_the_others_is_let_go_and_what_is_held_stays_bounded(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    count = 3 * MOST_KEPT_BYTES // len(LARGE_PIECE)
    upstream.default = held(gate, sse([LARGE_PIECE] * count))
    async with gateway.raw() as slow:
        await slow.send(gateway.request(streamed()))
        await upstream.wait_for(1)
        asking = asyncio.create_task(gateway.ask(streamed()))
        await eventually(lambda: len(under_way(gateway).participants) == 2)
        exchange = under_way(gateway)
        gate.set()
        most = 0
        while not asking.done():
            most = max(most, sum(map(len, exchange._chunks)))
            await asyncio.sleep(0.005)
        answer = await asking
        rest = await slow.read_until(b'"client_too_slow"')

    assert answer.content == LARGE_PIECE * count + DONE_FRAME
    # What is looked at now and then: a busy machine sees less than the most.
    assert MOST_KEPT_BYTES / 2 < most < MOST_KEPT_BYTES + 2**20
    assert DONE_FRAME not in rest
    assert payloads(answer.content)[0] == payloads(LARGE_PIECE)[0]
    rows = await gateway.rows(2)
    assert [(row.status, row.error) for row in rows] == [(408, "client_too_slow"), (200, None)]
    assert [row.cost_nano == 0 for row in rows] == [True, False]


async def test_nobody_joins_an_exchange_whose_last_client_has_just_left(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script(hang_before_headers())
    asking = asyncio.create_task(gateway.ask(question()))
    await upstream.wait_for(1)
    exchange = under_way(gateway)
    was_joinable = exchange.is_joinable

    exchange.leave(exchange.participants[0])

    assert not exchange.done
    assert (was_joinable, exchange.is_joinable) == (True, False)
    assert (await asking).status_code == 499
    assert (await gateway.ask(question())).status_code == 200


# -- all streams together --------------------------------------------------------------------------


def small_socket() -> socket.socket:
    """Of those that the kernel accepts from it none takes megabytes that nobody reads."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
    return one


async def test_two_hundred_clients_that_do_not_read_hold_a_bounded_part_together(
    start_gateway: StartGateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "_tcp_socket", small_socket)
    gateway = await start_gateway()
    exchanges = gateway.state.gateway.exchanges
    exchanges.held.most_bytes = 2**20
    upstream.default = sse([LARGE_PIECE] * 40)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.raw()) for _ in range(200)]
        for number, client in enumerate(clients):
            await client.send(gateway.request(streamed(f"Number {number}?")))
        for client in clients:
            await client.read_head()
        await until_it_stands_still(upstream)

        running = [one for forms in exchanges.flights.values() for one in forms.values()]
        assert exchanges.held.total_bytes <= 2**20
        # What is not told of yet, and what the one reader needs, is little for each.
        kept = sum(sum(map(len, one.raw or ())) for one in running)
        assert kept <= 2**20 + len(running) * 2 * len(LARGE_PIECE)
        waiting = [sum(map(len, one._chunks)) for one in running if one.raw is None]
        assert len(waiting) > 100
        assert max(waiting) < 4 * len(LARGE_PIECE)

        # The answers pass all the same, and whole.
        for client in clients[:3]:
            rest = await client.read_until(DONE_FRAME)
            assert rest.count(b'"content":"xxx') == 40
    await gateway.rows(200)
    assert exchanges.held.total_bytes == 0


async def test_a_reader_behind_others_is_let_go_when_streams_hold_too_much_together(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gateway.state.gateway.exchanges.held.most_bytes = 2**20
    gate = asyncio.Event()
    count = 200
    upstream.default = held(gate, sse([LARGE_PIECE] * count))
    async with gateway.raw() as slow:
        await slow.send(gateway.request(streamed()))
        await upstream.wait_for(1)
        asking = asyncio.create_task(gateway.ask(streamed()))
        await eventually(lambda: len(under_way(gateway).participants) == 2)
        gate.set()
        answer = await asking
        rest = await slow.read_until(b'"client_too_slow"')

    assert answer.content == LARGE_PIECE * count + DONE_FRAME
    assert DONE_FRAME not in rest
    rows = await gateway.rows(2)
    assert [(row.status, row.error) for row in rows] == [(408, "client_too_slow"), (200, None)]
    # It was the cache's part that went first.
    assert await gateway.entries() == 0


async def until_it_stands_still(upstream: FakeUpstream) -> None:
    """Wait until no provider can send any more: its readers hold it back, or have all."""
    sent = -1
    async with asyncio.timeout(30):
        while sent != (sent := sum(len(one.sent) for one in upstream.requests)):
            await asyncio.sleep(0.5)
