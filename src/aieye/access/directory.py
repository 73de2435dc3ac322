"""What the gateway knows of tokens, providers, keys, routes and prices: an in-memory snapshot.

A snapshot is immutable and replaced whole. The process that changes something calls `refresh`
before it answers; all others notice the grown revision within `POLL_SECONDS`, and at once when
they are shown a token that they do not know.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.addresses import origin
from aieye.access.cipher import Cipher, SealError, provider_key_place
from aieye.access.secrets import digest, ends_of_old_token
from aieye.access.snapshot import (
    ADMINISTRATOR,
    DEMO_ID,
    DEMO_PROVIDER,
    EMPTY,
    OPENAI_PROVIDER,
    SCOPES,
    USER,
    Grant,
    KeyInfo,
    PipelineInfo,
    ProviderInfo,
    RouteInfo,
    RouteTarget,
    Snapshot,
)
from aieye.db.engine import Database, DatabaseUnavailable
from aieye.db.tables import (
    InstallationSecret,
    Pipeline,
    PriceOverride,
    Provider,
    ProviderKey,
    Revision,
    Route,
    Token,
    User,
)
from aieye.db.types import to_micros
from aieye.errors import AieyeError
from aieye.telemetry.loggers import get_logger

log = get_logger()

POLL_SECONDS = 0.25
# How long whoever shows an unknown token waits for a database that does not answer.
LOOK_SECONDS = 1.0
_MOST_KNOWN = 10_000
PEPPER = "pepper"

__all__ = ["ADMINISTRATOR", "DEMO_ID", "DEMO_PROVIDER", "PEPPER", "SCOPES", "USER", "Directory", "Grant",
           "KeyInfo", "ProviderInfo", "RouteInfo", "RouteTarget", "Snapshot", "load_pepper"]  # fmt: skip


class Directory:
    """Keeps the newest `Snapshot` in `current`."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher
        self._pepper = b""
        self._demo: ProviderInfo | None = None
        self._demo_forced = False
        self._lock = asyncio.Lock()
        self._looking = asyncio.Lock()
        # When the last look that came to its end began.
        self._looked_at = 0.0
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._readers: list[Callable[[AsyncSession], Awaitable[None]]] = []
        # Secrets of the present snapshot's tokens that were seen: spares each call a hash.
        self._known: dict[str | bytes, Grant] = {}
        self.current = EMPTY

    def on_change(self, listener: Callable[[Snapshot], None]) -> None:
        """Call `listener` with each new snapshot, and now with the present one."""
        self._listeners.append(listener)
        listener(self.current)

    def read_with(self, reader: Callable[[AsyncSession], Awaitable[None]]) -> None:
        """Let `reader` read what else is kept in memory, from now on with each snapshot."""
        self._readers.append(reader)

    def set_demo(self, base_url: str, *, forced: bool) -> None:
        """Offer the simulated provider at `base_url`, while no other holds a key or when `forced`."""
        # Random: a key is taken out of all that its provider answers, so it may be no word of it.
        key = KeyInfo(DEMO_ID, DEMO_ID, "simulated", secrets.token_urlsafe(24))
        self._demo = ProviderInfo(
            DEMO_ID, DEMO_PROVIDER, base_url, origin(base_url), (key,), is_simulated=True
        )
        self._demo_forced = forced

    @property
    def is_keyless(self) -> bool:
        """Whether no provider holds a key, so that only the simulated one could answer."""
        return not any(
            one.holds_key for one in self.current.providers.values() if not one.is_simulated
        )

    def serves_without(self, provider_id: int) -> Literal["same", "simulated", "none"]:
        """What serves models that name no provider once this one holds no key: as ever one that can,
        or, as it is the last, the simulated one. A server that began with a key has none of that, and
        refuses until it is started again."""
        others = (one for one in self.current.providers.values() if one.id != provider_id)
        if self._demo_forced or any(one.holds_key for one in others if not one.is_simulated):
            return "same"
        return "none" if self._demo is None else "simulated"

    @property
    def is_demo_forced(self) -> bool:
        """Whether the simulated provider stays the default although another holds a key."""
        return self._demo is not None and self._demo_forced

    @property
    def is_demo(self) -> bool:
        """Whether calls go to the simulated provider by default."""
        return self.current.default is not None and self.current.default.is_simulated

    def digest(self, secret: str | bytes) -> str:
        """The stored form of a public token or another secret of the installation."""
        return digest(self._pepper, secret)

    def find_grant(self, secret: str | bytes) -> Grant | None:
        """What a token allows; None when it is unknown, disabled or its user is."""
        grant = self._known.get(secret)
        if grant is None:
            grant = self.current.tokens.get(digest(self._pepper, secret))
            if grant is not None and len(self._known) < _MOST_KNOWN:
                self._known[secret] = grant
        return grant

    async def know_grant(self, secret: str | bytes) -> Grant | None:
        """As `find_grant`, but an unknown token may be one that another process has just made.

        Raises `DatabaseUnavailable` where that cannot be seen.
        """
        grant = self.find_grant(secret)
        if grant is None:
            await self._catch_up()
            grant = self.find_grant(secret)
        return grant

    async def start(self) -> None:
        """Read the pepper (made at the first start) and the first snapshot."""
        self._pepper = await load_pepper(self._database, self._cipher)
        await self.refresh()

    async def refresh(self) -> None:
        """Read everything anew. Called after a change was committed, before it is answered."""
        async with self._lock, self._database.read() as session:
            snapshot = await self._load(session)
            for reader in self._readers:
                await reader(session)
        self._replace(snapshot)

    async def watch(self) -> None:
        """Follow the changes of other processes, for ever. A database that is away is waited for."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._look()
            except (AieyeError, SQLAlchemyError) as error:
                log.warning("directory_not_refreshed", reason=type(error).__name__)

    async def _catch_up(self) -> None:
        """Wait for a look that begins after now; one serves all who wait, however many guess."""
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._looking:
                if self._looked_at <= asked_at:
                    begun_at = time.monotonic()
                    await self._look()
                    self._looked_at = begun_at
        except (TimeoutError, AieyeError, SQLAlchemyError) as error:
            raise DatabaseUnavailable(
                "The database does not answer, so that the token could not be looked up: try again."
            ) from error

    async def _look(self) -> None:
        """Read everything anew if another process has changed something."""
        async with self._database.read() as session:
            value = await session.scalar(select(Revision.value))
        if value is not None and value != self.current.revision:
            await self.refresh()

    def _replace(self, snapshot: Snapshot) -> None:
        if snapshot.revision < self.current.revision:
            return
        self.current = snapshot
        self._known = {}
        for listener in self._listeners:
            listener(snapshot)

    async def _load(self, session: AsyncSession) -> Snapshot:
        # The revision comes first: what changes while the rest is read is then read once more.
        row = (await session.execute(select(Revision.value, Revision.purges))).one()
        providers, default = await self._load_providers(session)
        prices = (await session.scalars(select(PriceOverride))).all()
        return Snapshot(
            revision=row.value,
            purges=row.purges,
            tokens=await _load_tokens(session),
            providers=MappingProxyType({provider.name: provider for provider in providers}),
            providers_by_id=MappingProxyType({provider.id: provider for provider in providers}),
            keys=MappingProxyType({key.id: key for p in providers for key in p.keys}),
            routes=await _load_routes(session),
            default=default,
            prices=tuple(
                {
                    "provider": price.provider,
                    "model": price.model,
                    "rates": price.rates,
                    "effective_from": price.effective_from,
                }
                for price in prices
            ),
            old_tokens=await _load_old_tokens(session),
            pipelines=await _load_pipelines(session),
        )

    async def _load_providers(
        self, session: AsyncSession
    ) -> tuple[list[ProviderInfo], ProviderInfo | None]:
        rows = (
            await session.scalars(
                select(Provider).where(Provider.deleted_at.is_(None)).order_by(Provider.id)
            )
        ).all()
        keys = await self._load_keys(session, {row.id: row.base_url for row in rows})
        found = [
            ProviderInfo(
                row.id,
                row.name,
                row.base_url,
                origin(row.base_url),
                tuple(keys.get(row.id, ())),
                holds_key=row.id in keys,
            )
            for row in rows
        ]
        marked = {row.id for row in rows if row.is_default}
        # As `aieye.access.defaults.find_default` has it.
        default = max(
            found,
            key=lambda one: (
                one.holds_key, one.id in marked, one.name == OPENAI_PROVIDER, -one.id
            ),
            default=None,
        )  # fmt: skip
        is_keyless = not any(one.holds_key for one in found)
        if self._demo is not None and (self._demo_forced or is_keyless):
            found.append(self._demo)
            default = self._demo
        return found, default

    async def _load_keys(
        self, session: AsyncSession, base_urls: Mapping[int, str]
    ) -> dict[int, list[KeyInfo]]:
        """The usable keys of each provider that holds any, usable or not."""
        rows = await session.scalars(
            select(ProviderKey).where(ProviderKey.deleted_at.is_(None)).order_by(ProviderKey.id)
        )
        keys: dict[int, list[KeyInfo]] = {}
        for row in rows:
            if row.sealed is None or row.provider_id not in base_urls:
                continue
            usable = keys.setdefault(row.provider_id, [])
            if not row.is_active:
                continue
            place = provider_key_place(row.id, base_urls[row.provider_id])
            try:
                secret = self._cipher.open(row.sealed, place=place)
            except SealError as error:
                log.error("provider_key_sealed", key_id=row.id, reason=error.message)
                continue
            usable.append(KeyInfo(row.id, row.provider_id, row.name, secret))
        return keys


async def load_pepper(database: Database, cipher: Cipher) -> bytes:
    """The pepper of the tokens' hashes; made, sealed and stored at the first start.

    Raises `SealError` when it does not open: then no token could be known, so the start must fail.
    """
    async with database.write() as session:
        row = await session.get(InstallationSecret, PEPPER)
        if row is None:
            row = InstallationSecret(
                name=PEPPER, sealed=cipher.seal(secrets.token_hex(32), place=PEPPER)
            )
            session.add(row)
        return bytes.fromhex(cipher.open(row.sealed, place=PEPPER))


async def _load_tokens(session: AsyncSession) -> Mapping[str, Grant]:
    rows = await session.execute(
        select(Token, User.email, User.role)
        .join(User, User.id == Token.user_id)
        .where(
            Token.deleted_at.is_(None),
            Token.disabled_at.is_(None),
            User.is_active,
            User.deleted_at.is_(None),
        )
    )
    grants: dict[str, Grant] = {}
    former: dict[str, Grant] = {}
    for token, email, role in rows:
        grants[token.digest] = grant = Grant(
            token_id=token.id,
            token_name=token.name,
            user_id=token.user_id,
            user=email,
            role=role,
            scope=SCOPES[token.scope],
            namespace=token.cache_namespace,
            cache_enabled=token.cache_enabled,
            expires_at=None if token.expires_at is None else to_micros(token.expires_at),
            key_id=token.provider_key_id,
            models=None if token.models is None else frozenset(token.models),
        )
        if token.former_digest is not None and token.former_until is not None:
            # The secret before is the same token with an earlier end.
            ends = to_micros(token.former_until)
            ends = ends if grant.expires_at is None else min(ends, grant.expires_at)
            former[token.former_digest] = replace(grant, expires_at=ends)
    return MappingProxyType({**former, **grants})


async def _load_old_tokens(session: AsyncSession) -> tuple[tuple[str, str], ...]:
    living = Token.deleted_at.is_(None)
    prefixes = [
        *(await session.scalars(select(Token.prefix).where(living))),
        *(
            await session.scalars(
                select(Token.former_prefix).where(living, Token.former_prefix.is_not(None))
            )
        ),
    ]
    return tuple(ends for one in prefixes if one and (ends := ends_of_old_token(one)) is not None)


async def _load_routes(session: AsyncSession) -> Mapping[str, RouteInfo]:
    return MappingProxyType(
        {
            row.alias: RouteInfo(
                row.alias,
                row.strategy == "weighted",
                tuple(
                    RouteTarget(
                        target["provider"],
                        target["model"],
                        target.get("key_id"),
                        target.get("weight", 1),
                    )
                    for target in row.targets
                ),
            )
            for row in await session.scalars(select(Route))
        }
    )


async def _load_pipelines(session: AsyncSession) -> Mapping[str, PipelineInfo]:
    rows = await session.execute(
        select(
            Pipeline.id,
            Pipeline.name,
            Pipeline.user_id,
            Pipeline.is_shared,
            Pipeline.served_version,
            Pipeline.created_at,
        )
        .where(Pipeline.deleted_at.is_(None))
        .order_by(Pipeline.id)
    )
    return MappingProxyType(
        {
            name: PipelineInfo(
                id_, name, user_id, is_shared, version, to_micros(created_at) // 1_000_000
            )
            for id_, name, user_id, is_shared, version, created_at in rows
        }
    )
