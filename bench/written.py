"""`python -m bench.written DATABASE`: many prompts, presets, pipelines and functions for the pages.

One of each is saved as people save it, in some versions; all others are copies of its rows under names
of their own. So every pipeline calls the same prompt, preset and function: the most that a name can be
in use. The database is one that a server has started on, and nobody uses. SQLite only.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from aieye.access.audit import SYSTEM
from aieye.db.engine import Database
from aieye.functions.registry import registered_definitions
from aieye.pipeline.service import create_pipeline, update_pipeline
from aieye.presets.service import create_preset, update_preset
from aieye.prompts.content import Content
from aieye.prompts.service import create_prompt, update_prompt

_VERSIONS = 5
_PROMPT = Content("Summarise {text} in {count} words.", "gpt-4o-mini", {"temperature": 0.2})
_PRESET = {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Be brief."}]}
_PIPELINE = "param text; bench_preset(bench_prompt(text=uppercase(text), count={count}))"
_FUNCTION = "uppercase"


@dataclass(frozen=True, slots=True)
class _Samples:
    """The numbers of the rows that are copied."""

    prompt: int
    preset: int
    pipeline: int


def main() -> None:
    """Fill the database named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.written", description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("--of-each", type=int, default=10_000)
    asked = parser.parse_args()
    if not asked.database.is_file():
        parser.error(f"{asked.database} is not there: make it with `aieye migrate`.")
    write_many(asked.database, of_each=asked.of_each)


def write_many(database: Path, *, of_each: int) -> None:
    """See that there are that many of each more."""
    samples = asyncio.run(_save(Database(f"sqlite+aiosqlite:///{database}")))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for kind, row_id in (
            ("prompt", samples.prompt), ("preset", samples.preset), ("pipeline", samples.pipeline),
        ):  # fmt: skip
            _copy(connection, kind, row_id, of_each - 1)
        functions = "SELECT id FROM functions WHERE name = ?"
        (function_id,) = connection.execute(functions, (_FUNCTION,)).fetchone()
        _copy(connection, "function", function_id, of_each)
        connection.execute("UPDATE revision SET value = value + 1")
        connection.execute("COMMIT")


async def _save(database: Database) -> _Samples:
    async with database.write() as session:
        prompt = await create_prompt(session, name="bench_prompt", content=_PROMPT, actor=SYSTEM)
        preset = await create_preset(
            session, name="bench_preset", type_="chat", config=_PRESET, actor=SYSTEM
        )
        functions = await registered_definitions(session)
        pipeline = await create_pipeline(
            session, functions, name="bench_pipeline", source=_PIPELINE.format(count=0),
            tags=("bench",), actor=SYSTEM,
        )  # fmt: skip
        for number in range(1, _VERSIONS):
            body = f"{_PROMPT.body} Number {number}."
            await update_prompt(session, prompt.id, {"body": body}, actor=SYSTEM)
            await update_preset(
                session, preset.uid, {"config": {**_PRESET, "temperature": number / 10}},
                actor=SYSTEM,
            )  # fmt: skip
            await update_pipeline(
                session, functions, pipeline.id, {"source": _PIPELINE.format(count=number)},
                actor=SYSTEM,
            )  # fmt: skip
    await database.close()
    return _Samples(prompt.id, preset.id, pipeline.id)


def _copy(connection: sqlite3.Connection, kind: str, row_id: int, count: int) -> None:
    """So many copies of one with its versions, each under the name of the first and its number."""
    (last,) = connection.execute(f"SELECT max(id) FROM {kind}s").fetchone()
    new, named = f"{last} + n", "name || '_' || n"
    changes = {"id": new, "name": named}
    if kind == "preset":
        changes["uid"] = "printf('bench%015d', n)"
    _insert(connection, f"{kind}s", f"id = {row_id}", changes, count)
    _insert(
        connection, "names", f"kind = '{kind}' AND object_id = {row_id}",
        {"object_id": new, "name": named}, count,
    )  # fmt: skip
    if kind != "function":
        for_all = {f"{kind}_id": new}
        _insert(connection, f"{kind}_versions", f"{kind}_id = {row_id}", for_all, count)
    if kind == "pipeline":
        for table in ("pipeline_uses", "pipeline_tags"):
            _insert(connection, table, f"pipeline_id = {row_id}", for_all, count)


def _insert(
    connection: sqlite3.Connection, table: str, where: str, changes: Mapping[str, str], count: int
) -> None:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changes.get(name, f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    connection.execute(
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, numbers WHERE {where}"
    )


if __name__ == "__main__":
    main()
