"""`/api/v1/prompts`: who may see and change what, versions, labels, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.admin_api import AdminApi, error_of, running_admin_api

PROMPTS = "/api/v1/prompts"
BODY: dict[str, Any] = {"name": "prompt_buddy", "body": "Hey {buddy}", "model": "gpt-4o-mini"}
WRONG_VALUES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": None}, "name"),
    ({"name": "a b"}, "name"),
    ({"name": "1st"}, "name"),
    ({"name": "naïve"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "map"}, "name"),
    ({"name": "true"}, "name"),
    ({"body": ""}, "body"),
    ({"body": " \n"}, "body"),
    ({"body": "a\0b"}, "body"),
    ({"body": "x" * (2**18 + 1)}, "body"),
    ({"model": ""}, "model"),
    ({"model": " "}, "model"),
    ({"description": "\0"}, "description"),
    ({"params": {"temperature": 3}}, "params.temperature"),
    ({"params": {"max_tokens": 0}}, "params.max_tokens"),
    ({"params": {"system": 5}}, "params.system"),
    ({"params": {"messages": []}}, "params"),
    ({"params": {"stream": True}}, "params"),
    ({"params": {"seed": 2**70}}, "params"),
    ({"params": {"stop": "x" * 70_000}}, "params"),
    ({"schema": []}, "schema"),
    ({"schema": {"const": 2**70}}, "schema"),
    ({"json_mode": None}, "json_mode"),
    ({"user_id": 1}, "user_id"),
)


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        yield running


async def make(client: httpx.AsyncClient, **more: Any) -> Any:
    answer = await client.post(PROMPTS, json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get(PROMPTS, params=query)
    assert answer.status_code == 200, answer.text
    return [prompt["name"] for prompt in answer.json()["data"]]


async def test_a_prompt_is_kept_as_it_was_given(api: AdminApi) -> None:
    given = {
        "name": "judge",
        "body": 'Judge {text} in {lang}.\nAnswer {{"score": 1}} for {text}',
        "model": "gpt-4o",
        "description": "Scores a text",
        "params": {"temperature": 0, "max_tokens": 50, "system": "Be strict.", "seed": 7},
        "json_mode": True,
        "schema": {"type": "object", "properties": {"score": {"type": "number"}}},
        "shared": True,
    }
    made = (await api.ada.client.post(PROMPTS, json=given)).json()
    assert {key: made[key] for key in given} == given
    assert made["variables"] == ["text", "lang"]
    assert (made["version"], made["served_version"], made["labels"]) == (1, 1, {})
    assert made["user_id"] == api.ada.id
    assert (await api.ada.client.get(f"{PROMPTS}/{made['id']}")).json() == made


async def test_people_see_their_own_and_shared_prompts_and_administrators_all(
    api: AdminApi,
) -> None:
    await make(api.ada.client, name="ada_private")
    await make(api.ada.client, name="ada_shared", shared=True)
    await make(api.ben.client, name="ben_private")
    assert await names(api.ben.client) == ["ada_shared", "ben_private"]
    assert await names(api.ada.client) == ["ada_private", "ada_shared"]
    assert len(await names(api.administrator.client)) == 3
    assert await names(api.administrator.client, user_id=api.ben.id) == ["ben_private"]
    assert await names(api.ben.client, name="ada_shared") == ["ada_shared"]
    assert await names(api.ben.client, name="ada_private") == []


async def test_anothers_private_prompt_does_not_exist(api: AdminApi) -> None:
    made = await make(api.ben.client)
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", "", None),
        ("PATCH", "", {"body": "x"}),
        ("DELETE", "", None),
        ("GET", "/versions", None),
        ("GET", "/diff?base=1", None),
        ("POST", "/rollback", {"version": 1}),
        ("POST", "/labels", {"label": "production", "version": 1}),
        ("GET", "/dependants", None),
    )
    for method, suffix, body in calls:
        messages = {
            error_of(
                await api.ada.client.request(method, f"{PROMPTS}/{id_}{suffix}", json=body), 404
            )["message"].replace(str(id_), "…")
            for id_ in (made["id"], 987)
        }
        assert len(messages) == 1, "another's and a missing one are told apart"
    assert (await api.ben.client.get(f"{PROMPTS}/{made['id']}")).json() == made


async def test_a_shared_prompt_is_changed_by_its_owner_and_administrators_only(
    api: AdminApi,
) -> None:
    made = await make(api.ben.client, shared=True)
    path = f"{PROMPTS}/{made['id']}"
    assert (await api.ada.client.get(path)).json() == made
    error_of(await api.ada.client.patch(path, json={"body": "x"}), 403)
    error_of(await api.ada.client.delete(path), 403)
    error_of(await api.ada.client.post(f"{path}/rollback", json={"version": 1}), 403)
    label = {"label": "production", "version": 1}
    error_of(await api.ada.client.post(f"{path}/labels", json=label), 403)
    assert (await api.administrator.client.patch(path, json={"body": "x"})).status_code == 200
    assert (await api.administrator.client.get(path)).json()["user_id"] == api.ben.id


async def test_a_name_is_unique_and_a_clash_tells_no_owner(api: AdminApi) -> None:
    await make(api.ben.client)
    mine = await make(api.ada.client, name="mine")
    told = [
        error_of(await api.ada.client.post(PROMPTS, json=BODY), 409),
        error_of(
            await api.ada.client.patch(f"{PROMPTS}/{mine['id']}", json={"name": BODY["name"]}), 409
        ),
    ]
    assert told[0] == told[1]
    assert (told[0]["code"], told[0]["param"]) == ("name_taken", "name")
    assert "ben" not in told[0]["message"]
    assert await names(api.ada.client) == ["mine"]


async def test_a_name_is_free_again_after_a_rename_or_a_deletion(api: AdminApi) -> None:
    first = await make(api.ada.client, name="first")
    path = f"{PROMPTS}/{first['id']}"
    renamed = (await api.ada.client.patch(path, json={"name": "second"})).json()
    assert (renamed["name"], renamed["version"]) == ("second", 1)
    await make(api.ben.client, name="first")
    assert (await api.ada.client.delete(path)).json() == {"id": first["id"], "deleted": True}
    error_of(await api.ada.client.get(path), 404)
    await make(api.ben.client, name="second")


async def test_a_change_of_content_is_a_new_version_and_other_changes_are_none(
    api: AdminApi,
) -> None:
    made = await make(api.ada.client)
    path = f"{PROMPTS}/{made['id']}"
    for body, version in (
        ({"description": "new", "shared": True}, 1),
        ({"body": "Hey {buddy}"}, 1),
        ({"body": "Hello {buddy}"}, 2),
        ({"model": "gpt-4o"}, 3),
        ({"params": {"temperature": 1}}, 4),
        ({"schema": {"type": "object"}}, 5),
        ({"schema": None}, 6),
    ):
        changed = (await api.ada.client.patch(path, json=body)).json()
        assert (changed["version"], changed["latest_version"]) == (version, version), body
    first = (await api.ada.client.get(path, params={"version": 1})).json()
    assert (first["body"], first["model"], first["params"]) == (BODY["body"], BODY["model"], {})
    assert (first["version"], first["latest_version"]) == (1, 6)
    for number in (7, 987):
        error_of(await api.ada.client.get(path, params={"version": number}), 404)


async def test_versions_are_listed_a_page_at_a_time(api: AdminApi) -> None:
    made = await make(api.ada.client)
    path = f"{PROMPTS}/{made['id']}"
    for number in range(4):
        await api.ada.client.patch(path, json={"body": f"Hey {number}"})
    seen: list[int] = []
    cursor = None
    while cursor or not seen:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.ada.client.get(f"{path}/versions", params=query)).json()
        seen += [version["version"] for version in page["data"]]
        cursor = page["next_cursor"]
    assert seen == [1, 2, 3, 4, 5]


async def test_the_version_that_is_called_production_is_the_one_that_runs(api: AdminApi) -> None:
    made = await make(api.ada.client)
    path = f"{PROMPTS}/{made['id']}"
    await api.ada.client.patch(path, json={"body": "Hello {buddy}"})

    async def label(name: str, version: int | None) -> tuple[int, dict[str, int]]:
        body = {"label": name, "version": version}
        shown = (await api.ada.client.post(f"{path}/labels", json=body)).json()
        return shown["served_version"], shown["labels"]

    assert await label("staging", 1) == (2, {"staging": 1})
    assert await label("production", 1) == (1, {"production": 1, "staging": 1})
    edited = (await api.ada.client.patch(path, json={"body": "Hi {buddy}"})).json()
    assert (edited["version"], edited["served_version"]) == (3, 1)
    assert await label("production", 3) == (3, {"production": 3, "staging": 1})
    assert await label("production", 2) == (2, {"production": 2, "staging": 1})
    assert await label("production", None) == (3, {"staging": 1})
    for wrong, status in (({"label": "production", "version": 4}, 404), ({"label": "P Q"}, 422)):
        error_of(await api.ada.client.post(f"{path}/labels", json=wrong), status)


async def test_labels_have_a_limit(api: AdminApi) -> None:
    path = f"{PROMPTS}/{(await make(api.ada.client))['id']}/labels"
    for number in range(20):
        answer = await api.ada.client.post(path, json={"label": f"l{number}", "version": 1})
        assert answer.status_code == 200
    error_of(await api.ada.client.post(path, json={"label": "one-more", "version": 1}), 422)


async def test_a_roll_back_is_a_new_version_that_says_what_the_old_one_said(api: AdminApi) -> None:
    made = await make(api.ada.client, params={"temperature": 0.5})
    path = f"{PROMPTS}/{made['id']}"
    await api.ada.client.patch(path, json={"body": "Other", "model": "m", "params": {}})
    back = (await api.ada.client.post(f"{path}/rollback", json={"version": 1})).json()
    assert (back["version"], back["body"], back["params"]) == (3, BODY["body"], made["params"])
    assert back["model"] == BODY["model"]
    kept = (await api.ada.client.get(path, params={"version": 2})).json()
    assert kept["body"] == "Other"
    error_of(await api.ada.client.post(f"{path}/rollback", json={"version": 9}), 404)


async def test_a_difference_shows_lines_and_fields(api: AdminApi) -> None:
    made = await make(api.ada.client, body="one\ntwo\nthree")
    path = f"{PROMPTS}/{made['id']}"
    await api.ada.client.patch(path, json={"body": "one\n2\nthree", "model": "gpt-4o"})
    shown = (await api.ada.client.get(f"{path}/diff", params={"base": 1})).json()
    assert (shown["base"], shown["head"]) == (1, 2)
    assert shown["text"].splitlines()[:2] == ["--- version 1", "+++ version 2"]
    assert {"-two", "+2", " one"} <= set(shown["text"].splitlines())
    assert shown["changes"] == [{"field": "model", "base": BODY["model"], "head": "gpt-4o"}]
    same = (await api.ada.client.get(f"{path}/diff", params={"base": 1, "head": 1})).json()
    assert (same["text"], same["changes"]) == ("", [])
    assert (await api.ada.client.get(f"{path}/diff")).json() == shown
    first = (await api.ada.client.get(f"{path}/diff", params={"head": 1})).json()
    assert first == same
    error_of(await api.ada.client.get(f"{path}/diff", params={"base": 1, "head": 3}), 404)


async def test_wrong_values_are_refused_and_named(api: AdminApi) -> None:
    made = await make(api.ada.client)
    for wrong, param in WRONG_VALUES:
        answer = await api.ada.client.post(PROMPTS, json={**BODY, "name": "other", **wrong})
        assert error_of(answer, 422)["param"] == param, wrong
        answer = await api.ada.client.patch(f"{PROMPTS}/{made['id']}", json=wrong)
        assert error_of(answer, 422)["param"] == param, wrong
    assert (await api.ada.client.get(f"{PROMPTS}/{made['id']}")).json() == made
    assert await names(api.ada.client) == [BODY["name"]]


async def test_acts_are_in_the_audit(api: AdminApi) -> None:
    made = await make(api.ada.client)
    path = f"{PROMPTS}/{made['id']}"
    before = len(await api.audit()) - 1
    await api.ada.client.patch(path, json={"body": "x"})
    await api.ada.client.post(f"{path}/labels", json={"label": "production", "version": 1})
    await api.ada.client.post(f"{path}/rollback", json={"version": 1})
    await api.administrator.client.delete(path)
    entries = (await api.audit())[before:]
    assert [entry.action for entry in entries] == [
        *("prompt.create", "prompt.update", "prompt.label", "prompt.roll_back", "prompt.delete"),
    ]
    assert {entry.object_id for entry in entries} == {str(made["id"])}
