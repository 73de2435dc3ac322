"""Migrations: many at once apply each once, and one that fails leaves what was there before."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from aieye.access import users
from aieye.access.audit import SYSTEM, Actor
from aieye.db import migrate as migrations
from aieye.db.engine import Database
from aieye.db.types import now
from aieye.presets import service as presets
from tests.crash.conftest import Aieye, command_environment
from tests.installation import Installation, blocking, query, table_names
from tests.integration.ledger_api import call, running_ledger
from tests.live import LiveServers
from tests.servers import DatabaseKind

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

BROKEN = '''"""{name}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO {name} VALUES (1)")
    op.execute("UPDATE revision SET value = value + 1000")
    with op.batch_alter_table("tokens") as batch:
        batch.add_column(sa.Column("{name}", sa.Integer))
    {end}


def downgrade() -> None:
    pass
'''

FAILING = """

whole_upgrade = upgrade


def upgrade() -> None:
    whole_upgrade()
    raise RuntimeError("no")
"""


def _version(url: str) -> str:
    ((version,),) = query(url, "SELECT version_num FROM alembic_version")
    return str(version)


def _columns(url: str, table: str, kind: DatabaseKind) -> set[str]:
    statement = (
        f"SELECT name FROM pragma_table_info('{table}')"
        if kind == "sqlite"
        else f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
    )
    return {name for (name,) in query(url, statement)}


def test_five_processes_migrate_one_empty_database_at_once(
    empty_database_url: str, aieye: Aieye
) -> None:
    environment = {"AIEYE_DATABASE_URL": empty_database_url}
    with ThreadPoolExecutor(5) as pool:
        results = list(
            pool.map(lambda _: aieye("migrate", environment=environment, timeout=60), range(5))
        )
    assert [result.returncode for result in results] == [0] * 5, [one.stderr for one in results]
    assert sum("was brought to" in result.stderr for result in results) == 1
    assert _version(empty_database_url) == migrations.head_revision()
    # What the migration puts in is there once.
    assert query(empty_database_url, "SELECT count(*) FROM revision") == [(1,)]
    assert query(empty_database_url, "SELECT count(*) FROM cache_totals") == [(1,)]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_three_servers_start_at_once_and_one_makes_the_first_start(
    empty_database_url: str, start_server: LiveServers
) -> None:
    environment = {
        "AIEYE_DATABASE_URL": empty_database_url,
        "AIEYE_SECRET_KEY": "three-servers-0123456789abcdefghijklmnop",
    }
    servers = [start_server.prepare(environment) for _ in range(3)]
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_ready(timeout_seconds=40)
    outputs = "".join(server.output() for server in servers)
    assert len(re.findall(r"/setup\?token=\S+", outputs)) == 1
    assert len(set(re.findall(r"aie_\w{8}_\w{43}_\w{6}", outputs))) == 1
    assert query(empty_database_url, "SELECT count(*) FROM tokens") == [(1,)]


@pytest.fixture
def copied_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's migrations in a directory where a test may add to them."""
    directory = tmp_path / "migrations"
    shutil.copytree(migrations.script_directory(), directory)
    monkeypatch.setattr(migrations, "script_directory", lambda: directory)
    return directory / "versions"


def _add(versions: Path, revision: str, before: str, *, end: str = "pass") -> str:
    name = f"added_{revision}"
    text = BROKEN.format(name=name, revision=revision, before=before, end=end)
    (versions / f"{revision}_{name}.py").write_text(text)
    return name


@pytest.mark.parametrize("failure", ["raise RuntimeError('no')", "op.execute('NO SQL')"])
def test_a_migration_that_fails_half_way_leaves_what_was_before(
    database_url: str, database_kind: DatabaseKind, copied_migrations: Path, failure: str
) -> None:
    before = _version(database_url)
    value = query(database_url, "SELECT value FROM revision")
    good = _add(copied_migrations, "0901", before)
    bad = _add(copied_migrations, "0902", "0901", end=failure)
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the migration's own affair
        migrations.migrate(database_url)
    version = _version(database_url)
    assert version in {before, "0901"}
    applied = version == "0901"
    tables, columns = table_names(database_url), _columns(database_url, "tokens", database_kind)
    assert (good in tables, good in columns) == (applied, applied)
    assert bad not in tables
    assert bad not in columns
    ((now,),) = query(database_url, "SELECT value FROM revision")
    assert now == value[0][0] + 1000 * applied
    # Put right, it goes on from there.
    _add(copied_migrations, "0902", "0901")
    assert migrations.migrate(database_url)
    assert _version(database_url) == "0902"
    assert {good, bad} <= _columns(database_url, "tokens", database_kind)


@only_sqlite
def test_a_file_with_something_in_it_is_copied_before_it_is_migrated(
    database_url: str, copied_migrations: Path
) -> None:
    installation, before = Installation(database_url), _version(database_url)
    users = query(database_url, "SELECT * FROM users")
    added = _add(copied_migrations, "0901", before)
    assert migrations.migrate(database_url)
    (copy,) = _copies(installation.file)
    assert copy.name == f"aieye.db.at-{before}"
    assert copy.stat().st_mode & 0o777 == 0o600
    copied = f"sqlite+aiosqlite:///{copy}"
    assert _version(copied) == before
    assert query(copied, "SELECT * FROM users") == users
    assert query(copied, "PRAGMA integrity_check") == [("ok",)]
    assert added not in table_names(copied)
    assert _version(database_url) == "0901"
    # And once only.
    assert not migrations.migrate(database_url)
    assert _copies(installation.file) == [copy]


@only_sqlite
def test_a_file_with_nothing_in_it_is_not_copied(
    database_url: str, copied_migrations: Path
) -> None:
    _add(copied_migrations, "0901", _version(database_url))
    assert migrations.migrate(database_url)
    assert _copies(Path(database_url.removeprefix("sqlite+aiosqlite:///"))) == []


@only_sqlite
def test_a_file_that_cannot_be_copied_is_not_migrated(
    database_url: str, copied_migrations: Path
) -> None:
    installation, before = Installation(database_url), _version(database_url)
    _add(copied_migrations, "0901", before)
    obstacle = installation.file.with_name(f"aieye.db.at-{before}.building")
    obstacle.mkdir()
    with pytest.raises(migrations.MigrationError, match="could not be copied"):
        migrations.migrate(database_url)
    assert _version(database_url) == before
    obstacle.rmdir()
    assert migrations.migrate(database_url)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_on_postgresql_the_log_names_the_backup_that_nobody_made(
    database_url: str, copied_migrations: Path
) -> None:
    before = _version(database_url)
    _add(copied_migrations, "0901", before)
    with capture_logs() as logged:
        assert migrations.migrate(database_url)
    (told,) = [line for line in logged if line["event"] == "migrated_without_a_copy"]
    assert told["revision"] == before
    assert "aieye backup" in told.values()


def _copies(database: Path) -> list[Path]:
    return sorted(database.parent.glob(f"{database.name}.at-*"))


def test_a_first_migration_that_fails_leaves_an_empty_database(
    empty_database_url: str, copied_migrations: Path
) -> None:
    (first,) = copied_migrations.glob("0001_*.py")
    text = first.read_text()
    first.write_text(text + FAILING)
    with pytest.raises(RuntimeError):
        migrations.migrate(empty_database_url)
    assert [name for name in table_names(empty_database_url) if name != "alembic_version"] == []
    first.write_text(text)
    assert migrations.migrate(empty_database_url)
    assert _version(empty_database_url) == migrations.head_revision()


def test_a_migration_that_is_killed_is_begun_again(
    empty_database_url: str, tmp_path: Path, aieye: Aieye
) -> None:
    environment = {"AIEYE_DATABASE_URL": empty_database_url}
    killed_half_way = 0
    for size in (1_000, 10_000, 40_000, 80_000, 120_000, 160_000):
        process = subprocess.Popen(
            [sys.executable, "-m", "aieye", "migrate"],
            cwd=tmp_path,
            env=command_environment(tmp_path, environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # As soon as that much of it is there.
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            if _has_begun(empty_database_url, size):
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        is_done = "revision" in table_names(empty_database_url)
        killed_half_way += process.wait() == -signal.SIGKILL and not is_done
    assert killed_half_way >= 1
    result = aieye("migrate", environment=environment)
    assert result.returncode == 0, result.stderr
    assert _version(empty_database_url) == migrations.head_revision()
    assert query(empty_database_url, "SELECT count(*) FROM revision") == [(1,)]


WRITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""


def _has_begun(url: str, size: int) -> bool:
    if not url.startswith("sqlite"):
        # Nobody else sees what it has written, only that it is writing.
        return query(url, WRITING) != [(0,)]
    directory = Path(url.removeprefix("sqlite+aiosqlite:///")).parent
    sizes = []
    for file in directory.glob("aieye.db*"):
        # The log comes and goes with its last connection.
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sum(sizes) > size


def test_a_database_of_a_newer_version_is_left_alone(
    database_url: str, aieye: Aieye, start_server: LiveServers
) -> None:
    query(database_url, "UPDATE alembic_version SET version_num = '9999'")
    environment = {"AIEYE_DATABASE_URL": database_url}
    result = aieye("migrate", environment=environment)
    assert result.returncode not in {0, 1}
    assert "9999" in result.stderr
    assert "Traceback" not in result.stderr
    server = start_server.prepare(environment)
    server.launch()
    assert server.wait() not in {0, 1}
    assert "Traceback" not in server.output()
    assert _version(database_url) == "9999"


def test_what_presets_asked_before_that_was_summed_counts_for_their_newest_version(
    database_url: str,
) -> None:
    blocking(_ask_through_presets(database_url))
    blocking(_downgrade(database_url, "0011"))
    assert "preset_uses" not in table_names(database_url)
    assert migrations.migrate(database_url)
    found = query(
        database_url,
        "SELECT number, calls, unpriced, cost_nano, saved_nano FROM preset_uses ORDER BY bucket",
    )
    # A day before today one call, and today three with other tags beside or without.
    assert found == [(2, 1, 0, 5, 0), (2, 3, 1, 12, 7)]


async def _ask_through_presets(url: str) -> None:
    """Calls of a preset with two versions, of one that is none, and of nobody's."""
    database = Database(url)
    async with database.write() as session:
        ada = await users.create_first_administrator(
            session, email="ada@example.org", password_hash="x", actor=SYSTEM
        )
        actor = Actor(ada.id, "ada", "administrator")
        made = await presets.create_preset(
            session, name="brief", type_="chat", config={"model": "m"}, actor=actor
        )
        await presets.update_preset(
            session, made.uid, {"config": {"model": "m", "temperature": 0.5}}, actor=actor
        )
    of_it = {"preset": made.uid}
    async with running_ledger(database) as ledger:
        await ledger.settle(
            call(now() - timedelta(days=1), tags=of_it, cost_nano=5),
            call(tags=of_it, cost_nano=12),
            call(tags={"team": "x", **of_it}, cost_nano=None, cost_state="unknown"),
            call(tags={**of_it, "team": "y"}, cost_nano=0, saved_nano=7),
            call(tags={"preset": "AnotherOfNobody"}),
            call(tags={"team": '"preset":"' + made.uid}),
            call(),
        )
    await database.close()


async def _downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.script_directory()))

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)

    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()
