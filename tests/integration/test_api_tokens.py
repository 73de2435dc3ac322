"""`/api/v1/tokens`: own tokens and others', and what is refused in paths, queries and bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aieye.access.secrets import is_token
from aieye.db.cursors import encode_cursor
from aieye.db.types import now
from tests.integration.admin_api import (
    RESOURCES,
    AdminApi,
    Person,
    error_of,
    running_admin_api,
)

TOKENS = "/api/v1/tokens"
LONE_SURROGATE = b'"\\ud800"'
WRONG_VALUES: tuple[tuple[Any, str], ...] = (
    ({}, "name"),
    ({"name": None}, "name"),
    ({"name": "   "}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": 5}, "name"),
    ({"name": "x", "scope": "root"}, "scope"),
    ({"name": "x", "models": []}, "models"),
    ({"name": "x", "models": ["a\0"]}, "models.0"),
    ({"name": "x", "models": ["m"] * 101}, "models"),
    ({"name": "x", "user_id": 10**30}, "user_id"),
    ({"name": "x", "provider_key_id": 2**31}, "provider_key_id"),
    ({"name": "x", "provider_key_id": -1}, "provider_key_id"),
    ({"name": "x", "expires_at": "2000-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "x", "expires_at": "2100-01-01T00:00:00"}, "expires_at"),
    ({"name": "x", "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
    ({"name": "x", "cache_namespace": "\0"}, "cache_namespace"),
    ({"name": "x", "cache_enabled": None}, "cache_enabled"),
)
BROKEN_BODIES = (
    b'{"name": ' + LONE_SURROGATE + b"}",
    b'{"name": "x", "models": [' + LONE_SURROGATE + b"]}",
    b"{" + LONE_SURROGATE + b': 1, "name": "x"}',
    b'{"name": "x", "user_id": NaN}',
    b'{"name": "x", "user_id": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"name": "\xff"}',
    b"{",
    b"",
    b"null",
    b"[]",
)


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        yield running


async def make_token(client: httpx.AsyncClient, **body: Any) -> Any:
    answer = await client.post(TOKENS, json={"name": "laptop", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_token_shows_its_secret_once_and_works_at_once(api: AdminApi) -> None:
    made = await make_token(api.ada.client, scope="runs", models=["gpt-4o"])
    assert is_token(made["token"])
    grant = api.state.directory.find_grant(made["token"])
    assert grant is not None
    assert (grant.user_id, grant.scope, grant.models) == (api.ada.id, 2, frozenset({"gpt-4o"}))
    shown = (await api.ada.client.get(f"{TOKENS}/{made['id']}")).json()
    assert shown == {key: value for key, value in made.items() if key != "token"}
    assert made["token"].startswith(shown["prefix"] + "_")


async def test_a_list_holds_own_tokens_for_users_and_all_for_administrators(api: AdminApi) -> None:
    owned = (await api.ada.client.get(TOKENS)).json()
    assert [token["user_id"] for token in owned["data"]] == [api.ada.id]
    everything = (await api.administrator.client.get(TOKENS)).json()
    assert len(everything["data"]) == 4
    of_ben = (await api.administrator.client.get(TOKENS, params={"user_id": api.ben.id})).json()
    assert [token["id"] for token in of_ben["data"]] == [api.ben.token_id]
    none = (await api.ada.client.get(TOKENS, params={"user_id": api.ben.id})).json()
    assert none["data"] == []


async def test_pages_cover_a_list_once_and_in_order(api: AdminApi) -> None:
    for number in range(5):
        await make_token(api.ada.client, name=f"token {number}")
    seen: list[int] = []
    cursor = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.ada.client.get(TOKENS, params=query)).json()
        assert page["object"] == "list"
        seen += [token["id"] for token in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if not page["has_more"]:
            break
    assert len(seen) == 6
    assert seen == sorted(set(seen))


async def test_a_bad_cursor_is_refused(api: AdminApi) -> None:
    too_large = (encode_cursor(2**31), encode_cursor(2**63), encode_cursor(10**30))
    for cursor in ("%%%", "eA", "aS0x", "é", "aQ", "\0", encode_cursor("text"), *too_large):
        answer = await api.ada.client.get(TOKENS, params={"cursor": cursor})
        assert error_of(answer, 400)["param"] == "cursor"


async def test_a_bad_limit_is_refused(api: AdminApi) -> None:
    for limit in ("0", "1001", "many", "9" * 40):
        answer = await api.ada.client.get(TOKENS, params={"limit": limit})
        assert error_of(answer, 422)["param"] == "limit"


async def test_a_change_leaves_the_rest_and_is_in_effect_at_once(api: AdminApi) -> None:
    made = await make_token(api.ada.client)
    answer = await api.ada.client.patch(
        f"{TOKENS}/{made['id']}",
        json={"name": " phone ", "models": ["gpt-4o"], "cache_enabled": False},
    )
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["name"], shown["models"], shown["cache_enabled"]) == ("phone", ["gpt-4o"], False)
    assert (shown["scope"], shown["disabled"]) == ("proxy", False)
    assert shown["updated_at"] > made["updated_at"]
    grant = api.state.directory.find_grant(made["token"])
    assert grant is not None
    assert (grant.token_name, grant.cache_enabled) == ("phone", False)
    assert grant.models == frozenset({"gpt-4o"})


async def test_a_disabled_token_stops_and_comes_back(api: AdminApi) -> None:
    made = await make_token(api.ada.client)
    path = f"{TOKENS}/{made['id']}"
    assert (await api.ada.client.patch(path, json={"disabled": True})).json()["disabled"] is True
    assert api.state.directory.find_grant(made["token"]) is None
    assert (await api.ada.client.patch(path, json={"disabled": False})).json()["disabled"] is False
    assert api.state.directory.find_grant(made["token"]) is not None


async def test_a_rolled_token_has_a_new_secret_only(api: AdminApi) -> None:
    made = await make_token(api.ada.client)
    rolled = (await api.ada.client.post(f"{TOKENS}/{made['id']}/roll")).json()
    assert rolled["id"] == made["id"]
    assert api.state.directory.find_grant(made["token"]) is None
    grant = api.state.directory.find_grant(rolled["token"])
    assert grant is not None
    assert grant.token_id == made["id"]


async def test_a_rolled_secret_works_on_for_its_grace_within_the_tokens_own_end(
    api: AdminApi,
) -> None:
    made = await make_token(api.ada.client)
    path = f"{TOKENS}/{made['id']}"
    rolled = (await api.ada.client.post(f"{path}/roll", json={"grace_seconds": 60})).json()
    former = api.state.directory.find_grant(made["token"])
    grant = api.state.directory.find_grant(rolled["token"])
    assert former is not None
    assert grant is not None
    assert former.expires_at is not None
    assert (former.token_id, grant.expires_at) == (made["id"], None)
    assert rolled["former_until"] is not None
    # Deleted and disabled are both of its secrets.
    await api.ada.client.patch(path, json={"disabled": True})
    assert api.state.directory.find_grant(made["token"]) is None
    for wrong in (-1, 30 * 86_400 + 1):
        error_of(await api.ada.client.post(f"{path}/roll", json={"grace_seconds": wrong}), 422)


async def test_a_deleted_token_is_gone(api: AdminApi) -> None:
    made = await make_token(api.ada.client)
    answer = await api.ada.client.delete(f"{TOKENS}/{made['id']}")
    assert answer.json() == {"id": made["id"], "deleted": True}
    assert api.state.directory.find_grant(made["token"]) is None
    error_of(await api.ada.client.get(f"{TOKENS}/{made['id']}"), 404)
    error_of(await api.ada.client.delete(f"{TOKENS}/{made['id']}"), 404)


async def test_anothers_token_does_not_exist(api: AdminApi) -> None:
    before = (await api.ben.client.get(TOKENS)).json()
    verbs: tuple[tuple[str, str, Any], ...] = (
        ("GET", "", None),
        ("PATCH", "", {"disabled": True}),
        ("DELETE", "", None),
        ("POST", "/roll", None),
    )
    for method, suffix, body in verbs:
        messages = {
            error_of(
                await api.ada.client.request(method, f"{TOKENS}/{token_id}{suffix}", json=body), 404
            )["message"].replace(str(token_id), "…")
            for token_id in (api.ben.token_id, 987)
        }
        assert len(messages) == 1, "another's and a missing one are told apart"
    assert (await api.ben.client.get(TOKENS)).json() == before


async def test_nobody_makes_tokens_for_others_but_administrators(api: AdminApi) -> None:
    body = {"name": "x", "user_id": api.ben.id}
    error_of(await api.ada.client.post(TOKENS, json=body), 404)
    made = await make_token(api.administrator.client, user_id=api.ben.id)
    assert made["user_id"] == api.ben.id
    error_of(await api.administrator.client.post(TOKENS, json={"name": "x", "user_id": 987}), 404)


async def test_only_administrators_set_or_lift_a_namespace_or_a_pinned_key(api: AdminApi) -> None:
    await api.provider()
    key = (await api.administrator.client.get("/api/v1/keys")).json()["data"][0]
    for restriction in ({"cache_namespace": "team"}, {"provider_key_id": key["id"]}):
        error_of(await api.ada.client.post(TOKENS, json={"name": "x", **restriction}), 403)
        path = f"{TOKENS}/{api.ada.token_id}"
        error_of(await api.ada.client.patch(path, json=restriction), 403)
        assert (await api.administrator.client.patch(path, json=restriction)).status_code == 200
    lifted = {"cache_namespace": "default", "provider_key_id": None}
    error_of(await api.ada.client.patch(path, json=lifted), 403)
    unchanged = {"name": "new", "cache_namespace": "team", "provider_key_id": key["id"]}
    assert (await api.ada.client.patch(path, json=unchanged)).status_code == 200
    error_of(await api.administrator.client.patch(path, json={"provider_key_id": 987}), 404)


@asynccontextmanager
async def limited(api: AdminApi, owner: Person, **limits: Any) -> AsyncIterator[Person]:
    """`owner` with a token of the scope `admin` that an administrator has limited."""
    body = {"user_id": owner.id, "scope": "admin", **limits}
    made = await make_token(api.administrator.client, **body)
    async with api.client(authorization=f"Bearer {made['token']}") as client:
        yield Person(owner.id, owner.email, made["id"], made["token"], client)


async def limits_of(api: AdminApi) -> dict[str, Any]:
    """Every limit that there is, at once."""
    await api.provider()
    key = (await api.administrator.client.get("/api/v1/keys")).json()["data"][0]
    return {
        "models": ["gpt-4o", "gpt-4o-mini"],
        "cache_namespace": "team",
        "provider_key_id": key["id"],
        "expires_at": (now() + timedelta(days=7)).isoformat(),
    }


def loosened(limits: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """For each limit, values that lie beyond it."""
    later = (now() + timedelta(days=8)).isoformat()
    return {
        "models": (None, ["gpt-5"], [*limits["models"], "gpt-5"]),
        "cache_namespace": ("default", "other"),
        "provider_key_id": (None,),
        "expires_at": (None, later),
    }


@pytest.mark.parametrize("role", ["user", "administrator"])
async def test_a_limited_token_makes_and_changes_tokens_within_its_limits_only(
    api: AdminApi, role: str
) -> None:
    limits = await limits_of(api)
    owner = api.ada if role == "user" else api.administrator
    free = (await make_token(owner.client, scope="admin"))["id"]
    async with limited(api, owner, **limits) as holder:
        error_of(await holder.client.post(TOKENS, json={"name": "x"}), 403)
        for field, values in loosened(limits).items():
            for value in values:
                wanted = {**limits, field: value}
                error_of(await holder.client.post(TOKENS, json={"name": "x", **wanted}), 403)
                for token_id in (holder.token_id, free):
                    path = f"{TOKENS}/{token_id}"
                    await api.administrator.client.patch(path, json={field: limits[field]})
                    error_of(await holder.client.patch(path, json={field: value}), 403)
                    assert (await holder.client.get(path)).json()[field] != value
        narrow = {**limits, "models": ["gpt-4o"]}
        assert (await make_token(holder.client, **narrow))["models"] == ["gpt-4o"]
        path = f"{TOKENS}/{holder.token_id}"
        change = {"name": "new", "models": ["gpt-4o"], "cache_namespace": "team"}
        assert (await holder.client.patch(path, json=change)).status_code == 200


async def test_a_limited_token_gives_no_new_secret_to_a_token_that_reaches_further(
    api: AdminApi,
) -> None:
    free = (await make_token(api.ada.client, scope="admin"))["id"]
    async with limited(api, api.ada, models=["gpt-4o"]) as holder:
        error_of(await holder.client.post(f"{TOKENS}/{free}/roll"), 403)
        assert (await holder.client.patch(f"{TOKENS}/{free}", json={"name": "y"})).is_success
        assert (await holder.client.post(f"{TOKENS}/{holder.token_id}/roll")).is_success


async def test_a_limited_token_opens_no_session_by_setting_a_password(api: AdminApi) -> None:
    fresh = {"password": "correct horse battery staple"}
    async with limited(api, api.ada, models=["gpt-4o"]) as ada:
        error_of(await ada.client.patch("/api/v1/users/me", json=fresh), 403)
        assert (await ada.client.patch("/api/v1/users/me", json={"name": "Ada"})).is_success
    async with limited(api, api.administrator, cache_namespace="team") as root:
        new = {"email": "new@example.org", **fresh}
        error_of(await root.client.post("/api/v1/users", json=new), 403)
        error_of(await root.client.patch(f"/api/v1/users/{api.ben.id}", json=fresh), 403)
    until = (now() + timedelta(days=7)).isoformat()
    async with limited(api, api.administrator, expires_at=until) as root:
        assert (await root.client.post("/api/v1/users", json=new)).status_code == 201


async def test_only_administrators_take_a_limit_away(api: AdminApi) -> None:
    limits = await limits_of(api)
    began = await api.sign_in(api.ada)
    session = {"cookie": f"sessionid={began.cookie}", "x_csrftoken": began.csrf_token}
    async with limited(api, api.ada, **limits) as holder, api.client(**session) as signed_in:
        path = f"{TOKENS}/{holder.token_id}"
        for client in (api.ada.client, signed_in):
            for field, values in loosened(limits).items():
                for value in values:
                    error_of(await client.patch(path, json={field: value}), 403)
        for field, values in loosened(limits).items():
            answer = await api.administrator.client.patch(path, json={field: values[0]})
            assert answer.json()[field] == values[0]
        assert (await make_token(holder.client))["models"] is None


async def test_fields_that_are_not_offered_are_refused(api: AdminApi) -> None:
    path = f"{TOKENS}/{api.ada.token_id}"
    before = (await api.ada.client.get(path)).json()
    for field in ("user_id", "digest", "prefix", "deleted_at", "id", "role", "is_administrator"):
        error = error_of(await api.ada.client.patch(path, json={field: 1}), 422)
        assert error["param"] == field
        error_of(await api.ada.client.post(TOKENS, json={"name": "x", "imported": "a" * 40}), 422)
    assert (await api.ada.client.get(path)).json() == before


async def test_wrong_values_are_refused_and_named(api: AdminApi) -> None:
    for body, param in WRONG_VALUES:
        answer = await api.administrator.client.post(TOKENS, json=body)
        assert error_of(answer, 422)["param"] == param


async def test_broken_bodies_are_refused_without_an_echo(api: AdminApi) -> None:
    headers = {"content-type": "application/json"}
    for body in BROKEN_BODIES:
        answer = await api.ada.client.post(TOKENS, content=body, headers=headers)
        assert answer.status_code in {400, 422}, body[:50]
        assert set(answer.json()) == {"error"}
        assert len(answer.content) < 300


async def test_what_was_sent_is_never_in_an_error(api: AdminApi) -> None:
    canary = "aie_canary12_0123456789012345678901234567890123456789012_012345"
    for body in (
        {"name": {"x": canary}},
        {canary: "x", "name": "x"},
        {"name": "x", "scope": canary},
    ):
        answer = await api.ada.client.post(TOKENS, json=body)
        error_of(answer, 422)
        assert "canary" not in answer.text


async def test_an_impossible_id_is_refused(api: AdminApi) -> None:
    for resource in sorted(RESOURCES):
        for identifier in (10**30, 2**31, 0, -1, "x", "%00", "1.5"):
            path = f"/api/v1/{resource}/{identifier}"
            for method in ("GET", "DELETE"):
                answer = await api.administrator.client.request(method, path)
                # Runs are on record and not deleted, whichever they are.
                is_kept = (resource, method) == ("executions", "DELETE")
                assert answer.status_code in ({405} if is_kept else {404, 422}), path
                assert set(answer.json()) == {"error"}


async def test_every_act_is_in_the_audit_with_who_and_without_secrets(api: AdminApi) -> None:
    before = len(await api.audit())
    made = await make_token(api.ada.client)
    path = f"{TOKENS}/{made['id']}"
    later = (now() + timedelta(days=1)).isoformat()
    await api.ada.client.patch(path, json={"expires_at": later})
    rolled = (await api.ada.client.post(f"{path}/roll")).json()
    await api.administrator.client.delete(path)
    entries = (await api.audit())[before:]
    assert [entry.action for entry in entries] == [
        *("token.create", "token.update", "token.roll", "token.delete"),
    ]
    assert {entry.object_id for entry in entries} == {str(made["id"])}
    assert [entry.actor for entry in entries] == ["ada@example.org"] * 3 + ["root@example.org"]
    assert all(entry.ip == "127.0.0.1" for entry in entries)
    written = await api.stored()
    for secret in (made["token"], rolled["token"]):
        assert secret.encode() not in written
        assert secret.split("_")[2].encode() not in written


async def test_a_refused_change_leaves_nothing_behind(api: AdminApi) -> None:
    before = await api.audit()
    body = {"name": "renamed", "provider_key_id": 987}
    path = f"{TOKENS}/{api.ada.token_id}"
    error_of(await api.administrator.client.patch(path, json=body), 404)
    assert (await api.ada.client.get(path)).json()["name"] == "admin token"
    assert len(await api.audit()) == len(before)
