"""Section 4: the table of conversions, and what selectors read."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.nodes import Access, Index
from aieye.pipeline.language.parser import parse_type
from aieye.pipeline.language.values import (
    Json,
    NoSuchItem,
    Unconvertible,
    convert,
    select,
    text_of,
)
from tests.unit.pipeline.pipelines import result

FENCED = '```json\n{"a": [1]}\n```'


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("str", "x", "x"),
        ("str", 12, "12"),
        ("str", -(2**63), "-9223372036854775808"),
        ("str", 1.0, "1.0"),
        ("str", 1e16, "1e+16"),
        ("str", True, "true"),
        ("str", False, "false"),
        ("str", None, "null"),
        ("str", [1, "é"], '[1, "é"]'),
        ("str", {"b": 1, "a": None}, '{"b": 1, "a": null}'),
        ("int", "12", 12),
        ("int", " +12\n", 12),
        ("int", "-007", -7),
        ("int", "9" * 18, 10**18 - 1),
        ("int", 5, 5),
        ("int", 5.0, 5),
        ("float", "1", 1.0),
        ("float", " 1.5e3 ", 1500.0),
        ("float", 2, 2.0),
        ("float", 2.5, 2.5),
        ("bool", "true", True),
        ("bool", " YES ", True),
        ("bool", "1", True),
        ("bool", "False", False),
        ("bool", "no", False),
        ("bool", "0", False),
        ("bool", True, True),
        ("list", "[1, null]", [1, None]),
        ("list", [1], [1]),
        ("list[int]", "[1]", [1]),
        ("list[float]", [1, 2.5], [1, 2.5]),
        ("list[int?]", [1, None], [1, None]),
        ("list[any]", [1, None, "x"], [1, None, "x"]),
        ("list[list[str]]", [["a"], []], [["a"], []]),
        ("dict", FENCED, {"a": [1]}),
        ("dict[str, list[int]]", FENCED, {"a": [1]}),
        ("dict[str, bool]", {"a": True}, {"a": True}),
        ("Invoice", '{"total": 1}', {"total": 1}),
        ("Invoice", [1], [1]),
        ("any", None, None),
        ("any", "1", "1"),
        ("int?", None, None),
        ("int?", "3", 3),
        ("str?", None, None),
    ],
)
def test_a_value_becomes_what_the_parameter_says(type_: str, value: Json, expected: Json) -> None:
    converted = convert(value, parse_type(type_))
    assert converted == expected
    assert type(converted) is type(expected)


def wrong(type_: str, *values: Json) -> list[tuple[str, Json]]:
    return [(type_, value) for value in values]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        *wrong("int", True, None, [], {}, 1.5, "", "1.0", "1e3", "0x1", "9" * 19),
        *wrong("int", "١", "1_0", "+ 1", "--1", 1e400),
        *wrong("float", True, None, [], {}, "", "1.", ".5", "+1", "nan", "1e999"),
        ("float", 10**400),
        *wrong("bool", 1, 0, 1.0, None, [], {}, "", "y", "on", "truex"),
        *wrong("list", 1, 1.0, True, None, {}, "x", "{}", "1", "[1", "[NaN]"),
        *wrong("dict", 1, None, [], "[]", "null", "```\n{}", "{'a': 1}"),
        ("list[int]", ["1"]),
        ("list[int]", [True]),
        ("list[int]", [1.0]),
        ("list[int]", [None]),
        ("list[str]", [1]),
        ("list[bool]", [1]),
        ("list[float]", ["1"]),
        ("list[list]", [{}]),
        ("list[dict]", [[]]),
        ("list[Invoice]", [1]),
        ("dict[str, int]", {"a": "1"}),
        ("list", "[" * 100_000),
        ("int", 1e300),
        ("Invoice", 1),
    ],
)
def test_what_is_not_in_the_table_is_not_converted(type_: str, value: Json) -> None:
    with pytest.raises(Unconvertible):
        convert(value, parse_type(type_))


def test_an_integer_that_python_does_not_write_is_no_text() -> None:
    with pytest.raises(Unconvertible):
        convert(10**5_000, parse_type("str"))


def test_without_a_type_the_value_is_unchanged() -> None:
    value: Json = {"a": "1"}
    assert convert(value, None) is value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["a"], "a list cannot become list[int]: what it holds is not converted"),
        ('["a"]', "this text cannot become list[int]: what it holds is not converted"),
        ({"a": 1}, "a mapping cannot become list[int]"),
        (5, "an int cannot become list[int]"),
        ("a", "the text is not JSON"),
    ],
)
def test_a_list_of_other_things_is_told_so(value: Json, said: str) -> None:
    with pytest.raises(Unconvertible) as refused:
        convert(value, parse_type("list[int]"))
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (r'"\ud800"', ": half a surrogate pair is no text"),
        (r'{"\udc00": 1}', ": half a surrogate pair is no text"),
        ("1e999", ": a number is too large"),
        ("-1e999", ": a number is too large"),
        (str(2**64), ": an integer has more than 64 bits"),
        (str(-(2**63) - 1), ": an integer has more than 64 bits"),
        ("NaN", ""),
        ("Infinity", ""),
    ],
)
def test_what_no_other_program_reads_back_as_it_is_is_no_json(item: str, reason: str) -> None:
    with pytest.raises(Unconvertible) as unconvertible:
        convert(f"[{item}]", parse_type("list"))
    with pytest.raises(NoSuchItem) as unreadable:
        select(f"[{item}]", [Index(0)])
    assert str(unconvertible.value) == str(unreadable.value) == f"the text is not JSON{reason}"


def test_long_numbers_are_read_as_they_are_written() -> None:
    numbers: list[Json] = [2**64 - 1, -(2**63), 12345678901234567890.5, 0.1234567890123456789]
    text = (
        "18446744073709551615, -9223372036854775808, 12345678901234567890.5, 0.1234567890123456789"
    )
    assert convert(f"[{text}]", parse_type("list")) == numbers


@pytest.mark.parametrize(
    "text", ["```\n[1]\n```", "```json\r\n[1]```", " \n```JSON \n [1] \n``` \n"]
)
def test_one_surrounding_code_fence_is_removed(text: str) -> None:
    assert convert(text, parse_type("list")) == [1]


@pytest.mark.parametrize(
    "text", ["```[1]```", "x\n```\n[1]\n```", "```\n```\n[1]\n```\n```", "```"]
)
def test_any_other_fence_is_no_json(text: str) -> None:
    with pytest.raises(Unconvertible):
        convert(text, parse_type("list"))


def test_the_value_of_a_pipeline_becomes_text_as_any_other() -> None:
    assert text_of(None) == "null"
    assert text_of({"é": [True, 0.1]}) == '{"é": [true, 0.1]}'


@pytest.mark.parametrize(
    ("value", "chain", "expected"),
    [
        ({"a": {"b": 1}}, "x.a.b", 1),
        ([1, 2, 3], "x[0]", 1),
        ([1, 2, 3], "x[-1]", 3),
        ({"a b": None}, 'x["a b"]', None),
        ('{"a": "[5]"}', "x.a[0]", 5),
        (FENCED, "x.a[0]", 1),
        ({"items": 1, "keys": 2}, "x.items", 1),
    ],
)
def test_selectors_read_keys_and_items_of_json(value: Json, chain: str, expected: Json) -> None:
    access = result(chain)
    assert isinstance(access, Access)
    assert select(value, access.selectors) == expected


@pytest.mark.parametrize(
    ("value", "chain", "failing"),
    [
        ({"a": 1}, "x.b", ".b"),
        ({"a": {}}, "x.a.b.c", ".b"),
        ({"a": 1}, "x[0]", "[0]"),
        ([1], "x[1]", "[1]"),
        ([1], "x[-2]", "[-2]"),
        ([1], "x.a", ".a"),
        ([1], 'x["0"]', '["0"]'),
        ("no json", "x.a", ".a"),
        ("text", "x.__class__", ".__class__"),
        ({}, "x.__class__", ".__class__"),
        ({}, "x.items", ".items"),
        (None, "x.a", ".a"),
        (1, "x[0]", "[0]"),
        (True, "x.real", ".real"),
        ('"ab"', "x[0]", "[0]"),
    ],
)
def test_what_is_not_there_is_named_by_its_selector(value: Json, chain: str, failing: str) -> None:
    access = result(chain)
    assert isinstance(access, Access)
    with pytest.raises(NoSuchItem) as caught:
        select(value, access.selectors)
    selector = caught.value.selector
    assert chain[selector.start : selector.end] == failing
