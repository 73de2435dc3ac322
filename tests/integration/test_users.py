"""Users, on both databases: the owner, the first administrator, and that one always remains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import sessions, users
from aieye.access.audit import SYSTEM, Actor
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.access.tokens import create_token
from aieye.db.engine import Database
from aieye.db.tables import AuditEntry, Revision, Token, User
from aieye.errors import AieyeError, Conflict, Forbidden, NotFound, Unprocessable

HASH = "$argon2id$not a real one"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def _add(session: AsyncSession, email: str = "ada@example.org", role: str = "user") -> User:
    return await users.create_user(
        session, email=email, role=role, password_hash=HASH, actor=SYSTEM
    )


async def _first(database: Database, email: str = "root@example.org") -> User:
    async with database.write() as session:
        return await users.create_first_administrator(
            session, email=email, password_hash=HASH, actor=SYSTEM
        )


def _actor(user: User) -> Actor:
    return Actor(user.id, user.email, user.role)


async def _token(session: AsyncSession, user: User) -> Token:
    token, _ = await create_token(
        session, lambda secret: secret[-64:], user_id=user.id, name="t", scope="proxy", actor=SYSTEM
    )
    return token


async def _revision(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(Revision.value)) or 0


async def test_the_owner_is_made_once(database: Database) -> None:
    async def owner_id() -> int:
        async with database.write() as session:
            return (await users.builtin_owner(session)).id

    ids = await asyncio.gather(*(owner_id() for _ in range(5)))
    assert len(set(ids)) == 1
    async with database.read() as session:
        assert not await users.has_administrator(session)


async def test_the_first_administrator_inherits_what_the_owner_has(database: Database) -> None:
    async with database.write() as session:
        token = await _token(session, await users.builtin_owner(session))
    root = await _first(database)
    async with database.read() as session:
        assert await session.scalar(select(Token.user_id).where(Token.id == token.id)) == root.id
        assert await users.has_administrator(session)
        assert (await users.default_owner(session)).email == "root@example.org"
        everybody = (await session.scalars(select(User))).all()
    assert [(user.email, user.role, user.is_builtin) for user in everybody] == [
        ("root@example.org", "administrator", False)
    ]


async def test_of_many_first_administrators_at_once_one_is_made(database: Database) -> None:
    made = await asyncio.gather(
        *(_first(database, f"root{number}@example.org") for number in range(5)),
        return_exceptions=True,
    )
    refused = [result for result in made if isinstance(result, users.AdministratorExists)]
    assert len(refused) == 4
    async with database.read() as session:
        assert len((await session.scalars(select(User))).all()) == 1


async def test_the_first_token_goes_on_working_under_the_administrators_name(
    database: Database, cipher_directory: Directory
) -> None:
    directory = cipher_directory
    async with database.write() as session:
        owner = await users.builtin_owner(session)
        _, secret = await create_token(
            session, directory.digest, user_id=owner.id, name="t", scope="proxy", actor=SYSTEM
        )
    await directory.refresh()
    before = directory.find_grant(secret)
    assert before is not None
    assert before.user == users.BUILTIN_EMAIL
    await _first(database)
    await directory.refresh()
    after = directory.find_grant(secret)
    assert after is not None
    assert (after.user, after.user_id) == ("root@example.org", before.user_id)


@pytest.fixture
async def cipher_directory(database: Database) -> Directory:
    from aieye.access.cipher import Cipher  # noqa: PLC0415 - only here

    directory = Directory(database, Cipher(["0123456789abcdefghijklmnopqrstuvwxyz"]))
    await directory.start()
    return directory


async def test_addresses_are_told_apart_without_case_and_space(database: Database) -> None:
    async with database.write() as session:
        assert (await _add(session, "  Ada@Example.ORG ")).email == "ada@example.org"
    with pytest.raises(users.UserExists) as refusal:
        async with database.write() as session:
            await _add(session, "ADA@example.org")
    assert refusal.value.status == 409


@pytest.mark.parametrize(
    "email",
    ["", "ada", "@example.org", "ada@", "a b@c", "a@b@c", "a\0@b.c", f"{'a' * 300}@b.c", "a,b@c"],
)
async def test_what_is_no_address_is_refused(database: Database, email: str) -> None:
    with pytest.raises(Unprocessable):
        async with database.write() as session:
            await _add(session, email)


async def test_a_deleted_users_address_is_free_again_and_their_tokens_are_gone(
    database: Database,
) -> None:
    async with database.write() as session:
        ada = await _add(session)
        token = await _token(session, ada)
        await sessions.start_session(session, ada.id, ip="")
    async with database.write() as session:
        await users.delete_user(session, ada.id, SYSTEM)
    async with database.write() as session:
        again = await _add(session)
        assert again.id != ada.id
        assert await session.scalar(select(Token.deleted_at).where(Token.id == token.id))
        assert await sessions.list_sessions(session, ada.id) == []
    with pytest.raises(NotFound):
        async with database.read() as session:
            await users.get_user(session, ada.id, actor=SYSTEM)


@pytest.mark.parametrize("changes", [{"role": "user"}, {"is_active": False}])
async def test_the_last_administrator_stays_one(
    database: Database, changes: users.UserChanges
) -> None:
    root = await _first(database)
    async with database.write() as session:
        other = await _add(session, "other@example.org", "administrator")
        await users.update_user(session, other.id, {"is_active": False}, SYSTEM)
    with pytest.raises(users.LastAdministrator):
        async with database.write() as session:
            await users.update_user(session, root.id, changes, SYSTEM)
    with pytest.raises(users.LastAdministrator):
        async with database.write() as session:
            await users.delete_user(session, root.id, SYSTEM)
    async with database.write() as session:
        await users.update_user(session, other.id, {"is_active": True}, SYSTEM)
        await users.update_user(session, root.id, changes, SYSTEM)


async def test_of_two_administrators_who_remove_each_other_one_stays(database: Database) -> None:
    root = await _first(database)
    async with database.write() as session:
        other = await _add(session, "other@example.org", "administrator")

    async def remove(user: User) -> None:
        async with database.write() as session:
            await users.delete_user(session, user.id, SYSTEM)

    results = await asyncio.gather(remove(root), remove(other), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["LastAdministrator", "NoneType"]


@pytest.mark.parametrize(
    ("changes", "stay"),
    [
        ({"role": "administrator"}, False),
        ({"password_hash": "$argon2id$another"}, False),
        ({"is_active": False}, False),
        ({"name": "Ada"}, True),
        ({"role": "user", "is_active": True}, True),
    ],
)
async def test_sessions_end_with_the_role_the_password_and_the_right_to_sign_in(
    database: Database, changes: users.UserChanges, stay: bool
) -> None:
    async with database.write() as session:
        ada = await _add(session)
        begun = await sessions.start_session(session, ada.id, ip="")
    async with database.write() as session:
        await users.update_user(session, ada.id, changes, SYSTEM)
    assert (await sessions.find_session(database, begun.cookie) is not None) == stay


async def test_people_change_their_own_name_and_password_and_nothing_else(
    database: Database,
) -> None:
    async with database.write() as session:
        ada = await _add(session)
        ben = await _add(session, "ben@example.org")
    async with database.write() as session:
        own: users.UserChanges = {"name": "Ada", "password_hash": "$argon2id$new"}
        assert (await users.update_user(session, ada.id, own, _actor(ada))).name == "Ada"
    for changes in ({"role": "administrator"}, {"is_active": True}):
        with pytest.raises(Forbidden):
            async with database.write() as session:
                await users.update_user(session, ada.id, changes, _actor(ada))  # type: ignore[arg-type] # a dict of either
    with pytest.raises(NotFound):
        async with database.write() as session:
            await users.update_user(session, ben.id, {"name": "x"}, _actor(ada))
    async with database.read() as session:
        assert [user.id for user in await users.list_users(session, actor=_actor(ada))] == [ada.id]


async def test_only_administrators_make_and_remove_users(database: Database) -> None:
    async with database.write() as session:
        ada = await _add(session)
    with pytest.raises(Forbidden):
        async with database.write() as session:
            await users.create_user(
                session, email="new@example.org", password_hash=None, actor=_actor(ada)
            )
    with pytest.raises(Forbidden):
        async with database.write() as session:
            await users.delete_user(session, ada.id, _actor(ada))


async def test_the_owner_is_neither_changed_nor_removed(database: Database) -> None:
    async with database.write() as session:
        owner = await users.builtin_owner(session)
    with pytest.raises(Conflict):
        async with database.write() as session:
            await users.update_user(session, owner.id, {"password_hash": HASH}, SYSTEM)
    with pytest.raises(Conflict):
        async with database.write() as session:
            await users.delete_user(session, owner.id, SYSTEM)


async def test_every_change_is_noted_and_seen_by_other_processes(database: Database) -> None:
    revisions = [await _revision(database)]
    async with database.write() as session:
        ada = await _add(session)
    revisions.append(await _revision(database))
    async with database.write() as session:
        await users.update_user(session, ada.id, {"password_hash": "$argon2id$secret"}, SYSTEM)
    revisions.append(await _revision(database))
    async with database.write() as session:
        await users.delete_user(session, ada.id, SYSTEM)
    revisions.append(await _revision(database))
    assert revisions == sorted(set(revisions))
    async with database.read() as session:
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    assert [entry.action for entry in entries] == ["user.create", "user.update", "user.delete"]
    assert "argon2id" not in repr([entry.details for entry in entries])


async def test_an_act_that_fails_leaves_no_trace(database: Database) -> None:
    root = await _first(database)
    before = await _revision(database)
    with pytest.raises(AieyeError):
        async with database.write() as session:
            await users.delete_user(session, root.id, SYSTEM)
    async with database.read() as session:
        actions = (await session.scalars(select(AuditEntry.action))).all()
    assert (actions, await _revision(database)) == (["user.create"], before)


async def test_a_token_that_another_process_has_just_made_is_known_when_it_is_shown(
    database: Database,
) -> None:
    directory = Directory(database, Cipher(["showing-0123456789abcdefghijklmnop"]))
    await directory.start()
    async with database.write() as session:
        ada = await _add(session)
        _, secret = await create_token(
            session, directory.digest, user_id=ada.id, name="t", scope="proxy", actor=SYSTEM
        )
    assert directory.find_grant(secret) is None
    found = await directory.know_grant(secret)
    assert (found and found.user) == "ada@example.org"


async def test_any_number_of_unknown_tokens_at_once_look_twice_at_most(database: Database) -> None:
    directory = Directory(database, Cipher(["guessing-0123456789abcdefghijklmnop"]))
    await directory.start()
    statements: list[str] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda *given: statements.append(given[2]),
    )
    found = await asyncio.gather(*(directory.know_grant(f"aie_{n}") for n in range(50)))
    assert (found, len([one for one in statements if "revision" in one])) == ([None] * 50, 2)
