"""A small value for a JSON schema, as structured outputs and function calls need one."""

from __future__ import annotations

from typing import Any

import orjson

from aieye.demo.answers import Json
from aieye.demo.params import is_integer, section

# Deeper levels are as small as they may be; beyond the last there is only null.
_DEEP = 4
_DEEPEST = 32
_MOST_VALUES = 10_000


class SchemaExample:
    """Makes a value for a schema of the kind that structured outputs allow; `text` fills strings.

    Recursive schemas end: by depth, and by a number of values that no sensible schema needs.
    """

    def __init__(self, schema: Json, text: str) -> None:
        self._root = schema
        self._text = text
        self._values_left = _MOST_VALUES

    def json(self) -> str:
        """The example as JSON text."""
        return orjson.dumps(self._value(self._root, 0)).decode()

    def _value(self, schema: object, depth: int) -> Any:
        self._values_left -= 1
        if depth > _DEEPEST or self._values_left < 0:
            return None
        match schema:
            case {"$ref": str(reference)}:
                return self._value(self._resolve(reference), depth + 1)
            case {"const": value} | {"enum": [value, *_]}:
                return value
            case {"anyOf": [first, *rest]} | {"oneOf": [first, *rest]} | {"allOf": [first, *rest]}:
                null = {"type": "null"}
                return self._value(null if depth > _DEEP and null in rest else first, depth + 1)
            case dict():
                return self._typed(schema, depth)
            case _:
                return None

    def _typed(self, schema: Json, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                length = min(_count(schema, "minItems", int(depth <= _DEEP)), 100)
                return [self._value(schema.get("items"), depth + 1) for _ in range(length)]
            case "integer" | "number":
                return schema.get("minimum", 0)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                text = self._text[: _count(schema, "maxLength", len(self._text))]
                return text.ljust(min(_count(schema, "minLength", 0), 1_000), ".")

    def _object(self, schema: Json, depth: int) -> Json:
        """All properties, or at deep levels only those that are required."""
        required = schema.get("required")
        needed = required if isinstance(required, list) else []
        return {
            name: self._value(inner, depth + 1)
            for name, inner in section(schema, "properties").items()
            if depth <= _DEEP or name in needed
        }

    def _resolve(self, reference: str) -> object:
        """The part of the schema that a local `$ref` (`#/$defs/name`) points to, or None."""
        found: object = self._root
        for step in reference.split("/")[1:]:
            found = found.get(step) if isinstance(found, dict) else None
        return found


def _count(schema: Json, name: str, default: int) -> int:
    value = schema.get(name)
    return value if is_integer(value) and value >= 0 else default
