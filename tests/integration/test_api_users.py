"""`/api/v1/users`: people, their passwords, and what they may change of themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aieye.access.sessions import login
from aieye.errors import AieyeError
from tests.integration.admin_api import AdminApi, Person, error_of, running_admin_api

USERS, ME = "/api/v1/users", "/api/v1/users/me"
PASSWORD, ANOTHER = "canary password 1", "canary password 2"


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        yield running


async def make_user(api: AdminApi, email: str = "eve@example.org", **body: Any) -> Any:
    answer = await api.administrator.client.post(USERS, json={"email": email} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def can_sign_in(api: AdminApi, email: str, password: str) -> bool:
    try:
        await login(api.state.database, email=email, password=password, ip="127.0.0.1")
    except AieyeError:
        return False
    return True


async def test_a_user_made_with_a_password_can_sign_in(api: AdminApi) -> None:
    made = await make_user(api, " Eve@Example.org ", name="Eve", password=PASSWORD)
    assert made["email"] == "eve@example.org"
    assert (made["name"], made["role"], made["is_active"]) == ("Eve", "user", True)
    assert set(made) == {
        *("id", "email", "name", "role", "is_active", "is_builtin", "created_at", "updated_at")
    }
    assert await can_sign_in(api, "eve@example.org", PASSWORD)
    shown = (await api.administrator.client.get(f"{USERS}/{made['id']}")).json()
    assert shown == made


async def test_the_list_has_everybody(api: AdminApi) -> None:
    page = (await api.administrator.client.get(USERS, params={"limit": 2})).json()
    assert page["has_more"] is True
    rest = await api.administrator.client.get(USERS, params={"cursor": page["next_cursor"]})
    emails = [user["email"] for user in page["data"] + rest.json()["data"]]
    assert emails == ["root@example.org", "ada@example.org", "ben@example.org"]


async def test_an_email_address_is_unique_and_checked(api: AdminApi) -> None:
    body: dict[str, Any] = {"email": "ADA@example.org"}
    error_of(await api.administrator.client.post(USERS, json=body), 409)
    for email in ("", "x", "a@", "@b", "a b@c", "a@b\0", "x" * 250 + "@example.org", None):
        answer = await api.administrator.client.post(USERS, json={"email": email})
        assert error_of(answer, 422)["param"] == "email"


async def test_weak_passwords_are_refused_without_an_echo(api: AdminApi) -> None:
    for password in ("", "canary", "password123", "eve@example.org", "x" * 1_001):
        body = {"email": "eve@example.org", "password": password}
        answer = await api.administrator.client.post(USERS, json=body)
        assert error_of(answer, 422)["param"] == "password"
        assert not password or password not in answer.text


async def test_an_administrator_changes_role_state_and_password(api: AdminApi) -> None:
    path = f"{USERS}/{api.ada.id}"
    began = await api.sign_in(api.ada)
    body = {"role": "administrator", "name": "Ada", "password": PASSWORD}
    changed = await api.administrator.client.patch(path, json=body)
    assert (changed.json()["role"], changed.json()["name"]) == ("administrator", "Ada")
    assert await can_sign_in(api, api.ada.email, PASSWORD)
    assert (await api.ada.client.get(USERS)).status_code == 200
    async with api.client(cookie=f"sessionid={began.cookie}") as client:
        error_of(await client.get(ME), 401)
    for wrong in ({"role": "owner"}, {"role": None}, {"is_builtin": True}, {"email": "x@y.z"}):
        error_of(await api.administrator.client.patch(path, json=wrong), 422)


async def test_the_last_administrator_stays(api: AdminApi) -> None:
    path = f"{USERS}/{api.administrator.id}"
    for body in ({"role": "user"}, {"is_active": False}):
        error = error_of(await api.administrator.client.patch(path, json=body), 409)
        assert error["code"] == "last_administrator"
    error_of(await api.administrator.client.delete(path), 409)


async def test_a_deleted_user_is_out_and_their_address_free(api: AdminApi) -> None:
    answer = await api.administrator.client.delete(f"{USERS}/{api.ada.id}")
    assert answer.json() == {"id": api.ada.id, "deleted": True}
    error_of(await api.ada.client.get(ME), 401)
    error_of(await api.administrator.client.get(f"{USERS}/{api.ada.id}"), 404)
    assert (await make_user(api, api.ada.email))["id"] != api.ada.id


async def test_only_administrators_without_limits_let_people_in(api: AdminApi) -> None:
    user = await make_user(api)
    path = f"/api/v1/users/{user['id']}"
    answer = await api.administrator.client.post(f"{path}/invite")
    assert answer.status_code == 200
    assert "/invitation?token=" in answer.json()["url"]
    error_of(await api.ada.client.post(f"{path}/invite"), 403)
    error_of(await api.ada.client.post(f"{path}/end-sessions"), 403)
    assert (await api.administrator.client.post(f"{path}/end-sessions")).json()["id"] == user["id"]


async def test_people_change_their_own_name_and_nothing_else(api: AdminApi) -> None:
    assert (await api.ada.client.patch(ME, json={"name": "Ada L."})).json()["name"] == "Ada L."
    for field in ("role", "is_active", "email", "password_hash", "id", "is_builtin"):
        error = error_of(await api.ada.client.patch(ME, json={field: "administrator"}), 422)
        assert error["param"] == field
    shown = (await api.ada.client.get(ME)).json()
    assert (shown["role"], shown["email"]) == ("user", "ada@example.org")
    for person in (api.ada, api.administrator):
        path = f"{USERS}/{person.id}"
        error_of(await api.ada.client.patch(path, json={"name": "x"}), 403)
        error_of(await api.ada.client.get(path), 403)
        error_of(await api.ada.client.delete(path), 403)


async def test_another_password_of_ones_own_needs_the_present_one(api: AdminApi) -> None:
    await give_password(api, api.ada)
    for wrong in ({}, {"current_password": ANOTHER}):
        body = {"password": ANOTHER} | wrong
        error = error_of(await api.ada.client.patch(ME, json=body), 422)
        assert (error["code"], error["param"]) == ("wrong_password", "current_password")
    began = await api.sign_in(api.ada)
    body = {"password": ANOTHER, "current_password": PASSWORD}
    assert (await api.ada.client.patch(ME, json=body)).status_code == 200
    assert await can_sign_in(api, api.ada.email, ANOTHER)
    async with api.client(cookie=f"sessionid={began.cookie}") as client:
        error_of(await client.get(ME), 401)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_present_passwords_cannot_be_tried_for_ever(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.access.attempts.MOST_FAILURES", 1)
    await give_password(api, api.ada)
    body = {"password": ANOTHER, "current_password": "wrong"}
    error_of(await api.ada.client.patch(ME, json=body), 422)
    body["current_password"] = PASSWORD
    answer = await api.ada.client.patch(ME, json=body)
    assert error_of(answer, 429)["code"] == "too_many_attempts"
    assert int(answer.headers["retry-after"]) > 0


async def test_passwords_and_hashes_are_in_no_answer_no_audit_and_not_stored(
    api: AdminApi,
) -> None:
    made = await make_user(api, password=PASSWORD)
    path = f"{USERS}/{made['id']}"
    texts = [
        (await api.administrator.client.patch(path, json={"password": ANOTHER})).text,
        (await api.administrator.client.get(USERS)).text,
        *(repr(entry.details) for entry in await api.audit()),
    ]
    assert "argon2" not in "\n".join(texts)
    assert b"canary password" not in "\n".join(texts).encode() + await api.stored()


async def give_password(api: AdminApi, person: Person) -> None:
    body = {"password": PASSWORD}
    answer = await api.administrator.client.patch(f"{USERS}/{person.id}", json=body)
    assert answer.status_code == 200
