"""The first start, on both databases: made once, told once, and right again at later starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from aieye.access import providers, users
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory, ProviderInfo
from aieye.access.setup import (
    FirstStart,
    InvalidSetupLink,
    check_setup_link,
    first_start,
    use_setup_link,
)
from aieye.db.engine import Database
from aieye.db.tables import AuditEntry, SetupLink, User
from aieye.settings import Settings, SettingsError

SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyz"
KEY, OTHER_KEY = "sk-canary-environment-1", "sk-canary-environment-2"
HASH = "$argon2id$not a real one"
PASSWORD = "a quiet river at dawn"


class Installation:
    """A database, and what a process that starts on it holds."""

    def __init__(self, url: str, directory: Path) -> None:
        self.database = Database(url)
        self.cipher = Cipher([SECRET_KEY])
        self._path = directory

    async def start(self, **environment: str) -> FirstStart:
        """What a start of the process tells."""
        self.directory = Directory(self.database, self.cipher)
        await self.directory.start()
        return await first_start(
            self.database, self.cipher, self.directory, self.settings(**environment)
        )

    def settings(self, **environment: str) -> Settings:
        return Settings(data_dir=self._path, **environment)  # type: ignore[arg-type] # as text, as the environment has them

    def provider(self) -> ProviderInfo:
        return self.directory.current.providers["openai"]

    async def add_administrator(self) -> User:
        async with self.database.write() as session:
            return await users.create_first_administrator(
                session, email="root@example.org", password_hash=HASH, actor=SYSTEM
            )

    async def use(self, secret: str, email: str = "root@example.org") -> User:
        async with self.database.write() as session:
            return await use_setup_link(
                session, self.directory.digest, secret, email=email, password_hash=HASH
            )


@pytest.fixture
async def installation(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Installation]:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"AIEYE_{name.upper()}", raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    made = Installation(database_url, tmp_path)
    yield made
    await made.database.close()


def _link(first: FirstStart) -> str:
    assert first.setup_url is not None
    return parse_qs(urlsplit(first.setup_url).query)["token"][0]


async def test_the_first_start_tells_a_link_and_a_token_that_work(
    installation: Installation,
) -> None:
    first = await installation.start()
    assert first.setup_url is not None
    assert first.setup_url.startswith("http://127.0.0.1:8000/setup?token=")
    grant = installation.directory.find_grant(first.token_secret or "")
    assert grant is not None
    assert (grant.token_name, grant.user, grant.scope) == ("first token", users.BUILTIN_EMAIL, 1)
    assert installation.directory.current.providers == {}


async def test_they_are_told_once_and_only_their_digests_are_stored(
    installation: Installation,
) -> None:
    first = await installation.start()
    again = await installation.start()
    assert (again.setup_url, again.token_secret, again.notices) == (None, None, ())
    assert again.link_until is not None
    async with installation.database.read() as session:
        stored = (await session.scalars(select(SetupLink.digest))).all()
    assert stored == [installation.directory.digest(_link(first))]
    assert _link(first) not in repr(first)
    assert (first.token_secret or "?") not in repr(first)


async def test_of_many_processes_that_start_at_once_one_tells(installation: Installation) -> None:
    await installation.start(OPENAI_API_KEY=KEY)
    async with installation.database.write() as session:
        await session.execute(update(SetupLink).values(used_at=SetupLink.expires_at))
    told = await asyncio.gather(*(installation.start(OPENAI_API_KEY=KEY) for _ in range(5)))
    assert len([first for first in told if first.setup_url is not None]) == 1
    assert all(first.token_secret is None for first in told)
    assert len(installation.provider().keys) == 1


async def test_of_many_first_starts_at_once_one_makes_everything(
    installation: Installation,
) -> None:
    directory = Directory(installation.database, installation.cipher)
    await directory.start()
    settings = installation.settings(OPENAI_API_KEY=KEY)
    told = await asyncio.gather(
        *(
            first_start(installation.database, installation.cipher, directory, settings)
            for _ in range(5)
        )
    )
    assert len([first for first in told if first.token_secret is not None]) == 1
    assert len(directory.current.tokens) == 1
    assert [key.secret for key in directory.current.providers["openai"].keys] == [KEY]


async def test_the_link_makes_the_first_administrator_who_inherits_the_token(
    installation: Installation,
) -> None:
    first = await installation.start()
    made = await installation.use(_link(first))
    await installation.directory.refresh()
    grant = installation.directory.find_grant(first.token_secret or "")
    assert grant is not None
    assert (grant.user, grant.user_id) == ("root@example.org", made.id)
    later = await installation.start()
    assert later == FirstStart()


async def test_a_link_works_once(installation: Installation) -> None:
    link = _link(await installation.start())
    results = await asyncio.gather(
        *(installation.use(link, f"root{number}@example.org") for number in range(4)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, InvalidSetupLink)]
    assert len(refused) == 3


async def test_a_link_that_failed_can_be_used_again(installation: Installation) -> None:
    link = _link(await installation.start())
    with pytest.raises(Exception, match="not an e-mail address"):
        await installation.use(link, "no address")
    assert (await installation.use(link)).email == "root@example.org"


@pytest.mark.parametrize("link", ["", "guess", "ünknown"])
async def test_a_guess_is_no_link(installation: Installation, link: str) -> None:
    await installation.start()
    with pytest.raises(InvalidSetupLink):
        await installation.use(link)


async def test_a_link_lives_a_day_and_the_next_start_makes_another(
    installation: Installation,
) -> None:
    link = _link(await installation.start())
    async with installation.database.write() as session:
        for row in await session.scalars(select(SetupLink)):
            row.expires_at -= timedelta(hours=24)
    with pytest.raises(InvalidSetupLink):
        await installation.use(link)
    again = await installation.start()
    assert again.token_secret is None
    assert (await installation.use(_link(again))).email == "root@example.org"


async def test_no_link_works_once_there_is_an_administrator(installation: Installation) -> None:
    link = _link(await installation.start())
    await installation.add_administrator()
    async with installation.database.read() as session:
        with pytest.raises(InvalidSetupLink):
            await check_setup_link(session, installation.directory.digest, link)
    assert (await installation.start()).setup_url is None


async def test_whoever_made_an_administrator_before_the_first_start_gets_no_link(
    installation: Installation,
) -> None:
    root = await installation.add_administrator()
    first = await installation.start()
    assert first.setup_url is None
    grant = installation.directory.find_grant(first.token_secret or "")
    assert grant is not None
    assert grant.user_id == root.id


# -- AIEYE_ADMIN_EMAIL and AIEYE_ADMIN_PASSWORD -----------------------------------------------


async def test_the_environment_makes_the_first_administrator_without_a_link(
    installation: Installation,
) -> None:
    first = await installation.start(admin_email="Root@Example.org", admin_password=PASSWORD)
    assert first.setup_url is None
    assert "root@example.org" in first.notices[0]
    assert PASSWORD not in repr(first)
    grant = installation.directory.find_grant(first.token_secret or "")
    assert grant is not None
    assert grant.user == "root@example.org"


async def test_a_later_start_says_nothing_of_the_administrator_whom_it_made(
    installation: Installation,
) -> None:
    given = {"admin_email": "Root@Example.org", "admin_password": PASSWORD}
    await installation.start(**given)
    with capture_logs() as logged:
        assert await installation.start(**given) == FirstStart()
    assert logged == []


async def test_it_is_ignored_once_there_is_an_administrator(installation: Installation) -> None:
    await installation.add_administrator()
    await installation.start()
    # Not even looked at: a password that broke a newer rule must not keep the server from starting.
    with capture_logs() as logged:
        later = await installation.start(admin_email="other@example.org", admin_password="short")
    assert later == FirstStart()
    assert [line["event"] for line in logged] == ["administrator_variables_ignored"]
    async with installation.database.read() as session:
        assert len((await session.scalars(select(User))).all()) == 1


@pytest.mark.parametrize(
    ("email", "password", "variable"),
    [
        ("root@example.org", "s3cr3t", "AIEYE_ADMIN_PASSWORD"),
        ("no address", PASSWORD, "AIEYE_ADMIN_EMAIL"),
    ],
)
async def test_a_wrong_administrator_stops_the_start_and_makes_nothing(
    installation: Installation, email: str, password: str, variable: str
) -> None:
    with pytest.raises(SettingsError, match=variable) as refusal:
        await installation.start(admin_email=email, admin_password=password, OPENAI_API_KEY=KEY)
    assert password not in refusal.value.message
    assert (await installation.start()).token_secret is not None
    assert installation.directory.current.providers == {}


# -- OPENAI_API_KEY and OPENAI_BASE_URL -------------------------------------------------------


async def test_the_environments_key_is_stored_sealed_and_only_once(
    installation: Installation,
) -> None:
    for _ in range(2):
        told = await installation.start(OPENAI_API_KEY=KEY)
        assert KEY not in repr(told)
    provider = installation.provider()
    assert provider.base_url == "https://api.openai.com/v1"
    assert [(key.name, key.secret) for key in provider.keys] == [("environment", KEY)]
    assert installation.directory.current.default == provider


async def test_another_key_takes_the_former_ones_place(installation: Installation) -> None:
    await installation.start(OPENAI_API_KEY=KEY)
    before = installation.provider().keys[0]
    await installation.start(OPENAI_API_KEY=OTHER_KEY)
    (after,) = installation.provider().keys
    assert (after.id, after.secret) == (before.id, OTHER_KEY)


async def test_a_key_that_somebody_added_under_another_name_is_not_added_again(
    installation: Installation,
) -> None:
    await installation.start()
    async with installation.database.write() as session:
        made = await providers.create_provider(
            session, name="openai", base_url="https://api.openai.com", actor=SYSTEM
        )
        await providers.add_key(
            session, installation.cipher, provider_id=made.id, name="mine", secret=KEY, actor=SYSTEM
        )
    await installation.start(OPENAI_API_KEY=KEY)
    assert [key.name for key in installation.provider().keys] == ["mine"]
    await installation.start(OPENAI_API_KEY=OTHER_KEY)
    assert [key.name for key in installation.provider().keys] == ["mine", "environment"]


async def test_a_start_that_changes_who_serves_by_default_says_so(
    installation: Installation,
) -> None:
    await installation.start()
    async with installation.database.write() as session:
        made = await providers.create_provider(
            session, name="lo", base_url="http://127.0.0.1:9000", actor=SYSTEM
        )
        await providers.add_key(
            session, installation.cipher, provider_id=made.id, name="k", secret=KEY, actor=SYSTEM
        )
    told = await installation.start(OPENAI_API_KEY=OTHER_KEY)
    assert "now go to openai, no longer to lo" in told.notices[-1]
    assert "provider default lo" in told.notices[-1]
    assert (await installation.start(OPENAI_API_KEY=OTHER_KEY)).notices == ()


async def test_another_base_url_moves_the_provider_with_the_environments_key(
    installation: Installation,
) -> None:
    await installation.start(OPENAI_API_KEY=KEY)
    async with installation.database.write() as session:
        await providers.add_key(
            session,
            installation.cipher,
            provider_id=installation.provider().id,
            name="mine",
            secret=OTHER_KEY,
            actor=SYSTEM,
        )
    moved = await installation.start(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://10.0.0.7:9000/v1/")
    provider = installation.provider()
    assert provider.base_url == "http://10.0.0.7:9000/v1"
    # A key is never sent to an address that it was not stored for.
    assert [(key.name, key.secret) for key in provider.keys] == [("environment", KEY)]
    assert "mine" in moved.notices[0]
    again = await installation.start(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://10.0.0.7:9000/v1")
    assert again.notices == ()


async def test_without_its_variable_the_provider_stays_as_it_is(
    installation: Installation,
) -> None:
    await installation.start(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://10.0.0.7:9000/v1")
    before = installation.provider()
    assert (await installation.start()).notices == ()
    assert (await installation.start(OPENAI_API_KEY=KEY)).notices == ()
    assert installation.provider() == before


async def test_a_base_url_without_a_key_makes_no_provider_and_says_so(
    installation: Installation,
) -> None:
    first = await installation.start(OPENAI_BASE_URL="http://10.0.0.7:9000/v1")
    assert "OPENAI_API_KEY" in first.notices[0]
    assert installation.directory.current.providers == {}


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"OPENAI_API_KEY": "sk-canary with space"}, "OPENAI_API_KEY"),
        (
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://169.254.169.254/v1"},
            "OPENAI_BASE_URL",
        ),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://u:p@host/v1"}, "OPENAI_BASE_URL"),
    ],
)
async def test_a_wrong_provider_stops_the_start_naming_the_variable(
    installation: Installation, environment: dict[str, str], variable: str
) -> None:
    with pytest.raises(SettingsError, match=variable) as refusal:
        await installation.start(**environment)
    assert "canary" not in refusal.value.message


async def test_what_happened_is_in_the_log_of_acts(installation: Installation) -> None:
    first = await installation.start(OPENAI_API_KEY=KEY)
    await installation.use(_link(first))
    async with installation.database.read() as session:
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("system", "provider.create"),
        ("system", "key.create"),
        ("system", "token.create"),
        ("set-up link", "user.create"),
    ]
    assert "canary" not in repr([entry.details for entry in entries])
