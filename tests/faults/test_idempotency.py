"""`Idempotency-Key`: a POST that is sent twice is done once."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import text, update

from aieye.db.tables import IdempotentCall
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    FakeUpstream,
    chat_answer,
    cut_after,
    hang_before_headers,
    held,
    json_answer,
    sse,
    stream_then_silence,
)
from tests.faults.harness import (
    CHAT,
    DONE_FRAME,
    MODEL,
    PATIENCE_SECONDS,
    Gateway,
    Headers,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    error_code,
    eventually,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

KEY = {"idempotency-key": "order-66"}
# So that what is given again never comes from the cache.
ONCE = {**KEY, "cache-control": "no-store"}


@both_databases
@both_forms
async def test_the_same_call_is_answered_again_with_the_same_bytes(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = chat_answer("one two three")

    answers = [await gateway.ask(asked("Well?", form), headers=ONCE) for _ in range(3)]

    assert len(upstream.requests) == 1
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    assert {answer.headers["content-type"] for answer in answers} == {
        answers[0].headers["content-type"]
    }
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [
        None, "true", "true",
    ]  # fmt: skip
    rows = await gateway.rows(3)
    assert [row.cost_nano for row in rows] == [5850, 0, 0]
    assert {row.status for row in rows} == {200}


async def test_what_is_given_again_has_a_request_id_of_its_own_that_its_row_has_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    answers = [await gateway.ask(question(), headers=ONCE) for _ in range(2)]

    rows = await gateway.rows(2)
    assert len(upstream.requests) == 1
    assert [answer.headers["x-request-id"] for answer in answers] == [
        f"req_{row.id}" for row in rows
    ]


@both_databases
@both_forms
async def test_what_is_given_again_is_booked_as_a_hit_that_saved_what_the_first_call_cost(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    answers = [await gateway.ask(asked("Well?", form), headers=ONCE) for _ in range(3)]

    first, *again = await gateway.rows(3)
    assert len(upstream.requests) == 1
    assert first.cost_nano
    for row, answer in zip(again, answers[1:], strict=True):
        assert (row.cache, row.cost_nano, row.cost_state, row.saved_nano) == (
            "hit", 0, "exact", first.cost_nano,
        )  # fmt: skip
        assert (row.model, row.is_stream, row.tokens_input, row.tokens_output) == (
            first.model, first.is_stream, first.tokens_input, first.tokens_output,
        )  # fmt: skip
        assert row.body_id == first.body_id
        assert row.attempts == []
        assert answer.headers["x-aieye-cache"] == "hit"
        assert answer.headers["cache-status"] == "aieye; hit"
        assert float(answer.headers["x-aieye-saved-usd"]) == first.cost_nano / 1e9
        assert "x-aieye-cost-usd" not in answer.headers


@both_databases
async def test_the_same_key_with_another_body_is_422(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question(), headers=ONCE)

    for body in (question("Else?"), streamed(), b'{"model":"gpt-4o-mini" }'):
        answer = await gateway.ask(body, headers=ONCE)
        assert (answer.status_code, error_code(answer)) == (422, "idempotency_key_reused")
    assert len(upstream.requests) == 1


@both_databases
@both_forms
async def test_the_same_key_while_the_call_is_under_way_is_409(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one"))
    first = asyncio.create_task(gateway.ask(asked("Well?", form), headers=ONCE))
    await upstream.wait_for(1)

    second = await gateway.ask(asked("Well?", form), headers=ONCE)
    other = await gateway.ask(asked("Else?", form), headers=ONCE)
    gate.set()
    answer = await first
    third = await gateway.ask(asked("Well?", form), headers=ONCE)

    assert (second.status_code, error_code(second)) == (409, "idempotency_key_in_flight")
    assert other.status_code == 422
    assert (text_of(answer), third.content) == ("one", answer.content)
    assert len(upstream.requests) == 1


async def test_of_twenty_calls_at_once_one_is_made(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one"))
    asking = [asyncio.create_task(gateway.ask(question(), headers=ONCE)) for _ in range(20)]
    await upstream.wait_for(1)
    while sum(one.done() for one in asking) < 19:
        await asyncio.sleep(0.01)
    gate.set()
    answers = await asyncio.gather(*asking)

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert len(upstream.requests) == 1


async def test_a_key_counts_for_its_token_and_path_only(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    other = await gateway.add_token()
    body = {"model": MODEL, "messages": [], "input": "x", "prompt": "x"}

    answers = [
        await gateway.ask(body, headers=ONCE),
        await gateway.ask(body, headers=ONCE, token=other),
        await gateway.ask(body, headers=ONCE, path="/v1/responses"),
        await gateway.ask(body, headers={**ONCE, "idempotency-key": "order-67"}),
        await gateway.ask(body, headers={"cache-control": "no-store"}),
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert len(upstream.requests) == 5
    same_path = await gateway.ask(body, headers=ONCE, path=f"{CHAT}/")
    assert same_path.headers["idempotency-replayed"] == "true"


FAILURES: dict[str, Behaviour] = {
    "500": json_answer(500, chat.error_body()),
    "429": json_answer(429, chat.error_body(), {"Retry-After": "3600"}),
    "408": json_answer(408, chat.error_body()),
    "409": json_answer(409, chat.error_body()),
    "425": json_answer(425, chat.error_body()),
    "401": json_answer(401, chat.error_body()),
    "nothing": cut_after(0),
    "a cut stream": cut_after(600, sse(chat.chat_frames("one two three four"))),
    "an error in the stream": sse(
        [*chat.chat_frames("one two three")[:3], chat.error_frame()], done=False
    ),
    "silence in the stream": stream_then_silence(chat.chat_frames("one two")[:2]),
    "silence": hang_before_headers(),
}


@both_forms
async def test_after_a_failure_the_same_key_may_be_used_again(
    start_gateway: StartGateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None,
    form: str,
) -> None:  # fmt: skip
    gateway = await start_gateway(first_byte_timeout=0.5, idle_timeout=0.5)
    wrong: list[tuple[object, ...]] = []
    for name, failure in FAILURES.items():
        if form == "plain" and "stream" in name:
            continue
        headers = {**ONCE, "idempotency-key": name}
        upstream.default = failure
        first = await gateway.ask(asked(name, form), headers=headers)
        assert first.status_code >= 400 or b"error" in first.content
        upstream.default = chat_answer("Here.")
        second = await gateway.ask(asked(name, form), headers=headers)
        third = await gateway.ask(asked(name, form), headers=headers)
        if second.status_code != 200 or text_of(second) != "Here.":
            wrong.append((name, second.status_code, second.content[-100:]))
        elif third.content != second.content:
            wrong.append((name, "not given again"))

    assert sum(upstream.fired.values()) >= len(FAILURES)
    assert not wrong, wrong


async def test_what_the_provider_found_wrong_is_given_again(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(400, chat.error_body("No."))

    answers = [await gateway.ask(question(), headers=ONCE) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].content == answers[1].content
    assert len(upstream.requests) == 1


@both_forms
async def test_a_client_that_left_may_use_its_key_again(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.script(
        hang_before_headers()
        if form == "plain"
        else stream_then_silence(chat.chat_frames("one two")[:2])
    )
    async with gateway.raw() as client:
        await client.send(gateway.request(asked("Well?", form), headers=ONCE))
        await upstream.wait_for(1)
        await asyncio.sleep(0.1)
        client.abort()
        await upstream.requests[0].wait_closed()
    await gateway.rows(1)
    await asyncio.sleep(0.05)

    answer = await gateway.ask(asked("Well?", form), headers=ONCE)

    assert text_of(answer) == "Well?"
    assert len(upstream.requests) == 2


async def test_a_request_that_is_wrong_does_not_use_its_key_up(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    bad = await gateway.ask(b"{", headers=ONCE)
    good = await gateway.ask(question(), headers=ONCE)

    assert (bad.status_code, good.status_code) == (400, 200)
    assert len(upstream.requests) == 1


async def test_a_key_that_is_none_is_400(gateway: Gateway, upstream: FakeUpstream) -> None:
    for key in ("", "x" * 256, "\xe9", "a\tb"):
        given: list[tuple[bytes, bytes]] = [(b"idempotency-key", key.encode("latin-1"))]
        answer = await gateway.client.post(CHAT, json=question(), headers=given)
        assert answer.status_code == 400, key
    assert upstream.requests == []
    longest = await gateway.ask(question(), headers={**KEY, "idempotency-key": "x" * 255})
    assert longest.status_code == 200


@both_databases
async def test_answers_are_kept_over_a_restart_for_a_day(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script(chat_answer("first"), chat_answer("second"))
    first = await gateway.ask(question(), headers=ONCE)
    await gateway.restart()
    again = await gateway.ask(question(), headers=ONCE)
    assert again.content == first.content
    async with gateway.state.database.write() as session:
        day = 24 * 3600 * 1_000_000
        await session.execute(text(f"UPDATE idempotent_calls SET created_at = created_at - {day}"))

    late = await gateway.ask(question(), headers=ONCE)

    assert text_of(late) == "second"
    assert len(upstream.requests) == 2


async def test_a_key_that_a_dead_process_held_is_free_after_its_restart(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question(), headers=ONCE)
    async with gateway.state.database.write() as session:
        await session.execute(update(IdempotentCall).values(status=None, body=None, headers=None))

    answer = await gateway.ask(question(), headers=ONCE)

    assert text_of(answer) == "What is it?"
    assert len(upstream.requests) == 2


@both_databases
async def test_the_answer_is_stored_before_its_last_byte(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    headers: Headers = ONCE
    answer: httpx.Response = await gateway.ask(streamed(), headers=headers)

    async with gateway.state.database.read() as session:
        stored = await session.scalar(text("SELECT body FROM idempotent_calls"))
    assert stored is not None
    assert bytes(stored) == answer.content
    assert answer.content.endswith(DONE_FRAME)


async def test_creating_twice_with_one_key_creates_once(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, {"id": "vs_1", "object": "vector_store"})

    answers = [
        await gateway.ask({"name": "x"}, path="/v1/vector_stores", headers=KEY) for _ in range(2)
    ]

    assert [answer.json()["id"] for answer in answers] == ["vs_1", "vs_1"]
    assert len(upstream.requests) == 1


async def test_a_stream_with_a_key_reaches_the_client_as_it_comes(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.chat_frames("one two three four five")
    gate = asyncio.Event()

    upstream.default = stream_then_silence(frames[:2])
    async with gateway.raw() as client:
        await client.send(gateway.request(streamed(), headers=ONCE))
        await client.read_until(frames[1])
        assert not gate.is_set()
    assert upstream.fired["silence"] == 1


# -- forms and uploads ---------------------------------------------------------------------------


async def upload(gateway: Gateway, content: bytes, *, path: str = "/v1/files") -> httpx.Response:
    """A form, its boundary made up anew as clients do; large enough to come in several pieces."""
    files = {"file": ("a.jsonl", content * 50_000)}
    return await gateway.client.post(path, files=files, data={"purpose": "batch"}, headers=KEY)


@both_databases
async def test_an_upload_that_is_sent_twice_is_made_once(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, {"id": "file-1", "object": "file"})

    answers = [await upload(gateway, b"the same") for _ in range(2)]
    other = await upload(gateway, b"another")

    assert len(upstream.requests) == 1
    assert upstream.requests[0].body_complete
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert (other.status_code, error_code(other)) == (422, "idempotency_key_reused")


async def test_an_upload_whose_key_is_in_use_is_409_whatever_it_holds(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, json_answer(200, {"id": "file-1", "object": "file"}))
    first = asyncio.create_task(upload(gateway, b"one"))
    await upstream.wait_for(1)

    for content in (b"one", b"two"):
        answer = await upload(gateway, content)
        assert (answer.status_code, error_code(answer)) == (409, "idempotency_key_in_flight")
    gate.set()

    assert (await first).status_code == 200
    assert len(upstream.requests) == 1


async def test_an_upload_that_broke_off_does_not_use_its_key_up(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, {"id": "file-1", "object": "file"})
    async with gateway.raw() as client:
        await client.send(gateway.head("/v1/files", 10**6, headers=KEY), b"x" * 100_000)
        await eventually(lambda: len(upstream.requests) == 1)
    await gateway.rows(1)

    async with asyncio.timeout(PATIENCE_SECONDS):
        while (answer := await upload(gateway, b"one")).status_code == 409:
            # The row is there a moment before the key is free.
            await asyncio.sleep(0.01)

    assert (answer.status_code, len(upstream.requests)) == (200, 2)


async def test_a_form_that_is_read_whole_may_have_another_boundary_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, {"text": "Hello"})
    path = "/v1/images/variations"

    answers = [await upload(gateway, b"the same", path=path) for _ in range(2)]

    assert {answer.status_code for answer in answers} == {200}
    assert len(upstream.requests) == 1
