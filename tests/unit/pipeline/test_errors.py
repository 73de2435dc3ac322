"""Section 5: positions, and the text that points at them."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.errors import Diagnostic, Fault, InvalidPipeline, render
from aieye.pipeline.language.source import Source
from tests.unit.pipeline.pipelines import check, syntax_error


def rendered(text: str, start: int, end: int, hint: str | None = None) -> list[str]:
    source = Source(text)
    found = Diagnostic.at(Fault("E101", "no", start, end, hint), source)
    return render(found, source, "p").split("\n")


def test_the_example_of_the_language_looks_like_this() -> None:
    text = "upper(\n  s=lenght(x))"
    (found,) = check(text).diagnostics
    assert render(found, Source(text), "triage") == (
        "triage:2:5: error[E201]: unknown function, prompt or pipeline 'lenght'; "
        "did you mean 'length'?\n"
        "  2 |   s=lenght(x))\n"
        "    |     ^^^^^^"
    )


def test_a_diagnostic_has_ten_fields() -> None:
    (found,) = check("upper(\n  s=lenght(x))").diagnostics
    assert found.as_dict() == {
        "code": "E201",
        "severity": "error",
        "message": "unknown function, prompt or pipeline 'lenght'; did you mean 'length'?",
        "line": 2,
        "column": 5,
        "end_line": 2,
        "end_column": 11,
        "offset": 11,
        "length": 6,
        "hint": None,
    }


def test_a_warning_says_so() -> None:
    (found,) = check("uppr").diagnostics
    assert (found.code, found.severity, found.is_error) == ("W604", "warning", False)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("\n\n$", 3, 1),
        ("\r\r$", 3, 1),
        ("\r\n\r\n$", 3, 1),
        ("\n\r$", 3, 1),
        ("\t$", 1, 2),
        ('"😀é" $', 1, 6),
        ("#\u2028\x85\x0b\n $", 2, 2),
        ("\ufeff $", 1, 2),
    ],
)
def test_lines_end_in_three_ways_and_columns_count_code_points(
    text: str, line: int, column: int
) -> None:
    found = syntax_error(text)
    assert (found.line, found.column) == (line, column)
    assert found.offset == len(text.removeprefix("\ufeff")) - 1


def test_the_end_of_a_finding_may_lie_on_another_line() -> None:
    text = 'let a = 1;\nfred(upper(\n "x"), 1,\n [\n1])'
    (found,) = (found for found in check(text).diagnostics if found.code == "E401")
    assert (found.line, found.column, found.end_line, found.end_column) == (4, 2, 5, 3)
    assert found.length == 4


def test_a_finding_over_several_lines_is_underlined_up_to_the_end_of_the_first() -> None:
    assert rendered("f([1,\n2])", 2, 8) == ["p:1:3: error[E101]: no", "  1 | f([1,", "    |   ^^^"]


def test_a_finding_of_no_length_has_one_caret() -> None:
    assert rendered("f(", 2, 2)[1:] == ["  1 | f(", "    |   ^"]
    assert rendered("", 0, 0)[1:] == ["  1 | ", "    | ^"]


def test_the_margin_is_as_wide_as_the_line_number() -> None:
    assert rendered("\n" * 99 + "x", 99, 100)[1:] == ["  100 | x", "      | ^"]


def test_a_hint_has_a_line_of_its_own() -> None:
    assert rendered("x", 0, 1, hint="do")[-1] == "  = hint: do"


def test_a_tab_is_one_column_wide() -> None:
    assert rendered("\tx", 1, 2)[1:] == ["  1 |  x", "    |  ^"]


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\u202e", "\u200b", "\ud800"])
def test_what_a_terminal_would_obey_is_shown_by_a_stand_in(character: str) -> None:
    shown = rendered(f"# {character} x", 4, 5)
    assert character not in shown[1]
    assert len(shown[1]) == len("  1 | # . x")
    assert shown[2] == "    |     ^"


def test_of_a_very_long_line_a_part_is_shown() -> None:
    shown = rendered("a" * 5_000 + "b" + "c" * 5_000, 5_000, 9_000)
    assert all(len(line) < 200 for line in shown)
    assert shown[1][shown[2].index("^")] == "b"


def test_what_has_no_place_is_shown_without_one() -> None:
    found = Diagnostic.nowhere("E507", "argument 'x' is not supplied")
    assert render(found, Source("f(x)"), "p") == "p: error[E507]: argument 'x' is not supplied"
    assert found.as_dict()["offset"] is None


def test_an_invalid_pipeline_says_its_first_error() -> None:
    warning = Diagnostic.nowhere("W601", "let 'a' is never used")
    error = Diagnostic.nowhere("E507", "argument 'x' is not supplied")
    refusal = InvalidPipeline(warning, error)
    assert (refusal.status, refusal.code) == (422, "invalid_pipeline")
    assert refusal.message == "pipeline: error[E507]: argument 'x' is not supplied"
    assert refusal.diagnostics == (warning, error)
