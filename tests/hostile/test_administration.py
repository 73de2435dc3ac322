"""The administrators' API under attack: every parameter and every field that its document names."""

from __future__ import annotations

import time
from functools import cache
from urllib.parse import quote

import pytest

from tests.documented import Operation, read_operations
from tests.hostile import corpus
from tests.hostile.conftest import Target
from tests.hostile.wire import Answer

# Nothing may make a database work for longer, whatever is looked for.
SLOW_SECONDS = 3.0
# A database of its own may have to wait for the machine.
SLOW_DATABASE_SECONDS = 20.0
INJECTIONS = {
    "quote": "'",
    "or": "' OR '1'='1",
    "or number": "1 OR 1=1",
    "comment": "x'--",
    "union": "' UNION SELECT digest FROM tokens--",
    "stacked": "1; DROP TABLE calls;--",
    "sleep": "1'; SELECT pg_sleep(60);--",
    "inline sleep": "'||(SELECT pg_sleep(60))||'",
    "blob": "' AND 1=randomblob(1000000000)--",
    "cast": "' AND 1=CAST((SELECT digest FROM tokens) AS INTEGER)--",
    "backslash": "\\",
    "dollar": "$1::text$$",
    "percent": "%",
    "many percents": "%" * 1_000,
    "underscores": "_" * 200,
    "wild": "%_%_%_%" * 50,
    "brackets": "[a-z]*",
    "NUL": "\0",
    "surrogate": "\udc80",
    "not a character": "\uffff",
    "right to left": "\u202e",
    "line break": "a\r\nb",
    "large number": "9" * 30,
    "long number": "9" * 5_000,
    "negative": "-1",
    "decimal": "1.5",
    "infinite": "inf",
    "NaN": "nan",
    "date": "2026-13-45T99:99:99Z",
    "early date": "0001-01-01T00:00:00Z",
    "late date": "9999-12-31T23:59:59Z",
    "date far off": "9999-12-31T23:59:59-23:59",
    "template": "{{7*7}}${7*7}",
    "tag": "=" * 100,
    "JSON": '{"a": [1]}',
    "empty": "",
    "long": "x" * 5_000,
}
IDS = (
    *("0", "-1", "1.5", "x", "2147483648", "9223372036854775808", "9" * 400, "..", "%2e%2e"),
    *("%00", "%ff", "1%20OR%201=1", "'%20OR%201=1--", "%F0%9F%92%A9", "req_", "req_" + "0" * 32),
)


_operations = cache(read_operations)


@pytest.fixture
def operations(target: Target) -> tuple[Operation, ...]:
    answer = target.ask("GET", "/openapi.json")
    assert answer.status == 200
    return _operations(answer.body)


def _check(target: Target, method: str, path: str, body: bytes | None = None) -> Answer:
    started, worked = time.monotonic(), target.server.processor_seconds()
    answer = target.ask(method, path, body, token=target.admin)
    took = time.monotonic() - started
    worked = target.server.processor_seconds() - worked
    assert answer.status < 500, f"{method} {path[:200]} {body!r:.200}: {answer}"
    assert answer.status != 401, "the token is gone"
    assert worked < SLOW_SECONDS, f"{method} {path[:200]} took {worked:.1f} s of the processor"
    assert took < SLOW_DATABASE_SECONDS, f"{method} {path[:200]} took {took:.1f} s"
    if answer.status >= 400:
        assert answer.error["message"]
    return answer


@pytest.mark.parametrize("name", INJECTIONS)
def test_no_query_parameter_reaches_the_database_as_anything_but_a_value(
    target: Target, operations: tuple[Operation, ...], name: str
) -> None:
    value = quote(INJECTIONS[name], safe="", errors="surrogateescape")
    asked = 0
    wrong = []
    for operation in operations:
        if operation.method != "GET":
            continue
        for parameter in operation.parameters:
            asked += 1
            try:
                _check(target, "GET", f"{operation.at('1')}?{parameter}={value}")
            except AssertionError as error:
                wrong.append(str(error).splitlines()[0][:400])
    assert wrong == []
    assert asked >= 40
    assert target.installation.query("SELECT count(*) FROM tokens")[0][0] >= 2


def test_what_looks_for_everything_finds_only_what_is_called_so(target: Target) -> None:
    for value in ("%25", "_", "%25%25%25"):
        answer = _check(target, "GET", f"/api/v1/calls?model={value}")
        assert answer.status == 200
        assert answer.json["data"] == []


@pytest.mark.parametrize("id_", IDS)
def test_ids_of_every_kind_are_no_server_error(
    target: Target, operations: tuple[Operation, ...], id_: str
) -> None:
    wrong = []
    for operation in operations:
        if operation.has_id:
            body = b"{}" if operation.method in {"POST", "PATCH", "PUT"} else None
            try:
                answer = _check(target, operation.method, operation.at(id_), body)
                assert answer.status >= 400, f"{operation.id} {id_}: {answer}"
            except AssertionError as error:
                wrong.append(str(error).splitlines()[0][:400])
    assert wrong == []


@pytest.mark.parametrize("name", corpus.TEXTS)
def test_no_text_of_a_body_is_a_server_error(
    target: Target, operations: tuple[Operation, ...], name: str
) -> None:
    wrong = []
    for operation in operations:
        if operation.body is None:
            continue
        for place in corpus.text_fields(operation.body):
            body = corpus.with_text(operation.body, place, corpus.TEXTS[name])
            try:
                _check(target, operation.method, operation.at("987654321"), body)
            except AssertionError as error:
                wrong.append(str(error).splitlines()[0][:400])
    assert wrong == []


# A roll's body may be left out; a preset is looked up by its 20 characters before its body is read.
UNKNOWN_FIRST = {"tokens_roll", "presets_roll_back", "presets_label"}


# What is no JSON is refused before it comes to any database.
@pytest.mark.parametrize("running", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", corpus.MALFORMED)
def test_a_body_that_is_no_json_is_refused(
    target: Target, operations: tuple[Operation, ...], name: str
) -> None:
    wrong = []
    for operation in operations:
        if operation.body is None:
            continue
        try:
            path = operation.at("987654321")
            answer = _check(target, operation.method, path, corpus.MALFORMED[name])
            is_unknown_first = name == "empty" and operation.id in UNKNOWN_FIRST
            expected = {404} if is_unknown_first else {400, 422}
            assert answer.status in expected, f"{operation.id}: {answer}"
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0][:400])
    assert wrong == []


def test_every_write_has_an_example_to_start_from(operations: tuple[Operation, ...]) -> None:
    writes = [one for one in operations if one.method in {"POST", "PATCH"} and one.body is not None]
    assert len(writes) >= 12
