"""Section 1: what the characters of a pipeline make, and where they make nothing."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Float, Int, Name, Str
from aieye.pipeline.language.parser import parse
from tests.unit.pipeline.pipelines import place, result, syntax_error, tree

LONGEST_STRING = 16 * 1024


@pytest.mark.parametrize("space", [" ", "\t", "\f", "\r", "\n", "\r\n", "# a comment\n", "#\r", ""])
def test_white_space_and_comments_are_skipped_everywhere(space: str) -> None:
    spaced = space.join(["", "f", "(", "a", ",", "b", "=", "1", ")", ""])
    assert tree(spaced) == "(call f (name a) (b= (int 1)))"


@pytest.mark.parametrize("text", ["\ufefff(x)", "\ufefff(x)".encode()])
def test_a_leading_byte_order_mark_is_skipped_and_not_counted(text: str | bytes) -> None:
    pipeline = parse(text)
    assert pipeline.result.start == 0
    assert pipeline.source.text == "f(x)"


def test_a_second_byte_order_mark_is_a_character_like_any_other() -> None:
    found = syntax_error("\ufeff\ufeffx")
    assert place(found) == ("E008", 0, 1)
    assert "U+FEFF" in found.message


@pytest.mark.parametrize("name", ["a", "_", "_x9", "A_b", "let", "param", "a" * 100])
def test_a_name_is_a_letter_or_underscore_and_then_digits_too(name: str) -> None:
    assert result(name) == Name(name)


def test_a_name_of_more_than_a_hundred_characters_is_refused_whole() -> None:
    assert place(syntax_error(f"f({'a' * 101})")) == ("E009", 2, 101)


@pytest.mark.parametrize("word", ["true", "false", "null"])
@pytest.mark.parametrize("text", ["{}(x)", "f({}=1)", "x.{}", "{{{}: 1}}", "let {} = 1; x"])
def test_the_three_reserved_words_are_no_names(text: str, word: str) -> None:
    assert syntax_error(text.format(word)).code in {"E101", "E106"}


@pytest.mark.parametrize("name", ["trues", "nullable", "false_", "True", "null1"])
def test_a_name_may_start_like_a_reserved_word(name: str) -> None:
    assert result(name) == Name(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("7", 7),
        ("-12", -12),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_integers_have_sixty_four_bits(text: str, value: int) -> None:
    assert result(text) == Int(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("-1.25", -1.25),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("2.5e-1", 0.25),
        ("1e-07", 1e-07),
        ("1e-999", 0.0),
        ("0e0", 0.0),
    ],
)
def test_a_float_has_a_fraction_an_exponent_or_both(text: str, value: float) -> None:
    assert result(text) == Float(value)


@pytest.mark.parametrize(
    "run",
    [
        "12abc",
        "007",
        "1_000",
        "1.",
        "-007",
        "1.e5",
        "1e",
        "1e+",
        "1..2",
        "0x10",
        "1.5.2",
        "1e5.5",
        "1e+5x",
        "00",
        "1_e-5",
    ],
)
def test_a_number_must_not_run_into_anything(run: str) -> None:
    found = syntax_error(f"f({run}, x)")
    assert place(found) == ("E004", 2, len(run))
    assert run in found.message


@pytest.mark.parametrize(
    "run", ["9223372036854775808", "-9223372036854775809", "1e999", "9" * 5000]
)
def test_a_number_out_of_range_is_refused_whole(run: str) -> None:
    assert place(syntax_error(f"f({run})")) == ("E005", 2, len(run))


def test_an_integer_in_an_index_has_the_same_range() -> None:
    assert place(syntax_error("x[9223372036854775808]")) == ("E005", 2, 19)


@pytest.mark.parametrize("text", ["-", "-x", "--1", "- 1", "-.5"])
def test_a_minus_before_no_digit_is_unexpected(text: str) -> None:
    assert place(syntax_error(text)) == ("E001", 0, 1)


@pytest.mark.parametrize("character", list("!#$%&*+/<>\\^`~\x00\x0b\x1b\x7f".replace("#", "")))
def test_any_other_character_is_unexpected(character: str) -> None:
    found = syntax_error(f"f({character})")
    assert place(found) == ("E001", 2, 1)
    assert found.message.isprintable()


@pytest.mark.parametrize(
    ("character", "named"),
    [
        ("р", "U+0440"),
        ("\xa0", "U+00A0"),
        ("“", "U+201C"),
        ("😀", "U+1F600"),
        ("٣", "U+0663"),
        ("\u200b", "U+200B"),
        ("\x85", "U+0085"),
    ],
)
def test_characters_beyond_ascii_are_named_by_their_code_points(character: str, named: str) -> None:
    found = syntax_error(f"f({character})")
    assert place(found) == ("E008", 2, 1)
    assert named in found.message
    assert character not in found.message


def test_they_may_stand_in_strings_and_comments() -> None:
    assert result('"день 😀" # ещё') == Str("день 😀")


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", ""),
        ("a\tb", "a\tb"),
        (r"\"\'\\\/", "\"'\\/"),
        (r"\b\f\n\r\t", "\b\f\n\r\t"),
        (r"\u0041\u00e9\uFFFF", "Aé\uffff"),
        (r"\ud83d\ude00", "😀"),
        (r"\uD83D\uDE00!", "😀!"),
        (r"\u0000", "\x00"),
        ("# no comment", "# no comment"),
        ("\x7f", "\x7f"),
        ("\u2028", "\u2028"),
        (r"\\u0041", r"\u0041"),
    ],
)
def test_strings_have_the_escapes_of_json_and_two_kinds_of_quotes(
    quote: str, written: str, value: str
) -> None:
    assert result(f"{quote}{written}{quote}") == Str(value)


def test_each_kind_of_quote_may_stand_in_the_other() -> None:
    assert tree("""f("it's", 'say "x"')""") == r"""(call f (str "it's") (str "say \"x\""))"""


@pytest.mark.parametrize(
    "text", ['f("', "f('abc", 'f("abc\n")', 'f("abc\r")', 'f("a\\"', 'f("a\\\n")', "f(\"a')"]
)
def test_an_unterminated_string_is_shown_at_its_opening_quote(text: str) -> None:
    assert place(syntax_error(text)) == ("E002", 2, 1)


@pytest.mark.parametrize(
    ("written", "offset", "length"),
    [
        (r"a\q", 2, 2),
        (r"\é", 1, 2),
        (r"\x41", 1, 2),
        (r"\u12", 1, 4),
        (r"\u12g4", 1, 4),
        (r"\u", 1, 2),
        (r"\ud83d", 1, 6),
        (r"\ude00", 1, 6),
        (r"\ud83dx", 1, 6),
        (r"\ud83d\u0041", 1, 6),
        (r"\ud83d\ud83d\ude00", 1, 6),
        (r"\n\0", 3, 2),
    ],
)
def test_an_invalid_escape_is_shown_whole(written: str, offset: int, length: int) -> None:
    assert place(syntax_error(f'"{written}"')) == ("E003", offset, length)


@pytest.mark.parametrize("control", ["\x00", "\x01", "\x08", "\x0b", "\x0c", "\x1f"])
def test_control_characters_other_than_tab_are_refused_in_strings(control: str) -> None:
    assert place(syntax_error(f'"ab{control}c"')) == ("E001", 3, 1)


def test_a_string_holds_sixteen_kibibytes_of_utf_8() -> None:
    assert result(f'"{"a" * LONGEST_STRING}"') == Str("a" * LONGEST_STRING)
    assert place(syntax_error(f'f("{"a" * (LONGEST_STRING + 1)}")')) == (
        *("E009", 2),
        LONGEST_STRING + 3,
    )
    assert syntax_error(f'"{"й" * (LONGEST_STRING // 2 + 1)}"').code == "E009"


def test_the_size_of_a_string_is_that_of_its_value() -> None:
    escapes = r"\u0041" * 10_000
    assert result(f'"{escapes}"') == Str("A" * 10_000)


@pytest.mark.parametrize("text", ['"a\ud800"', "x # \udfff", "x #\x00"])
def test_what_no_database_stores_is_refused_even_in_comments(text: str) -> None:
    assert syntax_error(text).code == "E001"


def test_bytes_that_are_not_utf_8_are_shown_where_they_stand() -> None:
    assert place(syntax_error('f("é'.encode() + b'\xff")')) == ("E001", 4, 1)
    assert place(syntax_error(b"f(\xff)")) == ("E008", 2, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(x) y $", ("E106", 5, 1)),
        ("f(x $ y)", ("E001", 4, 1)),
        (r'f(x "a\q")', ("E101", 4, 5)),
        (r'f(x, "a\q" $', ("E003", 7, 2)),
        ('{a: 1, a "', ("E104", 7, 1)),
        ("x | y $", ("E107", 2, 1)),
    ],
)
def test_the_first_error_by_offset_is_reported(text: str, expected: tuple[str, int, int]) -> None:
    assert place(syntax_error(text)) == expected


def test_the_bar_is_reserved_with_advice() -> None:
    found = syntax_error("f(x) | g")
    assert place(found) == ("E107", 5, 1)
    assert found.hint == "write g(f(x))"


def test_sixty_four_kibibytes_are_read_and_no_more() -> None:
    text = "x" + " " * (64 * 1024 - 1)
    assert parse(text) == parse("x") == parse(text.encode())
    for larger in (text + " ", f"{text} ".encode(), "é" * 33_000, "\ud800" * 65_536):
        found = syntax_error(larger)
        assert (found.line, found.column, *place(found)) == (1, 1, "E006", 0, 0)


def test_twenty_thousand_tokens_are_read_and_no_more() -> None:
    parse("[" + "1," * 9_999 + "]")
    found = syntax_error("[" + "1," * 9_999 + "1]")
    assert place(found) == ("E006", 20_000, 1)
    assert syntax_error("x " * 20_000).code == "E106"


def test_comments_are_no_tokens() -> None:
    parse("#\n" * 25_000 + "x")


def test_bytes_too_large_are_not_even_decoded() -> None:
    with pytest.raises(InvalidPipeline):
        parse(b"\xff" * 70_000)
