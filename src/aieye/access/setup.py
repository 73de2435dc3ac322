"""The first start: a set-up link for the first administrator, a first token, the environment's key.

What is made here is told once, in `FirstStart`, and only its digest is stored. All of it happens in
one transaction that one process at a time passes through, so that many may start at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import SYSTEM, Actor
from aieye.access.cipher import Cipher
from aieye.access.config_file import PROVIDER, keep_config_provider, read_config
from aieye.access.directory import Directory
from aieye.access.emails import normal_email
from aieye.access.environment import keep_environment_provider
from aieye.access.owners import default_owner, has_administrator, one_at_a_time
from aieye.access.passwords import check_password, hash_password
from aieye.access.secrets import make_secret
from aieye.access.tokens import MakeDigest, create_token
from aieye.access.users import create_first_administrator, find_user
from aieye.db.engine import Database
from aieye.db.tables import SetupLink, Token, User
from aieye.db.types import now
from aieye.errors import AieyeError, NotFound
from aieye.program import program
from aieye.settings import Settings, SettingsError
from aieye.telemetry.loggers import get_logger

log = get_logger()

LINK_LIFE = timedelta(hours=24)
# A link's use is noted as the act of whoever holds it: nobody is signed in yet.
SETUP_LINK = "set-up link"


class InvalidSetupLink(NotFound):
    """The link was used, is over 24 hours old, or never was one."""

    code = "invalid_setup_link"

    def __init__(self) -> None:
        super().__init__(
            "This set-up link is not valid: it was used, or is older than 24 hours. "
            f"Restart the server for a new one, or run `{program()} admin create` where it runs."
        )


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the operator is told, once: None for what there was already."""

    setup_url: str | None = field(default=None, repr=False)
    token_secret: str | None = field(default=None, repr=False)
    notices: tuple[str, ...] = ()
    # Until when a link that was told before can be used.
    link_until: datetime | None = None
    # The provider of the models of `/_saga`, where the configuration file has one.
    saga_provider: str | None = None


async def first_start(
    database: Database, cipher: Cipher, directory: Directory, settings: Settings
) -> FirstStart:
    """Make what is missing for a first call and a first sign-in; every start calls it.

    `directory` has been started. Raises `SettingsError` for a wrong environment or configuration
    file, in which case nothing was made.
    """
    gpt3 = read_config(settings, cipher)
    password_hash = await _administrator_hash(database, settings)
    async with database.write() as session:
        await one_at_a_time(session)
        notices = await keep_environment_provider(session, cipher, settings)
        notices += await keep_config_provider(session, cipher, gpt3)
        if password_hash is not None:
            notices += await _make_administrator(session, settings, password_hash)
        secret, link_until = await _make_link(session, directory.digest)
        token = await _make_first_token(session, directory.digest)
    await directory.refresh()
    url = None if secret is None else f"{settings.base_url}/setup?token={secret}"
    return FirstStart(url, token, notices, link_until, None if gpt3 is None else PROVIDER)


async def check_setup_link(session: AsyncSession, make_digest: MakeDigest, secret: str) -> None:
    """Raises `InvalidSetupLink` unless the link can still be used."""
    valid = select(SetupLink.digest).where(
        SetupLink.digest == make_digest(secret),
        SetupLink.user_id.is_(None),
        SetupLink.used_at.is_(None),
        SetupLink.expires_at > now(),
    )
    if await session.scalar(valid) is None or await has_administrator(session):
        raise InvalidSetupLink


async def use_setup_link(
    session: AsyncSession,
    make_digest: MakeDigest,
    secret: str,
    *,
    email: str,
    name: str = "",
    password_hash: str,
    ip: str = "",
) -> User:
    """Make the first administrator with the link, which then is used up.

    Raises `InvalidSetupLink`, `Unprocessable`.
    """
    await one_at_a_time(session)
    await check_setup_link(session, make_digest, secret)
    await session.execute(
        update(SetupLink).where(SetupLink.digest == make_digest(secret)).values(used_at=now())
    )
    actor = Actor(None, SETUP_LINK, SYSTEM.role, ip)
    return await create_first_administrator(
        session, email=email, name=name, password_hash=password_hash, actor=actor
    )


async def _administrator_hash(database: Database, settings: Settings) -> str | None:
    """The hash of `AIEYE_ADMIN_PASSWORD` while it is needed; made outside any transaction."""
    if settings.admin_email is None or settings.admin_password is None:
        return None
    async with database.read() as session:
        if await has_administrator(session):
            # Whom they once made is there still: only another wish is one that is not granted.
            if await find_user(session, normal_email(settings.admin_email)) is None:
                log.info("administrator_variables_ignored", reason="there is an administrator")
            return None
    password = settings.admin_password.get_secret_value()
    try:
        check_password(password, email=settings.admin_email)
    except AieyeError as error:
        raise SettingsError(f"AIEYE_ADMIN_PASSWORD: {error.message}") from error
    return await hash_password(password)


async def _make_administrator(
    session: AsyncSession, settings: Settings, password_hash: str
) -> tuple[str, ...]:
    if await has_administrator(session):
        return ()
    try:
        user = await create_first_administrator(
            session, email=settings.admin_email or "", password_hash=password_hash, actor=SYSTEM
        )
    except AieyeError as error:
        raise SettingsError(f"AIEYE_ADMIN_EMAIL: {error.message}") from error
    return (f"The first administrator is {user.email} (AIEYE_ADMIN_EMAIL).",)


async def _make_link(
    session: AsyncSession, make_digest: MakeDigest
) -> tuple[str | None, datetime | None]:
    """A new link's secret, or until when a former one can be used; neither when nobody needs one."""
    if await has_administrator(session):
        return None, None
    usable = select(SetupLink).where(
        SetupLink.user_id.is_(None), SetupLink.used_at.is_(None), SetupLink.expires_at > now()
    )
    former = await session.scalar(usable.limit(1))
    if former is not None:
        return None, former.expires_at
    secret = make_secret()
    session.add(SetupLink(digest=make_digest(secret), expires_at=now() + LINK_LIFE))
    return secret, None


async def _make_first_token(session: AsyncSession, make_digest: MakeDigest) -> str | None:
    """A first token's secret; None when there has ever been a token."""
    if await session.scalar(select(Token.id).limit(1)) is not None:
        return None
    owner = await default_owner(session)
    _, secret = await create_token(
        session,
        make_digest,
        user_id=owner.id,
        name="first token",
        scope="proxy",
        actor=SYSTEM,
    )
    return secret
