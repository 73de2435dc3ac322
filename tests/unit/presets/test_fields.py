"""The fields of presets: every one with its default and a value that is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.presets.fields import TYPES, InvalidPreset, PresetType, validate

TEXTS = "text, or a list of"
NUMBER = "a number from"
WHOLE = "a whole number from"
LINE = "a line of 1 to 200 characters"
_TEXT: tuple[Any, ...] = (5, True, {}, ["a", 1], ["a", None])
_NUMBERS: tuple[Any, ...] = ("1", True, [], 2.01, -2.01, 1e308, 10**30)
_SHARES: tuple[Any, ...] = ("1", True, 1.01, -0.01)
_WHOLE: tuple[Any, ...] = (-1, 1.5, 16.0, "16", True, 10_000_001, 10**30)
_LINES: tuple[Any, ...] = ("", "  ", "a\nb", "x" * 201, 5, None, ["davinci"], "a\0")
_STOPS: tuple[Any, ...] = (["a"] * 5, [""], [1], 5, {"a": 1})
_NAMES: tuple[Any, ...] = ("temperature", [""], [1], ["stream"], ["overridable"], ["x"] * 101)

# Of each field: values that are refused, and what the refusal says is allowed.
REFUSED: dict[PresetType, dict[str, tuple[tuple[Any, ...], str]]] = {
    "completion": {
        "engine_id": (_LINES, LINE),
        "prompt": (
            (5, {}, True, ["a", [1]], [[1], "a"], [[1], []], [[-1]], [["a"]], [[True]], [1, 2]),
            "text, a list of texts, or a list of lists of tokens",
        ),
        "max_tokens": (_WHOLE, f"{WHOLE} 0 to 10,000,000"),
        "temperature": ((*_NUMBERS, -0.1), f"{NUMBER} 0 to 2"),
        "top_p": (_SHARES, f"{NUMBER} 0 to 1"),
        "frequency_penalty": (_NUMBERS, f"{NUMBER} -2 to 2"),
        "presence_penalty": (_NUMBERS, f"{NUMBER} -2 to 2"),
        "best_of": ((0, 21, 1.0, "1", True), f"{WHOLE} 1 to 20"),
        "logprobs": ((-1, 101, "5", True), f"{WHOLE} 0 to 100"),
        "echo": ((0, 1, "true", []), "true or false"),
        "stop": (_STOPS, f"{TEXTS} at most 4 texts"),
        "injectStart": (_TEXT, TEXTS),
        "injectRestart": (_TEXT, TEXTS),
        "overridable": ((*_NAMES, ["n"], ["engine_id"], ["prompt"], ["injectStart"]), ""),
    },
    "search": {
        "engine_id": (_LINES, LINE),
        "documents": (
            ("text", [""], [" \n"], [5], ["a", None], ["x"] * 201, ["x" * 100_001], {"a": 1}),
            "a list of at most 200 texts",
        ),
    },
    "chat": {
        "model": (_LINES, LINE),
        "messages": (
            ("Hello", ["Hello"], [{}], [{"role": 5}], {"role": "user"}),
            "a list of messages",
        ),
        "temperature": ((*_NUMBERS, -0.1), f"{NUMBER} 0 to 2"),
        "top_p": (_SHARES, f"{NUMBER} 0 to 1"),
        "max_tokens": ((0, *_WHOLE), f"{WHOLE} 1 to 10,000,000"),
        "max_completion_tokens": ((0, *_WHOLE), f"{WHOLE} 1 to 10,000,000"),
        "frequency_penalty": (_NUMBERS, f"{NUMBER} -2 to 2"),
        "presence_penalty": (_NUMBERS, f"{NUMBER} -2 to 2"),
        "stop": (_STOPS, f"{TEXTS} at most 4 texts"),
        "response_format": (("json", [], 5), "an object"),
        "tools": ((["x"], {}, "x"), "a list of objects"),
        "overridable": (_NAMES, ""),
    },
    "embeddings": {
        "model": (_LINES, LINE),
        "dimensions": ((0, 100_001, 1.5, "256", True), f"{WHOLE} 1 to 100,000"),
        "encoding_format": (("hex", 5, ["float"], {}), "`float` or `base64`"),
        "overridable": (_NAMES, ""),
    },
}
LEAST: dict[PresetType, dict[str, Any]] = {
    "completion": {"engine_id": "davinci"},
    "search": {"engine_id": "ada"},
    "chat": {"model": "gpt-4o-mini"},
    "embeddings": {"model": "text-embedding-3-small"},
}
CASES = [
    (type_, name, value, said)
    for type_, fields in REFUSED.items()
    for name, (values, said) in fields.items()
    for value in values
]


def test_every_field_of_every_type_is_here() -> None:
    assert {type_: set(fields) for type_, fields in REFUSED.items()} == {
        type_: set(known.fields) for type_, known in TYPES.items()
    }


@pytest.mark.parametrize(
    ("type_", "name", "value", "said"), CASES, ids=[f"{type_}-{name}" for type_, name, *_ in CASES]
)
def test_a_refusal_names_the_field_and_says_what_is_allowed(
    type_: PresetType, name: str, value: Any, said: str
) -> None:
    with pytest.raises(InvalidPreset) as refused:
        validate(type_, {**LEAST[type_], name: value})
    assert refused.value.param == f"config.{name}"
    assert refused.value.message.startswith(name)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("type_", "name", "said"),
    [
        ("completion", "engine_id", "there are max_tokens, temperature, "),
        ("completion", "prompt", "there are max_tokens, temperature, "),
        ("chat", "messages", "tools, and others that the model knows."),
        ("embeddings", "model", "there are dimensions, encoding_format, and others"),
    ],
)
def test_what_no_caller_can_override_is_not_listed_and_what_may_be_is_named(
    type_: PresetType, name: str, said: str
) -> None:
    with pytest.raises(InvalidPreset, match=f"'{name}' is no field to override") as refused:
        validate(type_, {**LEAST[type_], "overridable": [name]})
    assert said in refused.value.message


@pytest.mark.parametrize("type_", LEAST)
def test_a_null_is_as_good_as_nothing(type_: PresetType) -> None:
    nulls = dict.fromkeys(TYPES[type_].fields)
    assert validate(type_, {**nulls, **LEAST[type_]}) == validate(type_, LEAST[type_])


@pytest.mark.parametrize("type_", LEAST)
def test_a_callers_field_is_none_of_a_presets(type_: PresetType) -> None:
    for name in ("stream", "stream_options", "cache"):
        with pytest.raises(InvalidPreset, match=name) as refused:
            validate(type_, {**LEAST[type_], name: True})
        assert refused.value.param == f"config.{name}"
    others: tuple[Any, ...] = (None, [], "x", 5)
    for wrong in others:
        with pytest.raises(InvalidPreset, match="config should be an object"):
            validate(type_, wrong)


def test_a_field_that_is_unknown_is_refused_or_goes_to_the_model_by_the_type() -> None:
    for type_ in ("completion", "search"):
        with pytest.raises(InvalidPreset, match="'n' is no field of a"):
            validate(type_, {"engine_id": "ada", "n": 2})
    assert validate("chat", {"model": "m", "seed": 7})["seed"] == 7
    assert validate("embeddings", {"model": "m", "input_type": "query"})["input_type"] == "query"
    with pytest.raises(InvalidPreset, match="input"):
        validate("embeddings", {"model": "m", "input": "x"})


def test_what_could_not_be_stored_is_refused() -> None:
    deep: Any = []
    for _ in range(2_000):
        deep = [deep]
    for value in (2**70, "\ud800", deep, "x" * (256 * 1024)):
        with pytest.raises(InvalidPreset):
            validate("chat", {"model": "m", "extra": value})


@given(st.dictionaries(st.text(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8,
)))  # fmt: skip
def test_any_configuration_is_refused_or_can_be_stored_and_checked_again(
    config: dict[str, Any],
) -> None:
    for type_, least in LEAST.items():
        try:
            found = validate(type_, {**config, **least})
        except InvalidPreset:
            continue
        assert validate(type_, orjson.loads(orjson.dumps(found))) is not None


def test_the_documentation_has_every_field_with_what_is_allowed_and_its_default() -> None:
    text = (Path(__file__).parents[3] / "docs" / "presets.md").read_text()
    for type_, known in TYPES.items():
        part = text.partition(f"\n### {type_}\n")[2].partition("\n#")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", part, re.MULTILINE)
        shown = {name: (allowed, default.strip("`")) for name, allowed, default in rows}
        assert shown == {
            field.name: (
                field.allowed,
                "required" if field.is_required
                else "none" if field.default is ... else orjson.dumps(field.default).decode(),
            )
            for field in known.fields.values()
        }  # fmt: skip
