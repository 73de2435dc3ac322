"""The original AI-Eye's two routes: their shapes, their errors, and that a look-up never asks."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.fakes.upstream import (
    FakeUpstream,
    chat_answer,
    hang_before_headers,
    json_answer,
)
from tests.faults.harness import Gateway, Json, StartGateway, eventually, question

pytestmark = pytest.mark.live

ASK = "/api/openai/v1/chat/completions"
LOOK = "/api/cache/v1/chat/completions"
UNKNOWN = "not-a-token"


def detail(answer: httpx.Response) -> str:
    """What is wrong, in the originals' only shape for it."""
    body: Json = answer.json()
    assert list(body) == ["detail"], body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    return str(body["detail"])


@pytest.mark.parametrize("slash", ["", "/"])
async def test_an_answer_is_its_text_and_a_look_up_a_list(
    gateway: Gateway, upstream: FakeUpstream, slash: str
) -> None:
    upstream.script(chat_answer("  An answer. "))
    looked = await gateway.ask(question(), path=LOOK + slash)
    assert (looked.status_code, looked.json()) == (200, [])
    asked = await gateway.ask(question(), path=ASK + slash)
    assert (asked.status_code, asked.json()) == (
        200,
        {"response": "An answer.", "cache_hit": False},
    )
    again = await gateway.ask(question(), path=ASK + slash)
    assert again.json() == {"response": "An answer.", "cache_hit": True}
    looked = await gateway.ask(question(), path=LOOK + slash)
    assert looked.json() == [{"response": "An answer.", "cache_hit": True}]
    assert len(upstream.calls()) == 1


async def test_its_entries_are_those_of_v1(gateway: Gateway, upstream: FakeUpstream) -> None:
    await gateway.ask(question())
    assert (await gateway.ask(question(), path=ASK)).json()["cache_hit"] is True
    assert len(upstream.calls()) == 1


async def test_every_call_is_in_the_ledger_under_the_id_it_was_answered_with(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    answers = [await gateway.ask(question(), path=path) for path in (LOOK, ASK, LOOK)]
    rows = await gateway.rows(3)
    assert [f"req_{row.id}" for row in rows] == [a.headers["x-request-id"] for a in answers]
    assert [row.cache for row in rows] == ["miss", "miss", "hit"]
    assert [(row.status, row.error) for row in rows] == [(200, None)] * 3
    assert {row.endpoint for row in rows} == {"chat/completions"}


@pytest.mark.parametrize("mode", ["use", "refresh", "off", "only", None])
async def test_a_look_up_asks_no_provider_whatever_the_body_says_of_the_cache(
    gateway: Gateway, upstream: FakeUpstream, mode: str | None
) -> None:
    wish: Json = {"max_age": 600} if mode is None else {"mode": mode}
    looked = await gateway.ask(question(cache=wish), path=LOOK)
    assert (looked.status_code, looked.json()) == (200, [])
    assert upstream.calls() == []
    await gateway.ask(question(), path=ASK)
    looked = await gateway.ask(question(cache=wish), path=LOOK)
    assert [found["cache_hit"] for found in looked.json()] == [True]
    assert len(upstream.calls()) == 1


async def test_a_wish_that_means_nothing_is_refused_there_too(gateway: Gateway) -> None:
    for path, wish in ((ASK, "off"), (LOOK, "off"), (ASK, {"mode": "sometimes"})):
        answer = await gateway.ask(question(cache=wish), path=path)
        assert answer.status_code == 400
        assert list(answer.json()) == ["cache"]


@pytest.mark.parametrize("model", [{}, {"model": None}])
async def test_a_field_that_is_missing_is_told_under_its_name(
    gateway: Gateway, upstream: FakeUpstream, model: Json
) -> None:
    body = {"messages": question()["messages"], **model}
    for path in (ASK, LOOK):
        answer = await gateway.ask(body, path=path)
        assert answer.status_code == 400
        assert answer.json() == {"model": ["This field is required."]}
    assert upstream.calls() == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/openai/v1/embeddings/", question(), "Invalid data"),
        ("/api/openai/", question(), "Invalid data"),
        (ASK, b"", "Invalid data"),
        (ASK, b"  ", "Invalid data"),
        (ASK, {}, "Invalid data"),
        (LOOK, b"", "Invalid data"),
        (LOOK, {}, "Invalid data"),
        ("/api/cache/v1/embeddings/", question(), "Invalid data"),
        ("/api/cache/", question(), "Invalid data"),
        (ASK, b"{", "not JSON"),
        (ASK, b"[1]", "JSON object"),
        (ASK, question(stream=True), "does not stream"),
        (LOOK, question(stream=True), "does not stream"),
    ],
)
async def test_what_cannot_be_asked_is_400_and_reaches_no_provider(
    gateway: Gateway, upstream: FakeUpstream, path: str, body: Any, said: str
) -> None:
    answer = await gateway.ask(body, path=path)
    assert answer.status_code == 400
    assert said in detail(answer)
    assert upstream.calls() == []


async def test_what_is_refused_has_its_row_and_strangers_have_none(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    nothing = "/api/cache/nothing/"
    cases: list[tuple[str, Any, str, str]] = [
        (nothing, question(), "invalid_data", "unknown"),
        (ASK, b"", "invalid_data", "unknown"),
        (ASK, b"{", "invalid_json", "chat/completions"),
        (LOOK, question(stream=True), "invalid_request", "chat/completions"),
        (ASK, {"messages": []}, "invalid_request", "chat/completions"),
        (ASK, question(cache="off"), "invalid_request", "chat/completions"),
    ]
    for path, body, *_ in cases:
        stranger = await gateway.ask(body, path=path, token=UNKNOWN)
        assert stranger.status_code == 401
    answers = [await gateway.ask(body, path=path) for path, body, *_ in cases]
    rows = await gateway.rows(len(cases))
    assert [(row.status, row.error, row.endpoint) for row in rows] == [
        (400, code, endpoint) for *_, code, endpoint in cases
    ]
    assert [f"req_{row.id}" for row in rows] == [a.headers["x-request-id"] for a in answers]
    assert {(row.cost_nano, row.cost_state) for row in rows} == {(0, "exact")}
    assert None not in {row.token_id for row in rows}
    assert upstream.calls() == []


async def test_an_object_that_is_anothers_is_refused_in_a_row(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    other = await gateway.add_token(user_id=await gateway.add_user("other@example.org"))
    upstream.script(json_answer(200, {"id": "file-1", "object": "file"}))
    made = await gateway.client.post(
        "/v1/files", files={"file": b"x"}, headers={"authorization": f"Bearer {other}"}
    )
    assert made.status_code == 200
    part = {"type": "file", "file": {"file_id": "file-1"}}
    body = {**question(), "messages": [{"role": "user", "content": [part]}]}
    answer = await gateway.ask(body, path=ASK)
    assert answer.status_code == 404
    detail(answer)
    row = (await gateway.rows(2))[1]
    assert (row.status, f"req_{row.id}") == (404, answer.headers["x-request-id"])


async def test_a_client_that_leaves_is_no_crash(
    gateway: Gateway, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    whole = gateway.request(question(), path=ASK)
    # Nothing of the body, all of it but a byte, and all of it while the provider is asked.
    upstream.script(hang_before_headers())
    for cut in (whole.index(b"\r\n\r\n") + 4, len(whole) - 1, len(whole)):
        async with gateway.raw() as client:
            await client.send(whole[:cut])
            if cut == len(whole):
                await eventually(lambda: len(upstream.calls()) == 1)
            else:
                await eventually(lambda: gateway.state.metrics.in_flight == 1)
            client.abort()
        await eventually(lambda: gateway.state.metrics.in_flight == 0)
    rows = await gateway.rows(3)
    assert [(row.status, row.error) for row in rows] == [(499, "client_cancelled")] * 3
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_fault_of_ours_is_told_in_the_originals_shape_and_has_its_row(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_call: Any) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(gateway.state.relay, "infer", crash)
    answer = await gateway.ask(question(), path=ASK)
    assert answer.status_code == 500
    assert "canary" not in detail(answer)
    row = await gateway.row()
    assert (row.status, f"req_{row.id}") == (500, answer.headers["x-request-id"])
    assert (row.cost_nano, row.cost_state) == (None, "unknown")


async def test_a_compressed_body_is_415(gateway: Gateway) -> None:
    answer = await gateway.ask(question(), path=ASK, headers={"content-encoding": "gzip"})
    assert answer.status_code == 415
    detail(answer)


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        ("", "Authentication credentials were not provided."),
        ("Basic abc", "Authentication credentials were not provided."),
        ("Bearer", "Invalid token header. No credentials provided."),
        (f"Bearer {UNKNOWN}", "Invalid token."),
        (f"Token {UNKNOWN}", "Invalid token."),
    ],
)
async def test_a_token_is_asked_for_in_the_originals_words(
    gateway: Gateway, authorization: str, said: str
) -> None:
    for path in (ASK, LOOK):
        answer = await gateway.ask(question(), path=path, headers={"authorization": authorization})
        assert answer.status_code == 401
        assert detail(answer) == said
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_another_method_or_path_is_refused_in_the_same_shape(gateway: Gateway) -> None:
    answer = await gateway.get(f"{ASK}/")
    assert (answer.status_code, detail(answer)) == (405, "Method Not Allowed")
    answer = await gateway.ask(question(), path="/api/nothing/")
    assert (answer.status_code, detail(answer)) == (404, "Not Found")


@pytest.mark.parametrize(
    ("status", "shown"), [(400, 400), (404, 404), (422, 422), (429, 429), (500, 502), (401, 502)]
)
async def test_the_providers_4xx_keep_their_status_and_its_other_troubles_are_502(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, status: int, shown: int
) -> None:
    error = {"error": {"message": "The provider says no.", "type": "x", "code": None}}
    upstream.script(*[json_answer(status, error, [("Retry-After", "3600")])] * 9)
    answer = await gateway.ask(question(), path=ASK)
    assert upstream.calls(), "the provider was not asked"
    assert answer.status_code == shown
    said = detail(answer)
    if shown == status:
        assert said == "The provider says no."
    if status == 429:
        assert answer.headers["retry-after"] == "3600"
    assert await gateway.entries() == 0
    assert (await gateway.row()).status == shown


async def test_a_provider_that_is_silent_is_504(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3, upstream_timeout=0.5)
    upstream.script(*[hang_before_headers()] * 9)
    answer = await gateway.ask(question(), path=ASK)
    assert upstream.calls(), "the provider was not asked"
    assert answer.status_code == 504
    detail(answer)


async def test_an_answer_without_a_choice_is_502(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.script(json_answer(200, {"object": "chat.completion", "choices": []}))
    answer = await gateway.ask(question(), path=ASK)
    assert (answer.status_code, len(upstream.calls())) == (502, 1)
    detail(answer)
    row = await gateway.row()
    assert (row.status, row.error) == (502, "unreadable_answer")


async def test_a_call_that_the_servers_stop_cuts_off_says_so_and_is_booked_so(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script(hang_before_headers())
    async with gateway.make_client(gateway.token) as client:
        asking = asyncio.create_task(client.post(ASK, json=question()))
        await eventually(lambda: upstream.fired["hang"] == 1)
        await gateway.restart()
        answer = await asking
    assert answer.status_code == 503
    assert "stopped" in detail(answer)
    row = await gateway.row()
    assert (row.status, row.error) == (503, "shutting_down")
    assert answer.headers["x-request-id"] == f"req_{row.id}"


async def test_a_call_whose_client_leaves_is_booked_as_left(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script(hang_before_headers())
    async with gateway.raw() as client:
        await client.send(gateway.request(question(), path=ASK))
        await eventually(lambda: upstream.fired["hang"] == 1)
    row = await gateway.row()
    assert (row.status, row.error) == (499, "client_cancelled")
