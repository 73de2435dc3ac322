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
    for path in (ASK, LOOK):
        answer = await gateway.ask(question(cache="off"), path=path)
        assert answer.status_code == 400
        assert "cache" in detail(answer)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/openai/v1/embeddings/", question(), "Invalid data"),
        ("/api/openai/", question(), "Invalid data"),
        (ASK, b"", "Invalid data"),
        (ASK, b"  ", "Invalid data"),
        (ASK, {}, "Invalid data"),
        (LOOK, b"", "Invalid data"),
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


async def test_an_endpoint_that_nobody_knows_has_nothing_stored(gateway: Gateway) -> None:
    answer = await gateway.ask(question(), path="/api/cache/v1/embeddings/")
    assert (answer.status_code, answer.json()) == (200, [])


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
