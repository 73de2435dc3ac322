"""Backup and restore: what was there is there again, on either database, or nothing has changed."""

from __future__ import annotations

import asyncio
import io
import shutil
import stat
import zipfile
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import Boolean, Column, Integer, LargeBinary, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aieye.db import migrate as migrations
from aieye.db.archive import ArchiveWriter
from aieye.db.backup import BackupError, DatabaseInUse, InvalidBackup, backup, check, restore
from aieye.db.exclusive import ServeLock
from aieye.db.tables import Base, User
from aieye.db.types import Json, UtcTime, now
from tests.servers import DATABASE_KINDS, DatabaseKind, Databases

ROWS = 3
Export = Mapping[str, Sequence[tuple[Any, ...]]]
START = now()

Result = TypeVar("Result")


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it in a thread of its own, so that it works inside a progress callback as well."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


def _value(column: Column[Any], row: int) -> object:
    """Something of the column's type, different for each row; NULL in the last where it may be."""
    kind = column.type
    for reference in column.foreign_keys:
        return _value(reference.column, row)
    if column.primary_key and isinstance(kind, Integer):
        return row
    if column.nullable and row == ROWS:
        return None
    if isinstance(kind, UtcTime):
        return START + timedelta(microseconds=row)
    if isinstance(kind, Json):
        return {"row": row, "text": "é\u2028\N{PILE OF POO}\n", "null": None}
    if isinstance(kind, Boolean):
        return bool(row % 2)
    if isinstance(kind, LargeBinary):
        return bytes(range(256)) * row
    if isinstance(kind, Integer):
        return 30_000 + row
    return f"{column.name} {row}"[: getattr(kind, "length", None)]


async def _in_database(url: str, *statements: Any) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(statement)
    finally:
        await engine.dispose()


def _execute(url: str, *statements: Any) -> None:
    _run(_in_database(url, *statements))


def _fill(url: str) -> None:
    """Some rows in every table."""
    tables = Base.metadata.sorted_tables
    _execute(
        url,
        *(table.delete() for table in reversed(tables)),
        *(
            table.insert().values({column.name: _value(column, row) for column in table.columns})
            for table in tables
            for row in range(1, ROWS + 1)
        ),
    )


async def _exported(url: str) -> Export:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return {
                table.name: sorted(
                    (tuple(row) for row in await connection.execute(select(table))), key=repr
                )
                for table in Base.metadata.sorted_tables
            }
    finally:
        await engine.dispose()


def _export(url: str) -> Export:
    """All rows of all tables."""
    return _run(_exported(url))


def _lose(url: str) -> None:
    """Everything in the database is gone, its schema included."""
    if url.startswith("sqlite"):
        for file in _file(url).parent.iterdir():
            file.unlink()
    else:
        _execute(url, text("DROP SCHEMA public CASCADE"), text("CREATE SCHEMA public"))


def _file(url: str) -> Path:
    return Path(make_url(url).database or "")


def test_what_was_backed_up_is_back_after_everything_was_lost(
    database_url: str, tmp_path: Path
) -> None:
    _fill(database_url)
    before = _export(database_url)
    assert all(len(rows) == ROWS for rows in before.values())
    file = backup(database_url, tmp_path)
    _lose(database_url)
    restore(database_url, file)
    assert _export(database_url) == before


def test_a_restore_replaces_what_was_there(database_url: str, tmp_path: Path) -> None:
    empty = _export(database_url)
    file = backup(database_url, tmp_path)
    _fill(database_url)
    restore(database_url, file)
    assert _export(database_url) == empty


@pytest.mark.parametrize("target", DATABASE_KINDS)
def test_a_backup_of_one_kind_of_database_goes_into_the_other(
    database_url: str, databases: Databases, target: DatabaseKind, tmp_path: Path
) -> None:
    _fill(database_url)
    file = backup(database_url, tmp_path)
    with databases.empty(target) as other:
        restore(other, file)
        assert _export(other) == _export(database_url)


def test_ids_go_on_after_the_highest(database_url: str, tmp_path: Path) -> None:
    _fill(database_url)
    file = backup(database_url, tmp_path)
    _lose(database_url)
    restore(database_url, file)
    _execute(database_url, insert(User).values(email="new", role="user"))
    assert {row[0] for row in _export(database_url)["users"]} == {1, 2, 3, 4}


def test_the_cache_is_counted_on_after_a_restore(database_url: str, tmp_path: Path) -> None:
    _fill(database_url)
    restore(database_url, backup(database_url, tmp_path))
    before = _export(database_url)["cache_totals"]
    _execute(database_url, text("DELETE FROM cache_entries WHERE id = 1"))
    after = _export(database_url)["cache_totals"]
    assert [entries for _, entries, _ in after] == [entries - 1 for _, entries, _ in before]


def test_a_backup_is_of_one_moment_although_others_write(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(database_url)
    before = _export(database_url)
    seen: list[tuple[int, int]] = []

    def write_meanwhile(done: int, total: int) -> None:
        if not seen:
            _execute(database_url, text("DELETE FROM usage_rollups"))
        seen.append((done, total))

    monkeypatch.setattr("aieye.db.backup_plan._TOLD_EVERY", 1)
    file = backup(database_url, tmp_path, write_meanwhile)
    total = ROWS * len(before)
    assert seen[0] == (1, total)
    assert seen[-1] == (total, total)
    assert _export(database_url)["usage_rollups"] == []
    restore(database_url, file)
    assert _export(database_url) == before


def test_a_backup_is_its_owners_alone_and_nothing_else_is_left(
    database_url: str, tmp_path: Path
) -> None:
    files = [backup(database_url, tmp_path) for _ in range(2)]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_backup_that_fails_leaves_no_file(empty_database_url: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError):
        backup(empty_database_url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_check_tells_what_the_backup_holds(database_url: str, tmp_path: Path) -> None:
    _fill(database_url)
    manifest = check(backup(database_url, tmp_path))
    assert manifest.rows == ROWS * len(Base.metadata.tables)
    assert manifest.schema == migrations.head_revision()
    assert manifest.database == make_url(database_url).get_backend_name()


def test_a_damaged_file_is_refused_and_changes_nothing(database_url: str, tmp_path: Path) -> None:
    _fill(database_url)
    before = _export(database_url)
    good = backup(database_url, tmp_path).read_bytes()
    changed = _with_a_changed_byte(good)
    file = tmp_path / "damaged.zip"
    for damaged in (*_cut_short(good), *changed, b"no zip"):
        file.write_bytes(damaged)
        with pytest.raises(InvalidBackup):
            check(file)
    # A restore costs more than a check: one of each is tried.
    for damaged in (_cut_short(good)[-1], changed[len(changed) // 2], b"no zip"):
        file.write_bytes(damaged)
        with pytest.raises(InvalidBackup):
            restore(database_url, file)
    assert _export(database_url) == before


def _cut_short(good: bytes) -> list[bytes]:
    return [good[:length] for length in range(0, len(good), len(good) // 10)]


def _with_a_changed_byte(good: bytes) -> list[bytes]:
    """Damage to what each part of the zip holds, as a bad disk does it."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        # Before the content come 30 bytes, the name, and 20 bytes for files of any length.
        places = [
            info.header_offset + 50 + len(info.filename) + info.compress_size // 2
            for info in archive.infolist()
        ]
    return [good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :] for place in places]


def test_a_file_that_is_not_there_is_said_so(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidBackup, match=r"missing\.zip"):
        restore(database_url, tmp_path / "missing.zip")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "9999"}, "schema 9999 is not known"),
        ({"format_version": 2}, "newer AI-Eye"),
        ({"format": "tar"}, "not a backup"),
        ({"tables": {"users; DROP TABLE users": {"columns": {}, "rows": 0, "sha256": ""}}}, "not"),
    ],
)
def test_a_file_of_another_version_or_make_is_refused(
    database_url: str, tmp_path: Path, changes: Mapping[str, object], said: str
) -> None:
    file = backup(database_url, tmp_path)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "manifest.json":
                content = orjson.dumps({**orjson.loads(content), **changes})
            new.writestr(name, content)
    with pytest.raises(InvalidBackup, match=said):
        restore(database_url, other)


def test_rows_that_refer_to_nothing_are_refused_and_change_nothing(
    database_url: str, tmp_path: Path
) -> None:
    _fill(database_url)
    before = _export(database_url)
    file = tmp_path / "broken.zip"
    schema = migrations.head_revision()
    with file.open("wb") as out, ArchiveWriter(out, schema=schema, database="sqlite") as writer:
        with writer.table("provider_keys", _columns("provider_keys")) as add:
            add([1, 99, "orphan", None, "", True, None, 0, 0])
        with writer.table("providers", _columns("providers")):
            pass
        writer.finish()
    with pytest.raises(BackupError):
        restore(database_url, file)
    assert _export(database_url) == before


def _columns(table: str) -> dict[str, Any]:
    names = Base.metadata.tables[table].columns.keys()
    return {name: "boolean" if name.startswith("is_") else "plain" for name in names}


def test_an_older_backup_is_brought_to_the_present_schema(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(database_url)
    before = _export(database_url)
    file = backup(database_url, tmp_path)
    _add_a_migration(tmp_path / "migrations", monkeypatch)
    restore(database_url, file)
    # Nothing but the new column has changed; every former row got its value.
    assert _export(database_url) == before
    wrong = text("UPDATE users SET name = 'not migrated' WHERE motto <> 'none yet'")
    _execute(database_url, wrong)
    assert _export(database_url) == before


def _add_a_migration(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(migrations.script_directory(), directory)
    newest = migrations.head_revision()
    (directory / "versions" / f"{int(newest) + 1:04}_motto.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '{int(newest) + 1:04}', '{newest}'\n"
        "def upgrade():\n"
        "    column = sa.Column('motto', sa.Text(), nullable=False, server_default='none yet')\n"
        "    op.add_column('users', column)\n"
    )
    monkeypatch.setattr(migrations, "_IN_PROJECT", directory)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_nothing_is_restored_under_a_running_server_on_sqlite(
    database_url: str, tmp_path: Path
) -> None:
    file = backup(database_url, tmp_path)
    _fill(database_url)
    before = _export(database_url)
    with ServeLock(_file(database_url)), pytest.raises(DatabaseInUse, match="stop it first"):
        restore(database_url, file)
    assert _export(database_url) == before
    restore(database_url, file)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_nothing_is_restored_while_somebody_is_connected_to_postgresql(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.db.backup_postgresql._PATIENCE_SECONDS", 0.2)
    file = backup(database_url, tmp_path)
    _fill(database_url)

    async def restore_while_connected() -> Export:
        engine = create_async_engine(database_url, poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            with pytest.raises(DatabaseInUse, match="stop the servers"):
                await asyncio.to_thread(restore, database_url, file)
        await engine.dispose()
        return await _exported(database_url)

    assert _run(restore_while_connected())["users"] != []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_replaced_file_is_kept_whole_beside_the_new_one(
    database_url: str, tmp_path: Path
) -> None:
    file = backup(database_url, tmp_path)
    _fill(database_url)
    before = _export(database_url)
    kept = restore(database_url, file)
    assert kept is not None
    assert kept.parent == _file(database_url).parent
    assert _export(f"sqlite+aiosqlite:///{kept}") == before


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_damaged_database_is_replaced(database_url: str, tmp_path: Path) -> None:
    _fill(database_url)
    before = _export(database_url)
    file = backup(database_url, tmp_path)
    _file(database_url).write_bytes(b"damaged" * 1_000)
    restore(database_url, file)
    assert _export(database_url) == before
