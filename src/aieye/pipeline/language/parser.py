"""Tokens into a tree, by recursive descent: two tokens of look-ahead, no backtracking.

The docstring of each method that starts with `parse_` is its production. Parsing stops at the first
error by offset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from aieye.pipeline.language.errors import Diagnostic, Fault, InvalidPipeline
from aieye.pipeline.language.lexer import END, FAULT, FLOAT, INT, NAME, STRING, lex
from aieye.pipeline.language.limits import MAX_NESTING, MAX_SOURCE_BYTES
from aieye.pipeline.language.nodes import (
    NO_OPTIONS,
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
    Literal,
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
from aieye.pipeline.language.source import Source
from aieye.pipeline.language.strings import HIDDEN, BrokenString, unquote

_T = TypeVar("_T")

_LONGEST_QUOTED: Final = 40
_SELECTS: Final = frozenset({".", "["})
_EXPRESSION_STARTS: Final = frozenset({NAME, "[", "{"})


def parse(text: str | bytes) -> Pipeline:
    """The tree of a pipeline. Raises `InvalidPipeline` with the first syntax error.

    Takes time and memory in proportion to the text, of which more than 64 KiB are refused unread.
    """
    return Parser(Source(text)).parse_pipeline()


def parse_type(text: str) -> Type:
    """The tree of a type alone, such as `dict[str, int]?`. Raises `InvalidPipeline`."""
    parser = Parser(Source(text))
    found = parser.parse_type()
    parser.expect(END, "the end of the type")
    return found


class Parser:
    """One pass over one source."""

    __slots__ = (
        "_at",
        "_comment",
        "_hidden",
        "_kinds",
        "_openers",
        "_source",
        "_starts",
        "_texts",
        "_tokens",
    )

    def __init__(self, source: Source) -> None:
        self._source = source
        if source.is_oversized:
            limit = f"{MAX_SOURCE_BYTES // 1024} KiB"
            self._fail(Fault("E006", f"too large: a pipeline has at most {limit}", 0, 0))
        self._tokens = lex(source.text)
        self._kinds = self._tokens.kinds
        self._texts = self._tokens.texts
        self._starts = self._tokens.starts
        self._at = 0
        self._comment = 0  # the first comment that belongs to nothing yet
        self._openers: list[int] = []  # the tokens of delimiters that are open
        self._hidden: list[int] = []

    def parse_pipeline(self) -> Pipeline:
        """pipeline = { param } { let } expr [ ";" ] EOF"""
        if self._kinds[0] == END:
            self._fail(Fault("E105", "empty pipeline", self._starts[0], self._starts[0]))
        params = []
        while self._at_declaration("param"):
            params.append(self.parse_param())
        lets = []
        while self._at_declaration("let"):
            lets.append(self.parse_let())
        if lets and self._at_declaration("param"):
            self._unexpected("'let' or an expression", hint="params come before lets")
        result = self.parse_expr()
        if self._kinds[self._at] == ";":
            self._at += 1
        if self._kinds[self._at] != END:
            self._trailing()
        return Pipeline(
            *(result, tuple(params), tuple(lets), self._comments_up_to(None)),
            *(tuple(self._hidden), self._source),
        )

    def parse_param(self) -> Param:
        """param = "param" NAME [ ":" type ] [ "=" constant ] ";" """
        self._at += 1
        start = self._starts[self._at]
        name = self.expect(NAME, "a name")
        type_ = default = None
        wanted = "':', '=' or ';'"
        if self._kinds[self._at] == ":":
            self._at += 1
            type_ = self.parse_type()
            wanted = "'=' or ';'"
        if self._kinds[self._at] == "=":
            self._at += 1
            default = self.parse_constant()
            wanted = "';'"
        self.expect(";", wanted)
        end = self._end()
        return Param(name, type_, default, start, end, self._comments_up_to(end))

    def parse_let(self) -> Let:
        """let = "let" NAME "=" expr ";" """
        self._at += 1
        start = self._starts[self._at]
        name = self.expect(NAME, "a name")
        self.expect("=", "'='")
        value = self.parse_expr()
        self.expect(";", "';'")
        end = self._end()
        return Let(name, value, start, end, self._comments_up_to(end))

    def parse_type(self) -> Type:
        """type = NAME [ "[" type { "," type } "]" ] [ "?" ]"""
        start = self._starts[self._at]
        name = self.expect(NAME, "a type")
        args: list[Type] = []
        if self._kinds[self._at] == "[":
            self._open()
            args.append(self.parse_type())
            while self._kinds[self._at] == ",":
                self._at += 1
                args.append(self.parse_type())
            self._close("]", "',' or ']'")
        is_nullable = self._kinds[self._at] == "?"
        self._at += is_nullable
        return Type(name, tuple(args), is_nullable, start, self._end())

    def parse_expr(self) -> Expr:
        """expr = NAME [ args ] { selector } | literal | list | map"""
        at = self._at
        kind = self._kinds[at]
        if kind == NAME:
            name, start = self._texts[at], self._starts[at]
            self._at = at + 1
            base: Name | Call
            if self._kinds[at + 1] == "(":
                base = self.parse_args(name, start)
            else:
                base = Name(name, start, start + len(name))
            return self.parse_selectors(base) if self._kinds[self._at] in _SELECTS else base
        if kind == "[":
            return List(self._many("]", self.parse_expr), self._starts[at], self._end())
        if kind == "{":
            return self.parse_map(self.parse_expr)
        return self.parse_literal()

    def parse_selectors(self, base: Name | Call) -> Access:
        """{ selector }, with selector = "." NAME | "[" ( INT | STRING ) "]" """
        chain: list[Field | Index] = []
        while (kind := self._kinds[self._at]) in _SELECTS:
            if len(self._openers) + len(chain) >= MAX_NESTING:
                self._too_deep()
            start = self._starts[self._at]
            if kind == ".":
                self._at += 1
                chain.append(Field(self._parse_field(), start, self._end()))
            else:
                self._open()
                key = self._parse_key()
                self._close("]", "']'")
                chain.append(Index(key, start, self._end()))
        return Access(base, tuple(chain), base.start, self._end())

    def parse_args(self, name: str, start: int) -> Call:
        """args = "(" [ arg { "," arg } [ "," ] ] ")" [ "@" "(" option { "," option } [ "," ] ")" ]"""
        arguments = self._many(")", self.parse_arg)
        options = self.parse_options() if self._kinds[self._at] == "@" else NO_OPTIONS
        return Call(name, arguments, options, start, self._end())

    def parse_arg(self) -> Expr | Keyword:
        """arg = NAME "=" expr | expr"""
        at = self._at
        if self._kinds[at] == NAME and self._kinds[at + 1] == "=":
            self._at = at + 2
            return Keyword(self._texts[at], self.parse_expr(), self._starts[at])
        return self.parse_expr()

    def parse_options(self) -> Options:
        """ "@" "(" option { "," option } [ "," ] ")", with option = NAME "=" literal"""
        self._at += 1
        if self._kinds[self._at] != "(":
            self._unexpected("'('")
        seen: set[str] = set()

        def parse_option() -> Option:
            start = self._starts[self._at]
            name = self.expect(NAME, "an option")
            self._check_new(name, seen, start, f"option '{name}' is given twice")
            self.expect("=", "'='")
            if self._kinds[self._at] in _EXPRESSION_STARTS:
                self._not_constant("an option is a literal")
            return Option(name, self.parse_literal(), start)

        return Options(self._many(")", parse_option, is_required=True))

    def parse_map(self, parse_value: Callable[[], Expr]) -> Map:
        """map = "{" [ entry { "," entry } [ "," ] ] "}", with entry = ( STRING | NAME ) ":" expr"""
        opening = self._starts[self._at]
        seen: set[str] = set()

        def parse_entry() -> Entry:
            at, start = self._at, self._starts[self._at]
            is_quoted = self._kinds[at] == STRING
            key = self._string() if is_quoted else self.expect(NAME, "a key or '}'")
            self._check_new(key, seen, start, "a key of the map stands twice", at)
            self.expect(":", "':'")
            return Entry(key, parse_value(), start)

        return Map(self._many("}", parse_entry), opening, self._end())

    def parse_constant(self) -> Expr:
        """constant = literal | list of constants | map of constants"""
        kind = self._kinds[self._at]
        if kind == NAME:
            self._not_constant("a default is a constant")
        if kind == "[":
            start = self._starts[self._at]
            return List(self._many("]", self.parse_constant), start, self._end())
        if kind == "{":
            return self.parse_map(self.parse_constant)
        return self.parse_literal()

    def parse_literal(self) -> Literal:
        """literal = STRING | INT | FLOAT | "true" | "false" | "null" """
        at = self._at
        kind, text, start = self._kinds[at], self._texts[at], self._starts[at]
        end = start + len(text)
        if kind == STRING:
            return Str(self._string(), start, end)
        self._at = at + 1
        if kind == INT:
            return Int(int(text), start, end)
        if kind == FLOAT:
            return Float(float(text), start, end)
        if kind in ("true", "false"):
            return Bool(kind == "true", start, end)
        if kind == "null":
            return Null(start, end)
        self._at = at
        return self._unexpected("an expression", hint=_GROUPING if kind == "(" else None)

    def expect(self, kind: str, wanted: str) -> str:
        """Take one token of a kind and return its text. Raises `InvalidPipeline`."""
        at = self._at
        if self._kinds[at] != kind:
            self._unexpected(wanted)
        self._at = at + 1
        return self._texts[at]

    def _many(
        self, closer: str, parse: Callable[[], _T], *, is_required: bool = False
    ) -> tuple[_T, ...]:
        """opener [ item { "," item } [ "," ] ] closer"""
        kinds = self._kinds
        self._open()
        items = []
        if is_required or kinds[self._at] != closer:
            items.append(parse())
            while kinds[self._at] == ",":
                self._at += 1
                if kinds[self._at] == closer:
                    break
                items.append(parse())
            if kinds[self._at] != closer:
                self._unexpected(f"',' or '{closer}'")
        self._openers.pop()
        self._at += 1
        return tuple(items)

    def _open(self) -> None:
        openers = self._openers
        if len(openers) >= MAX_NESTING:
            self._too_deep()
        openers.append(self._at)
        self._at += 1

    def _close(self, closer: str, wanted: str) -> None:
        if self._kinds[self._at] != closer:
            self._unexpected(wanted)
        self._openers.pop()
        self._at += 1

    def _too_deep(self) -> NoReturn:
        start = self._starts[self._at]
        message = f"nested too deep: at most {MAX_NESTING} levels"
        self._fail(Fault("E007", message, start, start + 1))

    def _parse_field(self) -> str:
        start = self._starts[self._at]
        name = self.expect(NAME, "a name")
        if self._kinds[self._at] == "(":
            message = f"'{name}' is called as a method, and there are none"
            fault = Fault("E107", message, start, start + len(name), hint="write g(f(x), y)")
            self._fail(fault)
        return name

    def _parse_key(self) -> int | str:
        if self._kinds[self._at] == STRING:
            return self._string()
        return int(self.expect(INT, "an integer or a string"))

    def _string(self) -> str:
        """Take a STRING and return its value, noting the invisible characters in it."""
        at = self._at
        token, start = self._texts[at], self._starts[at]
        try:
            value = unquote(token, start)
        except BrokenString as error:
            self._fail(error.fault)
        if not token.isascii():
            self._hidden += [start + match.start() for match in HIDDEN.finditer(token)]
        self._at = at + 1
        return value

    def _check_new(
        self, key: str, seen: set[str], start: int, message: str, at: int | None = None
    ) -> None:
        """E104 at the key that was just taken if it is among those seen."""
        if key in seen:
            length = len(key) if at is None else len(self._texts[at])
            self._fail(Fault("E104", message, start, start + length))
        seen.add(key)

    def _at_declaration(self, keyword: str) -> bool:
        at = self._at
        return (
            self._kinds[at] == NAME and self._texts[at] == keyword and self._kinds[at + 1] == NAME
        )

    def _end(self) -> int:
        """Where the token that was taken last ends."""
        before = self._at - 1
        return self._starts[before] + len(self._texts[before])

    def _comments_up_to(self, end: int | None) -> tuple[str, ...]:
        """The comments before `end` and on the rest of its line; all that are left if None."""
        comments = self._tokens.comments
        first = last = self._comment
        while last < len(comments) and (end is None or self._is_before(comments[last][0], end)):
            last += 1
        self._comment = last
        return tuple(text.rstrip() for _, text in comments[first:last])

    def _is_before(self, comment: int, end: int) -> bool:
        return comment < end or self._source.text[end:comment].strip(" \t\f") == ""

    def _not_constant(self, rule: str) -> NoReturn:
        start = self._starts[self._at]
        end = start + len(self._texts[self._at])
        word = self._texts[self._at]
        hint = f'write "{word}", if that is meant' if word.isidentifier() else None
        self._fail(Fault("E108", f"not a constant: {rule}", start, end, hint))

    def _trailing(self) -> NoReturn:
        self._fail_at_fault()
        text, start = self._texts[self._at], self._starts[self._at]
        message = f"text after the pipeline: {self._found()}"
        self._fail(Fault("E106", message, start, start + len(text)))

    def _unexpected(self, wanted: str, hint: str | None = None) -> NoReturn:
        self._fail_at_fault()
        start = self._starts[self._at]
        if self._kinds[self._at] == END and self._openers:
            opener = self._openers[-1]
            mark, start = self._texts[opener], self._starts[opener]
            self._fail(Fault("E102", f"'{mark}' was never closed", start, start + 1))
        message = f"expected {wanted}, found {self._found()}"
        end = start + len(self._texts[self._at])
        self._fail(Fault("E101", message, start, end, hint))

    def _found(self) -> str:
        kind, text = self._kinds[self._at], self._texts[self._at]
        if kind == END:
            return "the end of the text"
        if kind == STRING:
            return "a string"
        return f"'{text}'" if len(text) <= _LONGEST_QUOTED else f"'{text[:_LONGEST_QUOTED]}…'"

    def _fail_at_fault(self) -> None:
        if self._kinds[self._at] == FAULT:
            assert self._tokens.fault is not None
            self._fail(self._tokens.fault)

    def _fail(self, fault: Fault) -> NoReturn:
        raise InvalidPipeline(Diagnostic.at(fault, self._source))


_GROUPING: Final = "there are no grouping parentheses"
