"""The GPT3 Proxy's routes, for the document. Pure."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
_UID = {"type": "string", "pattern": "^[A-Za-z0-9_-]{20}$"}
_MILLISECONDS = {"type": "integer", "description": "Milliseconds since 1970."}
_TYPE = {"type": "string", "enum": ["completion", "search"]}
_ANY_TYPE = {"type": "string", "enum": ["completion", "search", "chat", "embeddings"]}
_CONFIG = {
    **_OBJECT,
    "description": "Which fields there are depends on the type: see docs/presets.md.",
}
_SUCCESS = {"const": True}
_ID = "LSFAz3YBJerddQVL4fIL"
_SEARCH = {"engine_id": "davinci", "documents": ["text here", "text there"]}
_GIVEN = {"name": "search1", "type": "search", "config": _SEARCH}
_SHOWN = {**_GIVEN, "_id": _ID, "updatedAt": 1609795190564}
_RESULTS = {
    "_success": True,
    "data": [
        {"score": 62.777, "document": 1, "object": "search_result"},
        {"score": 43.224, "document": 0, "object": "search_result"},
    ],
    "model": "text-embedding-3-small",
    "object": "list",
}


def saga_paths(security: list[dict[str, list[str]]]) -> dict[str, Any]:
    """The path items, each as it is without a last slash; with it they are the same."""
    engine = _object(owner=_TEXT, ready=_SUCCESS, id=_TEXT, object={"const": "engine"})
    entry = _object(name=_TEXT, _id=_UID, type=_ANY_TYPE, updatedAt=_MILLISECONDS)
    given = _object(name=_TEXT, type=_TYPE, config=_CONFIG)
    fields = {"name": _TEXT, "_id": _UID, "type": _ANY_TYPE, "config": _CONFIG,
              "updatedAt": _MILLISECONDS}  # fmt: skip
    carried = {**given, "properties": {**given["properties"], "_id": _UID}}
    return {
        "/_saga/gpt3/engines": {
            "get": _operation(
                "saga_engines", "The provider's models", security,
                {"type": "array", "items": engine},
                [{"owner": "openai", "ready": True, "id": "davinci", "object": "engine"}],
                asks_provider=True,
            )
        },
        "/_saga/gpt3/configs": {
            "get": _operation(
                "saga_configs", "The presets that you may use, what was changed last first",
                security, {"type": "array", "items": entry},
                [{"name": "search1", "_id": _ID, "type": "search", "updatedAt": 1609795190564}],
            )
        },
        "/_saga/gpt3/create": {
            "post": _operation(
                "saga_create", "Make a preset; with `_id` one that is carried over", security,
                _object(_success=_SUCCESS, createdAt=_MILLISECONDS, **fields),
                {"_success": True, "createdAt": 1609795190564, **_SHOWN},
                body=(carried, _GIVEN),
            )
        },
        "/_saga/gpt3/update": {
            "post": _operation(
                "saga_update", "Say anew what a preset is called and holds", security,
                _object(_success=_SUCCESS, **fields), {"_success": True, **_SHOWN},
                body=(
                    _object(_id=_UID, body=_object(name=_TEXT, type=_ANY_TYPE, config=_CONFIG)),
                    {"_id": _ID, "body": _GIVEN},
                ),
                names_preset=True,
            )
        },
        "/_saga/gpt3/delete": {
            "post": _operation(
                "saga_delete", "Remove a preset", security,
                _object(msg={"const": "deleted"}, _success=_SUCCESS),
                {"msg": "deleted", "_success": True},
                body=(_object(_id=_UID), {"_id": _ID}), names_preset=True,
            )
        },
        "/_saga/gpt3/process": {
            "post": _operation(
                "saga_process", "Process a text by a preset", security,
                {**_OBJECT, "required": ["_success"], "properties": {"_success": _SUCCESS}},
                _RESULTS,
                body=(
                    {
                        **_object(_id=_UID, text=_TEXT),
                        "properties": {
                            "_id": _UID, "text": _TEXT,
                            "prompt": {"description": "Where a completion has none of its own."},
                            "documents": {
                                "type": "array", "items": _TEXT, "maxItems": 200,
                                "description": "Where a search has none of its own.",
                            },
                        },
                    },
                    {"_id": _ID, "text": "Jaws"},
                ),
                names_preset=True, asks_provider=True,
            )
        },
    }  # fmt: skip


def _operation(
    operation_id: str,
    summary: str,
    security: list[dict[str, list[str]]],
    schema: dict[str, Any],
    shown: object,
    *,
    body: tuple[dict[str, Any], object] | None = None,
    names_preset: bool = False,
    asks_provider: bool = False,
) -> dict[str, Any]:
    failures = {"401": "Invalid token.", "503": "The database does not answer; try again shortly."}
    if body is not None:
        failures |= {
            "400": "name is required.",
            "413": "The request's body is larger than allowed here.",
            "415": "Request bodies are not taken compressed; send them as they are.",
        }
    if names_preset:
        failures |= {
            "403": "Only its owner and administrators change a preset.",
            "404": "There is no preset 'LSFAz3YBJerddQVL4fIL'.",
        }
    if asks_provider:
        failures |= {
            "402": "The budget is used up.", "403": "This token may not use that model.",
            "404": "There is no such model.", "429": "The provider limits its calls.",
            "502": "The provider's answer cannot be read.", "504": "The provider did not answer.",
        }  # fmt: skip
    failed = _object(_success={"const": False}, msg=_TEXT)
    described: dict[str, Any] = {
        "tags": ["original"],
        "operationId": operation_id,
        "summary": summary,
        "description": "A last slash makes no difference. Without a token where "
        "`AIEYE_SAGA_OPEN=true`.",
        "security": security,
        "responses": {
            "200": {"description": "As the original had it.", "content": _json(schema, shown)},
            **{
                status: {
                    "description": text, "content": _json(failed, {"_success": False, "msg": text})
                }
                for status, text in sorted(failures.items())
            },
        },
    }  # fmt: skip
    if body is not None:
        described["requestBody"] = {"required": True, "content": _json(*body)}
    return described


def _json(schema: dict[str, Any], shown: object) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": shown}}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}
