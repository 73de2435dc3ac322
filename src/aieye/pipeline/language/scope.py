"""The names of one pipeline while it is read: params, lets and placeholders."""

from __future__ import annotations

from collections.abc import Iterator

from aieye.pipeline.language.findings import Finding
from aieye.pipeline.language.nodes import Let, Name, Param, Type


class Scope:
    """What is declared so far, what has been used, and what nobody declared.

    A pipeline with a `param` is strict: it has no placeholders. `shapes` is what is known of the
    values of params and lets.
    """

    __slots__ = ("_declared", "_used", "is_strict", "lets", "placeholders", "shapes")

    def __init__(self, *, is_strict: bool) -> None:
        self.is_strict = is_strict
        self.lets: set[str] = set()
        self.placeholders: dict[str, Name] = {}
        self.shapes: dict[str, Type | None] = {}
        self._declared: dict[str, Param | Let] = {}
        self._used: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __len__(self) -> int:
        return len(self._declared)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def use(self, name: str) -> bool:
        """Note that a declared name is used; false if it is not declared."""
        if name not in self._declared:
            return False
        self._used.add(name)
        return True

    def declare(self, node: Param | Let, shape: Type | None) -> Finding | None:
        """Make a name known from here on; E203 if it has been declared or used before."""
        name = node.name
        if name in self._declared:
            return _again(node, "is declared twice")
        if name in self.placeholders:
            return _again(node, "is used before it is declared")
        self._declared[name] = node
        self.shapes[name] = shape
        if isinstance(node, Let):
            self.lets.add(name)
        return None

    def unused(self) -> Iterator[Finding]:
        """W601 for each let and W602 for each param that nothing uses."""
        for name, node in self._declared.items():
            if name not in self._used:
                is_let = isinstance(node, Let)
                yield _unused("W601" if is_let else "W602", "let" if is_let else "param", node)


def _again(node: Param | Let, what: str) -> Finding:
    name = node.name
    return Finding("E203", node.start, node.start + len(name), lambda: f"'{name}' {what}")


def _unused(code: str, what: str, node: Param | Let) -> Finding:
    name = node.name
    return Finding(
        *(code, node.start, node.start + len(name)), lambda: f"{what} '{name}' is never used"
    )
