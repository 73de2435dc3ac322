"""What a prompt says and how the model is asked: the part of it that has versions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import orjson

from aieye.access.texts import check_text
from aieye.errors import Unprocessable
from aieye.prompts.substitution import variables

MAX_BODY_CHARACTERS: Final = 1 << 18
MAX_PARAMS_BYTES: Final = 64 * 1024

# What a prompt decides elsewhere, or what the call itself decides.
_KEPT: Final = {
    "model": "is a field of the prompt itself",
    "messages": "are made of the prompt's body and `system`",
    "response_format": "is said by `json_mode` and `schema`",
    "stream": "is decided by who calls",
    "stream_options": "is decided by who calls",
    "n": "is 1: a prompt has one answer",
    "cache": "is decided by who calls",
}


# Parameters of a chat. Others are passed on too, since providers have their own, but not one that is
# almost one of these.
_PARAMS: Final = (
    *("audio", "frequency_penalty", "functions", "function_call", "logit_bias", "logprobs"),
    *("max_completion_tokens", "max_tokens", "metadata", "min_tokens", "modalities"),
    *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "reasoning"),
    *("reasoning_effort", "repetition_penalty", "safety_identifier", "seed", "service_tier"),
    *("stop", "store", "system", "temperature", "tool_choice", "tools", "top_logprobs", "top_p"),
    *("user", "verbosity", "web_search_options"),
)
_ALIKE: Final = 0.85
_SHORTEST_MISSPELT: Final = 5
_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


@dataclass(frozen=True, slots=True)
class Content:
    """One version of a prompt.

    `params` go to the model as they are, but for `system`, the text of the first message. `schema`
    is a JSON schema; with it, or in `json_mode`, the answer is JSON.
    """

    body: str
    model: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json_mode: bool = False
    schema: Mapping[str, Any] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        return variables(self.body)


def check_content(content: Content) -> Content:
    """The content, which should be one that can be stored and sent. Raises `Unprocessable`."""
    check_text(content.body, longest=MAX_BODY_CHARACTERS, param="body")
    if not content.body.strip():
        raise Unprocessable("body should not be empty.", param="body")
    _check_model(content.model)
    _check_params(content.params)
    if content.schema is not None:
        _check_size(content.schema, "schema")
        _check_type(content.schema)
    return content


def _check_model(model: str) -> None:
    for kind in ("pipeline", "preset"):
        if model.startswith(f"{kind}/"):
            raise Unprocessable(
                f"model: a prompt asks a model, and {model[:100]} is none. Call the {kind} as a step "
                "of a pipeline.",
                param="model",
            )


def _check_type(schema: Mapping[str, Any]) -> None:
    """A schema's own type, which is all that can be told apart from a provider's extensions."""
    # OpenAI takes a schema under a name, or bare.
    inner = schema.get("schema")
    type_ = (inner if isinstance(inner, dict) else schema).get("type")
    types = type_ if isinstance(type_, list) else [type_]
    if type_ is not None and not (types and all(one in _TYPES for one in types)):
        raise Unprocessable(
            f"schema: `type` should be one of {', '.join(_TYPES)}, or a list of them.",
            param="schema",
        )


def _check_params(params: Mapping[str, Any]) -> None:
    for name, reason in _KEPT.items():
        if name in params:
            raise Unprocessable(f"params: `{name}` {reason}.", param="params")
    for name in params:
        close = get_close_matches(name, _PARAMS, 1, _ALIKE)
        if close and name not in _PARAMS and len(name) >= _SHORTEST_MISSPELT:
            raise Unprocessable(
                f"params: `{name[:100]}` is no parameter of a chat; did you mean `{close[0]}`?",
                param="params",
            )
    _check_number(params, "temperature", 0, 2, whole=False)
    _check_number(params, "max_tokens", 1, 2**31 - 1, whole=True)
    system = params.get("system")
    if system is not None and not isinstance(system, str):
        raise Unprocessable("params: `system` should be text.", param="params")
    _check_size(params, "params")


def _check_number(
    params: Mapping[str, Any], name: str, least: int, most: int, *, whole: bool
) -> None:
    value = params.get(name)
    is_number = type(value) is int or (type(value) is float and not whole)
    if value is not None and not (is_number and least <= value <= most):
        kind = "a whole number" if whole else "a number"
        raise Unprocessable(
            f"{name} should be {kind} from {least} to {most:,}.", param=f"params.{name}"
        )


def _check_size(value: Mapping[str, Any], param: str) -> None:
    try:
        size = len(orjson.dumps(dict(value)))
    except (TypeError, RecursionError) as error:
        # Numbers beyond 64 bits, halves of surrogate pairs, hundreds of levels.
        raise Unprocessable(f"{param} holds a value that cannot be stored.", param=param) from error
    if size > MAX_PARAMS_BYTES:
        raise Unprocessable(f"{param} has {MAX_PARAMS_BYTES:,} bytes at most.", param=param)
