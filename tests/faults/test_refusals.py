"""What a provider refuses or fails at: what is tried again, where, and what the client gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from aieye.db.types import now
from aieye.gateway import dispatch
from aieye.gateway.retry import delay_before
from aieye.ledger.queries import usage
from tests.fakes import chat
from tests.fakes.upstream import (
    FakeUpstream,
    by_key,
    by_model,
    chat_answer,
    json_answer,
    refused_port,
    sse,
)
from tests.faults.harness import (
    MODEL,
    PROVIDER_KEY,
    Gateway,
    LoopClock,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    error_code,
    question,
    text_of,
)

pytestmark = pytest.mark.live

SECOND_KEY = "sk-canary-second-8e02bb65a1"
REFUSAL = chat.error_body(
    f"Incorrect API key provided: {PROVIDER_KEY}.", kind="invalid_request_error",
    code="invalid_api_key",
)  # fmt: skip


# -- 429 ------------------------------------------------------------------------------------------


@both_forms
async def test_a_429_is_tried_again_after_the_seconds_that_the_provider_asks_for(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    limit = json_answer(429, chat.error_body("Slow down."), {"Retry-After": "1"})
    upstream.script(limit, chat_answer("Now."))

    answer = await gateway.ask(asked("Now?", form))

    assert upstream.fired["status-429"] == 1
    first, second = upstream.requests
    assert second.arrived_at - first.arrived_at >= 1
    assert (answer.status_code, text_of(answer)) == (200, "Now.")
    row = await gateway.row()
    assert (row.status, [attempt["status"] for attempt in row.attempts]) == (200, [429, 200])


async def test_a_429_is_tried_again_at_the_date_that_the_provider_names(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    due = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    due_at = time.monotonic() + (due - datetime.now(UTC)).total_seconds()
    limit = json_answer(
        429, chat.error_body("Slow down."), {"Retry-After": format_datetime(due, usegmt=True)}
    )
    upstream.script(limit, chat_answer("Now."))

    answer = await gateway.ask(question())

    assert upstream.fired["status-429"] == 1
    assert answer.status_code == 200
    assert upstream.requests[1].arrived_at >= due_at - 0.01


async def test_milliseconds_of_patience_are_kept_to(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    limit = json_answer(429, chat.error_body("Slow down."), {"retry-after-ms": "150"})
    upstream.script(limit, chat_answer("Now."))

    async with LoopClock() as clock:
        answer = await gateway.ask(question())

    assert answer.status_code == 200
    first, second = upstream.requests
    assert second.arrived_at - first.arrived_at >= 0.15
    assert clock.seconds < 1


@pytest.mark.parametrize(
    "form, patience",
    [
        ("plain", "3600"),
        ("streamed", "3600"),
        ("plain", format_datetime(datetime(2099, 1, 1, tzinfo=UTC), usegmt=True)),
    ],
)
async def test_a_429_that_asks_for_an_hour_is_passed_on_at_once(
    gateway: Gateway, upstream: FakeUpstream, form: str, patience: str
) -> None:
    body = chat.error_body("Come back later.", code="rate_limit_exceeded")
    upstream.default = json_answer(429, body, {"Retry-After": patience})

    async with LoopClock() as clock:
        answer = await gateway.ask(asked("Now?", form))

    assert clock.seconds < 1
    assert (answer.status_code, answer.json()) == (429, body)
    assert answer.headers["retry-after"] == patience
    assert len(upstream.requests) == 1
    assert (await gateway.row()).status == 429


@pytest.mark.parametrize(
    "error",
    [
        {"code": "insufficient_quota"},
        {"code": "billing_hard_limit_reached"},
        {"type": "enforced_spend_limit_reached"},
    ],
)
@both_forms
async def test_a_spend_limit_is_never_tried_again_with_the_same_key(
    gateway: Gateway, upstream: FakeUpstream, form: str, error: dict[str, str]
) -> None:
    body = {"error": {"message": "The money is gone.", "type": "x", "code": None, **error}}
    upstream.default = json_answer(429, body)

    first = await gateway.ask(asked("Now?", form))
    second = await gateway.ask(asked("And now?", form))

    assert (first.status_code, first.json()) == (429, body)
    assert second.status_code >= 400
    assert len(upstream.requests) == 1


@both_forms
async def test_a_key_without_money_gives_way_to_the_next(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    await gateway.add_key(1, SECOND_KEY)
    gone = json_answer(429, chat.error_body("Gone.", code="insufficient_quota"))
    upstream.default = by_key({PROVIDER_KEY: gone}, chat_answer("Here."))

    answers = [await gateway.ask(asked(f"Question {n}", form)) for n in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert [request.key for request in upstream.requests] == [PROVIDER_KEY] + [SECOND_KEY] * 3


@both_forms
@pytest.mark.parametrize("status", [429, 403])
async def test_a_key_that_is_limited_comes_after_others_for_a_while(
    gateway: Gateway, upstream: FakeUpstream, form: str, status: int
) -> None:
    second_id = await gateway.add_key(1, SECOND_KEY)
    limit = json_answer(status, chat.error_body("Not now."), {"Retry-After": "30"})
    upstream.default = by_key({PROVIDER_KEY: limit}, chat_answer("Here."))
    pinned = await gateway.add_token(provider_key_id=1)

    answers = [await gateway.ask(asked(f"Question {n}", form)) for n in range(7)]

    assert {text_of(answer) for answer in answers} == {"Here."}
    assert [request.key for request in upstream.requests] == [PROVIDER_KEY] + [SECOND_KEY] * 7
    assert {row.key_id for row in await gateway.rows(7)} == {second_id}
    # Another model may have a limit of its own, and a key that is the only one is asked at any rate.
    await gateway.ask(asked("Another?", form, model="gpt-4o"))
    await gateway.ask(asked("Pinned?", form), token=pinned)
    keys = [request.key for request in upstream.requests][8:]
    assert keys == [PROVIDER_KEY, SECOND_KEY, PROVIDER_KEY]


async def test_a_key_that_was_limited_comes_first_again_when_the_provider_said_so(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.add_key(1, SECOND_KEY)
    limit = json_answer(429, chat.error_body("Not now."), {"retry-after-ms": "1500"})
    upstream.script(limit)
    assert (await gateway.ask(question("One?"))).status_code == 200
    due_at = upstream.requests[0].arrived_at + 1.5

    asked_at = []
    while [request.key for request in upstream.requests].count(PROVIDER_KEY) < 2:
        asked_at.append(time.monotonic())
        await gateway.ask(question(f"Question {len(asked_at)}"))
        await asyncio.sleep(0.05)

    assert asked_at[-1] >= due_at - 0.1


# -- 5xx, and the few others that are tried again ------------------------------------------------


@both_forms
async def test_a_failure_is_tried_again_twice_and_the_last_one_passed_on(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, form: str
) -> None:
    for status in (408, 409, 500, 502, 503, 504, 529):
        body = orjson.dumps(chat.error_body(f"Failed with {status}.")) + b" \n"
        upstream.default = json_answer(status, body)

        answer = await gateway.ask(asked(f"Well, {status}?", form))

        assert upstream.fired[f"status-{status}"] == 3
        assert (answer.status_code, answer.content) == (status, body)
        assert answer.headers["content-type"] == "application/json"
        row = (await gateway.rows())[-1]
        assert (row.status, len(row.attempts)) == (status, 3)
    assert len(upstream.requests) == 3 * 7
    assert await gateway.entries() == 0


@both_forms
async def test_a_call_that_fails_at_first_succeeds_in_one_row(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, form: str
) -> None:
    for failures in (1, 2):
        failing = [json_answer(503, chat.error_body())] * failures
        upstream.script(*failing, chat_answer("At last."))

        answer = await gateway.ask(asked(f"Well, {failures}?", form))

        assert text_of(answer) == "At last."
        row = (await gateway.rows())[-1]
        statuses = [attempt["status"] for attempt in row.attempts]
        assert (row.status, statuses) == (200, [503] * failures + [200])
        assert row.cost_state == "exact"
    assert upstream.fired["status-503"] == 1 + 2
    assert len(await gateway.rows()) == 2


@both_forms
async def test_a_client_is_told_not_to_make_the_retries_once_more(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, form: str
) -> None:
    retry = {"x-should-retry": "true"}
    for status in (500, 429, 409, 401):
        upstream.default = json_answer(status, chat.error_body(), retry)
        answer = await gateway.ask(asked(f"Well, {status}?", form))
        assert answer.status_code == (502 if status == 401 else status)
        assert answer.headers.get_list("x-should-retry") == ["false"], status
    with refused_port() as port:
        await gateway.add_provider("down", f"http://127.0.0.1:{port}/v1", "sk-down-0123456789")
        for _ in range(3):
            answer = await gateway.ask(asked("Hello?", form, model=f"down/{MODEL}"))
            assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
    assert error_code(answer) == "upstream_unavailable"
    assert "All keys at down failed" in answer.text
    # What the gateway does not try again is the provider's to say; so is an upload, sent once only.
    for status, path in ((400, "/v1/chat/completions"), (503, "/v1/files")):
        upstream.default = json_answer(status, chat.error_body(), retry)
        answer = await gateway.ask(asked(f"Well, {status}?", form), path=path)
        assert (answer.status_code, answer.headers["x-should-retry"]) == (status, "true")


async def test_retries_wait_a_random_time_that_grows(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.default = json_answer(503, chat.error_body())
    waits: list[float] = []

    def noted(retry: int, asked: float | None) -> float:
        waits.append(delay_before(retry, asked))
        return waits[-1]

    monkeypatch.setattr(dispatch, "delay_before", noted)

    async with LoopClock() as clock:
        await gateway.ask(question())

    arrivals = [request.arrived_at for request in upstream.requests]
    first, second = (after - before for before, after in pairwise(arrivals))
    assert waits[0] < 0.4
    assert waits[1] < 0.65
    assert first >= waits[0] - 0.01
    assert second >= waits[1] - 0.01
    assert clock.seconds < 0.4 + 0.65


async def test_a_provider_that_always_fails_gets_a_fifth_more_calls_at_most(
    gateway: Gateway, upstream: FakeUpstream, no_circuit: None
) -> None:
    upstream.default = json_answer(503, chat.error_body(), {"Retry-After": "0"})
    calls = 400

    for start in range(0, calls, 25):
        answers = await asyncio.gather(
            *(gateway.ask(question(f"Question {n}")) for n in range(start, start + 25))
        )
        assert {answer.status_code for answer in answers} == {503}

    assert upstream.fired["status-503"] == len(upstream.requests)
    assert calls < len(upstream.requests) <= calls * 1.2 + 10


async def test_a_call_earns_its_part_of_a_retry_once_however_many_keys_there_are(
    gateway: Gateway, upstream: FakeUpstream, no_circuit: None
) -> None:
    for number in range(4):
        await gateway.add_key(1, f"sk-further-{number}-0123456789")
    upstream.default = json_answer(503, chat.error_body(), {"Retry-After": "0"})
    calls = 50

    for number in range(calls):
        assert (await gateway.ask(question(f"Question {number}"))).status_code == 503

    first_attempts = 5 * calls
    assert first_attempts < len(upstream.requests) <= first_attempts + calls * 0.2 + 10


# -- 4xx -----------------------------------------------------------------------------------------


@both_forms
async def test_what_the_provider_finds_wrong_is_passed_on_untouched_and_not_tried_again(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    statuses = (400, 402, 404, 413, 415, 422)
    for status in statuses:
        body = b'{ "error" : {"message": "No.", "type": "invalid_request_error", "x": null} }\n'
        upstream.default = json_answer(status, body)

        answers = [await gateway.ask(asked(f"Well, {status}?", form)) for _ in range(2)]

        assert [(one.status_code, one.content) for one in answers] == [(status, body)] * 2
        assert upstream.fired[f"status-{status}"] == 2
    assert len(upstream.requests) == 2 * len(statuses)
    assert [row.status for row in await gateway.rows()] == [s for s in statuses for _ in range(2)]
    assert await gateway.entries() == 0


@both_forms
async def test_a_refused_key_is_the_gateways_fault_and_is_not_shown(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    told: list[MutableMapping[str, Any]] = []
    for status in (401, 403):
        upstream.default = json_answer(status, REFUSAL)

        with capture_logs() as logs:
            answer = await gateway.ask(asked("Well?", form))

        assert upstream.fired[f"status-{status}"] == 1
        assert (answer.status_code, error_code(answer)) == (502, "provider_auth")
        assert "canary" not in answer.text
        # The client learns which provider, the log which key.
        assert "The provider openai does not accept the key" in answer.text
        told.extend(one for one in logs if one["event"] == "upstream_failed")
        assert "canary" not in repr(logs)
    assert [(one["provider"], one["key_id"]) for one in told[:1]] == [("openai", 1)]
    assert told[0]["reason"] == 401
    assert len(upstream.requests) == 2
    rows = [(row.status, row.error) for row in await gateway.rows()]
    assert rows == [(502, "provider_auth")] * 2


async def test_a_key_that_the_provider_repeats_is_not_written_into_the_ledger(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    told = chat.error_body(f"Trouble with {PROVIDER_KEY}!")
    upstream.script(json_answer(401, REFUSAL), json_answer(503, told), chat_answer("Here."))

    await gateway.ask(question("One"))
    await gateway.ask(question("Two", stream=True))

    assert (upstream.fired["status-401"], upstream.fired["status-503"]) == (1, 1)
    assert PROVIDER_KEY.encode() not in await gateway.stored()


async def test_a_key_that_the_provider_repeats_does_not_reach_the_client(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script(json_answer(400, chat.error_body(f"Not with {PROVIDER_KEY}!")))

    answer = await gateway.ask(question())

    assert upstream.fired["status-400"] == 1
    assert answer.status_code == 400
    assert PROVIDER_KEY not in answer.text


@both_forms
async def test_a_key_that_an_answer_repeats_is_neither_shown_nor_stored(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = chat_answer(f"Your key is {PROVIDER_KEY} indeed.")

    answers = [await gateway.ask(asked("Well?", form)) for _ in range(2)]
    gateway.state.cache.memory.clear()
    answers.append(await gateway.ask(asked("Well?", form)))

    assert upstream.fired["chat"] == len(upstream.requests) >= 1
    for answer in answers:
        assert answer.status_code == 200
        assert PROVIDER_KEY not in answer.text
    assert PROVIDER_KEY.encode() not in await gateway.stored()


@both_forms
async def test_a_word_that_a_server_of_ones_own_takes_for_a_key_stays_in_answers(
    start_gateway: StartGateway, upstream: FakeUpstream, form: str
) -> None:
    gateway = await start_gateway(OPENAI_API_KEY="fake")
    headers = {"openai-model": "fake-7b"}
    said = chat_answer("Run it with fake.")
    if form == "streamed":
        said = sse(chat.chat_frames("Run it with fake."), headers=headers)
    upstream.script(json_answer(400, chat.error_body("Says fake."), headers), said)

    refused, answer = [await gateway.ask(asked(f"Well {n}?", form)) for n in range(2)]
    gateway.state.cache.memory.clear()
    again = await gateway.ask(asked("Well 1?", form))

    assert [request.key for request in upstream.requests] == ["fake"] * 2
    assert refused.json() == chat.error_body("Says fake.")
    assert refused.headers["x-aieye-upstream-request-id"] == "req_fake_0"
    assert refused.headers["openai-model"] == "fake-7b"
    assert text_of(answer) == text_of(again) == "Run it with fake."
    assert again.headers["x-aieye-cache"] == "hit"
    row = (await gateway.rows(3))[0]
    assert (row.error, row.attempts[0].get("error")) == (None, None)
    assert b"[redacted]" not in await gateway.stored()


@both_forms
@pytest.mark.parametrize("status", [401, 403])
async def test_the_next_key_is_tried_when_one_is_refused(
    gateway: Gateway, upstream: FakeUpstream, form: str, status: int
) -> None:
    second_id = await gateway.add_key(1, SECOND_KEY)
    refused = json_answer(status, REFUSAL)
    upstream.default = by_key({PROVIDER_KEY: refused}, chat_answer("Here."))

    answer = await gateway.ask(asked("Well?", form))

    assert text_of(answer) == "Here."
    assert [request.key for request in upstream.requests] == [PROVIDER_KEY, SECOND_KEY]
    row = await gateway.row()
    assert (row.status, row.key_id, len(row.attempts)) == (200, second_id, 2)


async def test_a_revoked_key_is_left_alone_after_a_few_refusals(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.add_key(1, SECOND_KEY)
    upstream.default = by_key({PROVIDER_KEY: json_answer(401, REFUSAL)}, chat_answer("Here."))

    answers = [await gateway.ask(question(f"Question {n}")) for n in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= len(upstream.calls(key=PROVIDER_KEY)) <= 5
    assert len(upstream.calls(key=SECOND_KEY)) == 20


@both_forms
@pytest.mark.parametrize("status", [403, 404, 408, 409, 429])
async def test_what_one_client_brings_about_does_not_keep_the_others_from_the_provider(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, status: int, form: str
) -> None:
    upstream.default = by_model({"theirs": json_answer(status, REFUSAL)}, chat_answer("Here."))
    theirs = [await gateway.ask(asked(f"Well {n}?", form, model="theirs")) for n in range(6)]

    answer = await gateway.ask(asked("Well?", form))

    assert upstream.fired[f"status-{status}"] >= 6
    assert {one.status_code for one in theirs} == {502 if status == 403 else status}
    assert text_of(answer) == "Here."


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_whatever_an_error_holds_it_is_answered_and_recorded(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, status: int
) -> None:
    wrong = []
    for number, error in enumerate(STRANGE_ERRORS):
        upstream.default = json_answer(status, error)
        before = len(await gateway.rows())
        answer = await gateway.ask(question(f"Question {number}"))
        expected = (status, error) if status != 401 else (502, answer.content)
        new = (await gateway.rows())[before:]
        recorded = [row.status for row in new] == [answer.status_code]
        if (answer.status_code, answer.content) != expected or not recorded:
            wrong.append((error[:60], answer.status_code, answer.text[:60], recorded))

    assert upstream.fired[f"status-{status}"] >= len(STRANGE_ERRORS)
    assert not wrong, wrong


STRANGE_ERRORS = (
    b'{"error": {"code": [], "type": {}}}',
    b'{"error": {"code": {"a": 1}, "message": ["x"]}}',
    b'{"error": "a text"}',
    b'{"error": null}',
    b"[]",
    b"null",
    b'{"error": {"message": "\\u0000\\u2028"}}',
    b'{"error": {"message": "\\ud800"}}',
    b"\xff\xfe",
    b"<html>Busy</html>",
    b"",
    b'{"error": {"message": "' + b"x" * 5_000 + b'"}}',
)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms"])
async def test_a_retry_after_that_makes_no_sense_does_no_harm(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, name: str
) -> None:
    wrong = []
    for number, patience in enumerate(STRANGE_TIMES):
        upstream.script(json_answer(503, chat.error_body(), {name: patience}))
        before = len(await gateway.rows())
        answer = await gateway.ask(question(f"Question {number}"))
        recorded = len(await gateway.rows()) == before + 1
        if answer.status_code not in {200, 503} or not recorded:
            wrong.append((patience[:20], answer.status_code, recorded))

    assert upstream.fired["status-503"] == len(STRANGE_TIMES)
    assert not wrong, wrong


STRANGE_TIMES = ("\xb2", "-1", "soon", "1e3", "NaN", "9" * 400, "Mon, 99 Foo 2026", "", "0x1")


# -- what failures are counted under --------------------------------------------------------------


@both_databases
async def test_a_failure_is_counted_with_the_model_that_answered_to_the_name_before(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    dated = f"{MODEL}-2026-01-01"
    gone = json_answer(404, chat.error_body("The model does not exist."))
    upstream.script(chat_answer("Yes.", model=dated), gone, gone, gone)

    # The last has a price, and never answered; the one before is a text of the client's own.
    for number, model in enumerate((MODEL, MODEL, "what-clients-write", "gpt-4.1")):
        await gateway.ask(question(f"Question {number}?", model=model))
    with refused_port() as port:
        await gateway.add_provider("away", f"http://127.0.0.1:{port}/v1", PROVIDER_KEY)
        await gateway.ask(question(model=f"away/{MODEL}"))

    assert upstream.fired["status-404"] == 3
    assert [row.model for row in await gateway.rows(5)] == [dated, None, None, None, None]
    async with gateway.state.database.read() as session:
        found = await usage(
            session, since=now() - timedelta(hours=1), group_by=["model", "status"], owner_id=None
        )
    assert {group: sums.calls for group, sums in found.groups} == {
        (dated, 200): 1, (dated, 404): 1, ("", 404): 1, ("gpt-4.1", 404): 1, ("", 502): 1,
    }  # fmt: skip
