"""A running service with searches in it, and a provider whose vectors mean something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from aieye.access.audit import SYSTEM
from aieye.db.tables import DocumentVector
from aieye.demo.embeddings import embed
from aieye.presets import service
from aieye.presets.embedding import Payer
from aieye.presets.fields import MOST_DOCUMENTS
from aieye.presets.models import Preset
from aieye.presets.repository import store_documents
from aieye.presets.search import Found
from tests.fakes import chat
from tests.fakes.upstream import Connection, FakeUpstream, Received, json_answer
from tests.faults.harness import Gateway

DIMENSIONS = 64
ENGINE = "text-embedding-3-small"


async def librarian(request: Received, connection: Connection) -> None:
    """Answers vectors in which texts that share words are near."""
    texts = inputs(request)
    vectors = [embed(text, DIMENSIONS).tolist() for text in texts]
    is_base64 = request.json.get("encoding_format") == "base64"
    answer = chat.embedding_body(vectors, model=request.json["model"], encoded=is_base64)
    await json_answer(200, answer, key="embedded")(request, connection)


def inputs(request: Received) -> list[str]:
    """The texts that a request has."""
    given = request.json["input"]
    return [given] if isinstance(given, str) else list(given)


def asked(upstream: FakeUpstream) -> list[list[str]]:
    """The texts of each request that came in, in the order of their arrival."""
    return [inputs(request) for request in upstream.requests]


class Library:
    """Makes searches and asks them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def make(self, documents: Sequence[str], engine: str = ENGINE) -> Preset:
        """A search; of more documents than a configuration holds, as if they came as a file."""
        state = self.gateway.state
        few = list(documents[:MOST_DOCUMENTS])
        config = {"engine_id": engine, "documents": few}
        async with state.database.write() as session:
            preset = await service.create_preset(
                session, name="a search", type_="search", config=config, actor=SYSTEM,
                any_name=True,
            )  # fmt: skip
            if len(documents) > len(few):
                id_ = await store_documents(session, documents)
                preset = await service.replace_documents(
                    session, preset.uid, id_, len(documents), actor=SYSTEM
                )
        await state.directory.refresh()
        return preset

    async def delete(self, preset: Preset) -> None:
        async with self.gateway.state.database.write() as session:
            await service.delete_preset(session, preset.uid, actor=SYSTEM)
        await self.gateway.state.directory.refresh()

    def payer(self, token: str | None = None) -> Payer:
        grant = self.gateway.state.directory.find_grant(token or self.gateway.token)
        assert grant is not None
        return Payer(grant)

    async def search(self, preset: Preset, text: str, **more: Any) -> Found:
        payer = more.pop("payer", None) or self.payer()
        return await self.gateway.state.search.run(preset, text, payer, **more)

    async def vectors(self) -> int:
        """How many are stored."""
        async with self.gateway.state.database.read() as session:
            return await session.scalar(select(func.count()).select_from(DocumentVector)) or 0
