"""The tree of a pipeline: frozen, comparable by what it says and not by where it stands.

`start` and `end` are offsets in code points, `end` exclusive. Of a node that has a name, `start` is
where the name starts, so that the name's own span needs no fields.
"""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from aieye.pipeline.language.frozen import node
from aieye.pipeline.language.source import Source


@node
class Str:
    """A string."""

    value: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Int:
    """An integer of 64 bits."""

    value: int
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Float:
    """A finite number with a fraction or an exponent."""

    value: float
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Bool:
    """`true` or `false`."""

    value: bool
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Null:
    """`null`."""

    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    @property
    def value(self) -> None:
        return None


@node
class Name:
    """A bare name: a let, a param, a callable without required parameters, or a placeholder."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Keyword:
    """An argument with a name. `start` is the name's."""

    name: str
    value: Expr
    start: int = field(default=0, compare=False)

    @property
    def end(self) -> int:
        return self.value.end


@node
class Option:
    """How a call is made, such as `retries=2`. `start` is the name's."""

    name: str
    value: Literal
    start: int = field(default=0, compare=False)


class Options(tuple[Option, ...]):
    """The options of a call in source order, which does not count when they are compared."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and sorted(self, key=_name) == sorted(other, key=_name)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(frozenset(self))


NO_OPTIONS = Options()


@node
class Call:
    """`name(arguments) @(options)`. A positional argument is its expression; order is the source's.

    The callee's own span is `start` and the length of `name`.
    """

    name: str
    arguments: tuple[Expr | Keyword, ...] = ()
    options: Options = NO_OPTIONS
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Field:
    """`.name`; `start` is the dot's."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Index:
    """`[0]` or `["key"]`; `start` is the bracket's."""

    key: int | str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Access:
    """A value and the chain of selectors behind it, at least one."""

    base: Name | Call
    selectors: tuple[Field | Index, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class List:
    """`[items]`."""

    items: tuple[Expr, ...] = ()
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Entry:
    """`"key": value` of a map; `start` is the key's."""

    key: str
    value: Expr
    start: int = field(default=0, compare=False)


@node
class Map:
    """`{entries}`, their keys all different."""

    entries: tuple[Entry, ...] = ()
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


Literal: TypeAlias = Str | Int | Float | Bool | Null
Expr: TypeAlias = Name | Call | Access | List | Map | Literal


@node
class Type:
    """`name[args]`, with `?` where null is admitted."""

    name: str
    args: tuple[Type, ...] = ()
    is_nullable: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@node
class Param:
    """`param name: type = default;`. `start` is the name's, `end` behind the semicolon."""

    name: str
    type: Type | None = None
    default: Expr | None = None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    comments: tuple[str, ...] = field(default=(), compare=False)


@node
class Let:
    """`let name = value;`. `start` is the name's, `end` behind the semicolon."""

    name: str
    value: Expr
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    comments: tuple[str, ...] = field(default=(), compare=False)


_NOWHERE = Source("")


@node
class Pipeline:
    """A whole text: its declarations and the expression whose value it has.

    `comments` are those of the final expression, `hidden` the offsets of invisible characters in
    strings.
    """

    result: Expr
    params: tuple[Param, ...] = ()
    lets: tuple[Let, ...] = ()
    comments: tuple[str, ...] = field(default=(), compare=False)
    hidden: tuple[int, ...] = field(default=(), compare=False)
    source: Source = field(default=_NOWHERE, compare=False, repr=False)


def _name(option: Option) -> str:
    return option.name
