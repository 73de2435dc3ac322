"""Hostile requests by name, generated from a few tables. Nothing here knows the server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

TEXT = "Hello"
# A proper body for each endpoint that takes JSON; the mutations below start from these.
TEMPLATES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": TEXT}],
        "user": "ada",
        "metadata": {"team": "search"},
    },
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": TEXT, "user": "ada"},
    "/v1/responses": {"model": "gpt-4o-mini", "input": TEXT, "metadata": {"team": "search"}},
    "/v1/edits": {"model": "gpt-4o-mini", "input": TEXT, "instruction": "Correct it."},
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": TEXT, "user": "ada"},
    "/v1/moderations": {"model": "omni-moderation-latest", "input": TEXT},
    "/v1/audio/speech": {"model": "tts-1", "voice": "alloy", "input": TEXT},
    "/v1/images/generations": {"model": "dall-e-3", "prompt": TEXT, "user": "ada"},
    "/v1/uploads": {
        "filename": "a.txt",
        "purpose": "assistants",
        "bytes": 10,
        "mime_type": "text/plain",
    },
    "/v1/batches": {
        "input_file_id": "file-1",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    },
    "/v1/vector_stores": {"name": "animals", "metadata": {"team": "search"}},
}
ORIGINALS = {
    "/api/openai/v1/chat/completions/": TEMPLATES["/v1/chat/completions"],
    "/api/openai/v1/completions/": TEMPLATES["/v1/completions"],
    "/api/openai/v1/edits/": TEMPLATES["/v1/edits"],
    "/api/cache/v1/chat/completions/": TEMPLATES["/v1/chat/completions"],
}
_CHAT = TEMPLATES["/v1/chat/completions"]

DEEP = 100_000
# No JSON text that programs agree on: 400, whoever asks and wherever.
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "null": b"null",
    "true": b"true",
    "number": b"1",
    "text": b'"x"',
    "array": b"[]",
    "array of objects": b"[{}]",
    "open brace": b"{",
    "closing brace": b"}",
    "key without value": b'{"model"}',
    "half a key": b'{"mod',
    "trailing comma": b'{"model": "gpt-4o-mini",}',
    "comment": b'{"model": "gpt-4o-mini" /* the model */}',
    "single quotes": b"{'model': 'gpt-4o-mini'}",
    "bare key": b'{model: "gpt-4o-mini"}',
    "two objects": b'{"model": "a"}{"model": "b"}',
    "garbage behind": b'{"model": "gpt-4o-mini"} x',
    "NUL behind": b'{"model": "gpt-4o-mini"}\0',
    "record separator in front": b'\x1e{"model": "gpt-4o-mini"}',
    "byte order mark": b'\xef\xbb\xbf{"model": "gpt-4o-mini"}',
    "deep arrays": b'{"model":"gpt-4o-mini","messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"model":"gpt-4o-mini","a":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep and never closed": b"[" * DEEP,
    "deep objects never closed": b'{"a":' * DEEP,
    "NaN": b'{"model":"gpt-4o-mini","temperature":NaN}',
    "-NaN": b'{"model":"gpt-4o-mini","temperature":-NaN}',
    "Infinity": b'{"model":"gpt-4o-mini","temperature":Infinity}',
    "-Infinity": b'{"model":"gpt-4o-mini","temperature":-Infinity}',
    "1e400": b'{"model":"gpt-4o-mini","temperature":1e400}',
    "-1e400": b'{"model":"gpt-4o-mini","temperature":-1e400}',
    "1e999999999": b'{"model":"gpt-4o-mini","temperature":1e999999999}',
    "5,000 digits": b'{"model":"gpt-4o-mini","n":' + b"9" * 5_000 + b"}",
    "5,000 decimals": b'{"model":"gpt-4o-mini","temperature":0.' + b"1" * 5_000 + b"}",
    "leading zeros": b'{"model":"gpt-4o-mini","n":007}',
    "plus sign": b'{"model":"gpt-4o-mini","n":+1}',
    "hexadecimal": b'{"model":"gpt-4o-mini","n":0x10}',
    "bare point": b'{"model":"gpt-4o-mini","n":1.}',
    "one key twice": b'{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}',
    "one key twice by escapes": b'{"model":"gpt-4o-mini","\\u006dodel":"gpt-4o"}',
    "one key twice further in": b'{"model":"gpt-4o-mini","messages":[{"role":"user","role":"x"}]}',
    "control character": b'{"model":"gpt-4o-mini","user":"a\x01b"}',
    "line break in a text": b'{"model":"gpt-4o-mini","user":"a\nb"}',
    "bare NUL": b'{"model":"gpt-4o-mini","user":"a\0b"}',
    "bad escape": b'{"model":"gpt-4o-mini","user":"\\x41"}',
    "half an escape": b'{"model":"gpt-4o-mini","user":"\\u12"}',
    "UTF-16": json.dumps(_CHAT).encode("utf-16"),
    "UTF-16 little endian": json.dumps(_CHAT).encode("utf-16-le"),
    "UTF-16 big endian": json.dumps(_CHAT).encode("utf-16-be"),
    "UTF-32": json.dumps(_CHAT).encode("utf-32"),
    "UTF-7": b'{"model":"gpt-4o-mini","user":"\xff+AOk-"}',
    "latin-1": '{"model":"gpt-4o-mini","user":"\u00e9"}'.encode("latin-1"),
    "overlong slash": b'{"model":"gpt-4o-mini","user":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"model":"gpt-4o-mini","user":"\xed\xa0\x80"}',
    "above Unicode": b'{"model":"gpt-4o-mini","user":"\xf5\x80\x80\x80"}',
    "cut UTF-8": b'{"model":"gpt-4o-mini","user":"\xe2\x82',
    "cut UTF-8 inside": b'{"model":"gpt-4o-mini","user":"\xe2\x82"}',
    "form": b"model=gpt-4o-mini&messages=x",
    "XML": b'<?xml version="1.0"?><model>gpt-4o-mini</model>',
    "YAML": b"model: gpt-4o-mini\n",
    "gzip": gzip.compress(json.dumps(_CHAT).encode()),
    "zeros": b"\0" * 1_000,
    "ones": b"\xff" * 1_000,
}

# Texts that break storage, headers, logs or encoders when they are taken for harmless; as JSON.
TEXTS: dict[str, str] = {
    "high surrogate": '"\\ud800"',
    "low surrogate": '"a\\udc00b"',
    "surrogates the wrong way round": '"\\udc00\\ud800"',
    "NUL": '"a\\u0000b"',
    "only NUL": '"\\u0000"',
    "CR LF": '"a\\r\\nX-Injected: 1\\r\\n\\r\\nb"',
    "escape sequence": '"\\u001b[31mred\\u001b[0m"',
    "line separators": '"a\\u2028\\u2029\\u0085b"',
    "not a character": '"\\uffff\\ufffe"',
    "right to left": '"\\u202egpj.exe"',
    "beyond the first plane": '"\\ud83d\\udca9"',
    "combining": json.dumps("e" + "\u0301" * 500),
    "long": json.dumps("x" * 300_000),
    "quotes": json.dumps("'; DROP TABLE calls; --"),
    "format": '"%s%n{0}{x.__class__}${jndi:ldap://x}"',
    "path": '"../../../etc/passwd"',
    "empty": '""',
    "blank": '"   "',
    "number": "1",
    "negative": "-1",
    "large number": "1000000000",
    "2**63": "9223372036854775808",
    "-2**63-1": "-9223372036854775809",
    "400 digits": "9" * 400,
    "small number": "1e-320",
    "precise number": "0.1000000000000000055511151231257827021181583404541015625",
    "-0": "-0",
    "null": "null",
    "true": "true",
    "array": "[]",
    "nested array": "[[[[]]]]",
    "object": "{}",
    "array of nulls": "[null,null]",
    "prototype": '{"__proto__":{"a":1},"constructor":1,"__class__":"x"}',
}
SURROGATES = frozenset({"high surrogate", "low surrogate", "surrogates the wrong way round"})

# Fields of chat with values of the wrong type, or of a size that nobody means; as JSON.
FIELDS: dict[str, str] = {
    'stream:"false"': '{"stream":"false"}',
    'stream:"true"': '{"stream":"true"}',
    "stream:1": '{"stream":1}',
    "stream:null": '{"stream":null}',
    "stream:{}": '{"stream":{}}',
    "stream:[true]": '{"stream":[true]}',
    "stream_options without stream": '{"stream_options":{"include_usage":true}}',
    'stream_options:"x"': '{"stream":true,"stream_options":"x"}',
    "stream_options:[]": '{"stream":true,"stream_options":[]}',
    "stream_options:null": '{"stream":true,"stream_options":null}',
    "stream_options:{}": '{"stream":true,"stream_options":{}}',
    'include_usage:"yes"': '{"stream":true,"stream_options":{"include_usage":"yes"}}',
    "include_usage:null": '{"stream":true,"stream_options":{"include_usage":null}}',
    "n:1e9": '{"n":1e9}',
    "n:1000000000": '{"n":1000000000}',
    "n:0": '{"n":0}',
    "n:-1": '{"n":-1}',
    "n:1.5": '{"n":1.5}',
    'n:"1"': '{"n":"1"}',
    "n:[1]": '{"n":[1]}',
    "n:null": '{"n":null}',
    "n:true": '{"n":true}',
    "n:2**64": '{"n":18446744073709551616}',
    "max_tokens:-1": '{"max_tokens":-1}',
    "max_tokens:1e308": '{"max_tokens":1e308}',
    "max_tokens:2**63": '{"max_tokens":9223372036854775808}',
    "max_tokens:{}": '{"max_tokens":{}}',
    "max_completion_tokens:text": '{"max_completion_tokens":"many"}',
    "temperature:[]": '{"temperature":[]}',
    "temperature:-0.0": '{"temperature":-0.0}',
    "logit_bias:[]": '{"logit_bias":[]}',
    "logit_bias:wild": '{"logit_bias":{"x":1e300}}',
    "stop:1": '{"stop":1}',
    "stop:many": json.dumps({"stop": ["x"] * 10_000}),
    "messages:{}": '{"messages":{}}',
    "messages:null": '{"messages":null}',
    "messages:text": '{"messages":"Hello"}',
    "messages:[]": '{"messages":[]}',
    "messages:[[]]": '{"messages":[[]]}',
    "messages:[null]": '{"messages":[null]}',
    "messages:[1]": '{"messages":[1]}',
    "messages:[{}]": '{"messages":[{}]}',
    "messages:content {}": '{"messages":[{"role":"user","content":{}}]}',
    "messages:content [null]": '{"messages":[{"role":"user","content":[null]}]}',
    "messages:content [[]]": '{"messages":[{"role":"user","content":[[]]}]}',
    "messages:part without type": '{"messages":[{"role":"user","content":[{"text":1}]}]}',
    "messages:role 1": '{"messages":[{"role":1,"content":"x"}]}',
    "messages:many": json.dumps({"messages": [{"role": "user", "content": "x"}] * 20_000}),
    "messages:deep": '{"messages":' + "[" * 200 + "]" * 200 + "}",
    "messages:quite deep": '{"messages":' + "[" * 900 + "]" * 900 + "}",
    "tools:{}": '{"tools":{}}',
    "tools:[null]": '{"tools":[null]}',
    "tools:[{}] required": '{"tools":[{}],"tool_choice":"required"}',
    "tool_choice:{}": '{"tool_choice":{}}',
    "response_format:[]": '{"response_format":[]}',
    "response_format:schema null": '{"response_format":{"type":"json_schema","json_schema":null}}',
    "response_format:endless schema": (
        '{"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"#"}}}}'
    ),
    "model:[]": '{"model":[]}',
    "model:{}": '{"model":{}}',
    "model:null": '{"model":null}',
    "model:0": '{"model":0}',
    "model:false": '{"model":false}',
    "model:201 characters": json.dumps({"model": "x" * 201}),
    "model:/": '{"model":"/"}',
    "model:openai/": '{"model":"openai/"}',
    "model:/gpt-4o-mini": '{"model":"/gpt-4o-mini"}',
    "model:openai//gpt-4o-mini": '{"model":"openai//gpt-4o-mini"}',
    "model:openai/openai/openai": '{"model":"openai/openai/openai"}',
    "model:demo/x": '{"model":"demo/gpt-4o-mini"}',
    "model:preset/x": '{"model":"preset/nothing"}',
    "model:pipeline/x": '{"model":"pipeline/nothing"}',
    "model:../": '{"model":"../../etc/passwd"}',
    "model:?": '{"model":"gpt-4o-mini?x=1#y"}',
    "model:non-ASCII": '{"model":"g\\u00fc\\u00e9"}',
    "model:sim without end": '{"model":"sim-error-99999"}',
    "user:{}": '{"user":{}}',
    "metadata:[]": '{"metadata":[]}',
    "metadata:text": '{"metadata":"x"}',
    "metadata:number": '{"metadata":{"a":1}}',
    "metadata:nested": '{"metadata":{"a":{"b":[1]}}}',
    "metadata:empty key": '{"metadata":{"":""}}',
    "metadata:many": json.dumps({"metadata": {f"key{n}": "x" for n in range(5_000)}}),
    "metadata:long": json.dumps({"metadata": {"k" * 10_000: "v" * 10_000}}),
    "metadata:NUL key": '{"metadata":{"a\\u0000b":"c\\u0000d"}}',
    "metadata:surrogate key": '{"metadata":{"\\ud800":"x"}}',
    "cache:[]": '{"cache":[]}',
    "cache:null": '{"cache":null}',
    "cache:text": '{"cache":"off"}',
    "cache:{}": '{"cache":{}}',
    "cache:unknown mode": '{"cache":{"mode":"perhaps"}}',
    "cache:mode {}": '{"cache":{"mode":{}}}',
    "cache:namespace": '{"cache":{"namespace":"mine"}}',
    "cache:max_age -1": '{"cache":{"max_age":-1}}',
    "cache:max_age text": '{"cache":{"max_age":"1"}}',
    "cache:max_age 1e308": '{"cache":{"max_age":1e308}}',
    "cache:max_age 10**30": '{"cache":{"max_age":1000000000000000000000000000000}}',
    "cache:ttl 10**30": '{"cache":{"ttl":1000000000000000000000000000000}}',
    "cache:ttl 2**62": '{"cache":{"ttl":4611686018427387904}}',
    "cache:ttl 10**13": '{"cache":{"ttl":10000000000000}}',
    "cache:ttl 1.5": '{"cache":{"ttl":1.5}}',
    "cache:ttl true": '{"cache":{"ttl":true}}',
    "cache:ttl 0": '{"cache":{"ttl":0}}',
    "cache:ttl 1e-320": '{"cache":{"ttl":1e-320}}',
    "api_base": '{"api_base":"http://127.0.0.1:DECOY/v1","base_url":"http://127.0.0.1:DECOY"}',
    "api_key": '{"api_key":"x","organization":"y","extra_headers":{"Authorization":"z"}}',
    "file_id:{}": '{"file_id":{}}',
    "file_id:text": '{"messages":[{"role":"user","content":[{"file":{"file_id":"file-x"}}]}]}',
    "file_ids:[1]": '{"file_ids":[1,null,{}]}',
    "file_ids:many": json.dumps({"file_ids": [f"file-{n}" for n in range(2_000)]}),
    "file_id:NUL": '{"file_id":"file-\\u0000"}',
    "file_id:surrogate": '{"file_id":"\\ud800"}',
    "file_id:long": json.dumps({"file_id": "f" * 100_000}),
    "previous_response_id:1": '{"previous_response_id":1}',
    "store:text": '{"store":"yes"}',
    "unknown field": '{"no_such_field":{"deep":[1,2,3]}}',
    "many fields": json.dumps({f"field{n}": n for n in range(20_000)}),
    "a key of 100 KB": json.dumps({"k" * 100_000: 1}),
    "huge array": json.dumps({"input": list(range(200_000))}),
    "a megabyte of spaces": '{"user":"x"' + " " * 1_000_000 + "}",
}


def with_fields(template: dict[str, Any], fields: str) -> bytes:
    """The template with the fields of a JSON object in place of its own of that name."""
    names = set(json.loads(fields))
    kept = {name: value for name, value in template.items() if name not in names}
    head = json.dumps(kept)[:-1]
    inner = fields[1:]
    separator = ", " if kept and inner.strip() != "}" else ""
    return (head + separator + inner).encode()


def text_fields(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts of a document stand."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from text_fields(inner, (*place, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from text_fields(inner, (*place, index))


def with_text(template: dict[str, Any], place: tuple[Any, ...], text: str) -> bytes:
    """The template with a piece of JSON at one place."""
    mark = "\0here\0"
    document = json.loads(json.dumps(template))
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = mark
    return json.dumps(document).replace(json.dumps(mark), text).encode()


# ---------------------------------------------------------------------------------------- headers

Lines = tuple[tuple[bytes, bytes], ...]


def _one(name: str, value: bytes) -> Lines:
    return ((name.encode(), value),)


# Beside a proper Authorization and body. Whatever the parser lets in is answered properly.
HEADERS: dict[str, Lines] = {
    "control character": _one("X-Thing", b"a\x01b"),
    "NUL": _one("X-Thing", b"a\0b"),
    "delete": _one("X-Thing", b"a\x7fb"),
    "latin-1": _one("X-Thing", b"caf\xe9"),
    "UTF-8": _one("X-Thing", "日本".encode()),
    "bad bytes": _one("X-Thing", bytes(range(128, 256))),
    "no name": ((b"", b"x"),),
    "space in name": _one("X Thing", b"x"),
    "space before colon": _one("X-Thing ", b"x"),
    "non-ASCII name": ((b"X-Th\xc3\xafng", b"x"),),
    "folded": _one("X-Thing", b"a\r\n b"),
    "bare CR": _one("X-Thing", b"a\rX-Injected: 1"),
    "bare LF": _one("X-Thing", b"a\nX-Injected: 1"),
    "CR LF": _one("X-Thing", b"a\r\nX-Injected: 1"),
    "60 KB": _one("X-Thing", b"a" * 60_000),
    "200 KB": _one("X-Thing", b"a" * 200_000),
    "a name of 60 KB": ((b"X" * 60_000, b"x"),),
    "100 headers": tuple((f"X-Thing-{n}".encode(), b"x") for n in range(100)),
    "5,000 headers": tuple((f"X-Thing-{n}".encode(), b"x") for n in range(5_000)),
    "the same 100 times": _one("X-Thing", b"x") * 100,
    "empty": _one("X-Thing", b""),
    "Connection names Authorization": _one("Connection", b"authorization, close"),
    "Connection: upgrade": (*_one("Connection", b"Upgrade"), *_one("Upgrade", b"h2c")),
    "websocket": (
        *_one("Connection", b"Upgrade"),
        *_one("Upgrade", b"websocket"),
        *_one("Sec-WebSocket-Version", b"13"),
        *_one("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ),
    "Keep-Alive": _one("Keep-Alive", b"timeout=99999999999999999999"),
    "TE": _one("TE", b"trailers, gzip;q=x"),
    "Trailer": _one("Trailer", b"Authorization, Content-Length"),
    "Expect 100": _one("Expect", b"100-continue"),
    "Expect nonsense": _one("Expect", b"the unexpected"),
    "Range": _one("Range", b"bytes=" + b"0-1," * 2_000 + b"0-1"),
    "If-None-Match": _one("If-None-Match", b"*"),
    "Accept nonsense": _one("Accept", b"\xff;q=x,,;"),
    "Accept CR": _one("Accept", b"a\x0bb"),
    "long Accept": _one("Accept", b"a/b, " * 4_000),
    "Accept-Encoding": _one("Accept-Encoding", b"gzip, br, zstd, *;q=0"),
    "Content-Type missing charset": _one("Content-Type", b"application/json; charset="),
    "Content-Type utf-16": _one("Content-Type", b"application/json; charset=utf-16"),
    "Content-Type nonsense": _one("Content-Type", b"\xff/\xfe; x"),
    "Content-Type text": _one("Content-Type", b"text/plain"),
    "Content-Type form": _one("Content-Type", b"application/x-www-form-urlencoded"),
    "Content-Type multipart": _one("Content-Type", b"multipart/form-data"),
    "Content-Type empty": _one("Content-Type", b""),
    "two Content-Types": (*_one("Content-Type", b"text/plain"), *_one("Content-Type", b"a/b")),
    "Content-Encoding gzip": _one("Content-Encoding", b"gzip"),
    "Content-Encoding nonsense": _one("Content-Encoding", b"\xff\xfe"),
    "Content-Encoding twice": (
        *_one("Content-Encoding", b"gzip"),
        *_one("Content-Encoding", b"identity"),
    ),
    "Idempotency-Key empty": _one("Idempotency-Key", b""),
    "Idempotency-Key NUL": _one("Idempotency-Key", b"a\0b"),
    "Idempotency-Key non-ASCII": _one("Idempotency-Key", b"\xe9\xff"),
    "Idempotency-Key long": _one("Idempotency-Key", b"k" * 5_000),
    "Idempotency-Key quotes": _one("Idempotency-Key", b"' OR '1'='1"),
    "Idempotency-Key control": _one("Idempotency-Key", b"a\x7fb"),
    "two Idempotency-Keys": (
        *_one("Idempotency-Key", b"one-of-two"),
        *_one("Idempotency-Key", b"two-of-two"),
    ),
    "Cache-Control max-age=x": _one("Cache-Control", b"max-age=x"),
    "Cache-Control max-age=-1": _one("Cache-Control", b"max-age=-1"),
    "Cache-Control max-age=1e400": _one("Cache-Control", b"max-age=1e400"),
    "Cache-Control 5,000 digits": _one("Cache-Control", b"max-age=" + b"9" * 5_000),
    "Cache-Control nonsense": _one("Cache-Control", b',,=;\xff no-store="x'),
    "Cache-Control superscript": _one("Cache-Control", b"max-age=\xb2"),
    "Cache-Control all": _one("Cache-Control", b"no-store, no-cache, max-age=0"),
    "X-Forwarded-For": _one("X-Forwarded-For", b"127.0.0.1, [::1]:x, \xff,,"),
    "X-Forwarded-Host": _one("X-Forwarded-Host", b"evil.example"),
    "X-Forwarded-Proto": _one("X-Forwarded-Proto", b"javascript"),
    "Forwarded": _one("Forwarded", b'for="_x;proto=http;host=evil'),
    "X-HTTP-Method-Override": _one("X-HTTP-Method-Override", b"DELETE"),
    "X-Original-URL": _one("X-Original-URL", b"/api/v1/users"),
    "x-request-id": _one("x-request-id", b"a\x7fb" * 1_000),
    "traceparent": _one("traceparent", b"00-zz-\xff-01"),
    "Cookie": _one("Cookie", b"sessionid=\xff; csrftoken=" + b"x" * 10_000 + b"; ="),
    "Cookie many": _one("Cookie", b"; ".join(b"a%d=b" % n for n in range(3_000))),
    "Origin": _one("Origin", b"null"),
    "Origin nonsense": _one("Origin", b"http://[::1"),
    "Sec-Fetch-Site": _one("Sec-Fetch-Site", b"cross-site"),
    "OpenAI-Organization": _one("OpenAI-Organization", b"org-\xff"),
    "OpenAI-Beta": _one("OpenAI-Beta", b"\xff\xfe assistants=v2"),
    "OpenAI-Beta control": _one("OpenAI-Beta", b"a\x01b"),
}

# Instead of a proper Authorization: 401 on every kind of route, and never anything else.
CREDENTIALS: dict[str, Lines] = {
    "none": (),
    "empty": _one("Authorization", b""),
    "Bearer": _one("Authorization", b"Bearer"),
    "Bearer and a space": _one("Authorization", b"Bearer "),
    "Bearer many spaces": _one("Authorization", b"Bearer" + b" " * 1_000),
    "Basic": _one("Authorization", b"Basic YTpi"),
    "Digest": _one("Authorization", b'Digest username="x"'),
    "non-ASCII": _one("Authorization", "Bearer tökén".encode()),
    "latin-1": _one("Authorization", b"Bearer \xe9\xff"),
    "bad UTF-8": _one("Authorization", b"Bearer \xc3\x28\xf5"),
    "control": _one("Authorization", b"Bearer aie_\x7f"),
    "long": _one("Authorization", b"Bearer " + b"a" * 50_000),
    "quotes": _one("Authorization", b"Bearer ' OR '1'='1"),
    "union": _one("Authorization", b"Bearer ' UNION SELECT digest FROM tokens --"),
    "sleep": _one("Authorization", b"Bearer '; SELECT pg_sleep(10); --"),
    "percent": _one("Authorization", b"Bearer %"),
    "form without checksum": _one("Authorization", b"Bearer aie_" + b"a" * 8 + b"_" + b"b" * 43),
    "40 characters": _one("Authorization", b"Bearer " + b"0123456789abcdef" * 2 + b"01234567"),
    "null": _one("Authorization", b"Bearer null"),
    "undefined": _one("Authorization", b"Bearer undefined"),
    "sk": _one("Authorization", b"Bearer sk-1234"),
    "Token": _one("Authorization", b"Token aie_x"),
    "comma": _one("Authorization", b"Bearer a, Bearer b"),
    "in a cookie": _one("Cookie", b"sessionid=' OR 1=1"),
    "api-key": _one("api-key", b"x"),
}

# ------------------------------------------------------------------------------------------- paths

# None of these is an operation of OpenAI's API.
PATHS: dict[str, bytes] = {
    "root": b"/v1/",
    "dots": b"/v1/../api/v1/users",
    "dots at the end": b"/v1/models/..",
    "dot": b"/v1/./models",
    "many dots": b"/v1/" + b"../" * 50 + b"etc/passwd",
    "encoded dots": b"/v1/%2e%2e/api/v1/users",
    "encoded dots in upper case": b"/v1/%2E%2E%2Fapi%2Fv1%2Fusers",
    "encoded slash": b"/v1/chat%2fcompletions/%2fx",
    "twice encoded": b"/v1/%252e%252e/users",
    "overlong dots": b"/v1/%c0%ae%c0%ae/users",
    "unicode dots": "/v1/\u2025/users".encode(),
    "encoded unicode dots": b"/v1/%e2%80%a5/users",
    "full-width": b"/v1/models/%ef%bc%8e%ef%bc%8e",
    "double slash": b"//v1/chat/completions",
    "double slash inside": b"/v1//chat/completions",
    "double slash before the name": b"/v1/chat//completions",
    "backslash": b"/v1\\chat\\completions",
    "encoded backslash": b"/v1/..%5c..%5cusers",
    "at": b"/v1/@127.0.0.1:DECOY/x",
    "at in front": b"/@127.0.0.1:DECOY/v1/chat/completions",
    "host": b"/v1/models/@127.0.0.1:DECOY",
    "address": b"/v1/http://127.0.0.1:DECOY/v1/models",
    "encoded address": b"/v1/http:%2f%2f127.0.0.1:DECOY%2f",
    "semicolon": b"/v1/chat/completions;x=1",
    "semicolon inside": b"/v1;x/chat/completions",
    "encoded question": b"/v1/models%3fx=1",
    "encoded hash": b"/v1/models%23x",
    "encoded NUL": b"/v1/models/%00",
    "encoded CR LF": b"/v1/models/x%0d%0aHost:%20evil",
    "encoded space": b"/v1/chat/completions%20",
    "encoded tab": b"/v1/chat/completions%09",
    "encoded percent": b"/v1/chat/completions%25",
    "bad escape": b"/v1/chat/completions%zz",
    "cut escape": b"/v1/chat/completions%2",
    "bad UTF-8": b"/v1/models/%ff%fe",
    "bare bytes": b"/v1/chat/\xff\xfe",
    "upper case": b"/V1/CHAT/COMPLETIONS",
    "suffix": b"/v1/chat/completionsx",
    "suffix path": b"/v1/chat/completions/x/y/z",
    "two slashes behind": b"/v1/chat/completions//",
    "wildcard": b"/v1/*",
    "10 KB": b"/v1/" + b"a" * 10_000,
    "10 KB of slashes": b"/v1" + b"/" * 10_000,
    "10 KB of dots": b"/v1/" + b"../" * 3_300,
    "10 KB id": b"/v1/files/" + b"f" * 10_000,
    "10 KB model": b"/v1/models/" + b"m/" * 5_000,
    "50 KB": b"/v1/" + b"a" * 50_000,
    "engines": b"/v1/engines",
    "fine tuning": b"/v1/fine_tuning/jobs",
    "admin": b"/v1/organization/admin_api_keys",
    "dashboard": b"/v1/dashboard/billing/credit_grants",
    "file id with dots": b"/v1/files/..%2f..%2fmodels",
    "file id with a slash": b"/v1/files/a%2fcontent/x",
    "file id empty": b"/v1/files//content",
    "file id with a quote": b"/v1/files/'%20OR%201=1",
    "file id non-ASCII": b"/v1/files/%e2%91%a0",
    "response id dot": b"/v1/responses/.",
    "batch id": b"/v1/batches/-x",
    "vector store": b"/v1/vector_stores/vs_1/files/../../x",
    "model dots": b"/v1/models/a/../../files",
    "model dot segments": b"/v1/models/a/./b",
    "model five parts": b"/v1/models/a/b/c/d/e",
    "fragment": b"/v1/nothing#x",
    "well-known": b"/.well-known/../v1/users",
    "static dots": b"/static/../../../etc/passwd",
    "static encoded dots": b"/static/%2e%2e/%2e%2e/etc/passwd",
    "static NUL": b"/static/a%00b",
    "static backslash": b"/static/..%5c..%5cx",
    "static long": b"/static/" + b"a" * 5_000,
    "git": b"/.git/config",
    "env": b"/.env",
    "php": b"/index.php?s=/Index/\\think\\app/invokefunction",
}

# `{endpoint}` of the originals' two routes.
ENDPOINTS: dict[str, bytes] = {
    "empty": b"",
    "slash": b"/",
    "models": b"v1/models",
    "embeddings": b"v1/embeddings",
    "without version": b"chat/completions",
    "upper case": b"V1/CHAT/COMPLETIONS",
    "dots": b"v1/chat/completions/../../models",
    "dots in front": b"../v1/users",
    "encoded dots": b"%2e%2e/v1/users",
    "encoded slash": b"v1%2fchat%2fcompletions%2f..%2f..%2fmodels",
    "double slash": b"v1//chat/completions",
    "address": b"http://127.0.0.1:DECOY/v1/chat/completions",
    "at": b"@127.0.0.1:DECOY/v1/chat/completions",
    "semicolon": b"v1/chat/completions;x",
    "query": b"v1/chat/completions%3fx=1",
    "NUL": b"v1/chat/completions%00",
    "CR LF": b"v1/chat/completions%0d%0ax:y",
    "unicode": b"v1/chat/%e2%80%a5",
    "bad UTF-8": b"v1/%ff",
    "10 KB": b"v1/" + b"a" * 10_000,
    "quotes": b"v1/'; DROP TABLE calls; --".replace(b" ", b"%20"),
    "format": b"v1/%7b0.__class__%7d",
}

# Behind paths that exist.
QUERIES: dict[str, bytes] = {
    "empty": b"?",
    "many question marks": b"???",
    "no value": b"?limit",
    "no name": b"?=x",
    "ampersands": b"?&&&&",
    "bad number": b"?limit=x",
    "negative": b"?limit=-1",
    "large": b"?limit=99999999999999999999",
    "5,000 digits": b"?limit=" + b"9" * 5_000,
    "twice": b"?limit=1&limit=2",
    "array": b"?limit[]=1&limit[a]=2",
    "bad escape": b"?limit=%zz",
    "bad UTF-8": b"?after=%ff%fe",
    "bare bytes": b"?after=\xff\xfe",
    "bare UTF-8": "?after=日本".encode(),
    "NUL": b"?after=%00",
    "CR LF": b"?after=%0d%0aHost:%20evil",
    "quotes": b"?after='%20OR%20'1'='1",
    "hash": b"?after=x#fragment",
    "hash encoded": b"?after=%23",
    "slash": b"?after=/../../x",
    "at": b"?@127.0.0.1:DECOY/",
    "address": b"?base_url=http://127.0.0.1:DECOY/&api_base=http://127.0.0.1:DECOY/",
    "10 KB": b"?after=" + b"x" * 10_000,
    "50 KB": b"?after=" + b"x" * 50_000,
    "1,000 fields": b"?" + b"&".join(b"a%d=b" % n for n in range(1_000)),
    "backslash": b"?after=\\x",
    "pipes and braces": b'?after=|{}^`"<>',
    "plus": b"?after=+++",
    "semicolons": b"?a;b;c",
}

# What a `Host` header may say; tokens and routes must not depend on it.
HOSTS: dict[str, bytes] = {
    "empty": b"",
    "path": b"a/b?",
    "hash": b"#",
    "at": b"localhost@evil",
    "user": b"user:pass@localhost",
    "space": b"a b",
    "open bracket": b"[::1",
    "bad port": b"localhost:x",
    "large port": b"localhost:99999999",
    "negative port": b"localhost:-1",
    "two colons": b"localhost:80:80",
    "non-ASCII": b"\xe9\xff",
    "dots": b"..",
    "long": b"a" * 20_000,
    "path to admin": b"localhost/api/v1/users?",
    "backslash": b"localhost\\@evil",
    "comma": b"a, b",
    "percent": b"%6c%6f",
    "quote": b"'\"<script>",
    "address of metadata": b"169.254.169.254",
}

# ----------------------------------------------------------------------------------- whole requests


def framings(path: bytes, body: bytes, token: bytes) -> dict[str, bytes]:
    """Requests that are framed in ways on which programs disagree, and some that are no HTTP."""
    auth = b"Host: localhost\r\nAuthorization: Bearer " + token
    json_ = b"\r\nContent-Type: application/json"
    post = b"POST " + path + b" HTTP/1.1\r\n" + auth + json_
    length = b"%d" % len(body)
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    chunked = b"\r\nTransfer-Encoding: chunked"
    smuggled = b"GET /v1/models HTTP/1.1\r\n" + auth + b"\r\n\r\n"

    def with_length(value: bytes, sent: bytes = body) -> bytes:
        return post + b"\r\nContent-Length: " + value + b"\r\n\r\n" + sent

    def line(text: bytes) -> bytes:
        return text + b"\r\n" + auth + b"\r\n\r\n"

    return {
        "length and chunked": post + chunked + b"\r\nContent-Length: 5\r\n\r\n" + chunk,
        "chunked and length": post + b"\r\nContent-Length: 5" + chunked + b"\r\n\r\n" + chunk,
        "length 0 and chunked with more behind": (
            post + b"\r\nContent-Length: 0" + chunked + b"\r\n\r\n" + chunk + smuggled
        ),
        "two lengths": with_length(length + b"\r\nContent-Length: 1"),
        "two equal lengths": with_length(length + b"\r\nContent-Length: " + length),
        "length list": with_length(length + b", " + length),
        "length with plus": with_length(b"+" + length),
        "negative length": with_length(b"-1"),
        "hexadecimal length": with_length(b"0x10"),
        "length with space": with_length(length + b" "),
        "length with text": with_length(length + b"x"),
        "empty length": with_length(b""),
        "length of 25 digits": with_length(b"9" * 25),
        "length of 19 digits": with_length(b"9" * 19),
        "length of 12 digits": with_length(b"9" * 12),
        "length in other digits": with_length(b"\xd9\xa1\xd9\xa2"),
        "length too short": with_length(b"3"),
        "length 0": with_length(b"0"),
        "length too long": with_length(b"%d" % (len(body) + 10)),
        "no length": post + b"\r\n\r\n",
        "no length but a body": post + b"\r\n\r\n" + body,
        "chunked": post + chunked + b"\r\n\r\n" + chunk,
        "chunked by single bytes": (
            post
            + chunked
            + b"\r\n\r\n"
            + b"".join(b"1\r\n%c\r\n" % byte for byte in body)
            + b"0\r\n\r\n"
        ),
        "chunked with extension": (
            post + chunked + b"\r\n\r\n%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        ),
        "chunked with trailers": (
            post
            + chunked
            + b"\r\n\r\n%x\r\n%s\r\n0\r\nAuthorization: x\r\n\r\n" % (len(body), body)
        ),
        "chunk size no number": post + chunked + b"\r\n\r\nxyz\r\n" + body + b"\r\n0\r\n\r\n",
        "chunk size negative": post + chunked + b"\r\n\r\n-5\r\n" + body + b"\r\n0\r\n\r\n",
        "chunk size huge": post + chunked + b"\r\n\r\n" + b"f" * 16 + b"\r\n" + body,
        "chunk size of 100 digits": post + chunked + b"\r\n\r\n" + b"f" * 100 + b"\r\n" + body,
        "chunk without line break": post + chunked + b"\r\n\r\n5\r\nhello6\r\n world0\r\n\r\n",
        "chunked cut": post + chunked + b"\r\n\r\n5\r\nhel",
        "chunked with bare LF": post + chunked + b"\r\n\r\n5\nhello\n0\n\n",
        "chunked, chunked": post + b"\r\nTransfer-Encoding: chunked, chunked\r\n\r\n" + chunk,
        "gzip, chunked": post + b"\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunk,
        "identity": post + b"\r\nTransfer-Encoding: identity\r\n\r\n" + body,
        "xchunked": post + b"\r\nTransfer-Encoding: xchunked\r\n\r\n" + chunk,
        "chunked with tab": post + b"\r\nTransfer-Encoding:\tchunked\r\n\r\n" + chunk,
        "chunked folded": post + b"\r\nTransfer-Encoding:\r\n chunked\r\n\r\n" + chunk,
        "chunked in quotes": post + b'\r\nTransfer-Encoding: "chunked"\r\n\r\n' + chunk,
        "GET with a body": (
            b"GET /v1/models HTTP/1.1\r\n" + auth + b"\r\nContent-Length: 5\r\n\r\nhello"
        ),
        "GET chunked": b"GET /v1/models HTTP/1.1\r\n" + auth + chunked + b"\r\n\r\n" + chunk,
        "two Authorizations": (
            post
            + b"\r\nAuthorization: Bearer other\r\nContent-Length: "
            + length
            + b"\r\n\r\n"
            + body
        ),
        "two Hosts": post + b"\r\nHost: evil\r\nContent-Length: " + length + b"\r\n\r\n" + body,
        "no Host": (
            b"POST "
            + path
            + b" HTTP/1.1\r\nAuthorization: Bearer "
            + token
            + json_
            + b"\r\nContent-Length: "
            + length
            + b"\r\n\r\n"
            + body
        ),
        "HTTP/1.0": line(b"GET /v1/models HTTP/1.0"),
        "HTTP/0.9": b"GET /v1/models\r\n\r\n",
        "HTTP/2.0": line(b"GET /v1/models HTTP/2.0"),
        "HTTP/1.9": line(b"GET /v1/models HTTP/1.9"),
        "HTTP/9.9": line(b"GET /v1/models HTTP/9.9"),
        "http/1.1": line(b"GET /v1/models http/1.1"),
        "no version": line(b"GET /v1/models "),
        "three words more": line(b"GET /v1/models x HTTP/1.1"),
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9,
        "TLS": bytes.fromhex("16030100a5010000a10303") + b"\0" * 160,
        "lower-case method": line(b"get /v1/models HTTP/1.1"),
        "unknown method": line(b"FROB /v1/models HTTP/1.1"),
        "long method": line(b"G" * 10_000 + b" /v1/models HTTP/1.1"),
        "non-ASCII method": line(b"G\xc3\x8bT /v1/models HTTP/1.1"),
        "CONNECT": line(b"CONNECT 127.0.0.1:DECOY HTTP/1.1"),
        "TRACE": line(b"TRACE /v1/models HTTP/1.1"),
        "OPTIONS": line(b"OPTIONS /v1/chat/completions HTTP/1.1"),
        "OPTIONS *": line(b"OPTIONS * HTTP/1.1"),
        "HEAD": line(b"HEAD /v1/models HTTP/1.1"),
        "HEAD chat": line(b"HEAD /v1/chat/completions HTTP/1.1"),
        "PUT": line(b"PUT /v1/chat/completions HTTP/1.1"),
        "PATCH": line(b"PATCH /v1/models HTTP/1.1"),
        "DELETE": line(b"DELETE /v1/chat/completions HTTP/1.1"),
        "PROPFIND": line(b"PROPFIND /v1/models HTTP/1.1"),
        "absolute target": line(b"GET http://127.0.0.1:DECOY/v1/nothing HTTP/1.1"),
        "absolute target with user": line(b"GET http://a:b@127.0.0.1:DECOY/v1/nothing HTTP/1.1"),
        "no slash": line(b"GET v1/models HTTP/1.1"),
        "empty target": line(b"GET  HTTP/1.1"),
        "space in target": line(b"GET /v1/models x HTTP/1.1"),
        "tab in target": line(b"GET /v1/\tmodels HTTP/1.1"),
        "control in target": line(b"GET /v1/\x01models HTTP/1.1"),
        "NUL in target": line(b"GET /v1/\0models HTTP/1.1"),
        "bare LF everywhere": b"GET /v1/models HTTP/1.1\nHost: x\nAuthorization: Bearer x\n\n",
        "line breaks in front": b"\r\n\r\n" + line(b"GET /v1/models HTTP/1.1"),
        "nothing but line breaks": b"\r\n" * 100,
        "garbage": b"\x00\x01\x02\x03" * 100,
        "binary": bytes(range(256)) * 20,
        "half a head": b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Le",
        "half a request line": b"POST /v1/ch",
    }


def multiparts() -> dict[str, tuple[bytes, bytes]]:
    """Forms by name: the Content-Type and the body."""
    kind = b"multipart/form-data; boundary=x"
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
    model = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    end = b"--x--\r\n"

    def named(disposition: bytes, content: bytes = b"x") -> bytes:
        return b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + b"\r\n"

    return {
        "no boundary": (b"multipart/form-data", file + model + end),
        "empty boundary": (b"multipart/form-data; boundary=", file + model + end),
        "quoted boundary": (b'multipart/form-data; boundary="x"', file + model + end),
        "half-quoted boundary": (b'multipart/form-data; boundary="x', file + model + end),
        "long boundary": (b"multipart/form-data; boundary=" + b"x" * 5_000, file + end),
        "boundary as expression": (b"multipart/form-data; boundary=(x+)+$", file + model + end),
        "non-ASCII boundary": (b"multipart/form-data; boundary=\xff\xfe", file + model + end),
        "other boundary": (b"multipart/form-data; boundary=y", file + model + end),
        "no end": (kind, file + model),
        "only end": (kind, end),
        "empty": (kind, b""),
        "no parts": (kind, b"--x\r\n--x--\r\n"),
        "JSON": (b"application/json", b'{"model":"whisper-1"}'),
        "JSON as form": (kind, b'{"model":"whisper-1"}'),
        "no file": (kind, model + end),
        "no model": (kind, file + end),
        "two models": (
            kind,
            model + model.replace(b"whisper-1", b"gpt-4o-transcribe") + file + end,
        ),
        "empty model": (kind, model.replace(b"whisper-1", b"") + file + end),
        "long model": (kind, model.replace(b"whisper-1", b"m" * 5_000) + file + end),
        "NUL model": (kind, model.replace(b"whisper-1", b"a\0b") + file + end),
        "bytes as model": (kind, model.replace(b"whisper-1", b"\xff\xfe") + file + end),
        "model with line break": (kind, model.replace(b"whisper-1", b"a\r\nb") + file + end),
        "model as file": (
            kind,
            named(b'form-data; name="model"; filename="m"', b"whisper-1") + file + end,
        ),
        "part without head": (kind, b"--x\r\n\r\nabc\r\n" + file + model + end),
        "part without name": (kind, named(b"form-data") + file + model + end),
        "name without quotes": (kind, named(b"form-data; name=model", b"whisper-1") + file + end),
        "name with NUL": (kind, named(b'form-data; name="mo\0del"') + file + model + end),
        "file name with dots": (
            kind,
            named(b'form-data; name="file"; filename="../../../etc/passwd"') + model + end,
        ),
        "file name with line break": (
            kind,
            named(b'form-data; name="file"; filename="a\r\nb: c"') + model + end,
        ),
        "file name non-ASCII": (
            kind,
            named(b"form-data; name=\"file\"; filename*=utf-8''%ff%fe") + model + end,
        ),
        "part head of 100 KB": (
            kind,
            b"--x\r\nX: " + b"a" * 100_000 + b"\r\n\r\nx\r\n" + file + model + end,
        ),
        "5,000 parts": (kind, named(b'form-data; name="a"') * 5_000 + file + model + end),
        "stream field": (kind, named(b'form-data; name="stream"', b"\xff") + file + model + end),
        "bare LF": (kind, (file + model + end).replace(b"\r\n", b"\n")),
        "nested": (
            kind,
            b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n"
            + file
            + model
            + end,
        ),
        "boundary in the content": (kind, named(b'form-data; name="file"', b"--x--") + model + end),
    }
