"""The administrators' API over a real database, with somebody of every kind to call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI
from sqlalchemy import select

from aieye.access import tokens, users
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.access.sessions import NewSession, start_session
from aieye.api import admin
from aieye.api.deps import assert_every_route_has_a_policy
from aieye.api.rendering import add_error_handlers
from aieye.db.engine import Database
from aieye.db.tables import AuditEntry, Base
from aieye.functions.service import Functions
from aieye.pipeline.model_calls import Answer, ModelCalls, Prediction
from aieye.pipeline.preset_calls import PresetCalls
from aieye.pipeline.running import Pipelines
from aieye.pipeline.step_runner import StepFailed
from aieye.presets.book import PresetBook
from aieye.presets.embedding import Embedding
from aieye.presets.processing import Processing
from aieye.presets.search import Search
from aieye.settings import load_settings
from aieye.state import State

RESOURCES = {
    *("users", "tokens", "providers", "keys", "routes", "prices", "prompts", "presets"),
    "pipelines",
    "executions",
}
AUTHORED = ("list", "create", "get", "update", "delete", "list_versions", "diff", "roll_back")
# The operations of prompts and pipelines, which everybody may have.
AUTHORED_OPERATIONS = {
    *(f"{kind}_{act}" for kind in ("prompts", "presets", "pipelines") for act in AUTHORED),
    *("prompts_label", "prompts_list_dependants", "pipelines_label", "pipelines_list_dependants"),
    *("presets_label", "presets_list_dependants", "presets_get_documents", "presets_get_index"),
    *("presets_replace_documents", "presets_search"),
    *("pipelines_check", "pipelines_format", "pipelines_call", "pipelines_explain"),
    *("executions_list", "executions_get", "executions_cancel"),
}
SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyz"
BASE_URL = "http://127.0.0.1:8000"
PROVIDER_SECRET = "sk-canary-provider-4f1a9c77d2"
OTHER_SECRET = "sk-canary-another-8e02bb65a1"


@dataclass
class Person:
    """A user with a token, and with the client that sends it."""

    id: int
    email: str
    token_id: int
    secret: str
    client: httpx.AsyncClient


@dataclass
class AdminApi:
    """The running application and who calls it."""

    app: FastAPI
    state: State
    anonymous: httpx.AsyncClient
    administrator: Person
    ada: Person
    ben: Person
    # The administrator's token of the scope `proxy`.
    proxy: httpx.AsyncClient

    async def provider(self, name: str = "openai", key: str | None = PROVIDER_SECRET) -> Any:
        """Make a provider over the API and give its view."""
        body = {"name": name, "base_url": f"https://{name}.example.org/v1", "key": key}
        answer = await self.administrator.client.post("/api/v1/providers", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def audit(self) -> list[AuditEntry]:
        """Every act so far."""
        async with self.state.database.read() as session:
            return list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))

    async def actions(self) -> list[str]:
        return [entry.action for entry in await self.audit()]

    async def stored(self) -> bytes:
        """All that the database holds, as text and, where there is a file, as bytes."""
        parts = []
        async with self.state.database.read() as session:
            for table in Base.metadata.sorted_tables:
                parts += [repr(tuple(row)) for row in await session.execute(select(table))]
        path = self.state.database.path
        files = [] if path is None else sorted(path.parent.iterdir())
        return "\n".join(parts).encode() + b"".join(file.read_bytes() for file in files)

    async def sign_in(self, person: Person) -> NewSession:
        """Begin a session, as a sign-in does."""
        async with self.state.database.write() as session:
            return await start_session(session, person.id, ip="127.0.0.1")

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that sends these headers."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(
            transport=transport, base_url=BASE_URL, headers=shown
        ) as client:
            yield client


class NoModels(ModelCalls):
    """Fails whatever asks a model."""

    def __init__(self) -> None:
        pass

    async def ask(self, *_: object, **__: object) -> Answer:
        raise StepFailed("there is no provider here", is_final=True)

    async def forecast(self, *_: object) -> Prediction[Any]:
        raise StepFailed("there is no provider here", is_final=True)

    def quote(self, *_: object) -> None:
        return None


@asynccontextmanager
async def running_admin_api(database_url: str, directory: Path) -> AsyncIterator[AdminApi]:
    """The application over the migrated database at `database_url`."""
    database = Database(database_url)
    cipher = Cipher([SECRET_KEY])
    settings = load_settings(
        data_dir=directory, database_url=database_url, funcs_dir=directory / "funcs"
    )
    parts: dict[str, Any] = {
        "settings": settings,
        "database": database,
        "cipher": cipher,
        "directory": Directory(database, cipher),
        "functions": Functions(database, settings),
        "presets": PresetBook(),
    }
    parts["directory"].read_with(parts["presets"].read)
    models = NoModels()
    # No test here asks a model by way of a preset, or for vectors.
    search = parts["search"] = Search(
        database, parts["directory"], cast(Embedding, None), settings.search_model
    )
    presets = PresetCalls(models, cast(Processing, None), search)
    parts["pipelines"] = Pipelines(
        settings, database, parts["directory"], parts["functions"], models, presets, "test"
    )
    # The gateway and what it needs are not there: none of these resources calls a provider, but for
    # the test of a key, which looks for the key before it sends anything.
    parts["gateway"] = SimpleNamespace(client=None)
    state = State(**(_absent_parts() | parts))
    await state.directory.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        stack.push_async_callback(state.functions.close)
        api = AdminApi(_make_app(state), state, *([None] * 5))  # type: ignore[arg-type] # filled next
        api.anonymous = await stack.enter_async_context(api.client())
        api.administrator = await _person(stack, api, "root@example.org", "administrator")
        api.ada = await _person(stack, api, "ada@example.org", "user")
        api.ben = await _person(stack, api, "ben@example.org", "user")
        secret = await _token(state, api.administrator.id, "proxy")
        await state.directory.refresh()
        api.proxy = await stack.enter_async_context(api.client(authorization=f"Bearer {secret[1]}"))
        yield api


def _absent_parts() -> dict[str, Any]:
    return {
        part.name: None
        for part in fields(State)
        if part.init and part.default is MISSING and part.default_factory is MISSING
    }


def _make_app(state: State) -> FastAPI:
    # As they are, as `aieye serve` has them: to include a router is to build each of its routes once
    # more, which takes longer than most tests.
    app = FastAPI(routes=[*admin.router.routes])
    app.state.aieye = state
    add_error_handlers(app)
    assert_every_route_has_a_policy(app)
    return app


async def _person(stack: AsyncExitStack, api: AdminApi, email: str, role: str) -> Person:
    async with api.state.database.write() as session:
        user = await users.create_user(
            session, email=email, role=role, password_hash=None, actor=SYSTEM
        )
    token_id, secret = await _token(api.state, user.id, "admin")
    client = await stack.enter_async_context(api.client(authorization=f"Bearer {secret}"))
    return Person(user.id, email, token_id, secret, client)


async def _token(state: State, user_id: int, scope: str) -> tuple[int, str]:
    async with state.database.write() as session:
        token, secret = await tokens.create_token(
            session,
            state.directory.digest,
            user_id=user_id,
            name=f"{scope} token",
            scope=scope,
            actor=SYSTEM,
        )
    return token.id, secret


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error object of an answer that has this status."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "code", "param"}
    return error
