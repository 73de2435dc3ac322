"""What the steps of a run convert and read out of values.

A text is read as JSON once, not once for each step that reads something in it, and what is kept of that
counts as the run's: of a text of one mebibyte, lists of twenty may come. A large text is read in a thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, cast

from aieye.pipeline.evaluation.reading import Reading
from aieye.pipeline.evaluation.room import Room
from aieye.pipeline.language.nodes import Field, Index, Type
from aieye.pipeline.language.values import Json, convert, read_json, select, text_of
from aieye.pipeline.limits import LARGE_BYTES
from aieye.pipeline.sizes import Sized, measure, size_of

# Of this many values it is remembered what they became: each may be large.
_MOST_KEPT: Final = 4
# What is shorter is made anew.
_LEAST_CHARACTERS: Final = 1_024


class _Made:
    """What a value became, and the sizes of the parts of it that are counted, by their identity.

    `source` is held so that its identity stays its own.
    """

    __slots__ = ("sizes", "source", "value")

    def __init__(self, source: Json, value: Json) -> None:
        self.source = source
        self.value = value
        self.sizes: dict[int, int] = {}


class Conversions:
    """Those of one run. What is made of a value is shared: values never change."""

    __slots__ = ("_kept", "_latest", "_room", "reading")

    def __init__(self, room: Room, reading: Reading) -> None:
        self._room = room
        self.reading = reading
        self._kept: OrderedDict[int, _Made] = OrderedDict()
        self._latest: _Made | None = None

    def convert(self, value: Json, type_: Type | None) -> Json:
        """The value as a parameter of that type receives it.

        Raises `Unconvertible`, `Unmeasurable` for one that is nested too deep, `NoRoom`, `NotRead`.
        """
        if type_ is None:
            return value
        self._latest = None
        found = convert(value, type_, self._read, self._write)
        self._count(found)
        return found

    def select(self, value: Json, selectors: Sequence[Field | Index]) -> Sized:
        """What a chain of selectors reads in a value, and its size.

        Raises `NoSuchItem`, `Unmeasurable` for what is nested too deep, `NoRoom`, `NotRead`.
        """
        self._latest = None
        found = select(value, selectors, self._read)
        size = self._count(found)
        return found, size_of(found) if size is None else size

    def _read(self, text: str) -> Json:
        made = self._find(text)
        if made is None:
            value = read_json(text) if len(text) <= LARGE_BYTES else self.reading.read(text)
            made = self._keep(_Made(text, value), len(text))
        return made.value

    def _write(self, value: Json) -> str:
        if not isinstance(value, list | dict):
            return text_of(value)
        made = self._find(value)
        if made is None:
            text = text_of(value)
            made = self._keep(_Made(value, text), len(text))
        return cast(str, made.value)

    def _find(self, source: Json) -> _Made | None:
        made = self._kept.get(id(source))
        if made is not None:
            self._kept.move_to_end(id(source))
            self._latest = made
        return made

    def _keep(self, made: _Made, characters: int) -> _Made:
        self._latest = made
        if characters >= _LEAST_CHARACTERS:
            self._kept[id(made.source)] = made
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made

    def _count(self, found: Json) -> int | None:
        """The size of what is a part of something just made, which counts once; else None."""
        made = self._latest
        if made is None:
            return None
        size = made.sizes.get(id(found))
        if size is None:
            size, memory = measure(found)
            self._room.take(memory)
            made.sizes[id(found)] = size
        return size
