"""A running service with prompts, functions and pipelines in it, and a model that echoes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from sqlalchemy import select

from aieye.access.sessions import NewSession, start_session
from aieye.db.tables import Execution, ExecutionStep
from aieye.pipeline.executions import list_steps
from tests.fakes import chat
from tests.fakes.upstream import Connection, Received, json_answer
from tests.faults.harness import PATIENCE_SECONDS, Gateway, Json

CALL = "/api/pipeline/call"
FUNCTIONS = """
from aieye.functions import Context, function

@function(inline=True)
def upper(s: str):
    return s.upper()

@function(inline=True)
def fred(a, b, c: int):
    return a + b + c

@function(inline=True)
def bar(x: int):
    return x * 10

@function(inline=True)
def foo(x: int):
    return f"foo:{x}"

@function(inline=True)
def builtin_hi(buddy):
    return f"Hi, {buddy}"

async def ask(text: str, context: Context):
    return await context.complete(text, model="gpt-4o-mini")

async def hello(buddy: str, context: Context):
    return await context.prompt("prompt_buddy", buddy=buddy)

async def who(context: Context):
    return context.run_id

@function(cacheable=True)
async def kept_for_its_caller(context: Context):
    return context.run_id

@function(isolate=False, cacheable=True)
def count(path: str):
    with open(path, "a") as file:
        file.write("x")
    return "counted"

def leave():
    import os
    os._exit(3)

def fail():
    raise ValueError("no luck")
"""


async def echo(request: Received, connection: Connection) -> None:
    """Answer with what the user said."""
    said = chat.last_user_text(request.json)
    await json_answer(200, chat.chat_body(said, usage=chat.usage()))(request, connection)


class House:
    """Saves things as the built-in owner and calls pipelines with the owner's first token."""

    def __init__(self, gateway: Gateway, admin: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.admin = admin
        self._saved = 0

    async def prompt(self, name: str, body: str, **fields: Any) -> Json:
        return await self._post(
            "prompts", {"name": name, "body": body, "model": chat.MODEL, **fields}
        )

    async def pipeline(self, name: str, source: str, **fields: Any) -> int:
        made = await self._post("pipelines", {"name": name, "source": source, **fields})
        id_: int = made["id"]
        return id_

    async def call(
        self,
        pipeline_id: int,
        arguments: Mapping[str, Any] | None = None,
        *,
        query: str = "",
        token: str | None = None,
    ) -> httpx.Response:
        body = {"pipeline_id": pipeline_id, "args": arguments or {}}
        return await self.gateway.ask(body, path=CALL + query, token=token)

    async def value(self, source: str, /, **arguments: Any) -> Any:
        """Save a text, call it, and give its value."""
        self._saved += 1
        id_ = await self.pipeline(f"p_{self._saved}", source)
        answer = await self.call(id_, arguments, query="?typed=1")
        assert answer.status_code == 200, answer.text
        return answer.json()["response"]

    async def latest(self, pipeline_id: int) -> Execution:
        """The newest run of a pipeline, when it is over."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                statement = select(Execution).where(Execution.pipeline_id == pipeline_id)
                async with self.gateway.state.database.read() as session:
                    row = await session.scalar(statement.order_by(Execution.id.desc()).limit(1))
                if row is not None and row.status != "running":
                    return row
                await asyncio.sleep(0.01)

    async def steps(self, run: Execution) -> Sequence[ExecutionStep]:
        async with self.gateway.state.database.read() as session:
            return await list_steps(session, run.id)

    async def sign_in(self, user_id: int) -> NewSession:
        async with self.gateway.state.database.write() as session:
            return await start_session(session, user_id, ip="127.0.0.1")

    async def _post(self, resource: str, body: Json) -> Json:
        answer = await self.admin.post(f"/api/v1/{resource}", json=body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made


def as_session(session: NewSession) -> dict[str, str]:
    """The headers of a script that has signed in."""
    return {
        "cookie": f"csrftoken={session.csrf_token}; sessionid={session.cookie}",
        "x-csrftoken": session.csrf_token,
    }
