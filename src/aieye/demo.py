"""The simulated provider: OpenAI's API without OpenAI, for a first look, for tests and for CI.

`demo_app` is a raw ASGI app, `serve_demo` runs one in the running event loop. It is deterministic
(the same request with the same key gives the same bytes) and says everywhere that it is simulated:
`x-simulated: true`, `fp_simulated`, `owned_by: "simulated"`, and the text itself. What an account
stores (files, uploads, batches, vector stores, responses) is kept in memory per API key, and each
creation there gets an id of its own, as at the real provider.

Faults and delays are asked for by the model's name; directives combine (`sim-delay-500-cut-3`):

    sim-error-429    answer with that status (429 carries `retry-after: 1`)
    sim-delay-2000   wait so many milliseconds before the first byte
    sim-slow-50      wait so many milliseconds between stream events
    sim-cut-5        cut the connection after so many stream events, or inside a plain body
    sim-long-400     answer with so many tokens, which are as many words

Shapes and error texts follow https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import array
import asyncio
import base64
import hashlib
import itertools
import math
import re
import socket
import struct
import sys
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeGuard, TypeVar
from urllib.parse import parse_qsl, unquote

import orjson

if TYPE_CHECKING:
    import uvicorn

Json: TypeAlias = dict[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")

MODELS = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
    "o4-mini",
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-instruct",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    "omni-moderation-latest",
    "tts-1",
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-image-1",
    "dall-e-2",
    "dall-e-3",
    "davinci-002",
    "babbage-002",
)
FINGERPRINT = "fp_simulated"
# Every `created` and `created_at` is 2025-06-15T15:06:40Z: a clock would change the bytes.
CREATED = 1_750_000_000
CHARACTERS_PER_TOKEN = 4
# A request body above this is refused (413), so that the demo cannot fill the machine's memory.
MAX_BODY_BYTES = 64 * 2**20
# What one account keeps at most; the oldest goes first.
MAX_KEPT_OBJECTS = 1_000
MAX_KEPT_FILE_BYTES = 256 * 2**20

_LONG_WORDS = ("sim", "ula", "ted", "out", "put")
_DIRECTIVES = re.compile(r"-(error|delay|slow|cut|long)-([0-9]{1,5})")
_SIMULATION = re.compile(r"sim(?:-(?:error-[45][0-9]{2}|(?:delay|slow|cut|long)-[0-9]{1,5}))+")
_ACCEPTED_MODEL = re.compile(r"(?:gpt-|o[0-9]|text-|ft:)\S*")
_EMBEDDING_MODEL = re.compile(r"text-(?:embedding|search|similarity)-|.*-(?:embed|search)-")
_COMPLETION_MODEL = re.compile(r".*-instruct|text-(?!embedding)|(?:davinci|babbage)-002")
_OTHER_MODEL = re.compile(r"omni-moderation|tts-|whisper-|dall-e-|gpt-image|.*-(?:tts|transcribe)")
# Who asks, and how the answer travels, does not change it: a streamed and a plain form share ids.
_OUTSIDE_THE_ANSWER = frozenset({"stream", "stream_options", "user", "metadata"})
_JSON_HEADERS = (("content-type", "application/json"),)
_SSE_HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
)
_DONE = b"data: [DONE]\n\n"


def count_tokens(text: str) -> int:
    """The simulated tokeniser, the same everywhere: a token per 4 characters, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def split_tokens(text: str) -> list[str]:
    """The tokens of `text`; their number is `count_tokens(text)`."""
    step = CHARACTERS_PER_TOKEN
    return [text[at : at + step] for at in range(0, len(text), step)]


# ------------------------------------------------------------------------------------- errors


class ProviderError(Exception):
    """An error answer of the simulated provider, in the shape of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body: Json = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }


def _missing(param: str) -> ProviderError:
    message = f"Missing required parameter: '{param}'."
    return ProviderError(400, message, param=param, code="missing_required_parameter")


def _wrong_type(param: str, expected: str, value: object) -> ProviderError:
    message = f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead."
    return ProviderError(400, message, param=param, code="invalid_type")


def _invalid(param: str, message: str, code: str = "invalid_value") -> ProviderError:
    return ProviderError(400, f"Invalid '{param}': {message}", param=param, code=code)


def _no_such(what: str, id_: str) -> ProviderError:
    return ProviderError(404, f"No such {what} object: {id_}", param="id")


def _kind(value: object) -> str:
    """How OpenAI's messages name the JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


_FAULTS = {
    400: ("invalid_request_error", None, "Simulated invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Simulated: incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Simulated refusal."),
    404: ("invalid_request_error", "model_not_found", "Simulated: the model does not exist."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Simulated: rate limit reached. Please try again in 1s.",
    ),
    503: ("server_error", "overloaded", "Simulated: the engine is currently overloaded."),
}


def _fault(status: int) -> ProviderError:
    """The error that `sim-error-<status>` asks for."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    kind, code, message = _FAULTS.get(status, (kind, None, f"Simulated error {status}."))
    headers = (("retry-after", "1"),) if status == 429 else ()
    return ProviderError(status, message, kind=kind, code=code, headers=headers)


# ----------------------------------------------------------------------- what a model name asks


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a `sim-…` model name asks for. Every other model has the defaults."""

    error_status: int | None = None
    delay_seconds: float = 0.0
    gap_seconds: float = 0.0
    cut_after_events: int | None = None
    long_tokens: int | None = None


PLAIN = Behaviour()


def read_model(model: str) -> Behaviour:
    """The behaviour of a model; raises 404 `model_not_found` for a name that nobody knows."""
    if model in MODELS or _ACCEPTED_MODEL.fullmatch(model):
        return PLAIN
    if not _SIMULATION.fullmatch(model):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise ProviderError(404, message, code="model_not_found")
    asked = {word: int(amount) for word, amount in _DIRECTIVES.findall(model)}
    return Behaviour(
        error_status=asked.get("error"),
        delay_seconds=asked.get("delay", 0) / 1000,
        gap_seconds=asked.get("slow", 0) / 1000,
        cut_after_events=asked.get("cut"),
        long_tokens=asked.get("long"),
    )


# ---------------------------------------------------------------------------- calls and answers


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart form: a file if it has a file name."""

    name: str
    filename: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, sent with its Content-Length."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = _JSON_HEADERS


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer: server-sent events, each with its blank line."""

    events: Iterable[bytes]


class Shelf(OrderedDict[str, T], Generic[T]):
    """Objects by id, oldest first; what exceeds `MAX_KEPT_OBJECTS` falls off the old end."""

    def put(self, id_: str, value: T) -> T:
        """Store `value`, as the newest if it is new."""
        self[id_] = value
        if len(self) > MAX_KEPT_OBJECTS:
            self.popitem(last=False)
        return value


@dataclass(slots=True)
class StoredFile:
    """A file's public object and its bytes."""

    public: Json
    content: bytes


@dataclass(slots=True)
class StoredUpload:
    """An upload in progress: its public object and its parts by id."""

    public: Json
    parts: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class StoredVectors:
    """A vector store: its public object and its file objects by file id."""

    public: Json
    files: Shelf[Json] = field(default_factory=Shelf)


@dataclass(slots=True)
class StoredResponse:
    """A response as answered, with the input items that led to it."""

    public: Json
    items: list[Json]


@dataclass(slots=True)
class Account:
    """What the provider keeps for one API key; other keys never see it."""

    key: str
    files: Shelf[StoredFile] = field(default_factory=Shelf)
    uploads: Shelf[StoredUpload] = field(default_factory=Shelf)
    batches: Shelf[Json] = field(default_factory=Shelf)
    vectors: Shelf[StoredVectors] = field(default_factory=Shelf)
    responses: Shelf[StoredResponse] = field(default_factory=Shelf)
    creations: Shelf[int] = field(default_factory=Shelf)

    def new_id(self, prefix: str, digest: str) -> str:
        """An id for something created: the account, the request, and how often it was made."""
        ordinal = self.creations.get(digest, 0)
        self.creations.put(digest, ordinal + 1)
        return f"{prefix}{_digest(self.key, digest, str(ordinal))[:24]}"

    def keep_file(self, stored: StoredFile) -> Json:
        """Store a file, dropping the oldest ones beyond `MAX_KEPT_FILE_BYTES`."""
        self.files.put(stored.public["id"], stored)
        excess = sum(len(kept.content) for kept in self.files.values()) - MAX_KEPT_FILE_BYTES
        while excess > 0 and len(self.files) > 1:
            excess -= len(self.files.popitem(last=False)[1].content)
        return stored.public


@dataclass(frozen=True, slots=True)
class Call:
    """One understood request. `params` are the JSON body's fields or the form's text fields."""

    path: str
    ids: tuple[str, ...]
    query: dict[str, str]
    params: Json
    files: tuple[Part, ...]
    account: Account
    behaviour: Behaviour
    digest: str

    @property
    def model(self) -> str:
        """The model asked for, "" where the endpoint does without."""
        return str(self.params.get("model") or "")

    @property
    def streamed(self) -> bool:
        """Whether a stream was asked for, in JSON or as a form field."""
        return self.params.get("stream") in (True, "true")

    def created_id(self, prefix: str) -> str:
        """A new id for something that the account keeps."""
        return self.account.new_id(prefix, self.digest)


Handler: TypeAlias = Callable[[Call], Answer | Stream]


def _digest(*parts: str | bytes) -> str:
    """Hexadecimal digest of parts, none of which can run into the next."""
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        hashed.update(b"%d:" % len(raw))
        hashed.update(raw)
    return hashed.hexdigest()


def _ok(body: Json) -> Answer:
    return Answer(orjson.dumps(body))


def _data(chunk: Json) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _listing(items: Sequence[Json], query: dict[str, str]) -> Answer:
    """A page of `items` (given oldest first), by the list conventions: limit, after, order."""
    try:
        limit = int(query.get("limit", "20"))
    except ValueError:
        raise _wrong_type("limit", "an integer", query["limit"]) from None
    if not 1 <= limit <= 10_000:
        raise _invalid("limit", "Expected a value between 1 and 10000.")
    ordered = list(items) if query.get("order") == "asc" else list(reversed(items))
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise _no_such("cursor", after)
        ordered = ordered[ids.index(after) + 1 :]
    page = ordered[:limit]
    return _ok(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(ordered) > limit,
        }
    )


# ------------------------------------------------------------------------- reading what was sent


def parse_form(content_type: str, body: bytes) -> list[Part]:
    """The parts of a multipart/form-data body (RFC 7578); raises 400 if it is cut or malformed."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if boundary is None:
        raise ProviderError(400, "Could not parse multipart form: no boundary.")
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode("latin-1"))
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise ProviderError(400, "Could not parse multipart form: it does not end.")
    return [_parse_part(section) for section in sections[1:-1]]


def _parse_part(section: bytes) -> Part:
    head, separator, content = section.partition(b"\r\n\r\n")
    header = head.decode("utf-8", "replace")
    name = re.search(r'[;\s]name="?([^";\r\n]*)"?', header)
    if not separator or name is None:
        raise ProviderError(400, "Could not parse multipart form: a part has no name.")
    return Part(name[1], _filename(header), content)


def _filename(header: str) -> str | None:
    """The file name in a part's header: RFC 8187's form first, then the quoted one of HTML."""
    if extended := re.search(r"filename\*=utf-8''([^;\r\n]*)", header, re.IGNORECASE):
        return unquote(extended[1])
    quoted = re.search(r'filename="?([^"\r\n]*)"?', header)
    return quoted[1].replace("%22", '"') if quoted else None


def _form_fields(parts: Iterable[Part]) -> Json:
    """The text fields of a form; `name[]` and repeated names become lists."""
    fields: Json = {}
    for part in parts:
        if part.filename is not None:
            continue
        text, name = part.content.decode("utf-8", "replace"), part.name.removesuffix("[]")
        if name != part.name or name in fields:
            earlier = fields.get(name, [])
            fields[name] = [*(earlier if isinstance(earlier, list) else [earlier]), text]
        else:
            fields[name] = text
    return fields


def _parse_json(body: bytes) -> Json:
    try:
        params = orjson.loads(body)
    except orjson.JSONDecodeError:
        params = None
    if not isinstance(params, dict):
        message = "We could not parse the JSON body of your request. The API expects an object."
        raise ProviderError(400, message)
    return params


# name: (lowest, highest, whole numbers only)
_RANGES: dict[str, tuple[float, float, bool]] = {
    "n": (1, 128, True),
    "best_of": (1, 20, True),
    "max_tokens": (0, math.inf, True),
    "max_completion_tokens": (1, math.inf, True),
    "max_output_tokens": (1, math.inf, True),
    "top_logprobs": (0, 20, True),
    "temperature": (0, 2, False),
    "top_p": (0, 1, False),
    "presence_penalty": (-2, 2, False),
    "frequency_penalty": (-2, 2, False),
}


def _check_common(params: Json) -> None:
    """The checks that all JSON endpoints share: ranges of numbers, and what a stream needs."""
    for name, (lowest, highest, whole) in _RANGES.items():
        value = params.get(name)
        if value is None:
            continue
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise _wrong_type(name, "an integer" if whole else "a decimal number", value)
        if not lowest <= value <= highest:
            bound = f">= {lowest}" if value < lowest else f"<= {highest}"
            raise _invalid(name, f"Expected a value {bound}, but got {value} instead.")
    if not isinstance(params.get("stream"), bool | None):
        raise _wrong_type("stream", "a boolean", params["stream"])
    if params.get("stream_options") is not None and not params.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ProviderError(400, message, param="stream_options")


def _text(params: Json, name: str) -> str:
    """A required string field."""
    value = params.get(name)
    if value is None:
        raise _missing(name)
    if not isinstance(value, str):
        raise _wrong_type(name, "a string", value)
    return value


def _strings(params: Json, name: str) -> list[str]:
    """An optional list of strings, or one string standing for a list."""
    value = params.get(name)
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise _wrong_type(name, "an array of strings", value)
    return found


def _file(call: Call, name: str) -> Part:
    """A required file of the form."""
    for part in call.files:
        if part.name.removesuffix("[]") == name:
            return part
    raise _missing(name)


def _content_text(content: object) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _last_user_text(messages: Sequence[Json]) -> str:
    """The last message of the user; where there is none, the last message of all."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return _content_text(message.get("content"))
    return _content_text(messages[-1].get("content")) if messages else ""


# ------------------------------------------------------------------------------ writing answers


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call that the model makes of one of the caller's functions."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the simulated model says: text, or a function call in its place."""

    text: str
    finish: str
    function: FunctionCall | None = None

    @property
    def tokens(self) -> int:
        """Completion tokens, by `count_tokens`."""
        if self.function is None:
            return count_tokens(self.text)
        return count_tokens(self.function.name) + count_tokens(self.function.arguments)


def _write(call: Call, text: str, *, limit: int | None, variant: int = 0) -> Reply:
    """Finish a reply: long output, variant `n`, stop sequences, then the limit in tokens."""
    if call.behaviour.long_tokens is not None:
        words = itertools.islice(itertools.cycle(_LONG_WORDS), call.behaviour.long_tokens)
        text = " ".join(words)
    if variant:
        text = f"{text} (variant {variant + 1})"
    for stop in _strings(call.params, "stop"):
        if stop and stop in text:
            text = text[: text.index(stop)]
    if limit is not None and count_tokens(text) > limit:
        return Reply(text[: limit * CHARACTERS_PER_TOKEN], "length")
    return Reply(text, "stop")


class SchemaExample:
    """Makes a small value for a JSON schema of the kind that structured outputs allow.

    `text` fills the strings. Recursive schemas end: deep levels are as small as they may be, and
    beyond a depth or a number of values that no sensible schema needs there is only null.
    """

    _DEEP = 4
    _DEEPEST = 32

    def __init__(self, schema: Json, text: str) -> None:
        self._root = schema
        self._text = text
        self._values_left = 10_000

    def json(self) -> str:
        """The example as JSON text."""
        return orjson.dumps(self._value(self._root, 0)).decode()

    def _value(self, schema: object, depth: int) -> Any:
        self._values_left -= 1
        if not isinstance(schema, dict) or depth > self._DEEPEST or self._values_left < 0:
            return None
        if isinstance(schema.get("$ref"), str):
            return self._value(self._resolve(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        for options in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
            if isinstance(options, list) and options:
                return self._value(self._choose(options, depth), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Json, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                length = min(_whole(schema.get("minItems"), int(depth <= self._DEEP)), 100)
                return [self._value(schema.get("items"), depth + 1) for _ in range(length)]
            case "integer" | "number":
                return schema.get("minimum", 0)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                text = self._text[: _whole(schema.get("maxLength"), len(self._text))]
                return text.ljust(min(_whole(schema.get("minLength"), 0), 1_000), ".")

    def _object(self, schema: Json, depth: int) -> Json:
        """All properties, or at deep levels only those that are required."""
        found, required = schema.get("properties"), schema.get("required")
        properties = found if isinstance(found, dict) else {}
        needed = required if isinstance(required, list) else []
        return {
            name: self._value(inner, depth + 1)
            for name, inner in properties.items()
            if depth <= self._DEEP or name in needed
        }

    def _choose(self, options: list[object], depth: int) -> object:
        null = {"type": "null"}
        return null if depth > self._DEEP and null in options else options[0]

    def _resolve(self, reference: str) -> object:
        """The part of the schema that a local `$ref` (`#/$defs/name`) points to, or None."""
        found: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                found = found.get(step) if isinstance(found, dict) else None
        return found


def _whole(value: object, default: int) -> int:
    """`value` where it is a whole number from 0 up, else `default`."""
    return value if _is_token(value) and value >= 0 else default


def _formatted(format_: object, text: str) -> str:
    """`text` in the response format asked for: as is, a JSON object, or an instance of a schema."""
    if not isinstance(format_, dict):
        return text
    match format_.get("type"):
        case "json_object":
            return orjson.dumps({"simulated": True, "answer": text}).decode()
        case "json_schema":
            # Chat nests the schema once more than responses do.
            nested = format_.get("json_schema")
            schema = (nested if isinstance(nested, dict) else format_).get("schema")
            if not isinstance(schema, dict):
                raise _missing("response_format.json_schema.schema")
            return SchemaExample(schema, text).json()
        case _:
            return text


def _function_call(call: Call, text: str) -> FunctionCall | None:
    """The forced function call, or None: `tool_choice` "auto" is always answered with text."""
    tools = call.params.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise _wrong_type("tools", "an array of objects", tools)
    # Chat wraps the function in an object, responses do not.
    unwrapped = [_unwrap(tool) for tool in tools or [] if isinstance(tool, dict)]
    functions = {tool["name"]: tool for tool in unwrapped if isinstance(tool.get("name"), str)}
    choice = call.params.get("tool_choice")
    if isinstance(choice, dict):
        name = str(_unwrap(choice).get("name"))
        if name not in functions:
            raise _invalid("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")
    elif choice == "required":
        if not functions:
            raise _invalid("tool_choice", "'tool_choice' is only allowed when 'tools' are given.")
        name = next(iter(functions))
    else:
        return None
    schema = functions[name].get("parameters")
    example = SchemaExample(schema if isinstance(schema, dict) else {"type": "object"}, text)
    return FunctionCall(f"call_{call.digest[:24]}", name, example.json())


def _unwrap(tool: Json) -> Json:
    inner = tool.get("function")
    return inner if isinstance(inner, dict) else tool


def _usage(prompt_tokens: int, completion_tokens: int) -> Json:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chunks(base: Json, choices: Iterable[Json], usage: Json | None) -> Iterator[bytes]:
    """Stream chunks with one choice each, then [DONE].

    With `usage` (asked for by `stream_options.include_usage`) every chunk has `usage: null`, and a
    chunk without choices brings the figures before [DONE].
    """
    extra: Json = {} if usage is None else {"usage": None}
    for choice in choices:
        yield _data({**base, "choices": [choice], **extra})
    if usage is not None:
        yield _data({**base, "choices": [], "usage": usage})
    yield _DONE


def _stream_usage(params: Json, usage: Json) -> Json | None:
    options = params.get("stream_options")
    return usage if isinstance(options, dict) and options.get("include_usage") is True else None


def _logprob(token: str) -> float:
    """A fixed log probability of a token, from -1.0 up to -0.001."""
    return -(zlib.crc32(token.encode()) % 1000 + 1) / 1000


# ------------------------------------------------------------------------------ chat completions


def _messages(params: Json) -> list[Json]:
    messages = params.get("messages")
    if messages is None:
        raise _missing("messages")
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise _invalid("messages", "empty array. Expected at least one message.", "empty_array")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong_type(f"messages[{index}]", "an object", message)
        if not isinstance(message.get("role"), str):
            raise _missing(f"messages[{index}].role")
        if not isinstance(message.get("content"), str | list | None):
            raise _wrong_type(f"messages[{index}].content", "a string", message["content"])
    return messages


def _refuse_other_than_chat(model: str) -> None:
    if _COMPLETION_MODEL.match(model) or _EMBEDDING_MODEL.match(model) or _OTHER_MODEL.match(model):
        message = (
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
            " Did you mean to use v1/completions?"
        )
        raise ProviderError(404, message, param="model")


def _chat(call: Call) -> Answer | Stream:
    params = call.params
    messages = _messages(params)
    _refuse_other_than_chat(call.model)
    limit = params.get("max_completion_tokens", params.get("max_tokens"))
    answer = f"Simulated answer to: {_last_user_text(messages)}"
    text = _formatted(params.get("response_format"), answer)
    function = _function_call(call, answer)
    replies = [
        Reply("", "tool_calls", function)
        if function
        else _write(call, text, limit=limit, variant=i)
        for i in range(params.get("n") or 1)
    ]
    prompt_tokens = sum(count_tokens(_content_text(item.get("content"))) for item in messages)
    usage = _usage(prompt_tokens, sum(reply.tokens for reply in replies))
    base = {
        "id": f"chatcmpl-{call.digest[:29]}",
        "object": "chat.completion.chunk" if call.streamed else "chat.completion",
        "created": CREATED,
        "model": call.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    if call.streamed:
        choices = _chat_deltas(replies, params)
        return Stream(_chunks(base, choices, _stream_usage(params, usage)))
    whole = [_chat_choice(index, reply, params) for index, reply in enumerate(replies)]
    return _ok({**base, "choices": whole, "usage": usage})


def _tool_call(function: FunctionCall, arguments: str) -> Json:
    return {
        "id": function.id,
        "type": "function",
        "function": {"name": function.name, "arguments": arguments},
    }


def _chat_choice(index: int, reply: Reply, params: Json) -> Json:
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.function:
        message["content"] = None
        message["tool_calls"] = [_tool_call(reply.function, reply.function.arguments)]
    return {
        "index": index,
        "message": message,
        "logprobs": _chat_logprobs(split_tokens(reply.text), params),
        "finish_reason": reply.finish,
    }


def _chat_logprobs(tokens: Iterable[str], params: Json) -> Json | None:
    if params.get("logprobs") is not True:
        return None
    # The likeliest candidates come first; the chosen token is always the likeliest here.
    places = range(params.get("top_logprobs") or 0)
    return {
        "content": [
            {
                **_candidate(token, 0),
                "top_logprobs": [_candidate(token, place) for place in places],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def _candidate(token: str, place: int) -> Json:
    text = token if place == 0 else f"{token[:1]}{place}"
    return {
        "token": text,
        "logprob": _logprob(token) - place,
        "bytes": list(text.encode()),
    }


def _chat_deltas(replies: Sequence[Reply], params: Json) -> Iterator[Json]:
    """The choices of all chunks: roles, then the tokens of all replies in turn, then finishes."""
    for index, reply in enumerate(replies):
        delta: Json = {"role": "assistant", "content": "", "refusal": None}
        if reply.function:
            delta["content"] = None
            delta["tool_calls"] = [{"index": 0, **_tool_call(reply.function, "")}]
        yield {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    said = [split_tokens(r.function.arguments if r.function else r.text) for r in replies]
    for row in itertools.zip_longest(*said):
        for index, token in enumerate(row):
            if token is None:
                continue
            if replies[index].function:
                calls = [{"index": 0, "function": {"arguments": token}}]
                delta, logprobs = {"tool_calls": calls}, None
            else:
                delta, logprobs = {"content": token}, _chat_logprobs([token], params)
            yield {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
    for index, reply in enumerate(replies):
        yield {"index": index, "delta": {}, "logprobs": None, "finish_reason": reply.finish}


# ------------------------------------------------------------------- completions and edits (legacy)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a completion: its text (token ids are shown as `<1><2>`) and its tokens."""

    text: str
    tokens: int


def _prompts(params: Json, name: str) -> list[Prompt]:
    """A string, strings, token ids, or lists of token ids, as `prompt` and `input` allow."""
    value = params.get(name)
    if value is None:
        raise _missing(name)
    if isinstance(value, str):
        return [Prompt(value, count_tokens(value))]
    if not isinstance(value, list):
        raise _wrong_type(name, "a string or an array", value)
    if not value:
        raise _invalid(name, "empty array. Expected at least one element.", "empty_array")
    if all(_is_token(item) for item in value):
        return [_token_prompt(value)]
    prompts = []
    for index, item in enumerate(value):
        if isinstance(item, str):
            prompts.append(Prompt(item, count_tokens(item)))
        elif isinstance(item, list) and item and all(_is_token(token) for token in item):
            prompts.append(_token_prompt(item))
        else:
            raise _wrong_type(f"{name}[{index}]", "a string or an array of integers", item)
    return prompts


def _is_token(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _token_prompt(tokens: Sequence[int]) -> Prompt:
    return Prompt("".join(f"<{token}>" for token in tokens), len(tokens))


def _refuse_chat_models(model: str) -> None:
    if model.startswith(("sim-", "ft:")) or _COMPLETION_MODEL.match(model):
        return
    message = (
        "This is a chat model and not supported in the v1/completions endpoint."
        " Did you mean to use v1/chat/completions?"
    )
    raise ProviderError(404, message, param="model")


def _completions(call: Call) -> Answer | Stream:
    params = call.params
    prompts = _prompts(params, "prompt")
    _refuse_chat_models(call.model)
    limit = 16 if params.get("max_tokens") is None else params["max_tokens"]
    if not 0 <= _whole(params.get("logprobs"), 0) <= 5:
        raise _invalid("logprobs", "Expected a value between 0 and 5.")
    variants = range(params.get("n") or 1)
    pairs = [
        (prompt, _write(call, f"Simulated answer to: {prompt.text}", limit=limit, variant=variant))
        for prompt in prompts
        for variant in variants
    ]
    usage = _usage(sum(p.tokens for p in prompts), sum(reply.tokens for _, reply in pairs))
    base = {
        "id": f"cmpl-{call.digest[:29]}",
        "object": "text_completion",
        "created": CREATED,
        "model": call.model,
        "system_fingerprint": FINGERPRINT,
    }
    if call.streamed:
        choices = _completion_deltas(pairs, params)
        return Stream(_chunks(base, choices, _stream_usage(params, usage)))
    whole = [_completion_choice(index, *pair, params) for index, pair in enumerate(pairs)]
    return _ok({**base, "choices": whole, "usage": usage})


def _completion_choice(index: int, prompt: Prompt, reply: Reply, params: Json) -> Json:
    shown, offset = _shown(prompt, reply, params)
    return {
        "text": "".join(shown),
        "index": index,
        "logprobs": _completion_logprobs(shown, offset, params),
        "finish_reason": reply.finish,
    }


def _shown(prompt: Prompt, reply: Reply, params: Json) -> tuple[list[str], int]:
    """The tokens that are shown, with `echo` the prompt's first, and where they start."""
    if params.get("echo") is True:
        return split_tokens(prompt.text) + split_tokens(reply.text), 0
    return split_tokens(reply.text), len(prompt.text)


def _completion_deltas(pairs: Sequence[tuple[Prompt, Reply]], params: Json) -> Iterator[Json]:
    for index, (prompt, reply) in enumerate(pairs):
        shown, offset = _shown(prompt, reply, params)
        for token in shown:
            logprobs = _completion_logprobs([token], offset, params)
            yield {"text": token, "index": index, "logprobs": logprobs, "finish_reason": None}
            offset += len(token)
        yield {"text": "", "index": index, "logprobs": None, "finish_reason": reply.finish}


def _completion_logprobs(tokens: Sequence[str], offset: int, params: Json) -> Json | None:
    """The legacy log probabilities; `offset` is where the first token starts in prompt + text."""
    asked = params.get("logprobs")
    if not _is_token(asked):
        return None
    starts = itertools.accumulate((len(token) for token in tokens[:-1]), initial=offset)
    candidates = [[_candidate(token, place) for place in range(asked)] for token in tokens]
    return {
        "tokens": list(tokens),
        "token_logprobs": [_logprob(token) for token in tokens],
        "top_logprobs": [{c["token"]: c["logprob"] for c in row} for row in candidates]
        if asked
        else None,
        "text_offset": list(starts)[: len(tokens)],
    }


def _edits(call: Call) -> Answer | Stream:
    params = call.params
    instruction = _text(params, "instruction")
    given = "" if params.get("input") is None else _text(params, "input")
    text = f"Simulated edit of: {given} ({instruction})"
    replies = [_write(call, text, limit=None, variant=i) for i in range(params.get("n") or 1)]
    tokens = count_tokens(given) + count_tokens(instruction)
    choices = [{"text": reply.text, "index": index} for index, reply in enumerate(replies)]
    usage = _usage(tokens, sum(reply.tokens for reply in replies))
    return _ok({"object": "edit", "created": CREATED, "choices": choices, "usage": usage})


# ------------------------------------------------------------------------------------- responses


def _input_items(call: Call) -> list[Json]:
    """The input as stored items: messages with content parts and ids, other items with ids."""
    given = call.params.get("input")
    if given is None:
        raise _missing("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise _wrong_type("input", "a string or an array", given)
    items = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise _wrong_type(f"input[{index}]", "an object", item)
        items.append(_input_item(item, f"msg_{_digest(call.digest, str(index))[:32]}"))
    return items


def _input_item(item: Json, id_: str) -> Json:
    if "role" not in item:
        return {"id": id_, **item}
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    message = {"id": id_, "type": "message", "status": "completed", **item}
    return {**message, "content": content}


def _previous(call: Call) -> StoredResponse | None:
    if call.params.get("previous_response_id") is None:
        return None
    previous_id = _text(call.params, "previous_response_id")
    stored = call.account.responses.get(previous_id)
    if stored is None:
        message = f"Previous response with id '{previous_id}' not found."
        code = "previous_response_not_found"
        raise ProviderError(400, message, param="previous_response_id", code=code)
    return stored


def _responses(call: Call) -> Answer | Stream:
    params = call.params
    items, previous = _input_items(call), _previous(call)
    _refuse_other_than_chat(call.model)
    prompt = f"Simulated answer to: {_last_user_text(items)}"
    config = params.get("text")
    text = _formatted(config.get("format") if isinstance(config, dict) else None, prompt)
    function = _function_call(call, prompt)
    limit = params.get("max_output_tokens")
    reply = Reply("", "stop", function) if function else _write(call, text, limit=limit)
    tokens = sum(count_tokens(_content_text(item.get("content"))) for item in items)
    tokens += count_tokens(_content_text(params.get("instructions")))
    tokens += previous.public["usage"]["total_tokens"] if previous else 0
    response = _response_object(call, reply, tokens)
    if params.get("store") is not False:
        call.account.responses.put(response["id"], StoredResponse(response, items))
    return Stream(_response_events(response, reply)) if call.streamed else _ok(response)


def _response_object(call: Call, reply: Reply, input_tokens: int) -> Json:
    params = call.params
    # The account is in the id: at the real provider no two accounts ever share one.
    id_ = _digest(call.account.key, call.digest)
    incomplete = reply.finish == "length"
    status = "incomplete" if incomplete else "completed"
    return {
        "id": f"resp_{id_[:48]}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": params.get("background") is True,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "instructions": params.get("instructions"),
        "max_output_tokens": params.get("max_output_tokens"),
        "metadata": params.get("metadata") or {},
        "model": call.model,
        "output": [_output_item(id_, reply, status)],
        "parallel_tool_calls": params.get("parallel_tool_calls", True),
        "previous_response_id": params.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": params.get("store") is not False,
        "system_fingerprint": FINGERPRINT,
        "temperature": params.get("temperature", 1.0),
        "text": params.get("text") or {"format": {"type": "text"}},
        "tool_choice": params.get("tool_choice") or "auto",
        "tools": params.get("tools") or [],
        "top_p": params.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": reply.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + reply.tokens,
        },
        "user": params.get("user"),
    }


def _output_item(id_: str, reply: Reply, status: str) -> Json:
    if reply.function:
        return {
            "id": f"fc_{id_[:48]}",
            "type": "function_call",
            "status": status,
            "arguments": reply.function.arguments,
            "call_id": reply.function.id,
            "name": reply.function.name,
        }
    part = _output_part(reply.text)
    return {
        "id": f"msg_{id_[:48]}",
        "type": "message",
        "status": status,
        "content": [part],
        "role": "assistant",
    }


def _output_part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _response_events(response: Json, reply: Reply) -> Iterator[bytes]:
    """The whole event sequence of a streamed response; there is no [DONE] on this endpoint."""
    item = response["output"][0]
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    begun["incomplete_details"] = None
    events: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
    ]
    events += _function_events(item) if reply.function else _message_events(item, reply.text)
    events.append((f"response.{response['status']}", {"response": response}))
    for number, (name, fields) in enumerate(events):
        event = {"type": name, "sequence_number": number, **fields}
        yield b"event: " + name.encode() + b"\n" + _data(event)


def _function_events(item: Json) -> list[tuple[str, Json]]:
    place = {"item_id": item["id"], "output_index": 0}
    begun = {**item, "status": "in_progress", "arguments": ""}
    name = "response.function_call_arguments"
    return [
        ("response.output_item.added", {"output_index": 0, "item": begun}),
        *((f"{name}.delta", {**place, "delta": t}) for t in split_tokens(item["arguments"])),
        (f"{name}.done", {**place, "arguments": item["arguments"]}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
    ]


def _message_events(item: Json, text: str) -> list[tuple[str, Json]]:
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    deltas = ({**place, "delta": token, "logprobs": []} for token in split_tokens(text))
    return [
        ("response.output_item.added", {"output_index": 0, "item": begun}),
        ("response.content_part.added", {**place, "part": _output_part("")}),
        *(("response.output_text.delta", delta) for delta in deltas),
        ("response.output_text.done", {**place, "text": text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": _output_part(text)}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
    ]


def _stored_response(call: Call) -> StoredResponse:
    stored = call.account.responses.get(call.ids[0])
    if stored is None:
        raise ProviderError(404, f"Response with id '{call.ids[0]}' not found.")
    return stored


def _get_response(call: Call) -> Answer | Stream:
    return _ok(_stored_response(call).public)


def _delete_response(call: Call) -> Answer | Stream:
    del call.account.responses[_stored_response(call).public["id"]]
    return _ok({"id": call.ids[0], "object": "response", "deleted": True})


def _cancel_response(call: Call) -> Answer | Stream:
    stored = _stored_response(call)
    if not stored.public["background"]:
        raise ProviderError(400, "Cannot cancel a synchronous response.")
    return _ok(stored.public)


def _response_input(call: Call) -> Answer | Stream:
    return _listing(_stored_response(call).items, call.query)


# ---------------------------------------------------------------------- embeddings, moderations


def embed(text: str, dimensions: int) -> array.array[float]:
    """A unit vector of 32-bit floats; texts that share words or parts of words are similar."""
    vector = array.array("f", bytes(4 * dimensions))
    for word in re.findall(r"\w+", text.lower()) or [text]:
        _add_feature(vector, word, 1.0)
        for at in range(len(word) - 2):
            _add_feature(vector, word[at : at + 3], 0.25)
    length = math.sqrt(sum(value * value for value in vector))
    # Features can cancel out in a few dimensions; the vector must still have a direction.
    if length == 0:
        vector[0] = length = 1.0
    return array.array("f", (value / length for value in vector))


def _add_feature(vector: array.array[float], feature: str, weight: float) -> None:
    """Hash a feature to four signed places."""
    hashed = hashlib.blake2b(feature.encode(), digest_size=16).digest()
    for place in struct.unpack("<4I", hashed):
        vector[(place >> 1) % len(vector)] += weight if place & 1 else -weight


def _default_dimensions(model: str) -> int:
    return 3072 if model == "text-embedding-3-large" else 1536


def _embeddings(call: Call) -> Answer | Stream:
    params = call.params
    prompts = _prompts(params, "input")
    if not (call.model.startswith(("sim-", "ft:")) or _EMBEDDING_MODEL.match(call.model)):
        message = "You are not allowed to generate embeddings from this model"
        raise ProviderError(403, message)
    if any(not prompt.text for prompt in prompts) or len(prompts) > 2048:
        raise ProviderError(400, "'$.input' is invalid: 1 to 2048 non-empty inputs are expected.")
    dimensions = params.get("dimensions")
    dimensions = _default_dimensions(call.model) if dimensions is None else dimensions
    if not _is_token(dimensions) or not 1 <= dimensions <= 3072:
        raise _invalid("dimensions", "Expected an integer between 1 and 3072.")
    encoded = params.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, encoded=encoded)}
        for index, vector in enumerate(embed(prompt.text, dimensions) for prompt in prompts)
    ]
    tokens = sum(prompt.tokens for prompt in prompts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _ok({"object": "list", "data": data, "model": call.model, "usage": usage})


def _vector(vector: array.array[float], *, encoded: bool) -> str | list[float]:
    """A vector for JSON: numbers, or base64 of little-endian 32-bit floats."""
    if not encoded:
        return vector.tolist()
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()


_FLAGGED_WORDS = {
    "harassment": ("idiot", "stupid"),
    "harassment/threatening": (),
    "hate": ("hate",),
    "hate/threatening": (),
    "illicit": ("steal",),
    "illicit/violent": (),
    "self-harm": (),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": (),
    "sexual/minors": (),
    "violence": ("kill", "murder"),
    "violence/graphic": (),
}


def _moderations(call: Call) -> Answer | Stream:
    given = call.params.get("input")
    if given is None:
        raise _missing("input")
    if not isinstance(given, str | list):
        raise _wrong_type("input", "a string or an array", given)
    multimodal = isinstance(given, list) and any(isinstance(item, dict) for item in given)
    texts = [_content_text(given)] if isinstance(given, str) or multimodal else list(given)
    results = [_moderation(str(text)) for text in texts]
    model = call.model or "omni-moderation-latest"
    return _ok({"id": f"modr-{call.digest[:24]}", "model": model, "results": results})


def _moderation(text: str) -> Json:
    words = set(re.findall(r"\w+", text.lower()))
    flags = {name: bool(words.intersection(bad)) for name, bad in _FLAGGED_WORDS.items()}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: 0.99 if flag else 0.0001 for name, flag in flags.items()},
        "category_applied_input_types": {name: ["text"] for name in flags},
    }


# ------------------------------------------------------------------------------ images and audio


def png(colour: bytes, side: int = 8) -> bytes:
    """A square PNG of one colour (3 bytes RGB), stored without compression."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\x00" + colour * side) * side
    pixels = zlib.compress(rows, level=0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _images(call: Call) -> Answer | Stream:
    """Generations, edits and variations; base64 unless a URL is asked for (which leads nowhere)."""
    params, endpoint = call.params, call.path.rsplit("/", 1)[-1]
    prompt = "" if endpoint == "variations" else _text(params, "prompt")
    if endpoint != "generations":
        _file(call, "image")
    data = []
    for index in range(_image_count(params.get("n"))):
        digest = _digest(call.digest, str(index))
        if params.get("response_format") == "url":
            image = {"url": f"https://simulated.invalid/images/{digest[:24]}.png"}
        else:
            image = {"b64_json": base64.b64encode(png(bytes.fromhex(digest[:6]))).decode()}
        data.append({**image, "revised_prompt": f"Simulated image of: {prompt}"})
    body: Json = {"created": CREATED, "data": data}
    if call.model.startswith("gpt-image"):
        body["usage"] = _image_usage(count_tokens(prompt), data)
    return _ok(body)


def _image_count(value: object) -> int:
    """`n` of an image request, a number in JSON and its digits in a form."""
    text = "1" if value is None else str(value)
    if not re.fullmatch(r"[1-9]|10", text):
        raise _invalid("n", "Expected a whole number between 1 and 10.")
    return int(text)


def _image_usage(text_tokens: int, data: Sequence[Json]) -> Json:
    output_tokens = sum(count_tokens(image.get("b64_json", "")) for image in data)
    return {
        "input_tokens": text_tokens,
        "input_tokens_details": {"text_tokens": text_tokens, "image_tokens": 0},
        "output_tokens": output_tokens,
        "total_tokens": text_tokens + output_tokens,
    }


_SAMPLES_PER_SECOND = 8_000


def wav(samples: bytes) -> bytes:
    """A mono WAV file of 8-bit samples, 8,000 a second."""
    rate = _SAMPLES_PER_SECOND
    format_ = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    content = b"WAVE" + format_ + data
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _speech(call: Call) -> Answer | Stream:
    """A tone of 20 ms a token: a WAV file, or bare samples for `pcm`, whatever was asked for."""
    text = _text(call.params, "input")
    if call.params.get("voice") is None:
        raise _missing("voice")
    if len(text) > 4096:
        raise _invalid("input", "Expected a string of at most 4096 characters.", "string_too_long")
    period = 20 + int(_digest(text)[:2], 16) % 20
    wave = bytes(128 + round(60 * math.sin(2 * math.pi * at / period)) for at in range(period))
    length = max(1, count_tokens(text)) * _SAMPLES_PER_SECOND // 50
    samples = (wave * (length // period + 1))[:length]
    if call.params.get("response_format") == "pcm":
        return Answer(samples, headers=(("content-type", "audio/pcm"),))
    return Answer(wav(samples), headers=(("content-type", "audio/wav"),))


def _transcriptions(call: Call) -> Answer | Stream:
    """Transcriptions and translations: the text tells the file's name and size."""
    part = _file(call, "file")
    translated = call.path.endswith("translations")
    what = "translation" if translated else "transcription"
    text = f"Simulated {what} of: {part.filename or part.name} ({len(part.content)} bytes)"
    seconds = max(1, len(part.content) // 16_000)
    usage = _audio_usage(call.model, seconds, count_tokens(text))
    if call.streamed:
        return Stream(_transcript_events(text, usage))
    plain = (("content-type", "text/plain; charset=utf-8"),)
    match call.params.get("response_format", "json"):
        case "json":
            return _ok({"text": text, "usage": usage})
        case "text":
            return Answer(f"{text}\n".encode(), headers=plain)
        case "srt":
            span = f"00:00:00,000 --> {_clock(seconds)},000"
            return Answer(f"1\n{span}\n{text}\n\n".encode(), headers=plain)
        case "vtt":
            span = f"00:00:00.000 --> {_clock(seconds)}.000"
            return Answer(f"WEBVTT\n\n{span}\n{text}\n\n".encode(), headers=plain)
        case "verbose_json":
            task = "translate" if translated else "transcribe"
            return _ok(_verbose_transcript(task, text, seconds))
        case other:
            raise _invalid("response_format", f"'{other}' is not supported.")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _audio_usage(model: str, seconds: int, output_tokens: int) -> Json:
    """Whisper is metered by duration, later models by tokens (here ten a second of sound)."""
    if not model.startswith("gpt-"):
        return {"type": "duration", "seconds": seconds}
    return {
        "type": "tokens",
        "input_tokens": 10 * seconds,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 10 * seconds},
        "output_tokens": output_tokens,
        "total_tokens": 10 * seconds + output_tokens,
    }


def _verbose_transcript(task: str, text: str, seconds: int) -> Json:
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": float(seconds),
        "text": text,
        "tokens": list(range(count_tokens(text))),
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
    return {
        "task": task,
        "language": "english",
        "duration": float(seconds),
        "text": text,
        "segments": [segment],
        "usage": {"type": "duration", "seconds": seconds},
    }


def _transcript_events(text: str, usage: Json) -> Iterator[bytes]:
    for token in split_tokens(text):
        yield _data({"type": "transcript.text.delta", "delta": token})
    yield _data({"type": "transcript.text.done", "text": text, "usage": usage})
    yield _DONE


# ----------------------------------------------------------------------------- files and uploads


def _file_object(id_: str, filename: str, purpose: str, size: int) -> Json:
    return {
        "object": "file",
        "id": id_,
        "purpose": purpose,
        "filename": filename,
        "bytes": size,
        "created_at": CREATED,
        "expires_at": None,
        "status": "processed",
        "status_details": None,
    }


def _create_file(call: Call) -> Answer | Stream:
    part, purpose = _file(call, "file"), _text(call.params, "purpose")
    name, size = part.filename or "file", len(part.content)
    public = _file_object(call.created_id("file-"), name, purpose, size)
    return _ok(call.account.keep_file(StoredFile(public, part.content)))


def _list_files(call: Call) -> Answer | Stream:
    purpose = call.query.get("purpose")
    files = [stored.public for stored in call.account.files.values()]
    return _listing([f for f in files if purpose in (None, f["purpose"])], call.query)


def _stored_file(call: Call, id_: str) -> StoredFile:
    stored = call.account.files.get(id_)
    if stored is None:
        raise _no_such("File", id_)
    return stored


def _get_file(call: Call) -> Answer | Stream:
    return _ok(_stored_file(call, call.ids[0]).public)


def _file_content(call: Call) -> Answer | Stream:
    headers = (("content-type", "application/octet-stream"),)
    return Answer(_stored_file(call, call.ids[0]).content, headers=headers)


def _delete_file(call: Call) -> Answer | Stream:
    del call.account.files[_stored_file(call, call.ids[0]).public["id"]]
    return _ok({"id": call.ids[0], "object": "file", "deleted": True})


def _create_upload(call: Call) -> Answer | Stream:
    params = call.params
    filename, purpose = _text(params, "filename"), _text(params, "purpose")
    _text(params, "mime_type")
    size = params.get("bytes")
    if size is None:
        raise _missing("bytes")
    if not _is_token(size) or size < 0:
        raise _wrong_type("bytes", "a count of bytes", size)
    public: Json = {
        "id": call.created_id("upload_"),
        "object": "upload",
        "bytes": size,
        "created_at": CREATED,
        "expires_at": CREATED + 3600,
        "filename": filename,
        "purpose": purpose,
        "status": "pending",
        "file": None,
    }
    return _ok(call.account.uploads.put(public["id"], StoredUpload(public)).public)


def _pending_upload(call: Call) -> StoredUpload:
    stored = call.account.uploads.get(call.ids[0])
    if stored is None:
        raise _no_such("Upload", call.ids[0])
    if stored.public["status"] != "pending":
        raise ProviderError(400, f"The upload is {stored.public['status']} already.")
    return stored


def _add_part(call: Call) -> Answer | Stream:
    stored, part = _pending_upload(call), _file(call, "data")
    id_ = call.created_id("part_")
    stored.parts[id_] = part.content
    upload_id = call.ids[0]
    part_object = {"id": id_, "object": "upload.part", "created_at": CREATED}
    return _ok({**part_object, "upload_id": upload_id})


def _complete_upload(call: Call) -> Answer | Stream:
    stored, ids = _pending_upload(call), _strings(call.params, "part_ids")
    if unknown := [id_ for id_ in ids if id_ not in stored.parts]:
        raise _no_such("Part", unknown[0])
    content = b"".join(stored.parts[id_] for id_ in ids)
    public = stored.public
    if len(content) != public["bytes"]:
        message = f"The upload has {len(content)} bytes, but {public['bytes']} were announced."
        raise ProviderError(400, message)
    file_id = call.created_id("file-")
    file = _file_object(file_id, public["filename"], public["purpose"], len(content))
    public["file"] = call.account.keep_file(StoredFile(file, content))
    return _ok(_end_upload(stored, "completed"))


def _cancel_upload(call: Call) -> Answer | Stream:
    return _ok(_end_upload(_pending_upload(call), "cancelled"))


def _end_upload(stored: StoredUpload, status: str) -> Json:
    stored.public["status"] = status
    stored.parts.clear()
    return stored.public


# ---------------------------------------------------------------------------------------- batches

_BATCHED = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/responses",
)


def _create_batch(call: Call) -> Answer | Stream:
    params = call.params
    file_id, endpoint = _text(params, "input_file_id"), _text(params, "endpoint")
    window = _text(params, "completion_window")
    _stored_file(call, file_id)
    if endpoint not in _BATCHED:
        raise _invalid("endpoint", f"Expected one of {', '.join(_BATCHED)}.")
    public: Json = {
        "id": call.created_id("batch_"),
        "object": "batch",
        "endpoint": endpoint,
        "errors": None,
        "input_file_id": file_id,
        "completion_window": window,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": CREATED,
        "expires_at": CREATED + 86_400,
        "completed_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": params.get("metadata"),
    }
    return _ok(call.account.batches.put(public["id"], public))


def _batch(call: Call) -> Json:
    public = call.account.batches.get(call.ids[0])
    if public is None:
        raise _no_such("Batch", call.ids[0])
    return public


def _get_batch(call: Call) -> Answer | Stream:
    """The batch; the first look at a waiting one carries it out, so no clock is involved."""
    public = _batch(call)
    if public["status"] == "validating":
        _run_batch(call.account, public)
    return _ok(public)


def _run_batch(account: Account, public: Json) -> None:
    """Answer each line of the input file, and store the answers as the output file."""
    stored = account.files.get(public["input_file_id"])
    lines = stored.content.splitlines() if stored else []
    answers = [_run_line(account, public["endpoint"], line) for line in lines if line.strip()]
    content = b"".join(orjson.dumps(answer) + b"\n" for answer in answers)
    output_id = account.new_id("file-", public["id"])
    name = f"{public['id']}_output.jsonl"
    account.keep_file(
        StoredFile(_file_object(output_id, name, "batch_output", len(content)), content)
    )
    failed = sum(answer["response"]["status_code"] >= 400 for answer in answers)
    completed = len(answers) - failed
    public["status"], public["completed_at"] = "completed", CREATED
    public["output_file_id"] = output_id
    public["request_counts"] = {"total": len(answers), "completed": completed, "failed": failed}


def _run_line(account: Account, endpoint: str, line: bytes) -> Json:
    custom_id = None
    try:
        task = _parse_json(line)
        custom_id, body = task.get("custom_id"), task.get("body")
        if task.get("url") != endpoint or not isinstance(body, dict) or body.get("stream"):
            raise ProviderError(400, f"Expected a plain request to {endpoint}.")
        _check_common(body)
        handler = _ROUTES["POST", endpoint]
        answer = _perform(handler, _understand(endpoint, handler, account, body))
        assert isinstance(answer, Answer), "a body without `stream` is answered whole"
        status, body = answer.status, orjson.loads(answer.body)
    except ProviderError as error:
        status, body = error.status, error.body
    id_ = _digest(line)[:24]
    response = {"status_code": status, "request_id": f"req_{id_}", "body": body}
    ids = {"id": f"batch_req_{id_}", "custom_id": custom_id}
    return {**ids, "response": response, "error": None}


def _list_batches(call: Call) -> Answer | Stream:
    return _listing(list(call.account.batches.values()), call.query)


def _cancel_batch(call: Call) -> Answer | Stream:
    public = _batch(call)
    if public["status"] != "validating":
        raise ProviderError(400, f"Cannot cancel a batch with status '{public['status']}'.")
    public["status"], public["cancelled_at"] = "cancelled", CREATED
    return _ok(public)


# ---------------------------------------------------------------------------------- vector stores


def _create_vectors(call: Call) -> Answer | Stream:
    params = call.params
    files = [_stored_file(call, id_) for id_ in _strings(params, "file_ids")]
    public: Json = {
        "id": call.created_id("vs_"),
        "object": "vector_store",
        "created_at": CREATED,
        "name": params.get("name") or "",
        "usage_bytes": 0,
        "file_counts": {},
        "status": "completed",
        "expires_after": params.get("expires_after"),
        "expires_at": None,
        "last_active_at": CREATED,
        "metadata": params.get("metadata") or {},
    }
    stored = call.account.vectors.put(public["id"], StoredVectors(public))
    for file in files:
        _attach(stored, file, {})
    return _ok(_counted(stored))


def _attach(stored: StoredVectors, file: StoredFile, attributes: Json) -> Json:
    id_ = file.public["id"]
    public = {
        "id": id_,
        "object": "vector_store.file",
        "created_at": CREATED,
        "vector_store_id": stored.public["id"],
        "status": "completed",
        "last_error": None,
        "usage_bytes": len(file.content),
        "attributes": attributes,
    }
    return stored.files.put(id_, public)


def _counted(stored: StoredVectors) -> Json:
    """The public object with its counts brought up to date."""
    total = len(stored.files)
    counts = {"in_progress": 0, "completed": total, "failed": 0, "cancelled": 0, "total": total}
    stored.public["file_counts"] = counts
    stored.public["usage_bytes"] = sum(file["usage_bytes"] for file in stored.files.values())
    return stored.public


def _stored_vectors(call: Call) -> StoredVectors:
    stored = call.account.vectors.get(call.ids[0])
    if stored is None:
        raise _no_such("Vector store", call.ids[0])
    return stored


def _list_vectors(call: Call) -> Answer | Stream:
    return _listing([_counted(stored) for stored in call.account.vectors.values()], call.query)


def _get_vectors(call: Call) -> Answer | Stream:
    return _ok(_counted(_stored_vectors(call)))


def _update_vectors(call: Call) -> Answer | Stream:
    stored = _stored_vectors(call)
    changeable = ("name", "metadata", "expires_after")
    stored.public.update({k: v for k, v in call.params.items() if k in changeable})
    return _ok(_counted(stored))


def _delete_vectors(call: Call) -> Answer | Stream:
    del call.account.vectors[_stored_vectors(call).public["id"]]
    return _ok({"id": call.ids[0], "object": "vector_store.deleted", "deleted": True})


def _add_vector_file(call: Call) -> Answer | Stream:
    stored = _stored_vectors(call)
    file = _stored_file(call, _text(call.params, "file_id"))
    return _ok(_attach(stored, file, call.params.get("attributes") or {}))


def _list_vector_files(call: Call) -> Answer | Stream:
    return _listing(list(_stored_vectors(call).files.values()), call.query)


def _vector_file(call: Call) -> Json:
    public = _stored_vectors(call).files.get(call.ids[1])
    if public is None:
        raise _no_such("Vector store file", call.ids[1])
    return public


def _get_vector_file(call: Call) -> Answer | Stream:
    return _ok(_vector_file(call))


def _delete_vector_file(call: Call) -> Answer | Stream:
    del _stored_vectors(call).files[_vector_file(call)["id"]]
    return _ok({"id": call.ids[1], "object": "vector_store.file.deleted", "deleted": True})


def _search_vectors(call: Call) -> Answer | Stream:
    """Files by falling similarity to the query, each with the first 800 characters of its text."""
    stored, queries = _stored_vectors(call), _strings(call.params, "query")
    if not queries:
        raise _missing("query")
    limit = call.params.get("max_num_results", 10)
    if not _is_token(limit) or not 1 <= limit <= 50:
        raise _invalid("max_num_results", "Expected an integer between 1 and 50.")
    wanted = embed(" ".join(queries), 256)
    found = [
        _search_result(file, public["attributes"], wanted)
        for id_, public in stored.files.items()
        if (file := call.account.files.get(id_)) is not None
    ]
    found.sort(key=lambda result: (-result["score"], result["file_id"]))
    return _ok(
        {
            "object": "vector_store.search_results.page",
            "search_query": queries,
            "data": found[:limit],
            "has_more": len(found) > limit,
            "next_page": None,
        }
    )


def _search_result(file: StoredFile, attributes: Json, wanted: array.array[float]) -> Json:
    text = file.content[:3200].decode("utf-8", "replace")[:800]
    score = sum(a * b for a, b in zip(embed(text, len(wanted)), wanted, strict=True))
    return {
        "file_id": file.public["id"],
        "filename": file.public["filename"],
        "score": round(max(score, 0.0), 6),
        "attributes": attributes,
        "content": [{"type": "text", "text": text}],
    }


# ---------------------------------------------------------------------------------------- models


def _model_object(id_: str) -> Json:
    return {"id": id_, "object": "model", "created": CREATED, "owned_by": "simulated"}


def _list_models(_call: Call) -> Answer | Stream:
    return _ok({"object": "list", "data": [_model_object(id_) for id_ in MODELS]})


def _get_model(call: Call) -> Answer | Stream:
    read_model(call.ids[0])
    return _ok(_model_object(call.ids[0]))


# --------------------------------------------------------------------------------------- routing

_ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/v1/models"): _list_models,
    ("GET", "/v1/models/{}"): _get_model,
    ("POST", "/v1/chat/completions"): _chat,
    ("POST", "/v1/completions"): _completions,
    ("POST", "/v1/edits"): _edits,
    ("POST", "/v1/responses"): _responses,
    ("GET", "/v1/responses/{}"): _get_response,
    ("DELETE", "/v1/responses/{}"): _delete_response,
    ("POST", "/v1/responses/{}/cancel"): _cancel_response,
    ("GET", "/v1/responses/{}/input_items"): _response_input,
    ("POST", "/v1/embeddings"): _embeddings,
    ("POST", "/v1/moderations"): _moderations,
    ("POST", "/v1/images/generations"): _images,
    ("POST", "/v1/images/edits"): _images,
    ("POST", "/v1/images/variations"): _images,
    ("POST", "/v1/audio/speech"): _speech,
    ("POST", "/v1/audio/transcriptions"): _transcriptions,
    ("POST", "/v1/audio/translations"): _transcriptions,
    ("GET", "/v1/files"): _list_files,
    ("POST", "/v1/files"): _create_file,
    ("GET", "/v1/files/{}"): _get_file,
    ("DELETE", "/v1/files/{}"): _delete_file,
    ("GET", "/v1/files/{}/content"): _file_content,
    ("POST", "/v1/uploads"): _create_upload,
    ("POST", "/v1/uploads/{}/parts"): _add_part,
    ("POST", "/v1/uploads/{}/complete"): _complete_upload,
    ("POST", "/v1/uploads/{}/cancel"): _cancel_upload,
    ("GET", "/v1/batches"): _list_batches,
    ("POST", "/v1/batches"): _create_batch,
    ("GET", "/v1/batches/{}"): _get_batch,
    ("POST", "/v1/batches/{}/cancel"): _cancel_batch,
    ("GET", "/v1/vector_stores"): _list_vectors,
    ("POST", "/v1/vector_stores"): _create_vectors,
    ("GET", "/v1/vector_stores/{}"): _get_vectors,
    ("POST", "/v1/vector_stores/{}"): _update_vectors,
    ("DELETE", "/v1/vector_stores/{}"): _delete_vectors,
    ("POST", "/v1/vector_stores/{}/search"): _search_vectors,
    ("GET", "/v1/vector_stores/{}/files"): _list_vector_files,
    ("POST", "/v1/vector_stores/{}/files"): _add_vector_file,
    ("GET", "/v1/vector_stores/{}/files/{}"): _get_vector_file,
    ("DELETE", "/v1/vector_stores/{}/files/{}"): _delete_vector_file,
}
_PATTERNS = tuple(
    (re.compile(re.escape(pattern).replace(r"\{\}", "([^/]+)")), pattern)
    for pattern in dict.fromkeys(path for _, path in _ROUTES)
    if "{}" in pattern
)
_PATHS = frozenset(path for _, path in _ROUTES)
# These need a model; the other endpoints have a default or do without.
_MODEL_NEEDED = (_chat, _completions, _edits, _responses, _embeddings, _speech, _transcriptions)


def _route(method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
    """The handler of a request and the ids in its path; raises 404 or 405."""
    pattern = path
    ids: tuple[str, ...] = ()
    if path not in _PATHS:
        matches = ((regex.fullmatch(path), known) for regex, known in _PATTERNS)
        found = next(((match, known) for match, known in matches if match), None)
        if found is None:
            raise ProviderError(404, f"Invalid URL ({method} {path})")
        ids, pattern = found[0].groups(), found[1]
    handler = _ROUTES.get((method, pattern))
    if handler is None:
        message = f"Not allowed to {method} on {path}."
        raise ProviderError(405, message, code="method_not_supported")
    return handler, ids


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The API key; raises 401 without one. Any key that is not empty has an account here."""
    for name, value in headers:
        if name.lower() == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and key.strip():
                return key.strip()
    message = (
        "You didn't provide an API key. You need to provide your API key in an Authorization"
        " header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
    )
    raise ProviderError(401, message)


def _understand(
    path: str,
    handler: Handler,
    account: Account,
    params: Json,
    *,
    files: tuple[Part, ...] = (),
    ids: tuple[str, ...] = (),
    query: dict[str, str] | None = None,
) -> Call:
    """The call that a handler takes; raises 400 or 404 when its model is missing or unknown."""
    model = params.get("model")
    if model is None and handler in _MODEL_NEEDED:
        raise ProviderError(400, "you must provide a model parameter")
    if model is not None and not isinstance(model, str):
        raise _wrong_type("model", "a string", model)
    return Call(
        path=path,
        ids=ids,
        query=query or {},
        params=params,
        files=files,
        account=account,
        behaviour=PLAIN if model is None else read_model(model),
        digest=_request_digest(path, params, files),
    )


def _perform(handler: Handler, call: Call) -> Answer | Stream:
    """Answer a call, or fail as its model's name asks."""
    if call.behaviour.error_status is not None:
        raise _fault(call.behaviour.error_status)
    return handler(call)


def _request_digest(path: str, params: Json, files: Iterable[Part]) -> str:
    """What the answer depends on: a multipart boundary or the order of keys is not part of it."""
    asked = {name: value for name, value in params.items() if name not in _OUTSIDE_THE_ANSWER}
    contents = (item for part in files for item in (part.name, part.filename or "", part.content))
    return _digest(path, orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), *contents)


# -------------------------------------------------------------------------------- the app itself


class _Client:
    """The other end of one exchange: its body, our bytes, and whether it is still there."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._leaving: asyncio.Task[None] | None = None

    async def read_body(self) -> bytes | None:
        """The whole body; None when the client left before its end. Raises 413."""
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > MAX_BODY_BYTES:
                raise ProviderError(413, "The simulated provider takes at most 64 MiB.")
            more = message.get("more_body", False)
        return b"".join(chunks)

    async def wait(self, seconds: float) -> bool:
        """Wait, at least for one turn of the event loop; False as soon as the client has left."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._until_gone())
        if seconds > 0:
            await asyncio.wait({self._leaving}, timeout=seconds)
        else:
            await asyncio.sleep(0)
        return not self._leaving.done()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send status and headers."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def send(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body; without `more` it is the last."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def close(self) -> None:
        """Stop watching the client."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait({self._leaving})


class DemoProvider:
    """The ASGI app. Each instance has accounts of its own.

    `open_calls` counts the requests that are being answered at this moment.
    """

    def __init__(self) -> None:
        self.open_calls = 0
        self._accounts: Shelf[Account] = Shelf()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; there are no lifespan events and no web sockets."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the simulated provider does not speak {scope['type']}")
        client = _Client(receive, send)
        self.open_calls += 1
        try:
            await self._exchange(client, scope)
        finally:
            self.open_calls -= 1
            await client.close()

    async def _exchange(self, client: _Client, scope: Scope) -> None:
        try:
            body = await client.read_body()
        except ProviderError as error:
            # The rest of the body is not read, so the connection cannot serve another request.
            headers = (*_own_headers(scope, b""), ("connection", "close"))
            await _send_answer(client, _error_answer(error), headers, cut=False)
            return
        if body is None:
            return
        answer, behaviour = self._decide(scope, body)
        if behaviour.delay_seconds and not await client.wait(behaviour.delay_seconds):
            return
        headers = _own_headers(scope, body)
        if isinstance(answer, Stream):
            await _send_stream(client, answer, headers, behaviour)
        else:
            cut = behaviour.cut_after_events is not None
            await _send_answer(client, answer, headers, cut=cut)

    def _decide(self, scope: Scope, body: bytes) -> tuple[Answer | Stream, Behaviour]:
        """The answer to a request, errors included, and how it is to be sent."""
        behaviour = PLAIN
        try:
            handler, ids = _route(scope["method"], scope["path"])
            account = self._account(_bearer(scope["headers"]))
            params, files = _read_body(scope, body)
            query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
            path = scope["path"]
            call = _understand(path, handler, account, params, files=files, ids=ids, query=query)
            behaviour = call.behaviour
            return _perform(handler, call), behaviour
        except ProviderError as error:
            return _error_answer(error), behaviour

    def _account(self, key: str) -> Account:
        return self._accounts.get(key) or self._accounts.put(key, Account(key))


def _read_body(scope: Scope, body: bytes) -> tuple[Json, tuple[Part, ...]]:
    """The fields and the files of a body; only POST has one, and it may be empty (`…/cancel`)."""
    if scope["method"] != "POST" or not body:
        return {}, ()
    headers = dict(scope["headers"])
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    if content_type.lower().startswith("multipart/form-data"):
        parts = parse_form(content_type, body)
        return _form_fields(parts), tuple(part for part in parts if part.filename is not None)
    params = _parse_json(body)
    _check_common(params)
    return params, ()


def _error_answer(error: ProviderError) -> Answer:
    return Answer(orjson.dumps(error.body), error.status, (*_JSON_HEADERS, *error.headers))


def _own_headers(scope: Scope, body: bytes) -> tuple[tuple[str, str], ...]:
    """What every answer carries; the request id is a hash too."""
    request_id = f"req_{_digest(scope['method'], scope['path'], body)[:32]}"
    return (
        ("x-simulated", "true"),
        ("x-request-id", request_id),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "1"),
    )


async def _send_answer(
    client: _Client, answer: Answer, headers: Iterable[tuple[str, str]], *, cut: bool
) -> None:
    """Send a whole answer, or with `cut` its first half: the server then closes the connection."""
    length = ("content-length", str(len(answer.body)))
    await client.start(answer.status, (*answer.headers, length, *headers))
    if cut:
        await client.send(answer.body[: len(answer.body) // 2], more=True)
    else:
        await client.send(answer.body, more=False)


async def _send_stream(
    client: _Client, stream: Stream, headers: Iterable[tuple[str, str]], behaviour: Behaviour
) -> None:
    """Send event by event. A body left without its end makes the server close the connection."""
    await client.start(200, (*_SSE_HEADERS, *headers))
    for sent, event in enumerate(stream.events):
        if sent == behaviour.cut_after_events:
            return
        if not await client.wait(behaviour.gap_seconds if sent else 0):
            return
        await client.send(event, more=True)
    await client.send(b"", more=False)


demo_app = DemoProvider()


# ------------------------------------------------------------------------------------ the server


class DemoServer:
    """A running simulated provider. Made by `serve_demo`; `close` it when done."""

    def __init__(self, app: DemoProvider, server: uvicorn.Server, listener: socket.socket) -> None:
        self.app = app
        self.host, self.port = listener.getsockname()[:2]
        self._server = server
        self._listener = listener
        self._ticking = asyncio.create_task(server.main_loop())

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as `base_url`: the origin with `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    async def close(self) -> None:
        """Stop listening and cut every connection, open streams included. May be repeated."""
        if self._server.should_exit:
            return
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            # Not `close`, which would wait for a client that does not read.
            connection.transport.abort()
        await self._ticking
        await self._server.shutdown(sockets=[self._listener])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError.

    asyncio turns Nagle's algorithm off only on sockets that name their protocol, which those of
    `socket.create_server` do not; with it on, every answer would wait 40 ms for an acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def serve_demo(
    host: str = "127.0.0.1", port: int = 0, *, app: DemoProvider | None = None
) -> DemoServer:
    """Run the simulated provider in this event loop; port 0 takes a free one.

    Without `app` it is a new instance with empty accounts. It answers when this returns, installs
    no signal handlers, and leaves the process's logging as it is: uvicorn's own settings would
    also change the logs of another server in the same process. Raises OSError when the address
    cannot be bound.
    """
    # The app itself needs no server, and importing this one costs a tenth of a second.
    import uvicorn  # noqa: PLC0415

    listener = _listen(host, port)
    provider = app or DemoProvider()
    config = uvicorn.Config(provider, lifespan="off", ws="none", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    # What `serve()` does, less the signal handlers, which belong to the process's main server.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    return DemoServer(provider, server, listener)
