"""Runs told step by step while they go on, looked for, and ended by their id from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from aieye import run_stream
from aieye.db.types import now
from aieye.pipeline.executions import Run, Totals, end_run, open_run
from aieye.pipeline.run_queries import tell_to_end
from aieye.pipeline.running import new_run_id
from tests.fakes.upstream import FakeUpstream, hang_before_headers
from tests.faults.harness import PATIENCE_SECONDS, both_databases, eventually
from tests.faults.house import House, as_session

pytestmark = pytest.mark.live

PIPELINES = "/api/v1/pipelines"
EXECUTIONS = "/api/v1/executions"


class Events:
    """The events of an answer, read one at a time."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, str | None, Any]:
        """The next event: its name, its id and its data."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line and fields:
                    break
                fields[name] = value
        assert "event" in fields, fields
        return fields["event"], fields.get("id"), httpx.Response(200, text=fields["data"]).json()


@asynccontextmanager
async def following(house: House, name: str, **args: Any) -> AsyncIterator[Events]:
    async with house.admin.stream(
        "POST", f"{PIPELINES}/{name}/call", json={"args": args},
        headers={"accept": "text/event-stream"},
    ) as answer:  # fmt: skip
        yield Events(answer)


async def executions(house: House, query: str = "", status: int = 200) -> Any:
    answer = await house.admin.get(f"{EXECUTIONS}{query}")
    assert answer.status_code == status, answer.text
    return answer.json()


async def hanging(house: House, upstream: FakeUpstream, name: str = "slow") -> int:
    """A pipeline that has made a step and waits for ever for the next."""
    await house.prompt("ask_slowly", "Wait for {x}")
    upstream.default = hang_before_headers()
    return await house.pipeline(name, "[upper(x), ask_slowly(x)]")


async def closed(upstream: FakeUpstream) -> None:
    """The provider has heard that nobody waits any longer."""
    for call in upstream.calls():
        await call.wait_closed()


# -- events ------------------------------------------------------------------------------------


async def test_a_run_is_told_step_by_step(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("greet", "upper(prompt_buddy(x))")
    async with following(house, "greet", x="Ada") as events:
        assert events.answer.headers["content-type"].startswith("text/event-stream")
        name, id_, run = await events.next()
        assert (name, id_, run) == ("run", None, {"run_id": events.answer.headers["x-run-id"]})
        told = [await events.next() for _ in range(3)]
        rest = [line async for line in events._lines]
    assert rest == []
    assert [(name, id_) for name, id_, _ in told] == [
        ("step", "1"),
        ("step", "2"),
        ("result", None),
    ]
    first, second, result = (data for _, _, data in told)
    assert (first["path"], first["status"], first["output"]) == ("prompt_buddy", "done", "Hey Ada")
    assert (second["path"], second["output"]) == ("upper", "HEY ADA")
    assert (result["value"], result["steps"]) == ("HEY ADA", [first, second])
    assert result["run_id"] == run["run_id"]


async def test_a_step_is_told_when_it_ends_and_not_with_the_last(
    house: House, upstream: FakeUpstream
) -> None:
    slow = await hanging(house, upstream)
    async with following(house, "slow", x="a") as events:
        assert (await events.next())[0] == "run"
        name, _, step = await events.next()
        assert (name, step["path"]) == ("step", "upper")
        await eventually(lambda: len(upstream.calls()) == 1)
    # Whoever followed has left: so does the call, and the run is over.
    await closed(upstream)
    assert (await house.latest(slow)).status == "cancelled"


async def test_what_goes_wrong_is_told_as_the_last_event_or_before_the_first(house: House) -> None:
    await house.pipeline("broken", "fail()")
    async with following(house, "broken") as events:
        run, step, error = [await events.next() for _ in range(3)]
    assert [run[0], step[0], error[0]] == ["run", "step", "error"]
    assert step[2]["status"] == "failed"
    assert error[2]["error"]["code"] == "run_failed"
    assert error[2]["diagnostics"][0]["code"] == "E501"
    async with following(house, "none") as events:
        assert events.answer.status_code == 404
        assert events.answer.headers["content-type"] == "application/json"


async def test_a_quiet_run_says_that_it_goes_on(
    house: House, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_stream, "QUIET_SECONDS", 0.02)
    await hanging(house, upstream)
    async with following(house, "slow", x="a") as events:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in events._lines:
                if line.startswith(":"):
                    break
        assert line.startswith(":")


async def test_a_run_that_the_servers_stop_cuts_off_is_told_so(
    house: House, upstream: FakeUpstream
) -> None:
    await hanging(house, upstream)
    async with following(house, "slow", x="a") as events:
        for _ in ("run", "step"):
            await events.next()
        stopping = asyncio.ensure_future(house.gateway.stop())
        name, _, step = await events.next()
        assert (name, step["path"], step["status"]) == ("step", "ask_slowly", "cancelled")
        name, _, error = await events.next()
        assert (name, error["error"]["code"]) == ("error", "shutting_down")
        await stopping


# -- the end of a run, from elsewhere ----------------------------------------------------------


@both_databases
@pytest.mark.parametrize("by", ["run_id", "id"])
async def test_a_run_is_ended_by_its_id_from_another_request(
    house: House, upstream: FakeUpstream, by: str
) -> None:
    await hanging(house, upstream)
    async with following(house, "slow", x="a") as events:
        _, _, run = await events.next()
        await events.next()
        while not (found := (await executions(house, "?status=running"))["data"]):
            await asyncio.sleep(0.01)
        assert found[0]["run_id"] == run["run_id"]
        told = await house.admin.post(f"{EXECUTIONS}/{found[0][by]}/cancel")
        assert (told.status_code, told.json()) == (200, {**run, "status": "cancelling"})
        name, _, step = await events.next()
        assert (name, step["path"], step["status"]) == ("step", "ask_slowly", "cancelled")
        name, _, error = await events.next()
        assert (name, error["diagnostics"][0]["code"]) == ("error", "E503")
    await closed(upstream)
    kept = await executions(house, f"/{run['run_id']}")
    assert (kept["status"], kept["error"]) == ("cancelled", "E503: the run was cancelled")
    ends = {step["path"]: step["status"] for step in kept["steps"]}
    assert ends == {"upper": "done", "ask_slowly": "cancelled"}
    again = await house.admin.post(f"{EXECUTIONS}/{found[0]['id']}/cancel")
    assert again.json() == {**run, "status": "cancelled"}


async def test_whoever_waits_for_a_run_that_was_ended_is_told(
    house: House, upstream: FakeUpstream
) -> None:
    await hanging(house, upstream)
    plain = asyncio.ensure_future(
        house.admin.post(f"{PIPELINES}/slow/call", json={"args": {"x": "a"}})
    )
    as_model = asyncio.ensure_future(
        house.gateway.ask(
            {"model": "pipeline/slow", "messages": [{"role": "user", "content": "b"}]}
        )
    )
    while len(found := (await executions(house, "?status=running"))["data"]) < 2:
        await asyncio.sleep(0.01)
    for run in found:
        await house.admin.post(f"{EXECUTIONS}/{run['id']}/cancel")
    for answer in await asyncio.gather(plain, as_model):
        assert answer.status_code == 422
        assert answer.json()["diagnostics"][0]["code"] == "E503"


async def test_an_administrator_who_ends_anothers_run_is_in_the_audit(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("ask_slowly", "Wait for {x}", shared=True)
    upstream.default = hang_before_headers()
    await house.pipeline("slow", "ask_slowly(x)", shared=True)
    user_id = await house.gateway.add_user("a@example.org")
    headers = as_session(await house.sign_in(user_id))
    for owner, count in (("own", 0), ("another's", 1)):
        async with httpx.AsyncClient(base_url=house.gateway.url, trust_env=False) as theirs:
            caller = house.admin if owner == "own" else theirs
            call = caller.post(
                f"{PIPELINES}/slow/call", json={"args": {"x": owner}},
                headers={} if owner == "own" else headers,
            )  # fmt: skip
            calling = asyncio.ensure_future(call)
            while not (found := (await executions(house, "?status=running"))["data"]):
                await asyncio.sleep(0.01)
            await house.admin.post(f"{EXECUTIONS}/{found[0]['id']}/cancel")
            assert (await calling).status_code == 422
        audit = (await house.admin.get("/api/v1/audit?action=execution.cancel")).json()["data"]
        assert len(audit) == count, owner
    assert (audit[0]["object_id"], audit[0]["details"]) == (
        found[0]["run_id"], {"user_id": user_id},
    )  # fmt: skip


@both_databases
async def test_a_word_that_comes_at_the_end_leaves_no_error_on_a_run_that_is_done(
    house: House,
) -> None:
    database = house.gateway.state.database
    await house.pipeline("p", "upper(x)")
    run = Run(
        run_id=new_run_id(), instance_id="", pipeline_id=None, pipeline_version=None,
        pipeline=None, user_id=1, token_id=None, key_id=None, arguments={}, started_at=now(),
    )  # fmt: skip
    for is_late in (False, True):
        run = replace(run, run_id=new_run_id())
        async with database.write() as session:
            id_ = await open_run(session, run, keeps_values=True)
        if not is_late:
            async with database.write() as session:
                await tell_to_end(session, id_)
        end = partial(
            end_run, run=run, execution_id=id_, status="done", ended_at=now(), output="A",
            error=None, trace=[], totals=Totals(), keeps_values=True,
        )  # fmt: skip
        await database.write_at_once(end)
        if is_late:
            async with database.write() as session:
                await tell_to_end(session, id_)
        found = await executions(house, f"/{id_}")
        assert (found["status"], found["error"]) == ("done", None)


async def test_a_run_of_another_user_is_not_there(house: House, upstream: FakeUpstream) -> None:
    await hanging(house, upstream)
    stranger = await house.sign_in(await house.gateway.add_user("a@example.org"))
    async with (
        httpx.AsyncClient(base_url=house.gateway.url, trust_env=False) as other,
        following(house, "slow", x="a") as events,
    ):
        other.headers.update(as_session(stranger))
        _, _, run = await events.next()
        for stage in ("without a row", "with one"):
            if stage == "with one":
                while not (found := (await executions(house))["data"]):
                    await asyncio.sleep(0.01)
                assert (await other.get(f"{EXECUTIONS}/{found[0]['id']}")).status_code == 404
            answer = await other.post(f"{EXECUTIONS}/{run['run_id']}/cancel")
            assert answer.status_code == 404, stage
        assert (await other.get(EXECUTIONS)).json()["data"] == []
        assert (await executions(house))["data"][0]["status"] == "running"


# -- lists -------------------------------------------------------------------------------------


@both_databases
async def test_runs_are_listed_newest_first_and_by_what_they_are(house: House) -> None:
    greet = await house.pipeline("greet", "upper(x)")
    await house.pipeline("broken", "fail()")
    for name, x in (("greet", "a"), ("broken", ""), ("greet", "b"), ("greet", "c")):
        await house.admin.post(f"{PIPELINES}/{name}/call", json={"args": {"x": x}})

    async def ids(query: str) -> list[tuple[str, str]]:
        found = (await executions(house, query))["data"]
        return [(one["pipeline"], one["status"]) for one in found]

    everything = [("greet", "done"), ("greet", "done"), ("broken", "failed"), ("greet", "done")]
    assert await ids("") == everything
    assert await ids("?status=failed") == [("broken", "failed")]
    assert (
        await ids("?pipeline=greet") == await ids(f"?pipeline={greet}") == [("greet", "done")] * 3
    )
    assert await ids("?pipeline=none") == await ids("?status=cancelling") == []
    await executions(house, "?status=ended", status=422)
    page = await executions(house, "?pipeline=greet&limit=2")
    assert page["has_more"]
    rest = await executions(house, f"?pipeline=greet&limit=2&cursor={page['next_cursor']}")
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([1], False)
    kept = await executions(house, "/1")
    assert (kept["args"], kept["value"]) == ({"x": "a"}, "A")
    (step,) = kept["steps"]
    assert (step["number"], step["path"], step["offset"], step["length"]) == (0, "upper", 0, 8)
    assert (step["input"], step["output"], step["cost_usd"]) == ({"s": "a"}, "A", "0")
    for reference in ("9", "99999999999999999999", "0" * 32, "x"):
        await executions(house, f"/{reference}", status=404)
