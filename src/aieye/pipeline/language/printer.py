"""The canonical form of a tree: section 6 of the language.

Printing is `parse` the other way round: what it prints parses to an equal tree, and prints the same
again. A line has up to 88 characters; what does not fit is written one argument a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from aieye.pipeline.language.errors import Diagnostic, Fault, InvalidPipeline
from aieye.pipeline.language.limits import MAX_TREE_DEPTH
from aieye.pipeline.language.nodes import (
    Access,
    Bool,
    Call,
    Entry,
    Expr,
    Field,
    Float,
    Int,
    Keyword,
    Let,
    List,
    Literal,
    Map,
    Name,
    Null,
    Options,
    Param,
    Pipeline,
    Str,
    Type,
)
from aieye.pipeline.language.source import Source
from aieye.pipeline.language.strings import quote

WIDTH: Final = 88
_INDENT: Final = 4

_Item: TypeAlias = Expr | Keyword | Entry


def format_pipeline(pipeline: Pipeline) -> str:
    """The canonical text, with its comments and one newline at the end."""
    printer = _Printer()
    lines: list[str] = []
    declarations: list[Param | Let] = [*pipeline.params, *pipeline.lets]
    for declaration in declarations:
        lines += declaration.comments
        lines.append(printer.declaration(declaration))
    lines += pipeline.comments
    lines.append(printer.layout(pipeline.result, "", "", 0))
    return "\n".join(lines) + "\n"


def format_type(type_: Type) -> str:
    """A type as it is written, such as `dict[str, int]?`."""
    args = f"[{', '.join(map(format_type, type_.args))}]" if type_.args else ""
    return f"{type_.name}{args}{'?' if type_.is_nullable else ''}"


def format_literal(node: Literal) -> str:
    """A literal as it is written."""
    match node:
        case Str():
            return quote(node.value)
        case Bool():
            return "true" if node.value else "false"
        case Null():
            return "null"
        case Int() | Float():
            return repr(node.value)


def format_key(key: int | str) -> str:
    """An index or key as it is written between brackets."""
    return quote(key) if isinstance(key, str) else str(key)


class _Printer:
    """Prints one tree: what fits on a line is written once, and then kept.

    A node's flat text is kept only if it is no longer than a line, so that the work stays in
    proportion to the tree.
    """

    __slots__ = ("_depth", "_flat")

    def __init__(self) -> None:
        self._depth = 0
        self._flat: dict[int, str | None] = {}

    def declaration(self, node: Param | Let) -> str:
        """One declaration with its semicolon."""
        if isinstance(node, Let):
            return self.layout(node.value, f"let {node.name} = ", ";", 0)
        head = f"param {node.name}"
        if node.type is not None:
            head += f": {format_type(node.type)}"
        if node.default is None:
            return f"{head};"
        return self.layout(node.default, f"{head} = ", ";", 0)

    def layout(self, node: Expr, before: str, after: str, indent: int) -> str:
        """The node with what stands before and after it, on one line or on several."""
        flat = self.flat(node)
        if flat is None or indent + len(before) + len(flat) + len(after) > WIDTH:
            flat = self._broken(node, indent)
        return f"{before}{flat}{after}"

    def flat(self, node: Expr) -> str | None:
        """The node on one line; None if it is longer than any line."""
        key = id(node)
        if key not in self._flat:
            self._depth += 1
            if self._depth > MAX_TREE_DEPTH:
                raise _too_deep(node)
            text = self._write_flat(node)
            self._flat[key] = text if text is not None and len(text) <= WIDTH else None
            self._depth -= 1
        return self._flat[key]

    def _write_flat(self, node: Expr) -> str | None:
        match node:
            case Access():
                base = self.flat(node.base)
                return None if base is None else base + _selectors(node)
            case Call():
                text = self._join(f"{node.name}(", node.arguments, ")")
                return None if text is None else text + _options(node.options)
            case List():
                return self._join("[", node.items, "]")
            case Map():
                return self._join("{", node.entries, "}")
        return _atom(node)

    def _join(self, opener: str, items: Sequence[_Item], closer: str) -> str | None:
        parts = []
        for item in items:
            label, value = _split(item)
            flat = self.flat(value)
            if flat is None:
                return None
            parts.append(label + flat)
        return f"{opener}{', '.join(parts)}{closer}"

    def _broken(self, node: Expr, indent: int) -> str:
        """The node with each of its items on a line; as it is, if it has none."""
        match node:
            case Access():
                return self._broken(node.base, indent) + _selectors(node)
            case Call():
                block = self._block(f"{node.name}(", node.arguments, ")", indent)
                return block + _options(node.options)
            case List():
                return self._block("[", node.items, "]", indent)
            case Map():
                return self._block("{", node.entries, "}", indent)
        return _atom(node)

    def _block(self, opener: str, items: Sequence[_Item], closer: str, indent: int) -> str:
        if not items:
            return opener + closer
        lines = [opener]
        inner = indent + _INDENT
        for item in items:
            label, value = _split(item)
            lines.append(" " * inner + self.layout(value, label, ",", inner))
        return "\n".join((*lines, " " * indent + closer))


def _split(item: _Item) -> tuple[str, Expr]:
    """What stands before an item's value, and the value."""
    if isinstance(item, Keyword):
        return f"{item.name}=", item.value
    if isinstance(item, Entry):
        return f"{quote(item.key)}: ", item.value
    return "", item


def _atom(node: Name | Literal) -> str:
    return node.name if isinstance(node, Name) else format_literal(node)


def _selectors(node: Access) -> str:
    return "".join(
        f".{selector.name}" if isinstance(selector, Field) else f"[{format_key(selector.key)}]"
        for selector in node.selectors
    )


def _options(options: Options) -> str:
    if not options:
        return ""
    ordered = sorted(options, key=lambda option: option.name)
    written = [f"{option.name}={format_literal(option.value)}" for option in ordered]
    return f" @({', '.join(written)})"


def _too_deep(node: Expr) -> InvalidPipeline:
    fault = Fault("E007", "nested too deep to be printed", node.start, node.end)
    return InvalidPipeline(Diagnostic.at(fault, Source("")))
