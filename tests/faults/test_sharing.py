"""Identical calls at the same time: one call to the provider, one payer, equal answers for all."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from aieye.access.routes import Target
from aieye.cache import browse
from aieye.cache.browse import EntryFilters
from aieye.db.tables import Call
from tests.fakes import chat
from tests.fakes.upstream import (
    FakeUpstream,
    by_key,
    chat_answer,
    cut_after,
    delay,
    hang_before_headers,
    held,
    json_answer,
    sse,
)
from tests.faults.harness import (
    DONE_FRAME,
    MODEL,
    Gateway,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    eventually,
    gather,
    hears_within_a_second,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

WORDS = chat.chat_frames("one two three four five six", usage=chat.usage())
COST = 5850  # nano-dollars: 11 tokens in and 7 out of gpt-4o-mini

NO = chat.error_body("No.")
# An answer that no stream can say.
IN_PARTS = chat.chat_body("", usage=chat.usage())
IN_PARTS["choices"][0]["message"]["content"] = [{"type": "text", "text": "one"}]


def payers(rows: list[Call]) -> list[Call]:
    return [row for row in rows if row.cost_nano]


def assert_paid_once(rows: list[Call], cost: int = COST) -> None:
    """One row carries the cost, all others say 0, and none that it is unknown."""
    assert [row.cost_nano for row in payers(rows)] == [cost]
    assert all(row.cost_nano == 0 for row in rows if row not in payers(rows))


def waiting(gateway: Gateway) -> int:
    """How many clients wait in the exchanges under way."""
    flights = gateway.state.gateway.exchanges.flights.values()
    return sum(len(one.participants) for forms in flights for one in forms.values())


@both_databases
@both_forms
async def test_of_fifty_identical_calls_one_reaches_the_provider_and_one_pays(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one two three"))
    asking = [asyncio.create_task(gateway.ask(asked("Well?", form))) for _ in range(50)]
    await eventually(lambda: waiting(gateway) == 50)
    gate.set()

    answers = await gather(asking)

    assert upstream.fired["held"] == len(upstream.requests) == 1
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    assert text_of(answers[0]) == "one two three"
    states = sorted(answer.headers["x-aieye-cache"] for answer in answers)
    assert states == ["miss"] + ["shared"] * 49
    for shared in (one for one in answers if one.headers["x-aieye-cache"] == "shared"):
        assert shared.headers["cache-status"] == "aieye; fwd=miss; collapsed"
        if form == "plain":
            assert shared.headers["x-aieye-cost-usd"] == "0"
            assert shared.headers["x-aieye-saved-usd"] == "0.00000585"
    rows = await gateway.rows(50)
    assert len(rows) == 50
    assert_paid_once(rows)
    assert payers(rows)[0].cache == "miss"
    assert {row.saved_nano for row in rows if row.cache == "shared"} == {COST}
    assert {row.tokens_output for row in rows} == {7}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 50
    assert sum(len(row.attempts) for row in rows) == 1


@both_databases
@both_forms
async def test_the_entry_tells_which_of_those_who_shared_made_it(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one two three"))
    asking = [asyncio.create_task(gateway.ask(asked("Well?", form))) for _ in range(5)]
    await eventually(lambda: waiting(gateway) == 5)
    gate.set()
    await gather(asking)
    await gateway.ask(asked("Well?", form))

    rows = await gateway.rows(6)
    (payer,) = payers(rows)
    async with gateway.state.database.read() as session:
        (entry,) = await browse.list_entries(session, EntryFilters(), limit=9)
        assert await browse.find_maker(session, entry) == payer.id


@both_forms
async def test_calls_that_arrive_while_the_answer_streams_get_all_of_it(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = delay(0.05, sse(WORDS, delay=0.04))
    if form == "plain":
        upstream.default = delay(0.3, chat_answer("one two three four five six"))

    async def later(number: int) -> httpx.Response:
        await asyncio.sleep(number * 0.01)
        return await gateway.ask(asked("Well?", form))

    answers = await gather([later(number) for number in range(30)])

    assert len(upstream.requests) == 1
    assert {answer.content for answer in answers} == {answers[0].content}
    assert text_of(answers[0]) == "one two three four five six"
    assert_paid_once(await gateway.rows(30))


async def test_plain_and_streamed_calls_share_one_call_to_the_provider(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for first in ("plain", "streamed"):
        gate = asyncio.Event()
        upstream.default = held(gate, chat_answer("one two three"))
        seen = len(upstream.requests)
        forms = [first] + ["plain", "streamed"] * 10
        asking = []
        for form in forms:
            asking.append(asyncio.create_task(gateway.ask(asked(f"{first} first", form))))
            await asyncio.sleep(0.01)
        gate.set()

        answers = await gather(asking)

        assert len(upstream.requests) == seen + 1
        assert {text_of(answer) for answer in answers} == {"one two three"}
        for form, answer in zip(forms, answers, strict=True):
            kind = "application/json" if form == "plain" else "text/event-stream"
            assert answer.headers["content-type"].startswith(kind)
            assert answer.content.endswith(DONE_FRAME) == (form == "streamed")
            assert answer.headers["x-aieye-provider"] == "openai"
            if form != first:
                assert answer.headers["x-aieye-cost-usd"] == "0"
                assert answer.headers["x-aieye-saved-usd"] == "0.00000585"
        assert_paid_once((await gateway.rows())[-21:])


async def test_streams_with_and_without_usage_share_one_call_to_the_provider(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one two three"))
    wanting = streamed(stream_options={"include_usage": True})
    asking = []
    for number in range(10):
        body = wanting if number % 2 else streamed()
        asking.append(asyncio.create_task(gateway.ask(body)))
        await asyncio.sleep(0.01)
    gate.set()

    answers = await gather(asking)

    assert len(upstream.requests) == 1
    assert [b'"prompt_tokens"' in answer.content for answer in answers] == [False, True] * 5
    assert_paid_once(await gateway.rows(10))


@both_databases
@pytest.mark.parametrize("form", ["plain", "streamed", "streamed later"])
async def test_when_the_first_client_leaves_the_others_get_the_answer_and_one_of_them_pays(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    gate = asyncio.Event()
    frames = sse(WORDS, delay=0.05) if form == "streamed later" else chat_answer("one two three")
    upstream.default = held(gate, frames)
    kind = form.split(" ", maxsplit=1)[0]
    async with gateway.raw() as leader:
        await leader.send(gateway.request(asked("Well?", kind)))
        await upstream.wait_for(1)
        asking = [asyncio.create_task(gateway.ask(asked("Well?", kind))) for _ in range(5)]
        # All have joined before the first one goes, and it is gone before the answer is whole.
        await eventually(lambda: waiting(gateway) == 6)
        if form == "streamed later":
            gate.set()
            await leader.read_until(WORDS[1])
        leader.abort()
        await eventually(lambda: waiting(gateway) == 5)
        gate.set()
        answers = await gather(asking)

    assert len(upstream.requests) == 1
    assert upstream.requests[0].finished_at is not None
    assert {answer.content for answer in answers} == {answers[0].content}
    rows = await gateway.rows(6)
    assert [row.status for row in rows] == [499] + [200] * 5
    assert_paid_once(rows)
    assert payers(rows)[0].status == 200
    assert await gateway.entries() == 1


async def test_a_stream_goes_on_for_the_others_when_the_last_one_to_come_leaves(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(WORDS, delay=0.05)
    asking = asyncio.create_task(gateway.ask(streamed()))
    await upstream.wait_for(1)
    async with gateway.raw() as follower:
        await follower.send(gateway.request(streamed()))
        await follower.read_until(WORDS[1])
        follower.abort()
    answer = await asking

    assert answer.content.endswith(DONE_FRAME)
    rows = await gateway.rows(2)
    assert sorted(row.status or 0 for row in rows) == [200, 499]
    assert_paid_once(rows)


@pytest.mark.parametrize("forms", ["plain streamed", "streamed plain"])
async def test_when_the_first_client_leaves_one_who_asked_in_the_other_form_pays(
    gateway: Gateway, upstream: FakeUpstream, forms: str
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one two three"))
    first, second = forms.split()
    async with gateway.raw() as leader:
        await leader.send(gateway.request(asked("Well?", first)))
        await upstream.wait_for(1)
        asking = asyncio.create_task(gateway.ask(asked("Well?", second)))
        await asyncio.sleep(0.15)
        leader.abort()
        await asyncio.sleep(0.1)
        gate.set()
        answer = await asking

    assert text_of(answer) == "one two three"
    rows = await gateway.rows(2)
    assert [row.status for row in rows] == [499, 200]
    if len(upstream.requests) == 1:
        assert_paid_once(rows)
    else:
        assert (rows[1].cost_nano, rows[1].cost_state) == (COST, "exact")


@pytest.mark.parametrize("state", ["exact", "estimated"])
async def test_what_cannot_be_given_in_the_other_form_is_paid_all_the_same(
    gateway: Gateway, upstream: FakeUpstream, state: str
) -> None:
    gate = asyncio.Event()
    parts = IN_PARTS
    if state == "estimated":
        parts = {name: value for name, value in IN_PARTS.items() if name != "usage"}
    upstream.script(held(gate, json_answer(200, parts)))
    async with gateway.raw() as leader:
        await leader.send(gateway.request(asked("Well?", "plain")))
        await upstream.wait_for(1)
        asking = asyncio.create_task(gateway.ask(asked("Well?", "streamed")))
        await asyncio.sleep(0.15)
        leader.abort()
        await asyncio.sleep(0.1)
        gate.set()
        answer = await asking

    assert text_of(answer) == "Well?"
    usages = [request.usage for request in upstream.requests]
    assert usages == [chat.usage() if state == "exact" else None, chat.usage()]
    rows = await gateway.rows(2)
    if state == "exact":
        assert sum(row.cost_nano or 0 for row in rows) == 2 * COST
    # An amount is as sure as the least sure part of it.
    assert rows[1].cost_nano is not None
    assert rows[1].cost_nano > COST
    assert rows[1].cost_state == state
    assert sum(len(row.attempts) for row in rows) == 2


@pytest.mark.parametrize("forms", ["streamed plain", "plain streamed"])
async def test_those_who_waited_in_vain_for_the_other_form_share_one_call_of_their_own(
    gateway: Gateway, upstream: FakeUpstream, forms: str
) -> None:
    first, second = forms.split()
    gate, later = asyncio.Event(), asyncio.Event()
    broken = cut_after(900, sse(WORDS)) if first == "streamed" else json_answer(400, NO)
    upstream.script(held(gate, broken))
    upstream.default = held(later, chat_answer("one two three"))
    leader = asyncio.create_task(gateway.ask(asked("Well?", first)))
    await upstream.wait_for(1)
    asking = [asyncio.create_task(gateway.ask(asked("Well?", second))) for _ in range(50)]
    await eventually(lambda: waiting(gateway) == 51)
    gate.set()
    await leader
    await upstream.wait_for(2)
    later.set()
    answers = await gather(asking)

    assert upstream.fired["cut" if first == "streamed" else "status-400"] == 1
    assert len(upstream.requests) == 2
    assert {text_of(answer) for answer in answers} == {"one two three"}
    assert len({answer.content for answer in answers}) == 1
    rows = await gateway.rows(51)
    assert_paid_once([row for row in rows if row.status == 200 and row.error is None])
    assert sum(len(row.attempts) for row in rows) == 2


async def test_what_somebody_waited_for_in_vain_is_paid_although_they_leave_the_next_call_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate, later = asyncio.Event(), asyncio.Event()
    upstream.script(held(gate, json_answer(200, IN_PARTS)))
    upstream.default = held(later, chat_answer("one two three"))
    async with gateway.raw() as leader, gateway.raw() as waiter:
        await leader.send(gateway.request(asked("Well?", "plain")))
        await upstream.wait_for(1)
        await waiter.send(gateway.request(asked("Well?", "streamed")))
        await eventually(lambda: waiting(gateway) == 2)
        leader.abort()
        await eventually(lambda: waiting(gateway) == 1)
        gate.set()
        await upstream.wait_for(2)
        asking = asyncio.create_task(gateway.ask(asked("Well?", "streamed")))
        await eventually(lambda: waiting(gateway) == 2)
        waiter.abort()
        await eventually(lambda: waiting(gateway) == 1)
        later.set()
        answer = await asking

    assert text_of(answer) == "one two three"
    rows = await gateway.rows(3)
    assert [row.status for row in rows] == [499, 499, 200]
    assert [row.cost_nano for row in rows] == [0, COST, COST]
    assert sum(len(row.attempts) for row in rows) == 2


@both_forms
async def test_when_all_clients_leave_the_provider_hears_it_and_one_row_has_the_cost(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = hang_before_headers() if form == "plain" else sse(WORDS[:-1] * 5, delay=0.05)
    clients = []
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(gateway.request(asked("Well?", form)))
        clients.append((reader, writer))
        await asyncio.sleep(0.01)
    (request,) = await upstream.wait_for(1)
    await asyncio.sleep(0.2)
    random.seed(53)
    random.shuffle(clients)
    for number, (_, writer) in enumerate(clients):
        assert request.closed_at is None, f"closed although {5 - number} clients wait"
        writer.close()
        await asyncio.sleep(0.05)

    await hears_within_a_second(request)
    assert len(upstream.requests) == 1
    rows = await gateway.rows(5)
    assert {row.status for row in rows} == {499}
    assert len(payers(rows)) == 1
    assert payers(rows)[0].cost_state == "estimated"
    assert await gateway.entries() == 0
    for _, writer in clients:
        await writer.wait_closed()


@both_forms
async def test_a_call_after_everybody_left_makes_a_new_one(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.script(hang_before_headers())
    async with gateway.raw() as client:
        await client.send(gateway.request(asked("Well?", form)))
        await upstream.wait_for(1)
        await asyncio.sleep(0.1)
        client.abort()
        await upstream.requests[0].wait_closed()

    answer = await gateway.ask(asked("Well?", form))

    assert (text_of(answer), answer.headers["x-aieye-cache"]) == ("Well?", "miss")
    assert len(upstream.requests) == 2


@both_forms
async def test_a_failure_is_shared_too_and_not_repeated_for_each(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    gate = asyncio.Event()
    refused = held(gate, json_answer(400, NO))
    upstream.default = refused
    asking = [asyncio.create_task(gateway.ask(asked("Well?", form))) for _ in range(20)]
    await upstream.wait_for(1)
    await asyncio.sleep(0.15)
    gate.set()

    answers = await gather(asking)

    assert upstream.fired["status-400"] == len(upstream.requests) == 1
    assert {answer.status_code for answer in answers} == {400}
    rows = await gateway.rows(20)
    assert {row.status for row in rows} == {400}
    assert await gateway.entries() == 0
    upstream.default = chat_answer("Here.")
    assert text_of(await gateway.ask(asked("Well?", form))) == "Here."


async def test_a_stream_that_is_cut_ends_with_an_error_for_all(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, cut_after(900, sse(WORDS)))
    asking = [asyncio.create_task(gateway.ask(streamed())) for _ in range(10)]
    await upstream.wait_for(1)
    await asyncio.sleep(0.15)
    gate.set()

    answers = await gather(asking)

    assert upstream.fired["cut"] == len(upstream.requests) == 1
    assert {answer.content for answer in answers} == {answers[0].content}
    assert b"upstream_broken" in answers[0].content
    assert b"[DONE]" not in answers[0].content
    rows = await gateway.rows(10)
    assert {row.error for row in rows} == {"upstream_broken"}
    assert len(payers(rows)) == 1
    assert await gateway.entries() == 0


async def test_calls_through_a_weighted_route_share_whichever_target_comes_first_for_each(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async with FakeUpstream() as second:
        await gateway.add_provider("second", second, "sk-second-0123456789")
        targets = [Target(provider=name, model=MODEL) for name in ("openai", "second")]
        await gateway.add_route("either", *targets, strategy="weighted")
        gate = asyncio.Event()
        upstream.default = second.default = held(gate, chat_answer("one"))
        body = {**question(), "model": "either"}
        asking = [asyncio.create_task(gateway.ask(body)) for _ in range(30)]
        await eventually(lambda: bool(upstream.requests or second.requests))
        await asyncio.sleep(0.3)
        gate.set()
        answers = await gather(asking)

        assert {text_of(answer) for answer in answers} == {"one"}
        assert len(upstream.requests) + len(second.requests) == 1
    assert_paid_once(await gateway.rows(30))


@both_forms
@pytest.mark.parametrize("asking_for", ["no-store", "no-cache", "off", "refresh"])
async def test_calls_that_want_no_stored_answer_never_share(
    gateway: Gateway, upstream: FakeUpstream, form: str, asking_for: str
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one"))
    is_header = asking_for.startswith("no-")
    headers = {"cache-control": asking_for} if is_header else None
    body = asked("Well?", form, **({} if is_header else {"cache": {"mode": asking_for}}))
    asking = [asyncio.create_task(gateway.ask(body, headers=headers)) for _ in range(5)]
    await upstream.wait_for(5)
    gate.set()
    answers = await gather(asking)

    assert {answer.status_code for answer in answers} == {200}
    assert len(upstream.requests) == 5
    assert [row.cost_nano for row in await gateway.rows(5)] == [COST] * 5


async def test_calls_of_different_namespaces_or_without_the_cache_never_share(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one"))
    tokens = [
        gateway.token,
        await gateway.add_token(cache_namespace="mine"),
        await gateway.add_token(cache_enabled=False),
        await gateway.add_token(cache_enabled=False),
    ]
    asking = [asyncio.create_task(gateway.ask(question(), token=token)) for token in tokens]
    await upstream.wait_for(4)
    gate.set()
    await gather(asking)

    assert len(upstream.requests) == 4


async def test_calls_that_cannot_be_stored_never_share(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate)
    body = {"model": "gpt-4o-mini", "input": "Well?", "background": True}
    asking = [asyncio.create_task(gateway.ask(body, path="/v1/responses")) for _ in range(3)]
    await upstream.wait_for(3)
    gate.set()
    answers = await gather(asking)

    assert {answer.headers["x-aieye-cache"] for answer in answers} == {"bypass"}


async def test_two_tokens_of_one_namespace_share_and_each_has_its_row(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one"))
    second = await gateway.add_token()
    asking = [
        asyncio.create_task(gateway.ask(question(), token=token))
        for token in (gateway.token, second)
    ]
    await upstream.wait_for(1)
    await asyncio.sleep(0.1)
    gate.set()
    await gather(asking)

    rows = await gateway.rows(2)
    assert len(upstream.requests) == 1
    assert len({row.token_id for row in rows}) == 2
    assert_paid_once(rows)


async def test_a_slow_reader_does_not_hold_up_those_who_share_with_it(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway()
    big = [
        chat.frame({"id": "c", "choices": [{"index": 0, "delta": {"content": "x" * 60_000}}]})
        for _ in range(100)
    ]
    gate = asyncio.Event()
    upstream.default = held(gate, sse(big))
    async with gateway.raw() as slow:
        await slow.send(gateway.request(streamed()))
        await upstream.wait_for(1)
        asking = asyncio.create_task(gateway.ask(streamed()))
        await asyncio.sleep(0.1)
        gate.set()
        answer = await asyncio.wait_for(asking, 20)
        assert answer.content == b"".join(big) + DONE_FRAME
        rest = await slow.read_until(DONE_FRAME)
        assert rest.count(b'"content":"xxx') == 100
    assert len(upstream.requests) == 1
    await eventually(lambda: gateway.state.gateway.exchanges.flights == {})


@both_forms
async def test_a_token_is_not_drawn_into_the_failure_of_anothers_pinned_key(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    key_id = await gateway.add_key(1, "sk-second-0123456789")
    pinned = await gateway.add_token(provider_key_id=key_id)
    gate = asyncio.Event()
    refused = held(gate, json_answer(401, chat.error_body()))
    upstream.default = by_key({"sk-second-0123456789": refused}, chat_answer("Here."))
    body = asked("Well?", form)
    theirs = asyncio.create_task(gateway.ask(body, token=pinned))
    await upstream.wait_for(1)
    own = asyncio.create_task(gateway.ask(body))
    await asyncio.sleep(0.15)
    gate.set()

    assert (await theirs).status_code == 502
    answer = await own
    assert answer.status_code == 200
    assert text_of(answer) == "Here."
