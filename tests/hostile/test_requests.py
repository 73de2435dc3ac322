"""No hostile body, header, path or query gives a 5xx, a hang, or a call that should not go up."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import orjson
import pytest

from tests.hostile import corpus
from tests.hostile.conftest import Target
from tests.hostile.wire import Answer, exchange, request
from tests.installation import Made

CHAT = "/v1/chat/completions"
BODY = json.dumps(corpus.TEMPLATES[CHAT]).encode()
JSON = (("Content-Type", "application/json"),)
SLOW_SECONDS = 5.0
RELAYED = {"/v1/uploads", "/v1/batches", "/v1/vector_stores"}

# Where what comes from the database makes no difference, one of the two is enough.
on_sqlite = pytest.mark.parametrize("running", ["sqlite"], indirect=True)

# What the HTTP parser itself refuses, since it is no HTTP: then a bare 400 is as good as any.
NOT_HTTP_HEADERS = {
    *("control character", "NUL", "delete", "no name", "space in name", "space before colon"),
    *("non-ASCII name", "folded", "bare CR", "bare LF", "Accept CR", "Idempotency-Key NUL"),
    *("Idempotency-Key control", "OpenAI-Beta control", "x-request-id", "200 KB", "5,000 headers"),
    *("60 KB", "a name of 60 KB", "websocket", "Connection: upgrade"),
}

Lines = list[tuple[str | bytes, str | bytes]]


@contextmanager
def quickly(target: Target, what: str) -> Iterator[None]:
    """The server works on it for a moment only, however busy the machine is otherwise."""
    started = target.server.processor_seconds()
    yield
    assert target.server.processor_seconds() - started < SLOW_SECONDS, f"{what} took too long"


class Findings:
    """What is wrong with each of many requests, told together at the end."""

    def __init__(self) -> None:
        self._found: list[str] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            self._found.append(str(error).splitlines()[0][:600])

    def assert_none(self) -> None:
        assert not self._found, "\n".join(["", *self._found])


def check(answer: Answer | None, what: object, *, path: str = CHAT) -> Answer:
    """The answer, which is no 5xx and, where it is an error, has the shape of its route."""
    assert answer is not None, f"no answer: {what}"
    assert answer.status < 500, f"{what}: {answer}"
    if answer.status >= 400:
        if path.startswith(("/api/openai", "/api/cache")):
            assert is_said_as_the_original(answer), f"{what}: {answer}"
        else:
            assert answer.error["message"]
            if path.startswith("/v1/"):
                assert "x-request-id" in answer.headers, f"{what}: {answer}"
    return answer


def is_said_as_the_original(answer: Answer) -> bool:
    """`{"detail": text}`, or for a field `{name: [text]}` with 400."""
    ((name, said),) = orjson.loads(answer.body).items()
    if name == "detail":
        return isinstance(said, str)
    return answer.status == 400 and isinstance(said, list) and len(said) == 1


def post(target: Target, path: str, body: bytes, token: Made | None = None) -> Answer:
    return target.ask("POST", path, body, token=token)


def aimed(data: bytes, target: Target) -> bytes:
    """The bytes with the decoy's real port in them."""
    return data.replace(b"DECOY", str(target.decoy.port).encode())


# ----------------------------------------------------------------------------------------- bodies


@on_sqlite
@pytest.mark.parametrize("name", corpus.MALFORMED)
def test_a_body_that_is_no_json_is_refused_everywhere(target: Target, name: str) -> None:
    body, findings = corpus.MALFORMED[name], Findings()
    before = len(target.provider.seen)
    for path in [*corpus.TEMPLATES, *corpus.ORIGINALS]:
        if body == b"" and path in RELAYED:
            # Without a body there is nothing to read amiss: it is the provider's to judge.
            continue
        with findings.collect(), quickly(target, path):
            answer = check(post(target, path, body), (path, name), path=path)
            assert answer.status == 400, (path, name, str(answer))
    findings.assert_none()
    assert len(target.provider.seen) == before


@pytest.mark.parametrize("name", corpus.TEXTS)
def test_no_text_field_takes_the_server_down(target: Target, name: str) -> None:
    text, findings = corpus.TEXTS[name], Findings()
    for path, template in (corpus.TEMPLATES | corpus.ORIGINALS).items():
        for place in corpus.text_fields(template):
            body = corpus.with_text(template, place, text)
            with findings.collect(), quickly(target, path):
                answer = check(post(target, path, body), (path, place, name), path=path)
                # An id that nobody can have is nobody's: 404 says as much.
                refused = {400, 404} if place == ("input_file_id",) else {400}
                assert name not in corpus.SURROGATES or answer.status in refused, str(answer)
    findings.assert_none()


@pytest.mark.parametrize("name", corpus.FIELDS)
def test_fields_of_the_wrong_type_or_size_are_answered(target: Target, name: str) -> None:
    fields, findings = corpus.FIELDS[name].replace("DECOY", str(target.decoy.port)), Findings()
    for path in (CHAT, "/v1/responses", "/v1/vector_stores", "/api/openai/v1/chat/completions/"):
        template = (corpus.TEMPLATES | corpus.ORIGINALS)[path]
        with findings.collect(), quickly(target, path):
            body = corpus.with_fields(template, fields)
            check(post(target, path, body), (path, name), path=path)
    findings.assert_none()


LIMITED = (CHAT, "/v1/batches", "/api/openai/v1/chat/completions/", "/api/v1/tokens")


def _head(target: Target, path: str) -> bytes:
    token = target.admin if path.startswith("/api/v1") else target.proxy
    return request("POST", path, [*token.headers.items(), *JSON]).removesuffix(b"\r\n")


@on_sqlite
@pytest.mark.parametrize("path", LIMITED)
def test_a_body_announced_over_the_limit_is_refused_before_it_comes(
    target: Target, path: str
) -> None:
    data = _head(target, path) + b"Content-Length: %d\r\n\r\n{" % (10 * 2**30)
    answer = check(exchange(target.port, data), path, path=path)
    assert answer.status == 413, answer


@on_sqlite
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/tokens", "/login"])
def test_nobody_may_make_the_server_hold_a_huge_body_without_a_token(
    target: Target, path: str
) -> None:
    head = request("POST", path, JSON).removesuffix(b"\r\n")
    data = head + b"Content-Length: %d\r\n\r\n{" % (10 * 2**30)
    answer = exchange(target.port, data)
    assert answer is not None
    assert answer.status in {401, 403, 413}, answer


@on_sqlite
@pytest.mark.parametrize("path", LIMITED)
def test_a_body_that_grows_over_the_limit_is_refused_before_its_end(
    target: Target, path: str
) -> None:
    chunks = (b"10000\r\n" + b"a" * 2**16 + b"\r\n") * (4 * 2**20 // 2**16 + 1)
    data = _head(target, path) + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    answer = check(exchange(target.port, data), path, path=path)
    assert answer.status == 413, answer


@on_sqlite
@pytest.mark.parametrize("name", corpus.multiparts())
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/images/edits", "/v1/files"])
def test_forms_of_every_kind_are_answered(target: Target, path: str, name: str) -> None:
    content_type, body = corpus.multiparts()[name]
    headers: Lines = [*target.proxy.headers.items(), ("Content-Type", content_type)]
    with quickly(target, path):
        check(exchange(target.port, request("POST", path, headers, body)), (path, name))


# ---------------------------------------------------------------------------------------- headers


@on_sqlite
@pytest.mark.parametrize("name", corpus.HEADERS)
def test_headers_of_every_kind_are_answered(target: Target, name: str) -> None:
    lines: Lines = list(corpus.HEADERS[name])
    types = [] if "Content-Type" in name else list(JSON)
    headers: Lines = [*target.proxy.headers.items(), *types, *lines]
    for path in (CHAT, "/v1/models", "/api/openai/v1/chat/completions/", "/api/v1/tokens"):
        is_read = path in {"/v1/models", "/api/v1/tokens"}
        if path == "/api/v1/tokens":
            headers = [*target.admin.headers.items(), *types, *lines]
        data = request("GET" if is_read else "POST", path, headers, None if is_read else BODY)
        with quickly(target, path):
            answer = exchange(target.port, data)
        if name in NOT_HTTP_HEADERS and (answer is None or answer.status in {400, 403, 431}):
            continue
        check(answer, (path, name), path=path)
        assert answer is not None
        assert "x-injected" not in answer.headers


@pytest.mark.parametrize("length", [1, 150, 190, 200])
@pytest.mark.parametrize("path", ["/v1/uploads/{id}/cancel", "/v1/vector_stores/{id}/files/{id}"])
def test_an_idempotency_key_goes_with_a_path_of_any_length(
    target: Target, path: str, length: int
) -> None:
    headers = {"Idempotency-Key": f"key-{length}"}
    for _ in range(2):
        answer = target.ask("POST", path.replace("{id}", "f" * length), b"{}", headers=headers)
        assert check(answer, path).status in {404, 405}


def test_only_if_cached_is_the_one_5xx_and_says_why(target: Target) -> None:
    body = corpus.with_fields(corpus.TEMPLATES[CHAT], '{"messages":[],"seed":424242}')
    answer = target.ask("POST", CHAT, body, headers={"Cache-Control": "only-if-cached"})
    assert answer.status == 504
    assert answer.error["code"] == "cache_miss"


@on_sqlite
@pytest.mark.parametrize("name", corpus.CREDENTIALS)
def test_credentials_of_every_kind_are_refused_alike(target: Target, name: str) -> None:
    lines: Lines = [*JSON, *corpus.CREDENTIALS[name]]
    before = len(target.provider.seen)
    for method, path in (
        ("POST", CHAT),
        ("GET", "/v1/models"),
        ("GET", "/v1/no/such/page"),
        ("POST", "/v1/files"),
        ("POST", "/api/openai/v1/chat/completions/"),
        ("POST", "/api/cache/v1/chat/completions/"),
        ("GET", "/api/v1/tokens"),
        ("POST", "/api/v1/users"),
        ("DELETE", "/api/v1/tokens/1"),
    ):
        data = request(method, path, lines, BODY if method == "POST" else None)
        with quickly(target, path):
            answer = exchange(target.port, data)
        if name in {"control", "long"} and (answer is None or answer.status in {400, 431}):
            continue
        assert answer is not None
        assert answer.status == 401, (name, path, str(answer))
        assert "www-authenticate" in answer.headers, (name, path, str(answer))
    assert len(target.provider.seen) == before


def test_of_two_authorizations_none_widens_the_other(target: Target) -> None:
    good, bad = target.admin.headers["Authorization"], "Bearer nobody"
    for first, second in ((good, bad), (bad, good)):
        for method, path in (("GET", "/v1/models"), ("GET", "/api/v1/users")):
            lines = [("Authorization", first), ("Authorization", second)]
            answer = exchange(target.port, request(method, path, lines))
            check(answer, (path, first), path=path)


@on_sqlite
@pytest.mark.parametrize("name", corpus.HOSTS)
def test_a_host_header_opens_no_door(target: Target, name: str) -> None:
    host = corpus.HOSTS[name]
    for method, path in (
        ("GET", "/api/v1/users"),
        ("GET", "/api/v1/settings"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/cache/entries/1"),
        ("POST", "/api/openai/v1/chat/completions/"),
        ("GET", "/v1/models"),
        ("GET", "/readyz"),
        ("GET", "/login"),
        ("GET", "/"),
        ("GET", "/static/x"),
    ):
        body = b"{}" if method == "POST" else None
        answer = exchange(target.port, request(method, path, JSON, body, host=host))
        assert answer is not None, (name, path)
        assert answer.status < 500, (name, path, str(answer))
        if path.startswith(("/api", "/v1")):
            assert answer.status in {400, 401}, (name, path, str(answer))
    known = exchange(
        target.port, request("GET", "/v1/models", target.proxy.headers.items(), host=host)
    )
    assert known is not None
    assert known.status in {200, 400}, (name, known)


# ------------------------------------------------------------------------------------------ paths


@on_sqlite
@pytest.mark.parametrize("name", corpus.PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_paths_of_every_kind_lead_nowhere(target: Target, method: str, name: str) -> None:
    path = aimed(corpus.PATHS[name], target)
    # What is missing at the provider may be asked of it there; only listed paths go up at all.
    lines: Lines = [*target.proxy.headers.items(), *JSON]
    body = BODY if method == "POST" else None
    with quickly(target, name):
        answer = exchange(target.port, request(method, path, lines, body))
    if answer is None or answer.headers.get("content-type", "").startswith("text/plain"):
        # The HTTP parser's own refusal: a target with such bytes in it is no HTTP.
        assert answer is None or answer.status == 400, (name, str(answer))
        assert any(byte <= 32 or byte >= 127 for byte in path), (name, str(answer))
        return
    assert 400 <= answer.status < 500, (name, str(answer))
    assert answer.error["message"]


@on_sqlite
@pytest.mark.parametrize("name", corpus.ENDPOINTS)
@pytest.mark.parametrize("route", ["/api/openai/", "/api/cache/"])
def test_the_originals_routes_know_three_endpoints(target: Target, route: str, name: str) -> None:
    before = len(target.provider.seen)
    path = route.encode() + aimed(corpus.ENDPOINTS[name], target)
    with quickly(target, name):
        data = request("POST", path, [*target.proxy.headers.items(), *JSON], BODY)
        answer = exchange(target.port, data)
    assert answer is not None
    assert answer.status in {400, 404}, answer
    assert len(target.provider.seen) == before


@pytest.mark.parametrize("name", corpus.QUERIES)
def test_queries_of_every_kind_are_answered(target: Target, name: str) -> None:
    query = aimed(corpus.QUERIES[name], target)
    for path, token in (
        ("/v1/models", target.proxy),
        ("/v1/files", target.proxy),
        ("/v1/files/file-x", target.proxy),
        ("/v1/chat/completions", target.proxy),
        ("/api/v1/calls", target.admin),
        ("/api/v1/tokens", target.admin),
        ("/api/v1/usage", target.admin),
        ("/api/v1/cache/entries", target.admin),
        ("/api/openai/v1/chat/completions/", target.proxy),
        ("/healthz", target.proxy),
        ("/login", target.proxy),
    ):
        is_post = path.endswith(("completions", "completions/"))
        lines = [*token.headers.items(), *JSON]
        data = request(
            "POST" if is_post else "GET", path.encode() + query, lines, BODY if is_post else None
        )
        with quickly(target, path):
            answer = exchange(target.port, data)
        assert answer is not None, (name, path)
        assert answer.status < 500, (name, path, str(answer))
        if answer.status >= 400 and path.startswith("/v1"):
            is_bare = answer.headers.get("content-type", "").startswith("text/plain")
            # Bytes that no target may have: the HTTP parser's own refusal.
            assert is_bare or answer.error["message"]
            assert not is_bare or any(byte >= 127 for byte in query), (name, path, str(answer))


# ---------------------------------------------------------------------------------- whole requests

FRAMINGS = corpus.framings(CHAT.encode(), BODY, b"TOKEN")
# The announced or opened body never ends: whoever sent it then stops talking.
UNFINISHED = {
    *("length too long", "length of 12 digits", "chunked cut", "chunk size huge"),
    *("half a head", "half a request line", "nothing but line breaks", "garbage"),
    *("length of 19 digits", "TLS", "binary", "chunk size of 100 digits", "HTTP/0.9"),
    *("chunked with bare LF", "gzip, chunked", "xchunked", "identity", "chunked in quotes"),
    *("chunked, chunked", "bare LF everywhere", "HTTP/2 preface", "chunk without line break"),
}
# Ambiguous by RFC 9112, 6.3: never to be taken for one request and something behind it.
REFUSED = {
    *("length and chunked", "chunked and length", "length 0 and chunked with more behind"),
    *("two lengths", "length list", "length with plus", "negative length", "hexadecimal length"),
    *("length with text", "length in other digits", "chunk size no number", "chunk size negative"),
    *("xchunked", "chunked in quotes", "chunk size of 100 digits", "HTTP/0.9", "garbage"),
}


@on_sqlite
@pytest.mark.parametrize("name", FRAMINGS)
def test_framings_of_every_kind_end_in_one_answer_or_none(target: Target, name: str) -> None:
    data = aimed(FRAMINGS[name].replace(b"TOKEN", target.proxy.secret.encode()), target)
    with quickly(target, name):
        answer = exchange(target.port, data, half_close=name in UNFINISHED)
    if answer is None:
        assert name in UNFINISHED | REFUSED, "the connection was closed without an answer"
        return
    assert answer.status < 500, (name, str(answer))
    if name in REFUSED:
        assert 400 <= answer.status < 500, (name, str(answer))
        assert b"HTTP/1.1 200" not in answer.rest, (name, str(answer))
    if answer.status >= 400 and not answer.headers.get("content-type", "").startswith("text/plain"):
        assert name.startswith("HEAD") or answer.error["message"]


@on_sqlite
def test_nothing_behind_a_refused_request_is_taken_for_another(target: Target) -> None:
    before = len(target.provider.seen)
    for name in ("length and chunked", "chunked and length"):
        data = FRAMINGS[name].replace(b"TOKEN", target.proxy.secret.encode())
        behind = request("GET", "/v1/models", target.proxy.headers.items())
        answer = exchange(target.port, data + behind)
        assert answer is None or answer.status == 400, (name, str(answer))
    assert len(target.provider.seen) == before


@on_sqlite
def test_500_half_open_connections_leave_a_normal_client_alone(target: Target) -> None:
    with ExitStack() as stack:
        for number in range(500):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", target.port), timeout=5)
            )
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-%d: " % number)
        times = []
        for _ in range(20):
            started = time.monotonic()
            assert target.ask("GET", "/healthz").status == 200
            times.append(time.monotonic() - started)
        assert min(times) < 0.1, times


# ---------------------------------------------------------------------------------------- methods

ROUTES = {
    # To look is to list the stored chats.
    CHAT: {"GET", "POST"},
    "/v1/models": {"GET"},
    "/v1/files": {"GET", "POST"},
    "/api/openai/v1/chat/completions/": {"POST"},
    "/api/openai/v1/chat/completions": {"POST"},
    "/api/cache/v1/chat/completions/": {"POST"},
    "/api/v1/users": {"GET", "POST"},
    "/api/v1/users/1": {"GET", "PATCH", "DELETE"},
    "/api/v1/settings": {"GET"},
    "/api/v1/cache/purge": {"POST"},
}
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"),
    *("PROPFIND", "get", "M" * 40),
)


@on_sqlite
@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_a_route_does_not_have_is_405_and_needs_a_token_all_the_same(
    target: Target, method: str
) -> None:
    before = len(target.provider.seen)
    findings = Findings()
    for path, methods in ROUTES.items():
        if method in methods:
            continue
        for token in (None, target.proxy, target.admin):
            lines = [*(token.headers.items() if token else ()), *JSON]
            with findings.collect(), quickly(target, path):
                answer = exchange(target.port, request(method, path, lines, b"{}"))
                # What the HTTP parser does not know as a method is no request at all.
                assert answer is not None or method in {"CONNECT", "get", "M" * 40}
                if answer is None:
                    continue
                what = (method, path, token is None, str(answer))
                assert answer.status in {400, 401, 403, 404, 405}, what
                if token is None and path.startswith("/v1/"):
                    assert answer.status in {400, 401}, what
                assert "access-control-allow-origin" not in answer.headers, what
    findings.assert_none()
    assert len(target.provider.seen) == before


# ------------------------------------------------------------------------------------------ the rest

PROTECTED = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@on_sqlite
def test_every_page_and_every_answer_of_the_administration_is_protected(target: Target) -> None:
    admin, proxy = [*target.admin.headers.items()], [*target.proxy.headers.items()]
    data = [
        request("GET", "/", []), request("GET", "/login", []), request("GET", "/setup", []),
        request("GET", "/nowhere", []), request("POST", "/login", JSON, b"{}"),
        request("PUT", "/login", []), request("GET", "/static/nothing.css", []),
        request("GET", "/healthz", []), request("GET", "/readyz", []), request("GET", "/metrics", []),
        request("GET", "/openapi.json", []), request("GET", "/api/v1/users", []),
        request("GET", "/api/v1/users", admin), request("GET", "/api/v1/nothing", admin),
        request("POST", "/api/v1/tokens", [*admin, *JSON], b"{"),
        request("POST", "/api/openai/v1/edits/", [*proxy, *JSON], b"{"),
        request("POST", "/api/cache/v1/edits/", [*proxy, *JSON], b"{}"),
    ]  # fmt: skip
    statuses = set()
    for one in data:
        answer = exchange(target.port, one)
        assert answer is not None
        statuses.add(answer.status)
        for name, expected in PROTECTED.items():
            assert expected in answer.headers.get(name, ""), (one[:60], name, answer.headers)
    assert statuses >= {200, 400, 401, 404, 405}


@on_sqlite
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/console", "/debug"])
def test_no_page_tries_out_the_api_or_looks_into_the_process(target: Target, path: str) -> None:
    for token in (None, target.admin):
        lines = token.headers.items() if token else ()
        answer = exchange(target.port, request("GET", path, lines))
        assert answer is not None
        assert answer.status == 404, str(answer)


@on_sqlite
def test_the_gateways_own_errors_are_protected_too(target: Target) -> None:
    for token in (None, target.proxy):
        lines = [*(token.headers.items() if token else ()), *JSON]
        for method, path in (("POST", CHAT), ("GET", "/v1/nowhere"), ("PUT", "/v1/files")):
            refused = exchange(target.port, request(method, path, lines, b"{"))
            assert refused is not None
            assert refused.status in {400, 401, 404, 405}, str(refused)
            assert refused.headers.get("x-content-type-options") == "nosniff", path
            assert refused.headers.get("cache-control") == "no-store", path


@on_sqlite
def test_no_other_origin_is_let_in(target: Target) -> None:
    asked = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")]
    for method, path in (
        ("OPTIONS", CHAT),
        ("OPTIONS", "/api/v1/tokens"),
        ("OPTIONS", "/login"),
        ("GET", "/v1/models"),
        ("GET", "/api/v1/tokens"),
        ("GET", "/healthz"),
    ):
        token = target.admin if path.startswith("/api") else target.proxy
        answer = exchange(target.port, request(method, path, [*token.headers.items(), *asked]))
        assert answer is not None
        assert answer.status < 500
        assert not [name for name in answer.headers if name.startswith("access-control")], path


@on_sqlite
def test_a_range_of_many_parts_costs_no_time(target: Target) -> None:
    (_, script), *_ = _assets(target)
    ranges = b"bytes=" + b",".join(b"%d-%d" % (number, number + 1) for number in range(900))
    times = []
    for _ in range(5):
        started = time.monotonic()
        answer = exchange(target.port, request("GET", script, [("Range", ranges)]))
        times.append(time.monotonic() - started)
        assert answer is not None
        assert answer.status < 500
    assert min(times) < 0.05, times


def _assets(target: Target) -> list[tuple[str, str]]:
    page = target.ask("GET", "/login")
    assert page.status == 200
    found = re.findall(r'(src|href)="(/static/[^"]+)"', page.body.decode())
    assert found
    return found


@on_sqlite
def test_names_that_clients_invent_make_no_series_of_metrics(target: Target) -> None:
    def series() -> int:
        lines = target.ask("GET", "/metrics").body.decode().splitlines()
        return len([line for line in lines if line and not line.startswith("#")])

    def call(number: int) -> None:
        model = json.dumps(f"gpt-invented-{number}" if number % 2 else f"invented-{number}")
        body = corpus.with_fields(corpus.TEMPLATES[CHAT], f'{{"model": {model}}}')
        assert target.ask("POST", CHAT, body).status in {200, 404}
        assert target.ask("GET", f"/v1/models/invented-{number}").status in {200, 404}
        assert target.ask("GET", f"/invented/{number}").status == 404

    call(0)
    call(1)
    before = series()
    for number in range(2, 60):
        call(number)
    assert series() == before


@on_sqlite
def test_every_line_of_the_log_is_one_record(target: Target) -> None:
    lines = target.server.output().splitlines()
    records = [line for line in lines if line.startswith("{")]
    for line in records:
        assert "event" in json.loads(line)
    # Besides records there is only what the start tells.
    others = [line for line in lines if line and not line.startswith("{")]
    assert len(others) <= 3, others
