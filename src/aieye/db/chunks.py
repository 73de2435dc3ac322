"""How much is removed in one transaction: as many rows as whoever waits to write has the time for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Key = TypeVar("Key")


def within(rows: Iterable[tuple[Key, int]], most_bytes: int) -> list[Key]:
    """The keys of the first rows, given with their sizes, that are not more than `most_bytes`
    together; of a row that is larger by itself, that one."""
    keys: list[Key] = []
    for key, size in rows:
        most_bytes -= size
        if keys and most_bytes < 0:
            break
        keys.append(key)
    return keys
