"""What a call used of which no provider says anything: a stream that was cut, for one."""

from __future__ import annotations

from typing import Any, Final

import orjson

from aieye.gateway.usage.figures import MAX_TOKENS, Usage, UsageExtras
from aieye.gateway.usage.tokens import count_tokens, estimate_tokens, utf8_size

_TOKENS_OF_A_MESSAGE: Final = 3
_SIZE_OF_A_TOKEN: Final = 6
_INPUT_FIELDS: Final = ("messages", "input", "prompt", "instructions", "instruction", "system")
_SCHEMA_FIELDS: Final = ("tools", "functions", "response_format", "text")
_TEXT_KEYS: Final = frozenset(
    {"content", "text", "arguments", "output", "refusal", "function", "tool_calls"}
)


def estimate_usage(request: dict[str, Any], *, deltas: int, output_size: int) -> Usage:
    """Estimate what a call used of which no provider says anything.

    Input is the request's texts by `count_tokens` and 3 tokens for each message (OpenAI's framing);
    a token id counts one; tools and schemas count by their JSON; images, audio and files are not
    counted. Output is the number of content deltas that were seen when they came a token at a time,
    that is, with at most `_SIZE_OF_A_TOKEN` each on average; else by `estimate_tokens` of
    `output_size` (`text_size`). A plain answer has no deltas.
    """
    return Usage(
        input=min(_input_tokens(request), MAX_TOKENS),
        output=min(_output_tokens(deltas, output_size), MAX_TOKENS),
        estimated=True,
        extras=_spoken(request),
    )


def _input_tokens(request: dict[str, Any]) -> int:
    """Estimate the tokens of a request's texts, messages and schemas."""
    tokens = sum(_schema_tokens(request.get(name)) for name in _SCHEMA_FIELDS)
    # A stack of our own: the depth of what a client nests is not the depth of our calls.
    pending = [request.get(name) for name in _INPUT_FIELDS]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            tokens += count_tokens(value)
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            tokens += _TOKENS_OF_A_MESSAGE if "role" in value else 0
            pending.extend(value[key] for key in _TEXT_KEYS if key in value)
        elif type(value) is int:
            tokens += 1
    return tokens


def _schema_tokens(schema: object) -> int:
    """Estimate the tokens of a tool or a schema by the length of its JSON."""
    if not isinstance(schema, list | dict):
        return 0
    try:
        return estimate_tokens(utf8_size(orjson.dumps(schema)))
    except TypeError:  # a number beyond 64 bits, a text that is no Unicode: not worth a guess
        return 0


def _output_tokens(deltas: int, output_size: int) -> int:
    """Estimate the tokens of an output; see `estimate_usage`."""
    if deltas > 0 and output_size <= deltas * _SIZE_OF_A_TOKEN:
        return deltas
    return estimate_tokens(output_size)


def _spoken(request: dict[str, Any]) -> UsageExtras | None:
    """Return the characters of a request for speech, the unit that some voices are billed by."""
    text = request.get("input")
    if "voice" in request and isinstance(text, str):
        return UsageExtras(characters=len(text))
    return None
