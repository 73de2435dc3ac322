"""SIGTERM: what is under way is finished, everything is recorded, and the exit is a good one."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.crash.ledger import assert_recorded, assert_sums_agree, states
from tests.crash.load import DONE, Load, chat
from tests.installation import Installation, call_id
from tests.live import LiveServer, LiveServers

CHAT = "/v1/chat/completions"
STREAMS = 20
# Whoever waited would wait for the grace of 30 seconds.
AT_ONCE = 15
# The command line with a grace that tests can wait for.
IMPATIENT = (
    "-c", "from aieye.cli import main, serving; serving.GRACE_SECONDS = 2; main()",
)  # fmt: skip


async def _read(response: aiohttp.ClientResponse) -> bytes:
    received = b""
    try:
        async for piece in response.content.iter_any():
            received += piece
    except aiohttp.ClientError:
        received += b"<broken off>"
    return received


async def _is_closed_to_newcomers(server: LiveServer) -> bool:
    try:
        async with (
            aiohttp.ClientSession(server.base_url) as session,
            session.get("/readyz") as response,
        ):
            return response.status == 503
    except aiohttp.ClientError:
        return True


async def _is_refused(server: LiveServer) -> bool:
    """Whether the kernel has nobody to give a connection to."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionError:
        return True
    writer.close()
    return False


def test_streams_and_calls_under_way_are_finished_and_recorded(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment)

    async def stop_meanwhile() -> tuple[int, bool, list[bytes], list[bytes], set[str]]:
        async with aiohttp.ClientSession(server.base_url, headers=token.headers) as session:
            body = chat("events", model="sim-slow-60-long-40", stream=True)
            streams = [
                await session.post(CHAT, json=body | {"seed": number}) for number in range(STREAMS)
            ]
            plain = [
                asyncio.create_task(
                    session.post(CHAT, json=chat("slow", model="sim-delay-1500", seed=number))
                )
                for number in range(3)
            ]
            reading = [asyncio.create_task(_read(stream)) for stream in streams]
            await asyncio.sleep(0.4)
            stopping = asyncio.create_task(asyncio.to_thread(server.terminate))
            await asyncio.sleep(0.4)
            is_closed = await _is_closed_to_newcomers(server)
            answers = await asyncio.gather(*plain)
            bodies = [await answer.read() for answer in answers]
            received = list(await asyncio.gather(*reading))
            ids = {call_id(answer.headers) for answer in [*answers, *streams]}
            return await stopping, is_closed, received, bodies, ids

    code, is_closed, received, bodies, ids = asyncio.run(stop_meanwhile())
    assert code == 0
    assert is_closed, "it went on taking calls"
    assert all(one.endswith(DONE) for one in received)
    assert all(b"chat.completion" in body for body in bodies)
    assert states(installation) == {"done": STREAMS + 3}
    assert_recorded(installation, ids)
    assert_sums_agree(installation)


def test_what_is_still_open_after_the_grace_ends_with_an_error_and_its_row(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server.prepare(installation.environment)
    server.program = IMPATIENT
    server.start()

    async def stop_meanwhile() -> tuple[int, list[bytes], list[tuple[int, str]], set[str]]:
        async with aiohttp.ClientSession(server.base_url, headers=token.headers) as session:
            body = chat("events", model="sim-slow-200-long-200", stream=True)
            # With a key, without one, and one call that several clients share.
            keys = [{"Idempotency-Key": f"{n}"} if n % 2 else {} for n in range(STREAMS)]
            streams = [
                await session.post(CHAT, json=body | {"seed": n // 4}, headers=headers)
                for n, headers in enumerate(keys)
            ]
            plain = [
                asyncio.create_task(
                    session.post(CHAT, json=chat("slow", model="sim-delay-20000", seed=number))
                )
                for number in range(3)
            ]
            reading = [asyncio.create_task(_read(stream)) for stream in streams]
            await asyncio.sleep(0.3)
            code = await asyncio.to_thread(server.terminate)
            answers = await asyncio.gather(*plain)
            refused = [(answer.status, await answer.text()) for answer in answers]
            ids = {call_id(answer.headers) for answer in [*answers, *streams]}
            return code, list(await asyncio.gather(*reading)), refused, ids

    code, received, refused, ids = asyncio.run(stop_meanwhile())
    assert code == 0
    for one in received:
        assert one.count(b"data: ") > 1, "it was cut before it had begun"
        assert b'"code":"shutting_down"' in one[one.rindex(b"data: ") :]
        assert one.endswith(b"\n\n")
        assert DONE not in one
    assert [status for status, _ in refused] == [503] * 3
    assert all('"code":"shutting_down"' in body for _, body in refused)
    rows = installation.query("SELECT id, state, status, error FROM calls")
    assert {row[0] for row in rows} == ids
    assert {row[1:] for row in rows} == {("done", 503, "shutting_down")}
    assert installation.query("SELECT count(*) FROM idempotent_calls") == [(0,)]
    assert_sums_agree(installation)
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_workers_take_no_more_connections_and_end_what_is_open(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server.prepare(installation.environment, arguments=("--workers", "2"))
    server.program = IMPATIENT
    server.start()

    async def stop_meanwhile() -> tuple[int, bool, list[bytes]]:
        async with aiohttp.ClientSession(server.base_url, headers=token.headers) as session:
            body = chat("events", model="sim-slow-200-long-200", stream=True)
            streams = [await session.post(CHAT, json=body | {"seed": n}) for n in range(STREAMS)]
            reading = [asyncio.create_task(_read(stream)) for stream in streams]
            stopping = asyncio.create_task(asyncio.to_thread(server.terminate))
            while not await _is_refused(server):
                await asyncio.sleep(0.02)
            # Not only because all has ended.
            is_closed = not all(one.done() for one in reading)
            return await stopping, is_closed, list(await asyncio.gather(*reading))

    code, is_closed, received = asyncio.run(stop_meanwhile())
    assert code == 0
    assert is_closed, "it went on taking connections"
    assert all(b'"code":"shutting_down"' in one[one.rindex(b"data: ") :] for one in received)
    assert states(installation) == {"done": STREAMS}
    assert_sums_agree(installation)


def test_a_stop_under_load_loses_nothing(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment)
    with Load(server.base_url, token) as load:
        load.wait_for_each_kind()
        time.sleep(0.4)
        code = server.terminate()
    assert code == 0
    assert_recorded(installation, set(load.seen.finished))
    assert set(states(installation)) == {"done"}
    assert_sums_agree(installation)
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_idle_server_stops_at_once(
    installation: Installation, start_server: LiveServers
) -> None:
    server = start_server(installation.environment)
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < AT_ONCE


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_client_that_keeps_its_connection_does_not_hold_the_stop_up(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment)

    async def keep_and_stop() -> float:
        async with aiohttp.ClientSession(server.base_url, headers=token.headers) as session:
            async with session.get("/v1/models") as response:
                await response.read()
            started = time.monotonic()
            assert await asyncio.to_thread(server.terminate) == 0
            return time.monotonic() - started

    assert asyncio.run(keep_and_stop()) < AT_ONCE
