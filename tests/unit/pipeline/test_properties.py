"""What holds for every tree and for every text."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.errors import InvalidPipeline, render
from aieye.pipeline.language.nodes import (
    Access,
    Bool,
    Call,
    Entry,
    Expr,
    Field,
    Float,
    Index,
    Int,
    Keyword,
    Let,
    List,
    Map,
    Name,
    Null,
    Option,
    Options,
    Param,
    Pipeline,
    Str,
    Type,
)
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from aieye.pipeline.language.source import Source
from aieye.pipeline.language.tree import write_tree
from tests.unit.pipeline.pipelines import CATALOGUE

T = TypeVar("T")

NAMES = st.sampled_from(
    ["x", "y", "_", "let", "param", "upper", "now", "two", "map", "if", "str", "timeout", "n" * 100]
    + [f"a_name_of_{length:_<{length}}" for length in (12, 24, 36)]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LITERALS = st.one_of(
    st.builds(Str, TEXTS),
    st.builds(Int, st.integers(-(2**63), 2**63 - 1)),
    st.builds(Float, st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Bool, st.booleans()),
    st.builds(Null),
)


KEYS = st.integers(-(2**63), 2**63 - 1) | TEXTS


@st.composite
def several(draw: st.DrawFn, of: st.SearchStrategy[T], least: int = 0) -> tuple[T, ...]:
    return tuple(draw(st.lists(of, min_size=least, max_size=3)))


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> Expr:
    """Any expression; written out by hand, which is many times faster than `st.recursive`."""
    kind = draw(st.integers(0, 6)) if depth else 0
    inner = expressions(depth=depth - 1)
    match kind:
        case 0:
            return draw(LITERALS | st.builds(Name, NAMES))
        case 1 | 2:
            return draw(calls(inner))
        case 3 | 4:
            base = draw(st.builds(Name, NAMES) | calls(inner))
            selectors = st.builds(Field, NAMES) | st.builds(Index, KEYS)
            return Access(base, draw(several(selectors, least=1)))
        case 5:
            return List(draw(several(inner)))
    return draw(maps(inner))


@st.composite
def calls(draw: st.DrawFn, inner: st.SearchStrategy[Expr]) -> Call:
    arguments = draw(several(inner | st.builds(Keyword, NAMES, inner)))
    options = {name: Option(name, draw(LITERALS)) for name in draw(several(NAMES))}
    return Call(draw(NAMES), arguments, Options(options.values()))


@st.composite
def maps(draw: st.DrawFn, inner: st.SearchStrategy[Expr]) -> Map:
    return Map(tuple(Entry(key, draw(inner)) for key in dict.fromkeys(draw(several(TEXTS)))))


@st.composite
def constants(draw: st.DrawFn, depth: int = 2) -> Expr:
    kind = draw(st.integers(0, 2)) if depth else 0
    inner = constants(depth=depth - 1)
    if kind == 1:
        return List(draw(several(inner)))
    return draw(maps(inner)) if kind else draw(LITERALS)


@st.composite
def types(draw: st.DrawFn, depth: int = 2) -> Type:
    args = draw(several(types(depth=depth - 1))) if depth else ()
    return Type(draw(NAMES), args, draw(st.booleans()))


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    params = several(st.builds(Param, NAMES, st.none() | types(), st.none() | constants()))
    lets = several(st.builds(Let, NAMES, expressions()))
    return Pipeline(draw(expressions()), draw(params), draw(lets))


# Pieces that pipelines are made of, right and wrong, in any order.
PIECES = st.sampled_from(
    [
        *"()[]{},=:;.@?|-\"'#\\ \n\r\t\f$",
        *("let ", "param ", "x", "upper(", "now", "two(", "map(", "if(", "lenght", "true", "null"),
        *("12", "0.5", "1e9", "007", '"a"', "'b'", '"\\u00e9"', '"\\ud800"', '"\\q"', "\u0440"),
        *("@(timeout=1)", ".a", "[0]", "k=", "int", "list[", "# c\n", "\ufeff", "\u200b", "\ud800"),
    ]
)
SOURCES = st.one_of(st.lists(PIECES, max_size=60).map("".join), st.text(max_size=60), st.binary())


@settings(deadline=None)
@given(pipelines())
def test_what_is_printed_parses_to_an_equal_tree(pipeline: Pipeline) -> None:
    printed = format_pipeline(pipeline)
    again = parse(printed)
    assert again == pipeline
    assert format_pipeline(again) == printed
    assert write_tree(again).count("(") == write_tree(pipeline).count("(")
    before, after = analyse(pipeline, CATALOGUE), analyse(again, CATALOGUE)
    assert before.arguments == after.arguments
    assert before.is_valid == after.is_valid


@settings(max_examples=400, deadline=None)
@given(SOURCES)
def test_any_text_is_a_tree_or_one_error_with_a_place(text: str | bytes) -> None:
    source = Source(text)
    try:
        pipeline = parse(text)
    except InvalidPipeline as error:
        (found,) = error.diagnostics
        assert found.offset is not None
        assert found.length is not None
        assert 0 <= found.offset <= found.offset + found.length <= len(source.text)
        assert "^" in render(found, source, "p")
        return
    assert parse(format_pipeline(pipeline)) == pipeline
    for found in analyse(pipeline, CATALOGUE, "me").diagnostics:
        assert found.offset is not None
        assert found.length is not None
        assert found.length > 0
        assert found.offset + found.length <= len(source.text)
        render(found, source, "p")


@settings(deadline=None)
@given(st.lists(PIECES, max_size=60).map("".join))
def test_canonical_text_is_its_own_canonical_text_comments_included(text: str) -> None:
    try:
        printed = format_pipeline(parse(text))
    except InvalidPipeline:
        return
    assert format_pipeline(parse(printed)) == printed


# The grammar of the original: start = call, call = NAME "(" [ arg { "," arg } ] ")",
# arg = NAME "=" expr | expr, expr = NAME | call.
_ORIGINAL_NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,9}", fullmatch=True).filter(
    lambda name: name not in {"true", "false", "null"}
)
_SPACES = st.sampled_from(["", " ", "\t", "\n "])


@st.composite
def original_calls(draw: st.DrawFn, depth: int = 3) -> str:
    arguments = []
    for _ in range(draw(st.integers(0, 3))):
        is_call = depth > 0 and draw(st.booleans())
        value = draw(original_calls(depth=depth - 1) if is_call else _ORIGINAL_NAMES)
        keyword = f"{draw(_ORIGINAL_NAMES)}{draw(_SPACES)}=" if draw(st.booleans()) else ""
        arguments.append(f"{keyword}{draw(_SPACES)}{value}")
    return f"{draw(_ORIGINAL_NAMES)}{draw(_SPACES)}({','.join(arguments)}{draw(_SPACES)})"


@settings(deadline=None)
@given(original_calls())
def test_everything_in_the_grammar_of_the_original_is_parsed(text: str) -> None:
    assert isinstance(parse(text).result, Call)
