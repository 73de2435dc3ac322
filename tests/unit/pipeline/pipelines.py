"""What the tests of the language share: a catalogue, and short ways to ask."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.analysis import Analysis, analyse
from aieye.pipeline.language.catalogue import Definition, Kind, Parameter
from aieye.pipeline.language.errors import Diagnostic, InvalidPipeline
from aieye.pipeline.language.nodes import Expr, Type
from aieye.pipeline.language.parser import parse, parse_type
from aieye.pipeline.language.tree import write_tree

STR = Type("str")


def define(signature: str, kind: Kind = "function", calls: tuple[str, ...] = ()) -> Definition:
    """`add(a: int, b: int, by=)`; a parameter with `=` may be omitted."""
    name, _, rest = signature.removesuffix(")").partition("(")
    parameters = tuple(_parameter(part) for part in rest.split(";") if part.strip())
    return Definition(name, kind, parameters, calls=calls)


def prompt(name: str, *variables: str) -> Definition:
    return Definition(name, "prompt", tuple(Parameter(variable, STR) for variable in variables))


def _parameter(text: str) -> Parameter:
    is_required = not text.endswith("=")
    name, _, type_ = text.strip().removesuffix("=").partition(":")
    return Parameter(name.strip(), parse_type(type_) if type_ else None, is_required=is_required)


DEFINITIONS = (
    define("upper(s: str)"),
    define("builtin_concat(x: str; y: str)"),
    define("fred(a; b; c: int)"),
    define("bar(x: int)"),
    define("foo(x: int)"),
    define("length(s: str)"),
    define("now()"),
    define("greet(name; greeting=)"),
    define("flag(on: bool)"),
    define("ratio(x: float)"),
    define("total(numbers: list[int])"),
    define("lookup(table: dict[str, int])"),
    define("maybe(x: int?)"),
    define("note(s: str?)"),
    define("anything(x: any)"),
    define("plain(x)"),
    prompt("prompt_buddy", "buddy"),
    prompt("two", "x", "y"),
    prompt("three", "x", "y", "z"),
    prompt("motto"),
    define("rewrite(input: str)", "preset"),
    define("saved(text: str; lang=)", "pipeline"),
    define("ready()", "pipeline"),
)
CATALOGUE = {definition.name: definition for definition in DEFINITIONS}


def tree(text: str) -> str:
    return write_tree(parse(text))


def result(text: str) -> Expr:
    return parse(text).result


def syntax_error(text: str | bytes) -> Diagnostic:
    """The one error that the parser has with a text."""
    with pytest.raises(InvalidPipeline) as caught:
        parse(text)
    (found,) = caught.value.diagnostics
    return found


def check(text: str, name: str | None = None, **more: Definition) -> Analysis:
    return analyse(parse(text), {**CATALOGUE, **more}, name)


def place(found: Diagnostic) -> tuple[str, int | None, int | None]:
    """Code, offset and length."""
    return found.code, found.offset, found.length


def findings(text: str, name: str | None = None, **more: Definition) -> list[tuple[str, str]]:
    """The code of each finding and the text that it points at."""
    return [
        (found.code, text[found.offset : found.offset + found.length])
        for found in check(text, name, **more).diagnostics
        if found.offset is not None and found.length is not None
    ]


def arguments(text: str) -> list[str]:
    """The names of the arguments that a pipeline asks for."""
    return [parameter.name for parameter in check(text).arguments]


def bound(text: str, callee: str | None = None) -> tuple[str, ...] | None:
    """Where the arguments go: of the call at the start, or of the first of a name."""
    start = 0 if callee is None else text.index(callee)
    binding = check(text).bindings.get(start)
    return None if binding is None else binding.parameters
