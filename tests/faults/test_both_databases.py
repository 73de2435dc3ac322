"""One history on SQLite and on PostgreSQL: whoever asks the API gets the same answers of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.documented import read_operations
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, chat_answer, cut_after, json_answer
from tests.faults.harness import Gateway, asked, question, settings_for
from tests.servers import DATABASE_KINDS, Databases

pytestmark = pytest.mark.live

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
OPERATIONS = read_operations(DOCUMENT.read_bytes())
# What is another at each time and in each installation.
VARIES = {
    *("id", "request_id", "upstream_request_id", "prefix", "token", "next_cursor", "price_id"),
    *("created_at", "updated_at", "last_used_at", "expires_at", "since", "until", "start"),
    *("latency_ms", "ttft_ms", "ms", "latency_mean_ms", "latency_p50_ms", "latency_p95_ms"),
    *("latency_p99_ms", "effective_from", "at", "size_bytes", "age_seconds"),
    # Written every few seconds.
    "hits",
}
LISTS = [
    one.path for one in OPERATIONS
    if one.method == "GET" and not one.has_id and one.id not in {"cache_explain", "settings_get"}
]  # fmt: skip


@pytest.fixture
async def both(
    databases: Databases, tmp_path: Path, upstream: FakeUpstream
) -> AsyncIterator[list[Gateway]]:
    """The service on each kind of database, before the same provider."""
    async with AsyncExitStack() as stack:
        started = []
        for kind in DATABASE_KINDS:
            url = await asyncio.to_thread(stack.enter_context, databases.migrated(kind))
            directory = tmp_path / kind
            directory.mkdir()
            gateway = Gateway(settings_for(directory, url, upstream))
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            started.append(gateway)
        yield started


async def live_through(gateway: Gateway, upstream: FakeUpstream) -> list[Any]:
    """A day in the life: what clients and administrators see of each step."""
    admin = await administrator(gateway)
    seen: list[Any] = []

    async def administer(method: str, path: str, **body: Any) -> None:
        answer = await gateway.client.request(
            method, f"/api/v1/{path}", json=body or None, headers=admin
        )
        seen.append((method, path, answer.status_code, without_varying(answer.json())))

    async def use(body: chat.Json | bytes, **headers: str) -> None:
        answer = await gateway.ask(body, headers=headers)
        state = answer.headers.get("x-aieye-cache")
        seen.append((answer.status_code, state, answer.content))

    await administer("POST", "users", email="Ada@Example.org", name="Ädа\u2028 'x' %_\\")
    await administer("POST", "users", email="ada@example.ORG", name="again")
    await administer("POST", "tokens", name="zähler", scope="runs", models=["gpt-4o", "ü"])
    await administer("POST", "prices", model="m", rates={"input": "0.000001", "output": "9999"})
    await administer("POST", "routes", alias="fast", targets=[{"model": "m", "provider": "openai"}])
    await administer("PATCH", "routes/1", strategy="weighted")
    await administer("DELETE", "users/99999")
    for form in ("plain", "streamed"):
        await use(asked("One", form, metadata={"team": "ä'\"%"}))
    await use(question("One"), **{"cache-control": "no-store"})
    await use(asked("Two", "streamed", model="fast"))
    await use(question("Three", model="nowhere/x"))
    await use(b'{"model":"a\\u0000b","messages":[]}')
    await use(b"{")
    upstream.script(cut_after(900, chat_answer("one two three four five six")))
    await use(asked("Cut", "streamed"))
    upstream.script(json_answer(400, chat.error_body("No.")))
    await use(question("Refused"))
    for _ in range(2):
        await use(question("Once only"), **{"idempotency-key": "a key"})
    await gateway.rows()
    for path in LISTS:
        for query in ("", "?limit=2", "?limit=1000", "?limit=0", "?cursor=x"):
            answer = await gateway.client.get(path + query, headers=admin)
            seen.append((path, query, answer.status_code, without_varying(answer.json())))
    for query in (
        *("group_by=model", "group_by=status", "group_by=token", "grain=day", "cache=hit"),
        *("model=m", "status=200", "grain=hour&group_by=user"),
    ):
        answer = await gateway.client.get(f"/api/v1/usage?{query}", headers=admin)
        seen.append((query, answer.status_code, without_varying(answer.json())))
    for query in (
        "status=200",
        "tag=team:ä'\"%",
        "cache=hit",
        "model=m",
        "state=done",
        "stream=true",
    ):
        answer = await gateway.client.get(f"/api/v1/calls?{query}", headers=admin)
        seen.append((query, answer.status_code, without_varying(answer.json())))
    return seen


async def administrator(gateway: Gateway) -> dict[str, str]:
    user_id = await gateway.add_user("root@example.org", role="administrator")
    token = await gateway.add_token(user_id=user_id, scope="admin")
    return {"authorization": f"Bearer {token}"}


def without_varying(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_varying(one) for key, one in value.items() if key not in VARIES}
    return [without_varying(one) for one in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two documents differ, and how."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        parts = [differences(one[key], other[key], f"{place}.{key}") for key in one]
        return [found for part in parts for found in part]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for n, pair in pairs for found in differences(*pair, f"{place}[{n}]")]
    return [] if one == other else [f"{place}: {one!r:.200} != {other!r:.200}"]


async def test_the_same_history_gives_the_same_answers_on_both_databases(
    both: list[Gateway], upstream: FakeUpstream, quick_retries: None, no_circuit: None
) -> None:
    on_sqlite, on_postgresql = [await live_through(gateway, upstream) for gateway in both]

    assert upstream.fired["cut"] == upstream.fired["status-400"] == 2
    assert len(on_sqlite) == len(on_postgresql) > 60
    found = differences(on_sqlite, on_postgresql)
    assert not found, "\n".join(found)
    statuses = [row.status for row in await both[0].rows()]
    assert statuses == [row.status for row in await both[1].rows()]
    assert len(statuses) >= 9
