"""The process itself: an event loop that stands still, and tasks that nobody waits for any more."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import time
from pathlib import Path
from types import CoroutineType
from typing import Any

import pytest

import aieye
from aieye.telemetry import lag
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    chat_answer,
    cut_after,
    hang_before_headers,
    json_answer,
    reset_after,
    sse,
    stream_then_silence,
)
from tests.faults.harness import Gateway, StartGateway, asked, eventually, payloads, question

pytestmark = pytest.mark.live

STALL_SECONDS = 1.5
PACKAGE = f"{Path(aieye.__file__).parent}/"


async def lag_of(gateway: Gateway) -> float:
    """The lag that `/metrics` shows."""
    found = re.search(r"^aieye_loop_lag_seconds (\S+)$", (await gateway.get("/metrics")).text, re.M)
    assert found is not None
    return float(found[1])


async def until_ready(gateway: Gateway) -> None:
    """A machine that is busy elsewhere may hold the loop up too, for a moment."""
    async with asyncio.timeout(20):
        while (await gateway.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_a_loop_that_stands_still_is_not_ready_until_it_runs_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "REMEMBERED_SECONDS", 1.0)
    await until_ready(gateway)
    assert await lag_of(gateway) < 1

    time.sleep(STALL_SECONDS)
    stalled = await gateway.get("/readyz")

    assert (stalled.status_code, stalled.json()) == (
        503, {"status": "not_ready", "reasons": ["the event loop is not keeping up"]},
    )  # fmt: skip
    assert await lag_of(gateway) >= STALL_SECONDS - 2 * lag.INTERVAL_SECONDS
    assert (await gateway.get("/healthz")).status_code == 200
    await until_ready(gateway)


TROUBLES: dict[str, Behaviour] = {
    "whole": chat_answer("one two three"),
    "slow": sse(chat.chat_frames("one two three four five"), delay=0.02),
    "silent": hang_before_headers(),
    "silent half way": stream_then_silence(chat.chat_frames("one two")[:2]),
    "cut": cut_after(700, chat_answer("one two three")),
    "reset": reset_after(300, chat_answer("one two three")),
    "failed": json_answer(503, chat.error_body()),
    "refused": json_answer(400, chat.error_body()),
}


def troubled(chance: random.Random) -> Behaviour:
    """Any of them. Fires its name."""

    async def answer(request: Received, connection: Connection) -> None:
        name = chance.choice(list(TROUBLES))
        connection.fire(name)
        await TROUBLES[name](request, connection)

    return answer


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_any_trouble_no_task_is_left_and_no_exception_lost(
    start_gateway: StartGateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None,
    seed: int,
) -> None:  # fmt: skip
    chance = random.Random(seed)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    gateway = await start_gateway(first_byte_timeout=0.4, idle_timeout=0.3)
    await gateway.ask(question("To warm up."))
    await asyncio.sleep(0.1)
    before = {task.get_name() for task in asyncio.all_tasks()}
    upstream.default = troubled(chance)
    free, most = asyncio.Semaphore(16), 0

    async def come_and_go(number: int) -> None:
        nonlocal most
        body = asked(f"number {number % 40}", chance.choice(["plain", "streamed"]))
        async with free, gateway.raw() as client:
            await client.send(gateway.request(body))
            await asyncio.sleep(chance.random() * chance.choice([0.05, 0.8]))
            most = max(most, len(_tasks(before)))
            client.abort()

    await asyncio.gather(*(come_and_go(number) for number in range(160)))
    await eventually(lambda: gateway.state.gateway.exchanges.flights == {})
    await eventually(lambda: len(_tasks(before)) == 0)
    gc.collect()
    await asyncio.sleep(0)

    assert min(upstream.fired[name] for name in TROUBLES) > 0
    assert most > 5
    assert complaints == []
    assert {row.state for row in await gateway.rows()} == {"done"}


def _tasks(before: set[str]) -> list[asyncio.Task[Any]]:
    """Tasks of the service that were not there before."""
    return [
        task for task in asyncio.all_tasks()
        if task.get_name() not in before and _file(task).startswith(PACKAGE)
    ]  # fmt: skip


def _file(task: asyncio.Task[Any]) -> str:
    """Where the code of a task stands."""
    coroutine = task.get_coro()
    return coroutine.cr_code.co_filename if isinstance(coroutine, CoroutineType) else ""


async def test_a_stream_of_a_response_that_the_stop_cuts_off_goes_on_counting(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.response_frames("one two three")[:-2]
    upstream.script(stream_then_silence(frames))
    body = {"model": chat.MODEL, "input": "Count.", "stream": True}
    async with (
        gateway.make_client(gateway.token) as client,
        client.stream("POST", "/v1/responses", json=body) as answer,
    ):
        reading = asyncio.create_task(answer.aread())
        await eventually(lambda: upstream.fired["silence"] == 1)
        await gateway.restart()
        sent = payloads(await reading)
    *others, last = sent
    assert len(others) == len(frames)
    assert (last["type"], last["code"]) == ("error", "shutting_down")
    assert [one["sequence_number"] for one in sent] == list(range(len(sent)))
