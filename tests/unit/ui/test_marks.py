"""Findings as the editor shows them."""

from __future__ import annotations

from aieye.pipeline.checking import check
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.errors import Diagnostic
from aieye.ui.marks import marks_of, with_fix

CATALOGUE = {"length": Definition("length", "function", (Parameter("s"),), 1)}
FACE = "\N{GRINNING FACE}"


def in_utf16(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


def test_places_are_those_of_the_text_as_browsers_count_it() -> None:
    for before in ("", "é", FACE, f"{FACE}{FACE}x", "\ufeff", f"\ufeff# {FACE}\r\n"):
        text = f"{before if before.startswith(chr(0xFEFF)) else '# ' + before + chr(10)}lenght(x)"
        (mark,) = marks_of(check(text, CATALOGUE).diagnostics, text)
        assert mark.start is not None
        assert mark.end is not None
        assert in_utf16(text, mark.start, mark.end) == "lenght"
        assert with_fix(text, check(text, CATALOGUE).diagnostics, "0:0") == text.replace(
            "lenght", "length"
        )


def test_what_stands_nowhere_has_no_place() -> None:
    (mark,) = marks_of([Diagnostic.nowhere("E205", "a -> a")], "length(x)")
    assert (mark.start, mark.end, mark.place, mark.fixes) == (None, None, "", [])


def test_errors_come_before_warnings_and_the_line_is_shown() -> None:
    text = "let a = 1;\nlenght(x)"
    marks = marks_of(check(text, CATALOGUE).diagnostics, text, "triage")
    assert [one.code for one in marks] == ["E201", "W601"]
    assert marks[0].text.startswith("triage:2:1: error[E201]")


def test_a_fix_that_there_is_not_changes_nothing() -> None:
    text = "lenght(x)"
    found = check(text, CATALOGUE).diagnostics
    assert [with_fix(text, found, one) for one in ("1:0", "0:7", "", "x:y", "-1:0")] == [text] * 5
