"""Section 3: what names stand for, what a pipeline asks for, and everything that is refused."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.catalogue import FORMS, UNREGISTRABLE
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Call, Expr, List, Name, Pipeline, Type
from aieye.pipeline.language.parser import parse
from tests.unit.pipeline.pipelines import CATALOGUE, arguments, check, define, findings

# --- Arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", []),
        ("x", ["x"]),
        ("two(y, x)", ["y", "x"]),
        ("builtin_concat(upper(b), upper(a))", ["b", "a"]),
        ("builtin_concat(x=b, y=b)", ["b"]),
        ("upper(s=x)", ["x"]),
        ("now()", []),
        ("[c, {k: d, l: c}, e.f[0]]", ["c", "d", "e"]),
        ("let q = plain(z); two(q, a)", ["z", "a"]),
        ("plain(x) @(timeout=1)", ["x"]),
        ("map(upper, xs)", ["xs"]),
        ("if(c, a, b)", ["c", "a", "b"]),
        ("param b; param a = 1; plain(a)", ["b", "a"]),
    ],
)
def test_a_pipeline_asks_for_its_params_or_its_placeholders_in_order(
    text: str, expected: list[str]
) -> None:
    assert arguments(text) == expected


def test_params_have_a_type_and_a_default() -> None:
    first, second, third = check(
        'param a: list[int]?; param b = {k: [1, null]}; param c: str = "x"; [a, b, c]'
    ).arguments
    assert (first.type, first.is_required) == (Type("list", (Type("int"),), is_nullable=True), True)
    assert (second.type, second.is_required, second.default) == (None, False, {"k": [1, None]})
    assert (third.type, third.is_required, third.default) == (Type("str"), False, "x")


def test_placeholders_are_required_and_have_no_type() -> None:
    (x,) = check("upper(x)").arguments
    assert (x.type, x.is_required) == (None, True)


# --- What a name stands for ----------------------------------------------------------------------


def test_a_let_comes_before_a_param_before_a_callable_before_a_placeholder() -> None:
    assert findings("let now = 1; plain(now)") == []
    assert findings("param now; plain(now)") == []
    assert findings("plain(now)") == [("W603", "now")]
    assert arguments("plain(then)") == ["then"]


def test_a_callee_is_a_callable_whatever_is_declared_under_its_name() -> None:
    text = "let upper = 1; upper(upper)"
    assert findings(text) == []
    assert check(text).bindings[15].definition is CATALOGUE["upper"]
    assert findings("let x = 1; x(x)") == [("E201", "x")]


def test_a_let_is_visible_behind_its_own_semicolon() -> None:
    assert findings("let a = 1; let b = plain(a); b") == []
    assert findings("let a = plain(a); a") == [("E203", "a")]
    assert findings("param p; let a = plain(a); [a, p]") == [("E202", "a")]


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("let a = 1; let a = 2; a", 15),
        ("param a; param a; a", 15),
        ("param a; let a = 1; a", 13),
        ("let a = plain(b); let b = 1; [a, b]", 22),
    ],
)
def test_a_name_is_declared_once_and_before_it_is_used(text: str, declared: int) -> None:
    (found,) = [found for found in check(text).diagnostics if found.is_error]
    assert (found.code, found.offset, found.length) == ("E203", declared, 1)


def test_a_bare_call_before_a_declaration_of_that_name_is_no_placeholder() -> None:
    assert findings("let a = plain(now); let now = 1; [a, now]") == [("W603", "now")]


def test_a_pipeline_with_a_header_is_strict() -> None:
    assert findings("param a; builtin_concat(a, b)") == [("E202", "b")]
    (found,) = check("param text; upper(txet)").diagnostics[1:]
    assert found.message == "unknown name 'txet'; did you mean 'text'?"


def test_only_what_is_visible_is_suggested() -> None:
    found = check("param p; let abcde = plain(abcdf); [p, abcde]").diagnostics
    assert [(f.code, f.message) for f in found] == [("E202", "unknown name 'abcdf'")]
    found = check("param p; let abcde = 1; [p, abcde, abcdf]").diagnostics
    assert found[0].message.endswith("did you mean 'abcde'?")


@pytest.mark.parametrize("text", ["lenght(x)", "plain(lenght(x))", "[{k: lenght(x).a}]"])
def test_an_unknown_callee_is_refused_with_a_suggestion_wherever_it_stands(text: str) -> None:
    (found,) = check(text).diagnostics
    assert (found.code, found.offset, found.length) == ("E201", text.index("lenght"), 6)
    assert found.message == (
        "unknown function, prompt or pipeline 'lenght'; did you mean 'length'?"
    )


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("a + b", "E001", "there are no operators"),
        ("a - b", "E001", "there are no operators"),
        ("param x: string;\nx", "E211", "types are str, int"),
        ("upper(x) @(cache=off)", "E108", 'write "off"'),
    ],
)
def test_what_newcomers_write_has_a_hint(text: str, code: str, hint: str) -> None:
    try:
        diagnostics = check(text).diagnostics
    except InvalidPipeline as refused:
        diagnostics = refused.diagnostics
    (found,) = [one for one in diagnostics if one.is_error]
    assert (found.code, hint in str(found.hint)) == (code, True), found


def test_the_arguments_of_an_unknown_callee_are_looked_at_too() -> None:
    assert findings("nobody(knows(x), k=y)") == [("E201", "nobody"), ("E201", "knows")]
    assert arguments("nobody(x, k=y)") == ["x", "y"]


def test_a_bare_name_without_required_parameters_calls() -> None:
    assert findings("plain([now, motto, ready])") == [
        ("W603", "now"),
        ("W603", "motto"),
        ("W603", "ready"),
    ]
    found = check("plain(now)").diagnostics[0]
    assert found.hint == "write now()"
    assert check("plain(now)").bindings[6].definition is CATALOGUE["now"]


@pytest.mark.parametrize("name", ["upper", "two", "rewrite", "saved", "if", "try", "map", "reduce"])
def test_a_bare_name_with_required_parameters_is_no_placeholder(name: str) -> None:
    assert findings(f"plain({name})") == [("E209", name)]
    assert findings(f"param p; plain([p, {name}])") == [("E209", name)]
    assert arguments(f"plain({name})") == []


@pytest.mark.parametrize("name", ["if", "try", "map", "reduce"])
def test_a_reserved_callee_may_be_the_name_of_a_let(name: str) -> None:
    assert findings(f"let {name} = 1; plain({name})") == []


def test_seven_names_cannot_be_registered() -> None:
    assert {"if", "try", "map", "reduce", "true", "false", "null"} == UNREGISTRABLE
    assert set(FORMS) < UNREGISTRABLE


def test_a_reserved_callee_is_itself_whatever_the_catalogue_says() -> None:
    assert findings("if(true, 1, 2)", None, **{"if": define("if()")}) == []


# --- Pipelines that call pipelines ---------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 11))
def test_pipelines_that_call_each_other_are_refused_where_the_circle_starts(size: int) -> None:
    names = [f"p{number}" for number in range(size)]
    others = {
        name: define(f"{name}(x)", "pipeline", calls=(after,))
        for name, after in zip(names[1:], names[2:] + ["p0"] * (size > 1), strict=True)
    }
    callee = names[1] if size > 1 else "p0"
    text = f"plain({callee}(x))"
    (found,) = check(text, "p0", **others).diagnostics
    assert (found.code, found.offset, found.length) == ("E205", 6, 2)
    way = " -> ".join([*names[1:], "p0", callee] if size > 1 else ["p0", "p0"])
    assert found.message == f"pipelines call each other: {way}"


def test_of_a_pipeline_that_calls_itself_nothing_else_is_said() -> None:
    for old in ({}, {"me": define("me(a; b)", "pipeline")}):
        for text in ("me(1, 2, 3)", "plain(me)", "map(me, xs)"):
            assert findings(text, "me", **old) == [("E205", "me")]
    assert findings("me(lenght(x))", "me") == [("E205", "me"), ("E201", "lenght")]


def test_a_bare_name_and_what_map_calls_can_lead_into_a_circle() -> None:
    a = define("a()", "pipeline", calls=("me",))
    b = define("b(x)", "pipeline", calls=("a",))
    assert findings("plain(a)", "me", a=a) == [("E205", "a"), ("W603", "a")]
    assert findings("map(b, xs)", "me", a=a, b=b) == [("E205", "b")]


def test_the_shortest_circle_is_named() -> None:
    pipelines = {
        "a": define("a(x)", "pipeline", calls=("b", "c")),
        "b": define("b(x)", "pipeline", calls=("c",)),
        "c": define("c(x)", "pipeline", calls=("me", "b")),
    }
    (found,) = check("a(text)", "me", **pipelines).diagnostics
    assert found.message == "pipelines call each other: a -> c -> me -> a"


def test_a_circle_elsewhere_is_not_followed_for_ever() -> None:
    pipelines = {
        "a": define("a(x)", "pipeline", calls=("b",)),
        "b": define("b(x)", "pipeline", calls=("a",)),
    }
    assert findings("a(text)", "me", **pipelines) == [("E508", "a")]


def test_calling_the_same_pipeline_twice_is_no_circle() -> None:
    assert findings("saved(saved(x))", "me") == []


@pytest.mark.parametrize(("depth", "is_refused"), [(8, False), (9, True)])
def test_pipelines_call_pipelines_eight_deep(depth: int, is_refused: bool) -> None:
    names = [f"p{number}" for number in range(1, depth + 1)]
    pipelines = {
        name: define(f"{name}(x)", "pipeline", calls=after)
        for name, after in zip(names, [*((n,) for n in names[1:]), ()], strict=True)
    }
    assert findings("p1(x)", "p0", **pipelines) == ([("E508", "p1")] if is_refused else [])


# --- Options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    ["timeout=1", "timeout=0.5", "timeout=86400", "retries=0", "retries=5", 'model="gpt-5"']
    + [f'cache="{mode}"' for mode in ("use", "refresh", "off", "only")],
)
def test_the_options_are_a_closed_set(options: str) -> None:
    assert findings(f"now() @({options})") == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[
            ("timeout", value)
            for value in ("0", "-1", "0.0", "86400.1", "1e308", '"30"', "true", "null")
        ],
        *[("retries", value) for value in ("-1", "6", "1.0", '"1"', "true", "null")],
        *[("cache", value) for value in ('"on"', '""', "1", "true", "null")],
        *[("model", value) for value in ('""', "1", "null")],
    ],
)
def test_a_wrong_value_of_an_option_is_shown(option: str, value: str) -> None:
    assert findings(f"now() @({option}={value})") == [("E401", value)]


def test_an_unknown_option_is_shown_by_its_name() -> None:
    assert findings("now() @(retry=1)") == [("E206", "retry")]
    (found,) = check("now() @(timeuot=1)").diagnostics
    assert found.message == "unknown option 'timeuot'; did you mean 'timeout'?"


def test_options_of_an_unknown_callee_are_checked_too() -> None:
    assert findings("nobody() @(retries=9)") == [("E201", "nobody"), ("E401", "9")]


# --- Types and values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "type_",
    ["str", "int", "float", "bool", "any", "list", "dict", "list[str]", "dict[str, list[int?]]?"],
)
def test_the_types_are_a_closed_set(type_: str) -> None:
    assert findings(f"param x: {type_}; x") == []


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("strr", "strr"),
        ("Invoice", "Invoice"),
        ("list[Invoice]", "Invoice"),
        ("dict[str, list[tex]]", "tex"),
        ("str[int]", "str"),
        ("list[int, int]", "list"),
        ("dict[int]", "dict"),
        ("dict[int, str]", "int"),
        ("dict[str?, str]", "str"),
    ],
)
def test_an_unknown_type_is_shown_by_its_name(type_: str, name: str) -> None:
    assert findings(f"param x: {type_}; x") == [("E211", name)]


def test_an_unknown_type_is_compared_with_the_known_ones() -> None:
    (found,) = check("param x: strr; x").diagnostics
    assert found.message == "unknown type 'strr'; did you mean 'str'?"


def test_the_default_of_a_param_of_unknown_type_is_not_judged() -> None:
    assert findings("param x: strr = 1; x") == [("E211", "strr")]


@pytest.mark.parametrize(
    ("type_", "default"),
    [
        ("int", '"5"'),
        ("int", "5.0"),
        ("float", "1"),
        ("bool", '"yes"'),
        ("str", "5"),
        ("str", "[1]"),
        ("list[int]", "[1, 2]"),
        ("list", '"[1]"'),
        ("dict[str, int]", "{a: 1}"),
        ("int?", "null"),
        ("str?", "null"),
        ("any", "null"),
    ],
)
def test_a_default_may_be_anything_that_converts(type_: str, default: str) -> None:
    assert findings(f"param x: {type_} = {default}; x") == []


@pytest.mark.parametrize(
    ("type_", "default"),
    [
        ("int", '"five"'),
        ("int", "1.5"),
        ("int", "true"),
        ("int", "null"),
        ("bool", "1"),
        ("list[int]", '[1, "2"]'),
        ("list", '"x"'),
        ("dict[str, int]", "{a: null}"),
        ("int?", "[]"),
    ],
)
def test_a_default_that_can_never_convert_is_refused(type_: str, default: str) -> None:
    assert findings(f"param x: {type_} = {default}; x") == [("E401", default)]


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ('bar("x")', '"x"'),
        ("bar(x=true)", "true"),
        ("bar(null)", "null"),
        ("bar([1])", "[1]"),
        ("bar([x])", "[x]"),
        ("bar({a: x})", "{a: x}"),
        ("flag(1)", "1"),
        ("flag(1.5)", "1.5"),
        ("flag('maybe')", "'maybe'"),
        ("if([], 1, 2)", "[]"),
        ("ratio('x')", "'x'"),
        ("total('x')", "'x'"),
        ("total([1, 'x'])", "[1, 'x']"),
        ("total({})", "{}"),
        ("total({a: x})", "{a: x}"),
        ("lookup([])", "[]"),
        ("lookup([x])", "[x]"),
        ("lookup({a: 'x'})", "{a: 'x'}"),
        ("maybe('x')", "'x'"),
        ("let a = [x]; bar(a)", "a"),
        ("let a = true; bar(a)", "a"),
        ("let a = null; bar(a)", "a"),
        ("let a = 1; let b = a; flag(b)", "b"),
        ("param p: list[int]; bar(p)", "p"),
        ("param p: bool; bar(p)", "p"),
        ("param p: bool?; bar(p)", "p"),
        ("param p: int; let q = p; total(q)", "q"),
    ],
)
def test_an_argument_that_can_never_convert_is_refused(text: str, argument: str) -> None:
    (found,) = check(text).diagnostics
    assert (found.code, found.offset) == ("E401", text.rindex(argument))
    assert found.length == len(argument)


@pytest.mark.parametrize(
    "text",
    [
        "bar('12')",
        "bar(3.0)",
        "ratio(1)",
        "flag('yes')",
        "flag(x)",
        "total('[1]')",
        "total([x])",
        "total([1, x])",
        "lookup({a: x})",
        "maybe(null)",
        "note(null)",
        "anything(null)",
        "plain(null)",
        "upper([1])",
        "upper({a: x})",
        "bar(upper(x))",
        "bar(two(x, y))",
        "bar(x.a)",
        "let a = 1.0; bar(a)",
        "let a = '5'; bar(a)",
        "let a = null; maybe(a)",
        "param p: str; bar(p)",
        "param p: bool?; maybe(p)",
        "param p: any; bar(p)",
        "param p; bar(p)",
        "param p: list[str]; total(p)",
    ],
)
def test_an_argument_that_may_convert_is_not_judged(text: str) -> None:
    assert findings(text) == []


def test_the_message_says_why() -> None:
    (found,) = check("bar('x')").diagnostics
    assert found.message == "wrong value for 'x': this text cannot become int"
    (found,) = check("param p: bool; bar(p)").diagnostics
    assert found.message == "wrong value for 'x': bool never becomes int"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("upper(null)", "null"),
        ("upper(s=null)", "null"),
        ("prompt_buddy(null)", "null"),
        ("let a = null; upper(a)", "a"),
        ("param p: str = null; p", "null"),
    ],
)
def test_null_into_text_is_warned_of(text: str, where: str) -> None:
    (found,) = check(text).diagnostics
    assert (found.code, found.offset, found.length) == ("W611", text.rindex(where), len(where))


# --- Warnings ------------------------------------------------------------------------------------


def test_what_is_declared_and_never_used_is_warned_of_and_checked() -> None:
    assert findings("let a = 1; 2") == [("W601", "a")]
    assert findings("param a; 2") == [("W602", "a")]
    assert findings("let a = lenght(x); 2") == [("W601", "a"), ("E201", "lenght")]
    assert arguments("let a = upper(x); 2") == ["x"]


def test_used_in_an_unused_let_is_used() -> None:
    assert findings("param a; let b = a; 1") == [("W601", "b")]


def test_a_placeholder_that_looks_like_a_callable_is_warned_of_once() -> None:
    text = "plain([lenght, lenght])"
    (found,) = check(text).diagnostics
    assert (found.code, found.offset, found.length) == ("W604", 7, 6)
    assert found.message.endswith("; did you mean 'length'?")


def test_a_placeholder_unlike_any_callable_is_not() -> None:
    assert findings("plain([text, x, language])") == []


@pytest.mark.parametrize(
    "character", list("\u00ad\u061c\u200b\u200f\u2028\u202e\u2060\u2069\ufeff")
)
def test_an_invisible_character_in_a_string_is_shown_where_it_stands(character: str) -> None:
    for text in (f'plain("a{character}b")', f"{{'a{character}b': 1}}", f'x["a{character}b"]'):
        (found,) = check(text).diagnostics
        assert (found.code, found.offset, found.length) == ("W610", text.index(character), 1)
        assert f"U+{ord(character):04X}" in found.message
        assert character not in found.message


@pytest.mark.parametrize("character", ["\u00ac", "\u061b", "\u2010", "\u2027", "\u202f", "\u206a"])
def test_their_neighbours_are_not(character: str) -> None:
    assert findings(f'plain("{character}")') == []


def test_nor_is_one_that_is_written_as_an_escape_or_in_a_comment() -> None:
    assert findings('plain("\\u200b") # \u200b') == []


# --- All of them ---------------------------------------------------------------------------------


def test_all_errors_are_reported_in_order_of_their_places() -> None:
    text = "let q = upper(1, 2);\nfred(lenght(x), k=now, z=uppr(y)) @(retrys=1)"
    assert findings(text) == [
        ("W601", "q"),
        ("E302", "2"),
        ("E201", "lenght"),
        ("E303", "k"),
        ("W603", "now"),
        ("E303", "z"),
        ("E201", "uppr"),
        ("E206", "retrys"),
    ]


def test_at_most_fifty_are_reported_and_the_first_ones() -> None:
    found = check("[" + "nobody(x)," * 60 + "]").diagnostics
    assert len(found) == 50
    assert [diagnostic.offset for diagnostic in found] == [1 + 10 * n for n in range(50)]


def test_no_number_of_warnings_hides_an_error() -> None:
    analysis = check("[" + "now," * 60 + "nobody(x)]")
    assert len(analysis.diagnostics) == 50
    assert analysis.diagnostics[-1].code == "E201"
    assert not analysis.is_valid


def test_warnings_alone_refuse_nothing() -> None:
    assert check("plain(now)").is_valid
    assert not check("plain(upper)").is_valid


def test_the_deepest_tree_that_is_parsed_is_checked() -> None:
    assert arguments("plain(" * 100 + "x" + ")" * 100) == ["x"]
    assert arguments("[{k: plain(" * 33 + "x.a" + ").b}]" * 33) == ["x"]


def test_a_deeper_tree_made_by_hand_is_refused_by_a_counter() -> None:
    node: Expr = Name("x")
    for _ in range(300):
        node = List((node,))
    with pytest.raises(InvalidPipeline, match="E007"):
        analyse(Pipeline(Call("plain", (node,))), CATALOGUE)


def test_a_pipeline_is_checked_without_a_name_and_without_a_catalogue() -> None:
    analysis = analyse(parse("if(x, [1], {k: y})"), {})
    assert analysis.is_valid
    assert [parameter.name for parameter in analysis.arguments] == ["x", "y"]
