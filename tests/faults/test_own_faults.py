"""Faults of AI-Eye's own: each leaves a row that says so, and none fills the memory."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from aieye.db import group_writer
from aieye.gateway import results, service
from aieye.gateway.accounts import Accounts
from aieye.ledger.book import UNKNOWN
from tests.crash.ledger import assert_sums_agree
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, chat_answer, sse
from tests.faults.harness import (
    CHAT,
    DONE_FRAME,
    SECRET_KEY,
    Budget,
    Gateway,
    asked,
    both_databases,
    both_forms,
    error_code,
    eventually,
    question,
    streamed,
)
from tests.installation import Installation

pytestmark = pytest.mark.live

ORIGINAL = "/api/openai/v1/chat/completions"


class Crash:
    """A function that always fails; `count` says how often it did."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any, **__: Any) -> None:
        self.count += 1
        raise RuntimeError("a fault of our own")


@pytest.mark.parametrize("path", [CHAT, ORIGINAL])
async def test_a_call_that_crashes_before_it_is_sent_has_a_row_with_status_500(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    crash = Crash()
    monkeypatch.setattr(service, "prepare", crash)

    assert (await gateway.ask(question(), path=path)).status_code == 500

    row = await gateway.row()
    assert (row.status, row.error, row.cost_state) == (500, "internal_error", UNKNOWN)
    assert (crash.count, upstream.requests) == (1, [])


@both_forms
async def test_an_answer_whose_settling_crashes_is_an_error_with_a_row(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    crash = Crash()
    monkeypatch.setattr(results, "settlement_of", crash)

    answer = await gateway.ask(asked("Well?", form))

    assert crash.count == 1
    assert b"internal_error" in answer.content
    assert b"[DONE]" not in answer.content
    assert answer.status_code == (500 if form == "plain" else 200)
    row = await gateway.row()
    assert (row.status, row.error) == (500, "internal_error")
    assert (row.cost_nano, row.cost_state) == (None, UNKNOWN)
    assert await gateway.entries() == 0
    assert len(upstream.requests) == 1


async def test_a_stream_that_crashes_half_way_has_a_row_with_status_500(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Crash()
    upstream.default = sse(chat.chat_frames("one two three"))
    monkeypatch.setattr(Accounts, "fill", crash)

    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.ask(streamed())

    assert (crash.count, upstream.fired["sse"]) == (1, 1)
    row = await gateway.row()
    assert (row.status, row.error) == (500, "internal_error")


@pytest.mark.parametrize("path", [CHAT, ORIGINAL])
async def test_a_call_over_budget_is_402_has_its_row_and_goes_nowhere(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    gateway.state.gateway.admission = Budget(calls=1)
    assert (await gateway.ask(question(), path=path)).status_code == 200
    # Not even out of the cache.
    refused = await gateway.ask(question(), path=path)
    assert refused.status_code == 402
    assert "budget of this token is spent" in refused.text
    rows = await gateway.rows(2)
    assert [(row.status, row.error) for row in rows] == [(200, None), (402, "over_budget")]
    assert len(upstream.requests) == 1


async def test_calls_that_are_not_let_in_while_the_ledger_is_away_leave_nothing_in_memory(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = gateway.state.writer
    with monkeypatch.context() as patch:
        failures: list[int] = []

        async def fail(*_: Any) -> None:
            failures.append(1)
            raise OSError("no space left on device")

        patch.setattr(writer._backend, "write", fail)
        first = await gateway.ask(question())
        assert error_code(first) == "ledger_unavailable"
        waiting = writer.backlog

        refused = [await gateway.ask(question(f"Well, {number}?")) for number in range(50)]

        assert failures
        assert {(one.status_code, error_code(one)) for one in refused} == {(503, "overloaded")}
        assert writer.backlog == waiting
    await eventually(lambda: writer.is_healthy)
    assert (await gateway.ask(question("And now?"))).content.count(DONE_FRAME) == 0
    assert len(await gateway.rows(2)) == 2
    assert len(upstream.requests) == 2


@both_databases
@both_forms
@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_call_whose_answer_was_withheld_is_booked_so_with_what_it_cost(
    gateway: Gateway,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    is_stored: bool,
) -> None:
    upstream.default = chat_answer("one two three")
    if is_stored:
        await gateway.ask(asked("Well?", form))
        await gateway.rows(1)
    writer = gateway.state.writer
    with monkeypatch.context() as patch:
        failures: list[int] = []

        async def fail(*_: Any) -> None:
            failures.append(1)
            raise OSError("no space left on device")

        patch.setattr(writer._backend, "write", fail)
        patch.setattr(group_writer, "WAIT_SECONDS", 0.2)
        answer = await gateway.ask(asked("Well?", form))
        assert failures
    assert b"ledger_unavailable" in answer.content
    await eventually(lambda: writer.is_healthy)

    row = (await gateway.rows(1 + is_stored))[-1]

    assert answer.headers["x-request-id"] == f"req_{row.id}"
    assert (row.status, row.error) == (503, "ledger_unavailable")
    assert (row.cost_nano, row.saved_nano) == ((0, 5850) if is_stored else (5850, None))
    assert_sums_agree(Installation(gateway.settings.database, secret_key=SECRET_KEY))
