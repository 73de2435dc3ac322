"""What a token is limited to, and whether one token's limits lie within another's. Pure.

Each limit is a dimension of its own: what is not limited in one reaches everything there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from aieye.access.snapshot import DEFAULT_NAMESPACE, Grant


@dataclass(frozen=True, slots=True)
class Bounds:
    """A token's limits, named as its fields are; each None where there is no limit."""

    models: frozenset[str] | None = None
    cache_namespace: str | None = None
    provider_key_id: int | None = None
    # Microseconds since 1970.
    expires_at: int | None = None

    def beyond(self, outer: Bounds) -> frozenset[str]:
        """The limits of `outer` that these do not keep to, by name."""
        kept = {
            "models": self.models is not None and self.models <= (outer.models or frozenset()),
            "cache_namespace": self.cache_namespace == outer.cache_namespace,
            "provider_key_id": self.provider_key_id == outer.provider_key_id,
            "expires_at": self.expires_at is not None
            and self.expires_at <= (outer.expires_at or 0),
        }
        return frozenset(name for name in outer.limited() if not kept[name])

    def unlike(self, other: Bounds) -> frozenset[str]:
        """The names of the limits that differ."""
        names = (field.name for field in fields(self))
        return frozenset(name for name in names if getattr(self, name) != getattr(other, name))

    def limited(self) -> frozenset[str]:
        """The names of the limits that there are."""
        return self.unlike(UNLIMITED)


UNLIMITED = Bounds()


def bounds_of(grant: Grant) -> Bounds:
    """What the holder of a token is bound to."""
    return Bounds(grant.models, limiting_namespace(grant.namespace), grant.key_id, grant.expires_at)


def limiting_namespace(namespace: str) -> str | None:
    """The namespace as a limit: everybody shares the default one, which so is none."""
    return None if namespace == DEFAULT_NAMESPACE else namespace
