"""The original's routes about pipelines, for the document. Pure."""

from __future__ import annotations

from typing import Any

_ID = {"type": "integer", "minimum": 1}
_TEXT: dict[str, Any] = {"type": "string"}
_COST = {"type": ["number", "null"], "description": "Dollars, null where it is not known."}
_ENTRY = {
    "fn_name": "prompt_buddy",
    "fn_type": "prompt",
    "model": "gpt-4o-mini",
    "parameters": {"buddy": "Ada"},
    "output": "Hello Ada!",
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "prompt_cost": 0.00000165,
    "completion_cost": 0.0000042,
    "start_date": "2026-11-20T12:00:00Z",
    "end_date": "2026-11-20T12:00:01Z",
}
_EXECUTION = {
    "id": 7,
    "pipeline": 14,
    "status": "success",
    "start_date": "2026-11-20T12:00:00Z",
    "end_date": "2026-11-20T12:00:01Z",
    "parameters": {"s": "abc"},
    "output": "abc",
    "error": None,
    "total_prompt_tokens": 11,
    "total_completion_tokens": 7,
    "total_tokens": 18,
    "total_prompt_cost": 0.00000165,
    "total_completion_cost": 0.0000042,
    "total_cost": 0.00000585,
}
_PARAM = {"name": "s", "type": "str", "required": True, "default": None}
_FAILED = {
    "success": False,
    "error": "pipeline:1:1: error[E501]: 'fail' failed: no luck",
    "diagnostics": [],
}


def pipeline_paths(security: list[dict[str, list[str]]]) -> dict[str, Any]:
    """The path items, each as it is with its last slash; without it they are the same."""
    return {
        "/api/pipeline/args/": {
            "get": _operation(
                "original_pipeline_args", "The arguments of a pipeline", security,
                _object(success={"const": True}, response=_list(_TEXT), params=_list(_any())),
                {"success": True, "response": ["s"], "params": [_PARAM]},
                parameters=[
                    _query("pipeline_name", _TEXT, "my_pipeline"),
                    _query("pipeline_id", _ID, 14),
                ],
            )
        },
        "/api/pipeline/call/": {
            "post": _operation(
                "original_pipeline_call", "Run a pipeline", security,
                {**_any(), "required": ["success", "response"]},
                {"success": True, "response": "abc"},
                parameters=[
                    _query("typed", _TEXT, "1", "`1` gives the value as it is, not as text."),
                    _query("meta", _TEXT, "1", "`1` adds usage, cost and steps."),
                ],
                body=(
                    {
                        **_any(), "required": ["pipeline_id"],
                        "properties": {
                            "pipeline_id": _ID, "args": _any(),
                            "openaikey_id": {
                                **_ID, "description": "With a session: the provider's key.",
                            },
                        },
                    },
                    {"pipeline_id": 14, "args": {"s": "abc"}},
                ),
                failures=("402", "502", "504"),
            )
        },
        "/api/pipelines/": {
            "get": _operation(
                "original_pipelines", "Your own pipelines", security,
                _list(_object(id=_ID, name=_TEXT, body=_TEXT, tags=_list(_TEXT))),
                [{"id": 14, "name": "my_pipeline", "body": "identity(s)", "tags": ["demo"]}],
                parameters=[_query("tag", _TEXT, "demo")],
            )
        },
        "/api/pipeline/logs/": {
            "post": _operation(
                "original_pipeline_logs", "Your newest run of a pipeline", security,
                _object(pipeline_execution=_like(_EXECUTION), call_entries=_list(_like(_ENTRY))),
                {"pipeline_execution": _EXECUTION, "call_entries": [_ENTRY]},
                body=(
                    {**_any(), "required": ["pipeline_id"], "properties": {"pipeline_id": _ID}},
                    {"pipeline_id": 14},
                ),
            )
        },
        "/api/execution/{id}/": {
            "get": _operation(
                "original_execution", "The steps of a run", security,
                _object(execution_id=_ID, call_entries=_list(_like(_ENTRY))),
                {"execution_id": 7, "call_entries": [_ENTRY]},
                parameters=[
                    {"name": "id", "in": "path", "required": True, "schema": _ID, "example": 7}
                ],
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
    parameters: list[dict[str, Any]] | None = None,
    body: tuple[dict[str, Any], object] | None = None,
    failures: tuple[str, ...] = (),
) -> dict[str, Any]:
    detail = _object(detail=_TEXT)
    fields = {"type": "object", "additionalProperties": _list(_TEXT)}
    failed = {**_any(), "required": ["success", "error", "diagnostics"]}
    wrong = {"description": "What is wrong.", "content": _json({"anyOf": [failed, detail, fields]},
             {"pipeline_id": ["This field is required."]})}  # fmt: skip
    described: dict[str, Any] = {
        "tags": ["original"],
        "operationId": operation_id,
        "summary": summary,
        "description": "By token or by session; the last slash may be absent.",
        "security": security,
        "parameters": parameters or [],
        "responses": {
            "200": {"description": "As the original had it.", "content": _json(schema, shown)},
            **{
                status: {"description": text, "content": _json(detail, {"detail": text})}
                for status, text in (
                    ("401", "Invalid token."),
                    ("403", "CSRF Failed: The request comes from another site."),
                    ("404", "There is no pipeline 14."),
                    ("413", "The request's body is larger than allowed here."),
                    ("415", "Request bodies are not taken compressed; send them as they are."),
                    ("503", "The database did not answer; nothing was changed."),
                )
            },
            "400": wrong,
            **{
                status: {"description": "A step failed.", "content": _json(failed, _FAILED)}
                for status in failures
            },
        },
    }
    if body is not None:
        described["requestBody"] = {"required": True, "content": _json(*body)}
    return described


def _json(schema: dict[str, Any], shown: object) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": shown}}


def _query(name: str, schema: dict[str, Any], shown: object, text: str = "") -> dict[str, Any]:
    described = {"description": text} if text else {}
    return {"name": name, "in": "query", "schema": schema, "example": shown, **described}


def _any() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": True}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _like(shown: dict[str, Any]) -> dict[str, Any]:
    """The schema of such an object. What may be null is not told apart, but for costs."""
    return _object(**{name: _COST if name.endswith("_cost") else {} for name in shown})
