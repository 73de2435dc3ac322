"""`/api/v1/cache`: sizes and savings, entries, purging, and why a call missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from aieye.cache.entry import Entry
from aieye.db.types import now, to_micros
from aieye.ledger.book import CallRecord
from tests.integration.admin_api import Person, error_of
from tests.integration.ledger_api import LedgerApi, call, entry, request, running_ledger_api

CACHE = "/api/v1/cache"
ENTRIES = f"{CACHE}/entries"


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[LedgerApi]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        yield ledger


async def keep(ledger: LedgerApi, *entries: Entry | tuple[Entry, bytes]) -> None:
    for one in entries:
        answer, asked = (one, request()) if isinstance(one, Entry) else one
        ledger.cache.keep(answer, asked, is_kept=False)
        await ledger.writer.durable()


async def entries(ledger: LedgerApi, **query: Any) -> list[dict[str, Any]]:
    answer = await ledger.api.administrator.client.get(ENTRIES, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_the_cache_tells_its_size_and_what_it_saved(ledger: LedgerApi) -> None:
    kept = [entry("one"), entry("two")]
    await keep(ledger, *kept)
    hit = call(cache="hit", cost_nano=0, saved_nano=27_000)
    await ledger.settle(
        hit, call(cache="shared", cost_nano=0), call(), call(), call(cache="bypass")
    )
    found = (await ledger.api.administrator.client.get(CACHE)).json()
    texts = sum(len(one.body) + len(request()) for one in kept)
    assert found["entries"] == 2
    assert texts < found["size_bytes"] <= texts + 2 * 1_024
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
    speech = entry("b", headers=audio, body=b"\xff\xfb")
    await keep(ledger, (entry("a"), request("a")), speech)
    sound, chat = await entries(ledger)
    client = ledger.api.administrator.client
    shown = (await client.get(f"{ENTRIES}/{chat['id']}")).json()
    assert '"content":"a"' in shown["request"]
    assert shown["response"] == '{"choices":[]}'
    assert shown.items() >= chat.items()
    assert (await client.get(f"{ENTRIES}/{sound['id']}")).json()["response"] is None
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


CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


async def missed(ledger: LedgerApi, user: Person, **parameters: Any) -> CallRecord:
    """A call of `user` with these parameters, which the cache had no answer for."""
    record = call(user_id=user.id, token_id=user.token_id)
    ledger.keep_body(record, orjson.dumps({**CHAT, **parameters}), None)
    await ledger.settle(record)
    return record


def stored(**parameters: Any) -> tuple[Entry, bytes]:
    """A stored answer to a request with these parameters, and the request."""
    asked = orjson.dumps({**CHAT, **parameters}, option=orjson.OPT_SORT_KEYS)
    return entry(key=sha256(asked).digest()), asked


async def explain(client: httpx.AsyncClient, call_id: str) -> httpx.Response:
    return await client.get(f"{CACHE}/explain", params={"call_id": call_id})


async def test_a_miss_is_explained_by_the_nearest_entry(ledger: LedgerApi) -> None:
    await keep(ledger, stored(seed=9, n=3, top_p=0.5, user="x"), stored(seed=2, stop="x"))
    newest = (await entries(ledger))[0]["id"]
    record = await missed(ledger, ledger.api.ada, seed=1, top_p=1)
    answer = (await explain(ledger.api.administrator.client, record.id)).json()
    assert answer["call_id"] == record.request_id
    assert answer["reason"].startswith("No stored request is the same")
    nearest = answer["nearest"]
    assert (nearest["entry_id"], nearest["differing"], nearest["compared"]) == (newest, 3, 2)
    assert nearest["fields"] == [
        {"path": "/seed", "kind": "changed", "asked": "1", "stored": "2"},
        {"path": "/top_p", "kind": "added", "asked": "1", "stored": None},
        {"path": "/stop", "kind": "missing", "asked": None, "stored": '"x"'},
    ]
    assert (await explain(ledger.api.administrator.client, record.request_id)).json() == answer


async def test_a_call_without_a_text_or_with_nothing_stored_is_explained_too(
    ledger: LedgerApi,
) -> None:
    without = call(cache="hit")
    await ledger.settle(without)
    for record in (without, await missed(ledger, ledger.api.ada)):
        answer = (await explain(ledger.api.administrator.client, record.id)).json()
        assert answer["reason"]
        assert answer["nearest"] is None


async def test_users_learn_which_fields_differ_but_not_what_others_asked(
    ledger: LedgerApi,
) -> None:
    api = ledger.api
    await keep(ledger, stored(stop="canary"))
    own, other = await missed(ledger, api.ada, seed=1), await missed(ledger, api.ben)
    answer = await explain(api.ada.client, own.id)
    fields = answer.json()["nearest"]["fields"]
    assert [(field["path"], field["kind"]) for field in fields] == [
        ("/seed", "added"), ("/stop", "missing"),
    ]  # fmt: skip
    assert "canary" not in answer.text
    error_of(await explain(api.ada.client, other.id), 404)
    error_of(await api.ada.client.get(f"{CACHE}/explain"), 422)


@pytest.mark.parametrize("body", [b'\xef\xbb\xbf{"all": true}', b'{"all": false, "all": true}'])
async def test_a_body_that_programs_read_differently_is_refused_and_nothing_purged(
    ledger: LedgerApi, body: bytes
) -> None:
    await keep(ledger, entry("one"))
    answer = await ledger.api.administrator.client.post(
        f"{CACHE}/purge", content=body, headers={"content-type": "application/json"}
    )
    assert error_of(answer, 400)["code"] == "invalid_json"
    assert len(await entries(ledger)) == 1
