"""Searches: documents embedded once, whatever fails on the way, and ranked by nearness."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from aieye.access.routes import Target
from aieye.db.engine import Database
from aieye.db.tables import DocumentVector
from aieye.db.types import now
from aieye.errors import Forbidden, InvalidRequest, NotFound
from aieye.gateway.faults import UpstreamError
from aieye.presets import corpora, indexing, vectors
from aieye.presets.documents import Documents, load_documents
from aieye.presets.indexing import NotIndexed
from aieye.presets.models import Preset
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    hang_before_headers,
    json_answer,
)
from tests.faults.harness import StartGateway, both_databases, eventually
from tests.faults.library import ENGINE, Library, asked, inputs, librarian

FILMS = ["a shark eats swimmers", "a ship sinks in the ice", "swimmers and a shark", "toys talk"]


@pytest.fixture
async def library(start_gateway: StartGateway, upstream: FakeUpstream) -> Library:
    upstream.default = librarian
    return Library(await start_gateway())


def target(model: str, provider: str) -> Target:
    return Target(model=model, provider=provider, key_id=None, weight=1)


def numbered(count: int) -> list[str]:
    return [f"document {number} of many" for number in range(count)]


# -- what is found, and what that takes ----------------------------------------------------------


@both_databases
async def test_documents_are_embedded_once_and_from_then_on_the_query_alone(
    library: Library, upstream: FakeUpstream
) -> None:
    preset = await library.make(FILMS)
    found = await library.search(preset, "a shark")
    assert {result.document for result in found.results[:2]} == {0, 2}
    assert [result.score for result in found.results] == sorted(
        (result.score for result in found.results), reverse=True
    )
    assert asked(upstream) == [["a shark"], FILMS]
    again = await library.search(preset, "toys that talk", top_k=1, with_text=True)
    assert [(one.document, one.text) for one in again.results] == [(3, "toys talk")]
    assert asked(upstream)[2:] == [["toys that talk"]]


@both_databases
async def test_vectors_outlive_the_process_and_serve_every_preset(
    library: Library, upstream: FakeUpstream
) -> None:
    await library.search(await library.make(FILMS), "ice")
    await library.gateway.restart()
    await library.search(await library.make([*FILMS, "new", "new"]), "ice")
    # The query is in the cache, and what both have in common is stored.
    assert asked(upstream) == [["ice"], FILMS, ["new"]]
    assert await library.vectors() == len(FILMS) + 1


async def test_calls_are_booked_on_who_searches_and_marked_with_the_preset(
    library: Library,
) -> None:
    preset = await library.make(FILMS)
    token = await library.gateway.add_token()
    await library.search(preset, "ice", payer=library.payer(token))
    rows = await library.gateway.rows(2)
    grant = library.gateway.state.directory.find_grant(token)
    assert grant is not None
    assert [(row.endpoint, row.token_id, row.status, row.tags) for row in rows] == [
        ("embeddings", grant.token_id, 200, {"preset": preset.uid})
    ] * 2
    # Those of documents are kept as vectors, once.
    assert [row.cache for row in rows] == ["miss", "bypass"]


async def test_documents_that_come_with_a_search_are_kept_in_the_cache(
    library: Library, upstream: FakeUpstream
) -> None:
    preset = await library.make([])
    for text in ("a shark", "a ship"):
        found = await library.search(preset, text, documents=FILMS, with_text=True)
        assert found.results[0].text in FILMS
    assert sorted(asked(upstream)) == sorted([["a shark"], FILMS, ["a ship"]])
    assert await library.vectors() == 0


# -- which model embeds --------------------------------------------------------------------------


async def test_an_engine_that_cannot_embed_gives_way_to_the_search_model(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    upstream.default = librarian
    library = Library(await start_gateway(search_model="text-embedding-3-large"))
    found = await library.search(await library.make(FILMS, "davinci"), "ice")
    assert found.model == "text-embedding-3-large"
    assert {request.json["model"] for request in upstream.requests} == {found.model}


async def test_of_an_aliass_targets_one_is_asked_for_all_vectors(
    library: Library, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    other.default = librarian
    await library.gateway.add_provider("elsewhere", other, "sk-other-key-0123456789")
    targets = [target(ENGINE, "openai"), target("embed-large", "elsewhere")]
    await library.gateway.add_route("ada", *targets, strategy="weighted")
    preset = await library.make(FILMS, "ada")
    for number in range(8):
        await library.search(preset, f"question {number}")
    assert not other.requests
    assert [len(texts) for texts in asked(upstream)] == [1, 4, *[1] * 7]


async def test_a_token_that_is_limited_searches_with_its_models_alone(library: Library) -> None:
    preset = await library.make(FILMS, "davinci")
    allowed = await library.gateway.add_token(models=[ENGINE])
    found = await library.search(preset, "ice", payer=library.payer(allowed))
    assert len(found.results) == len(FILMS)
    refused = await library.gateway.add_token(models=["davinci"])
    with pytest.raises(Forbidden, match=ENGINE):
        await library.search(preset, "ice", payer=library.payer(refused))


# -- batches -------------------------------------------------------------------------------------


async def test_many_documents_are_asked_in_batches_few_at_a_time(
    library: Library, upstream: FakeUpstream
) -> None:
    open_now = most = 0

    async def slowly(request: Received, connection: Connection) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.02 * random.random())
        await librarian(request, connection)
        open_now -= 1

    upstream.default = slowly
    preset = await library.make(numbered(200))
    found = await library.search(preset, "document 137 of many")
    assert found.results[0].document == 137
    assert found.results[0].score == pytest.approx(100, abs=0.01)
    batches = asked(upstream)[1:]
    assert sorted(text for batch in batches for text in batch) == sorted(numbered(200))
    assert max(map(len, batches)) <= 32
    assert 1 < most <= 4


async def test_a_batch_that_is_refused_as_too_large_is_asked_in_halves(
    library: Library, upstream: FakeUpstream
) -> None:
    async def few_at_once(request: Received, connection: Connection) -> None:
        too_many = len(inputs(request)) > 9
        refusal = json_answer(400, chat.error_body("too many tokens in one request"))
        await (refusal if too_many else librarian)(request, connection)

    upstream.default = few_at_once
    preset = await library.make(numbered(30))
    assert len((await library.search(preset, "many")).results) == 30
    assert await library.vectors() == 30
    assert upstream.fired["status-400"] == 3


async def test_a_document_that_the_provider_refuses_is_named(
    library: Library, upstream: FakeUpstream
) -> None:
    documents = numbered(20)

    async def choosy(request: Received, connection: Connection) -> None:
        is_in = documents[13] in inputs(request)
        refusal = json_answer(400, chat.error_body("this is too long"))
        await (refusal if is_in else librarian)(request, connection)

    upstream.default = choosy
    preset = await library.make(documents)
    with pytest.raises(UpstreamError, match="Document 13: this is too long") as caught:
        await library.search(preset, "many")
    assert caught.value.status == 400


@pytest.mark.usefixtures("quick_retries", "no_circuit")
async def test_what_came_before_a_failure_is_not_asked_again(
    library: Library, upstream: FakeUpstream
) -> None:
    documents = numbered(100)

    async def failing(request: Received, connection: Connection) -> None:
        is_in = documents[50] in inputs(request)
        failure = json_answer(500, chat.error_body("broken"))
        await (failure if is_in else librarian)(request, connection)

    upstream.default = failing
    preset = await library.make(documents)
    with pytest.raises(UpstreamError, match="broken") as caught:
        await library.search(preset, "many")
    assert caught.value.status == 502
    stored = await library.vectors()
    assert stored == 100 - 32
    upstream.default = librarian
    before = len(upstream.requests)
    assert len((await library.search(preset, "many")).results) == 100
    assert sum(map(len, asked(upstream)[before:])) == 100 - stored


async def test_first_searches_at_once_compute_vectors_once(
    library: Library, upstream: FakeUpstream
) -> None:
    preset = await library.make(numbered(70))
    texts = [f"question {number}" for number in range(6)]
    found = await asyncio.gather(*[library.search(preset, text) for text in texts])
    assert all(len(one.results) == 70 for one in found)
    assert sum(len(batch) for batch in asked(upstream) if batch[0] not in texts) == 70


async def test_when_the_last_who_waits_leaves_the_provider_hears_of_it(
    library: Library, upstream: FakeUpstream
) -> None:
    async def hanging(request: Received, connection: Connection) -> None:
        if len(inputs(request)) == 1:
            await librarian(request, connection)
        else:
            await hang_before_headers()(request, connection)

    upstream.default = hanging
    preset = await library.make(FILMS)
    searches = [asyncio.create_task(library.search(preset, text)) for text in ("one", "two")]
    await eventually(lambda: waiting(library, preset) == 2 and len(upstream.requests) == 3)
    searches[0].cancel()
    await asyncio.wait({searches[0]})
    assert not any(request.abandoned for request in upstream.requests)
    searches[1].cancel()
    await eventually(lambda: any(request.abandoned for request in upstream.requests))
    upstream.default = librarian
    assert len((await library.search(preset, "three")).results) == 4


def waiting(library: Library, preset: Preset) -> int:
    """How many wait for the vectors of a preset."""
    search = library.gateway.state.search
    assert preset.documents_id is not None
    job = search.indexing.find(preset.documents_id, search.space(preset, library.payer()))
    return 0 if job is None else job.waiting


# What two documents' vectors are answered as, and what is said of it.
IMPOSSIBLE: list[tuple[list[Any], str]] = [
    ([[1.0, 0.0], [1.0]], "different lengths"),
    ([[1.0] * 64], "1 vectors for 2 texts"),
    ([[0.0] * 64, [1.0] * 64], "a vector is zero"),
    ([[1.0, 2.0], [2.0, 1.0]], "cannot be compared"),
    ([["x"] * 64, [1.0] * 64], "neither numbers"),
    ([[1e300] * 64, [1.0] * 64], "no number"),
    (["AAAA", "AA"], "neither numbers"),
    ([[], []], "a vector is empty"),
    ([7, None], "neither numbers"),
]


async def test_vectors_that_cannot_be_are_the_providers_fault(
    library: Library, upstream: FakeUpstream
) -> None:
    preset = await library.make(FILMS[:2])
    for vectors_, why in IMPOSSIBLE:
        data = [{"index": at, "embedding": one} for at, one in enumerate(vectors_)]
        broken = json_answer(200, {"object": "list", "data": data})

        async def odd(
            request: Received, connection: Connection, broken: Behaviour = broken
        ) -> None:
            is_query = len(inputs(request)) == 1
            await (librarian if is_query else broken)(request, connection)

        upstream.default = odd
        with pytest.raises(UpstreamError, match=why) as caught:
            await library.search(preset, "ice")
        assert caught.value.status == 502
    assert await library.vectors() == 0


async def test_vectors_of_another_length_than_the_querys_are_computed_anew(
    library: Library, upstream: FakeUpstream
) -> None:
    preset = await library.make(FILMS)
    await library.search(preset, "ice")
    # The provider has another model behind the same name by now.
    async with library.gateway.state.database.write() as session:
        await session.execute(update(DocumentVector).values(vector=b"\0\0\0\1" * 8))
    await library.gateway.restart()
    found = await library.search(preset, "shark")
    assert found.results[0].document in {0, 2}
    assert asked(upstream)[2:] == [["shark"], FILMS]


# -- many documents ------------------------------------------------------------------------------


async def test_many_documents_are_indexed_in_the_background_and_a_restart_goes_on(
    library: Library, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PATIENCE_SECONDS", 0.05)
    documents = numbered(320)
    let_on = asyncio.Event()

    async def half(request: Received, connection: Connection) -> None:
        if sum(map(len, asked(upstream))) > 160:
            await let_on.wait()
        await librarian(request, connection)

    upstream.default = half
    preset = await library.make(documents)
    with pytest.raises(InvalidRequest) as refused:
        await library.search(preset, "document 7 of many")
    assert refused.value.param == "top_k"
    with pytest.raises(NotIndexed, match="of 320 documents are indexed") as caught:
        await library.search(preset, "document 7 of many", top_k=3)
    assert caught.value.headers["Retry-After"]
    job = library.gateway.state.search.begin_indexing(preset, library.payer())
    assert job is not None
    await eventually(lambda: job.done >= 128)
    await library.gateway.restart()
    stored = await library.vectors()
    assert 128 <= stored <= 192
    let_on.set()
    upstream.default = librarian
    before = len(upstream.requests)
    async with asyncio.timeout(30):
        while True:
            with suppress(NotIndexed):
                found = await library.search(preset, "document 7 of many", top_k=3)
                break
    assert found.results[0].document == 7
    assert len(found.results) == 3
    assert sum(map(len, asked(upstream)[before:])) == 320 - stored


@pytest.mark.usefixtures("quick_retries", "no_circuit")
async def test_of_many_documents_a_failure_that_passes_is_waited_out(
    library: Library, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_FIRST_WAIT", 0.0)
    preset = await library.make(numbered(250))
    upstream.script(*[json_answer(500, chat.error_body("busy"))] * 20)
    job = library.gateway.state.search.begin_indexing(preset, library.payer())
    assert job is not None
    await eventually(lambda: not job.is_running)
    assert job.error is None
    assert await library.vectors() == 250


@both_databases
async def test_a_search_that_is_deleted_costs_nothing_more(
    library: Library, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()

    async def half(request: Received, connection: Connection) -> None:
        if len(upstream.requests) > 4:
            await gate.wait()
        await librarian(request, connection)

    upstream.default = half
    preset = await library.make(numbered(320))
    job = library.gateway.state.search.begin_indexing(preset, library.payer())
    assert job is not None
    await eventually(lambda: len(upstream.requests) == 8)
    await library.delete(preset)
    gate.set()
    await eventually(lambda: not job.is_running)
    assert isinstance(job.error, NotFound)
    assert len(upstream.requests) == 8


@pytest.mark.usefixtures("no_circuit")
async def test_documents_that_cannot_be_indexed_do_not_stay_in_memory(
    library: Library, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Documents]] = []

    async def load(database: Database, documents_id: str) -> Documents:
        documents = await load_documents(database, documents_id)
        held.append(weakref.ref(documents))
        return documents

    monkeypatch.setattr(indexing, "load_documents", load)
    upstream.default = json_answer(400, chat.error_body("not that one"))
    preset = await library.make(numbered(250))
    job = library.gateway.state.search.begin_indexing(preset, library.payer())
    assert job is not None
    await eventually(lambda: not job.is_running)
    assert job.error is not None
    gc.collect()
    assert [one() for one in held] == [None]


async def test_many_documents_are_read_into_memory_one_search_after_another(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = [await library.make([str(at), *numbered(201)]) for at in range(3)]
    for preset in presets:
        await library.search(preset, "of many", top_k=1)
    await library.gateway.restart()
    loading, most = 0, 0

    async def load(database: Database, documents_id: str) -> Documents:
        nonlocal loading, most
        loading += 1
        most = max(most, loading)
        try:
            return await load_documents(database, documents_id)
        finally:
            loading -= 1

    monkeypatch.setattr(corpora, "load_documents", load)
    await asyncio.gather(*(library.search(one, "of many", top_k=1) for one in presets))
    assert most == 1


# -- what goes -----------------------------------------------------------------------------------


@both_databases
async def test_vectors_go_when_no_preset_has_their_document_any_more(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await library.make(FILMS[:3])
    second = await library.make(FILMS[2:])
    await library.search(first, "ice")
    await library.search(second, "ice")
    await library.delete(first)
    search = library.gateway.state.search
    assert await search.prune() == 0
    monkeypatch.setattr(vectors, "_GRACE", now() - now())
    monkeypatch.setattr(vectors, "_CHUNK", 1)
    # A deletion can be undone for a while.
    assert await search.prune() == 0
    monkeypatch.setattr("aieye.presets.search.UNDO_WITHIN", timedelta(0))
    assert await search.prune() == 2
    assert await search.vectors.prune([]) == 2
    assert await library.vectors() == 0
