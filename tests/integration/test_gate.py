"""One writer at a time on a SQLite file, whatever SQLite is linked: no lock error, no damage."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from aieye.db import engine as engines
from aieye.db.engine import Database
from aieye.db.gate import WriteGate
from tests.integration.ledger_api import call, running_ledger

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

# Another process: it takes the gate, says so, and holds it until its input ends.
HOLDER = """
import sys
from pathlib import Path
from aieye.db.gate import WriteGate
with WriteGate(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""
# Another process that writes as the service does, and folds the log back with every commit.
WRITER = """
import asyncio, sys
from sqlalchemy import text
from aieye.db import engine
engine.CHECKPOINT_PAGES = 1
async def write():
    database = engine.Database(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        async with database.write() as session:
            await session.execute(text("UPDATE revision SET value = value + 1"))
    await database.close()
asyncio.run(write())
"""


def _process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


def test_threads_take_the_gate_one_after_the_other(tmp_path: Path) -> None:
    gate = WriteGate(tmp_path / "aieye.db")
    inside, most = 0, 0
    counting = threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most
        with gate.held():
            with counting:
                inside += 1
                most = max(most, inside)
            time.sleep(0.001)
            with counting:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(80)))
    assert (inside, most) == (0, 1)
    gate.close()


def test_a_process_keeps_others_out_for_as_long_as_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "aieye.db"
    gate = WriteGate(path)
    with _process(HOLDER, str(path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not gate.try_acquire()
        holder.kill()
        holder.wait()
        # The lock dies with its process, however it ends.
        assert gate.try_acquire()
        gate.release()
    gate.close()


async def test_the_event_loop_never_waits_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "aieye.db"
    gate = WriteGate(path)
    with _process(HOLDER, str(path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        async def write() -> None:
            async with gate.held_async():
                pass

        writing = asyncio.create_task(write())
        lags = []
        for _ in range(20):
            started = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append(time.monotonic() - started)
        assert not writing.done()
        # Other work on the machine makes some late, never nearly all.
        assert sorted(lags)[4] < 0.05
        holder.communicate("")
        await asyncio.wait_for(writing, 20)
    gate.close()


async def test_a_writer_that_gives_up_waiting_leaves_the_gate_free(tmp_path: Path) -> None:
    gate = WriteGate(tmp_path / "aieye.db")

    async def write() -> None:
        async with gate.held_async():
            await asyncio.sleep(10)

    first = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    for task in (waiting, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert gate.try_acquire()
    gate.release()
    gate.close()


@only_sqlite
async def test_writers_of_two_processes_and_a_long_reader_meet_no_lock_and_do_no_damage(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each commit folds the log back: the moment in which SQLite before 3.51.3 could do damage.
    monkeypatch.setattr(engines, "CHECKPOINT_PAGES", 1)
    database = Database(database_url)
    assert database.path is not None
    reader = sqlite3.connect(database.path)
    reader.execute("BEGIN")
    (before,) = reader.execute("SELECT value FROM revision").fetchone()
    own, others = 100, 100

    async def write() -> None:
        async with database.write() as session:
            await session.execute(text("UPDATE revision SET value = value + 1"))

    with _process(WRITER, database_url, str(others)) as writer:
        await asyncio.gather(*(write() for _ in range(own)))
        assert writer.wait(60) == 0
    assert reader.execute("SELECT value FROM revision").fetchone() == (before,)
    reader.close()
    async with database.read() as session:
        assert await session.scalar(text("SELECT value FROM revision")) == before + own + others
        assert await session.scalar(text("PRAGMA integrity_check")) == "ok"
    await database.close()


@only_sqlite
async def test_administrators_changes_and_the_ledger_both_wait_for_the_gate(
    database_url: str,
) -> None:
    database = Database(database_url)
    async with running_ledger(database) as ledger:

        async def change() -> None:
            async with database.write() as session:
                await session.execute(text("UPDATE revision SET value = value + 1"))

        with _process(HOLDER, str(database.path)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            writing = [asyncio.create_task(change()), asyncio.create_task(ledger.settle(call()))]
            done, _ = await asyncio.wait(writing, timeout=0.3)
            assert done == set()
            # Looking needs no gate.
            async with database.read() as session:
                assert await session.scalar(text("SELECT count(*) FROM calls")) == 0
            holder.communicate("")
            await asyncio.wait_for(asyncio.gather(*writing), 5)
        async with database.read() as session:
            assert await session.scalar(text("SELECT count(*) FROM calls")) == 1
    await database.close()


@only_sqlite
async def test_commits_fold_the_log_back_themselves(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "CHECKPOINT_PAGES", 1)
    database = Database(database_url)
    assert database.path is not None
    log = database.path.with_name(database.path.name + "-wal")
    for _ in range(100):
        async with database.write() as session:
            await session.execute(text("UPDATE revision SET value = value + 1"))
    # Nothing that runs outside the gate has to shorten it.
    assert log.stat().st_size < 50 * 4_096
    await database.close()
