"""What makes thousands of clients, engines and sign-ins cheap in a process of the tests.

None of it is under test: to read the certificates of a browser takes longer than most tests do, every
new engine would translate into SQL again what the one before it did, and passwords are slow on purpose.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from httpx._config import create_ssl_context
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from aieye.access import passwords

# As many statements as an engine keeps by itself.
MOST_STATEMENTS = 500


def share_certificates(patch: pytest.MonkeyPatch) -> None:
    """Clients with the same settings for TLS use one context, as connections of one client do."""
    shared = functools.lru_cache(create_ssl_context)
    patch.setattr("httpx._transports.default.create_ssl_context", shared)


def share_statements(patch: pytest.MonkeyPatch) -> None:
    """Engines of one kind find a statement translated that any of them has met before.

    SQLAlchemy keeps translations by dialect: two are as good as one where their class is the same, since
    all engines of a kind are made alike and speak to the same server.
    """
    statements: LRUCache[Any, Any] = LRUCache(MOST_STATEMENTS)

    def use(connection: Connection) -> None:
        connection.engine._compiled_cache = statements

    patch.setattr(DefaultDialect, "__eq__", _is_alike)
    patch.setattr(DefaultDialect, "__hash__", lambda dialect: hash(type(dialect)))
    event.listen(Engine, "engine_connect", use)


def _is_alike(dialect: DefaultDialect, other: object) -> bool:
    return type(dialect) is type(other)


def hash_quickly(patch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed as always, but with as little work as argon2id allows.

    `unit/test_passwords.py` and every `aieye serve` of its own do it as it is done for people.
    """
    hasher = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    patch.setattr(passwords, "_hasher", lambda: PasswordHash((hasher,)))


def quick_hash(password: str) -> str:
    """The hash of a password as `hash_quickly` makes it."""
    return passwords._hasher().hash(password)
