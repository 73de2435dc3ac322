"""The playground before a provider that fails, hangs and is left: the column says so, and the row too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from aieye.access.sessions import start_session
from aieye.ui import playground_run
from tests.fakes import chat
from tests.fakes.upstream import (
    FakeUpstream,
    cut_after,
    delay,
    hang_before_headers,
    json_answer,
    realistic,
    sse,
    stream_then_silence,
)
from tests.faults.harness import Gateway, eventually
from tests.faults.house import as_session
from tests.faults.test_pipeline_events import Events

pytestmark = pytest.mark.live

FORM = {
    "mode": "messages", "role": "user", "content": "Hello there", "model": chat.MODEL,
    "temperature": "", "max_tokens": "", "params": "",
}  # fmt: skip


@asynccontextmanager
async def browser(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A signed-in plain user's."""
    user_id = await gateway.add_user("ada@example.org")
    async with gateway.state.database.write() as session:
        begun = await start_session(session, user_id, ip="127.0.0.1")
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=as_session(begun), trust_env=False, timeout=30
    ) as client:
        yield client


async def events_of(client: httpx.AsyncClient, **fields: str) -> list[tuple[str, str]]:
    """All events of a trial: names and data."""
    answer = await client.post("/playground/stream", data={**FORM, **fields})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    found = []
    for frame in answer.text.strip().split("\n\n"):
        name, _, data = frame.removeprefix("event: ").partition("\ndata: ")
        if not name.startswith(":"):
            found.append((name, json.loads(data)))
    return found


async def test_an_answer_comes_in_pieces_and_its_row_is_the_users(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    async with browser(gateway) as client:
        events = await events_of(client, temperature="0.5")
        (asked,) = upstream.calls()
        assert asked.json["messages"] == [{"role": "user", "content": "Hello there"}]
        assert asked.json["temperature"] == 0.5
        assert events[0][0] == "begin"
        assert len([name for name, _ in events if name == "text"]) > 1
        name, outcome = events[-1]
        assert name == "end"
        (row,) = await gateway.rows(1)
        assert (row.token_id, row.status, row.tags) == (None, 200, {"from": "playground"})
        assert row.is_stream
        assert f"/calls/{row.id}" in outcome
        assert events[0][1] == row.id
        assert (await client.get(f"/calls/{row.id}")).status_code == 200
        again = await events_of(client, temperature="0.5")
        assert [data for name, data in again if name == "text"]
        assert "hit" in again[-1][1]
        assert len(upstream.calls()) == 1


async def test_who_leaves_closes_the_call_at_the_provider_and_the_row_says_so(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.chat_frames("one two three four")
    upstream.default = stream_then_silence(frames[:3])
    async with browser(gateway) as client:
        async with client.stream("POST", "/playground/stream", data=FORM) as answer:
            events = Events(answer)
            assert (await events.next())[0] == "begin"
            assert (await events.next())[0] == "text"
        (asked,) = upstream.calls()
        await asked.wait_closed()
        (row,) = await gateway.rows(1)
        assert (row.status, row.error) == (499, "client_cancelled")


async def test_who_leaves_before_the_first_word_does_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    async with browser(gateway) as client:
        for path in ("/playground/stream", "/playground"):
            task = asyncio.ensure_future(client.post(path, data=FORM))
            await eventually(lambda path=path: len(upstream.calls()) == 1 + (path == "/playground"))  # type: ignore[misc] # a default
            task.cancel()
            await upstream.calls()[-1].wait_closed()
        rows = await gateway.rows(2)
        assert {(row.status, row.error) for row in rows} == {(499, "client_cancelled")}


@pytest.mark.usefixtures("quick_retries", "no_circuit")
async def test_what_goes_wrong_stands_in_the_column(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async with browser(gateway) as client:
        for behaviour, said in (
            (json_answer(400, chat.error_body("No such <b>model</b>.")), "No such &lt;b&gt;model"),
            (json_answer(500, chat.error_body("Overloaded.")), "Overloaded"),
            (cut_after(60, sse(chat.chat_frames("one two three four five six"))), "broke"),
            (sse([*chat.chat_frames("one two")[:2], chat.error_frame("Too much <i>")]), "Too much &lt;i&gt;"),
        ):  # fmt: skip
            upstream.default = behaviour
            events = await events_of(client, content=said)
            assert events[-1][0] == "end"
            assert said in events[-1][1], events
            assert 'role="alert"' in events[-1][1]
            # Of what was never answered, neither a first token nor a cost is told.
            is_answered = any(name == "text" for name, _ in events)
            for word in ("First token", "Cost", "cache miss"):
                assert (word in events[-1][1]) == (is_answered and word != "cache miss"), word
            assert "Latency" in events[-1][1]
            assert "data-continues" not in events[-1][1]
        whole = await client.post("/playground", data={**FORM, "content": "Say <b>", "act": "run"})
        assert whole.status_code == 200
        assert "Too much &lt;i&gt;" in whole.text
        assert "Say &lt;b&gt;" in whole.text


async def test_an_answer_that_was_cut_off_says_so(gateway: Gateway, upstream: FakeUpstream) -> None:
    async with browser(gateway) as client:
        for finish, said in (("stop", False), ("length", True)):
            upstream.default = sse(chat.chat_frames("one two", finish=finish))
            events = await events_of(client, content=finish)
            assert ("the most tokens were reached" in events[-1][1]) == said
            assert "data-continues" in events[-1][1]


async def test_calls_of_tools_are_shown_where_there_is_no_text(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(chat.tool_call_frames("find", '{"x": 1}'))
    async with browser(gateway) as client:
        events = await events_of(client)
        assert "find" in "".join(data for name, data in events if name == "text")
        # They are no text that an assistant's message could have.
        assert "data-continues" not in events[-1][1]


async def test_whoever_waits_long_hears_that_the_call_is_still_there(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground_run, "STILL_THERE_SECONDS", 0.02)
    upstream.default = delay(0.3, realistic())
    async with browser(gateway) as client:
        answer = await client.post("/playground/stream", data=FORM)
        assert ": still waiting" in answer.text
        assert "event: end" in answer.text


async def test_several_columns_are_asked_side_by_side_without_scripts(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    async with browser(gateway) as client:
        form = {**FORM, "model": ["gpt-4o", "gpt-4o-mini"], "temperature": ["0", "1"],
                "max_tokens": ["", "7"], "params": ["", '{"seed": 3}'], "act": "run"}  # fmt: skip
        answer = await client.post("/playground", data=form)
        assert answer.text.count("First token") == 2
    asked = sorted((call.json for call in upstream.calls()), key=lambda one: str(one["model"]))
    assert [one["model"] for one in asked] == ["gpt-4o", "gpt-4o-mini"]
    assert [one.get("max_tokens") for one in asked] == [None, 7]
    assert [one.get("seed") for one in asked] == [None, 3]


async def test_a_trial_is_paid_as_was_chosen_and_asks_anew_if_it_should(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    async with browser(gateway) as client:
        user = (await client.get("/api/v1/users/me")).json()
        mine = await gateway.add_token(user_id=user["id"], models=["gpt-4o-mini"])
        theirs = await gateway.add_token()
        ids = {
            secret: grant.token_id
            for secret in (mine, theirs)
            if (grant := gateway.state.directory.find_grant(secret)) is not None
        }
        await events_of(client, payer=f"token:{ids[mine]}", model="gpt-4o-mini")
        await events_of(client, payer=f"token:{ids[mine]}", model="gpt-4o-mini", cache="refresh")
        refused = await events_of(client, payer=f"token:{ids[mine]}", model="gpt-4o")
        assert "may not use the model" in refused[-1][1]
        rows = await gateway.rows(3)
        assert {row.token_id for row in rows} == {ids[mine]}
        assert [row.cache for row in rows[:2]] == ["miss", "refresh"]
        missed = await events_of(client, cache="only", content="Never asked")
        assert "no stored answer" in missed[-1][1]
        assert len(upstream.calls()) == 2
        other = await client.post(
            "/playground/stream", data={**FORM, "payer": f"token:{ids[theirs]}"}
        )
        assert other.status_code == 422
