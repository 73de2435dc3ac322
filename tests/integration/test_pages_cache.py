"""The pages of the cache: what it saved, what it holds for whom, purging, and why requests miss."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx
import pytest
from sqlalchemy import select, update

from aieye.cache.entry import Provenance
from aieye.cache.service import Cache, CacheLimits
from aieye.db.tables import AuditEntry, CacheEntry, CacheTotals
from tests.integration.ledger_api import Ledger, call, entry, request, running_ledger
from tests.integration.test_pages import OWN, Site, public_url, site
from tests.integration.test_pages_calls import as_ada

__all__ = ["public_url", "site"]

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
async def ledger(site: Site) -> AsyncIterator[Ledger]:
    """Where entries and calls come from; an administrator is signed in as `site.client`."""
    await site.add_administrator()
    await site.sign_in()
    async with running_ledger(site.state.database) as ledger:
        site.state.cache = Cache(ledger.database, ledger.writer, CacheLimits(2**20, 2**30))
        await site.state.cache.start()
        yield ledger
        await site.state.cache.close()


async def store(site: Site, ledger: Ledger, *prompts: str, hits: int = 0, **fields: object) -> None:
    for prompt in prompts:
        site.state.cache.keep(entry(prompt, **fields), request(prompt), is_kept=False)
    await ledger.writer.durable()
    async with site.state.database.write() as session:
        await session.execute(update(CacheEntry).where(CacheEntry.hits == 0).values(hits=hits))


def order_of(page: httpx.Response) -> list[str]:
    return re.findall(r'href="/cache/(\d+)"', page.text)


async def test_entries_are_in_the_order_of_what_they_did_and_are_found_by_what_they_hold(
    site: Site, ledger: Ledger
) -> None:
    cheap, dear = Provenance(cost_nano=1_000), Provenance(cost_nano=9_000_000)
    await store(site, ledger, "an apple", hits=9, provenance=cheap)
    await store(site, ledger, "a pear <script>", hits=2, provenance=dear, namespace="other")
    await store(site, ledger, "a plum")
    for query, ids in (
        ("", ["1", "2"]), ("?order=saved", ["2", "1"]), ("?order=newest", ["3", "2", "1"]),
        ("?q=PEAR", ["2"]), ("?namespace=other", ["2"]), ("?q=pear&namespace=default", []),
        ("?model=gpt-4o-mini&order=newest", ["3", "2", "1"]), ("?model=none", []),
    ):  # fmt: skip
        page = await site.client.get(f"/cache{query}")
        assert (page.status_code, order_of(page)) == (200, ids), query
    inside = await site.client.get("/cache/2")
    assert "a pear &lt;script&gt;" in inside.text
    assert "$0.0180" in unescape(inside.text)
    for view in ("json", "raw"):
        assert "a pear &lt;script&gt;" in (await site.client.get(f"/cache/2?view={view}")).text
    assert (await site.client.get("/cache/99")).status_code == 404
    assert (await site.client.get("/cache?model=%00")).status_code == 400


async def test_the_list_of_what_was_hit_tells_how_many_were_not(site: Site, ledger: Ledger) -> None:
    async def foot(query: str = "") -> str:
        page = (await site.client.get(f"/cache{query}")).text
        found = re.search(r'(?s)<p class="table-foot">(?!and )(.*?)</p>', page)
        return unescape(re.sub("<[^>]+>", "", found[1])) if found else page

    await store(site, ledger, "hit", hits=2)
    assert "hit." not in await foot()
    await store(site, ledger, "new", namespace="other")
    assert "1 more was never hit." in await foot()
    assert "1 more was never hit." in await foot("?order=saved")
    await store(site, ledger, "newer")
    assert "2 more were never hit." in await foot()
    assert 'href="/cache?order=newest#entries"' in (await site.client.get("/cache")).text
    assert "never hit" not in await foot("?order=newest")
    assert "Those that were never hit are under Newest." in await foot("?namespace=default")
    # Of more entries than are looked at it is those that were looked at.
    assert "used last" not in await foot()
    async with site.state.database.write() as session:
        await session.execute(update(CacheTotals).values(entries=1_000_000))
    assert "2\N{NARROW NO-BREAK SPACE}999 more were never hit. Looked at are" in await foot()


async def test_what_was_simulated_is_called_so_where_savings_are_told(
    site: Site, ledger: Ledger
) -> None:
    await store(site, ledger, "made up", hits=3, provenance=Provenance())
    await store(site, ledger, "unpriced", hits=2, provenance=Provenance(), provider_id=7)
    listed = (await site.client.get("/cache")).text
    assert re.findall(r'<td class="num muted">(\w+)</td>', listed) == ["simulated", "unknown"]
    assert ">simulated<" in (await site.client.get("/cache/1")).text
    assert ">simulated<" not in (await site.client.get("/cache/2")).text


async def test_a_purge_says_what_goes_and_asks_for_its_name(site: Site, ledger: Ledger) -> None:
    await store(site, ledger, "one", "two", hits=3)
    await store(site, ledger, "three", namespace="other")
    for query, word, said, left in (
        ("?namespace=other", "other", "1\N{NARROW NO-BREAK SPACE}entry", 2),
        ("?model=gpt-4o-mini", "gpt-4o-mini", "2\N{NARROW NO-BREAK SPACE}entries", 0),
    ):
        form = await site.client.get(f"/cache/purge{query}")
        assert said in form.text
        refused = await site.submit(form, to=r"/cache/purge[^\"]*", confirm="no")
        assert refused.status_code == 422
        assert f"Type {word} to purge" in refused.text
        done = await site.submit(form, to=r"/cache/purge[^\"]*", confirm=word)
        assert (done.status_code, done.headers["location"]) == (303, "/cache")
        async with site.state.database.read() as session:
            assert len((await session.scalars(select(CacheEntry.id))).all()) == left
    await store(site, ledger, "four")
    form = await site.client.get("/cache/purge")
    assert (await site.submit(form, to="/cache/purge", confirm="everything")).status_code == 303
    async with site.state.database.read() as session:
        acts = (await session.scalars(select(AuditEntry.details).order_by(AuditEntry.id))).all()
        assert not (await session.scalars(select(CacheEntry.id))).all()
    assert acts[-3:] == [{"namespace": "other"}, {"model": "gpt-4o-mini"}, {"all": True}]


async def test_one_entry_is_purged_once(site: Site, ledger: Ledger) -> None:
    await store(site, ledger, "one", "two")
    form = await site.client.get("/cache/1/purge")
    assert (await site.submit(form, to="/cache/1/purge")).headers["location"] == "/cache"
    assert (await site.submit(form, to="/cache/1/purge")).status_code == 404
    assert order_of(await site.client.get("/cache?order=newest")) == ["2"]


async def test_a_pasted_request_is_told_where_it_differs(site: Site, ledger: Ledger) -> None:
    await store(site, ledger, "Hello on 19 November")
    form = await site.client.get("/cache/explain")
    told = await site.submit(
        form, to="/cache/explain", body=request("Hello on 20 November").decode(),
        namespace="default", endpoint="/v1/chat/completions",
    )  # fmt: skip
    assert told.status_code == 200
    assert "/messages/0/content" in told.text
    assert "19 November" in told.text
    for fields, said in (
        ({"body": "{not json", "namespace": "default"}, "{not json"),
        ({"body": "[1]", "namespace": "default"}, "body-error"),
        ({"body": "{}", "namespace": "somebody-elses"}, "None of your tokens"),
        ({"body": "{}", "namespace": "default", "endpoint": ""}, "endpoint-error"),
    ):
        refused = await site.submit(
            form, to="/cache/explain", **{"endpoint": "chat/completions", **fields}
        )
        assert refused.status_code == 422, fields
        assert said in refused.text, fields
    for body in ('{"model": 5}', '{"model": "x"}', "{}"):
        answer = await site.submit(
            form, to="/cache/explain", body=body, namespace="default", endpoint="chat/completions"
        )
        assert "Nothing is stored for this model" in answer.text


async def test_a_user_sees_figures_of_own_calls_and_nothing_that_others_asked(
    site: Site, ledger: Ledger
) -> None:
    ada_id, client = await as_ada(site)
    await store(site, ledger, "a secret of Root", hits=4)
    hits = [call(user_id=ada_id, cache="hit", saved_nano=5_000_000), call(user_id=1, cache="miss")]
    await ledger.settle(*hits)
    page = await client.get("/cache")
    assert page.status_code == 200
    assert "100\N{NARROW NO-BREAK SPACE}%" in page.text
    assert order_of(page) == []
    assert "Purge" not in page.text
    # How much all have stored is not theirs to know.
    assert "In the database" not in page.text
    assert ">Entries<" not in page.text
    assert "In the database" in (await site.client.get("/cache")).text
    assert "50\N{NARROW NO-BREAK SPACE}%" in (await site.client.get("/cache")).text
    for path in ("/cache/1", "/cache/purge", "/cache/1/purge"):
        assert (await client.get(path)).status_code == 403, path
    async with site.state.database.read() as session:
        before = (await session.scalars(select(CacheEntry.id))).all()
    answer = await client.post("/cache/purge", data={"confirm": "everything"}, headers=OWN)
    assert answer.status_code == 403
    async with site.state.database.read() as session:
        assert (await session.scalars(select(CacheEntry.id))).all() == before
    await client.aclose()
