"""SIGKILL at any moment: what a client saw finished is recorded, and nothing is counted wrongly."""

from __future__ import annotations

import asyncio
import random
import time

import aiohttp
import pytest

from tests.crash.ledger import assert_intact, assert_recorded, assert_sums_agree, states
from tests.crash.load import Load, chat
from tests.fakes.recorded import RecordedDemo
from tests.installation import Installation, call_id
from tests.live import LiveServers

ROUNDS = 3
SEED = 20261120


def test_no_answer_that_was_seen_finished_lacks_its_row(
    installation: Installation, start_server: LiveServers, provider: RecordedDemo
) -> None:
    moments = random.Random(SEED)
    token = installation.add_token()
    server = start_server(installation.environment)
    finished: set[str] = set()
    kinds: set[str] = set()
    broken = 0
    for _ in range(ROUNDS):
        with Load(server.base_url, token) as load:
            load.wait_for_each_kind()
            load.wait_for(40)
            time.sleep(moments.uniform(0.05, 0.6))
            server.kill()
        finished |= load.seen.finished.keys()
        kinds |= load.seen.kinds.keys()
        broken += load.seen.broken
        assert_intact(installation)
        assert_recorded(installation, finished)
        server.start()
        assert_recorded(installation, finished)
    assert broken >= ROUNDS, "nobody noticed that the server was killed"
    assert kinds == {"plain", "hit", "stream", "stream hit", "embedding", "models"}
    assert len(finished) > 100
    server.terminate()
    assert_intact(installation)
    assert_sums_agree(installation)
    # A row more than was seen is an answer on its way; never two for one call to the provider.
    paid = installation.query(
        "SELECT count(*) FROM calls WHERE cache = 'miss' AND endpoint = 'chat/completions'"
        " AND state = 'done' AND status = 200"
    )
    asked = [seen for seen in provider.seen if seen.path == "/v1/chat/completions"]
    assert paid[0][0] <= len(asked)


def test_calls_that_were_open_are_marked_at_the_next_start(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment)

    async def leave_open() -> list[str]:
        async with aiohttp.ClientSession(server.base_url, headers=token.headers) as session:
            slow = chat("slow", model="sim-delay-20000")
            waiting = [
                asyncio.create_task(_post(session, slow | {"seed": number})) for number in range(3)
            ]
            body = chat("events", model="sim-slow-500-long-100", stream=True)
            streams = [
                await session.post("/v1/chat/completions", json=body | {"seed": number})
                for number in range(3)
            ]
            for stream in streams:
                await stream.content.readany()
            while await asyncio.to_thread(states, installation) != {"open": 6}:
                await asyncio.sleep(0.05)
            ids = [call_id(stream.headers) for stream in streams]
            await asyncio.to_thread(server.kill)
            await asyncio.gather(*waiting, return_exceptions=True)
            for stream in streams:
                stream.close()
            return ids

    streamed = asyncio.run(leave_open())
    assert states(installation) == {"open": 6}
    server.start()
    assert states(installation) == {"interrupted": 6}
    rows = installation.query("SELECT id, error, is_stream FROM calls")
    assert {id_ for id_, _, is_stream in rows if is_stream} == set(streamed)
    assert all("interrupted" in error for _, error, _ in rows)
    assert_sums_agree(installation)


async def _post(session: aiohttp.ClientSession, body: dict[str, object]) -> None:
    async with session.post("/v1/chat/completions", json=body) as response:
        await response.read()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_answer_that_was_stored_before_the_crash_is_a_hit_after_it(
    installation: Installation, start_server: LiveServers, provider: RecordedDemo
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment)

    async def ask() -> tuple[str, bytes]:
        async with (
            aiohttp.ClientSession(server.base_url, headers=token.headers) as session,
            session.post("/v1/chat/completions", json=chat("once")) as response,
        ):
            return response.headers["x-aieye-cache"], await response.read()

    first = asyncio.run(ask())
    # The entry goes with a batch of its own time; the row is what must not wait.
    while installation.query("SELECT count(*) FROM cache_entries") != [(1,)]:
        time.sleep(0.05)
    server.kill()
    server.start()
    second = asyncio.run(ask())
    assert (first[0], second[0]) == ("miss", "hit")
    assert first[1] == second[1]
    assert len(provider.seen) == 1
