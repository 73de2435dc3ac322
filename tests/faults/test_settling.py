"""What a call came to is told as it was: who failed, what it may have cost, and no secret with it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, text

from aieye.access.audit import SYSTEM
from aieye.access.routes import Target
from aieye.db.tables import CallBody
from aieye.ledger.book import OPEN
from aieye.ledger.overrides import create_override
from tests.fakes import chat
from tests.fakes.upstream import (
    FakeUpstream,
    chat_answer,
    hang_before_headers,
    held,
    json_answer,
    sse,
    wrong_length,
)
from tests.faults.harness import (
    MODEL,
    PROVIDER_KEY,
    Gateway,
    StartGateway,
    asked,
    both_forms,
    eventually,
    question,
    streamed,
)

pytestmark = pytest.mark.live

CHOSEN_TOKEN = "OpenSesameOfTheFortyThieves1234567890abc"
OLD_TOKEN = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"
OTHER_KEY = "gsk_abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"


# -- secrets ---------------------------------------------------------------------------------------


@both_forms
@pytest.mark.usefixtures("quick_retries")
async def test_a_key_that_a_provider_repeats_in_an_error_is_in_neither_column(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    if form == "plain":
        upstream.default = json_answer(500, chat.error_body(f"The key {PROVIDER_KEY} is bad."))
    else:
        error = {"error": {"message": f"The key {PROVIDER_KEY} is bad.", "code": None}}
        upstream.default = sse([chat.frame(error)], done=False)

    await gateway.ask(asked("Well?", form))

    assert sum(upstream.fired.values()) > 1
    row = await gateway.row()
    assert "[redacted]" in (row.error or "")
    assert "[redacted]" in row.attempts[-1]["error"]
    assert PROVIDER_KEY.encode() not in await gateway.stored()


async def test_a_key_in_an_error_after_the_first_words_is_not_in_the_ledger(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    error = {"error": {"message": f"The key {PROVIDER_KEY} is bad.", "code": None}}
    upstream.default = sse([*chat.chat_frames("Hello you")[:2], chat.frame(error)], done=False)

    await gateway.ask(streamed())

    assert upstream.fired["sse"] == 1
    assert "[redacted]" in ((await gateway.row()).error or "")
    assert PROVIDER_KEY.encode() not in await gateway.stored()


async def test_texts_are_kept_without_the_keys_that_are_held_and_the_originals_tokens(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.add_provider("another", upstream, OTHER_KEY)
    chosen = await gateway.add_token(imported=CHOSEN_TOKEN)
    said = f"It is:\n{OLD_TOKEN}\nand {OTHER_KEY}, or\t{chosen}."
    upstream.default = chat_answer(said)

    await gateway.ask(question(said), headers={"cache-control": "no-store"})

    assert OTHER_KEY.encode() in upstream.requests[-1].body
    await gateway.row()
    async with gateway.state.database.read() as session:
        body = (await session.scalars(select(CallBody))).one()
    assert body.request is not None
    assert body.response is not None
    assert body.request.count(b"[redacted]") == body.response.count(b"[redacted]") == 3
    stored = await gateway.stored()
    assert OLD_TOKEN.encode() not in stored
    assert CHOSEN_TOKEN.encode() not in stored
    assert OTHER_KEY.encode() not in stored


# -- money -----------------------------------------------------------------------------------------


async def test_a_stream_is_priced_by_the_tier_that_served_it(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    usage = chat.usage(1_000_000, 0)
    frames = chat.chat_frames("Hi", usage=usage)
    tier = b'"service_tier":"priority","model"'
    upstream.script(
        json_answer(200, chat.chat_body("Hi", usage=usage) | {"service_tier": "priority"}),
        sse([frame.replace(b'"model"', tier) for frame in frames]),
        sse(frames),
    )

    for body in (question("a"), streamed("b"), streamed("c")):
        await gateway.ask(body)

    plain, of_tier, standard = await gateway.rows(3)
    assert plain.cost_nano == of_tier.cost_nano
    assert (of_tier.cost_nano or 0) > (standard.cost_nano or 0) > 0


@pytest.mark.usefixtures("quick_retries")
async def test_what_was_sent_and_never_answered_has_no_known_cost(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3)
    failures = {
        "silent": (hang_before_headers(), 504),
        "broken off": (wrong_length(b"{}", 10), 502),
        "no answer": (json_answer(200, b"<html>", {"Content-Type": "text/html"}), 502),
    }
    wrong = []
    for number, (name, (behaviour, status)) in enumerate(failures.items(), 1):
        upstream.default = behaviour
        answer = await gateway.ask(question(name))
        row = (await gateway.rows(number))[-1]
        told = (answer.status_code, row.status, row.cost_nano, row.cost_state)
        if told != (status, status, None, "unknown") or not (row.provider_id and row.key_id):
            wrong.append((name, told, row.provider_id, row.key_id))
    assert not wrong, wrong
    assert upstream.requests
    async with gateway.state.database.read() as session:
        unpriced = await session.scalar(
            text(
                "SELECT sum(unpriced) FROM usage_rollups r JOIN usage_dimensions d"
                " ON d.id = r.dimension_id WHERE r.grain = 86400 AND d.provider_id > 0"
            )
        )
    assert unpriced == len(failures)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_refusal_is_free_and_says_whose_it_was(
    gateway: Gateway, upstream: FakeUpstream, status: int
) -> None:
    upstream.default = json_answer(status, chat.error_body("no"))

    await gateway.ask(question())

    assert upstream.fired[f"status-{status}"]
    row = await gateway.row()
    assert (row.cost_nano, row.cost_state) == (0, "exact")
    assert row.provider_id
    assert row.key_id


@pytest.mark.usefixtures("quick_retries")
async def test_a_refusal_after_a_silence_has_no_known_cost(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    refusal = json_answer(500, chat.error_body("no"))
    upstream.script(wrong_length(b"{}", 10))
    upstream.default = refusal

    await gateway.ask(question())

    row = await gateway.row()
    assert len(row.attempts) > 1
    assert (row.cost_nano, row.cost_state) == (None, "unknown")


async def test_a_response_in_the_background_has_no_known_cost(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    answer = chat.response_body(status="queued") | {"output": [], "usage": None}
    upstream.default = json_answer(200, answer)

    body = {"model": MODEL, "input": "Well?", "background": True}
    await gateway.ask(body, path="/v1/responses")

    assert upstream.fired["status-200"] == 1
    row = await gateway.row()
    assert (row.cost_nano, row.cost_state, row.tokens_output) == (None, "unknown", None)


@both_forms
async def test_an_override_for_the_asked_model_prices_its_dated_name(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    async with gateway.state.database.write() as session:
        rates = {"input": "1", "output": "1"}
        await create_override(session, model="house-model", rates=rates, actor=SYSTEM)
    await gateway.state.directory.refresh()
    upstream.default = chat_answer("Hi", usage=chat.usage(1, 1), model="house-model-0613")

    await gateway.ask(asked("Well?", form, model="house-model"))

    row = await gateway.row()
    assert (row.model_asked, row.model) == ("house-model", "house-model-0613")
    assert (row.cost_nano, row.cost_state) == (2_000, "exact")


# -- what is kept ----------------------------------------------------------------------------------


@both_forms
async def test_an_answer_that_ended_in_an_error_is_not_given_again(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    if form == "plain":
        body = chat.chat_body("Hel", usage=chat.usage())
        body["choices"][0]["finish_reason"] = "error"
        upstream.script(json_answer(200, body))
    else:
        frames = chat.chat_frames("Hel", usage=chat.usage())
        upstream.script(sse([frame.replace(b'"stop"', b'"error"') for frame in frames]))
    upstream.default = chat_answer("Hello.")

    for _ in range(2):
        await gateway.ask(asked("Well?", form))

    assert len(upstream.requests) == 2
    assert [row.cache for row in await gateway.rows(2)] == ["miss", "miss"]


async def test_a_row_names_its_process_only_while_it_is_open(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate)
    asking = asyncio.create_task(gateway.ask(question()))
    await eventually(lambda: bool(upstream.requests))
    row = await _open_row(gateway)
    assert row == (OPEN, True)
    gate.set()
    await asking
    settled = await gateway.row()
    assert (settled.status, settled.instance_id) == (200, "")


async def test_a_slow_call_on_the_originals_route_is_noted_as_open(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate)
    path = "/api/openai/v1/chat/completions"
    asking = asyncio.create_task(gateway.ask(question(), path=path))
    await eventually(lambda: bool(upstream.requests))
    assert await _open_row(gateway) == (OPEN, True)
    gate.set()
    assert (await asking).status_code == 200
    assert (await gateway.row()).status == 200


async def _open_row(gateway: Gateway) -> tuple[str, bool]:
    """The state of the only row, which is not final yet, and whether it names a process."""
    async with asyncio.timeout(20):
        while not (rows := await gateway.rows()):
            await asyncio.sleep(0.01)
    (row,) = rows
    return row.state, bool(row.instance_id)


# -- explanations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fast", f"openai/{MODEL}", MODEL])
async def test_a_miss_is_explained_whatever_name_the_model_was_asked_by(
    gateway: Gateway, upstream: FakeUpstream, name: str
) -> None:
    await gateway.add_route("fast", Target(provider="openai", model=MODEL))
    upstream.default = chat_answer("Hi", model=f"{MODEL}-2024-07-18")
    for temperature in (0, 1):
        await gateway.ask(question(model=name, temperature=temperature))

    explanation = await gateway.state.cache.explain((await gateway.rows(2))[-1].id)

    assert len(upstream.requests) == 2
    assert explanation.nearest is not None
    assert [field.path for field in explanation.nearest.fields] == ["/temperature"]


async def test_a_miss_by_one_name_is_explained_by_what_was_stored_by_another(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.add_route("fast", Target(provider="openai", model=MODEL))
    upstream.default = chat_answer("Hi", model=f"{MODEL}-2024-07-18")
    await gateway.ask(question(temperature=0))
    await gateway.ask(question(model="fast", temperature=1))

    explanation = await gateway.state.cache.explain((await gateway.rows(2))[-1].id)

    assert explanation.nearest is not None
    assert [field.path for field in explanation.nearest.fields] == ["/temperature"]
