"""Where rows go and in which groups they are written: what the group writer gives its backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, Protocol

from sqlalchemy import Table

Row = tuple[Any, ...]


class Refused(Exception):
    """The database is there and does not accept what it was given."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where rows go: a table, its columns in the rows' order, and what a known key means.

    `replace`: the row takes the other's place; `ignore`: the first one stays; `add`: the columns
    that are not the key are summed. `prepare` makes a row ready to be written: away from the event
    loop, since it may take its time.
    """

    table: Table
    columns: tuple[str, ...]
    key: tuple[str, ...]
    mode: Literal["replace", "ignore", "add"]
    prepare: Callable[[Row], Row] | None = None

    @property
    def key_indexes(self) -> tuple[int, ...]:
        return tuple(self.columns.index(name) for name in self.key)

    def conflict_clause(self) -> str:
        """`ON CONFLICT …`, alike on both databases."""
        rest = [name for name in self.columns if name not in self.key]
        where = f" ON CONFLICT ({', '.join(self.key)})"
        if self.mode == "ignore" or not rest:
            return f"{where} DO NOTHING"
        own = "" if self.mode == "replace" else f"{self.table.name}.%s + "
        changes = ", ".join(f"{name} = {own % name if own else ''}excluded.{name}" for name in rest)
        return f"{where} DO UPDATE SET {changes}"


Batch = dict[Target, dict[Any, Any]]
Groups = Sequence[tuple[Target, list[Row]]]


class Backend(Protocol):
    """Writes a batch in one transaction, durable when `write` is done."""

    async def start(self) -> None: ...

    async def write(self, batch: Groups) -> None: ...

    async def close(self) -> None: ...


def rows_of(target: Target, kept: dict[Any, Any]) -> list[Row]:
    """What was put for a target, or added up, as rows."""
    if target.mode != "add":
        return list(kept.values())
    return [(*key, *amounts) for key, amounts in kept.items()]


def in_lock_order(groups: Groups) -> Groups:
    """The groups by their tables' names, and their rows by their keys: processes that lock the same
    rows do so in one order, and none waits for another in turn."""
    return [
        (target, sorted(rows, key=itemgetter(*target.key_indexes)))
        for target, rows in sorted(groups, key=lambda group: group[0].table.name)
    ]


def prepared(groups: Groups) -> Groups:
    """The groups with their rows made ready."""
    return [
        (target, rows if target.prepare is None else [target.prepare(row) for row in rows])
        for target, rows in groups
    ]
