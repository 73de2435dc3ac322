"""Which of providers' keys are left alone for a while, and which are asked after others.

A circuit keeps all calls from a key that fails again and again. A rest is no outage: a key whose
provider limits it, or refuses it a model, comes after others for that model, and is asked all the
same when there are none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from aieye.access.snapshot import KeyInfo, Snapshot
from aieye.gateway.retry import Circuit
from aieye.gateway.routing import Candidate

# A provider's id, a key's id and its secret: what went wrong with a secret says nothing of the next.
_Place = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Health:
    """How a key is doing, as this process knows it. Times are seconds from now.

    `failures` came one after another; `open_seconds` is None unless calls are kept away for so long;
    `rests` are the models for which other keys are asked first (None is any).
    """

    failures: int
    open_seconds: float | None
    rests: Sequence[tuple[str | None, float]]


# A candidate and one of its keys.
Turn = tuple[Candidate, KeyInfo]
# Models' names are clients' texts: no more than this are remembered.
_MOST_RESTS = 1_024


class Circuits:
    """The circuit of each key, and the rests, for as long as the process lives."""

    def __init__(self) -> None:
        self._circuits: dict[_Place, Circuit] = {}
        # Until when, in monotonic seconds, by key and model.
        self._rests: dict[tuple[_Place, str | None], float] = {}

    def of(self, key: KeyInfo) -> Circuit:
        place = _place(key)
        found = self._circuits.get(place)
        if found is None:
            found = self._circuits[place] = Circuit()
        return found

    def rest(self, key: KeyInfo, model: str | None, seconds: float) -> None:
        """Let other keys be asked first for `model`."""
        moment = time.monotonic()
        if len(self._rests) >= _MOST_RESTS:
            self._rests = {place: until for place, until in self._rests.items() if until > moment}
        if len(self._rests) < _MOST_RESTS:
            self._rests[_place(key), model] = moment + seconds

    def in_order(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """`turns` with those at their end whose key rests, the shortest rest first."""
        if not self._rests:
            return turns
        moment = time.monotonic()

        def rest_of(turn: Turn) -> float:
            candidate, key = turn
            return max(0.0, self._rests.get((_place(key), candidate.model), 0.0) - moment)

        return sorted(turns, key=rest_of)

    def health(self, key: KeyInfo) -> Health:
        """How the key is doing."""
        moment, place = time.monotonic(), _place(key)
        circuit = self._circuits.get(place, Circuit())
        rests = [
            (model, until - moment)
            for (rested, model), until in self._rests.items()
            if rested == place and until > moment
        ]
        left = circuit.open_until - moment if circuit.is_open(moment) else None
        return Health(circuit.failures, left, rests)

    def follow(self, snapshot: Snapshot) -> None:
        """Forget the keys that are not in use any more."""
        used = {_place(key) for key in snapshot.keys.values()}
        self._circuits = {
            place: circuit for place, circuit in self._circuits.items() if place in used
        }
        self._rests = {place: until for place, until in self._rests.items() if place[0] in used}

    def open_keys(self) -> list[tuple[int, int]]:
        """(provider id, key id) of the open ones, for the metrics."""
        moment = time.monotonic()
        return [place[:2] for place, circuit in self._circuits.items() if circuit.is_open(moment)]


def _place(key: KeyInfo) -> _Place:
    return key.provider_id, key.id, key.secret
