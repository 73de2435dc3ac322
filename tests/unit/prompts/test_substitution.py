"""Values go into a prompt in one pass, and nothing else in it means anything."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aieye.prompts.substitution import (
    MAX_RENDERED_CHARACTERS,
    MissingValue,
    RenderedTooLarge,
    loose_braces,
    substitute,
    variables,
)

VALUES = {"x": "<x>", "y": "<y>", "buddy": "Ada"}

# What Python's formats, Jinja and the shell would understand.
HOSTILE = [
    "{x.__class__}",
    "{x.__class__.__mro__}",
    "{x.__init__.__globals__[settings]}",
    "{x[0]}",
    "{x!r}",
    "{x:>10000000000}",
    "{x:{y}}",
    "{0}",
    "{}",
    "{ x }",
    "{x }",
    "{x,y}",
    "{x-y}",
    "{1x}",
    "{é}",
    "{x\n}",
    "{X Y}",
    "${x.y}",
    "{% x %}",
    "{# x #}",
    "%(x)s",
    "$x",
    "{true}",
    "{null}",
    "{false}",
    "{" + "n" * 101 + "}",
    "{",
    "}",
    "}{",
    "{x",
    "x}",
]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Hey {buddy}", "Hey Ada"),
        ("{x}{y}{x}", "<x><y><x>"),
        ("no variables", "no variables"),
        ("", ""),
        # doubled braces
        ("{{x}}", "{x}"),
        ("{{{x}}}", "{<x>}"),
        ("{{ {x} }}", "{ <x> }"),
        ("{{{{x}}}}", "{{x}}"),
        ("{{x", "{x"),
        ("{{x}", "{x}"),
        ("x}}", "x}}"),
        ("{{x}} }}", "{x} }}"),
        ("}}{{", "}}{"),
        ("{{7*7}}", "{7*7}"),
        # JSON keeps its braces
        ('{"a": {"b": {}}}', '{"a": {"b": {}}}'),
        ('{"a": "{x}", "b": {"c": {y}}}', '{"a": "<x>", "b": {"c": <y>}}'),
        ('{{"a": {"b": {x}}}}', '{"a": {"b": <x>}}'),
        ("[{},{}]", "[{},{}]"),
    ],
)
def test_a_prompt_with_its_values(body: str, expected: str) -> None:
    assert substitute(body, VALUES) == expected


@pytest.mark.parametrize("text", HOSTILE)
def test_anything_but_a_name_in_braces_stays_as_it_is(text: str) -> None:
    inner = {"{x:{y}}": "{x:<y>}"}.get(text, text)
    assert substitute(text, VALUES) == inner
    assert substitute(f"a {text} b", VALUES) == f"a {inner} b"


@pytest.mark.parametrize("value", ["{y}", "{{y}}", "{x}", "{x.__class__}", "}}", "{{", "{"])
def test_values_are_never_looked_at_again(value: str) -> None:
    assert substitute("a {x} b {{c}}", {"x": value, "y": "no"}) == f"a {value} b {{c}}"


def test_variables_come_in_order_of_first_appearance_and_once() -> None:
    assert variables("{b} {a} {b} {_c1} {{d}} {e.f} {G}") == ("b", "a", "_c1", "G")
    assert variables("{" + "n" * 100 + "}") == ("n" * 100,)
    assert variables('{"a": 1}') == ()


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "{x:{y}}"])
def test_what_is_no_name_is_no_variable(text: str) -> None:
    assert variables(text) == ()


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(MissingValue, match="'z'") as caught:
        substitute("{x} {z}", VALUES)
    assert (caught.value.status, caught.value.param) == (400, "z")


def test_values_that_are_not_asked_for_are_ignored() -> None:
    assert substitute("{x}", VALUES) == "<x>"


def test_a_prompt_that_grows_too_large_is_refused_before_it_is_made() -> None:
    value = "v" * (MAX_RENDERED_CHARACTERS // 4)
    assert len(substitute("{x}" * 4, {"x": value})) == MAX_RENDERED_CHARACTERS
    with pytest.raises(RenderedTooLarge):
        substitute("{x}" * 4 + "!", {"x": value})
    with pytest.raises(RenderedTooLarge):
        substitute("{x}" * 20_000, {"x": value})


PIECES = st.sampled_from(["{x}", "{y}", "{{", "}}", "{", "}", "x", '"a": ', "{x.y}", "{x!r}", "\n"])
BODIES = st.lists(PIECES, max_size=20).map("".join)


@settings(deadline=None)
@given(BODIES, BODIES, BODIES)
def test_the_result_is_that_of_the_rule_read_letter_by_letter(body: str, x: str, y: str) -> None:
    assert substitute(body, {"x": x, "y": y}) == _reference(body, {"x": x, "y": y})


@settings(deadline=None)
@given(BODIES)
def test_what_is_substituted_is_what_are_variables(body: str) -> None:
    asked: list[str] = []

    class Asked(dict[str, str]):
        def __contains__(self, name: object) -> bool:
            asked.append(str(name))
            return True

        def __missing__(self, name: str) -> str:
            return ""

    substitute(body, Asked())
    assert tuple(dict.fromkeys(asked)) == variables(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(_JSON)
def test_json_in_a_prompt_stays_json(value: object) -> None:
    for written in (json.dumps(value), json.dumps(value, separators=(",", ":"))):
        assert substitute(written, {}) == written


def _reference(body: str, values: dict[str, str]) -> str:
    written, at, open_braces = "", 0, 0
    while at < len(body):
        name = re.match(r"\{([xy])\}", body[at:])
        if body.startswith("{{", at):
            written, at, open_braces = written + "{", at + 2, open_braces + 1
        elif name:
            written, at = written + values[name[1]], at + 3
        elif body.startswith("}}", at):
            written, at = written + ("}" if open_braces else "}}"), at + 2
            open_braces = max(0, open_braces - 1)
        else:
            written, at = written + body[at], at + 1
    return written


@pytest.mark.parametrize(
    ("body", "loose"),
    [
        ("Summarise in {lang}: {text", ["{text"]),
        ("Summarise text} now", ["text}"]),
        ("{ text } and {x.y}", ["{ text }", "{x.y}"]),
        ("{", ["{"]),
        ("a }}", ["}", "a }"]),
        ("{{text} now", ["text}"]),
        ("{a {x}", ["{a"]),
        ("{true}", ["{true}"]),
        ('{"a": {"b": 1}} of {x}', []),
        ('{{"a": {x}}} {{{y}}}', []),
        ("{1a {2a {3a {4a", ["{1a", "{2a", "{3a"]),
    ],
)
def test_braces_that_look_like_a_variable_and_are_text_are_told(
    body: str, loose: list[str]
) -> None:
    assert sorted(loose_braces(body)) == sorted(loose)
