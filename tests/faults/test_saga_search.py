"""Semantic search by `/_saga/gpt3/process`, as the GPT3 Proxy's documentation has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, json_answer
from tests.faults.harness import Gateway, Json, StartGateway, both_databases
from tests.faults.library import ENGINE, asked, librarian

SAGA = "/_saga/gpt3"
# The documentation's own requests, changed only in host (and the id).
CREATE = (
    '{"name":"search1","type":"search","config":{"engine_id":"davinci",'
    '"documents":["text here","text there"]}}'
)
PROCESS = '{"_id":"LyFFz3YBJerddQVLP_Il","text": "Jaws"}'
SAMPLE_ID = "LyFFz3YBJerddQVLP_Il"
FILMS = [
    "a romance in Paris", "a jaw surgeon's memoirs", "Jaws: a shark, again", "jaws of a trap",
    "toys talk", "ice and a ship", "a heist",
]  # fmt: skip


@pytest.fixture(params=["simulated", "compatible"])
def provider(request: pytest.FixtureRequest, upstream: FakeUpstream) -> Json:
    """The settings with either provider."""
    upstream.default = librarian
    simulated: Json = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None}
    return simulated if request.param == "simulated" else {}


@pytest.fixture
async def client(gateway: Gateway, upstream: FakeUpstream) -> AsyncIterator[httpx.AsyncClient]:
    upstream.default = librarian
    async with gateway.make_client(gateway.token) as made:
        yield made


async def post(client: httpx.AsyncClient, name: str, body: str | Json) -> httpx.Response:
    """As curl's `--data-raw` with the documentation's header."""
    if isinstance(body, dict):
        return await client.post(f"{SAGA}/{name}", json=body)
    headers = {"content-type": "application/json"}
    return await client.post(f"{SAGA}/{name}", content=body, headers=headers)


async def make(client: httpx.AsyncClient, documents: list[str], engine: str = "davinci") -> str:
    config = {"engine_id": engine, "documents": documents}
    answer = await post(client, "create", {"name": "search1", "type": "search", "config": config})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["_id"])


@both_databases
@pytest.mark.parametrize("is_open", [True, False])
async def test_the_documentations_search_is_answered_as_documented(
    start_gateway: StartGateway, provider: Json, is_open: bool
) -> None:
    gateway = await start_gateway(saga_open=is_open, **provider)
    headers = {} if is_open else {"authorization": f"Bearer {gateway.token}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, trust_env=False) as client:
        made = (await post(client, "create", CREATE)).json()
        body = PROCESS.replace(SAMPLE_ID, made["_id"])
        answer = await post(client, "process", body)
        assert answer.status_code == 200, answer.text
        results = answer.json()["data"]
        assert answer.json() == {
            "_success": True,
            "data": [
                {"score": results[0]["score"], "document": results[0]["document"],
                 "object": "search_result"},
                {"score": results[1]["score"], "document": results[1]["document"],
                 "object": "search_result"},
            ],
            "model": ENGINE,
            "object": "list",
        }  # fmt: skip
        assert results[0]["score"] >= results[1]["score"]
        assert {one["document"] for one in results} == {0, 1}

        uid = await make(client, FILMS)
        found = (await post(client, "process/", body.replace(made["_id"], uid))).json()
        assert [one["document"] for one in found["data"][:3]] in ([2, 3, 1], [3, 2, 1])
        assert sorted(one["document"] for one in found["data"]) == list(range(7))
        scores = [one["score"] for one in found["data"]]
        assert scores == sorted(scores, reverse=True)
        assert all(-100 <= score <= 100 for score in scores)


async def test_the_second_search_asks_the_provider_for_the_query_alone(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    uid = await make(client, FILMS)
    first = await post(client, "process", {"_id": uid, "text": "Jaws"})
    second = await post(client, "process", {"_id": uid, "text": "ships"})
    assert asked(upstream) == [["Jaws"], FILMS, ["ships"]]
    third = await post(client, "process", {"_id": uid, "text": "Jaws"})
    assert len(upstream.requests) == 3
    assert third.json() == first.json()
    states = [one.headers["x-aieye-cache"] for one in (first, second, third)]
    assert states == ["miss", "miss", "hit"]
    assert float(third.headers["x-aieye-cost-usd"]) == 0 < float(first.headers["x-aieye-cost-usd"])
    assert float(third.headers["x-aieye-saved-usd"]) > 0


async def test_documents_come_with_the_request_where_the_configuration_has_none(
    client: httpx.AsyncClient,
) -> None:
    uid = await make(client, [])
    body = {"_id": uid, "text": "Jaws", "documents": FILMS}
    given = (await post(client, "process", body)).json()
    own = await make(client, FILMS)
    assert (await post(client, "process", {"_id": own, "text": "Jaws"})).json() == given


# What is asked of a preset with documents of its own, or without, and what is said of it.
LACKING: list[tuple[list[str], Json, str]] = [
    (FILMS, {}, "text is required"),
    (FILMS, {"text": 7}, "text is required"),
    (FILMS, {"text": ""}, "no text"),
    (FILMS, {"text": "Jaws", "documents": FILMS}, "documents of its own"),
    (FILMS, {"text": "Jaws", "prompt": "x"}, "'prompt' is no field of a search"),
    ([], {"text": "Jaws"}, "send documents"),
    ([], {"text": "Jaws", "documents": []}, "send documents"),
    ([], {"text": "Jaws", "documents": ["a", ""]}, "the one at 1 is not: it is empty"),
    ([], {"text": "Jaws", "documents": ["a"] * 201}, "at most 200 texts"),
    ([], {"text": "Jaws", "documents": {"a": "b"}}, "at most 200 texts"),
]


async def test_what_a_search_lacks_is_said(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    for documents, fields, says in LACKING:
        uid = await make(client, documents)
        answer = await post(client, "process", {"_id": uid, **fields})
        assert answer.status_code == 400, fields
        assert set(answer.json()) == {"_success", "msg"}
        assert answer.json()["_success"] is False
        assert says in answer.json()["msg"]
    assert upstream.requests == []


@pytest.mark.usefixtures("quick_retries", "no_circuit")
async def test_the_providers_trouble_is_told_in_the_routes_shape(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    uid = await make(client, FILMS)
    for status, told in ((400, 400), (404, 404), (429, 429), (500, 502)):
        upstream.default = json_answer(status, chat.error_body("not today"))
        answer = await post(client, "process", {"_id": uid, "text": "Jaws"})
        assert answer.status_code == told
        assert answer.json() == {"_success": False, "msg": "not today"}
