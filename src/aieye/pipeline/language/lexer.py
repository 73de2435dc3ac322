"""Text into tokens.

    ws      = " " | "\\t" | "\\f" | "\\r" | "\\n"           comment = "#" to the end of the line
    NAME    = ( letter | "_" ) { letter | digit | "_" }
    INT     = [ "-" ] ( "0" | digit1 { digit } )
    FLOAT   = INT-part with a fraction, an exponent, or both
    STRING  = '"' … '"' | "'" … "'"
    other   = ( ) , = [ ] { } : ; . @ ?

All tokens are found in one pass, yet a fault among them counts only when the parser gets there: it
is the last token, of kind `FAULT`. What is wrong inside a string is found when its value is asked
for, so that the first error by offset is the one that is reported.
"""

from __future__ import annotations

import re
from math import isinf
from string import ascii_letters, digits
from typing import Final

from aieye.pipeline.language.errors import Fault
from aieye.pipeline.language.limits import (
    MAX_INT,
    MAX_NAME_CHARACTERS,
    MAX_STRING_BYTES,
    MAX_TOKENS,
    MIN_INT,
)
from aieye.pipeline.language.strings import BrokenString, code_point, unquote

# Kinds of tokens. A punctuation mark and a reserved word are each their own kind.
NAME: Final = "name"
STRING: Final = "string"
INT: Final = "int"
FLOAT: Final = "float"
END: Final = "end"
FAULT: Final = "fault"
_COMMENT: Final = "comment"  # never among the tokens

RESERVED: Final = frozenset({"true", "false", "null"})

_SPACE: Final = " \t\f\r\n"
# Possessive throughout: nothing that was matched is tried again. The last alternative takes any other
# character, so that a match always follows where the one before it ended.
_TOKEN: Final = re.compile(
    r"""[ \t\f\r\n]*+(
      [(),=\[\]{}:;.@?]
    | [A-Za-z_][A-Za-z0-9_]*+
    | "[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+" | '[^'\\\r\n]*+(?:\\[^\r\n][^'\\\r\n]*+)*+'
    | -?[0-9](?:[0-9A-Za-z_.]|(?<=[eE])[+-])*+
    | \#[^\r\n]*+
    | .
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = "number"  # INT or FLOAT, or neither
_KINDS: Final = {
    **{mark: mark for mark in "(),=[]{}:;.@?"},
    **dict.fromkeys(ascii_letters + "_", NAME),
    **dict.fromkeys("\"'", STRING),
    **dict.fromkeys("-" + digits, _NUMBER),
    "#": _COMMENT,
}
"""What a match is by its first character, unless something is wrong with it."""

_INT_PART: Final = r"-?(?:0|[1-9][0-9]*+)"
_INT: Final = re.compile(_INT_PART)
_FLOAT: Final = re.compile(
    _INT_PART + r"(?:\.[0-9]++(?:[eE][+-]?[0-9]++)?+|[eE][+-]?[0-9]++)", re.VERBOSE
)
_MOST_INT_CHARACTERS: Final = len(str(MIN_INT))
_SURELY_SHORT: Final = MAX_STRING_BYTES // 4  # no character takes more bytes
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Tokens:
    """Side by side: what each token is, its text, and where it starts. The last is END or FAULT.

    `comments` holds the offset and text of each comment, `fault` what a FAULT token means.
    """

    __slots__ = ("comments", "fault", "kinds", "starts", "texts")

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.starts: list[int] = []
        self.comments: list[tuple[int, str]] = []
        self.fault: Fault | None = None

    def stop(self, fault: Fault, count: int) -> None:
        """Keep `count` tokens and end with a fault."""
        self.fault = fault
        self.kinds[count:] = [FAULT]
        self.texts[count:] = [""]
        self.starts[count:] = [fault.start]


def lex(text: str) -> Tokens:
    """The tokens of a text, in linear time."""
    tokens = Tokens()
    kinds, texts, starts = tokens.kinds, tokens.texts, tokens.starts
    # Space at the end is taken off: a match would be looked for at each character of it.
    for match in _TOKEN.finditer(text.rstrip(_SPACE)):
        word = match[1]
        kind = _KINDS.get(word[0], FAULT)
        if kind is NAME and word not in RESERVED and len(word) <= MAX_NAME_CHARACTERS:
            kinds.append(NAME)
        elif kind == word or word in RESERVED:
            kinds.append(word)
        else:
            start = match.start(1)
            found = _checked(kind, word, start)
            if isinstance(found, Fault):
                tokens.stop(found, len(starts))
                break
            if found == _COMMENT:
                tokens.comments.append((start, word))
                continue
            kinds.append(found)
        texts.append(word)
        starts.append(match.start(1))
    else:
        kinds.append(END)
        texts.append("")
        starts.append(len(text))
    if len(kinds) > MAX_TOKENS and kinds[MAX_TOKENS] not in (END, FAULT):
        start = starts[MAX_TOKENS]
        message = f"too large: a pipeline has at most {MAX_TOKENS:,} tokens"
        fault = Fault("E006", message, start, start + len(texts[MAX_TOKENS]))
        tokens.stop(fault, MAX_TOKENS)
    return tokens


def _checked(kind: str, word: str, start: int) -> str | Fault:
    """The kind of a match that is neither a short name nor a mark, or what is wrong with it."""
    if kind is STRING and len(word) > 1:
        is_short = len(word) <= _SURELY_SHORT or not _is_long_string(word, start)
        return STRING if is_short else _fault(kind, word, start)
    if kind is _NUMBER and word != "-":
        return _number_kind(word) or _fault(kind, word, start)
    if kind is _COMMENT:
        return _comment_fault(word, start) or _COMMENT
    return _fault(kind, word, start)


def _number_kind(word: str) -> str | None:
    """INT or FLOAT; None for what is neither or out of range."""
    if _INT.fullmatch(word):
        return INT if _is_in_range(word) else None
    if _FLOAT.fullmatch(word) and not isinf(float(word)):
        return FLOAT
    return None


def _is_in_range(word: str) -> bool:
    return len(word) <= _MOST_INT_CHARACTERS and MIN_INT <= int(word) <= MAX_INT


def _is_long_string(word: str, start: int) -> bool:
    try:
        value = unquote(word, start)
    except BrokenString:
        return False  # reported as that
    return len(value.encode("utf-8")) > MAX_STRING_BYTES


_OPERATORS: Final = "+-*/%<>!&^~"
_NO_OPERATORS: Final = "there are no operators: call a function, f(a, b)"


def _comment_fault(word: str, start: int) -> Fault | None:
    """Half of a surrogate pair and NUL, which no database stores, though nobody reads them."""
    found = _UNSTORABLE.search(word)
    if found is None:
        return None
    at = start + found.start()
    return Fault("E001", f"unexpected character {code_point(found[0])} in a comment", at, at + 1)


def _fault(kind: str, word: str, start: int) -> Fault:
    """What is wrong with a match that is no token."""
    end = start + len(word)
    if kind is NAME:
        message = f"name too long: at most {MAX_NAME_CHARACTERS} characters"
        return Fault("E009", message, start, end)
    if (len(word) == 1 and kind is not _NUMBER) or word == "-":
        return _character_fault(word, start, end)
    if kind is STRING:
        return Fault("E009", f"string too long: at most {MAX_STRING_BYTES:,} bytes", start, end)
    return _number_fault(word, start, end)


def _number_fault(word: str, start: int, end: int) -> Fault:
    if _INT.fullmatch(word):
        return Fault("E005", "integer out of range: -2^63 up to 2^63-1", start, end)
    if _FLOAT.fullmatch(word):
        return Fault("E005", "number out of range", start, end)
    return Fault("E004", f"not a number: {_cut(word)}", start, end)


def _character_fault(word: str, start: int, end: int) -> Fault:
    if word in "'\"":
        return Fault("E002", "unterminated string", start, end)
    if word == "|":
        return Fault("E107", "'|' is reserved", start, end, hint="write g(f(x))")
    if not word.isascii():
        message = f"character {code_point(word)} stands outside strings and comments"
        return Fault("E008", message, start, end)
    shown = f"'{word}'" if word.isprintable() else code_point(word)
    hint = _NO_OPERATORS if word in _OPERATORS else None
    return Fault("E001", f"unexpected character {shown}", start, end, hint)


def _cut(word: str) -> str:
    return f"'{word}'" if len(word) <= MAX_NAME_CHARACTERS else f"'{word[:MAX_NAME_CHARACTERS]}…'"
