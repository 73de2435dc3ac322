"""Where runs of pipelines meet their limits, faults of our own, and functions that hide things."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from aieye.db.engine import DatabaseUnavailable
from aieye.db.tables import Execution
from aieye.pipeline import executions, run_record
from aieye.pipeline.run_record import RunRecord
from aieye.pipeline.runner import Runner
from tests.fakes import chat
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    hang_before_headers,
    held,
    json_answer,
)
from tests.faults.harness import Budget, both_databases
from tests.faults.house import CALL, House, echo

pytestmark = pytest.mark.live

FUNCTIONS = """
import asyncio

async def swallow(text: str, context):
    try:
        return await context.complete(text, model="gpt-4o-mini")
    except Exception:
        return "swallowed"

async def dawdle(text: str, context):
    await context.complete(text, model="gpt-4o-mini")
    await asyncio.sleep(60)

async def stream(text: str, context):
    return await context.complete(text, model="gpt-4o-mini", stream=True)
"""


@pytest.fixture
async def more_functions(house: House) -> None:
    (house.gateway.settings.funcs_dir / "custom_more.py").write_text(FUNCTIONS)
    await house.admin.post("/api/v1/functions/sync")


async def latest(house: House) -> Execution:
    async with house.gateway.state.database.read() as session:
        found = await session.scalars(select(Execution).order_by(Execution.id.desc()).limit(1))
        return found.one()


async def test_a_function_cannot_hide_what_ends_a_run(
    house: House, upstream: FakeUpstream, more_functions: None
) -> None:
    only, plain = (
        await house.pipeline("only", 'swallow(x) @(cache="only")'),
        await house.pipeline("plain", "swallow(x)"),
    )
    missed = await house.call(only, {"x": "Ada"})
    assert [one["code"] for one in missed.json()["diagnostics"]] == ["E505"]
    house.gateway.state.gateway.admission = Budget(calls=0)
    refused = await house.call(plain, {"x": "Ada"})
    assert refused.status_code == 402
    assert [one["code"] for one in refused.json()["diagnostics"]] == ["E504"]
    house.gateway.state.gateway.admission = Budget(calls=1)
    upstream.default = json_answer(400, chat.error_body("No."))
    # Any other failure is the function's own affair.
    assert (await house.call(plain, {"x": "Ada"})).json()["response"] == "swallowed"


async def test_what_a_function_passes_on_fails_as_it_did_and_what_it_used_is_booked(
    house: House, upstream: FakeUpstream, quick_retries: None
) -> None:
    id_ = await house.pipeline("p", "ask(x) @(retries=2)")
    upstream.default = json_answer(400, chat.error_body("Not like that."))
    refused = await house.call(id_, {"x": "Ada"})
    assert "Not like that" in refused.json()["error"]
    # To ask the same once more would be refused once more.
    assert len(upstream.calls()) == 1
    silent = chat.chat_body("", usage=chat.usage())
    silent["choices"][0]["message"]["content"] = None
    upstream.default = json_answer(200, silent)
    failed = await house.call(id_, {"x": "Ben"})
    assert [one["code"] for one in failed.json()["diagnostics"]] == ["E501"]
    assert (await latest(house)).tokens_input >= 11


async def test_what_cannot_be_asked_is_said_and_asks_nobody(
    house: House, upstream: FakeUpstream, more_functions: None
) -> None:
    await house.prompt("many", "{x}" * 40)
    for source, code, reason in (
        ("stream(x)", "E501", "nothing is streamed"),
        ("many(x)", "E510", "has more than 1,048,576 characters"),
    ):
        id_ = await house.pipeline(f"p_{code}", source)
        answer = await house.call(id_, {"x": "x" * 200_000})
        (found,) = answer.json()["diagnostics"]
        assert (found["code"], reason in found["message"]) == (code, True), found["message"]
    assert upstream.calls() == []


@pytest.mark.parametrize("source", ["prompt_buddy(x) @(timeout=0.3)", "ask(x) @(timeout=0.3)"])
async def test_what_waited_for_a_model_too_long_is_504_and_what_it_used_is_on_its_step(
    house: House, upstream: FakeUpstream, source: str
) -> None:
    upstream.default = hang_before_headers()
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", source)
    answer = await house.call(id_, {"x": "Ada"})
    assert (answer.status_code, answer.json()["diagnostics"][0]["code"]) == (504, "E502")
    (row,) = await house.gateway.rows(1)
    (step,) = await house.steps(await house.latest(id_))
    assert row.tokens_input
    assert (step.tokens_input, step.cost_nano) == (row.tokens_input, row.cost_nano)


async def test_a_function_that_took_its_time_itself_is_its_own_fault(
    house: House, more_functions: None
) -> None:
    id_ = await house.pipeline("p", "dawdle(x) @(timeout=0.5)")
    answer = await house.call(id_, {"x": "Ada"})
    assert (answer.status_code, answer.json()["diagnostics"][0]["code"]) == (400, "E502")


async def test_a_model_that_says_more_than_a_value_may_be_is_stopped(
    house: House, upstream: FakeUpstream
) -> None:
    async def endless(_request: Received, connection: Connection) -> None:
        await connection.start(200, [("content-type", "text/event-stream")])
        part = chat.frame({"choices": [{"index": 0, "delta": {"content": "x" * 65_536}}]})
        while True:
            await connection.send(part)

    upstream.default = endless
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("p", "prompt_buddy(x)")
    question = {
        "model": "pipeline/p", "stream": True, "messages": [{"role": "user", "content": "Ada"}],
    }  # fmt: skip
    answer = await house.gateway.ask(question)
    assert "the value is larger than 1,048,576 bytes" in answer.text
    (call,) = upstream.calls()
    await call.wait_closed()


@both_databases
async def test_a_long_path_is_cut_in_the_ledger_and_of_many_steps_the_first_are_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "MOST_STEPS", 3)
    await house.prompt("prompt_buddy", "Hey {buddy}")
    inner = "prompt_buddy(x)"
    for letter in "abc":
        await house.pipeline(letter * 100, inner)
        inner = f"{letter * 100}(x)"
    id_ = await house.pipeline("p", f"[{inner}, upper('a'), upper('b'), upper('c'), upper('d')]")
    answer = await house.call(id_, {"x": "Ada"}, query="?typed=1")
    assert answer.json()["response"] == ["Hey Ada", "A", "B", "C", "D"]
    (row,) = await house.gateway.rows(1)
    assert row.step == "/".join(letter * 100 for letter in "cba")[:200]
    assert len(await house.steps(await house.latest(id_))) == 3


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        (RuntimeError, 500, "something went wrong in AI-Eye itself"),
        (DatabaseUnavailable, 503, "The database is away."),
    ],
)
async def test_a_run_that_fails_of_ourselves_is_on_record(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    fault: type[Exception],
    status: int,
    message: str,
) -> None:
    async def fail(*_: Any) -> None:
        raise fault("The database is away." if status == 503 else "canary")

    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(upper(x))")
    monkeypatch.setattr(Runner, "_ask", fail)
    answer = await house.call(id_, {"x": "Ada"})
    assert answer.status_code == status
    assert "canary" not in answer.text
    run = await house.latest(id_)
    assert run.error is not None
    assert (run.status, run.error["message"]) == ("failed", message)
    assert [step.name for step in await house.steps(run)] == ["upper", "prompt_buddy"]


async def test_a_run_whose_beginning_could_not_be_noted_is_on_record_at_its_end(
    house: House, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, failures = asyncio.Event(), []

    async def fail(*_: Any, **__: Any) -> int:
        failures.append(1)
        gate.set()
        raise DatabaseUnavailable("The database is away.")

    monkeypatch.setattr(run_record, "SLOW_SECONDS", 0)
    monkeypatch.setattr(executions, "open_run", fail)
    upstream.default = held(gate, echo)
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(x)")
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hey Ada"
    assert failures == [1]
    run = await house.latest(id_)
    assert (run.status, run.output) == ("done", "Hey Ada")


async def test_a_client_that_leaves_while_its_run_is_written_down_does_not_undo_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, write = asyncio.Event(), asyncio.Event(), RunRecord._write

    async def wait_and_write(record: RunRecord, *args: Any) -> int:
        begun.set()
        await gate.wait()
        return await write(record, *args)

    monkeypatch.setattr(RunRecord, "_write", wait_and_write)
    id_ = await house.pipeline("p", "upper(x)")
    async with house.gateway.raw() as client:
        body = {"pipeline_id": id_, "args": {"x": "a"}}
        await client.send(house.gateway.request(body, path=CALL))
        await begun.wait()
        client.abort()
        # Time to hear that the client has left.
        await asyncio.sleep(0.3)
        gate.set()
    run = await house.latest(id_)
    assert (run.status, run.output) == ("done", "A")
