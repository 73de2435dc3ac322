"""What calls must have, as conditions on their rows.

Ids are UUIDs of version 7: their order is that of time, so a window of time is a range of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Text, func, or_, type_coerce

from aieye.db.tables import Call
from aieye.db.types import to_micros
from aieye.ledger.book import CLIENT_LEFT


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilters:
    """What calls must have; None is anything. `since <= time < until`, to the millisecond.

    `model` is the one asked for or the one that answered, `status_class` the status' first digit,
    `has_failed` an error that is not the client's leaving, `tag` a name and its value; latency
    (microseconds) and cost (nano-dollars) are lower bounds. `text` is in what was asked or answered,
    in the error, or is the id, in either case of letters.
    """

    token_id: int | None = None
    user_id: int | None = None
    provider_id: int | None = None
    key_id: int | None = None
    model: str | None = None
    endpoint: str | None = None
    status: int | None = None
    status_class: int | None = None
    cache: str | None = None
    cost_state: str | None = None
    state: str | None = None
    is_stream: bool | None = None
    has_failed: bool | None = None
    pipeline: str | None = None
    run_id: str | None = None
    tag: tuple[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    latency_from_us: int | None = None
    cost_from_nano: int | None = None
    text: str | None = None


def id_at(moment: datetime) -> str:
    """The least id that a call made at `moment` (to the millisecond) can have."""
    return f"{max(0, to_micros(moment) // 1000):012x}".ljust(32, "0")


def id_after(call_id: str) -> str:
    """The least text that is greater than an id."""
    return f"{call_id}0"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the ledger: ids from `start` to before `stop`; None where it has no such end.

    It is one condition an end. Of two on the same column SQLite goes to the place of the first that
    it is given, and from there over every row that the other excludes.
    """

    start: str | None = None
    stop: str | None = None

    @classmethod
    def of(cls, filters: CallFilters) -> Stretch:
        """The window of time that the filters ask for."""
        ends = (filters.since, filters.until)
        return cls(*(None if end is None else id_at(end) for end in ends))

    def narrowed(self, *, start: str | None = None, stop: str | None = None) -> Stretch:
        """What of it lies between these as well."""
        starts = [end for end in (self.start, start) if end is not None]
        stops = [end for end in (self.stop, stop) if end is not None]
        return Stretch(max(starts, default=None), min(stops, default=None))

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        if self.start is not None:
            yield Call.id >= self.start
        if self.stop is not None:
            yield Call.id < self.stop


def indexed(
    filters: CallFilters, owner_id: int | None, ids: Collection[str] | None = None
) -> Iterator[ColumnElement[bool]]:
    """What the primary key and the indexes by token and by user serve, but for the time."""
    if ids is not None:
        yield Call.id.in_(ids)
    if owner_id is not None:
        yield Call.user_id == owner_id
    if filters.user_id is not None:
        yield Call.user_id == filters.user_id
    if filters.token_id is not None:
        yield Call.token_id == filters.token_id


def others(filters: CallFilters, dialect: str) -> Iterator[ColumnElement[bool]]:
    """What no index serves, but for the text."""
    equal: dict[Any, object] = {
        Call.provider_id: filters.provider_id,
        Call.key_id: filters.key_id,
        Call.endpoint: filters.endpoint,
        Call.status: filters.status,
        Call.cache: filters.cache,
        Call.cost_state: filters.cost_state,
        Call.state: filters.state,
        Call.is_stream: filters.is_stream,
        Call.pipeline: filters.pipeline,
        Call.run_id: filters.run_id,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if filters.model is not None:
        yield or_(Call.model == filters.model, Call.model_asked == filters.model)
    if filters.status_class is not None:
        yield Call.status.between(filters.status_class * 100, filters.status_class * 100 + 99)
    if filters.has_failed is not None:
        failed = (Call.status >= 400) & (Call.status != CLIENT_LEFT)
        yield failed if filters.has_failed else ~failed
    if filters.latency_from_us is not None:
        yield Call.latency_us >= filters.latency_from_us
    if filters.cost_from_nano is not None:
        yield Call.cost_nano >= filters.cost_from_nano
    if filters.tag is not None:
        yield _is_tagged(filters.tag, dialect)


def _is_tagged(tag: tuple[str, str], dialect: str) -> ColumnElement[bool]:
    """Whether the compact JSON text of the tags has this member.

    A quote within a JSON text is escaped, so `"name":"value"` behind a comma or brace is a member.
    """
    position = func.instr if dialect == "sqlite" else func.strpos
    member = orjson.dumps({tag[0]: tag[1]}).decode()[1:-1]
    text = type_coerce(Call.tags, Text)
    return or_(position(text, f"{{{member}") > 0, position(text, f",{member}") > 0)
