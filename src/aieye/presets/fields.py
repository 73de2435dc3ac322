"""The fields of each type of preset: what they are called, hold and default to. Pure.

`TYPES` is also what the forms of pages and the documents show. A completion's and a search's fields
are those of the GPT3 Proxy; a chat's and an embedding's are the model and whatever its API knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import orjson

from aieye.errors import Unprocessable
from aieye.presets import checks
from aieye.presets.checks import Refused

PresetType = Literal["completion", "search", "chat", "embeddings"]

MOST_CONFIG_BYTES: Final = 256 * 1024
"""Of a configuration without its documents."""
MOST_DOCUMENTS: Final = 200
"""That a configuration itself may hold; more are given as a file."""
OVERRIDABLE: Final = "overridable"
"""The field that names the fields which a caller may override."""


class InvalidPreset(Unprocessable):
    """A configuration breaks a rule; `param` is the field, with `config.` in front."""

    code = "invalid_preset"


@dataclass(frozen=True, slots=True)
class Field:
    """A field. `kind` says what a form shows: `text`, `long text`, `number`, `integer`, `boolean`,
    `texts`, `prompt`, `messages` or `json`. A default of `...` is none: the field may be absent."""

    name: str
    kind: str
    allowed: str
    help: str
    check: Callable[[Any], Any]
    default: Any = ...
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Type:
    """A type of preset. `refused` are fields that it may not have, each with the reason; `is_open`:
    fields that are not listed go to the model as they are. `fixed` are those that no caller can
    override: they are what the preset is, or what the caller says in other words."""

    fields: Mapping[str, Field]
    is_open: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    fixed: Collection[str] = ()

    @property
    def overridable(self) -> Collection[str]:
        """The listed fields that a caller may be let override."""
        return [name for name in self.fields if name not in self.fixed]


def _number(name: str, low: float, high: float, help_: str, default: Any = ...) -> Field:
    allowed = f"a number from {low:g} to {high:g}"
    return Field(name, "number", allowed, help_, checks.number(low, high), default)


def _integer(name: str, low: int, high: int, help_: str, default: Any = ...) -> Field:
    allowed = f"a whole number from {low} to {high:,}"
    return Field(name, "integer", allowed, help_, checks.integer(low, high), default)


def _model(name: str, help_: str) -> Field:
    allowed = "a line of 1 to 200 characters"
    return Field(name, "text", allowed, help_, checks.label, is_required=True)


def _inject(name: str, help_: str) -> Field:
    allowed = "text, or a list of texts that are joined"
    return Field(name, "long text", allowed, help_, checks.text_or_texts, "")


_STOP: Final = Field(
    "stop", "texts", "text, or a list of at most 4 texts",
    "Where the model stops; what stands there is not part of the answer.",
    checks.stop, [],
)  # fmt: skip
_OVERRIDABLE: Final = Field(
    OVERRIDABLE, "texts", "a list of names of fields",
    "What a caller of the preset may say differently; without it, the usual fields.",
    checks.names,
)  # fmt: skip
_MOST_TOKENS: Final = 10_000_000

_COMPLETION: Final = (
    _model("engine_id", "The model that completes the text; its name, or an alias."),
    Field(
        "prompt", "prompt", "text, a list of texts, or a list of lists of tokens",
        "What stands before the caller's text. Without it the caller sends one.", checks.prompt,
    ),
    _integer("max_tokens", 0, _MOST_TOKENS, "The most tokens that are generated.", 16),
    _number("temperature", 0, 2, "How much chance plays a part: 0 is none.", 1),
    _number("top_p", 0, 1, "Only the likeliest tokens that make up this share are drawn from.", 1),
    _number("frequency_penalty", -2, 2, "Makes repeating a token less likely, the more often.", 0),
    _number("presence_penalty", -2, 2, "Makes tokens less likely that occurred at all.", 0),
    _integer("best_of", 1, 20, "How many completions are made, of which the best is given.", 1),
    _integer("logprobs", 0, 100, "Of how many of the likeliest tokens the odds are told.", None),
    Field("echo", "boolean", "true or false", "Whether the prompt is given back in front.",
          checks.boolean, default=False),
    _STOP,
    _inject("injectStart", "Stands behind the caller's text."),
    _inject("injectRestart", "Stands behind the completion that the caller gets."),
    _OVERRIDABLE,
)  # fmt: skip
_SEARCH: Final = (
    _model("engine_id", "The model that embeds the texts; its name, or an alias."),
    Field(
        "documents", "texts", f"a list of at most {MOST_DOCUMENTS} texts",
        "What is searched. Without any the caller sends them.", checks.documents(MOST_DOCUMENTS),
        [],
    ),
)  # fmt: skip
_CHAT: Final = (
    _model("model", "The model that answers; its name, or an alias."),
    Field("messages", "messages", "a list of messages, each an object with a role",
          "What stands before the caller's text, which is the last message.", checks.messages),
    _number("temperature", 0, 2, "How much chance plays a part: 0 is none."),
    _number("top_p", 0, 1, "Only the likeliest tokens that make up this share are drawn from."),
    _integer("max_tokens", 1, _MOST_TOKENS, "The most tokens that are generated."),
    _integer("max_completion_tokens", 1, _MOST_TOKENS, "The same, as newer models call it."),
    _number("frequency_penalty", -2, 2, "Makes repeating a token less likely, the more often."),
    _number("presence_penalty", -2, 2, "Makes tokens less likely that occurred at all."),
    Field("stop", "texts", _STOP.allowed, _STOP.help, checks.stop),
    Field("response_format", "json", "an object", "In which form the model answers.",
          checks.json_object),
    Field("tools", "json", "a list of objects", "What the model may ask to be called.",
          checks.objects),
    _OVERRIDABLE,
)  # fmt: skip
_EMBEDDINGS: Final = (
    _model("model", "The model that embeds the text; its name, or an alias."),
    _integer("dimensions", 1, 100_000, "How many numbers a vector has."),
    Field("encoding_format", "text", "`float` or `base64`", "How vectors are written.",
          checks.one_of("float", "base64")),
    _OVERRIDABLE,
)  # fmt: skip

_CALLERS: Final = {
    "stream": "is decided by who calls",
    "stream_options": "is decided by who calls",
    "cache": "is decided by who calls",
}


def _type(fields: tuple[Field, ...], **more: Any) -> Type:
    return Type(MappingProxyType({one.name: one for one in fields}), **more)


TYPES: Final[Mapping[PresetType, Type]] = MappingProxyType(
    {
        "completion": _type(
            _COMPLETION,
            refused=_CALLERS,
            fixed=("engine_id", "prompt", "injectStart", "injectRestart", OVERRIDABLE),
        ),
        "search": _type(_SEARCH, refused=_CALLERS),
        "chat": _type(
            _CHAT, is_open=True, refused=_CALLERS, fixed=("model", "messages", OVERRIDABLE)
        ),
        "embeddings": _type(
            _EMBEDDINGS,
            is_open=True,
            refused={**_CALLERS, "input": "is what the caller sends"},
            fixed=("model", OVERRIDABLE),
        ),
    }
)


def validate(type_: PresetType, config: object) -> dict[str, Any]:
    """The configuration with its defaults filled in; a null is as good as nothing.

    Raises `InvalidPreset`, which names the field and says what is allowed.
    """
    if not isinstance(config, Mapping):
        raise InvalidPreset("config should be an object.", param="config")
    known = TYPES[type_]
    for name in config:
        if name in known.refused:
            raise _invalid(name, f"{checks.shown(name)} {known.refused[name]}.")
        if name not in known.fields and not known.is_open:
            raise _invalid(
                name,
                f"{checks.shown(name)} is no field of a {type_} preset, which has: "
                f"{', '.join(known.fields)}.",
            )
    # What is not listed stays as it came, before what is.
    found = {name: value for name, value in config.items() if name not in known.fields}
    for one in known.fields.values():
        value = _value(one, config.get(one.name))
        if value is not ...:
            found[one.name] = value
    _check_overridable(found.get(OVERRIDABLE), type_)
    _check_size(found)
    return found


def _value(one: Field, given: object) -> Any:
    if given is None:
        if one.is_required:
            raise _invalid(one.name, f"{one.name} is required: {one.allowed}.")
        return list(one.default) if isinstance(one.default, list) else one.default
    try:
        return one.check(given)
    except Refused as error:
        more = f" ({error})" if str(error) else ""
        raise _invalid(one.name, f"{one.name} should be {one.allowed}{more}.") from error


def _check_overridable(names: list[str] | None, type_: PresetType) -> None:
    known = TYPES[type_]
    for name in names or ():
        is_one = known.is_open or name in known.fields
        if not is_one or name in known.fixed or name in known.refused:
            more = ", and others that the model knows" if known.is_open else ""
            raise _invalid(
                OVERRIDABLE,
                f"{OVERRIDABLE}: {checks.shown(name)} is no field to override; there are "
                f"{', '.join(known.overridable)}{more}.",
            )


def _check_size(config: Mapping[str, Any]) -> None:
    rest = {name: value for name, value in config.items() if name != "documents"}
    try:
        size = len(orjson.dumps(rest))
    except (TypeError, RecursionError) as error:
        # Numbers beyond 64 bits, halves of surrogate pairs, hundreds of levels.
        raise InvalidPreset(
            "config holds a value that cannot be stored.", param="config"
        ) from error
    if size > MOST_CONFIG_BYTES:
        raise InvalidPreset(
            f"config has {MOST_CONFIG_BYTES:,} bytes at most without its documents.", param="config"
        )


def _invalid(name: str, message: str) -> InvalidPreset:
    return InvalidPreset(message, param=f"config.{name[:100]}")
