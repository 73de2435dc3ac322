"""What holds for every route of `/api/v1`: who may call it, and what its document says."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import time_machine
from fastapi import APIRouter, FastAPI
from fastapi.routing import RouteContext, iter_route_contexts

from aieye.api import admin, deps
from aieye.api.rendering import explain_invalid
from aieye.db.types import now
from tests.integration.admin_api import (
    AUTHORED_OPERATIONS,
    RESOURCES,
    AdminApi,
    error_of,
    running_admin_api,
)

TOKENS = "/api/v1/tokens"
# Plain users may call these; every other operation of these resources is an administrator's.
OPEN_TO_USERS = {
    *("tokens_list", "tokens_create", "tokens_get", "tokens_update", "tokens_roll"),
    *("tokens_delete", "users_get_me", "users_update_me"),
    *AUTHORED_OPERATIONS,
}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        yield running


def operations(app: FastAPI) -> list[RouteContext]:
    found = [route for route in iter_route_contexts(app.routes) if hasattr(route, "operation_id")]
    return [route for route in found if (route.path or "").startswith(deps.PREFIX)]


async def call(client: httpx.AsyncClient, route: RouteContext) -> int:
    (method,) = route.methods or set()
    path = (route.path or "").replace("{id}", "987654")
    answer = await client.request(method, path, json={} if method != "GET" else None)
    return answer.status_code


async def test_each_route_lets_in_whom_it_says_and_nobody_else(api: AdminApi) -> None:
    routes = operations(api.app)
    assert {route.tags[0] for route in routes} >= RESOURCES
    for route in routes:
        name = route.operation_id
        assert await call(api.anonymous, route) == 401, name
        assert await call(api.proxy, route) == 403, name
        if route.tags[0] in RESOURCES:
            refused = await call(api.ada.client, route) == 403
            assert refused == (name not in OPEN_TO_USERS), name
            assert await call(api.administrator.client, route) not in {401, 403, 500}, name


async def test_a_refusal_says_how_to_come_in(api: AdminApi) -> None:
    answer = await api.anonymous.get(TOKENS)
    assert error_of(answer, 401)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_credentials_that_mean_nothing_are_refused(api: AdminApi) -> None:
    began = await api.sign_in(api.administrator)
    async with api.client(cookie=f"sessionid={began.cookie}") as client:
        assert (await client.get(TOKENS)).status_code == 200
        for header in ("", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer é"):
            headers = httpx.Headers([(b"authorization", header.encode("latin-1"))])
            error_of(await client.get(TOKENS, headers=headers), 401)


async def test_an_expired_token_is_refused(api: AdminApi) -> None:
    later = now() + timedelta(hours=1)
    body = {"name": "brief", "scope": "admin", "expires_at": later.isoformat()}
    made = (await api.ada.client.post(TOKENS, json=body)).json()
    async with api.client(authorization=f"bearer {made['token']}") as client:
        assert (await client.get(TOKENS)).status_code == 200
        with time_machine.travel(later + timedelta(seconds=1)):
            error_of(await client.get(TOKENS), 401)


async def test_a_session_reads_freely_and_writes_with_its_csrf_token_only(api: AdminApi) -> None:
    began = await api.sign_in(api.ada)
    body = {"name": "from a session"}
    token = {"x-csrftoken": began.csrf_token}
    async with api.client(cookie=f"sessionid={began.cookie}") as client:
        assert (await client.get(TOKENS)).json()["data"][0]["user_id"] == api.ada.id
        error_of(await client.post(TOKENS, json=body), 403)
        error_of(await client.post(TOKENS, json=body, headers={"x-csrftoken": "x"}), 403)
        for foreign in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            error_of(await client.post(TOKENS, json=body, headers=token | foreign), 403)
        for own in ({}, {"origin": "http://127.0.0.1:8000"}, {"sec-fetch-site": "same-origin"}):
            answer = await client.post(TOKENS, json=body, headers=token | own)
            assert answer.status_code == 201
        error_of(await client.get("/api/v1/providers"), 403)
    async with api.client(cookie="sessionid=unknown") as client:
        error_of(await client.get(TOKENS), 401)


async def test_a_user_who_is_disabled_is_out_at_once(api: AdminApi) -> None:
    began = await api.sign_in(api.ada)
    body = {"is_active": False}
    answer = await api.administrator.client.patch(f"/api/v1/users/{api.ada.id}", json=body)
    assert answer.status_code == 200
    error_of(await api.ada.client.get(TOKENS), 401)
    async with api.client(cookie=f"sessionid={began.cookie}") as client:
        error_of(await client.get(TOKENS), 401)


def test_a_route_without_a_policy_refuses_the_start() -> None:
    app, router = FastAPI(), APIRouter(prefix="/api/v1/open")

    @router.get("/door")
    async def door() -> None: ...

    app.include_router(router)
    app.mount("/api/v1/mounted", FastAPI())
    with pytest.raises(RuntimeError, match=r"ANY /api/v1/mounted, GET /api/v1/open/door"):
        deps.assert_every_route_has_a_policy(app)


def test_each_operation_has_a_stable_name_an_example_and_our_errors() -> None:
    app = FastAPI()
    app.include_router(admin.router)
    document = app.openapi()
    names = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if operation["tags"][0] not in RESOURCES:
                continue
            names.append(operation["operationId"])
            content = [
                part
                for status, answer in operation["responses"].items()
                if status.startswith("2")
                for part in answer["content"].values()
            ]
            assert all("example" in part for part in content), path
            for part in operation.get("requestBody", {}).get("content", {}).values():
                if part["schema"].get("type") == "string":
                    continue
                # A body that may be left out is it or null.
                schema = part["schema"].get("anyOf", [part["schema"]])[0]
                name = schema["$ref"].rpartition("/")[2]
                assert document["components"]["schemas"][name]["examples"], path
            for status in ("400", "401", "403", "422"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                # A pipeline that is refused says all that is wrong beside the error.
                assert schema["$ref"].rpartition("/")[2] in {"ErrorBody", "InvalidPipelineBody"}
    assert len(names) == len(set(names)) == 77
    assert {"tokens_create", "users_update_me", "prices_delete", "keys_update"} <= set(names)
    for name, schema in document["components"]["schemas"].items():
        assert not {"digest", "sealed", "password_hash"} & set(schema.get("properties", {})), name


async def test_unknown_paths_and_methods_answer_with_the_error_object(api: AdminApi) -> None:
    unknown = error_of(await api.ada.client.get("/api/v1/nothing"), 404)
    assert unknown["code"] == "not_found"
    assert unknown["message"].endswith("/openapi.json lists those that there are.")
    answer = await api.ada.client.put(TOKENS)
    refused = error_of(answer, 405)
    assert refused["code"] == "method_not_allowed"
    assert "GET" in answer.headers["allow"]
    assert refused["message"] == f"PUT is not for this URL: it takes {answer.headers['allow']}."


async def test_a_body_that_is_no_json_is_refused_with_the_place_as_on_v1(api: AdminApi) -> None:
    broken = '{"name": "one",\n "scope" "proxy"}'
    headers = {"Content-Type": "application/json"}
    answer = await api.ada.client.post(TOKENS, content=broken, headers=headers)
    error = error_of(answer, 422)
    assert (error["param"], error["message"]) == (
        None, "The body is not JSON: Expecting ':' delimiter (line 2, column 10).",
    )  # fmt: skip


async def test_all_fields_that_are_wrong_are_told_at_once(api: AdminApi) -> None:
    error = error_of(await api.ada.client.post(TOKENS, json={"nam": "one"}), 422)
    assert error["param"] == "name"
    assert error["message"] == "name: Field required; nam: Extra inputs are not permitted"
    many = {f"unknown_{number}": 1 for number in range(9)} | {"name": "one"}
    error = error_of(await api.ada.client.post(TOKENS, json=many), 422)
    assert error["message"].count("Extra inputs") == 5
    assert error["message"].endswith("; and 4 more")


def test_as_many_fields_as_a_body_holds_are_told_without_comparing_them() -> None:
    problems = [
        {"type": "extra_forbidden", "loc": ("body", f"unknown_{number}"), "msg": "Not permitted"}
        for number in range(50_000)
    ]
    began = time.thread_time()
    param, message = explain_invalid(problems)
    # Each with each other would take minutes.
    assert time.thread_time() - began < 2
    assert param == "unknown_0"
    assert message.endswith("; and 49995 more")


async def test_a_fault_of_ours_tells_nothing(api: AdminApi) -> None:
    async def fail() -> None:
        raise RuntimeError("canary")

    api.app.add_api_route("/fail", fail)
    answer = await api.anonymous.get("/fail")
    assert error_of(answer, 500)["code"] == "internal_error"
    assert "canary" not in answer.text
    assert answer.headers["x-request-id"] in answer.text
