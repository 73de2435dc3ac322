"""What a call consumed, read from the provider's own figures or estimated without them. Pure.

Providers that speak OpenAI's protocol report the same facts under several names, and not all of
them report honestly. `normalise_usage` brings every known shape to one `Usage`, keeps the figures
verbatim beside it, and marks what cannot be true. `estimate_usage` is for a call that reported
nothing: a stream that was cut, a provider without usage.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Protocol, cast

import orjson

MAX_TOKENS: Final = 2**30
"""The most tokens (a thousand million) that one call can claim. More is a lie, and summed up in a
roll-up it would overflow the database's 64-bit integers."""

FINISH_COMPLETE: Final = "complete"
"""The finish of an answer whose shape has no finish reason: embeddings, images, transcriptions."""

FINISH_ERROR: Final = "error"
"""The finish of an answer that carries an error in place of content."""

_MAX_SECONDS: Final = 10_000_000
_UNFINISHED: Final = frozenset(
    {FINISH_ERROR, "failed", "cancelled", "incomplete", "in_progress", "queued"}
)

# Below this, parsing the whole body costs less than looking for its parts: one embedding of 1,536
# numbers is about 30 KB of text.
_OUTLINE_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class UsageExtras:
    """What few calls are billed by, beside their tokens."""

    citation: int = 0
    """Output tokens spent on citations (Perplexity), part of `Usage.output`."""
    searches: int = 0
    """Searches of the web that the provider made."""
    audio_ms: int = 0
    """Length of the audio that was sent, in milliseconds."""
    characters: int = 0
    """Characters that were sent to be spoken."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call. Every count is an integer from 0 to `MAX_TOKENS`.

    The parts never exceed their whole: `cached + cache_write <= input`,
    `input_audio + input_image <= input`, `output_audio + output_image <= output`,
    `reasoning <= output`.
    """

    input: int = 0
    """All input tokens, cached ones included."""
    output: int = 0
    """All output tokens, reasoning included."""
    cached: int = 0
    """Input tokens read from the provider's prompt cache."""
    cache_write: int = 0
    """Input tokens written to the provider's prompt cache."""
    reasoning: int = 0
    """Output tokens that the model spent on thinking."""
    input_audio: int = 0
    input_image: int = 0
    output_audio: int = 0
    output_image: int = 0
    service_tier: str | None = None
    """The tier that served the call as the provider names it (`flex`, `priority`, `default`)."""
    estimated: bool = False
    """No provider said so: see `estimate_usage`."""
    anomaly: bool = False
    """The provider's figures were impossible and are repaired here: not to be called exact."""
    extras: UsageExtras | None = None
    raw: dict[str, Any] | None = None
    """The provider's usage object, verbatim."""


def normalise_usage(raw: object, service_tier: object = None) -> Usage | None:
    """Return the usage that a provider's `usage` object states, None when it states none.

    Understood are chat and legacy completions, responses, embeddings, images and transcriptions
    (https://platform.openai.com/docs/api-reference), and the names that Anthropic, DeepSeek,
    Moonshot, Mistral, Perplexity, xAI, OpenRouter and LiteLLM use in their compatible answers.
    `service_tier` is the field beside `usage` in the answer. Never raises: a count that is
    negative, fractional, text, above `MAX_TOKENS` or above the whole it is part of is dropped or
    clamped, and `anomaly` is set. A `total_tokens` that the parts do not add up to is not believed.
    """
    if not isinstance(raw, dict):
        return None
    tier = service_tier if type(service_tier) is str and len(service_tier) <= 32 else None
    return _read_ordinary(raw, tier) or _read_any(raw, tier)


def latest_usage(previous: Usage | None, new: Usage) -> Usage:
    """Return the usage that counts when a stream reports it more than once.

    Reports are cumulative, so the last one wins; one that takes back what was said before is not
    believed, and the earlier one stays, marked as an anomaly.
    """
    if previous is None or (new.input >= previous.input and new.output >= previous.output):
        return new
    return previous if previous.anomaly else replace(previous, anomaly=True)


def usage_of_body(body: bytes) -> tuple[Usage | None, str | None, str | None]:
    """Read a plain answer once: its usage, the model that answered, and how it finished.

    The finish is the finish reason of a completion (of several choices, the first that is not
    `stop`), the status of a response or, when that is incomplete, the reason; `FINISH_COMPLETE`
    for shapes that know none; `FINISH_ERROR` for an error in a 200. It is None when the body is not
    a JSON object or a choice has no finish reason. See `is_complete`.
    """
    answer = _outline(body) if len(body) > _OUTLINE_BYTES else None
    if answer is None:
        answer = _load(body)
        if not isinstance(answer, dict):
            return None, None, None
    model = answer.get("model")
    usage = normalise_usage(answer.get("usage"), answer.get("service_tier"))
    if usage is None and "duration" in answer:
        usage = _usage_of_duration(answer)
    return usage, model if isinstance(model, str) and model else None, _finish(answer)


def _load(body: bytes) -> Any:
    """The JSON value; Python's own reader takes half a surrogate pair, which some providers send."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


def is_complete(finish: str | None) -> bool:
    """Say whether a finish from `usage_of_body` is that of a whole answer.

    An answer that ended by length or by content filter is whole; one that failed, or still runs,
    is not.
    """
    return finish is not None and finish not in _UNFINISHED


def is_error_body(answer: object) -> bool:
    """Say whether an answer, parsed from JSON, carries an error in place of content.

    Some providers send `{"error": {...}}` with status 200 (OpenRouter, Anthropic's and vLLM's
    variants included). `"error": null`, which each of OpenAI's response objects has, is no error.
    """
    if not isinstance(answer, dict):
        return False
    if answer.get("object") == "error":
        return True
    return bool(answer.get("error")) and not (
        answer.get("choices") or answer.get("data") or answer.get("output")
    )


def estimate_tokens(size: int) -> int:
    """Estimate the tokens of a text of `size` bytes of UTF-8: four bytes a token, rounded up.

    The rule of thumb is OpenAI's (four characters of English a token); taken by bytes it also holds
    roughly for scripts whose letters take two or three bytes and about a token each.
    """
    return (size + 3) // 4 if size > 0 else 0


def count_tokens(text: str) -> int:
    """Count the tokens of a text: exactly for OpenAI's newer models, or by `estimate_tokens`.

    Exact counts need the optional package `bpe_openai`; its tables take about 0.7 s and 140 MB at
    the first call, so it is never loaded unless it was installed on purpose.
    """
    encoding = _encoding()
    if encoding is None or len(text) > _MAX_COUNTED_CHARACTERS:
        return estimate_tokens(_utf8_size(text))
    return sum(
        len(encoding.encode_ordinary(text[start : start + _COUNTED_SLICE]))
        for start in range(0, len(text), _COUNTED_SLICE)
    )


def estimate_usage(request: dict[str, Any], *, deltas: int, output_chars: int) -> Usage:
    """Estimate what a call used of which no provider says anything.

    Input is the request's texts by `count_tokens` and 3 tokens for each message (OpenAI's framing);
    a token id counts one; tools and schemas count by their JSON; images, audio and files are not
    counted. Output is the number of content deltas that were seen when they came a token at a time,
    that is, with at most `_CHARACTERS_OF_A_TOKEN` characters each on average; else four characters
    a token. A plain answer has no deltas.
    """
    return Usage(
        input=min(_input_tokens(request), MAX_TOKENS),
        output=min(_output_tokens(deltas, output_chars), MAX_TOKENS),
        estimated=True,
        extras=_spoken(request),
    )


# -- reading the provider's figures -----------------------------------------------------------

_CHAT = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)
_RESPONSES = (
    "input_tokens",
    "output_tokens",
    "input_tokens_details",
    "output_tokens_details",
)
_MAIN_COUNTS = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
_NOTHING: dict[str, Any] = {}


def _read_ordinary(raw: dict[str, Any], tier: str | None) -> Usage | None:
    """Read text in, text out, as OpenAI states it; None for anything else, wrong or rare.

    A short cut of `_read_any` with the same result: nearly every call passes here.
    """
    names = _CHAT if "prompt_tokens" in raw else _RESPONSES
    input_ = raw.get(names[0])
    output = raw.get(names[1], 0)
    if type(input_) is not int or type(output) is not int or not 0 <= input_ <= MAX_TOKENS:
        return None
    if not 0 <= output <= MAX_TOKENS or raw.get("total_tokens") != input_ + output:
        return None
    inputs = raw.get(names[2])
    outputs = raw.get(names[3])
    if len(raw) != 2 + (names[1] in raw) + (inputs is not None) + (outputs is not None):
        return None
    cached = reasoning = None
    if inputs is not None:
        if type(inputs) is not dict or not _PLAIN_INPUT_DETAILS.issuperset(inputs):
            return None
        cached = inputs.get("cached_tokens")
        if cached is not None and (type(cached) is not int or not 0 <= cached <= input_):
            return None
        if inputs.get("audio_tokens") not in _NONE or inputs.get("cache_write_tokens") not in _NONE:
            return None
    if outputs is not None:
        if type(outputs) is not dict or not _PLAIN_OUTPUT_DETAILS.issuperset(outputs):
            return None
        reasoning = outputs.get("reasoning_tokens")
        if reasoning is not None and (type(reasoning) is not int or not 0 <= reasoning <= output):
            return None
        if outputs.get("audio_tokens") not in _NONE:
            return None
    return Usage(input_, output, cached or 0, 0, reasoning or 0, service_tier=tier, raw=raw)


_NONE = (None, 0)
_PLAIN_INPUT_DETAILS = frozenset(
    {"cached_tokens", "cache_write_tokens", "audio_tokens", "text_tokens"}
)
_PLAIN_OUTPUT_DETAILS = frozenset(
    {
        "reasoning_tokens",
        "audio_tokens",
        "text_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    }
)


class _Figures:
    """Takes counts from a usage object and notes whether one of them could not be true."""

    __slots__ = ("anomaly",)

    def __init__(self) -> None:
        self.anomaly = False

    def count(self, place: dict[str, Any], *names: str) -> int:
        """Return the first count among `names` that says more than nothing, else 0."""
        for name in names:
            value = place.get(name)
            if value not in _NONE:
                return self._credible(value)
        return 0

    def details(self, raw: dict[str, Any], *names: str) -> dict[str, Any]:
        """Return the first breakdown among `names`, else an empty one."""
        for name in names:
            value = raw.get(name)
            if isinstance(value, dict):
                return value
            self.anomaly = self.anomaly or value is not None
        return _NOTHING

    def at_most(self, whole: int, part: int) -> int:
        """Return a part that does not exceed its whole."""
        if part <= whole:
            return part
        self.anomaly = True
        return whole

    def _credible(self, value: object) -> int:
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
        self.anomaly = True
        return int(value) if isinstance(value, float) and 0 <= value <= MAX_TOKENS else 0


def _read_any(raw: dict[str, Any], tier: str | None) -> Usage | None:
    """Read a usage object of any known shape, repairing what cannot be true."""
    extras = _extras_of(raw)
    if all(raw.get(name) is None for name in (*_MAIN_COUNTS, "total_tokens")) and extras is None:
        return None
    figures = _Figures()
    inputs = figures.details(
        # Transcriptions and realtime spell it "token", responses and images "tokens".
        raw,
        "prompt_tokens_details",
        "input_tokens_details",
        "input_token_details",
    )
    outputs = figures.details(
        raw, "completion_tokens_details", "output_tokens_details", "output_token_details"
    )
    input_, cached, cache_write = _input_side(figures, raw, inputs)
    output, reasoning, citation = _output_side(figures, raw, outputs, input_)
    if citation:
        extras = replace(extras or UsageExtras(), citation=citation)
    if output and not outputs and "image_tokens" in inputs and "input_tokens" in raw:
        # Images: the answers of older models break down their input only; all they make is image.
        output_image = output
    else:
        output_image = figures.count(outputs, "image_tokens")
    input_audio = figures.at_most(input_, figures.count(inputs, "audio_tokens"))
    output_audio = figures.at_most(output, figures.count(outputs, "audio_tokens"))
    return Usage(
        input=input_,
        output=output,
        cached=cached,
        cache_write=cache_write,
        reasoning=reasoning,
        input_audio=input_audio,
        input_image=figures.at_most(input_ - input_audio, figures.count(inputs, "image_tokens")),
        output_audio=output_audio,
        output_image=figures.at_most(output - output_audio, output_image),
        service_tier=tier if tier is not None else _tier_within(raw),
        anomaly=figures.anomaly,
        extras=extras,
        raw=raw,
    )


def _input_side(
    figures: _Figures, raw: dict[str, Any], inputs: dict[str, Any]
) -> tuple[int, int, int]:
    """Return the tokens of the input: all, read from the cache, written to the cache."""
    input_ = figures.count(raw, "prompt_tokens", "input_tokens")
    if not input_ and all(raw.get(name) is None for name in _MAIN_COUNTS):
        # Voyage's and Jina's embeddings state the total alone, and it is all input.
        input_ = figures.count(raw, "total_tokens")
    cached = figures.count(inputs, "cached_tokens", "cache_read_input_tokens") or figures.count(
        raw,
        "prompt_cache_hit_tokens",  # DeepSeek
        "cached_tokens",  # Moonshot
        "cache_read_input_tokens",  # Anthropic, Databricks, LiteLLM
        "cached_prompt_text_tokens",  # xAI
    )
    cache_write = figures.count(
        inputs, "cache_write_tokens", "cache_creation_tokens"
    ) or figures.count(raw, "cache_creation_input_tokens")
    if "prompt_tokens" not in raw and "total_tokens" not in raw and not inputs:
        # Anthropic's own shape: the three are counted beside each other.
        # https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching
        input_ = figures.at_most(MAX_TOKENS, input_ + cached + cache_write)
    cached = figures.at_most(input_, cached)
    return input_, cached, figures.at_most(input_ - cached, cache_write)


def _output_side(
    figures: _Figures, raw: dict[str, Any], outputs: dict[str, Any], input_: int
) -> tuple[int, int, int]:
    """Return the tokens of the output: all, spent on reasoning, spent on citations."""
    output = figures.count(raw, "completion_tokens", "output_tokens")
    reasoning = figures.count(outputs, "reasoning_tokens", "thinking_tokens") or figures.count(
        raw, "reasoning_tokens"
    )
    citation = figures.count(raw, "citation_tokens")
    total = figures.count(raw, "total_tokens")
    if (
        "citation_tokens" in raw  # Perplexity counts both beside the completion,
        or reasoning > output  # and so does xAI, where OpenAI counts reasoning within it.
        or (total and total == input_ + output + reasoning)
    ):
        output += reasoning
    return figures.at_most(MAX_TOKENS, output + citation), reasoning, citation


def _extras_of(raw: dict[str, Any]) -> UsageExtras | None:
    """Return what is billed beside tokens; None, as nearly always, when nothing is."""
    audio_ms = _milliseconds(raw.get("seconds") or raw.get("prompt_audio_seconds"))
    tools = raw.get("server_tool_use")
    searches = raw.get("num_search_queries") or (
        tools.get("web_search_requests") if isinstance(tools, dict) else None
    )
    if type(searches) is not int or not 0 < searches <= MAX_TOKENS:
        searches = 0
    if not audio_ms and not searches:
        return None
    return UsageExtras(searches=searches, audio_ms=audio_ms)


def _milliseconds(seconds: object) -> int:
    """Return a length of time in whole milliseconds; 0 for what is none."""
    if isinstance(seconds, int | float) and 0 <= seconds <= _MAX_SECONDS:
        return round(seconds * 1000)
    return 0


def _tier_within(raw: dict[str, Any]) -> str | None:
    """Return the tier where Anthropic states it: inside the usage."""
    tier = raw.get("service_tier")
    return tier if isinstance(tier, str) and len(tier) <= 32 else None


# -- reading the answer -----------------------------------------------------------------------


def _outline(body: bytes) -> dict[str, Any] | None:
    """Read a long list answer without its list, `"data": true` in its place; None if unsure.

    Megabytes of embeddings or pictures stand between the first `[` and the last `]`. What is left
    parses as JSON only if the two brackets are at the top level of the object: inside a text or a
    deeper object quotes or braces would not match. Fields that stand between two lists are lost;
    the caller only asks for `usage` and `model`, so without them this is unsure.
    """
    start, end = body.find(b"["), body.rfind(b"]")
    if start < 0 or end < start:
        return None
    try:
        answer = orjson.loads(body[:start] + b"true" + body[end + 1 :])
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or answer.get("data") is not True:
        return None
    if "usage" not in answer or ("model" not in answer and b'"model"' in body):
        return None
    return answer


def _finish(answer: dict[str, Any]) -> str | None:
    """Return how an answer finished; see `usage_of_body`."""
    choices = answer.get("choices")
    if choices and isinstance(choices, list) and answer.get("object") != "edit":
        return _finish_of_choices(choices)
    if is_error_body(answer):
        return FINISH_ERROR
    if answer.get("object") == "response":
        return _finish_of_response(answer)
    return None if choices == [] else FINISH_COMPLETE


def _finish_of_choices(choices: list[Any]) -> str | None:
    """Return the first finish reason that is not `stop`; None if a choice has none."""
    finish = "stop"
    for choice in choices:
        reason = choice.get("finish_reason") if isinstance(choice, dict) else None
        if not isinstance(reason, str) or not reason:
            return None
        if finish == "stop":
            finish = reason
    return finish


def _finish_of_response(answer: dict[str, Any]) -> str | None:
    """Return a response's status or why it is incomplete.

    https://platform.openai.com/docs/api-reference/responses/object
    """
    status = answer.get("status")
    if status == "incomplete":
        details = answer.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return reason if isinstance(reason, str) and reason else "incomplete"
    return status if isinstance(status, str) and status else None


def _usage_of_duration(answer: dict[str, Any]) -> Usage | None:
    """Return the usage of a verbose transcription, which states how long the audio was."""
    audio_ms = _milliseconds(answer.get("duration")) if "text" in answer else 0
    return Usage(extras=UsageExtras(audio_ms=audio_ms)) if audio_ms else None


# -- estimating -------------------------------------------------------------------------------

_TOKENS_OF_A_MESSAGE: Final = 3
_CHARACTERS_OF_A_TOKEN: Final = 6
_INPUT_FIELDS: Final = ("messages", "input", "prompt", "instructions", "instruction", "system")
_SCHEMA_FIELDS: Final = ("tools", "functions", "response_format", "text")
_TEXT_KEYS: Final = frozenset(
    {"content", "text", "arguments", "output", "refusal", "function", "tool_calls"}
)

# The package refuses a million characters at once and 200,000 tokens; a character is 4 at most.
_COUNTED_SLICE: Final = 50_000
_MAX_COUNTED_CHARACTERS: Final = 400_000


class _Encoding(Protocol):
    """What is used of `bpe_openai.Encoding`."""

    def encode_ordinary(self, text: str) -> list[int]: ...


@cache
def _encoding() -> _Encoding | None:
    """Return the tokenizer of OpenAI's newer models, None when the package is not installed."""
    try:
        package: Any = importlib.import_module("bpe_openai")
    except ImportError:
        return None
    return cast(_Encoding, package.get_encoding("o200k_base"))


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


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
        return estimate_tokens(len(orjson.dumps(schema)))
    except TypeError:  # a number beyond 64 bits, a text that is no Unicode: not worth a guess
        return 0


def _output_tokens(deltas: int, output_chars: int) -> int:
    """Estimate the tokens of an output; see `estimate_usage`."""
    if deltas > 0 and output_chars <= deltas * _CHARACTERS_OF_A_TOKEN:
        return deltas
    return estimate_tokens(output_chars)


def _spoken(request: dict[str, Any]) -> UsageExtras | None:
    """Return the characters of a request for speech, the unit that some voices are billed by."""
    text = request.get("input")
    if "voice" in request and isinstance(text, str):
        return UsageExtras(characters=len(text))
    return None
