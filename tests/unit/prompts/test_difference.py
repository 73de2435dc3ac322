"""Differences of texts: what is shown, and that no text takes long."""

from __future__ import annotations

import time

from aieye.prompts.difference import text_difference


def test_equal_texts_have_no_difference() -> None:
    assert text_difference("a\nb", "a\nb", "1", "2") == ""


def test_lines_that_differ_are_shown_with_those_around_them() -> None:
    shown = text_difference("a\nb\nc", "a\nB\nc", "1", "2")
    assert shown == "--- 1\n+++ 2\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"


def test_a_difference_in_what_ends_lines_is_not_hidden() -> None:
    assert text_difference("a\n", "a", "1", "2") == "--- 1\n+++ 2\n"


def test_long_texts_are_compared_from_both_ends_only() -> None:
    lines = [str(number) for number in range(50_000)]
    turned = [*lines[:10], *lines[10:-10][::-1], *lines[-10:]]
    started = time.process_time()
    shown = text_difference("\n".join(lines), "\n".join(turned), "1", "2").splitlines()
    assert time.process_time() - started < 5
    assert shown[2:4] == ["@@ -11,49980 +11,49980 @@", "-10"]
    assert shown[-1] == "+10"
    assert len(shown) == 3 + 2 * 49_980


def test_long_texts_of_which_one_has_more_lines() -> None:
    text = "a\n" * 2_000
    shown = text_difference(text, text + "b\n", "1", "2")
    assert shown == "--- 1\n+++ 2\n@@ -2001,0 +2001,1 @@\n+b\n"
