"""The tree written for people and tests, section 2 of the language.

(call f pos… (k= e)… (#i e)… (@ (opt= v)…))    #i: a positional after a keyword
(name x)  (int 1)  (float 1.5)  (str "a")  (lit true)  (list …)  (map ("k" e)…)
(get e field)  (idx e 0)
(pipeline (param x type default)… (let v e)… e)
"""

from __future__ import annotations

from aieye.pipeline.language.nodes import (
    Access,
    Bool,
    Call,
    Expr,
    Field,
    Float,
    Int,
    Keyword,
    Let,
    List,
    Map,
    Name,
    Null,
    Option,
    Param,
    Pipeline,
    Str,
)
from aieye.pipeline.language.printer import format_key, format_literal, format_type
from aieye.pipeline.language.strings import quote


def write_tree(pipeline: Pipeline) -> str:
    """The tree of a pipeline; without declarations, of its expression alone."""
    result = _expr(pipeline.result)
    if not pipeline.params and not pipeline.lets:
        return result
    return _form("pipeline", *map(_param, pipeline.params), *map(_let, pipeline.lets), result)


def _expr(node: Expr) -> str:
    match node:
        case Name():
            return _form("name", node.name)
        case Call():
            return _call(node)
        case Access():
            return _access(node)
        case List():
            return _form("list", *map(_expr, node.items))
        case Map():
            return _form("map", *(f"({quote(e.key)} {_expr(e.value)})" for e in node.entries))
        case Str():
            return _form("str", format_literal(node))
        case Int():
            return _form("int", format_literal(node))
        case Float():
            return _form("float", format_literal(node))
        case Bool() | Null():
            return _form("lit", format_literal(node))


def _call(node: Call) -> str:
    positional, keywords, late = [], [], []
    for index, argument in enumerate(node.arguments):
        if isinstance(argument, Keyword):
            keywords.append(_keyword(argument))
        elif keywords:
            late.append(_form(f"#{index}", _expr(argument)))
        else:
            positional.append(_expr(argument))
    options = [_form("@", *map(_keyword, node.options))] if node.options else []
    return _form("call", node.name, *positional, *keywords, *late, *options)


def _access(node: Access) -> str:
    text = _expr(node.base)
    for selector in node.selectors:
        if isinstance(selector, Field):
            text = _form("get", text, selector.name)
        else:
            text = _form("idx", text, format_key(selector.key))
    return text


def _keyword(node: Keyword | Option) -> str:
    return _form(f"{node.name}=", _expr(node.value))


def _param(node: Param) -> str:
    type_ = "_" if node.type is None else format_type(node.type)
    default = () if node.default is None else (_expr(node.default),)
    return _form("param", node.name, type_, *default)


def _let(node: Let) -> str:
    return _form("let", node.name, _expr(node.value))


def _form(*parts: str) -> str:
    return f"({' '.join(parts)})"
