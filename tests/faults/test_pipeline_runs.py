"""Runs of pipelines over the real gateway: whose they are, what they ask, what is kept of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from aieye.db.presence import Presence
from aieye.db.tables import Execution, Instance
from aieye.ledger.interrupted import mark_interrupted
from aieye.ledger.run_texts import NOT_KEPT
from tests.fakes import chat
from tests.fakes.chat import chat_body, error_body
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    chat_answer,
    hang_before_headers,
    held,
    json_answer,
)
from tests.faults.harness import Gateway, Json, StartGateway, both_databases, eventually, question
from tests.faults.house import House, echo

pytestmark = pytest.mark.live


# -- whose a run is ----------------------------------------------------------------------------


class Meeting:
    """Answers with the key that was sent and what the user said, when so many calls have come."""

    def __init__(self, calls: int) -> None:
        self._missing = calls
        self._is_full = asyncio.Event()

    async def __call__(self, request: Received, connection: Connection) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._is_full.set()
        await self._is_full.wait()
        said = f"{request.key} {chat.last_user_text(request.json)}"
        await json_answer(200, chat_body(said, usage=chat.usage()))(request, connection)


async def test_fifty_runs_of_two_users_never_see_each_others_context(
    house: House, upstream: FakeUpstream
) -> None:
    # Of each run two calls differ, and none is answered before those of all runs are in flight.
    upstream.default = Meeting(calls=100)
    gateway = house.gateway
    await house.prompt("prompt_buddy", "Hey {buddy}", shared=True)
    source = "[who(), who(), ask(x), hello(x), prompt_buddy(x)]"
    id_ = await house.pipeline("p", source, shared=True)
    keys, tokens, users = {}, {}, {}
    for name in ("ada", "ben"):
        (key_id,) = await gateway.add_provider(name, upstream, f"sk-key-of-{name}-0123456789")
        users[name] = await gateway.add_user(f"{name}@example.org")
        tokens[name] = await gateway.add_token(user_id=users[name], provider_key_id=key_id)
        keys[name] = f"sk-key-of-{name}-0123456789"

    async def call(name: str, number: int) -> tuple[str, list[str]]:
        x = f"{name} {number}"
        answer = await house.call(id_, {"x": x}, query="?typed=1", token=tokens[name])
        assert answer.status_code == 200, answer.text
        return answer.headers["x-run-id"], answer.json()["response"]

    callers = [("ada", "ben")[number % 2] for number in range(50)]
    answers = await asyncio.gather(*(call(name, n) for n, name in enumerate(callers)))
    whose = {}
    for number, (name, (run_id, value)) in enumerate(zip(callers, answers, strict=True)):
        x = f"{name} {number}"
        # A provider's key is taken out of what it answers; whose it was, the ledger tells.
        assert value[:2] == [run_id, run_id]
        assert [one.removeprefix("[redacted] ") for one in value[2:]] == [
            x, f"Hey {x}", f"Hey {x}",
        ]  # fmt: skip
        whose[run_id] = name
    assert len(whose) == 50
    rows = await gateway.rows(150)
    assert Counter(row.run_id for row in rows) == dict.fromkeys(whose, 3)
    ids = {name: find_id(gateway, tokens[name]) for name in tokens}
    for row in rows:
        name = whose[str(row.run_id)]
        assert (row.user_id, row.token_id) == (users[name], ids[name])
    for run in await executions(gateway):
        name = whose[run.run_id]
        assert (run.user_id, run.token_id) == (users[name], ids[name])
        assert str(run.arguments["x"]).startswith(name)
    sent = {(one.key, chat.last_user_text(one.json).split()[-2]) for one in upstream.requests}
    assert sent == {(keys[name], name) for name in keys}


def find_id(gateway: Gateway, token: str) -> int | None:
    """The id of a token by its secret."""
    grant = gateway.state.directory.find_grant(token)
    assert grant is not None
    return grant.token_id


async def test_what_an_async_function_asks_is_booked_on_its_step(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "upper(hello(x))")
    answer = (await house.call(id_, {"x": "Ada"}, query="?meta=1")).json()
    assert answer["response"] == "HEY ADA"
    (row,) = await house.gateway.rows(1)
    assert (row.step, row.pipeline, row.run_id) == ("hello", "p", answer["run_id"])
    (hello, _) = answer["steps"]
    assert (hello["kind"], hello["tokens_input"], hello["model"]) == (
        "function", 11, "gpt-4o-mini",
    )  # fmt: skip
    assert answer["cost_usd"] == hello["cost_usd"] != "0"


# -- what is asked -----------------------------------------------------------------------------


async def test_a_prompt_is_sent_as_it_says(house: House, upstream: FakeUpstream) -> None:
    await house.prompt(
        "brief", "Title of {text}", params={"system": "Be brief.", "temperature": 0},
        schema={"type": "object"},
    )  # fmt: skip
    upstream.script(chat_answer('{"title": "A"}'))
    assert await house.value('upper(brief(text) @(model="gpt-4o").title)', text="this") == "A"
    (call,) = upstream.calls()
    assert call.json == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Title of this"},
        ],
        "temperature": 0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "brief", "schema": {"type": "object"}},
        },
    }


async def test_an_answer_that_is_not_json_is_asked_for_anew_not_read_from_the_cache(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("brief", "Title", schema={"type": "object"})
    upstream.script(chat_answer("Sure!"), chat_answer('{"title": "A"}'))
    assert await house.value("brief() @(retries=1).title") == "A"
    assert len(upstream.calls()) == 2


async def test_an_edited_prompt_reaches_the_next_run(house: House) -> None:
    prompt = await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(x)")
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hey Ada"
    changed = await house.admin.patch(
        f"/api/v1/prompts/{prompt['id']}", json={"body": "Hello {buddy}"}
    )
    assert changed.status_code == 200
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hello Ada"


async def test_retries_make_further_attempts_where_they_may_help(
    house: House, upstream: FakeUpstream, quick_retries: None, no_circuit: None
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    failing = [json_answer(500, error_body())] * 3
    upstream.script(*failing, chat_answer("Hello."))
    id_ = await house.pipeline("p", "prompt_buddy(x) @(retries=2)")
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hello."
    assert len(upstream.calls()) == 4
    upstream.script(json_answer(400, error_body("No.")))
    refused = await house.call(id_, {"x": "Ben"})
    assert (refused.status_code, len(upstream.calls())) == (400, 5)


# -- the cache ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ['prompt_buddy(x) @(cache="only")', 'hello(x) @(cache="only")',
               'try(prompt_buddy(x) @(cache="only"), "none")']
)  # fmt: skip
async def test_a_replay_asks_nobody_and_a_miss_ends_the_run(
    house: House, upstream: FakeUpstream, source: str
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", source)
    missed = await house.call(id_, {"x": "Ada"})
    (found,) = missed.json()["diagnostics"]
    step = "hello" if "hello" in source else "prompt_buddy"
    assert (missed.status_code, found["code"]) == (400, "E505")
    assert f"'{step}'" in found["message"]
    assert upstream.calls() == []
    assert await house.value("prompt_buddy(x)", x="Ada") == "Hey Ada"
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hey Ada"
    assert len(upstream.calls()) == 1


async def test_a_cacheable_functions_result_is_kept_as_the_mode_says(
    house: House, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"

    async def cache_of(source: str) -> str:
        id_ = await house.pipeline(f"p_{len(source)}", source)
        answer = (await house.call(id_, {"path": str(calls)}, query="?meta=1")).json()
        return str(answer["steps"][0]["cache"])

    assert await cache_of("count(path)") == "miss"
    assert await cache_of("[count(path)]") == "hit"
    assert calls.read_text() == "x"
    assert await cache_of('count(path) @(cache="refresh")') == "refresh"
    assert await cache_of('count(path) @(cache="off")') == "None"
    assert calls.read_text() == "xxx"


async def test_what_a_context_gives_is_kept_for_no_other_run(house: House) -> None:
    """It is its caller's own: another one may be let see less."""
    id_ = await house.pipeline("mine", "kept_for_its_caller()")
    first, second = [(await house.call(id_, query="?meta=1")).json() for _ in range(2)]
    assert first["run_id"] == first["response"]
    assert second["run_id"] == second["response"]
    assert second["steps"][0]["cache"] is None


# -- what is kept ------------------------------------------------------------------------------


async def executions(gateway: Gateway) -> list[Execution]:
    async with gateway.state.database.read() as session:
        return list(await session.scalars(select(Execution).order_by(Execution.id)))


@both_databases
async def test_a_run_that_takes_its_time_has_its_row_meanwhile(
    house: House, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, echo)
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(x)")
    calling = asyncio.ensure_future(house.call(id_, {"x": "Ada"}))
    async with asyncio.timeout(20):
        while not (found := await executions(house.gateway)):
            await asyncio.sleep(0.01)
    assert [(run.status, run.ended_at, run.arguments) for run in found] == [
        ("running", None, {"x": "Ada"})
    ]
    gate.set()
    assert (await calling).json()["response"] == "Hey Ada"
    (run,) = await executions(house.gateway)
    assert (run.status, run.output, run.tokens_input, run.tokens_output) == (
        "done", "Hey Ada", 11, 7,
    )  # fmt: skip
    (step,) = await house.steps(run)
    assert (step.path, step.kind, step.span_start, step.span_end, step.attempts) == (
        "prompt_buddy", "prompt", 0, 15, 1,
    )  # fmt: skip
    assert (step.arguments, step.output, step.cache) == ({"buddy": "Ada"}, "Hey Ada", "miss")
    assert step.queued_at is not None
    assert step.started_at is not None
    assert step.ended_at is not None
    assert step.queued_at <= step.started_at <= step.ended_at


@both_databases
async def test_runs_of_a_process_that_died_are_marked(house: House) -> None:
    database = house.gateway.state.database
    async with database.write() as session:
        (own,) = await session.scalars(select(Instance.id))
        session.add(Instance(id="dead"))
        for run_id, instance_id in (("a", "dead"), ("b", own)):
            session.add(
                Execution(run_id=run_id, status="running", arguments={}, instance_id=instance_id)
            )
    await mark_interrupted(database, Presence(database, own))
    assert [(run.run_id, run.status) for run in await executions(house.gateway)] == [
        ("a", "interrupted"),
        ("b", "running"),
    ]


async def test_secrets_are_taken_out_of_what_is_kept(house: House) -> None:
    id_ = await house.pipeline("p", "identity(x)")
    secret = "sk-" + "a1" * 8
    answer = await house.call(id_, {"x": f"key {secret}"})
    assert secret in answer.json()["response"]
    failed = await house.call(
        await house.pipeline("q", "divide(x, 1)"), {"x": f"key {secret}", "nobodys": "canary"}
    )
    assert secret in failed.json()["error"]
    stored = await house.gateway.stored()
    assert secret.encode() not in stored
    # What nobody asks for is not kept at all.
    assert b"canary" not in stored
    done, broken = await executions(house.gateway)
    assert done.output == "key [redacted]"
    assert "key [redacted]" in str(broken.error)


async def test_where_texts_are_not_kept_values_are_neither(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    upstream.default = echo
    gateway = await start_gateway(ledger_bodies=False)
    async with gateway.make_client(await gateway.add_token(scope="admin")) as admin:
        house = House(gateway, admin)
        assert await house.value("uppercase(x)", x="something unusual") == "SOMETHING UNUSUAL"
        failed = await house.call(
            await house.pipeline("p", "divide(x, 1)"), {"x": "something unusual"}
        )
        assert "something unusual" in failed.text
    stored = await gateway.stored()
    assert b"something unusual" not in stored
    assert b"SOMETHING UNUSUAL" not in stored
    run = (await executions(gateway))[-1]
    assert run.error is not None
    assert (run.error["code"], run.error["message"]) == ("E501", NOT_KEPT)


@pytest.mark.parametrize("value", ["\ud800", "a\0b", 2**63 - 1, "x" * 600_000])
async def test_whatever_a_value_holds_the_run_is_on_record(house: House, value: Any) -> None:
    id_ = await house.pipeline("p", "identity(x)")
    body: Json = {"pipeline_id": id_, "args": {"x": value}}
    answer = await house.gateway.ask(json.dumps(body).encode(), path="/api/pipeline/call?typed=1")
    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 200:
        (run,) = await executions(house.gateway)
        assert run.status == "done"


# -- functions ---------------------------------------------------------------------------------


async def test_a_hanging_and_an_exiting_function_leave_the_server_serving(house: House) -> None:
    (house.gateway.settings.funcs_dir / "custom_bad.py").write_text(
        "import os, time\ndef hang():\n    time.sleep(60)\ndef leave_too():\n    os._exit(1)\n"
    )
    await house.admin.post("/api/v1/functions/sync")
    hanging = await house.call(await house.pipeline("h", "hang() @(timeout=0.3)"))
    assert [one["code"] for one in hanging.json()["diagnostics"]] == ["E502"]
    assert hanging.status_code == 400
    exiting = await house.call(await house.pipeline("l", "leave_too()"))
    assert [one["code"] for one in exiting.json()["diagnostics"]] == ["E501"]
    assert await house.value("upper(x)", x="a") == "A"


async def test_waiting_for_a_worker_is_not_the_functions_own_time(house: House) -> None:
    (house.gateway.settings.funcs_dir / "custom_slow.py").write_text(
        "import time\nfrom aieye.functions import function\n"
        "@function(cacheable=True)\ndef slow(x):\n    time.sleep(0.3)\n    return x\n"
    )
    await house.admin.post("/api/v1/functions/sync")
    # Together they take longer than each of them may.
    items = list(range(32))
    assert await house.value("map(slow, items) @(timeout=2)", items=items) == items


async def test_functions_that_block_hold_nobody_else_up(house: House, tmp_path: Path) -> None:
    file, started = tmp_path / "there", tmp_path / "started"
    started.mkdir()
    (house.gateway.settings.funcs_dir / "custom_block.py").write_text(
        f"""
import os, time, uuid
from aieye.functions import function

def block():
    open(f"{started}/{{uuid.uuid4().hex}}", "w").close()
    while not os.path.exists("{file}"):
        time.sleep(0.01)
    return "seen"

@function(isolate=False)
def block_thread():
    return block()
"""
    )
    await house.admin.post("/api/v1/functions/sync")
    ids = [await house.pipeline(f"p_{one}", f"{one}()") for one in ("block", "block_thread")]
    blocked = [asyncio.ensure_future(house.call(id_)) for id_ in ids * 2]
    async with asyncio.timeout(30):
        while len(list(started.iterdir())) < 4:
            await asyncio.sleep(0.01)
    # Were one of them on the loop, nobody would ever make the file that it waits for.
    assert await house.value("upper(x)", x="a") == "A"
    assert (await house.gateway.ask(question("And?"))).status_code == 200
    assert not any(call.done() for call in blocked)
    file.touch()
    assert [call.json()["response"] for call in await asyncio.gather(*blocked)] == ["seen"] * 4


async def test_a_run_goes_on_with_all_that_it_began_with(
    house: House, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, echo)
    made = await house.prompt("prompt_buddy", "Hey {buddy}")
    later = await house.prompt("later", "then {text}")
    other = house.gateway.settings.funcs_dir / "custom_other.py"
    other.write_text("def call_out(text): return f'{text}!'\n")
    await house.admin.post("/api/v1/functions/sync")
    inner = await house.pipeline("inner", "call_out(builtin_hi(later(prompt_buddy(x))))")
    id_ = await house.pipeline("p", "upper(inner(x))")
    running = asyncio.ensure_future(house.call(id_, {"x": "Ada"}))
    await upstream.wait_for(1)
    file = house.gateway.settings.funcs_dir / "custom_house.py"
    file.write_text(file.read_text().replace("Hi, {buddy}", "Hello, {buddy}"))
    other.write_text("def call_out(text): return f'{text}?'\n")
    await house.admin.post("/api/v1/functions/sync")
    for change in (
        house.admin.patch(f"/api/v1/prompts/{later['id']}", json={"body": "now {text}"}),
        house.admin.delete(f"/api/v1/prompts/{made['id']}?force=true"),
        house.admin.patch(f"/api/v1/pipelines/{inner}", json={"source": "call_out(later(x))"}),
        house.admin.patch(f"/api/v1/pipelines/{id_}", json={"source": "inner(x)"}),
    ):
        assert (await change).status_code == 200
    gate.set()
    assert (await running).json()["response"] == "HI, THEN HEY ADA!"
    assert (await house.latest(id_)).pipeline_version == 1
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "now Ada?"
    assert (await house.latest(id_)).pipeline_version == 2


async def test_a_change_of_a_functions_file_reaches_the_next_run(house: House) -> None:
    file = house.gateway.settings.funcs_dir / "custom_house.py"
    id_ = await house.pipeline("p", "builtin_hi(x)")
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hi, Ada"
    file.write_text(file.read_text().replace("Hi, {buddy}", "Hello, {buddy}"))
    await house.admin.post("/api/v1/functions/sync")
    assert (await house.call(id_, {"x": "Ada"})).json()["response"] == "Hello, Ada"


async def test_a_cancelled_run_closes_every_call_that_is_open(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", '[prompt_buddy("a"), prompt_buddy("b"), fail()]')
    answer = await house.call(id_)
    assert answer.status_code == 400
    for call in upstream.calls():
        await call.wait_closed()
    await eventually(lambda: house.gateway.state.metrics.in_flight == 0)
    rows = await house.gateway.rows()
    assert {(row.status, row.error) for row in rows} <= {(499, "step_cancelled")}
    (run,) = await executions(house.gateway)
    steps = {step.path: step.status for step in await house.steps(run)}
    assert steps == {"prompt_buddy": "cancelled", "prompt_buddy#2": "cancelled", "fail": "failed"}


async def test_a_stop_of_the_server_ends_a_run_with_an_answer_and_its_record(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(x)")
    calling = asyncio.ensure_future(house.call(id_, {"x": "Ada"}))
    (call,) = await upstream.wait_for(1)
    client = house.gateway.client
    house.gateway.client = house.gateway.make_client("")
    await house.gateway.stop()
    answer = await calling
    await client.aclose()
    assert (answer.status_code, "being stopped" in answer.json()["detail"]) == (503, True)
    await call.wait_closed()
    upstream.default = echo
    await house.gateway.start()
    (run,) = await executions(house.gateway)
    assert (run.status, [step.status for step in await house.steps(run)]) == (
        "cancelled", ["cancelled"],
    )  # fmt: skip
    (row,) = await house.gateway.rows(1)
    assert (row.status, row.error) == (499, "step_cancelled")
