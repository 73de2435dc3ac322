"""The built-in functions: what each gives, and that none is a burden to the server's loop."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aieye.functions.errors import FunctionFailed
from aieye.functions.loader import packaged_builtins
from aieye.functions.model import Function, Source
from aieye.functions.module import find_functions, load
from aieye.functions.running import run_inline, run_on_loop
from aieye.pipeline.language.values import convert

MANY = "x" * 2**20


@pytest.fixture(scope="module")
def builtins() -> Mapping[str, Function]:
    path = packaged_builtins()
    source = Source(path.name, str(path), path.read_bytes(), is_builtin=True)
    found, failures = find_functions(load(source), source)
    assert failures == []
    return {function.name: function for function in found}


def call(function: Function, *arguments: Any) -> Any:
    """As a pipeline does: each argument converted to its parameter's type."""
    given = {
        parameter.name: convert(argument, parameter.type)
        for parameter, argument in zip(function.parameters, arguments, strict=False)
    }
    return run_inline(function, given)


def test_the_package_brings_the_projects_own_file() -> None:
    assert packaged_builtins() == Path(__file__).parents[3] / "funcs" / "builtins.py"


def test_those_that_were_promised_are_there_and_described(
    builtins: Mapping[str, Function],
) -> None:
    promised = (
        "add subtract multiply divide uppercase lowercase append remove identity get_prompts prompt "
        "concat length split join sort unique to_str now template "
        "json_get json_keys json_merge json_parse json_dump regex_find regex_replace date_format"
    )
    assert set(promised.split()) <= set(builtins)
    assert "eval" not in builtins
    assert [name for name, function in builtins.items() if not function.doc] == []


def test_they_run_inline_but_for_what_could_take_for_ever(
    builtins: Mapping[str, Function],
) -> None:
    runs: dict[str, set[str]] = {}
    for name, function in builtins.items():
        runs.setdefault(function.runs, set()).add(name)
    assert runs["loop"] == {"get_prompts", "prompt"}
    assert runs["process"] == {name for name in builtins if name.startswith("regex_")}
    assert set(runs) == {"inline", "loop", "process"}


@pytest.mark.parametrize(
    "name, arguments, value",
    [
        ("identity", [[1]], [1]),
        # What the original's documentation and source show.
        ("add", ["1", "2"], 3),
        ("add", ["3", "2.0"], 5.0),
        ("add", ["hello", " world"], "hello world"),
        ("add", [[1], "[2]"], [1, 2]),
        ("divide", ["10", "2"], 5.0),
        ("append", ['["a"]', '"d"'], ["a", "d"]),
        ("sort", ['["c","a"]'], ["a", "c"]),
        ("length", ["hello"], 5),
        ("concat", ["hello", " world"], "hello world"),
        ("subtract", [5, "7"], -2),
        ("multiply", ["3", 4], 12),
        ("modulo", [7, 3], 1),
        ("absolute", ["-2.5"], 2.5),
        ("round_number", [2.567, 1], 2.6),
        ("round_number", ["2.6"], 3),
        ("minimum", ["[3, 1]"], 1),
        ("maximum", [[3, 1]], 3),
        ("total", [[1, 2.5]], 3.5),
        ("equals", ["1", 1], True),
        ("greater", ["10", 9], True),
        ("less", [1, 1], False),
        ("negate", ["false"], True),
        ("both", [True, False], False),
        ("either", [True, "no"], True),
        ("is_empty", [""], True),
        ("is_empty", ["[]"], True),
        ("is_empty", [None], True),
        ("is_empty", [0], False),
        ("contains", ["abc", "b"], True),
        ("contains", ["[1, 2]", 2], True),
        ("contains", [{"a": 1}, "a"], True),
        ("contains", ["123", "4"], False),
        ("uppercase", ["abc"], "ABC"),
        ("lowercase", ["ABC"], "abc"),
        ("capitalize", ["éa B"], "Éa B"),
        ("trim", [" a \n"], "a"),
        ("replace", ["a-b-c", "-", "+"], "a+b+c"),
        ("starts_with", ["abc", "ab"], True),
        ("ends_with", ["abc", "ab"], False),
        ("truncate", ["abcdef", 4], "abc…"),
        ("truncate", ["abc", 3], "abc"),
        ("truncate", ["abc", 0], ""),
        ("split", ["a,b", ","], ["a", "b"]),
        ("split", [" a  b "], ["a", "b"]),
        ("lines", ["a\r\nb\n"], ["a", "b"]),
        ("lines", [""], []),
        ("join", [["a", 1, None], "-"], "a-1-null"),
        ("length", ["1.50"], 4),
        ("length", ['{"a": 1}'], 1),
        ("to_str", [[1, "é"]], '[1, "é"]'),
        ("template", ["{a} and {{b}} {c}", {"a": 1, "c": "x"}], "1 and {b} x"),
        ("remove", [["a", "b", "a"], "a"], ["b", "a"]),
        ("sort", [[2, 10, 1], True], [10, 2, 1]),
        ("unique", [[1, "1", {"a": 1}, {"a": 1}, 1]], [1, "1", {"a": 1}]),
        ("reverse", [[1, 2]], [2, 1]),
        ("first", [[]], None),
        ("last", [[1, 2]], 2),
        ("part", ["abcdef", 1, -1], "bcde"),
        ("part", [[1, 2, 3], 1], [2, 3]),
        ("flatten", [[1, [2, [3]]]], [1, 2, [3]]),
        ("json_get", ['{"a": [{"b": 5}]}', "a.0.b"], 5),
        ("json_get", [{"1.10": 1}, "1.10", "none"], "none"),
        ("json_get", [[1], "7"], None),
        ("json_keys", [{"a": 1, "b": 2}], ["a", "b"]),
        ("json_merge", [{"a": {"x": 1}, "b": 1}, {"a": {"y": 2}}], {"a": {"x": 1, "y": 2}, "b": 1}),
        ("json_parse", ["[1]"], [1]),
        ("json_dump", [{"a": "é"}], '{"a": "é"}'),
        ("json_dump", [[1], 2], "[\n  1\n]"),
        ("date_parse", ["20.11.2026", "%d.%m.%Y"], "2026-11-20T00:00:00"),
        ("date_format", ["2026-11-20", "%d.%m.%Y"], "20.11.2026"),
        ("date_add", ["2026-11-20", 12], "2026-12-02"),
        ("date_add", ["2026-11-20", 0, 1.5], "2026-11-20T01:30:00"),
        ("date_difference", ["2026-11-20", "2026-11-20T01:00:00+01:00"], 0.0),
    ],
)
def test_what_a_builtin_gives(
    builtins: Mapping[str, Function], name: str, arguments: list[Any], value: Any
) -> None:
    found = call(builtins[name], *arguments)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "name, arguments, value",
    [
        ("regex_matches", ["abc", "b"], True),
        ("regex_find", ["a=1 b=2", r"(\w)=2"], "b"),
        ("regex_find", ["a", "b"], None),
        ("regex_find_all", ["a1b2", r"([a-z])(\d)"], [["a", "1"], ["b", "2"]]),
        ("regex_replace", ["a1", r"(\d)", r"<\1>"], "a<1>"),
        ("regex_split", ["a, b;c", r"[,;]\s*"], ["a", "b", "c"]),
    ],
)
def test_what_a_pattern_finds(
    builtins: Mapping[str, Function], name: str, arguments: list[Any], value: Any
) -> None:
    assert call(builtins[name], *arguments) == value


def test_now_is_the_time_in_utc(builtins: Mapping[str, Function]) -> None:
    moment = datetime.fromisoformat(call(builtins["now"]))
    assert abs(moment.timestamp() - time.time()) < 60
    assert call(builtins["today"]) in (moment.date().isoformat(), call(builtins["today"]))


@pytest.mark.parametrize(
    "name, arguments, reason",
    [
        ("divide", [1, 0], "ZeroDivisionError"),
        ("add", [1, "x"], '"x" is no number'),
        ("subtract", [True, 1], "true is no number"),
        ("sort", [[1, "a"]], "not supported"),
        ("remove", [[1], 2], "not in list"),
        ("append", ["no list", 1], '"no list" is no list'),
        ("json_keys", [[1]], "[1] is no mapping"),
        ("json_parse", ["{"], "JSONDecodeError"),
        ("template", ["{a}", {}], "'a' of the prompt has no value"),
        ("multiply", [2**62, 2**62], "64 bits"),
        ("multiply", [1e308, 1e308], "not JSON"),
        # None of these may take time or memory.
        ("replace", [MANY, "x", MANY], "the result would have more than"),
        ("join", [[""] * 2**18, MANY], "the result would have more than"),
        ("multiply", ["ab", 10**9], '"ab" is no number'),
        ("round_number", [1, -(10**9)], "'digits' should be"),
        ("json_dump", [[[[1] * 40] * 100] * 100, 8], "the result would have more than"),
        ("date_format", ["2026-11-20", "%d" * 51], "'format' should have"),
    ],
)
def test_what_a_builtin_cannot_do_fails_with_the_reason(
    builtins: Mapping[str, Function], name: str, arguments: list[Any], reason: str
) -> None:
    with pytest.raises(FunctionFailed) as failed:
        call(builtins[name], *arguments)
    assert reason in failed.value.message
    assert failed.value.detail.startswith("builtins.py")


class Prompts:
    """The context of a run that may use one prompt. No built-in function asks a model."""

    run_id = "run-1"

    async def prompt(self, name: str, /, **values: object) -> str:
        raise AssertionError("a built-in function asked a model")

    async def complete(self, request: Any, /, *, model: str | None = None, **params: object) -> str:
        raise AssertionError("a built-in function asked a model")

    async def prompts(self) -> Mapping[str, str]:
        return {"greeting": "Says hello."}

    async def prompt_body(self, name: str, /) -> str:
        return {"greeting": "Hey {buddy}"}[name]


async def test_prompts_are_looked_up_in_the_context(builtins: Mapping[str, Function]) -> None:
    listed = await run_on_loop(builtins["get_prompts"], {}, Prompts(), 1)
    assert listed == {"greeting": "Says hello."}
    given = {"prompt_name": "greeting"}
    assert await run_on_loop(builtins["prompt"], given, Prompts(), 1) == "Hey {buddy}"


def test_the_page_for_authors_lists_exactly_those_that_there_are(
    builtins: Mapping[str, Function],
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "functions.md").read_text()
    rows = re.findall(r"^\| (?:\w+) \| `([a-z0-9_ ]+)` \|$", page, re.MULTILINE)
    assert sorted(" ".join(rows).split()) == sorted(builtins)
