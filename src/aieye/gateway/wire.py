"""The outside of OpenAI's API: which paths there are, and which headers pass either way. Pure.

A path is matched against this fixed set and rebuilt from what matched; nothing that a client wrote
is joined to a provider's address unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from aieye.errors import AieyeError, NotFound
from aieye.gateway.sse import Dialect

Header = tuple[bytes, bytes]

# JSON requests that ask a model; all others read or change something kept at the provider.
Kind = Literal["infer", "relay", "upload", "multipart"]
INFER: Final = "infer"
RELAY: Final = "relay"
UPLOAD: Final = "upload"
MULTIPART: Final = "multipart"


class UnknownPath(NotFound):
    """OpenAI's API has no such path, or AI-Eye does not carry it."""

    code = "unknown_url"


class WrongMethod(AieyeError):
    """The path is there and takes another method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API.

    `name` is what the ledger calls it. `creates` is the kind of object that a successful POST makes
    and that then belongs to the caller; `lists` the kind of those that the answer is a list of.
    """

    name: str
    method: str
    kind: Kind
    cacheable: bool = False
    dialect: Dialect = "other"
    # Whether the streamed and the plain form of an answer can be turned into each other.
    convertible: bool = False
    creates: str | None = None
    lists: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """An endpoint with the upstream path (below the base URL's `/v1`) and the ids within it."""

    endpoint: Endpoint
    path: str
    ids: tuple[str, ...] = ()


def _infer(
    name: str, dialect: Dialect = "other", *, cacheable: bool = True, convertible: bool = False
) -> Endpoint:
    return Endpoint(
        name, "POST", INFER, cacheable=cacheable, dialect=dialect, convertible=convertible
    )


CHAT = _infer("chat/completions", "chat", convertible=True)
COMPLETIONS = _infer("completions", "completions", convertible=True)
RESPONSES = _infer("responses", "responses", convertible=True)
EDITS = _infer("edits")
EMBEDDINGS = _infer("embeddings")

INFERENCE = {
    f"/v1/{endpoint.name}": Match(endpoint, f"/{endpoint.name}")
    for endpoint in (
        CHAT,
        COMPLETIONS,
        RESPONSES,
        EDITS,
        EMBEDDINGS,
        _infer("moderations"),
        _infer("audio/speech"),
        _infer("images/generations"),
    )
}

_ID = r"([A-Za-z0-9][A-Za-z0-9_\-]{0,199})"
# A model's name may hold slashes, colons and dots: `ft:gpt-4o:org::id`, `meta-llama/Llama-3-8b`.
_MODEL = r"([A-Za-z0-9][A-Za-z0-9_\-.:@]*(?:/[A-Za-z0-9][A-Za-z0-9_\-.:@]*){0,3})"
_RELAYED: tuple[tuple[str, str, Kind, str | None], ...] = (
    # method, path with {id}, kind, what a POST creates, or, in brackets, what the answer lists
    ("GET", "models", RELAY, None),
    ("GET", "models/{model}", RELAY, None),
    ("DELETE", "models/{model}", RELAY, None),
    ("POST", "audio/transcriptions", MULTIPART, None),
    ("POST", "audio/translations", MULTIPART, None),
    ("POST", "images/edits", MULTIPART, None),
    ("POST", "images/variations", MULTIPART, None),
    ("POST", "files", UPLOAD, "file"),
    ("GET", "files", RELAY, "[file]"),
    ("GET", "files/{id}", RELAY, None),
    ("DELETE", "files/{id}", RELAY, None),
    ("GET", "files/{id}/content", RELAY, None),
    ("POST", "uploads", RELAY, "upload"),
    ("POST", "uploads/{id}/parts", UPLOAD, "upload_part"),
    ("POST", "uploads/{id}/complete", RELAY, "upload"),
    ("POST", "uploads/{id}/cancel", RELAY, "upload"),
    ("POST", "batches", RELAY, "batch"),
    ("GET", "batches", RELAY, "[batch]"),
    ("GET", "batches/{id}", RELAY, None),
    ("POST", "batches/{id}/cancel", RELAY, "batch"),
    ("POST", "vector_stores", RELAY, "vector_store"),
    ("GET", "vector_stores", RELAY, "[vector_store]"),
    ("GET", "vector_stores/{id}", RELAY, None),
    ("POST", "vector_stores/{id}", RELAY, "vector_store"),
    ("DELETE", "vector_stores/{id}", RELAY, None),
    ("POST", "vector_stores/{id}/search", RELAY, None),
    ("POST", "vector_stores/{id}/files", RELAY, None),
    ("GET", "vector_stores/{id}/files", RELAY, None),
    ("GET", "vector_stores/{id}/files/{id}", RELAY, None),
    ("POST", "vector_stores/{id}/files/{id}", RELAY, None),
    ("DELETE", "vector_stores/{id}/files/{id}", RELAY, None),
    ("GET", "vector_stores/{id}/files/{id}/content", RELAY, None),
    ("POST", "vector_stores/{id}/file_batches", RELAY, "vector_store_batch"),
    ("GET", "vector_stores/{id}/file_batches/{id}", RELAY, None),
    ("GET", "vector_stores/{id}/file_batches/{id}/files", RELAY, None),
    ("POST", "vector_stores/{id}/file_batches/{id}/cancel", RELAY, None),
    ("GET", "responses/{id}", RELAY, None),
    ("DELETE", "responses/{id}", RELAY, None),
    ("POST", "responses/{id}/cancel", RELAY, "response"),
    ("GET", "responses/{id}/input_items", RELAY, None),
    ("GET", "chat/completions", RELAY, "[chat.completion]"),
    ("GET", "chat/completions/{id}", RELAY, None),
    ("POST", "chat/completions/{id}", RELAY, "chat.completion"),
    ("DELETE", "chat/completions/{id}", RELAY, None),
    ("GET", "chat/completions/{id}/messages", RELAY, None),
)


def _pattern(path: str) -> re.Pattern[str]:
    escaped = re.escape(path).replace(r"\{id\}", _ID).replace(r"\{model\}", _MODEL)
    return re.compile(f"/v1/{escaped}", re.ASCII)


_PATTERNS: tuple[tuple[re.Pattern[str], str, Endpoint], ...] = tuple(
    (
        _pattern(path),
        path,
        Endpoint(
            path,
            method,
            kind,
            creates=None if effect is None or effect[0] == "[" else effect,
            lists=effect[1:-1] if effect is not None and effect[0] == "[" else None,
        ),
    )
    for method, path, kind, effect in _RELAYED
)
_LONGEST_PATH = 600


def match(method: str, path: str) -> Match:
    """The operation that `method` and `path` (decoded, as ASGI gives it) name.

    Raises `UnknownPath`, `WrongMethod`.
    """
    if method == "POST":
        found = INFERENCE.get(path)
        if found is not None:
            return found
    return _match_resource(method, path.removesuffix("/") if len(path) < _LONGEST_PATH else "")


def _match_resource(method: str, path: str) -> Match:
    allowed = set()
    if path in INFERENCE:
        if method == "POST":
            return INFERENCE[path]
        allowed.add("POST")
    for pattern, template, endpoint in _PATTERNS:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        if endpoint.method == method:
            ids = found.groups() if "{id}" in template else ()
            return Match(endpoint, path.removeprefix("/v1"), ids)
        allowed.add(endpoint.method)
    if allowed:
        names = ", ".join(sorted(allowed))
        raise WrongMethod(f"This URL takes {names}, not {method[:20]}.", headers={"Allow": names})
    raise UnknownPath("There is no such URL in OpenAI's API, as far as AI-Eye carries it.")


def paths() -> list[tuple[str, str]]:
    """Every (method, path template) there is, for the OpenAPI document and the tests."""
    infer = [("POST", path) for path in INFERENCE]
    return infer + [(method, f"/v1/{path}") for method, path, _, _ in _RELAYED]


# What a client may say to the provider. Everything about the account, the connection and the
# client itself stays here (RFC 9110, 7.6.1, and the client's own token above all).
_REQUEST_HEADERS = frozenset({b"accept", b"content-type", b"if-range", b"openai-beta", b"range"})
# What a provider may say to the client, besides the families below. Cookies, connection, CORS and
# the account's name stay here.
_RESPONSE_HEADERS = frozenset(
    {
        b"content-type",
        b"accept-ranges",
        b"content-disposition",
        b"content-language",
        b"content-range",
        b"openai-model",
        b"openai-processing-ms",
        b"openai-version",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-simulated",
    }
)
_RESPONSE_FAMILIES = (b"x-ratelimit-",)
_UNSAFE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Kept with a cached answer: what describes the answer, not the moment or the account's limits.
_STORED_HEADERS = frozenset(
    {b"content-type", b"content-disposition", b"content-language", b"openai-model",
     b"openai-version", b"x-simulated"}
)  # fmt: skip


def request_headers(headers: Iterable[Header]) -> dict[str, str]:
    """The client's headers that go up, the first of a name only. Names are lower case."""
    kept: dict[str, str] = {}
    for name, value in headers:
        if name in _REQUEST_HEADERS and not _UNSAFE.search(value):
            kept.setdefault(name.decode("ascii"), value.decode("latin-1"))
    return kept


def beta_of(headers: Iterable[Header]) -> str:
    """Which of OpenAI's trials a client takes part in (`OpenAI-Beta`); "" when it names none."""
    values = [value for name, value in headers if name == b"openai-beta"]
    if not values:
        return ""
    # Several headers of a name are one list (RFC 9110, 5.3).
    return b", ".join(one for one in values if not _UNSAFE.search(one)).decode("latin-1")


def response_headers(headers: Iterable[Header], hidden: bytes = b"") -> list[Header]:
    """The provider's headers that come down, the first of a name only. Names are lower case.

    None comes down that holds `hidden`, the secret that the provider was asked with.
    """
    kept: dict[bytes, bytes] = {}
    for name, value in headers:
        if (
            (name in _RESPONSE_HEADERS or name.startswith(_RESPONSE_FAMILIES))
            and name not in kept
            and not (hidden and hidden in value)
            and not _UNSAFE.search(value)
        ):
            kept[name] = value
    return list(kept.items())


def stored_headers(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Of headers that came down, those that a cached answer gives again."""
    return tuple([pair for pair in headers if pair[0] in _STORED_HEADERS])


def header(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The first value of a header. All names are lower case."""
    for known, value in headers:
        if known == name:
            return value
    return None
