"""Which colour a name has: that of its place in the list of all names, which only ever grows. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# Of the colour-blind-safe list in the style sheet, `.c1` to `.c8`; `.c0` is grey, for the rest.
COLOURS = 8


def colour_at(place: int) -> int:
    """The colour of the name that came as number `place` (from 0): the list goes round."""
    return 1 + place % COLOURS


def colours_of(places: Mapping[str, int]) -> dict[str, int]:
    """Colours for the names of one chart, by their places.

    The first eight of all have their own in every chart. One that came later has it too, unless one
    of this chart that came before has the same: then it takes one that nobody has here.
    """
    ranked = sorted(places, key=lambda one: places[one])
    owners: dict[int, str] = {}
    for name in ranked:
        owners.setdefault(colour_at(places[name]), name)
    taken = {name: colour for colour, name in owners.items()}
    for name in ranked:
        if name not in taken:
            own = colour_at(places[name])
            free = [one for one in range(1, COLOURS + 1) if one not in taken.values()]
            taken[name] = min(free, key=lambda one: (one < own, one), default=own)
    return taken
