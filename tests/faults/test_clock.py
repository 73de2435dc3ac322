"""The clock on the wall jumps, as it does with a wrong battery, a suspended machine, or a leap."""

from __future__ import annotations

import asyncio
import time

import pytest
import time_machine

from tests.fakes import chat
from tests.fakes.upstream import (
    FakeUpstream,
    chat_answer,
    hang_before_headers,
    held,
    json_answer,
    sse,
)
from tests.faults.harness import (
    Gateway,
    LoopClock,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

HOUR = 3_600
jumps = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])


def jumped(seconds: float) -> time_machine.travel:
    """The clock on the wall is off by so much; those that only count go on."""
    return time_machine.travel(time.time() + seconds, tick=True)


@both_databases
@both_forms
@jumps
async def test_a_jump_during_a_call_ends_nothing_early_and_is_no_latency(
    start_gateway: StartGateway, upstream: FakeUpstream, form: str, jump: int
) -> None:
    gateway = await start_gateway(first_byte_timeout=5, idle_timeout=5, upstream_timeout=10)
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one two three"))
    asking = asyncio.create_task(gateway.ask(asked("Well?", form)))
    await upstream.wait_for(1)
    before = time.time()
    with jumped(jump):
        assert abs(time.time() - before - jump) < 60
        gate.set()
        answer = await asking
        row = await gateway.row()

    assert upstream.fired["held"] == 1
    assert text_of(answer) == "one two three"
    assert row.latency_us is not None
    assert 0 <= row.latency_us < 5_000_000
    assert 0 <= (row.ttft_us or 0) <= row.latency_us
    assert all(0 <= attempt["ms"] < 5_000 for attempt in row.attempts)


@jumps
async def test_a_jump_neither_shortens_nor_lengthens_the_time_between_events(
    start_gateway: StartGateway, upstream: FakeUpstream, jump: int
) -> None:
    gateway = await start_gateway(idle_timeout=0.5)
    upstream.default = sse(chat.chat_frames("one two three four"), delay=0.1)
    asking = asyncio.create_task(gateway.ask(streamed()))
    await upstream.wait_for(1)
    with jumped(jump):
        assert text_of(await asking) == "one two three four"


@jumps
async def test_a_jump_neither_shortens_nor_lengthens_the_time_for_the_first_byte(
    start_gateway: StartGateway, upstream: FakeUpstream, jump: int
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.5)
    upstream.default = hang_before_headers()
    started = time.perf_counter()
    asking = asyncio.create_task(gateway.ask(question()))
    await upstream.wait_for(1)
    with jumped(jump):
        async with LoopClock() as clock:
            answer = await asking
    assert upstream.fired["hang"] == 1
    assert answer.status_code == 504
    assert time.perf_counter() - started >= 0.5
    assert clock.seconds < 2


@jumps
async def test_a_circuit_opens_and_closes_by_a_clock_that_only_counts(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, jump: int
) -> None:
    upstream.default = json_answer(500, chat.error_body())
    for number in range(2):
        await gateway.ask(question(f"Question {number}"))
    failed = len(upstream.requests)
    upstream.default = chat_answer("Here.")
    with jumped(jump):
        assert (await gateway.ask(question("Still resting?"))).status_code == 502
        assert len(upstream.requests) == failed
        circuit = gateway.state.gateway.circuits.of(gateway.state.directory.current.keys[1])
        circuit.open_until -= circuit.rest_seconds
        assert (await gateway.ask(question("Rested?"))).status_code == 200


@both_databases
@jumps
async def test_rows_ids_and_the_ages_of_answers_stand_a_jump(
    gateway: Gateway, upstream: FakeUpstream, jump: int
) -> None:
    answers = [await gateway.ask(question("Well?"))]
    with jumped(jump):
        answers.append(await gateway.ask(question("Well?")))
        answers.append(await gateway.ask(question("Another?")))
    answers.append(await gateway.ask(question("Another?")))

    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers["x-aieye-cache"] for answer in answers] == ["miss", "hit", "miss", "hit"]
    # An answer is never younger than nothing.
    assert all(int(answer.headers["age"]) >= 0 for answer in (answers[1], answers[3]))
    rows = await gateway.rows(4)
    assert len({row.id for row in rows}) == len(rows) == 4
    assert {row.state for row in rows} == {"done"}
    assert len(upstream.requests) == 2
