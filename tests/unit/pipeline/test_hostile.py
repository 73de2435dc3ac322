"""Texts that were made to hurt: each is a tree or an error, in time that grows with its length."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache

import pytest

from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from aieye.pipeline.language.tree import write_tree
from tests.unit.pipeline.pipelines import CATALOGUE

FULL = 64 * 1024
# Several times what it takes here, many times less than anything quadratic takes.
SECONDS = 2.0


def fill(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """A text of about so many bytes that repeats `unit`."""

    def text(size: int) -> str:
        unit_size = len(unit.encode("utf-8", "surrogatepass"))
        return before + unit * ((size - len(before) - len(after)) // unit_size) + after

    return text


def numbered(unit: str, before: str, after: str) -> Callable[[int], str]:
    """The same with a number in each unit, where it has `#`."""

    def text(size: int) -> str:
        count = size // (len(unit) + 4 * unit.count("#"))
        return before + "".join(unit.replace("#", str(n)) for n in range(count)) + after

    return text


NEST = "f(" * 99 + "x" + ")" * 99
CORPUS = {
    "nothing": fill(" "),
    "line ends": fill("\r\n\r\n\n"),
    "comments": fill("#a\n"),
    "one comment": fill("#"),
    "openers": fill("("),
    "brackets": fill("["),
    "braces": fill("{a:"),
    "calls that never end": fill("f("),
    "keywords that never end": fill("f(k="),
    "quotes": fill('"'),
    "one open string": fill("a", '"'),
    "one open string of escapes": fill('\\"', '"'),
    "broken escapes": fill("\\q", '"', '"'),
    "escapes": fill("\\u0041", '"', '"'),
    "half pairs": fill("\\ud800", '"', '"'),
    "digits": fill("1"),
    "a long fraction": fill("1", "0."),
    "a long exponent": fill("9", "1e"),
    "signs of exponents": fill("1e+"),
    "minus": fill("-"),
    "a long name": fill("a"),
    "names": fill("a "),
    "selectors": fill(".a", "x"),
    "indices": fill("[0]", "x"),
    "bars": fill("|"),
    "letters of another alphabet": fill("й"),
    "surrogates in a comment": fill("\ud800", "#"),
    "invisible": fill('"\u200b",', "[", "]"),
    "strings": fill('"abcdefgh",', "[", "]"),
    "empty calls": fill("now(),        ", "[", "]"),
    "bare calls": fill("now,       ", "[", "]"),
    "unknown callees": fill("lenghtt(x),          ", "[", "]"),
    "unknown keywords": fill("unknown=b,    ", "fred(", ")"),
    "late positionals": fill("1,      ", "fred(a=1,", ")"),
    "too many": fill("1,      ", "fred(", ")"),
    "unknown options": fill("now()@(zz=1),                    ", "[", "]"),
    "placeholders": numbered("place#,", "[", "]"),
    "misspelt placeholders": numbered("lenght#,", "[", "]"),
    "keys": numbered("key#:1,    ", "{", "}"),
    "the same key": fill("key:1,", "{", "}"),
    "params": numbered("param a#;", "", "a1"),
    "lets": numbered("let a#=1;            ", "", "a1"),
    "lets of lets": numbered("let a#=[a#,a#];                 ", "", "a1"),
    "json in strings": fill("length('[[[1]]]'),       ", "[", "]"),
    "many deep ones": fill(NEST + ",", "[", "]"),
    "maps of calls": fill("map(upper,x),             ", "[", "]"),
    "ambiguous prompts": fill("two(x,1),                ", "[", "]"),
}


def work(text: str) -> str:
    """All that is done with a text when a pipeline is saved."""
    try:
        pipeline = parse(text)
    except InvalidPipeline as error:
        (found,) = error.diagnostics
        return found.code
    analyse(pipeline, CATALOGUE, "me")
    write_tree(pipeline)
    parse_again = format_pipeline(pipeline)
    return parse_again[:10]


@cache
def timed(name: str) -> tuple[str, float]:
    """What came of a text of full length, and the seconds that it took."""
    text = CORPUS[name](FULL)
    started = time.process_time()
    return work(text), time.process_time() - started


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_text_of_full_length_is_done_with_quickly(name: str) -> None:
    assert FULL // 2 < len(CORPUS[name](FULL).encode("utf-8", "surrogatepass")) <= FULL
    _, seconds = timed(name)
    assert seconds < SECONDS


def test_the_corpus_reaches_every_limit_and_the_analyser() -> None:
    outcomes = {timed(name)[0] for name in CORPUS}
    assert {"E001", "E002", "E003", "E004", "E005", "E006", "E007", "E009"} <= outcomes
    assert sum(not outcome.startswith("E") for outcome in outcomes) > 5


@pytest.mark.parametrize(
    "name", ["a long fraction", "strings", "placeholders", "keys", "many deep ones"]
)
def test_twice_the_text_takes_about_twice_the_time(name: str) -> None:
    half, whole = (
        min(_seconds(CORPUS[name](size)) for _ in range(5)) for size in (FULL // 2, FULL)
    )
    # Four times would be quadratic; a machine that is busy elsewhere is slower now and then.
    assert whole < 3.2 * half + 0.05


def test_the_deepest_pipeline_needs_no_deep_stack() -> None:
    text = "plain([{k: " * 33 + "x.a" + "}])" * 33
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_frames() + 620)
    try:
        assert work(text)
        assert work("plain(" * 100 + "x" + ")" * 100)
    finally:
        sys.setrecursionlimit(limit)


def _seconds(text: str) -> float:
    started = time.process_time()
    work(text)
    return time.process_time() - started


def _frames() -> int:
    frame, count = sys._getframe(), 0
    while frame.f_back is not None:
        frame, count = frame.f_back, count + 1
    return count
