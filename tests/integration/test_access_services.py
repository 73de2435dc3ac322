"""The services behind the administrators' API, on both databases: sealed secrets, keys, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import providers, routes, tokens, users
from aieye.access.audit import SYSTEM, Actor
from aieye.access.cipher import Cipher, SealError
from aieye.access.directory import Directory
from aieye.db.engine import Database
from aieye.db.tables import AuditEntry, Base, InstallationSecret, Provider, ProviderKey
from aieye.db.types import now
from aieye.errors import AieyeError, Conflict, Forbidden, NotFound, Unprocessable
from aieye.ledger import overrides

OLD, NEW = "old-0123456789abcdefghijklmnopqrstuv", "new-0123456789abcdefghijklmnopqrstuv"
SECRET = "sk-canary-provider-4f1a9c77d2"
OLD_TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def cipher() -> Cipher:
    return Cipher([OLD])


@pytest.fixture
async def directory(database: Database, cipher: Cipher) -> Directory:
    started = Directory(database, cipher)
    await started.start()
    return started


async def add_keys(database: Database, cipher: Cipher, count: int, name: str = "openai") -> int:
    """Make a provider with keys `SECRET` + a number; gives its id."""
    async with database.write() as session:
        provider = await providers.create_provider(
            session, name=name, base_url=f"https://{name}.example", actor=SYSTEM
        )
        for number in range(count):
            await providers.add_key(
                session,
                cipher,
                provider_id=provider.id,
                name=f"key {number}",
                secret=f"{SECRET}{number}",
                actor=SYSTEM,
            )
        return provider.id


async def add_user(session: AsyncSession, email: str = "ada@example.org") -> Actor:
    user = await users.create_user(session, email=email, password_hash=None, actor=SYSTEM)
    return Actor(user.id, user.email, user.role)


async def opened_secrets(database: Database, *secret_keys: str) -> set[str]:
    """What a server with these secret keys would have."""
    started = Directory(database, Cipher(secret_keys))
    await started.start()
    return {key.secret for key in started.current.keys.values()}


async def actions(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


# -- rotation -----------------------------------------------------------------------------------


async def test_after_a_rotation_the_new_key_alone_opens_everything_and_tokens_work(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    await add_keys(database, cipher, 3)
    async with database.write() as session:
        owner = await add_user(session)
        assert owner.user_id is not None
        _, secret = await tokens.create_token(
            session, directory.digest, user_id=owner.user_id, name="x", scope="proxy", actor=owner
        )
    steps: list[tuple[int, int]] = []
    both = Cipher([NEW, OLD])
    count = await providers.rotate_secrets(database, both, lambda *step: steps.append(step))
    assert count == 4
    assert (steps[0], steps[-1]) == ((0, 4), (4, 4))
    assert await opened_secrets(database, NEW) == {f"{SECRET}{number}" for number in range(3)}
    renewed = Directory(database, Cipher([NEW]))
    await renewed.start()
    assert renewed.find_grant(secret) is not None
    assert await providers.rotate_secrets(database, both) == 0
    assert (await actions(database))[-4:] == ["secret.rotate"] + ["key.rotate"] * 3


async def test_a_rotation_cut_short_at_any_step_leaves_all_readable_and_is_resumed(
    database: Database, cipher: Cipher, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_keys(database, cipher, 4)
    monkeypatch.setattr("aieye.access.rotation.BATCH_ROWS", 1)
    both = Cipher([NEW, OLD])
    expected = {f"{SECRET}{number}" for number in range(4)}
    for _cut in range(5):
        with pytest.raises(KeyboardInterrupt):
            await providers.rotate_secrets(database, both, _stop_after_one)
        assert await opened_secrets(database, NEW, OLD) == expected
    assert await providers.rotate_secrets(database, both, _stop_after_one) == 0
    assert await opened_secrets(database, NEW) == expected


def _stop_after_one(done: int, _total: int) -> None:
    if done == 1:
        raise KeyboardInterrupt


async def test_a_rotation_without_the_old_key_changes_nothing_and_names_what_is_shut(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    await add_keys(database, cipher, 2)
    with pytest.raises(SealError, match=r"pepper.*key 1.*key 2") as caught:
        await providers.rotate_secrets(database, Cipher([NEW]))
    assert "canary" not in str(caught.value)
    assert len(await opened_secrets(database, OLD)) == 2


async def test_one_damaged_secret_does_not_stop_the_others(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    await add_keys(database, cipher, 3)
    async with database.write() as session:
        key = await providers.get_key(session, 2)
        key.sealed = (key.sealed or "")[:-8] + "AAAAAAA="
    with pytest.raises(SealError, match=r": key 2\.$"):
        await providers.rotate_secrets(database, Cipher([NEW, OLD]))
    assert await opened_secrets(database, NEW) == {f"{SECRET}0", f"{SECRET}2"}


async def test_wiped_keys_are_passed_over(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    await add_keys(database, cipher, 2)
    async with database.write() as session:
        await providers.delete_key(session, key_id=1, actor=SYSTEM)
    assert await providers.rotate_secrets(database, Cipher([NEW, OLD])) == 2
    async with database.read() as session:
        assert await session.scalar(select(ProviderKey.sealed).where(ProviderKey.id == 1)) is None
        assert len((await session.scalars(select(InstallationSecret))).all()) == 1


# -- sealed secrets -----------------------------------------------------------------------------


async def test_a_sealed_key_opens_in_its_own_row_and_for_its_own_address_only(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    await add_keys(database, cipher, 2)
    async with database.write() as session:
        first, second = await providers.get_key(session, 1), await providers.get_key(session, 2)
        first.sealed, second.sealed = second.sealed, first.sealed
    assert await opened_secrets(database, OLD) == set()
    async with database.write() as session:
        first, second = await providers.get_key(session, 1), await providers.get_key(session, 2)
        first.sealed, second.sealed = second.sealed, first.sealed
    assert len(await opened_secrets(database, OLD)) == 2
    async with database.write() as session:
        await session.execute(text("UPDATE providers SET base_url = 'https://evil.example/v1'"))
    assert await opened_secrets(database, OLD) == set()


# -- providers ----------------------------------------------------------------------------------


async def test_marks_at_the_same_moment_leave_one_default(
    database: Database, cipher: Cipher
) -> None:
    ids = [await add_keys(database, cipher, 0, name) for name in ("one", "two", "three", "four")]

    async def mark(provider_id: int) -> None:
        async with database.write() as session:
            await providers.mark_default(session, provider_id=provider_id, actor=SYSTEM)

    await asyncio.gather(*(mark(provider_id) for provider_id in ids))
    async with database.read() as session:
        marked = await session.scalars(select(Provider).where(Provider.is_default))
        assert len(marked.all()) == 1


async def test_of_two_who_take_a_name_at_the_same_moment_one_gets_it(
    database: Database, cipher: Cipher
) -> None:
    made = await asyncio.gather(
        *(add_keys(database, cipher, 0) for _ in range(4)), return_exceptions=True
    )
    assert [isinstance(outcome, Conflict) for outcome in made].count(True) == 3


async def test_a_provider_does_not_go_while_a_route_to_it_is_made(
    database: Database, cipher: Cipher
) -> None:
    provider_id = await add_keys(database, cipher, 0)

    async def make_route() -> None:
        async with database.write() as session:
            targets: list[routes.Target] = [{"provider": "openai", "model": "m"}]
            await routes.create_route(session, alias="a", targets=targets, actor=SYSTEM)

    async def delete() -> None:
        async with database.write() as session:
            await providers.delete_provider(session, provider_id=provider_id, actor=SYSTEM)

    outcomes = await asyncio.gather(make_route(), delete(), return_exceptions=True)
    assert [isinstance(outcome, AieyeError) for outcome in outcomes].count(True) == 1


async def test_without_an_audit_row_there_is_no_change(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    provider_id = await add_keys(database, cipher, 1)

    def fail(*_: object) -> None:
        raise RuntimeError("the audit cannot be written")

    event.listen(AuditEntry, "before_insert", fail)
    try:
        with pytest.raises(RuntimeError):
            async with database.write() as session:
                await providers.delete_provider(session, provider_id=provider_id, actor=SYSTEM)
    finally:
        event.remove(AuditEntry, "before_insert", fail)
    assert await opened_secrets(database, OLD) == {f"{SECRET}0"}


async def test_services_leave_the_commit_to_their_caller(
    database: Database, cipher: Cipher, directory: Directory
) -> None:
    before = await _everything(database)
    async with AsyncSession(database.engine) as session:
        owner = await add_user(session)
        assert owner.user_id is not None
        await tokens.create_token(
            session, directory.digest, user_id=owner.user_id, name="x", scope="runs", actor=owner
        )
        await providers.create_provider(
            session, name="a", base_url="https://a.example", actor=SYSTEM
        )
        await overrides.create_override(session, model="m", rates={"input": "1"}, actor=SYSTEM)
        await session.rollback()
    assert await _everything(database) == before


async def _everything(database: Database) -> list[Sequence[object]]:
    async with database.read() as session:
        return [
            tuple(row)
            for table in Base.metadata.sorted_tables
            for row in await session.execute(select(table))
        ]


# -- tokens -------------------------------------------------------------------------------------


async def test_an_old_token_goes_on_working_and_is_taken_once(
    database: Database, directory: Directory
) -> None:
    async def take(imported: str) -> str:
        async with database.write() as session:
            owner = await users.find_user(session, "ada@example.org")
            assert owner is not None
            token, secret = await tokens.create_token(
                session,
                directory.digest,
                user_id=owner.id,
                name="old",
                scope="proxy",
                actor=SYSTEM,
                imported=imported,
            )
            assert secret == imported
            return token.prefix

    async with database.write() as session:
        await add_user(session)
    assert await take(OLD_TOKEN) == "0123…4567"
    await directory.refresh()
    grant = directory.find_grant(OLD_TOKEN)
    assert grant is not None
    assert grant.token_id is not None
    with pytest.raises(Conflict):
        await take(OLD_TOKEN)
    async with database.write() as session:
        await tokens.delete_token(session, grant.token_id, actor=SYSTEM)
    with pytest.raises(Conflict):
        await take(OLD_TOKEN)
    for wrong in ("", OLD_TOKEN[1:], OLD_TOKEN + "0", OLD_TOKEN[1:] + "-", "é" * 40):
        with pytest.raises(Unprocessable):
            await take(wrong)


async def test_the_command_line_makes_and_revokes_tokens_of_anybody(
    database: Database, directory: Directory
) -> None:
    async with database.write() as session:
        owner = await add_user(session)
        assert owner.user_id is not None
        token, secret = await tokens.create_token(
            session,
            directory.digest,
            user_id=owner.user_id,
            name="ci",
            scope="admin",
            actor=SYSTEM,
            expires_at=now() + timedelta(days=1),
            cache_namespace="ci",
        )
    await directory.refresh()
    grant = directory.find_grant(secret)
    assert grant is not None
    assert (grant.namespace, grant.scope, grant.is_administrator) == ("ci", 3, False)
    async with database.write() as session:
        await tokens.update_token(session, token.id, {"disabled": True}, actor=SYSTEM)
    await directory.refresh()
    assert directory.find_grant(secret) is None


async def test_others_tokens_are_out_of_reach(database: Database, directory: Directory) -> None:
    async with database.write() as session:
        ada, ben = await add_user(session), await add_user(session, "ben@example.org")
        assert ben.user_id is not None
        token, _ = await tokens.create_token(
            session, directory.digest, user_id=ben.user_id, name="x", scope="proxy", actor=ben
        )
        assert await tokens.list_tokens(session, actor=ada, user_id=ben.user_id) == []
        with pytest.raises(NotFound):
            await tokens.get_token(session, token.id, actor=ada)
        with pytest.raises(NotFound):
            await tokens.roll_token(session, directory.digest, token.id, actor=ada)
        with pytest.raises(NotFound):
            await tokens.create_token(
                session, directory.digest, user_id=ben.user_id, name="x", scope="proxy", actor=ada
            )
        with pytest.raises(Forbidden):
            await tokens.update_token(session, token.id, {"cache_namespace": "x"}, actor=ben)


async def test_moments_that_could_not_be_read_back_are_refused(
    database: Database, directory: Directory
) -> None:
    far = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)
    async with database.write() as session:
        owner = await add_user(session)
        assert owner.user_id is not None
        token, _ = await tokens.create_token(
            session,
            directory.digest,
            user_id=owner.user_id,
            name="x",
            scope="proxy",
            actor=owner,
            expires_at=far,
        )
        with pytest.raises(Unprocessable):
            await tokens.update_token(
                session, token.id, {"expires_at": far.replace(tzinfo=None)}, actor=owner
            )
        with pytest.raises(Unprocessable):
            # The new year has begun by then in the east.
            await tokens.update_token(
                session, token.id, {"expires_at": far.replace(year=9999)}, actor=owner
            )
    await directory.refresh()
    async with database.read() as session:
        assert (await tokens.get_token(session, token.id, actor=owner)).expires_at == far
