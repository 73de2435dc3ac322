"""What the gateway decides by, as plain immutable data. Pure.

`aieye.access.directory` reads it from the database and replaces it whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

# Each scope includes the ones before it.
SCOPES = MappingProxyType({"proxy": 1, "runs": 2, "admin": 3})
ADMINISTRATOR = "administrator"
USER = "user"
DEMO_PROVIDER = "demo"
# The provider of OPENAI_API_KEY, and the default until an administrator marks another.
OPENAI_PROVIDER = "openai"
# The demo provider has no row; no stored provider or key has this id.
DEMO_ID = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token allows: the caller of a request, as the gateway knows it."""

    token_id: int
    token_name: str
    user_id: int
    user: str
    role: str
    scope: int
    namespace: str
    cache_enabled: bool
    # Microseconds since 1970, or None.
    expires_at: int | None
    key_id: int | None
    models: frozenset[str] | None

    @property
    def is_administrator(self) -> bool:
        return self.role == ADMINISTRATOR


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A provider's key, opened. `secret` never reaches a log: it is left out of `repr`."""

    id: int
    provider_id: int
    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A provider with its usable keys, in the order of their making."""

    id: int
    name: str
    base_url: str
    origin: str
    keys: tuple[KeyInfo, ...]
    is_simulated: bool = False
    # Whether there is a key at all, usable or not (`aieye.access.defaults`).
    holds_key: bool = True


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """One entry of a route."""

    provider: str
    model: str
    key_id: int | None
    weight: int


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """An alias with its targets; `is_weighted` draws the first by weight, else they come in order."""

    alias: str
    is_weighted: bool
    targets: tuple[RouteTarget, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the gateway decides by, as of one revision."""

    revision: int
    purges: int
    tokens: Mapping[str, Grant]
    providers: Mapping[str, ProviderInfo]
    providers_by_id: Mapping[int, ProviderInfo]
    keys: Mapping[int, KeyInfo]
    routes: Mapping[str, RouteInfo]
    default: ProviderInfo | None
    prices: tuple[Mapping[str, Any], ...]


EMPTY = Snapshot(-1, 0, {}, {}, {}, {}, {}, None, ())
