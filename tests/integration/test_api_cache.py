"""`/api/v1/cache`: sizes and savings, entries, purging, and why a call missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aieye.cache.entry import Entry
from aieye.cache.explain import Difference, Explanation, Nearest
from aieye.cache.service import Cache, CacheLimits
from aieye.db.types import now, to_micros
from tests.integration.admin_api import error_of
from tests.integration.ledger_api import LedgerApi, call, entry, running_ledger_api

CACHE = "/api/v1/cache"
ENTRIES = f"{CACHE}/entries"


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[LedgerApi]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        yield ledger


async def keep(ledger: LedgerApi, *entries: Entry) -> None:
    for one in entries:
        ledger.cache.keep(one)
        await ledger.writer.durable()


async def entries(ledger: LedgerApi, **query: Any) -> list[dict[str, Any]]:
    answer = await ledger.api.administrator.client.get(ENTRIES, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_the_cache_tells_its_size_and_what_it_saved(ledger: LedgerApi) -> None:
    stored = [entry("one"), entry("two")]
    await keep(ledger, *stored)
    hit = call(cache="hit", cost_nano=0, saved_nano=27_000)
    await ledger.settle(
        hit, call(cache="shared", cost_nano=0), call(), call(), call(cache="bypass")
    )
    found = (await ledger.api.administrator.client.get(CACHE)).json()
    assert (found["entries"], found["size_bytes"]) == (2, sum(one.size_bytes for one in stored))
    assert found["calls"] == {"hit": 1, "shared": 1, "miss": 2, "bypass": 1}
    assert (found["hit_rate"], found["saved_usd"]) == (0.5, "0.000027")
    assert found["is_on_by_default"] is True


async def test_users_see_what_the_cache_did_for_their_own_calls(ledger: LedgerApi) -> None:
    api = ledger.api
    await ledger.settle(call(cache="hit", user_id=api.ada.id), call(cache="hit"))
    found = (await api.ada.client.get(CACHE)).json()
    assert (found["calls"], found["hit_rate"]) == ({"hit": 1}, 1)
    later = (now() + timedelta(days=1)).isoformat()
    nothing = (await api.ada.client.get(CACHE, params={"since": later})).json()
    assert (nothing["calls"], nothing["hit_rate"]) == ({}, None)


async def test_entries_are_listed_newest_first_without_their_texts(ledger: LedgerApi) -> None:
    expires = to_micros(now() + timedelta(hours=1))
    await keep(ledger, entry("a"), entry("b", expires_at=expires), entry("c", is_stream=True))
    third, second, first = await entries(ledger)
    assert [one["stream"] for one in (first, second, third)] == [False, False, True]
    assert (first["expires_at"], second["expires_at"] is None) == (None, False)
    assert (first["provider"], first["cost_usd"], first["tokens_input"]) == (
        "demo",
        "0.000027",
        100,
    )
    assert not {"request", "response", "body"} & first.keys()
    page = await ledger.api.administrator.client.get(ENTRIES, params={"limit": 2})
    cursor = page.json()["next_cursor"]
    assert [one["id"] for one in await entries(ledger, cursor=cursor)] == [first["id"]]


async def test_entries_are_found_by_model_namespace_and_endpoint(ledger: LedgerApi) -> None:
    await keep(
        ledger, entry("a"), entry("b", model="gpt-4o"), entry("c", namespace="team"),
        entry("d", endpoint="embeddings"),
    )  # fmt: skip
    for query in ({"model": "gpt-4o"}, {"namespace": "team"}, {"endpoint": "embeddings"}):
        (found,) = await entries(ledger, **query)
        assert query.items() <= found.items()


async def test_an_entry_shows_its_request_and_what_of_its_answer_is_text(ledger: LedgerApi) -> None:
    audio = ((b"content-type", b"audio/mpeg"),)
    await keep(ledger, entry("a"), entry("b", headers=audio, body=b"\xff\xfb"))
    speech, chat = await entries(ledger)
    client = ledger.api.administrator.client
    shown = (await client.get(f"{ENTRIES}/{chat['id']}")).json()
    assert '"content":"a"' in shown["request"]
    assert shown["response"] == '{"choices":[]}'
    assert shown.items() >= chat.items()
    assert (await client.get(f"{ENTRIES}/{speech['id']}")).json()["response"] is None
    error_of(await client.get(f"{ENTRIES}/{2**40}"), 404)


async def test_a_purged_entry_is_gone_and_the_act_is_on_record(ledger: LedgerApi) -> None:
    kept, purged = entry("a"), entry("b")
    await keep(ledger, kept, purged)
    newest = (await entries(ledger))[0]["id"]
    client = ledger.api.administrator.client
    assert (await client.delete(f"{ENTRIES}/{newest}")).json() == {"purged": 1}
    assert [one["id"] for one in await entries(ledger)] != [newest]
    assert await ledger.cache.find(purged.key) is None
    assert await ledger.cache.find(kept.key) is not None
    assert (await client.get(CACHE)).json()["entries"] == 1
    act = (await ledger.api.audit())[-1]
    assert (act.action, act.object_id) == ("cache.purge", str(newest))
    error_of(await client.delete(f"{ENTRIES}/{newest}"), 404)
    assert (await ledger.api.audit())[-1].id == act.id


@pytest.mark.parametrize(
    ("body", "purged"),
    [
        ({"model": "gpt-4o"}, 2), ({"namespace": "team"}, 2),
        ({"model": "gpt-4o", "namespace": "team"}, 1), ({"all": True}, 4), ({"model": "none"}, 0),
    ],
    ids=str,
)  # fmt: skip
async def test_entries_are_purged_by_model_namespace_or_all(
    ledger: LedgerApi, body: dict[str, Any], purged: int
) -> None:
    await keep(
        ledger, entry("a"), entry("b", model="gpt-4o"), entry("c", namespace="team"),
        entry("d", model="gpt-4o", namespace="team"),
    )  # fmt: skip
    answer = await ledger.api.administrator.client.post(f"{CACHE}/purge", json=body)
    assert answer.json() == {"purged": purged}
    assert len(await entries(ledger)) == 4 - purged
    assert (await ledger.api.audit())[-1].details == body


@pytest.mark.parametrize(
    "body", [{}, {"all": False}, {"all": True, "model": "m"}, {"model": None}, {"id": 1}], ids=str
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_purge_that_names_nothing_or_too_much_purges_nothing(
    ledger: LedgerApi, body: dict[str, Any]
) -> None:
    await keep(ledger, entry())
    answer = await ledger.api.administrator.client.post(f"{CACHE}/purge", json=body)
    error_of(answer, 422)
    assert len(await entries(ledger)) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ENTRIES),
        ("GET", f"{ENTRIES}/1"),
        ("DELETE", f"{ENTRIES}/1"),
        ("POST", f"{CACHE}/purge"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_entries_hold_what_anyone_asked_so_only_administrators_see_and_purge_them(
    ledger: LedgerApi, method: str, path: str
) -> None:
    body = {"all": True} if method == "POST" else None
    error_of(await ledger.api.ada.client.request(method, path, json=body), 403)
    error_of(await ledger.api.anonymous.request(method, path, json=body), 401)


class ExplainingCache(Cache):
    """Explains every call alike."""

    async def explain(self, call_id: str) -> Explanation:
        fields = (
            Difference("/seed", "1", "2"),
            Difference("/top_p", "1", None),
            Difference("/stop", None, '"x"'),
        )
        return Explanation(call_id, "It differs.", Nearest(17, 2.5, fields, 3, 200))


@pytest.fixture
async def explained(ledger: LedgerApi) -> LedgerApi:
    state = ledger.api.state
    state.cache = ExplainingCache(ledger.database, ledger.writer, CacheLimits(0, 0))
    return ledger


async def test_a_miss_is_explained_by_the_nearest_entry(explained: LedgerApi) -> None:
    record = call()
    await explained.settle(record)
    for call_id in (record.id, record.request_id):
        answer = await explained.api.administrator.client.get(
            f"{CACHE}/explain", params={"call_id": call_id}
        )
        assert answer.json() == {
            "call_id": record.request_id,
            "reason": "It differs.",
            "nearest": {
                "entry_id": 17,
                "distance": 2.5,
                "differing": 3,
                "compared": 200,
                "fields": [
                    {"path": "/seed", "kind": "changed", "asked": "1", "stored": "2"},
                    {"path": "/top_p", "kind": "added", "asked": "1", "stored": None},
                    {"path": "/stop", "kind": "missing", "asked": None, "stored": '"x"'},
                ],
            },
        }


async def test_users_learn_which_fields_differ_but_not_what_others_asked(
    explained: LedgerApi,
) -> None:
    api = explained.api
    own, other = call(user_id=api.ada.id), call(user_id=api.ben.id)
    await explained.settle(own, other)
    answer = await api.ada.client.get(f"{CACHE}/explain", params={"call_id": own.id})
    fields = answer.json()["nearest"]["fields"]
    assert [field["path"] for field in fields] == ["/seed", "/top_p", "/stop"]
    assert [field["stored"] for field in fields] == [None, None, None]
    hidden = await api.ada.client.get(f"{CACHE}/explain", params={"call_id": other.id})
    error_of(hidden, 404)
    error_of(await api.ada.client.get(f"{CACHE}/explain"), 422)
