"""Streams that several clients share, some of them slow, gone, or waiting for the other form."""

from __future__ import annotations

import asyncio

import pytest

from aieye.gateway.exchange import MOST_KEPT_BYTES, Exchange
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, hang_before_headers, held, sse
from tests.faults.harness import (
    DONE_FRAME,
    Gateway,
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

        answer = await asyncio.wait_for(asking, 5)

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
    assert MOST_KEPT_BYTES - 2**20 < most < MOST_KEPT_BYTES + 2**20
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
