"""The document at `/openapi.json`: valid, complete, with examples, and the one that is committed.

`python -m tests.integration.test_openapi` writes the committed copy anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi.routing import iter_route_contexts
from schemathesis.specs.openapi.definitions import OPENAPI_31

from aieye.api.deps import PREFIX
from aieye.api.openapi import document, operations
from aieye.api.openapi_examples import example_of, fitted
from aieye.app import create_app
from aieye.gateway import wire
from aieye.settings import load_settings

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


def make_document() -> dict[str, Any]:
    return document(create_app(load_settings()).fastapi)


def as_text(described: dict[str, Any]) -> str:
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The document, as a reader of the JSON gets it."""
    found: dict[str, Any] = json.loads(as_text(make_document()))
    return found


def test_the_committed_copy_is_the_document(described: dict[str, Any]) -> None:
    is_same = json.loads(COMMITTED.read_text()) == described
    assert is_same, "it has drifted: python -m tests.integration.test_openapi writes it anew"


def test_the_document_is_openapi_3_1(described: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(OPENAPI_31)
    assert [str(error)[:300] for error in validator.iter_errors(described)] == []
    assert described["openapi"] == "3.1.0"


def test_what_a_request_may_leave_out_says_its_default_in_words(described: dict[str, Any]) -> None:
    """Generators for TypeScript take a field with a `default` for one that has to be there."""
    schemas = described["components"]["schemas"]
    written = {name: schema for name, schema in schemas.items() if "additionalProperties" in schema}
    assert {"TokenCreate", "TokenUpdate", "TargetWrite", "PurgeRequest"} <= set(written)
    for name, schema in written.items():
        assert not [field for field, shown in schema["properties"].items() if "default" in shown], (
            name
        )
    scope = schemas["TokenCreate"]["properties"]["scope"]
    assert scope["description"] == '`"proxy"` if left out.'
    assert "scope" not in schemas["TokenCreate"]["required"]


def test_its_servers_are_relative(described: dict[str, Any]) -> None:
    assert [server["url"] for server in described["servers"]] == ["/"]


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', as_text(described))):
        place: Any = described
        for part in reference.split("/"):
            place = place[part]
        assert place


def test_operations_have_names_of_their_own_and_a_line_about_them(
    described: dict[str, Any],
) -> None:
    found = list(operations(described))
    names = [operation["operationId"] for _, _, operation in found]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert all(operation["summary"] for _, _, operation in found)
    assert {"tokens_create", "calls_list", "usage_list", "cache_explain"} <= set(names)


def test_every_operation_of_the_administrators_api_is_there(described: dict[str, Any]) -> None:
    app = create_app(load_settings()).fastapi
    served = {
        (route.path, method.lower())
        for route in iter_route_contexts(app.routes)
        if (route.path or "").startswith(PREFIX)
        for method in route.methods or ()
    }
    assert served <= {(path, method) for path, method, _ in operations(described)}


def test_openais_api_is_there_just_as_the_gateway_serves_it(described: dict[str, Any]) -> None:
    shown = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, method, _ in operations(described)
        if path.startswith("/v1/")
    }
    assert shown == {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in wire.paths()}


def test_the_originals_routes_are_there(described: dict[str, Any]) -> None:
    for path in ("/api/openai/{endpoint}/", "/api/cache/{endpoint}/"):
        assert described["paths"][path]["post"]["responses"]["200"]


def test_every_operation_but_the_health_checks_says_how_to_sign_in(
    described: dict[str, Any],
) -> None:
    schemes = described["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    for path, _, operation in operations(described):
        if path in {"/healthz", "/readyz"}:
            assert "security" not in operation
        else:
            assert operation["security"], path


def test_streams_are_described_by_their_events(described: dict[str, Any]) -> None:
    chat = described["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(chat) == {"application/json", "text/event-stream"}
    assert '"itemSchema"' not in as_text(described)


def bodies(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON bodies of an operation: what it takes and what it answers."""
    parts = [operation.get("requestBody", {})]
    parts += [
        response for status, response in operation["responses"].items() if status.startswith("2")
    ]
    found = [part.get("content", {}).get("application/json") for part in parts]
    return [media for media in found if media is not None]


def test_every_operation_shows_an_example_that_fits_its_schema(described: dict[str, Any]) -> None:
    for path, method, operation in operations(described):
        for media in bodies(operation):
            schema = {**media["schema"], "components": described["components"]}
            examples = [media["example"]] if "example" in media else media["examples"].values()
            for example in examples:
                faults = [str(fault) for fault in jsonschema_rs.iter_errors(schema, example)]
                assert faults == [], f"{method} {path}: {faults}"


async def test_anybody_may_read_the_document() -> None:
    transport = httpx.ASGITransport(create_app(load_settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["info"]["title"] == "AI-Eye"


SCHEMAS: dict[str, Any] = {
    "Pet": {
        "type": "object",
        "required": ["name", "owner", "tags"],
        "properties": {
            "name": {"type": "string"},
            "owner": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}},
            "nickname": {"type": "string"},
        },
    },
    "Tag": {"type": "string", "enum": ["a", "b"]},
}
PET = {"$ref": "#/components/schemas/Pet"}


def test_an_example_is_made_of_a_schema_where_a_route_gives_none() -> None:
    assert example_of(PET, SCHEMAS) == {"name": "text", "owner": "text", "tags": ["a"]}


def test_an_example_that_lacks_a_required_field_gets_it_as_null_where_that_fits() -> None:
    given = {"name": "Rex", "nickname": "R"}
    whole = {"name": "Rex", "owner": None, "tags": ["a"], "nickname": "R"}
    assert fitted(given, PET, SCHEMAS) == whole
    assert fitted([given], {"type": "array", "items": PET}, SCHEMAS) == [whole]


if __name__ == "__main__":
    COMMITTED.write_text(as_text(make_document()))
