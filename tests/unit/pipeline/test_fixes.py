"""What would put a finding right."""

from __future__ import annotations

import pytest

from aieye.pipeline.checking import check
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.fixes import fixes_of

CATALOGUE = {
    "length": Definition("length", "function", (Parameter("s"),), 1),
    "now": Definition("now", "function", (), 2),
}


def fixed(text: str) -> list[str]:
    """The text with each of the fixes of its first finding."""
    found = check(text, CATALOGUE).diagnostics[0]
    return [text[: one.start] + one.insert + text[one.end :] for one in fixes_of(found, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lenght(x)", ["length(x)"]),
        ("length(s=lenght(x))", ["length(s=length(x))"]),
        ("length(t=x)", ["length(s=x)"]),
        ("length(x", ["length(x)"]),
        ("length([x, length(y)]", ["length([x, length(y)])"]),
        ("length([x", ["length([x]"]),
        ("length(x # what\n", ["length(x # what\n)\n"]),
        ("length(x) @(timeot=3)", ["length(x) @(timeout=3)"]),
        ('length("a\u200bb")', ['length("a\\u200bb")']),
        ("now", ["now()"]),
        ("length(1 2)", []),
    ],
)
def test_a_fix_makes_what_was_meant(text: str, expected: list[str]) -> None:
    assert fixed(text) == expected
