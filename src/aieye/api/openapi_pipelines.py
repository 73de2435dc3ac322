"""Saved pipelines as operations of their own, for the document of a caller who may use them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import orjson

from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.nodes import Type

GENERIC: Final = "/api/v1/pipelines/{name}/call"
_PLAIN: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_SHOWN: Final[Mapping[str, Any]] = {
    "str": "text", "int": 1, "float": 0.5, "bool": True, "list": [], "dict": {},
}  # fmt: skip


def add_pipelines(
    described: Mapping[str, Any], pipelines: Iterable[tuple[str, Sequence[Parameter]]]
) -> dict[str, Any]:
    """The document with a call of each pipeline, whose arguments have their types."""
    generic = described["paths"][GENERIC]["post"]
    paths = dict(described["paths"])
    for name, parameters in pipelines:
        paths[GENERIC.replace("{name}", name)] = {"post": _operation(generic, name, parameters)}
    return {**described, "paths": paths}


def schema_of(type_: Type | None) -> dict[str, Any]:
    """The JSON schema of what a parameter takes; what is not annotated takes anything."""
    if type_ is None or type_.name == "any":
        return {}
    schema: dict[str, Any]
    if type_.name in _PLAIN:
        schema = {"type": _PLAIN[type_.name]}
    elif type_.name == "list":
        schema = {"type": "array", "items": schema_of(type_.args[-1]) if type_.args else {}}
    else:
        values = schema_of(type_.args[-1]) if type_.args else {}
        schema = {"type": "object", "additionalProperties": values or True}
    return {"anyOf": [schema, {"type": "null"}]} if type_.is_nullable else schema


def _operation(
    generic: Mapping[str, Any], name: str, parameters: Sequence[Parameter]
) -> dict[str, Any]:
    operation = deepcopy(dict(generic))
    operation["operationId"] = f"pipelines_call_{name}"
    operation["summary"] = f"Run the pipeline {name}"
    operation["parameters"] = [
        one for one in operation.get("parameters", ()) if one.get("in") != "path"
    ]
    required = [one.name for one in parameters if one.is_required]
    arguments: dict[str, Any] = {
        "type": "object",
        "properties": {one.name: _argument(one) for one in parameters},
        "additionalProperties": True,
    }
    body: dict[str, Any] = {
        "type": "object",
        "properties": {
            "args": {**arguments, "required": required} if required else arguments,
            "cache": {"type": "string", "enum": ["use", "refresh", "off", "only"]},
            "timeout": {"type": "number", "exclusiveMinimum": 0},
        },
        "additionalProperties": False,
    }
    if required:
        body["required"] = ["args"]
    shown = {one.name: _example(one) for one in parameters if one.is_required}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": body, "example": {"args": shown}}},
    }
    return operation


def _argument(parameter: Parameter) -> dict[str, Any]:
    schema = schema_of(parameter.type)
    if not parameter.is_required:
        # In words: generators take a field with a default for a required one.
        schema["description"] = f"`{orjson.dumps(parameter.default).decode()}` if left out."
    return schema


def _example(parameter: Parameter) -> Any:
    return "text" if parameter.type is None else _SHOWN.get(parameter.type.name, "text")
