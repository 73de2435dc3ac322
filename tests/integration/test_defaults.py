"""Which provider serves models that name none, on both databases: as the gateway and people see it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aieye.access import providers
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.defaults import find_default, find_serving
from aieye.access.directory import Directory
from aieye.db.engine import Database


class Installation:
    """Providers, and what a running server with the simulated one at hand makes of them."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.cipher = Cipher(["0123456789abcdefghijklmnopqrstuvwxyz"])
        self.directory = Directory(self.database, self.cipher)

    async def add(self, name: str) -> int:
        async with self.database.write() as session:
            made = await providers.create_provider(
                session, name=name, base_url=f"https://{name}.example", actor=SYSTEM
            )
            return made.id

    async def add_key(self, provider_id: int, secret: str = "sk-0123456789abcdef") -> int:
        async with self.database.write() as session:
            made = await providers.add_key(
                session, self.cipher, provider_id=provider_id, name="k", secret=secret, actor=SYSTEM
            )
            return made.id

    async def switch(self, key_id: int, *, on: bool) -> None:
        async with self.database.write() as session:
            await providers.update_key(session, key_id=key_id, is_active=on, actor=SYSTEM)

    async def mark(self, provider_id: int) -> None:
        async with self.database.write() as session:
            await providers.mark_default(session, provider_id=provider_id, actor=SYSTEM)

    async def default(self) -> str:
        """The name of the provider that serves; both ways of finding it agree."""
        await self.directory.refresh()
        async with self.database.read() as session:
            serving, found = await find_serving(session), await find_default(session)
        default = self.directory.current.default
        assert default is not None
        assert default.is_simulated == self.directory.is_keyless == (serving is None)
        if serving is not None:
            assert found is not None
            assert default.name == serving == found.name
        return default.name


@pytest.fixture
async def installation(database_url: str) -> AsyncIterator[Installation]:
    made = Installation(database_url)
    await made.directory.start()
    made.directory.set_demo("http://127.0.0.1:1/v1", forced=False)
    yield made
    await made.database.close()


async def test_the_simulated_provider_serves_as_long_as_no_other_holds_a_key(
    installation: Installation,
) -> None:
    assert await installation.default() == "demo"
    local = await installation.add("local")
    await installation.mark(local)
    assert await installation.default() == "demo"
    await installation.add_key(local)
    assert await installation.default() == "local"


async def test_a_provider_without_a_key_is_passed_over(installation: Installation) -> None:
    first, openai = await installation.add("first"), await installation.add("openai")
    last = await installation.add("last")
    seen = []
    for provider_id in (last, first, openai):
        await installation.add_key(provider_id)
        seen.append(await installation.default())
    assert seen == ["last", "first", "openai"]
    new = await installation.add("new")
    await installation.mark(new)
    assert await installation.default() == "openai"
    await installation.add_key(new)
    assert await installation.default() == "new"


async def test_what_is_meant_for_a_provider_goes_nowhere_else_when_its_key_is_switched_off(
    installation: Installation,
) -> None:
    own, other = await installation.add("own"), await installation.add("other")
    key_id = await installation.add_key(own)
    await installation.switch(key_id, on=False)
    # Made-up texts are no answer for those who have a provider.
    assert await installation.default() == "own"
    await installation.add_key(other)
    assert await installation.default() == "own"
    await installation.mark(own)
    assert await installation.default() == "own"
