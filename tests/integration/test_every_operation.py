"""What no operation of `/api/v1` allows, whichever it is: forged requests, others' objects, more
than one's own rights, and changes by looking."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from aieye.db.tables import Base
from tests.documented import Operation, read_operations
from tests.integration.admin_api import AUTHORED_OPERATIONS, AdminApi, Person, error_of
from tests.integration.ledger_api import LedgerApi, call, entry, request, running_ledger_api

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
OPERATIONS = read_operations(DOCUMENT.read_bytes())
WRITES = [one for one in OPERATIONS if one.method != "GET"]
READS = [one for one in OPERATIONS if one.method == "GET"]
# Columns that no body of any operation offers.
NEVER_OFFERED = (
    *("id", "digest", "prefix", "sealed", "last4", "password_hash", "is_builtin", "deleted_at"),
    *("created_at", "is_administrator", "allowed_routes", "max_budget", "purges", "__class__"),
)
# What plain users may call; the rest of a resource is for administrators.
USERS_MAY = {
    *("tokens_list", "tokens_create", "tokens_get", "tokens_update", "tokens_roll"),
    *("tokens_delete", "users_get_me", "users_update_me", "calls_list", "calls_get", "calls_body"),
    *("usage_list", "cache_get", "cache_explain", "functions_list", "functions_get"),
    *AUTHORED_OPERATIONS,
}
# What belongs to nobody and is there for all.
EVERYBODYS = {"functions_get"}


@dataclass
class Furnished:
    """The API with something of each kind in it that belongs to Ben or to the installation."""

    ledger: LedgerApi
    ids: Mapping[str, int | str]

    @property
    def api(self) -> AdminApi:
        return self.ledger.api

    def path(self, operation: Operation) -> str:
        """The operation's path, with the id of what is there."""
        return operation.at(self.ids.get(operation.resource, ""))

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is stored, table by table."""
        async with self.api.state.database.read() as session:
            return {
                table.name: [tuple(row) for row in await session.execute(select(table))]
                for table in Base.metadata.sorted_tables
            }


@pytest.fixture
async def furnished(database_url: str, tmp_path: Path) -> AsyncIterator[Furnished]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        api, root = ledger.api, ledger.api.administrator.client
        provider = await api.provider()
        (key,) = (await root.get("/api/v1/keys")).json()["data"]
        made = {"providers": provider["id"], "keys": key["id"], "users": api.ben.id}
        buddy = {"name": "bens_prompt", "body": "Hey {buddy}", "model": "m"}
        search = {"engine_id": "m", "documents": ["a"]}
        preset = {"name": "bens_preset", "type": "search", "config": search}
        things: tuple[tuple[httpx.AsyncClient, str, dict[str, Any]], ...] = (
            (root, "routes", {"alias": "fast", "targets": [{"model": "m", "provider": "openai"}]}),
            (root, "prices", {"model": "m", "rates": {"input": "1", "output": "2"}}),
            (api.ben.client, "prompts", buddy),
            (api.ben.client, "presets", preset),
            (api.ben.client, "pipelines", {"name": "bens", "source": "bens_prompt(buddy)"}),
        )
        for client, resource, body in things:
            answer = await client.post(f"/api/v1/{resource}", json=body)
            made[resource] = answer.json()["id"]
        # There is no provider here: what is left of the call is that it failed.
        await api.ben.client.post("/api/v1/pipelines/bens/call", json={"args": {"buddy": "x"}})
        (run,) = (await root.get("/api/v1/executions")).json()["data"]
        made["executions"] = run["id"]
        booked = call(user_id=api.ben.id, token_id=api.ben.token_id)
        await ledger.settle(booked)
        ledger.cache.keep(entry(), request(), is_kept=False)
        await ledger.writer.durable()
        (stored,) = (await root.get("/api/v1/cache/entries")).json()["data"]
        await root.post("/api/v1/functions/sync")
        functions = (await root.get("/api/v1/functions")).json()["data"]
        made["functions"] = functions[0]["id"]
        audit = (await root.get("/api/v1/audit")).json()["data"][0]["id"]
        ids = {**made, "tokens": api.ben.token_id, "cache": stored["id"], "audit": audit}
        yield Furnished(ledger, {**ids, "calls": booked.id})


async def send(
    client: httpx.AsyncClient, furnished: Furnished, operation: Operation, body: Any = None
) -> httpx.Response:
    """Call the operation on what is there, with its own example unless a body is given."""
    given = body if body is not None else operation.body
    return await client.request(operation.method, furnished.path(operation), json=given)


# -- forged requests ---------------------------------------------------------------------------


async def test_no_operation_can_be_forged_from_another_site(furnished: Furnished) -> None:
    api = furnished.api
    began = await api.sign_in(api.administrator)
    token = {"x-csrftoken": began.csrf_token}
    forgeries: dict[str, dict[str, str]] = {
        "no token": {},
        "a wrong token": {"x-csrftoken": "x" * len(began.csrf_token)},
        "another site": {**token, "sec-fetch-site": "cross-site"},
        "a site of the same owner": {**token, "sec-fetch-site": "same-site"},
        "another origin": {**token, "origin": "https://evil.example"},
        "no origin to tell": {**token, "origin": "null"},
        "a form": {"content-type": "text/plain"},
    }
    before = await furnished.rows()
    passed = []
    async with api.client(cookie=f"sessionid={began.cookie}") as browser:
        for operation in WRITES:
            for name, headers in forgeries.items():
                browser.headers = httpx.Headers({"cookie": f"sessionid={began.cookie}", **headers})
                answer = await send(browser, furnished, operation)
                if answer.status_code != 403:
                    passed.append((operation.id, name, answer.status_code))
        assert passed == []
        assert await furnished.rows() == before
        # With its own token and from its own page the same session may.
        browser.headers = httpx.Headers(
            {"cookie": f"sessionid={began.cookie}", **token, "sec-fetch-site": "same-origin"}
        )
        statuses = [(await send(browser, furnished, operation)).status_code for operation in WRITES]
    assert len(WRITES) >= 20
    assert 403 not in statuses
    assert statuses.count(200) + statuses.count(201) > len(WRITES) / 2


# -- looking -----------------------------------------------------------------------------------


async def test_looking_changes_nothing(furnished: Furnished) -> None:
    before = await furnished.rows()
    refused = {}
    for operation in READS * 2:
        path = furnished.path(operation)
        for method in ("GET", "HEAD"):
            query = {"call_id": furnished.ids["calls"]} if operation.id == "cache_explain" else {}
            answer = await furnished.api.administrator.client.request(method, path, params=query)
            if method == "GET" and answer.status_code not in {200, 404}:
                refused[operation.id] = answer.text
    await furnished.ledger.writer.durable()
    assert refused == {}
    assert await furnished.rows() == before


# -- more than was offered ---------------------------------------------------------------------


async def test_no_operation_takes_a_field_that_it_does_not_offer(furnished: Furnished) -> None:
    before = await furnished.rows()
    taken = []
    for operation in WRITES:
        if operation.body is None:
            continue
        for field in NEVER_OFFERED:
            body = {**operation.body, field: 1}
            answer = await send(furnished.api.administrator.client, furnished, operation, body)
            error = answer.json().get("error", {})
            if (answer.status_code, error.get("param")) != (422, field):
                taken.append((operation.id, field, answer.status_code))
    assert taken == []
    assert await furnished.rows() == before


# -- others' objects ---------------------------------------------------------------------------


async def test_no_operation_reaches_what_is_anothers(furnished: Furnished) -> None:
    ada = furnished.api.ada.client
    before = await furnished.rows()
    reached: list[tuple[object, ...]] = []
    for operation in OPERATIONS:
        if not operation.has_id or operation.id in EVERYBODYS:
            continue
        answer = await send(ada, furnished, operation)
        if operation.id in USERS_MAY:
            other = operation.at(987_654 if operation.resource != "calls" else "0" * 32)
            missing = await ada.request(operation.method, other, json=operation.body)
            told = (answer.status_code, answer.json()["error"]["code"])
            # Nobody learns whether there is such a thing.
            if told != (404, missing.json()["error"]["code"]) or missing.status_code != 404:
                reached.append((operation.id, *told))
        elif answer.status_code != 403:
            reached.append((operation.id, answer.status_code))
    assert reached == []
    assert await furnished.rows() == before


# -- rights ------------------------------------------------------------------------------------

OPEN = [one for one in OPERATIONS if one.id in USERS_MAY]
WISHES: tuple[dict[str, Any], ...] = (
    {"role": "administrator"}, {"is_active": True}, {"scope": "admin"}, {"scope": "proxy"},
    {"user_id": 1}, {"user_id": 2}, {"cache_namespace": "team"}, {"provider_key_id": 1},
    {"models": None}, {"disabled": False}, {"expires_at": None}, {"name": "x"},
)  # fmt: skip


@dataclass
class Climber:
    """Ada, who tries everything with her session and with whatever tokens she gets."""

    furnished: Furnished
    chance: random.Random
    session: Mapping[str, str]
    secrets: list[str]
    token_ids: list[int]
    done: int = 0

    async def step(self) -> None:
        operation = self.chance.choice(OPEN if self.chance.random() < 0.6 else OPERATIONS)
        body = dict(operation.body or {})
        for wish in self.chance.sample(WISHES, self.chance.randrange(2)):
            body |= wish
        path = self.furnished.path(operation)
        if operation.resource == "tokens" and operation.has_id and self.chance.random() < 0.6:
            path = operation.at(self.chance.choice(self.token_ids))
        given = None if operation.method == "GET" else body
        async with self.furnished.api.client(**self._credentials()) as client:
            answer = await client.request(operation.method, path, json=given)
        assert answer.status_code < 500, f"{operation.id}: {answer.text}"
        if answer.status_code < 300:
            assert operation.id in USERS_MAY, f"{operation.id} let a user in: {answer.text}"
            self.done += 1
            if "token" in (made := answer.json()):
                self.secrets.append(made["token"])
                self.token_ids.append(made["id"])

    def _credentials(self) -> Mapping[str, str]:
        if self.chance.random() < 0.5:
            return self.session
        return {"authorization": f"Bearer {self.chance.choice(self.secrets)}"}


@pytest.mark.parametrize("seed", range(3))
async def test_no_sequence_of_own_calls_raises_a_users_rights(
    furnished: Furnished, seed: int
) -> None:
    api = furnished.api
    began = await api.sign_in(api.ada)
    session = {"cookie": f"sessionid={began.cookie}", "x_csrftoken": began.csrf_token}
    climber = Climber(furnished, random.Random(seed), session, [api.ada.secret], [api.ada.token_id])
    before = await furnished.rows()
    for _ in range(200):
        await climber.step()
    after = await furnished.rows()
    assert climber.done > 20
    for table in ("providers", "provider_keys", "routes", "price_overrides", "cache_entries"):
        assert after[table] == before[table], table
    for table, column in (("users", 0), ("tokens", 1)):
        others = [row for row in before[table] if row[column] != api.ada.id]
        assert others == [row for row in after[table] if row[column] != api.ada.id], table
    for secret in climber.secrets:
        grant = api.state.directory.find_grant(secret)
        assert grant is None or (grant.user_id, grant.role) == (api.ada.id, "user")
    assert await _is_in(api.ben)
    assert await _is_in(api.administrator)


async def _is_in(person: Person) -> bool:
    answer = await person.client.get("/api/v1/users/me")
    return answer.status_code == 200 and answer.json()["email"] == person.email


async def test_a_refused_operation_says_so_in_one_shape(furnished: Furnished) -> None:
    for operation in OPERATIONS:
        error_of(await send(furnished.api.anonymous, furnished, operation), 401)
