"""Arguments as fields of a form, and back."""

from __future__ import annotations

import re

from aieye.pipeline.checking import check
from aieye.pipeline.language.catalogue import Parameter
from aieye.ui.calling import curl_of, sdk_of
from aieye.ui.fields import Fields
from aieye.ui.run_arguments import fields_of, read_arguments, typed_of

NAMES = re.compile(r"param (\w+)")


def parameters(header: str) -> list[Parameter]:
    analysis = check(f"{header} {{{', '.join(f'{n}: {n}' for n in NAMES.findall(header))}}}", {})
    assert analysis.analysis is not None
    return list(analysis.analysis.arguments)


def read(header: str, **typed: str) -> tuple[dict[str, object], list[str], list[str]]:
    values = {key.replace("_", "-", 1): [value] for key, value in typed.items()}
    given = read_arguments(parameters(header), Fields(values))
    return dict(given.values), sorted(given.errors), list(given.missing)


def test_text_goes_as_it_was_typed_and_the_run_converts_it() -> None:
    assert read("param a: str; param b: int;", arg_a=" x ", arg_b="7")[0] == {"a": " x ", "b": "7"}


def test_what_the_run_could_not_convert_is_told_under_its_field() -> None:
    assert read("param a: int; param b: bool;", arg_a="many", arg_b="true")[1] == ["a"]
    assert read("param a: list[int];", arg_a="[1, ")[1] == ["a"]
    assert read("param a: list[int];", arg_a='["x"]')[1] == ["a"]
    assert read("param a: list[int];", arg_a="[1, 2]")[1] == []


def test_a_needed_text_that_is_empty_is_remarked() -> None:
    given = read_arguments(
        parameters('param a: str; param b; param c: str = ""; param d: int = 1;'),
        Fields({"arg-a": [" "], "arg-b": [""], "arg-c": [""]}),
    )
    assert given.remark == "Asked with nothing for a, b."


def test_what_takes_anything_is_text_or_json_as_the_box_says() -> None:
    assert read("param a;", arg_a="[1]")[0] == {"a": "[1]"}
    assert read("param a;", arg_a="[1]", json_a="on")[0] == {"a": [1]}
    assert read("param a;", arg_a="[1", json_a="on")[1] == ["a"]


def test_an_empty_field_is_empty_text_null_left_out_or_missing_by_its_type() -> None:
    assert read("param a: str;", arg_a="") == ({"a": ""}, [], [])
    assert read("param a: int;", arg_a="") == ({}, [], ["a"])
    assert read("param a: int?;", arg_a="") == ({"a": None}, [], [])
    assert read("param a: int = 3;", arg_a="") == ({}, [], [])
    assert read('param a: str = "x";', arg_a="") == ({"a": ""}, [], [])


def test_fields_hold_the_defaults_and_then_what_was_typed() -> None:
    (field,) = fields_of(parameters("param a: int = 3;"))
    assert (field.value, field.is_required, field.input) == ("3", False, "number")
    (field,) = fields_of(parameters("param a: int = 3;"), {"arg-a": "4"}, {"a": "no"})
    assert (field.value, field.error) == ("4", "no")


def test_the_values_of_a_run_are_typed_again_as_they_were() -> None:
    given = parameters("param a; param b: str; param c: list[str];")
    values = {"a": [1], "b": "x", "c": ["y"]}
    typed = typed_of(given, values)
    again = read_arguments(given, Fields({key: [value] for key, value in typed.items()}))
    assert again.values == {"a": [1], "b": "x", "c": '["y"]'}


def test_lines_to_copy_quote_what_a_shell_would_take_apart() -> None:
    given = [Parameter("a", None, is_required=False, default="it's"), Parameter("b")]
    assert "it'\\''s" in curl_of("http://x", 1, given)
    assert 'metadata={"b": "a b"}' in sdk_of("http://x", "f", given)
