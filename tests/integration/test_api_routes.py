"""`/api/v1/routes`: aliases and their targets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aieye.access.snapshot import RouteTarget
from tests.integration.admin_api import AdminApi, error_of, running_admin_api

ROUTES = "/api/v1/routes"
TARGET = {"provider": "openai", "model": "gpt-4o-mini"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        await running.provider("openai")
        yield running


async def make_route(api: AdminApi, alias: str = "fast", **body: Any) -> Any:
    body = {"alias": alias, "targets": [TARGET]} | body
    answer = await api.administrator.client.post(ROUTES, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_alias_is_in_effect_at_once(api: AdminApi) -> None:
    made = await make_route(api, "org/fast:1")
    assert made["targets"] == [{**TARGET, "key_id": None, "weight": 1}]
    route = api.state.directory.current.routes["org/fast:1"]
    assert route.targets == (RouteTarget("openai", "gpt-4o-mini", None, 1),)
    assert not route.is_weighted
    path = f"{ROUTES}/{made['id']}"
    assert (await api.administrator.client.get(path)).json() == made
    assert (await api.administrator.client.get(ROUTES)).json()["data"] == [made]


async def test_a_change_leaves_the_rest(api: AdminApi) -> None:
    made = await make_route(api)
    path = f"{ROUTES}/{made['id']}"
    targets = [{**TARGET, "key_id": 1, "weight": 3}, {**TARGET, "model": "gpt-4o"}]
    body = {"strategy": "weighted", "targets": targets}
    changed = (await api.administrator.client.patch(path, json=body)).json()
    assert changed["alias"] == "fast"
    route = api.state.directory.current.routes["fast"]
    assert route.is_weighted
    assert [(target.key_id, target.weight) for target in route.targets] == [(1, 3), (None, 1)]
    renamed = (await api.administrator.client.patch(path, json={"alias": "quick"})).json()
    assert renamed["targets"] == changed["targets"]
    assert set(api.state.directory.current.routes) == {"quick"}


async def test_a_deleted_alias_is_gone_and_its_name_is_free(api: AdminApi) -> None:
    made = await make_route(api)
    path = f"{ROUTES}/{made['id']}"
    answer = await api.administrator.client.delete(path)
    assert answer.json() == {"id": made["id"], "deleted": True}
    assert not api.state.directory.current.routes
    error_of(await api.administrator.client.get(path), 404)
    await make_route(api)
    assert (await api.actions())[-3:] == ["route.create", "route.delete", "route.create"]


async def test_an_alias_is_unique(api: AdminApi) -> None:
    await make_route(api, "fast")
    other = await make_route(api, "slow")
    body = {"alias": "fast", "targets": [TARGET]}
    error = error_of(await api.administrator.client.post(ROUTES, json=body), 409)
    assert error["param"] == "alias"
    path = f"{ROUTES}/{other['id']}"
    error_of(await api.administrator.client.patch(path, json={"alias": " fast "}), 409)
    assert set(api.state.directory.current.routes) == {"fast", "slow"}


async def test_a_provider_that_is_not_there_is_named_with_those_that_are(api: AdminApi) -> None:
    body = {"alias": "x", "targets": [{**TARGET, "provider": "openia"}]}
    refused = await api.administrator.client.post(ROUTES, json=body)
    message = refused.json()["error"]["message"]
    assert message == f"There is no provider 'openia'. Those there are: {TARGET['provider']}."


async def test_wrong_values_are_refused_and_named(api: AdminApi) -> None:
    other = await api.provider("other")
    keys = (await api.administrator.client.get("/api/v1/keys")).json()["data"]
    foreign = next(key["id"] for key in keys if key["provider_id"] == other["id"])
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"alias": ""}, "alias"),
        ({"alias": " "}, "alias"),
        ({"alias": "a\0"}, "alias"),
        ({"alias": "a\tb"}, "alias"),
        ({"alias": "x" * 201}, "alias"),
        ({"alias": "preset/x"}, "alias"),
        ({"alias": " pipeline/x"}, "alias"),
        ({"strategy": "random"}, "strategy"),
        ({"targets": []}, "targets"),
        ({"targets": [TARGET] * 21}, "targets"),
        ({"targets": [TARGET, {**TARGET, "provider": "nobody"}]}, "targets.1.provider"),
        ({"targets": [{**TARGET, "provider": "demo"}]}, "targets.0.provider"),
        ({"targets": [{**TARGET, "provider": "a\0"}]}, "targets.0.provider"),
        ({"targets": [{**TARGET, "model": "a\0"}]}, "targets.0.model"),
        ({"targets": [{**TARGET, "model": " "}]}, "targets.0.model"),
        ({"targets": [{**TARGET, "weight": 0}]}, "targets.0.weight"),
        ({"targets": [{**TARGET, "weight": 1001}]}, "targets.0.weight"),
        ({"targets": [{**TARGET, "weight": 10**30}]}, "targets.0.weight"),
        ({"targets": [{**TARGET, "key_id": 987}]}, "targets.0.key_id"),
        ({"targets": [{**TARGET, "key_id": foreign}]}, "targets.0.key_id"),
        ({"targets": [{**TARGET, "key_id": 10**30}]}, "targets.0.key_id"),
        ({"targets": [{**TARGET, "base_url": "https://x"}]}, "targets.0.base_url"),
        ({"id": 7}, "id"),
    )
    for change, param in wrong:
        body = {"alias": "x", "targets": [TARGET]} | change
        answer = await api.administrator.client.post(ROUTES, json=body)
        assert error_of(answer, 422)["param"] == param
    made = await make_route(api)
    for change, param in wrong:
        answer = await api.administrator.client.patch(f"{ROUTES}/{made['id']}", json=change)
        assert error_of(answer, 422)["param"] == param
    assert (await api.administrator.client.get(ROUTES)).json()["data"] == [made]
