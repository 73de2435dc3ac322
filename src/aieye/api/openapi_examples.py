"""Examples for the document: every operation shows one, and each fits its schema. Pure.

What a route gives itself is kept; FastAPI drops nulls from it, which are put back here.
"""

from __future__ import annotations

from typing import Any

_DEEPEST = 8
_JSON = "application/json"
_PLAIN: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "null": None,
}
_FORMATS = {
    "date-time": "2026-11-20T12:00:00Z",
    "email": "ada@example.org",
    "uri": "https://example.org",
    "password": "correct horse battery staple",
    "binary": "…",
}


def complete_examples(described: dict[str, Any]) -> None:
    """Give each JSON body of an operation (errors left out) an example that fits."""
    schemas = described.get("components", {}).get("schemas", {})
    for item in described["paths"].values():
        for operation in item.values():
            if not isinstance(operation, dict):
                continue
            bodies = [operation.get("requestBody", {})]
            bodies += [
                response
                for status, response in operation.get("responses", {}).items()
                if str(status).startswith("2")
            ]
            for body in bodies:
                media = body.get("content", {}).get(_JSON)
                if media is not None:
                    _complete_media(media, schemas)


def example_of(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Any:
    """A value that fits `schema`: one that it names itself, else the plainest of its type."""
    schema = _resolved(schema, schemas)
    for name in ("example", "const", "default"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return example_of(_likeliest(schema[name]), schemas, depth)
    return _by_type(schema, schemas, depth)


def fitted(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """`example` with the required fields that it lacks: null where that is allowed."""
    schema = _resolved(schema, schemas)
    if "anyOf" in schema and example is not None:
        schema = _resolved(_likeliest(schema["anyOf"]), schemas)
    if isinstance(example, list) and "items" in schema:
        return [fitted(item, schema["items"], schemas) for item in example]
    if not isinstance(example, dict) or "properties" not in schema:
        return example
    properties = schema["properties"]
    whole: dict[str, Any] = {**example}
    for name in schema.get("required", ()):
        if name not in whole:
            whole[name] = _absent(properties[name], schemas)
    return {
        name: fitted(value, properties[name], schemas) if name in properties else value
        for name, value in whole.items()
    }


def _complete_media(media: dict[str, Any], schemas: dict[str, Any]) -> None:
    schema = media.get("schema", {})
    if "examples" in media:
        return
    example = media["example"] if "example" in media else example_of(schema, schemas)
    media["example"] = fitted(example, schema, schemas)


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = schemas.get(schema["$ref"].rsplit("/", 1)[-1], {})
    return schema


def _likeliest(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return next((choice for choice in choices if choice.get("type") != "null"), choices[0])


def _absent(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    choices = _resolved(schema, schemas).get("anyOf", [schema])
    if any(choice.get("type") == "null" for choice in choices):
        return None
    return example_of(schema, schemas)


def _by_type(schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object")
    if depth > _DEEPEST:
        return None
    if kind == "object":
        return {
            name: example_of(value, schemas, depth + 1)
            for name, value in schema.get("properties", {}).items()
            if name in schema.get("required", ())
        }
    if kind == "array":
        return [example_of(schema["items"], schemas, depth + 1)] if "items" in schema else []
    if kind == "string" and "format" in schema:
        return _FORMATS.get(schema["format"], _PLAIN["string"])
    return _PLAIN.get(kind)
