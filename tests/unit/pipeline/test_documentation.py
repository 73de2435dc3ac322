"""docs/pipelines.md against the language: its pipelines are valid, its table knows every code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from tests.unit.pipeline.pipelines import check, define, prompt

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/pipelines.md").read_text()
PIPELINES = re.findall(r"```pipeline\n(.*?)```", PAGE, re.DOTALL)
KNOWN = {
    one.name: one
    for one in (
        prompt("summarise", "text", "lang"),
        prompt("extract_title", "article"),
        prompt("translate", "text"),
        define("uppercase(text: str)"),
        define("is_english(text: str)"),
        define("join(items: list[str]; separator: str)"),
    )
}
CODE = re.compile(r"[EW]\d{3}")


@pytest.mark.parametrize("text", PIPELINES)
def test_each_pipeline_of_the_page_is_valid_and_canonical(text: str) -> None:
    assert check(text, None, **KNOWN).diagnostics == ()
    assert format_pipeline(parse(text)) == text


def test_each_code_that_there_is_stands_in_the_table() -> None:
    sources = (ROOT / "src/aieye/pipeline").rglob("*.py")
    used = {code for path in sources for code in re.findall(r'"([EW]\d{3})"', path.read_text())}
    told = set(CODE.findall(PAGE))
    for first, last in re.findall(r"`(E\d{3})`–`(E\d{3})`", PAGE):
        told |= {f"E{number:03}" for number in range(int(first[1:]), int(last[1:]) + 1)}
    assert len(used) > 30
    assert used <= told
