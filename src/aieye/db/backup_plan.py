"""What a backup takes, in which order, how far it is, and the schema it is loaded into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from sqlalchemy import Connection

from aieye.db.archive import Kind
from aieye.db.migrate import script_directory
from aieye.db.tables import Base

# Told how many rows are done, and of how many.
Progress: TypeAlias = Callable[[int, int], None]
# Filled by triggers on other tables: loaded after those, when nothing adds to them any more.
_KEPT_BY_TRIGGERS = frozenset({"cache_totals"})
_KINDS: Mapping[str, Kind] = {"BLOB": "bytes", "BYTEA": "bytes", "BOOLEAN": "boolean"}
_TOLD_EVERY = 500


class Meter:
    """Counts rows and tells how far they are, not at each of them."""

    def __init__(self, total: int, on_progress: Progress) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0

    def step(self) -> None:
        self._done += 1
        if self._done % _TOLD_EVERY == 0:
            self._on_progress(self._done, self._total)

    def finish(self) -> None:
        self._on_progress(self._done, self._total)


def table_names() -> list[str]:
    """Every table, after those that it refers to."""
    names = [str(table.name) for table in Base.metadata.sorted_tables]
    return sorted(names, key=_KEPT_BY_TRIGGERS.__contains__)


def kind_of(declared: str) -> Kind:
    """How the values of a column of this SQL type are written."""
    return _KINDS.get(declared.upper(), "plain")


def upgrade_to(connection: Connection, revision: str) -> None:
    """Run the migrations up to `revision`, or all of them (`head`)."""
    # Alembic takes longer to load than a command may take that makes no use of it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(script_directory()))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
