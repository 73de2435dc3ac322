"""Where a sign-in may lead: a path of ours, and nowhere else."""

from __future__ import annotations

import pytest

from aieye.ui.forms import safe_next

ELSEWHERE = (
    *("//evil.example", "///evil.example", "////evil.example", "//evil.example/%2f..", "//"),
    *("/\\evil.example", "\\\\evil.example", "/\\/evil.example", "\\/evil.example", "/a\\b"),
    *("https://evil.example", "HTTPS:evil.example", "http:///evil.example", "https:/evil.example"),
    *("javascript:alert(1)", "JavaScript://%0aalert(1)", "data:text/html,x", "vbscript:x"),
    *("evil.example", "@evil.example", "www.evil.example/login", ":80", "ftp://evil.example"),
    *("/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\t//evil.example", "/\t\\evil"),
    *(" //evil.example", "\u00a0//evil.example", "\x00//evil.example", "/\x00/evil.example"),
    *("/path\r\nset-cookie: a=b", "/path\nlocation: //evil.example", "/\x0b/evil", "/\x7f/evil"),
    *("/\u2028/evil.example", "/\u200b/evil.example", "/\ufeff/evil.example", "/\ud800"),
    *("", ".", "..", "#", "?next=//evil.example", "*", "\\", "%2f%2fevil.example", "login"),
)


@pytest.mark.parametrize("target", [None, *ELSEWHERE])
def test_any_other_target_becomes_the_first_page(target: str | None) -> None:
    assert safe_next(target) == "/"


@pytest.mark.parametrize(
    "target",
    ["/", "/calls", "/calls?model=gpt-4o&from=//x", "/calls#a", "/a//b", "/%2f%2fevil", "/seite/ö"],
)
def test_a_path_of_ours_stays(target: str) -> None:
    assert safe_next(target) == target
