"""An installation made beforehand, so that a live server starts with known tokens and providers.

It is written with the product's own services over the test's database, and read back in plain SQL:
what a crashed or stopped server left is looked at without any of the server's code.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from aieye.access import providers, tokens, users
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.directory import load_pepper
from aieye.access.secrets import digest
from aieye.db.engine import Database
from aieye.presets.models import PresetType
from aieye.presets.service import create_preset

SECRET_KEY = "test-installation-0123456789abcdefghijklmnop"
ADMINISTRATOR_EMAIL = "root@example.org"

# Rows that nobody sees, since they are deleted.
_PLACEHOLDERS = {
    "users": "(id, email, name, role, is_active, is_builtin, created_at, updated_at, deleted_at)"
    " VALUES ({id}, 'gone', '', 'user', false, false, 0, 0, 0)",
    "tokens": "(id, user_id, name, prefix, digest, scope, cache_namespace, cache_enabled,"
    " created_at, updated_at, deleted_at)"
    " VALUES ({id}, {id}, 'gone', '', '', 'proxy', 'default', false, 0, 0, 0)",
    "providers": "(id, name, base_url, is_default, created_at, updated_at, deleted_at)"
    " VALUES ({id}, 'gone', '', false, 0, 0, 0)",
    "provider_keys": "(id, provider_id, name, last4, is_active, created_at, updated_at, deleted_at)"
    " VALUES ({id}, {id}, 'gone', '', false, 0, 0, 0)",
}

Result = TypeVar("Result")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Made:
    """A token just made: its id and the secret that clients send."""

    id: int
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


class Installation:
    """A migrated database with an administrator in it. All methods block, from whatever thread."""

    def __init__(self, database_url: str, *, secret_key: str = SECRET_KEY) -> None:
        self.database_url = database_url
        self.secret_key = secret_key
        self.administrator_id = self._change(self._add_administrator)

    @property
    def environment(self) -> dict[str, str]:
        """What `aieye` needs to run on it."""
        return {"AIEYE_DATABASE_URL": self.database_url, "AIEYE_SECRET_KEY": self.secret_key}

    @property
    def is_sqlite(self) -> bool:
        return make_url(self.database_url).get_backend_name() == "sqlite"

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return Path(make_url(self.database_url).database or "")

    def add_token(
        self, scope: str = "proxy", *, name: str = "test", user_id: int | None = None, **more: Any
    ) -> Made:
        """A token, of the administrator if nobody is named."""

        async def add(session: AsyncSession, _cipher: Cipher, pepper: bytes) -> Made:
            token, secret = await tokens.create_token(
                session,
                lambda text: digest(pepper, text),
                user_id=user_id or self.administrator_id,
                name=name,
                scope=scope,
                actor=SYSTEM,
                **more,
            )
            return Made(token.id, secret)

        return self._change(add)

    def add_preset(self, name: str, type_: PresetType, config: dict[str, Any]) -> str:
        """A preset of the administrator's that everybody may use; its id."""

        async def add(session: AsyncSession, _cipher: Cipher, _pepper: bytes) -> str:
            made = await create_preset(
                session, name=name, type_=type_, config=config, shared=True, actor=SYSTEM
            )
            return made.uid

        return self._change(add)

    def add_user(self, email: str, *, role: str = "user") -> int:
        """A user without a password; the id."""

        async def add(session: AsyncSession, _cipher: Cipher, _pepper: bytes) -> int:
            user = await users.create_user(
                session, email=email, role=role, password_hash=None, actor=SYSTEM
            )
            return user.id

        return self._change(add)

    def add_provider(self, base_url: str, key: str, *, name: str = "openai") -> int:
        """A provider with one key; its id."""

        async def add(session: AsyncSession, cipher: Cipher, _pepper: bytes) -> int:
            provider = await providers.create_provider(
                session, name=name, base_url=base_url, actor=SYSTEM
            )
            await providers.add_key(
                session, cipher, provider_id=provider.id, name="test", secret=key, actor=SYSTEM
            )
            return provider.id

        return self._change(add)

    def add_keys(self, provider_id: int, secrets: Sequence[str]) -> None:
        """More keys of a provider, all at once."""

        async def add(session: AsyncSession, cipher: Cipher, _pepper: bytes) -> None:
            for secret in secrets:
                await providers.add_key(
                    session,
                    cipher,
                    provider_id=provider_id,
                    name="test",
                    secret=secret,
                    actor=SYSTEM,
                )

        self._change(add)

    def start_ids_at(self, first: int) -> None:
        """From now on users, tokens, providers and keys are numbered from there on."""
        for table in ("users", "tokens", "providers", "provider_keys"):
            if self.is_sqlite:
                # Tables without a sequence go on from their highest id: a deleted row keeps it.
                self.execute(f"INSERT INTO {table} {_PLACEHOLDERS[table].format(id=first)}")
            else:
                self.execute(f"ALTER SEQUENCE {table}_id_seq RESTART WITH {first + 1}")

    def query(self, statement: str, **values: Any) -> list[Row]:
        """The rows of a statement in SQL."""
        return query(self.database_url, statement, **values)

    def execute(self, statement: str, **values: Any) -> None:
        """Run a statement that gives no rows, and commit."""
        query(self.database_url, statement, **values)

    def _change(
        self, work: Callable[[AsyncSession, Cipher, bytes], Coroutine[Any, Any, Result]]
    ) -> Result:
        async def change() -> Result:
            database = Database(self.database_url)
            cipher = Cipher([key.strip() for key in self.secret_key.split(",")])
            try:
                pepper = await load_pepper(database, cipher)
                async with database.write() as session:
                    return await work(session, cipher, pepper)
            finally:
                await database.close()

        return blocking(change())

    @staticmethod
    async def _add_administrator(session: AsyncSession, _cipher: Cipher, _pepper: bytes) -> int:
        user = await users.create_first_administrator(
            session, email=ADMINISTRATOR_EMAIL, password_hash="", actor=SYSTEM
        )
        return user.id


def query(url: str, statement: str, **values: Any) -> list[Row]:
    """The rows of a statement in SQL, none for one that gives none; committed."""

    async def run() -> list[Row]:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                result = await connection.execute(text(statement), values)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            await engine.dispose()

    return blocking(run())


def blocking(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, whether or not an event loop runs here."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


def call_id(headers: Mapping[str, str]) -> str:
    """The ledger's id of the call that was answered with these headers."""
    found = re.fullmatch(r"req_([0-9a-f]{32})", headers["x-request-id"])
    assert found is not None, headers
    return found[1]


def table_names(url: str) -> Sequence[str]:
    """All tables of a database."""
    statement = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        if make_url(url).get_backend_name() == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    return sorted(name for (name,) in query(url, statement))
