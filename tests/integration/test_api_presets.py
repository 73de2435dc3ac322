"""`/api/v1/presets`: who may see and change what, versions, labels, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from aieye.db.tables import PipelineUse
from tests.integration.admin_api import AdminApi, error_of, running_admin_api

PRESETS = "/api/v1/presets"
BODY: dict[str, Any] = {
    "name": "answers",
    "type": "chat",
    "config": {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Be brief."}]},
}
WRONG_VALUES: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"name": None}, "name"),
    ({"name": "a b"}, "name"),
    ({"name": "map"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"type": "image"}, "type"),
    ({"type": None}, "type"),
    ({"config": None}, "config"),
    ({"config": []}, "config"),
    ({"config": {}}, "config.model"),
    ({"config": {"model": ""}}, "config.model"),
    ({"config": {"model": "m", "temperature": 3}}, "config.temperature"),
    ({"config": {"model": "m", "stream": True}}, "config.stream"),
    ({"config": {"model": "m", "messages": [{"content": "x"}]}}, "config.messages"),
    ({"config": {"model": "m", "seed": 2**70}}, "config"),
    ({"config": {"model": "m", "x": "y" * 2**18}}, "config"),
    ({"shared": None}, "shared"),
    ({"user_id": 1}, "user_id"),
)


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        yield running


async def make(client: httpx.AsyncClient, **more: Any) -> Any:
    answer = await client.post(PRESETS, json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def change(client: httpx.AsyncClient, preset: Any, **more: Any) -> Any:
    answer = await client.patch(f"{PRESETS}/{preset['id']}", json=more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get(PRESETS, params=query)
    assert answer.status_code == 200, answer.text
    return [preset["name"] for preset in answer.json()["data"]]


async def test_a_preset_of_each_type_is_kept_as_it_was_given(api: AdminApi) -> None:
    configs: dict[str, Any] = {
        "chat": {
            "model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Be brief."}],
            "temperature": 0.2, "stop": ["\n"], "seed": 7, "response_format": {"type": "text"},
            "tools": [], "overridable": ["temperature", "seed"],
        },
        "embeddings": {"model": "text-embedding-3-small", "dimensions": 256, "user": "x"},
        "search": {"engine_id": "text-embedding-3-small", "documents": ["a", "b"]},
        "completion": {
            "engine_id": "davinci-002", "prompt": [[1, 2], [3]], "max_tokens": 0,
            "temperature": 0, "top_p": 0.5, "frequency_penalty": -2, "presence_penalty": 2.0,
            "best_of": 3, "logprobs": 5, "echo": True, "stop": "x", "injectStart": ["a", "b"],
            "injectRestart": "c", "overridable": [],
        },
    }  # fmt: skip
    for type_, config in configs.items():
        given = {"name": f"a_{type_}", "type": type_, "config": config, "shared": True}
        made = await make(api.ada.client, **given)
        assert {key: made[key] for key in given} == given
        assert made["callable"] is True
        assert (made["version"], made["served_version"], made["labels"]) == (1, 1, {})
        assert made["document_count"] == (2 if type_ == "search" else None)
        assert (await api.ada.client.get(f"{PRESETS}/{made['id']}")).json() == made
        assert await names(api.ben.client, type=type_) == [f"a_{type_}"]
    [listed] = (await api.ben.client.get(PRESETS, params={"type": "search"})).json()["data"]
    assert (listed["config"], listed["document_count"]) == (
        {"engine_id": configs["search"]["engine_id"]},
        2,
    )


async def test_private_presets_of_others_do_not_exist_and_shared_ones_only_their_owner_changes(
    api: AdminApi,
) -> None:
    mine = await make(api.ada.client)
    shared = await make(api.ada.client, name="for_all", shared=True)
    assert await names(api.ben.client) == ["for_all"]
    assert await names(api.administrator.client) == ["answers", "for_all"]
    for preset, status in ((mine, 404), (shared, 403)):
        path = f"{PRESETS}/{preset['id']}"
        error_of(await api.ben.client.patch(path, json={"shared": False}), status)
        error_of(await api.ben.client.delete(path), status)
        error_of(await api.ben.client.post(f"{path}/rollback", json={"version": 1}), status)
        body = {"label": "production", "version": 1}
        error_of(await api.ben.client.post(f"{path}/labels", json=body), status)
    for part in ("", "/versions", "/diff", "/dependants"):
        hidden = await api.ben.client.get(f"{PRESETS}/{mine['id']}{part}")
        unknown = await api.ben.client.get(f"{PRESETS}/{'x' * 20}{part}")
        told = error_of(hidden, 404)["message"].replace(mine["id"], "x" * 20)
        assert told == error_of(unknown, 404)["message"]
        assert (await api.ben.client.get(f"{PRESETS}/{shared['id']}{part}")).status_code == 200
    await change(api.administrator.client, mine, shared=True)
    assert await names(api.ben.client) == ["answers", "for_all"]


async def test_a_name_is_held_once_in_the_installation(api: AdminApi) -> None:
    made = await make(api.ada.client)
    error = error_of(await api.ben.client.post(PRESETS, json=BODY), 409)
    assert error["code"] == "name_taken"
    prompt = {"name": "answers", "body": "Hey", "model": "gpt-4o-mini"}
    error_of(await api.ben.client.post("/api/v1/prompts", json=prompt), 409)
    renamed = await change(api.ada.client, made, name="replies")
    assert (renamed["name"], renamed["version"]) == ("replies", 1)
    await make(api.ben.client)
    error_of(await api.ada.client.patch(f"{PRESETS}/{made['id']}", json={"name": "answers"}), 409)
    gone = await api.ada.client.delete(f"{PRESETS}/{made['id']}")
    assert gone.json() == {"id": made["id"], "deleted": True}
    error_of(await api.ada.client.get(f"{PRESETS}/{made['id']}"), 404)


async def test_another_configuration_is_another_version_and_a_label_decides_which_one_runs(
    api: AdminApi,
) -> None:
    made = await make(api.ada.client)
    assert (await change(api.ada.client, made, config=BODY["config"]))["version"] == 1
    config = {
        "model": "gpt-4o",
        "temperature": 0,
        "messages": [{"role": "system", "content": "Shout."}],
    }
    second = await change(api.ada.client, made, config=config)
    assert (second["version"], second["served_version"]) == (2, 2)
    path = f"{PRESETS}/{made['id']}"
    body = {"label": "production", "version": 1}
    labelled = (await api.ada.client.post(f"{path}/labels", json=body)).json()
    assert (labelled["served_version"], labelled["labels"]) == (1, {"production": 1})
    running = api.state.presets.find(made["id"])
    assert running is not None
    assert running.model == "gpt-4o-mini"
    first = (await api.ada.client.get(path, params={"version": 1})).json()
    assert first["config"] == BODY["config"]
    differs = (await api.ada.client.get(f"{path}/diff")).json()
    assert (differs["base"], differs["head"]) == (1, 2)
    assert '+  "content": "Shout."' in differs["text"]
    assert differs["changes"] == [
        {"field": "model", "base": "gpt-4o-mini", "head": "gpt-4o"},
        {"field": "temperature", "base": None, "head": 0},
    ]
    back = (await api.ada.client.post(f"{path}/rollback", json={"version": 1})).json()
    assert (back["version"], back["config"]) == (3, BODY["config"])
    listed = (await api.ada.client.get(f"{path}/versions")).json()["data"]
    assert [one["version"] for one in listed] == [1, 2, 3]
    error_of(await api.ada.client.get(path, params={"version": 4}), 404)


async def test_documents_are_compared_line_by_line(api: AdminApi) -> None:
    search = {"engine_id": "ada", "documents": ["text here", "text there"]}
    made = await make(api.ada.client, type="search", config=search)
    await change(api.ada.client, made, config={**search, "documents": ["text here"]})
    differs = (await api.ada.client.get(f"{PRESETS}/{made['id']}/diff")).json()
    assert "-text there\n" in differs["text"]
    assert differs["changes"] == []


async def test_what_cannot_be_is_refused_with_the_field_and_nothing_is_kept(api: AdminApi) -> None:
    made = await make(api.ada.client, name="kept")
    for values, param in WRONG_VALUES:
        error = error_of(await api.ada.client.post(PRESETS, json={**BODY, **values}), 422)
        assert error["param"] == param, (values, error)
        if "type" not in values:
            answer = await api.ada.client.patch(f"{PRESETS}/{made['id']}", json=values)
            assert error_of(answer, 422)["param"] == param, (values, answer.text)
    # A type stays.
    answer = await api.ada.client.patch(f"{PRESETS}/{made['id']}", json={"type": "search"})
    assert error_of(answer, 422)["param"] == "type"
    assert await names(api.ada.client) == ["kept"]
    assert (await api.ada.client.get(f"{PRESETS}/{made['id']}")).json() == made


async def test_every_change_is_in_the_audit(api: AdminApi) -> None:
    made = await make(api.ada.client)
    path = f"{PRESETS}/{made['id']}"
    await change(api.ada.client, made, config={"model": "gpt-4o"})
    await api.ada.client.post(f"{path}/labels", json={"label": "staging", "version": 1})
    await api.ada.client.post(f"{path}/rollback", json={"version": 1})
    await api.ada.client.delete(path)
    acts = [entry for entry in await api.audit() if entry.object_type == "preset"]
    assert {entry.object_id for entry in acts} == {made["id"]}
    assert [entry.action.removeprefix("preset.") for entry in acts] == [
        *("create", "update", "label", "roll_back", "delete")
    ]


async def test_what_pipelines_call_is_renamed_unshared_or_deleted_only_when_that_is_said(
    api: AdminApi,
) -> None:
    made = await make(api.ada.client, shared=True)
    prompt = {"name": "greet", "body": "Hey {text}", "model": "gpt-4o-mini"}
    assert (await api.ben.client.post("/api/v1/prompts", json=prompt)).status_code == 201
    pipeline = {"name": "asks", "source": "greet(text)"}
    pipeline_id = (await api.ben.client.post("/api/v1/pipelines", json=pipeline)).json()["id"]
    called = api.state.presets.find(made["id"])
    assert called is not None
    async with api.state.database.write() as session:
        session.add(
            PipelineUse(pipeline_id=pipeline_id, number=1, kind="preset", object_id=called.id)
        )
    path = f"{PRESETS}/{made['id']}"
    found = (await api.ada.client.get(f"{path}/dependants")).json()
    assert found == {"data": [], "hidden": 1}
    found = (await api.ben.client.get(f"{path}/dependants")).json()
    assert [one["name"] for one in found["data"]] == ["asks"]
    for change_ in ({"name": "other"}, {"shared": False}):
        error = error_of(await api.ada.client.patch(path, json=change_), 409)
        assert error["code"] == "in_use"
    error_of(await api.ada.client.delete(path), 409)
    assert (await api.ada.client.delete(path, params={"force": True})).status_code == 200
