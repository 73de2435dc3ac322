"""Over any mixture of calls, faults and leaving clients: money adds up, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from aieye.db.tables import Call
from tests.fakes import chat
from tests.fakes.troubled import KINDS, troubled_chats
from tests.fakes.upstream import (
    FakeUpstream,
)
from tests.faults.harness import (
    Gateway,
    asked,
    both_databases,
    eventually,
    payloads,
    text_of,
)

pytestmark = pytest.mark.live

WEIGHTS = {"whole": 6, "slow": 4, "503": 1, "400": 1, "cut": 1}


def price(usage: chat.Json) -> int:
    """What gpt-4o-mini costs, in nano-dollars."""
    return int(usage["prompt_tokens"]) * 150 + int(usage["completion_tokens"]) * 600


async def call(gateway: Gateway, chance: random.Random) -> None:
    body = asked(f"number {chance.randrange(40)} of forty", chance.choice(["plain", "streamed"]))
    if chance.random() < 0.25:
        body["cache"] = {"mode": chance.choice(["off", "refresh"])}
    if chance.random() < 0.7:
        with contextlib.suppress(TimeoutError):
            await gateway.ask(body)
        return
    async with gateway.raw() as client:
        await client.send(gateway.request(body))
        await asyncio.sleep(chance.random() * 0.08)
        client.abort()


@both_databases
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_attempt_is_in_one_row_and_every_usage_is_paid_once(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, seed: int
) -> None:
    chance = random.Random(seed)
    upstream.default = troubled_chats(chance, WEIGHTS, longest_wait=0.03)
    free = asyncio.Semaphore(12)

    async def one() -> None:
        async with free:
            await call(gateway, chance)

    await asyncio.gather(*(one() for _ in range(250)))
    await eventually(lambda: gateway.state.metrics.in_flight == 0)
    await eventually(lambda: gateway.state.gateway.exchanges.flights == {})
    rows = await gateway.rows()

    assert min(upstream.fired[kind] for kind in KINDS) > 0
    assert {row.state for row in rows} == {"done"}
    attempts = [attempt for row in rows for attempt in row.attempts]
    assert all("status" in attempt or "error" in attempt for attempt in attempts)
    # What was abandoned the moment it was sent may never have been read: a reset takes it back. And
    # on a busy machine a connection may come too late for anything to be sent on it.
    unseen = {"abandoned", "upstream_unreachable"}
    whole = [attempt for attempt in attempts if attempt.get("error") not in unseen]
    ends = Counter((attempt.get("status"), attempt.get("error")) for attempt in attempts)
    assert len(whole) <= len(upstream.requests) <= len(attempts), ends
    assert {row.cache for row in rows} >= {"miss", "hit", "shared", "bypass", "refresh"}
    assert not [row.id for row in rows if row.cache == "hit" and row.cost_nano]
    paid = [row for row in rows if row.cost_nano and row.cost_state == "exact"]
    by_request = Counter(row.upstream_request_id for row in paid)
    assert max(by_request.values()) == 1, "a usage was paid twice"
    for row in paid:
        usage = upstream.requests[number_of(row)].usage
        assert usage is not None
        assert row.cost_nano == price(usage)
    told = {
        f"req_fake_{request.number}"
        for request in upstream.requests
        if request.finished_at is not None and request.usage is not None
    }
    left = {f"req_fake_{r.number}" for r in upstream.requests if r.closed_at is not None}
    assert told - left <= set(by_request), "a usage was not paid"
    assert all(row.cost_state != "unknown" for row in rows if row.status in {200, 499})


def number_of(row: Call) -> int:
    assert row.upstream_request_id is not None
    return int(row.upstream_request_id.removeprefix("req_fake_"))


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_client_gets_the_same_answers_with_the_cache_and_without(
    gateway: Gateway, upstream: FakeUpstream, seed: int
) -> None:
    chance = random.Random(seed)
    without = await gateway.add_token(cache_enabled=False)
    states: Counter[str] = Counter()
    for _ in range(80):
        form = chance.choice(["plain", "streamed"])
        body = asked(f"number {chance.randrange(10)} of ten", form)
        if chance.random() < 0.5:
            body["temperature"] = chance.choice([0, 1])
        if form == "streamed" and chance.random() < 0.5:
            body["stream_options"] = {"include_usage": chance.random() < 0.7}
        cached = await gateway.ask(body)
        fresh = await gateway.ask(body, token=without)
        states[cached.headers["x-aieye-cache"]] += 1
        assert cached.status_code == fresh.status_code == 200
        assert cached.headers["content-type"] == fresh.headers["content-type"]
        assert text_of(cached) == text_of(fresh)
        if form == "plain":
            assert cached.json() == fresh.json()
        else:
            usages = [
                [chunk["usage"] for chunk in payloads(answer.content) if chunk.get("usage")]
                for answer in (cached, fresh)
            ]
            assert usages[0] == usages[1]
    assert min(states["hit"], states["miss"]) > 10
    assert len(upstream.requests) == 80 + states["miss"]
