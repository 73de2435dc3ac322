"""Section 6: one text for each tree."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Call, Expr, List, Name, Pipeline, Type
from aieye.pipeline.language.parser import parse, parse_type
from aieye.pipeline.language.printer import WIDTH, format_pipeline, format_type


def printed(text: str) -> str:
    return format_pipeline(parse(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo(bar(fred(1,2,3)))", "foo(bar(fred(1, 2, 3)))"),
        ("f( x,y , )", "f(x, y)"),
        ("f(k = x)", "f(k=x)"),
        ("f(k=1,2)", "f(k=1, 2)"),
        ("f (x)@( timeout = 1 )", "f(x) @(timeout=1)"),
        ("f()@(timeout=1,cache='off')", 'f() @(cache="off", timeout=1)'),
        ("x . a [ 0 ] [ 'k' ]", 'x.a[0]["k"]'),
        ("f(x);", "f(x)"),
        ("{a:1,'b c':[ ],}", '{"a": 1, "b c": []}'),
        ("{}", "{}"),
        ("[1,2,]", "[1, 2]"),
        ("1.50", "1.5"),
        ("1e16", "1e+16"),
        ("1E-7", "1e-07"),
        ("100000.0", "100000.0"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("true", "true"),
        ("null", "null"),
        ("'it\\'s'", '"it\'s"'),
        ("'say \"x\"'", '"say \\"x\\""'),
        (r'"\b\f\n\r\t\/\\"', r'"\b\f\n\r\t/\\"'),
        (r'"\u001F\u0041\u00e9"', r'"\u001fAé"'),
        ('"день\u200b\u202e\ufeff\u00ad"', r'"день\u200b\u202e\ufeff\u00ad"'),
        (r'"\uD83D\uDE00"', '"😀"'),
        ('"\u2028"', r'"\u2028"'),
        ('"a\tb"', r'"a\tb"'),
        ("param x;x", "param x;\nx"),
        ("param x:int=1;x", "param x: int = 1;\nx"),
        ("param x:dict[str,list[int]?]?;x", "param x: dict[str, list[int]?]?;\nx"),
        ("let  a=f(x);a", "let a = f(x);\na"),
    ],
)
def test_each_thing_is_written_in_one_way(text: str, expected: str) -> None:
    assert printed(text) == expected + "\n"


def test_a_line_of_eighty_eight_characters_stays_whole() -> None:
    text = f"f({'a' * 42}, {'b' * 41})"
    assert len(text) == WIDTH
    assert printed(text) == text + "\n"


def test_a_longer_one_is_written_one_argument_a_line() -> None:
    a, b = "a" * 42, "b" * 42
    assert printed(f"f({a},k={b})") == f"f(\n    {a},\n    k={b},\n)\n"


def test_only_what_does_not_fit_is_broken_from_the_outside_in() -> None:
    long = "c" * 60
    assert printed(f"f(x,g({long},{long},[1,2]),{{k:[{long},{long}]}}).a[0]") == (
        "f(\n"
        "    x,\n"
        "    g(\n"
        f"        {long},\n"
        f"        {long},\n"
        "        [1, 2],\n"
        "    ),\n"
        "    {\n"
        '        "k": [\n'
        f"            {long},\n"
        f"            {long},\n"
        "        ],\n"
        "    },\n"
        ").a[0]\n"
    )


def test_options_stay_behind_the_closing_parenthesis() -> None:
    a = "a" * 80
    assert printed(f"f({a})@(timeout=5,retries=1)") == (
        f"f(\n    {a},\n) @(retries=1, timeout=5)\n"
    )


def test_what_a_declaration_adds_to_its_line_counts() -> None:
    a = "a" * 74
    assert len(f"let x = f({a});") == WIDTH - 2
    assert printed(f"let x = f({a}bb);x") == f"let x = f({a}bb);\nx\n"
    assert printed(f"let x = f({a}bbb);x") == f"let x = f(\n    {a}bbb,\n);\nx\n"


def test_the_comma_behind_an_argument_counts() -> None:
    inner = "g(" + "a" * 81 + ")"
    assert len(inner) == WIDTH - 4
    assert printed(f"f({inner},x)") == f"f(\n    g(\n        {'a' * 81},\n    ),\n    x,\n)\n"
    shorter = "g(" + "a" * 80 + ")"
    assert printed(f"f({shorter},x)") == f"f(\n    {shorter},\n    x,\n)\n"


def test_what_has_no_parts_is_never_broken() -> None:
    name, text = "n" * 100, "s" * 200
    assert printed(f"{name}()") == f"{name}()\n"
    assert printed(f'"{text}"') == f'"{text}"\n'
    assert printed(f"f({name}.{name})") == f"f(\n    {name}.{name},\n)\n"
    assert printed(f"{name}().{name}") == f"{name}().{name}\n"


def test_comments_stand_above_the_declaration_they_stood_in() -> None:
    text = """
# first
param a  # inside
  : int;   # behind it
# between
let b = f( # deep
    a);
# last
b # end
# after
"""
    assert printed(text) == (
        "# first\n# inside\n# behind it\nparam a: int;\n"
        "# between\n# deep\nlet b = f(a);\n"
        "# last\n# end\n# after\nb\n"
    )


def test_comments_lose_nothing_but_the_blanks_at_their_end() -> None:
    assert printed("#  a\t \r\n#\tb \rx") == "#  a\n#\tb\nx\n"


@pytest.mark.parametrize(
    "text",
    ["x # a", "# a\nx", "param a; # a\na", "param a; # b\n# c\nlet d = 1; # e\n\n\nd # f"],
)
def test_printing_what_was_printed_changes_nothing(text: str) -> None:
    once = printed(text)
    assert printed(once) == once
    assert parse(once) == parse(text)


def test_the_tree_of_a_whole_pipeline_survives() -> None:
    text = """# a whole pipeline
param text: str;
param lang: str = "en";
let draft = summarise(text, lang=lang) @(timeout=30, retries=2);
upper(extract_title(draft).title)
"""
    assert printed(text) == text.replace("timeout=30, retries=2", "retries=2, timeout=30")


def test_types_are_written_as_they_are_read() -> None:
    text = "dict[str, list[int?]]?"
    assert format_type(parse_type(text)) == text
    assert format_type(Type("model")) == "model"


def test_the_deepest_tree_that_is_parsed_is_printed() -> None:
    deepest = "f(" * 100 + "x" + ")" * 100
    assert printed(deepest).startswith("f(\n    f(\n")
    assert parse(printed(deepest)) == parse(deepest)


def test_a_deeper_tree_made_by_hand_is_refused_by_a_counter() -> None:
    node: Expr = Name("x")
    for _ in range(300):
        node = List((node,))
    with pytest.raises(InvalidPipeline, match="E007"):
        format_pipeline(Pipeline(Call("f", (node,))))
