"""schemathesis over the whole OpenAPI document: no 5xx, and answers are what the document says.

It calls a real server, whose lifespan an in-process transport would not run, on PostgreSQL, which
takes less than SQLite does. What it must not delete or change (the token, its user, the provider)
has an id beyond those that it comes upon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fakes.recorded import RecordedDemo
from tests.installation import Installation
from tests.live import LiveServer, LiveServers
from tests.servers import Databases

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = 8
FAR = 900_000
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def _document() -> dict[str, Any]:
    """The document less its security: every call brings the administrator's token."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    document.pop("security", None)
    document["components"].pop("securitySchemes")
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    return document


schemathesis.serializer.alias("application/x-ndjson", "text/plain")
schema = schemathesis.openapi.from_dict(_document())


@pytest.fixture(scope="module")
def served(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveServer, requests.Session]]:
    servers = LiveServers(tmp_path_factory.mktemp("document"))
    with databases.migrated("postgresql") as url, RecordedDemo() as provider:
        installation = Installation(url)
        installation.start_ids_at(FAR)
        installation.add_provider(provider.base_url, "sk-provider-key-of-the-document-tests")
        administrator = installation.add_user("guard@example.org", role="administrator")
        token = installation.add_token("admin", user_id=administrator)
        with closing(servers), requests.Session() as session:
            session.headers.update(token.headers)
            session.trust_env = False
            yield servers(installation.environment), session


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_documented(
    case: Case[Any], served: tuple[LiveServer, requests.Session]
) -> None:
    assert _call(case, served) < 500


def test_the_answer_to_the_documented_example_of_speech_is_documented(
    served: tuple[LiveServer, requests.Session],
) -> None:
    body: Any = {"model": "tts-1", "voice": "alloy", "input": "Hello", "response_format": "wav"}
    case = schema["/v1/audio/speech"]["POST"].Case(body=body, media_type="application/json")
    assert _call(case, served) == 200


def _call(case: Case[Any], served: tuple[LiveServer, requests.Session]) -> int:
    """Make the call and compare its answer with the document; the status."""
    server, session = served
    response = case.call(base_url=server.base_url, session=session, timeout=10)
    if response.status_code == 504 and b'"cache_miss"' in response.content:
        return 504
    assert response.status_code != 401, "the token is gone"
    try:
        case.validate_response(response, checks=CHECKS)
    except* Failure as failures:
        problems = [f"{type(one).__name__}: {one}"[:600] for one in failures.exceptions]
        pytest.fail(
            f"{case.as_curl_command()[:500]}\n{response.status_code} {response.content[:300]!r}\n"
            + "\n".join(problems),
            pytrace=False,
        )
    return response.status_code
