"""`/api/v1/presets/{id}/documents`, `…/index` and `…/search` over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from aieye.db.engine import Database
from aieye.presets import indexing
from aieye.presets.documents import Documents, load_documents
from tests.fakes import chat
from tests.fakes.upstream import Connection, FakeUpstream, Received, held, json_answer
from tests.faults.harness import Gateway, Json, both_databases, error_code
from tests.faults.library import ENGINE, asked, inputs, librarian

PRESETS = "/api/v1/presets"


@pytest.fixture
async def admin(gateway: Gateway, upstream: FakeUpstream) -> AsyncIterator[httpx.AsyncClient]:
    upstream.default = librarian
    async with gateway.make_client(await gateway.add_token(scope="admin")) as client:
        yield client


def documents(count: int) -> list[str]:
    return [f"document {number} of many" for number in range(count)]


async def make(admin: httpx.AsyncClient, type_: str = "search", **config: Any) -> str:
    said = {"engine_id": ENGINE, **config} if type_ == "search" else {"model": "m"}
    body = {"name": f"a_{type_}", "type": type_, "config": said}
    answer = await admin.post(PRESETS, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def send(admin: httpx.AsyncClient, uid: str, content: Any) -> httpx.Response:
    headers = {"content-type": "application/x-ndjson"}
    return await admin.put(f"{PRESETS}/{uid}/documents", content=content, headers=headers)


async def indexed(admin: httpx.AsyncClient, uid: str) -> Json:
    """The index when it is complete."""
    async with asyncio.timeout(20):
        while True:
            found: Json = (await admin.get(f"{PRESETS}/{uid}/index")).json()
            if found["state"] != "indexing":
                return found
            await asyncio.sleep(0.02)


@both_databases
async def test_a_file_of_documents_is_indexed_and_searched(
    admin: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    uid = await make(admin)
    texts = documents(700)

    async def lines() -> AsyncIterator[bytes]:
        for text in texts:
            yield orjson.dumps({"text": text}) + b"\n"

    sent = await send(admin, uid, lines())
    assert sent.status_code == 200, sent.text
    assert (sent.json()["version"], sent.json()["documents"]) == (2, 700)
    assert await indexed(admin, uid) == {
        "version": 2, "documents": 700, "indexed": 700, "state": "indexed",
        "model": ENGINE, "provider": "openai", "error": None,
    }  # fmt: skip
    assert sorted(text for batch in asked(upstream) for text in batch) == sorted(texts)

    body = {"text": texts[567], "top_k": 2, "with_text": True}
    found = (await admin.post(f"{PRESETS}/{uid}/search", json=body)).json()
    assert found["data"][0] == {
        "score": 100.0, "document": 567, "object": "search_result", "text": texts[567],
    }  # fmt: skip
    assert len(found["data"]) == 2
    assert (found["model"], found["object"]) == (ENGINE, "list")
    plain = (await admin.post(f"{PRESETS}/{uid}/search", json={"text": texts[567]})).json()
    assert plain["data"][0] == {"score": 100.0, "document": 567, "object": "search_result"}
    assert len(plain["data"]) == 10

    given = await admin.get(f"{PRESETS}/{uid}/documents")
    assert given.headers["content-type"].startswith("application/x-ndjson")
    assert [orjson.loads(line) for line in given.text.splitlines()] == texts
    # The GPT3 Proxy's route keeps to 200.
    refused = await admin.post("/_saga/gpt3/process", json={"_id": uid, "text": "x"})
    assert refused.status_code == 400
    assert f"{PRESETS}/{uid}/search" in refused.json()["msg"]


async def test_a_complete_index_is_told_without_reading_the_documents_again(
    admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = await make(admin, documents=documents(5))
    await admin.post(f"{PRESETS}/{uid}/search", json={"text": "many"})
    read: list[str] = []

    async def noted(database: Database, documents_id: str) -> Documents:
        read.append(documents_id)
        return await load_documents(database, documents_id)

    monkeypatch.setattr(indexing, "load_documents", noted)
    for _ in range(3):
        assert (await indexed(admin, uid))["indexed"] == 5
    assert len(read) == 1


async def test_other_documents_are_a_new_version_that_shares_vectors(
    admin: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    uid = await make(admin, documents=documents(5))
    await admin.post(f"{PRESETS}/{uid}/search", json={"text": "many"})
    await send(admin, uid, b"\n".join(map(orjson.dumps, documents(7))))
    assert (await indexed(admin, uid))["indexed"] == 7
    assert asked(upstream) == [["many"], documents(5), documents(7)[5:]]
    await admin.post(f"{PRESETS}/{uid}/rollback", json={"version": 1})
    found = await admin.post(f"{PRESETS}/{uid}/search", json={"text": "many"})
    assert len(found.json()["data"]) == 5
    assert len(upstream.requests) == 3


async def test_while_documents_are_indexed_a_search_is_told_how_far_that_is(
    admin: httpx.AsyncClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PATIENCE_SECONDS", 0.05)
    gate = asyncio.Event()

    async def slow(request: Received, connection: Connection) -> None:
        is_last = "document 299 of many" in inputs(request)
        await (held(gate, librarian) if is_last else librarian)(request, connection)

    upstream.default = slow
    uid = await make(admin)
    await send(admin, uid, b"\n".join(map(orjson.dumps, documents(300))))
    waiting = await admin.post(f"{PRESETS}/{uid}/search", json={"text": "many"})
    assert waiting.status_code == 503
    assert error_code(waiting) == "not_indexed"
    assert "of 300 documents are indexed" in waiting.json()["error"]["message"]
    assert waiting.headers["retry-after"]
    monkeypatch.undo()
    gate.set()
    assert (await indexed(admin, uid))["state"] == "indexed"
    assert (await admin.post(f"{PRESETS}/{uid}/search", json={"text": "many"})).status_code == 200


@pytest.mark.usefixtures("no_circuit")
async def test_what_keeps_documents_from_being_indexed_is_told(
    admin: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(404, chat.error_body("there is no such model"))
    uid = await make(admin)
    await send(admin, uid, b"\n".join(map(orjson.dumps, documents(300))))
    found = await indexed(admin, uid)
    assert (found["state"], found["indexed"], found["error"]) == (
        "waiting", 0, "there is no such model",
    )  # fmt: skip
    upstream.default = librarian
    assert (await admin.post(f"{PRESETS}/{uid}/search", json={"text": "many"})).status_code == 200
    assert (await indexed(admin, uid))["error"] is None


async def test_documents_that_are_none_change_nothing(
    admin: httpx.AsyncClient, gateway: Gateway
) -> None:
    uid = await make(admin)
    for content, says in (
        (b'"a"\nb\n', "Line 2 is not JSON"),
        (b"", "There is no document"),
        (b'"a"\n' * 50_001, "Line 50001 is one too many"),
    ):
        answer = await send(admin, uid, content)
        assert answer.status_code == 422
        assert says in answer.json()["error"]["message"]
    packed = await admin.put(
        f"{PRESETS}/{uid}/documents", content=b"x", headers={"content-encoding": "gzip"}
    )
    assert packed.status_code == 415
    shown = (await admin.get(f"{PRESETS}/{uid}")).json()
    assert (shown["version"], shown["document_count"]) == (1, 0)
    # Those of others and other kinds.
    chat_ = await make(admin, "chat")
    assert (await send(admin, chat_, b'"a"')).status_code == 422
    for what in ("documents", "index"):
        assert (await admin.get(f"{PRESETS}/{chat_}/{what}")).status_code == 422
    searched = await admin.post(f"{PRESETS}/{chat_}/search", json={"text": "x"})
    assert searched.status_code == 422
    stranger = await gateway.add_token(
        user_id=await gateway.add_user("eve@example.org"), scope="admin"
    )
    async with gateway.make_client(stranger) as eve:
        assert (await send(eve, uid, b'"a"')).status_code == 404
        for what in ("documents", "index"):
            assert (await eve.get(f"{PRESETS}/{uid}/{what}")).status_code == 404
        searched = await eve.post(f"{PRESETS}/{uid}/search", json={"text": "x"})
        assert searched.status_code == 404
        await admin.patch(f"{PRESETS}/{uid}", json={"shared": True})
        assert (await send(eve, uid, b'"a"')).status_code == 403
        own = {"text": "a", "documents": ["a", "b"]}
        assert (await eve.post(f"{PRESETS}/{uid}/search", json=own)).status_code == 200
