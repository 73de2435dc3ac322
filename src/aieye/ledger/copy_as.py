"""A recorded call as code that makes it again: curl, Python, JavaScript. Pure.

The token is never in it: each form reads `AIEYE_TOKEN` from the environment.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VARIABLE = "AIEYE_TOKEN"
_WIDTH = 80


@dataclass(frozen=True, slots=True)
class _Method:
    """Where OpenAI's SDKs have an endpoint, and the parameters that the Python one names itself."""

    path: str
    names: frozenset[str]


_COMMON = (
    "model", "user", "temperature", "top_p", "stream", "n", "metadata", "seed", "stop", "logprobs",
)  # fmt: skip
_CHAT = (
    *_COMMON, "messages", "max_tokens", "max_completion_tokens", "presence_penalty",
    "frequency_penalty", "logit_bias", "tools", "tool_choice", "parallel_tool_calls",
    "response_format", "stream_options", "reasoning_effort", "top_logprobs", "service_tier",
)  # fmt: skip
_METHODS: Mapping[str, _Method] = {
    "chat/completions": _Method("chat.completions.create", frozenset(_CHAT)),
    "completions": _Method(
        "completions.create",
        frozenset({*_COMMON, "prompt", "max_tokens", "suffix", "echo", "best_of"} - {"metadata"}),
    ),
    "responses": _Method(
        "responses.create",
        frozenset(
            {"model", "input", "instructions", "temperature", "top_p", "stream", "metadata",
             "max_output_tokens", "tools", "tool_choice", "reasoning", "text"}
        ),
    ),
    "embeddings": _Method(
        "embeddings.create", frozenset({"model", "input", "dimensions", "encoding_format", "user"})
    ),
    "moderations": _Method("moderations.create", frozenset({"model", "input"})),
    "images/generations": _Method(
        "images.generate", frozenset({"model", "prompt", "n", "size", "quality", "style", "user"})
    ),
    "audio/speech": _Method(
        "audio.speech.create",
        frozenset({"model", "input", "voice", "response_format", "speed", "instructions"}),
    ),
}  # fmt: skip


def parameters_of(request: str | None) -> dict[str, Any] | None:
    """What a recorded request asked; None when it was no JSON object, or is not kept."""
    if request is None:
        return None
    try:
        parsed = json.loads(request)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def as_curl(base_url: str, endpoint: str, request: str) -> str:
    """A command for the shell; `base_url` ends in `/v1`."""
    flags = [
        f'-H "Authorization: Bearer ${VARIABLE}"',
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(request)}",
    ]
    address = shlex.quote(f"{base_url}/{endpoint}")
    if (parameters_of(request) or {}).get("stream") is True:
        address = f"-N {address}"
    return " \\\n  ".join([f"curl {address}", *flags])


def as_python(base_url: str, endpoint: str, parameters: Mapping[str, Any]) -> str:
    """A program with OpenAI's SDK. What the SDK has no parameter for goes into the body beside it."""
    method = _METHODS.get(endpoint)
    lines = [
        "import os", "", "from openai import OpenAI", "",
        f'client = OpenAI(base_url={base_url!r}, api_key=os.environ["{VARIABLE}"])',
    ]  # fmt: skip
    if method is None:
        body = _python(dict(parameters))
        lines += [f"answer = client.post({'/' + endpoint!r}, cast_to=object, body={body})"]
        return "\n".join([*lines, "print(answer)", ""])
    own = {name: value for name, value in parameters.items() if name in method.names}
    rest = {name: value for name, value in parameters.items() if name not in method.names}
    lines.append(f"answer = client.{method.path}(")
    lines += [f"    {name}={_python(value)}," for name, value in own.items()]
    if rest:
        lines.append(f"    extra_body={_python(rest)},")
    lines.append(")")
    if own.get("stream") is True:
        return "\n".join([*lines, "for event in answer:", "    print(event)", ""])
    return "\n".join([*lines, "print(answer)", ""])


def as_javascript(base_url: str, endpoint: str, parameters: Mapping[str, Any]) -> str:
    """A program with OpenAI's SDK for Node."""
    method = _METHODS.get(endpoint)
    body = json.dumps(dict(parameters), ensure_ascii=False, indent=2)
    call = (
        f"client.post({json.dumps('/' + endpoint)}, {{ body: {body} }})"
        if method is None
        else f"client.{method.path}({body})"
    )
    lines = [
        'import OpenAI from "openai";', "",
        f"const client = new OpenAI({{ baseURL: {json.dumps(base_url)}, "
        f"apiKey: process.env.{VARIABLE} }});",
        f"const answer = await {call};",
    ]  # fmt: skip
    if parameters.get("stream") is True and method is not None:
        return "\n".join([*lines, "for await (const event of answer) console.log(event);", ""])
    return "\n".join([*lines, "console.log(answer);", ""])


def _python(value: Any, indent: int = 4) -> str:
    """A value of JSON as Python writes it, over several lines where it is long."""
    flat = repr(value)
    if len(flat) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    inner = " " * (indent + 4)
    if isinstance(value, dict):
        parts = [f"{name!r}: {_python(part, indent + 4)}" for name, part in value.items()]
    else:
        parts = [_python(part, indent + 4) for part in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    lines = "".join(f"{inner}{part},\n" for part in parts)
    return f"{begin}\n{lines}{' ' * indent}{end}"
