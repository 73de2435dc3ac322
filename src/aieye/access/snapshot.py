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
# The cache namespace that all tokens share which have none of their own.
DEFAULT_NAMESPACE = "default"
DEMO_PROVIDER = "demo"
# The provider of OPENAI_API_KEY, and the default until an administrator marks another.
OPENAI_PROVIDER = "openai"
# Servers of one's own take any word for a key, such as `ollama` or `EMPTY`: that is no secret, and
# taking it out of an answer would spoil the answer.
_SHORTEST_SECRET = 16
# The demo provider has no row; no stored provider or key has this id.
DEMO_ID = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token allows: the caller of a request, as the gateway knows it.

    Whoever is signed in and calls a pipeline has no token: `token_id` is None then.
    """

    token_id: int | None
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
    # The provider of models that name none, where it is not the installation's default.
    home_id: int | None = None

    @property
    def is_administrator(self) -> bool:
        return self.role == ADMINISTRATOR


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A provider's key, opened. `secret` never reaches a log: it is left out of `repr`.

    `hidden` is what has to be taken out of answers, logs and the ledger: the secret, or nothing
    where it is too short to be one.
    """

    id: int
    provider_id: int
    name: str
    secret: str = field(repr=False)
    hidden: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        is_secret = len(self.secret) >= _SHORTEST_SECRET
        object.__setattr__(self, "hidden", self.secret.encode() if is_secret else b"")

    def is_in(self, data: bytes) -> bool:
        """Whether `data` holds what has to be hidden."""
        return self.hidden != b"" and self.hidden in data

    def taken_out_of(self, data: bytes) -> bytes:
        """`data` without what has to be hidden: some providers repeat the key in errors."""
        return data.replace(self.hidden, b"[redacted]") if self.is_in(data) else data


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
class PipelineInfo:
    """A saved pipeline as its callers know it; `version` is the one that runs."""

    id: int
    name: str
    user_id: int
    is_shared: bool
    version: int
    # Seconds since 1970.
    created_at: int


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
    # How the imported tokens begin and end, of which no more is known; disabled ones too.
    old_tokens: tuple[tuple[str, str], ...] = ()
    # Those that are not deleted, by name, the oldest first.
    pipelines: Mapping[str, PipelineInfo] = field(default_factory=dict)


EMPTY = Snapshot(-1, 0, {}, {}, {}, {}, {}, None, ())
