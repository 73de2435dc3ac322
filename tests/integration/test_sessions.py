"""Signing in and staying signed in, on both databases: time limits, waiting times, no hints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import sessions, users
from aieye.access.attempts import MOST_FAILURES, MOST_TOGETHER, WINDOW, TooManyAttempts
from aieye.access.audit import SYSTEM
from aieye.access.sessions import IDLE, SEEN_EVERY, NewSession, SignInFailed
from aieye.db.engine import Database
from aieye.db.tables import LoginAttempt, Session, User
from aieye.db.types import now
from tests.shared import quick_hash

EMAIL = "ada@example.org"
PASSWORD = "a quiet river at dawn"
WRONG = "a loud river at noon"
SECOND = timedelta(seconds=1)


def password_hash() -> str:
    """The hash of `PASSWORD`."""
    return quick_hash(PASSWORD)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def ada(database: Database) -> User:
    async with database.write() as session:
        return await users.create_user(
            session,
            email=EMAIL,
            name="Ada",
            password_hash=password_hash(),
            actor=SYSTEM,
        )


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The hashes that passwords were compared with; the comparing itself is quick."""
    asked: list[str | None] = []

    async def verify(password: str, stored: str | None) -> bool:
        asked.append(stored)
        await asyncio.sleep(0)
        return stored is not None and password == PASSWORD

    monkeypatch.setattr(sessions, "verify_password", verify)
    return asked


async def _login(
    database: Database, email: str = EMAIL, password: str = PASSWORD, ip: str = "192.0.2.1"
) -> NewSession:
    return await sessions.login(
        database, email=email, password=password, ip=ip, user_agent="a browser\n"
    )


async def _fail(database: Database, times: int, email: str = EMAIL, ip: str = "192.0.2.1") -> None:
    for _ in range(times):
        with pytest.raises(SignInFailed):
            await _login(database, email, WRONG, ip)


async def _age(database: Database, **columns: timedelta) -> None:
    """Move times of all sessions into the past."""
    async with database.write() as session:
        for name, span in columns.items():
            for row in await session.scalars(select(Session)):
                setattr(row, name, getattr(row, name) - span)


async def test_a_cookie_tells_who_is_signed_in(database: Database, ada: User) -> None:
    begun = await _login(database, " ADA@example.org ")
    found = await sessions.find_session(database, begun.cookie)
    assert found is not None
    assert (found.user_id, found.email, found.name, found.role) == (ada.id, EMAIL, "Ada", "user")
    assert found.csrf_token == begun.csrf_token
    assert found.actor(ip="192.0.2.1").label == EMAIL
    assert await sessions.find_session(database, begun.cookie + "x") is None


async def test_neither_cookie_nor_password_is_in_the_database(
    database: Database, ada: User
) -> None:
    begun = await _login(database)
    async with database.read() as session:
        stored = (await session.scalars(select(Session))).one()
        assert begun.cookie not in repr(vars(stored))
        assert stored.user_agent == "a browser"
    assert begun.cookie not in repr(begun)


async def test_each_sign_in_is_a_new_session(database: Database, ada: User) -> None:
    first, second = await _login(database), await _login(database)
    assert first.cookie != second.cookie
    assert first.csrf_token != second.csrf_token
    async with database.read() as session:
        assert len(await sessions.list_sessions(session, ada.id)) == 2


@pytest.mark.parametrize(
    "who", ["unknown", "wrong password", "disabled", "deleted", "without password", "owner"]
)
async def test_every_failed_sign_in_looks_and_costs_the_same(
    database: Database, ada: User, who: str, checked: list[str | None]
) -> None:
    email = {"unknown": "nobody@example.org", "owner": users.BUILTIN_EMAIL}.get(who, EMAIL)
    async with database.write() as session:
        await _prepare(session, ada.id, who)
    with pytest.raises(SignInFailed) as refusal:
        await _login(database, email, WRONG if who == "wrong password" else PASSWORD)
    assert refusal.value.message == SignInFailed().message
    assert len(checked) == 1


async def _prepare(session: AsyncSession, user_id: int, who: str) -> None:
    values: dict[str, dict[str, object]] = {
        "disabled": {"is_active": False},
        "without password": {"password_hash": None},
    }
    if who in values:
        await session.execute(update(User).where(User.id == user_id).values(values[who]))
    if who == "deleted":
        await users.delete_user(session, user_id, SYSTEM)
    if who == "owner":
        await users.builtin_owner(session)


@pytest.mark.parametrize("email", ["", "a\0b", "\ud800", "x" * 5_000, "' OR 1=1 --"])
async def test_nothing_that_can_be_typed_breaks_a_sign_in(
    database: Database, ada: User, email: str, checked: list[str | None]
) -> None:
    with pytest.raises(SignInFailed):
        await _login(database, email, "\ud800\0")


async def test_a_sign_in_does_not_hold_up_writers_while_it_compares(
    database: Database, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verify(_password: str, _stored: str | None) -> bool:
        async with asyncio.timeout(5), database.write() as session:
            await session.execute(update(User).values(name="written meanwhile"))
        return True

    monkeypatch.setattr(sessions, "verify_password", verify)
    await _login(database)


async def test_what_changed_during_a_sign_in_counts(
    database: Database, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verify(_password: str, _stored: str | None) -> bool:
        async with database.write() as session:
            await users.update_user(session, ada.id, {"password_hash": "$argon2id$new"}, SYSTEM)
        return True

    monkeypatch.setattr(sessions, "verify_password", verify)
    with pytest.raises(SignInFailed):
        await _login(database)


# -- waiting times ----------------------------------------------------------------------------


async def test_after_ten_failures_an_account_waits_even_with_the_right_password(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    await _fail(database, MOST_FAILURES)
    with pytest.raises(TooManyAttempts) as refusal:
        await _login(database)
    assert refusal.value.status == 429
    assert 0 < int(refusal.value.headers["Retry-After"]) <= WINDOW.total_seconds()
    assert len(checked) == MOST_FAILURES


async def test_whoever_guesses_locks_out_neither_the_owner_elsewhere_nor_the_neighbours(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    # As it is behind a proxy that is not trusted: everybody has its address.
    await _fail(database, MOST_FAILURES, "nobody@example.org")
    await _login(database)
    await _fail(database, MOST_FAILURES)
    await _login(database, ip="198.51.100.1")


async def test_an_unknown_account_waits_as_a_known_one_does(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    messages = []
    for email in (EMAIL, "nobody@example.org"):
        await _fail(database, MOST_FAILURES, email)
        with pytest.raises(TooManyAttempts) as refusal:
            await _login(database, email, WRONG)
        messages.append(refusal.value.message)
    assert len(set(messages)) == 1


async def test_an_account_that_is_guessed_from_everywhere_waits(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    for number in range(MOST_TOGETHER):
        await _fail(database, 1, ip=f"192.0.2.{number}")
    with pytest.raises(TooManyAttempts):
        await _login(database, ip="198.51.100.1")
    assert len(checked) == MOST_TOGETHER


async def test_an_address_that_guesses_for_everybody_waits(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    for number in range(MOST_TOGETHER):
        await _fail(database, 1, f"user{number}@example.org")
    with pytest.raises(TooManyAttempts):
        await _login(database)
    await _login(database, ip="198.51.100.1")
    assert len(checked) == MOST_TOGETHER + 1


async def test_addresses_of_one_ipv6_network_count_together(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    for number in range(MOST_FAILURES):
        await _fail(database, 1, ip=f"2001:db8::{number}")
    with pytest.raises(TooManyAttempts):
        await _login(database, ip="2001:db8::ffff")
    await _login(database, ip="2001:db8:0:1::1")


async def test_the_waiting_ends_with_its_quarter_of_an_hour(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    await _fail(database, MOST_FAILURES)
    async with database.write() as session:
        await session.execute(update(LoginAttempt).values(window_started_at=now() - WINDOW))
    await _login(database)
    async with database.read() as session:
        rows = (await session.scalars(select(LoginAttempt))).all()
    assert [row.failures for row in rows] == [0, 0]


async def test_a_refused_try_does_not_make_the_waiting_longer(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    await _fail(database, MOST_FAILURES)
    for _ in range(5):
        with pytest.raises(TooManyAttempts):
            await _login(database)
    async with database.read() as session:
        failures = (await session.scalars(select(LoginAttempt.failures))).all()
    assert set(failures) == {MOST_FAILURES}


async def test_a_right_password_lets_the_account_start_anew_at_its_address(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    for _ in range(3):
        await _fail(database, MOST_FAILURES - 1)
        await _login(database)


async def test_many_tries_at_once_are_counted_as_if_one_by_one(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    tries = await asyncio.gather(
        *(_login(database, password=WRONG) for _ in range(30)), return_exceptions=True
    )
    assert len(checked) == MOST_FAILURES
    kinds = [type(result) for result in tries]
    assert kinds.count(SignInFailed) == MOST_FAILURES
    assert kinds.count(TooManyAttempts) == 20


async def test_right_sign_ins_at_the_same_moment_all_succeed(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    # Of one account at one address, in turns of as many as may fail together.
    for _ in range(4):
        await asyncio.gather(*(_login(database) for _ in range(MOST_FAILURES)))
    async with database.read() as session:
        failures = (await session.scalars(select(LoginAttempt.failures))).all()
    assert set(failures) == {0}


async def test_a_window_that_is_over_is_counted_anew_and_others_are_removed(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    await _fail(database, MOST_FAILURES)
    await _fail(database, 2, "nobody@example.org", "198.51.100.1")
    async with database.write() as session:
        await session.execute(update(LoginAttempt).values(window_started_at=now() - WINDOW))
    await _fail(database, 1)
    async with database.read() as session:
        rows = (await session.scalars(select(LoginAttempt))).all()
    assert [row.failures for row in rows] == [1, 1, 1]
    assert all(row.window_started_at > now() - WINDOW / 2 for row in rows)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_sign_in_does_not_wait_to_remove_what_another_holds(
    database: Database, ada: User, checked: list[str | None]
) -> None:
    await _fail(database, 1, "nobody@example.org", "198.51.100.1")
    over = update(LoginAttempt).values(window_started_at=now() - WINDOW)
    async with database.write() as session:
        await session.execute(over)
    async with database.write() as other:
        await other.execute(over)
        async with asyncio.timeout(5):
            await _login(database)


# -- the end of a session ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ages", "valid"),
    [
        ({"last_seen_at": timedelta(minutes=30) - SECOND}, True),
        ({"last_seen_at": timedelta(minutes=30)}, False),
        ({"expires_at": timedelta(hours=12) - SECOND}, True),
        ({"expires_at": timedelta(hours=12)}, False),
    ],
)
async def test_a_session_ends_half_an_hour_after_its_use_and_in_any_case_after_twelve(
    database: Database, ada: User, ages: dict[str, timedelta], valid: bool
) -> None:
    async with database.write() as session:
        begun = await sessions.start_session(session, ada.id, ip="")
    # A minute for what the test itself takes.
    spare = 60 * SECOND if valid else timedelta()
    await _age(database, **{name: age - spare for name, age in ages.items()})
    assert (await sessions.find_session(database, begun.cookie) is not None) == valid
    async with database.read() as session:
        assert len(await sessions.list_sessions(session, ada.id)) == int(valid)


async def test_use_keeps_a_session_alive_and_is_written_at_most_once_a_minute(
    database: Database, ada: User
) -> None:
    begun = await _login(database)
    await _age(database, last_seen_at=IDLE - 60 * SECOND)
    commits = 0

    def count(*_: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(database.engine.sync_engine, "commit", count)
    for _ in range(3):
        assert await sessions.find_session(database, begun.cookie)
    assert commits == 1
    await _age(database, last_seen_at=SEEN_EVERY)
    async with database.read() as session:
        (row,) = await sessions.list_sessions(session, ada.id)
    assert now() - row.last_seen_at < SEEN_EVERY + 60 * SECOND


async def test_what_a_page_does_by_itself_does_not_keep_a_session_alive(
    database: Database, ada: User
) -> None:
    begun = await _login(database)
    await _age(database, last_seen_at=IDLE - 60 * SECOND)
    assert await sessions.find_session(database, begun.cookie, is_use=False) is not None
    async with database.read() as session:
        row = (await session.scalars(select(Session))).one()
    assert now() - row.last_seen_at >= IDLE - 60 * SECOND


async def test_a_disabled_user_is_out_at_once(database: Database, ada: User) -> None:
    begun = await _login(database)
    async with database.write() as session:
        await session.execute(update(User).values(is_active=False))
    assert await sessions.find_session(database, begun.cookie) is None


async def test_signing_out_ends_this_session_and_everywhere_ends_all(
    database: Database, ada: User
) -> None:
    begun = [await _login(database) for _ in range(3)]
    async with database.write() as session:
        await sessions.end_session(session, begun[0].cookie)
        await sessions.end_session(session, "no such cookie")
    found = [await sessions.find_session(database, one.cookie) for one in begun]
    assert [one is not None for one in found] == [False, True, True]
    async with database.write() as session:
        await sessions.end_all_sessions(session, ada.id)
    assert [await sessions.find_session(database, one.cookie) for one in begun] == [None] * 3


async def test_sessions_that_are_over_are_removed_with_the_next_sign_in(
    database: Database, ada: User
) -> None:
    await _login(database)
    await _age(database, last_seen_at=IDLE)
    await _login(database)
    async with database.read() as session:
        assert len((await session.scalars(select(Session))).all()) == 1
