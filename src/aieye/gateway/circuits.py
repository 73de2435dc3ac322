"""The circuits of providers' keys, for as long as the process lives."""

from __future__ import annotations

import time

from aieye.access.snapshot import KeyInfo, Snapshot
from aieye.gateway.retry import Circuit

# A provider's id, a key's id and its secret: what went wrong with a secret says nothing of the next.
_Place = tuple[int, int, str]


class Circuits:
    """The circuit of each key."""

    def __init__(self) -> None:
        self._circuits: dict[_Place, Circuit] = {}

    def of(self, key: KeyInfo) -> Circuit:
        place = _place(key)
        found = self._circuits.get(place)
        if found is None:
            found = self._circuits[place] = Circuit()
        return found

    def follow(self, snapshot: Snapshot) -> None:
        """Forget the keys that are not in use any more."""
        used = {_place(key) for key in snapshot.keys.values()}
        self._circuits = {
            place: circuit for place, circuit in self._circuits.items() if place in used
        }

    def open_keys(self) -> list[tuple[int, int]]:
        """(provider id, key id) of the open ones, for the metrics."""
        moment = time.monotonic()
        return [place[:2] for place, circuit in self._circuits.items() if circuit.is_open(moment)]


def _place(key: KeyInfo) -> _Place:
    return key.provider_id, key.id, key.secret
