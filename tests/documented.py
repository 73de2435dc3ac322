"""The administrators' operations as the document names them: tests that go over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Operation:
    """One operation; `body` is its example, None when it takes none."""

    method: str
    path: str
    id: str
    parameters: tuple[str, ...]
    body: Any

    @property
    def has_id(self) -> bool:
        return "{" in self.path

    @property
    def resource(self) -> str:
        return self.path.removeprefix(f"{PREFIX}/").partition("/")[0]

    def at(self, id_: str | int) -> str:
        """The path with an id in it."""
        head, _, rest = self.path.partition("{")
        return f"{head}{id_ if self.has_id else ''}{rest.partition('}')[2]}"


def read_operations(document: bytes) -> tuple[Operation, ...]:
    """All operations under `/api/v1` of an OpenAPI document."""
    return tuple(_read(orjson.loads(document)))


def _read(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if not path.startswith(PREFIX) or method == "parameters":
                continue
            names = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield Operation(
                method.upper(),
                path,
                operation["operationId"],
                tuple(names),
                _example(document, body),
            )


def _example(document: dict[str, Any], media: dict[str, Any]) -> Any:
    """The example of a body: its own, or its schema's."""
    if "example" in media:
        return media["example"]
    if "examples" in media:
        return next(iter(media["examples"].values()))["value"]
    schema = media.get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return next(iter(schema.get("examples", [])), None)
