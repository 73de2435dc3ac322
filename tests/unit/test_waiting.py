"""Waiting while a client waits too: who ends it, and what is said then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fastapi import Request

from aieye import waiting
from aieye.waiting import ClientGone, ShuttingDown, unless_gone


class Client:
    """A client that leaves when it is told to; `asked` is whether anybody looked for it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    def request(self) -> Request:
        return Request({"type": "http"}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        self.asked.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
async def client() -> Client:
    return Client()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SLOW_SECONDS", 0)


async def give(value: str) -> str:
    return value


async def for_ever(ended: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


def is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())


async def test_for_what_is_done_at_once_nobody_looks_for_the_client(client: Client) -> None:
    assert await unless_gone(client.request(), give("done")) == "done"
    assert not client.asked.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("soon")
async def test_a_client_that_leaves_ends_the_work_and_is_told_of_before(client: Client) -> None:
    ended = asyncio.Event()
    told: list[bool] = []
    asyncio.get_running_loop().call_soon(client.left.set)
    with pytest.raises(ClientGone):
        await unless_gone(
            client.request(), for_ever(ended), at_leaving=lambda: told.append(ended.is_set())
        )
    assert ended.is_set()
    assert told == [False]
    assert not is_cancelled()


@pytest.mark.usefixtures("soon")
async def test_work_that_ends_all_the_same_when_the_client_has_left_has_no_answer(
    client: Client,
) -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    asyncio.get_running_loop().call_soon(client.left.set)
    with pytest.raises(ClientGone):
        await unless_gone(client.request(), stubborn())
    assert not is_cancelled()


@pytest.mark.usefixtures("soon")
async def test_what_the_work_raises_goes_on_up_and_nobody_looks_for_the_client_any_more(
    client: Client,
) -> None:
    async def fail() -> None:
        await client.asked.wait()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless_gone(client.request(), fail())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def cancel_this_task() -> Callable[[], object]:
    task = asyncio.current_task()
    assert task is not None
    return task.cancel


async def test_a_stop_ends_the_work_and_is_an_error_to_answer_with(client: Client) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().call_soon(cancel_this_task())
    with pytest.raises(ShuttingDown):
        await unless_gone(client.request(), for_ever(ended))
    assert ended.is_set()
    assert not is_cancelled()


async def test_work_that_ends_all_the_same_at_a_stop_is_answered(client: Client) -> None:
    async def at_last() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    asyncio.get_running_loop().call_soon(cancel_this_task())
    assert await unless_gone(client.request(), at_last()) == "done"
    assert not is_cancelled()
