"""Presets in the database: names, versions, documents, and the book that keeps them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import users
from aieye.access.audit import SYSTEM, Actor
from aieye.access.authored import UNDO_WITHIN
from aieye.access.cipher import Cipher
from aieye.access.directory import USER, Directory
from aieye.access.names import NameTaken, find_holder
from aieye.db.engine import Database
from aieye.db.tables import Preset as PresetRow
from aieye.db.tables import PresetDocuments
from aieye.db.types import now
from aieye.errors import Conflict, NotFound
from aieye.presets import book, repository, service
from aieye.presets.book import PresetBook
from aieye.presets.documents import check_documents
from aieye.presets.models import Preset, PresetType
from aieye.presets.repository import forget_deleted, load_documents, store_documents

COMPLETION = {"engine_id": "davinci", "prompt": "Q: "}


class Rig:
    """A database, a directory that reads a book of presets along, and one who acts."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.directory = Directory(database, Cipher(["0123456789abcdefghijklmnopqrstuvwxyz"]))
        self.book = PresetBook()
        self.directory.read_with(self.book.read)
        self.ada = Actor(None, "ada", USER)

    async def make(self, name: str, config: Any = COMPLETION, **more: Any) -> Preset:
        type_: PresetType = "search" if "documents" in config else "completion"
        async with self.database.write() as session:
            preset = await service.create_preset(
                session, name=name, type_=type_, config=config, actor=self.ada, **more
            )
        await self.directory.refresh()
        return preset

    async def change(self, uid: str, changes: service.PresetChanges, **more: Any) -> Preset:
        async with self.database.write() as session:
            preset = await service.update_preset(session, uid, changes, actor=self.ada, **more)
        await self.directory.refresh()
        return preset

    async def delete(self, uid: str) -> None:
        async with self.database.write() as session:
            await service.delete_preset(session, uid, actor=self.ada)
        await self.directory.refresh()


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    database = Database(database_url)
    rig = Rig(database)
    async with database.write() as session:
        user = await users.create_user(
            session, email="ada@example.org", role=USER, password_hash=None, actor=SYSTEM
        )
    rig.ada = Actor(user.id, "ada", USER)
    await rig.directory.start()
    yield rig
    await database.close()


async def test_a_preset_is_in_the_book_as_it_runs_and_gone_when_it_is_deleted(rig: Rig) -> None:
    made = await rig.make("answers")
    assert rig.book.find(made.uid) == made
    assert rig.book.find_by_id(made.id) == made
    assert rig.book.find_callable("answers", rig.ada.user_id, is_administrator=False) == made
    assert rig.book.find_callable("answers", 12345, is_administrator=False) is None
    assert rig.book.find_callable("answers", 12345, is_administrator=True) == made
    second = await rig.change(made.uid, {"config": {"engine_id": "ada"}})
    assert (second.version, second.newest) == (2, 2)
    assert rig.book.find(made.uid) == second
    async with rig.database.write() as session:
        await service.label_version(session, made.uid, "production", 1, actor=rig.ada)
    await rig.directory.refresh()
    found = rig.book.find(made.uid)
    assert found is not None
    assert (found.version, found.newest, found.model) == (1, 2, "davinci")
    await rig.delete(made.uid)
    assert rig.book.find(made.uid) is None
    assert rig.book.list_callable(rig.ada.user_id, is_administrator=True) == []


async def test_a_change_of_another_process_is_in_the_book_within_a_second(rig: Rig) -> None:
    other = PresetBook()
    directory = Directory(rig.database, Cipher(["0123456789abcdefghijklmnopqrstuvwxyz"]))
    directory.read_with(other.read)
    await directory.start()
    watching = asyncio.ensure_future(directory.watch())
    try:
        made = await rig.make("answers")
        async with asyncio.timeout(30):
            # Its own reading is over by then: what is cancelled in the middle leaves a connection.
            while directory.current.revision < rig.directory.current.revision:
                await asyncio.sleep(0.02)
        assert other.find(made.uid) == made
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_many_presets_are_read_in_parts_between_which_others_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "_STAMPS_AT_ONCE", 2)
    monkeypatch.setattr(book, "_ROWS_AT_ONCE", 2)
    made = [await rig.make(f"p{number}") for number in range(5)]
    other = PresetBook()
    reads: list[int] = []
    read = repository.rows_of

    async def noted(session: AsyncSession, ids: Iterable[int]) -> Sequence[PresetRow]:
        reads.append(len(list(ids)))
        return await read(session, ids)

    monkeypatch.setattr(book, "rows_of", noted)
    async with rig.database.read() as session:
        await other.read(session)
    assert reads == [2, 2, 1]
    assert [other.find(one.uid) for one in made] == made
    await rig.delete(made[3].uid)
    async with rig.database.read() as session:
        await other.read(session)
    assert other.find(made[3].uid) is None
    assert reads[3:] == []


async def test_any_name_may_be_repeated_and_only_a_free_name_is_held(rig: Rig) -> None:
    first = await rig.make("twice", any_name=True)
    second = await rig.make("twice", any_name=True)
    odd = await rig.make("my preset: \U0001f600", any_name=True)
    reserved = await rig.make("map", any_name=True)
    held = [one.is_callable for one in (first, second, odd, reserved)]
    assert held == [True, False, False, False]
    with pytest.raises(NameTaken):
        await rig.make("twice")
    # The holder goes: nobody takes its place unasked, and whoever is saved next does.
    await rig.delete(first.uid)
    assert rig.book.find_callable("twice", rig.ada.user_id, is_administrator=False) is None
    await rig.change(second.uid, {"name": "twice", "config": COMPLETION}, any_name=True)
    found = rig.book.find_callable("twice", rig.ada.user_id, is_administrator=False)
    assert found is not None
    assert found.uid == second.uid
    # Renamed to what is none of a NAME, it lets go of the one it had.
    await rig.change(second.uid, {"name": "two words"}, any_name=True)
    async with rig.database.read() as session:
        assert await find_holder(session, "twice") is None


async def test_an_id_that_is_carried_over_is_one_presets_at_a_time(rig: Rig) -> None:
    uid = "LSFAz3YBJerddQVL4fIL"
    assert (await rig.make("one", uid=uid)).uid == uid
    with pytest.raises(Conflict, match=uid):
        await rig.make("two", uid=uid)
    await rig.delete(uid)
    assert (await rig.make("three", uid=uid)).uid == uid


async def test_documents_are_stored_once_and_go_some_time_after_the_last_that_has_them(
    rig: Rig,
) -> None:
    config = {"engine_id": "ada", "documents": ["text here", "line\nof two", "\u2028x\r"]}
    one = await rig.make("one", config)
    two = await rig.make("two", config)
    assert one.documents_id == two.documents_id
    assert (one.document_count, one.config) == (3, {"engine_id": "ada"})
    async with rig.database.read() as session:
        assert await load_documents(session, one.documents_id) == config["documents"]
        assert await service.shown_config(session, one) == config
    assert one.documents_id is not None
    await check_documents(rig.database, one.documents_id)
    await rig.delete(one.uid)
    await _forget(rig, now())
    assert await _count(rig) == 1
    await rig.delete(two.uid)
    # Nobody goes on embedding them, but they are there while the deletion can be undone.
    with pytest.raises(NotFound):
        await check_documents(rig.database, one.documents_id)
    await _forget(rig, now() - UNDO_WITHIN)
    assert await _count(rig) == 1
    await _forget(rig, now())
    assert await _count(rig) == 0


async def test_a_deletion_is_undone_within_the_hour_with_all_that_it_had(rig: Rig) -> None:
    config = {"engine_id": "ada", "documents": ["a", "b"]}
    made = await rig.make("answers", config)
    await rig.change(made.uid, {"config": {**config, "documents": ["c"]}})
    await rig.delete(made.uid)
    other = Actor(12345, "other", USER)
    async with rig.database.write() as session:
        with pytest.raises(NotFound):
            await service.restore_preset(session, made.id, actor=other)
        back = await service.restore_preset(session, made.id, actor=rig.ada)
        assert (back.uid, back.is_callable, back.newest) == (made.uid, True, 2)
        first = await service.get_preset(session, made.uid, actor=rig.ada, version=1)
        assert await service.shown_config(session, first) == config
        # What is not deleted has no deletion to undo.
        with pytest.raises(NotFound):
            await service.restore_preset(session, made.id, actor=rig.ada)
    await rig.directory.refresh()
    assert rig.book.find_callable("answers", rig.ada.user_id, is_administrator=False) is not None
    # Its name is another's by now: it is back under its id alone.
    await rig.delete(made.uid)
    await rig.make("answers")
    async with rig.database.write() as session:
        back = await service.restore_preset(session, made.id, actor=rig.ada)
    assert not back.is_callable
    await rig.delete(made.uid)
    async with rig.database.write() as session:
        row = await session.get_one(PresetRow, made.id)
        row.deleted_at = now() - UNDO_WITHIN - timedelta(seconds=1)
    async with rig.database.write() as session:
        with pytest.raises(NotFound, match="can be undone"):
            await service.restore_preset(session, made.id, actor=rig.ada)


async def test_what_a_configuration_does_not_show_it_does_not_take_away(rig: Rig) -> None:
    made = await rig.make("many", {"engine_id": "ada", "documents": ["a"]})
    async with rig.database.write() as session:
        texts = [f"document {number}" for number in range(300)]
        documents_id = await store_documents(session, texts)
        await service.replace_documents(session, made.uid, documents_id, 300, actor=rig.ada)
    kept = await rig.change(made.uid, {"config": {"engine_id": "babbage"}})
    assert (kept.document_count, kept.documents_id, kept.model) == (300, documents_id, "babbage")
    cleared = await rig.change(made.uid, {"config": {"engine_id": "babbage", "documents": []}})
    assert (cleared.document_count, cleared.documents_id) == (0, None)
    async with rig.database.write() as session:
        back = await service.roll_back(session, made.uid, 2, actor=rig.ada)
    assert (back.document_count, back.documents_id, back.version) == (300, documents_id, 5)


async def test_another_users_private_preset_does_not_exist(rig: Rig) -> None:
    made = await rig.make("mine")
    ben = Actor(99_999, "ben", USER)
    async with rig.database.read() as session:
        with pytest.raises(NotFound):
            await service.get_preset(session, made.uid, actor=ben)


async def _forget(rig: Rig, before: datetime) -> None:
    async with rig.database.write() as session:
        await forget_deleted(session, before)


async def _count(rig: Rig) -> int:
    async with rig.database.read() as session:
        return await session.scalar(select(func.count()).select_from(PresetDocuments)) or 0
