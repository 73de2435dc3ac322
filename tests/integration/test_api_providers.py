"""`/api/v1/providers` and `/api/v1/keys`: where calls go, with secrets that never come out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aieye.db.tables import ProviderKey
from tests.integration.admin_api import (
    OTHER_SECRET,
    PROVIDER_SECRET,
    AdminApi,
    error_of,
    running_admin_api,
)

PROVIDERS, KEYS = "/api/v1/providers", "/api/v1/keys"


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        yield running


async def patch(api: AdminApi, path: str, status: int = 200, **body: Any) -> Any:
    answer = await api.administrator.client.patch(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def secrets_at(api: AdminApi, provider: str) -> list[str]:
    """What the gateway would send to a provider."""
    return [key.secret for key in api.state.directory.current.providers[provider].keys]


async def test_a_provider_made_with_its_key_serves_at_once(api: AdminApi) -> None:
    made = await api.provider("openai")
    assert made["base_url"] == "https://openai.example.org/v1"
    assert secrets_at(api, "openai") == [PROVIDER_SECRET]
    keys = (await api.administrator.client.get(KEYS)).json()["data"]
    assert [(key["provider_id"], key["name"], key["last4"]) for key in keys] == [
        (made["id"], "default", "77d2")
    ]


async def test_the_effective_default_is_shown_whether_marked_or_not(api: AdminApi) -> None:
    async def shown() -> list[tuple[str, bool]]:
        rows = (await api.administrator.client.get(PROVIDERS)).json()["data"]
        return [(row["name"], row["is_default"]) for row in rows]

    assert (await api.provider("first"))["is_default"] is True
    assert (await api.provider("openai"))["is_default"] is True
    third = await api.provider("third")
    assert await shown() == [("first", False), ("openai", True), ("third", False)]
    path = f"{PROVIDERS}/{third['id']}"
    assert (await patch(api, path, is_default=True))["is_default"] is True
    assert await shown() == [("first", False), ("openai", False), ("third", True)]
    default = api.state.directory.current.default
    assert default is not None
    assert default.name == "third"
    await api.administrator.client.delete(path)
    assert await shown() == [("first", False), ("openai", True)]
    error_of(await api.administrator.client.patch(path, json={"is_default": True}), 404)


async def test_names_are_unique_among_living_providers_and_demo_is_kept(api: AdminApi) -> None:
    made = await api.provider("openai")
    body = {"name": "openai", "base_url": "https://x.example"}
    error = error_of(await api.administrator.client.post(PROVIDERS, json=body), 409)
    assert error["param"] == "name"
    assert (await api.administrator.client.delete(f"{PROVIDERS}/{made['id']}")).status_code == 200
    assert (await api.administrator.client.post(PROVIDERS, json=body)).status_code == 201
    error_of(await api.administrator.client.post(PROVIDERS, json=body | {"name": "demo"}), 409)


async def test_wrong_names_and_addresses_are_refused(api: AdminApi) -> None:
    for name in ("", "A", "-a", "a b", "a\0", "a" * 64, "ä", "a\n", None, 5):
        body = {"name": name, "base_url": "https://x.example"}
        answer = await api.administrator.client.post(PROVIDERS, json=body)
        assert error_of(answer, 422)["param"] == "name"
    wrong = (
        *("", "x", "ftp://x", "https://", "https://u:p@x", "https://x?key=1", "https://x/\0"),
        *("http://169.254.169.254", "http://metadata.google.internal", "https://x/" + "y" * 500),
        *("http://[::ffff:169.254.169.254]/v1", "https://x:99999"),
    )
    for base_url in wrong:
        body = {"name": "x", "base_url": base_url}
        answer = await api.administrator.client.post(PROVIDERS, json=body)
        assert answer.status_code in {400, 422}, base_url
        assert answer.json()["error"]["param"] == "base_url"
    assert (await api.administrator.client.get(PROVIDERS)).json()["data"] == []


async def test_another_base_url_wipes_the_keys_and_asks_for_a_new_one(api: AdminApi) -> None:
    made = await api.provider("openai")
    path = f"{PROVIDERS}/{made['id']}"
    moved = "https://elsewhere.example/v1"
    answer = await api.administrator.client.patch(path, json={"base_url": moved})
    assert error_of(answer, 422)["code"] == "key_required"
    assert secrets_at(api, "openai") == [PROVIDER_SECRET]
    old = (await api.administrator.client.get(KEYS)).json()["data"][0]
    assert (await patch(api, path, base_url=moved, key=OTHER_SECRET))["base_url"] == moved
    assert secrets_at(api, "openai") == [OTHER_SECRET]
    new = (await api.administrator.client.get(KEYS)).json()["data"]
    assert [key["last4"] for key in new] == ["65a1"]
    async with api.state.database.read() as session:
        wiped = await session.get(ProviderKey, old["id"])
        assert wiped is not None
        assert wiped.sealed is None


async def test_the_same_base_url_in_another_writing_needs_no_key(api: AdminApi) -> None:
    made = await api.provider("openai")
    path = f"{PROVIDERS}/{made['id']}"
    same = await patch(api, path, base_url="HTTPS://OpenAI.example.org:443/v1/")
    assert same["base_url"] == made["base_url"]
    assert secrets_at(api, "openai") == [PROVIDER_SECRET]


async def test_a_provider_without_keys_moves_freely(api: AdminApi) -> None:
    made = await api.provider("local", key=None)
    path = f"{PROVIDERS}/{made['id']}"
    assert (await patch(api, path, base_url="http://127.0.0.1:11434"))["base_url"].endswith("/v1")
    await patch(api, path, 422, key=OTHER_SECRET)
    await patch(api, path, 422, is_default=False)
    await patch(api, path, 422, base_url=None)


async def test_a_provider_that_a_route_names_stays(api: AdminApi) -> None:
    made = await api.provider("openai")
    body = {"alias": "fast", "targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}
    route = (await api.administrator.client.post("/api/v1/routes", json=body)).json()
    path = f"{PROVIDERS}/{made['id']}"
    error = error_of(await api.administrator.client.delete(path), 409)
    assert error["code"] == "provider_in_use"
    await api.administrator.client.delete(f"/api/v1/routes/{route['id']}")
    assert (await api.administrator.client.delete(path)).status_code == 200
    assert "openai" not in api.state.directory.current.providers
    assert (await api.administrator.client.get(KEYS)).json()["data"] == []


async def test_keys_are_added_switched_renamed_replaced_and_deleted(api: AdminApi) -> None:
    made = await api.provider("openai")
    body = {"provider_id": made["id"], "name": " second ", "key": OTHER_SECRET}
    key = (await api.administrator.client.post(KEYS, json=body)).json()
    assert (key["name"], key["is_active"]) == ("second", True)
    assert secrets_at(api, "openai") == [PROVIDER_SECRET, OTHER_SECRET]
    path = f"{KEYS}/{key['id']}"
    await patch(api, path, is_active=False)
    assert secrets_at(api, "openai") == [PROVIDER_SECRET]
    changed = await patch(api, path, is_active=True, name="third", key="sk-short")
    assert (changed["id"], changed["name"], changed["last4"]) == (key["id"], "third", "")
    assert secrets_at(api, "openai") == [PROVIDER_SECRET, "sk-short"]
    listed = await api.administrator.client.get(KEYS, params={"provider_id": made["id"]})
    assert [row["id"] for row in listed.json()["data"]][1:] == [key["id"]]
    await api.administrator.client.delete(path)
    error_of(await api.administrator.client.get(path), 404)
    assert secrets_at(api, "openai") == [PROVIDER_SECRET]


async def test_secrets_that_no_header_carries_are_refused_without_an_echo(api: AdminApi) -> None:
    made = await api.provider("openai")
    for secret in ("", "sk canary", "sk-canary\n", "\tsk-canary", "sk-canary\0", "sk-canary–x"):
        body = {"provider_id": made["id"], "name": "x", "key": secret}
        answer = await api.administrator.client.post(KEYS, json=body)
        assert error_of(answer, 422)["param"] == "key"
        assert "canary" not in answer.text
    body = {"provider_id": 987, "name": "x", "key": OTHER_SECRET}
    error_of(await api.administrator.client.post(KEYS, json=body), 404)


async def test_plain_users_learn_nothing_of_providers(api: AdminApi) -> None:
    made = await api.provider("openai")
    for path in (PROVIDERS, KEYS, f"{PROVIDERS}/{made['id']}", f"{KEYS}/1", "/api/v1/routes"):
        error_of(await api.ada.client.get(path), 403)
    error_of(await api.ada.client.delete(f"{PROVIDERS}/{made['id']}"), 403)
    assert secrets_at(api, "openai") == [PROVIDER_SECRET]


async def test_a_provider_key_is_in_no_answer_no_audit_and_not_in_the_database(
    api: AdminApi,
) -> None:
    texts = []
    made = await api.provider("openai")
    path = f"{PROVIDERS}/{made['id']}"
    key = (await api.administrator.client.get(KEYS)).json()["data"][0]
    for method, url, body in (
        ("PATCH", f"{KEYS}/{key['id']}", {"key": OTHER_SECRET}),
        ("PATCH", path, {"base_url": "https://moved.example", "key": PROVIDER_SECRET}),
        ("PATCH", path, {"key": OTHER_SECRET}),
        ("POST", KEYS, {"provider_id": made["id"], "name": "x", "key": OTHER_SECRET}),
        ("POST", PROVIDERS, {"name": "openai", "base_url": "x", "key": OTHER_SECRET}),
        ("GET", KEYS, None),
        ("GET", PROVIDERS, None),
    ):
        answer = await api.administrator.client.request(method, url, json=body)
        texts.append(answer.text)
    texts += [repr(entry.details) for entry in await api.audit()]
    everything = "\n".join(texts).encode() + await api.stored()
    assert b"sk-canary" not in everything
    assert b"moved.example" in everything


async def test_acts_are_in_the_audit(api: AdminApi) -> None:
    before = len(await api.audit())
    made = await api.provider("openai")
    path = f"{PROVIDERS}/{made['id']}"
    await patch(api, path, base_url="https://moved.example", key=OTHER_SECRET, is_default=True)
    await api.administrator.client.delete(path)
    assert (await api.actions())[before:] == [
        *("provider.create", "key.create", "provider.base_url", "key.create"),
        *("provider.default", "provider.delete"),
    ]
    moved = (await api.audit())[before + 2].details
    assert (moved["old"], moved["new"]) == (
        "https://openai.example.org/v1",
        "https://moved.example/v1",
    )
