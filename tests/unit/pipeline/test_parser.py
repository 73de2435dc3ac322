"""Section 2: every production, and what is said where one is not met."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import (
    Access,
    Call,
    Entry,
    Field,
    Index,
    Int,
    Keyword,
    List,
    Map,
    Name,
    Option,
    Options,
    Str,
    Type,
)
from aieye.pipeline.language.parser import parse, parse_type
from aieye.pipeline.language.printer import format_pipeline
from tests.unit.pipeline.pipelines import place, result, syntax_error, tree

WHOLE = """# a whole pipeline
param text: str;
param lang: str = "en";
let draft = summarise(text, lang=lang) @(timeout=30, retries=2);
upper(extract_title(draft).title)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # literals
        ('"a"', '(str "a")'),
        ("1", "(int 1)"),
        ("1.50", "(float 1.5)"),
        ("true", "(lit true)"),
        ("false", "(lit false)"),
        ("null", "(lit null)"),
        # names and calls
        ("x", "(name x)"),
        ("f()", "(call f)"),
        ("f(x)", "(call f (name x))"),
        ("f(x,)", "(call f (name x))"),
        ("f (x , 1 , )", "(call f (name x) (int 1))"),
        ("f(k=x)", "(call f (k= (name x)))"),
        ("f(1, k=2)", "(call f (int 1) (k= (int 2)))"),
        ("f(k=1, 2)", "(call f (k= (int 1)) (#1 (int 2)))"),
        (
            "f(0, a=1, 2, b=3, 4)",
            "(call f (int 0) (a= (int 1)) (b= (int 3)) (#2 (int 2)) (#4 (int 4)))",
        ),
        ("f(a=1, a=2)", "(call f (a= (int 1)) (a= (int 2)))"),
        ("f(let, param)", "(call f (name let) (name param))"),
        ("let(param)", "(call let (name param))"),
        ("param", "(name param)"),
        ("let.x", "(get (name let) x)"),
        # options
        ("f() @(timeout=1)", "(call f (@ (timeout= (int 1))))"),
        (
            'f(x)@(retries=2,model="m",cache="off",)',
            '(call f (name x) (@ (retries= (int 2)) (model= (str "m")) (cache= (str "off"))))',
        ),
        (
            "f()@(a=null,b=true,c=1.5)",
            "(call f (@ (a= (lit null)) (b= (lit true)) (c= (float 1.5))))",
        ),
        # selectors
        ("x.a", "(get (name x) a)"),
        ("x[0]", "(idx (name x) 0)"),
        ("x[-1]", "(idx (name x) -1)"),
        ("x['k']", '(idx (name x) "k")'),
        ("f(x).a.b[1]", "(idx (get (get (call f (name x)) a) b) 1)"),
        ("f() @(timeout=1) .a", "(get (call f (@ (timeout= (int 1)))) a)"),
        # lists and maps
        ("[]", "(list)"),
        ("[1,]", "(list (int 1))"),
        ("[x, [f()]]", "(list (name x) (list (call f)))"),
        ("{}", "(map)"),
        ("{a: 1}", '(map ("a" (int 1)))'),
        ('{"a b": x, c: {},}', '(map ("a b" (name x)) ("c" (map)))'),
        # declarations
        ("param x; x", "(pipeline (param x _) (name x))"),
        ("param x: int; x", "(pipeline (param x int) (name x))"),
        ("param x = 1; x", "(pipeline (param x _ (int 1)) (name x))"),
        ("param x: list[str]? = null; x", "(pipeline (param x list[str]? (lit null)) (name x))"),
        (
            "param x: dict[str, list[int?]]; x",
            "(pipeline (param x dict[str, list[int?]]) (name x))",
        ),
        (
            'param x = [1, {a: [true, "b"]}, -1.5]; x',
            '(pipeline (param x _ (list (int 1) (map ("a" (list (lit true) (str "b")))) '
            "(float -1.5))) (name x))",
        ),
        ("let a = f(x); a", "(pipeline (let a (call f (name x))) (name a))"),
        ("let let = 1; let", "(pipeline (let let (int 1)) (name let))"),
        ("param param; param", "(pipeline (param param _) (name param))"),
        (
            "param a; param b; let c = a; let d = b; [c, d]",
            "(pipeline (param a _) (param b _) (let c (name a)) (let d (name b)) "
            "(list (name c) (name d)))",
        ),
        ("f(x);", "(call f (name x))"),
    ],
)
def test_what_is_written_has_one_tree(text: str, expected: str) -> None:
    assert tree(text) == expected


def test_a_whole_pipeline_has_one_tree() -> None:
    assert tree(WHOLE) == (
        '(pipeline (param text str) (param lang str (str "en")) '
        "(let draft (call summarise (name text) (lang= (name lang)) "
        "(@ (timeout= (int 30)) (retries= (int 2))))) "
        "(call upper (get (call extract_title (name draft)) title)))"
    )


@pytest.mark.parametrize(
    "text",
    # What the original's grammar had: nested calls, names and keywords.
    ["f()", "f (a)", "f(\n a,\n b)", "f(a=b, c)", "f(a=b,a=c)", "f(a=g(b))", "f(g(h(x)),y)"],
)
def test_everything_that_the_original_parsed_is_parsed(text: str) -> None:
    assert isinstance(result(text), Call)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # E101, and what was expected
        ("(x)", ("E101", 0, 1)),
        ("f(,)", ("E101", 2, 1)),
        ("f(a b)", ("E101", 4, 1)),
        ("f(a]", ("E101", 3, 1)),
        ("f(a=b=c)", ("E101", 5, 1)),
        ("f(1=2)", ("E101", 3, 1)),
        ("f(a=)", ("E101", 4, 1)),
        ("[,]", ("E101", 1, 1)),
        ("[1 2]", ("E101", 3, 1)),
        ("{1: 2}", ("E101", 1, 1)),
        ("{a 1}", ("E101", 3, 1)),
        ("{a: }", ("E101", 4, 1)),
        ("{a}", ("E101", 2, 1)),
        ("x.", ("E101", 2, 0)),
        ("x.1", ("E101", 2, 1)),
        ("x[]", ("E101", 2, 1)),
        ("x[y]", ("E101", 2, 1)),
        ("x[1.5]", ("E101", 2, 3)),
        ("x[1, 2]", ("E101", 3, 1)),
        ("f() @", ("E101", 5, 0)),
        ("f() @ x", ("E101", 6, 1)),
        ("f() @()", ("E101", 6, 1)),
        ("f() @(,)", ("E101", 6, 1)),
        ("f() @(timeout)", ("E101", 13, 1)),
        ("f() @(timeout=)", ("E101", 14, 1)),
        ("param x: ; x", ("E101", 9, 1)),
        ("param x: [int]; x", ("E101", 9, 1)),
        ("param x: list[]; x", ("E101", 14, 1)),
        ("param x: list[int,]; x", ("E101", 18, 1)),
        ("param x: null; x", ("E101", 9, 4)),
        ("param x: int?? ; x", ("E101", 13, 1)),
        ("param x = ; x", ("E101", 10, 1)),
        ("param x = 1", ("E101", 11, 0)),
        ("param x y", ("E101", 8, 1)),
        ("let x; x", ("E101", 5, 1)),
        ("let x = 1 x", ("E101", 10, 1)),
        ("let x = ", ("E101", 8, 0)),
        ("let x = 1; ", ("E101", 11, 0)),
        (";", ("E101", 0, 1)),
        ("?", ("E101", 0, 1)),
        ("let a = 1; param b; a", ("E101", 11, 5)),
        # E102: the text ends while something is open
        ("f(", ("E102", 1, 1)),
        ("f(a", ("E102", 1, 1)),
        ("f(a,", ("E102", 1, 1)),
        ("f(a=", ("E102", 1, 1)),
        ("f(g(x)", ("E102", 1, 1)),
        ("f(g(x", ("E102", 3, 1)),
        ("f(x.", ("E102", 1, 1)),
        ("[1, {a: 2", ("E102", 4, 1)),
        ("x[", ("E102", 1, 1)),
        ("x[0", ("E102", 1, 1)),
        ("f() @(timeout=1", ("E102", 5, 1)),
        ("param x: list[int", ("E102", 13, 1)),
        ("f(x # )", ("E102", 1, 1)),
        # E104
        ("{a: 1, a: 2}", ("E104", 7, 1)),
        ('{a: 1, "a": 2}', ("E104", 7, 3)),
        ('{"\\u0061": 1, "a": 2}', ("E104", 14, 3)),
        ("f() @(retries=1, retries=1)", ("E104", 17, 7)),
        # E105 and E106
        ("", ("E105", 0, 0)),
        (" \n# nothing\n", ("E105", 12, 0)),
        ("x y", ("E106", 2, 1)),
        ("f(x))", ("E106", 4, 1)),
        ("f(x)(y)", ("E106", 4, 1)),
        ("f(x);;", ("E106", 5, 1)),
        ("f(x); let y = 1; y", ("E106", 6, 3)),
        ("x = 1", ("E106", 2, 1)),
        ('"a".b', ("E106", 3, 1)),
        ("[1][0]", ("E106", 3, 1)),
        ("x @(timeout=1)", ("E106", 2, 1)),
        ("let x, y", ("E101", 5, 1)),
        ("let", None),
        # E107
        ("f(x).g(y)", ("E107", 5, 1)),
        ("a.b(c)", ("E107", 2, 1)),
        ("a.b.cd (e)", ("E107", 4, 2)),
        ("f(a.b())", ("E107", 4, 1)),
        ("f(x) | g", ("E107", 5, 1)),
        # E108
        ("f() @(timeout=x)", ("E108", 14, 1)),
        ("f() @(timeout=f(1))", ("E108", 14, 1)),
        ("f() @(timeout=[1])", ("E108", 14, 1)),
        ("f() @(timeout={})", ("E108", 14, 1)),
        ("param x = y; x", ("E108", 10, 1)),
        ("param x = f(1); x", ("E108", 10, 1)),
        ("param x = [1, y]; x", ("E108", 14, 1)),
        ("param x = {a: y}; x", ("E108", 14, 1)),
    ],
)
def test_the_first_error_stands_at_the_token_that_cannot_be(
    text: str, expected: tuple[str, int, int] | None
) -> None:
    if expected is None:
        parse(text)
    else:
        assert place(syntax_error(text)) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("f(a]", "expected ',' or ')', found ']'", None),
        ("let x = 1", "expected ';', found the end of the text", None),
        ("let x y", "expected '=', found 'y'", None),
        ("f(x 'a')", "expected ',' or ')', found a string", None),
        ("param x 1; x", "expected ':', '=' or ';', found '1'", None),
        ("param x: int 1; x", "expected '=' or ';', found '1'", None),
        ("param x: int = 1 2; x", "expected ';', found '2'", None),
        ("f(", "'(' was never closed", None),
        ("[1", "'[' was never closed", None),
        ("x y", "text after the pipeline: 'y'", None),
        ("(x)", "expected an expression, found '('", "there are no grouping parentheses"),
        ("f(x).g(y)", "'g' is called as a method, and there are none", "write g(f(x), y)"),
        (
            "let a = 1; param b; b",
            "expected 'let' or an expression, found 'param'",
            "params come before lets",
        ),
    ],
)
def test_the_message_says_what_was_expected_and_the_hint_what_to_do(
    text: str, message: str, hint: str | None
) -> None:
    found = syntax_error(text)
    assert (found.message, found.hint) == (message, hint)


def test_what_was_found_is_quoted_in_part_when_it_is_long() -> None:
    found = syntax_error(f"f(x {'y' * 90})")
    assert found.message == f"expected ',' or ')', found '{'y' * 40}…'"
    assert found.length == 90


def test_nodes_know_where_they_stand() -> None:
    text = '{k: f(a, b = "x") @(retries=1) .c[0], l: [-1]}'
    tree_ = result(text)
    assert isinstance(tree_, Map)
    first, second = tree_.entries
    access, numbers = first.value, second.value
    assert isinstance(access, Access)
    assert isinstance(numbers, List)
    call = access.base
    assert isinstance(call, Call)
    a, b = call.arguments
    assert isinstance(b, Keyword)
    spans = (tree_, access, call, *access.selectors, a, b, b.value, numbers, numbers.items[0])
    assert [text[node.start : node.end] for node in spans] == [
        text,
        'f(a, b = "x") @(retries=1) .c[0]',
        'f(a, b = "x") @(retries=1)',
        *(".c", "[0]", "a", 'b = "x"', '"x"', "[-1]", "-1"),
    ]
    assert [text[entry.start] for entry in (first, second)] == ["k", "l"]


def test_declarations_know_where_their_names_and_types_stand() -> None:
    text = "param  p : list[int]? = 1 ;\nlet  q = p ; q"
    pipeline = parse(text)
    (param,), (let,) = pipeline.params, pipeline.lets
    assert param.type is not None
    assert text[param.start : param.end] == "p : list[int]? = 1 ;"
    assert text[param.type.start : param.type.end] == "list[int]?"
    assert text[let.start : let.end] == "q = p ;"


def test_trees_are_compared_by_what_they_say() -> None:
    assert parse("f( x ,1) # a") == parse("f(x, 1)")
    assert parse("f()@(retries=1,timeout=2)") == parse("f() @(timeout=2, retries=1)")
    assert hash(parse("f()@(retries=1,timeout=2)")) == hash(parse("f()@(timeout=2,retries=1)"))
    assert parse("f()@(retries=1)") != parse("f()@(retries=2)")
    assert parse("f(a, b=1)") != parse("f(b=1, a)")
    assert parse("1") != parse("1.0") != parse("true")


def test_options_keep_the_order_of_the_source_and_are_equal_in_any() -> None:
    one, two = Option("a", Int(1)), Option("b", Int(2))
    assert Options((one, two)) == Options((two, one))
    assert list(Options((two, one))) == [two, one]
    assert Options((one,)) != (one,)


def test_nodes_are_frozen() -> None:
    with pytest.raises(AttributeError):
        result("x").name = "y"  # type: ignore[misc, union-attr] # what must not be possible


def test_the_parts_of_a_tree() -> None:
    assert result('f({k: x.a["b"]})') == Call(
        "f", (Map((Entry("k", Access(Name("x"), (Field("a"), Index("b")))),)),)
    )
    assert result("['a']") == List((Str("a"),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", Type("int")),
        (
            "dict[str, list[any]?]?",
            Type(
                "dict",
                (Type("str"), Type("list", (Type("any"),), is_nullable=True)),
                is_nullable=True,
            ),
        ),
    ],
)
def test_a_type_is_read_alone(text: str, expected: Type) -> None:
    assert parse_type(text) == expected


@pytest.mark.parametrize("text", ["", "int int", "list[", "list[int", "1", "int;"])
def test_what_is_no_type_alone_is_refused(text: str) -> None:
    with pytest.raises(InvalidPipeline):
        parse_type(text)


@pytest.mark.parametrize(
    ("opener", "closer"),
    [("f(", ")"), ("[", "]"), ("{a: ", "}"), ("f(k=", ")")],
)
def test_nesting_has_a_hundred_levels(opener: str, closer: str) -> None:
    parse(opener * 100 + "x" + closer * 100)
    found = syntax_error(opener * 101 + "x" + closer * 101)
    mark = len(opener) * 100 + next(i for i, c in enumerate(opener) if c in "([{")
    assert place(found) == ("E007", mark, 1)


def test_a_chain_has_a_hundred_selectors() -> None:
    parse("x" + "[0].a" * 50)
    assert place(syntax_error("x" + "[0].a" * 50 + "[0]")) == ("E007", 251, 1)


def test_selectors_of_one_chain_count_with_what_is_open() -> None:
    parse("[" * 40 + "x" + ".a" * 60 + "]" * 40)
    found = syntax_error("[" * 40 + "x" + ".a" * 61 + "]" * 40)
    assert place(found) == ("E007", 41 + 2 * 60, 1)


def test_types_defaults_and_options_count_as_well() -> None:
    parse(f"param x: {'list[' * 100}int{']' * 100}; x")
    assert syntax_error(f"param x: {'list[' * 101}int{']' * 101}; x").code == "E007"
    assert syntax_error(f"param x = {'[' * 101}{']' * 101}; x").code == "E007"
    assert syntax_error("[" * 99 + "f(f() @(timeout=1))" + "]" * 99).code == "E007"


def test_many_chains_one_after_another_are_not_deep() -> None:
    text = "x"
    for _ in range(40):
        text = f"f({text})" + ".a" * 50
    assert format_pipeline(parse(text)) != ""


def test_the_opener_of_level_one_hundred_and_one_comes_before_a_missing_closer() -> None:
    assert place(syntax_error("f(" * 5_000)) == ("E007", 201, 1)
