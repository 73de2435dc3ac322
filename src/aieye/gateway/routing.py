"""To whom a call goes: aliases, `provider/model`, the default provider. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from aieye.access.snapshot import Grant, KeyInfo, ProviderInfo, RouteInfo, RouteTarget, Snapshot
from aieye.errors import Forbidden, NotFound, Unavailable


class ModelNotFound(NotFound):
    """Nothing here answers to that model's name, or the caller may not use it."""

    code = "model_not_found"


class ModelNotAllowed(Forbidden):
    """The token is limited to other models."""

    code = "model_not_allowed"


class NoRoute(Unavailable):
    """There is nobody to send the call to: no provider, or no usable key."""

    code = "no_route"


# Pairs of token and model that are remembered until the next change of the set-up.
_MOST_KNOWN = 4_096
# A token, the key that it is pinned to, its own default provider, and a model.
_Place = tuple[int | None, int | None, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider, the keys to try there in turn, and the model's name as the provider knows it."""

    provider: ProviderInfo
    keys: tuple[KeyInfo, ...]
    model: str | None
    key_ids: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_ids", tuple(key.id for key in self.keys))


class Router:
    """Finds the candidates under one snapshot, and remembers those that always come out alike."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._known: dict[_Place, tuple[Candidate, ...]] = {}

    def resolve(self, grant: Grant, model: str | None) -> tuple[Candidate, ...]:
        """See `resolve`."""
        # Callers without a token differ in the key that they chose.
        place = (grant.token_id, grant.key_id, grant.home_id, model)
        found = self._known.get(place)
        if found is None:
            found = tuple(resolve(self.snapshot, grant, model))
            route = None if model is None else self.snapshot.routes.get(model)
            if (route is None or not route.is_weighted) and len(self._known) < _MOST_KNOWN:
                self._known[place] = found
        return found


def resolve(snapshot: Snapshot, grant: Grant, model: str | None) -> list[Candidate]:
    """The candidates for a call, best first. `model` is None where the operation names none.

    Raises `ModelNotFound`, `ModelNotAllowed`, `NoRoute`.
    """
    if model is not None and grant.models is not None and not is_allowed(model, grant.models):
        raise ModelNotAllowed(f"This token may not use the model {model[:100]!r}.", param="model")
    route = None if model is None else snapshot.routes.get(model)
    if route is not None:
        found = [_target(snapshot, target) for target in _in_order(route)]
        candidates = [candidate for candidate in found if candidate is not None]
    else:
        candidates = [_direct(snapshot, grant, model)]
    if grant.key_id is not None:
        candidates = _pinned(snapshot, grant.key_id, candidates)
    usable = [candidate for candidate in candidates if candidate.keys]
    if not usable:
        raise NoRoute(
            f"{_what_lacks(candidates)} for this call; an administrator can add one.",
            retry_after_seconds=30,
        )
    return usable


def is_allowed(model: str, allowed: frozenset[str]) -> bool:
    """Whether `model` is among `allowed`, whose names may end in `*`."""
    return model in allowed or any(
        name.endswith("*") and model.startswith(name[:-1]) for name in allowed
    )


def _in_order(route: RouteInfo) -> Sequence[RouteTarget]:
    if not route.is_weighted:
        return route.targets
    # Each draw is by weight among those that are left: the first carries the load as the weights
    # say, the rest are where to go when it fails.
    left, order = list(route.targets), []
    while left:
        chosen = random.choices(range(len(left)), [target.weight for target in left])[0]  # noqa: S311 - load, not secrets
        order.append(left.pop(chosen))
    return order


def _target(snapshot: Snapshot, target: RouteTarget) -> Candidate | None:
    provider = snapshot.providers.get(target.provider)
    if provider is None:
        return None
    keys = provider.keys
    if target.key_id is not None:
        keys = tuple(key for key in keys if key.id == target.key_id)
    return Candidate(provider, keys, target.model)


def _direct(snapshot: Snapshot, grant: Grant, model: str | None) -> Candidate:
    if model is not None:
        name, slash, rest = model.partition("/")
        named = snapshot.providers.get(name) if slash and rest else None
        if named is not None:
            return Candidate(named, named.keys, rest)
    provider = snapshot.default
    if grant.home_id is not None:
        provider = snapshot.providers_by_id.get(grant.home_id, provider)
    if grant.key_id is not None and grant.key_id in snapshot.keys:
        provider = snapshot.providers_by_id.get(snapshot.keys[grant.key_id].provider_id, provider)
    if provider is None:
        raise NoRoute(
            "No provider is set up yet; an administrator can add one.", retry_after_seconds=30
        )
    return Candidate(provider, provider.keys, model)


def _what_lacks(candidates: Sequence[Candidate]) -> str:
    names = {candidate.provider.name for candidate in candidates}
    if len(names) == 1:
        return f"The provider {names.pop()} has no usable key"
    return "No provider has a usable key"


def _pinned(snapshot: Snapshot, key_id: int, candidates: Sequence[Candidate]) -> list[Candidate]:
    key = snapshot.keys.get(key_id)
    kept = [
        Candidate(candidate.provider, (key,), candidate.model)
        for candidate in candidates
        if key is not None and candidate.provider.id == key.provider_id
    ]
    if candidates and not kept and key is not None:
        raise ModelNotFound("This token's provider does not serve that model.", param="model")
    return kept


def bound_to(
    snapshot: Snapshot, candidates: Sequence[Candidate], model: str | None, key_id: int
) -> list[Candidate]:
    """`candidates` as they are for what belongs to one key: that key at its provider, or nothing.

    Where no candidate is of that provider, `model` itself is asked for there.
    """
    key = snapshot.keys.get(key_id)
    if key is None:
        return []
    provider = snapshot.providers_by_id[key.provider_id]
    fitting = [
        Candidate(provider, (key,), candidate.model)
        for candidate in candidates
        if candidate.provider.id == provider.id
    ]
    return fitting or [Candidate(provider, (key,), model)]


def with_key(candidate: Candidate, key_id: int | None) -> Candidate:
    """`candidate` with only the key of that id, for what belongs to that key at the provider."""
    if key_id is None:
        return candidate
    return Candidate(
        candidate.provider,
        tuple(key for key in candidate.keys if key.id == key_id),
        candidate.model,
    )
