"""Values into the variables of a prompt, in one pass. Pure.

`{name}` of a variable is replaced, and what replaced it is never looked at again. `{{` gives `{`,
and `}}` gives `}` while a `{{` is open, so that the JSON in a prompt keeps its braces; any other
brace stays. There are no formats and no attributes: `{x.y}`, `{x[0]}`, `{x!r}` and `{x:>9}` are
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from aieye.errors import InvalidRequest, Unprocessable

MAX_RENDERED_CHARACTERS: Final = 1 << 20
"""As much as one value of a pipeline may be: a short prompt can repeat a long value."""

# A name is one of the pipeline language, where the three words are literals.
_PART: Final = re.compile(
    r"(\{\{)|(\}\})|\{(?!(?:true|false|null)\})([A-Za-z_][A-Za-z0-9_]{0,99})\}"
)
_OPEN, _CLOSE, _VARIABLE = 1, 2, 3
_BRACE: Final = re.compile(r"[{}]")
_ALMOST_VARIABLE: Final = re.compile(r"\{[ \t]*[A-Za-z_][A-Za-z0-9_ .-]{0,40}\}")
# What is told of loose braces: so many, each with so many characters.
_MOST_LOOSE: Final = 3
_MOST_SHOWN: Final = 24
_BEHIND: Final = re.compile(r"^\{[ \t]?[^\s{}]*")
_BEFORE: Final = re.compile(r"[^\s{}]*[ \t]?\}$")


class MissingValue(InvalidRequest):
    """A variable of the prompt has no value; `param` is its name."""

    code = "missing_value"


class RenderedTooLarge(Unprocessable):
    """The prompt with its values is larger than anything that is sent."""

    code = "prompt_too_large"


def variables(body: str) -> tuple[str, ...]:
    """The names of a prompt's variables in order of first appearance."""
    return tuple(dict.fromkeys(text for is_variable, text in _parts(body) if is_variable))


def loose_braces(body: str) -> tuple[str, ...]:
    """The first braces that look like a variable's and are text, with what stands beside them: one
    without its other, or a pair around what is almost a name. A pair around JSON is none of them."""
    found: set[int] = set()
    open_at: list[int] = []
    for at in _single_braces(body):
        if body[at] == "{":
            open_at.append(at)
        elif not open_at:
            found.add(at)
        elif _ALMOST_VARIABLE.match(body, start := open_at.pop(), at + 1):
            found.add(start)
    first = sorted(found.union(open_at))[:_MOST_LOOSE]
    return tuple(dict.fromkeys(_beside(body, at) for at in first))


def substitute(body: str, values: Mapping[str, str]) -> str:
    """The prompt with its values. Values that it does not ask for are ignored.

    Raises `MissingValue`, and `RenderedTooLarge` before that much text is made.
    """
    written = []
    size = 0
    for is_variable, text in _parts(body):
        part = _value(text, values) if is_variable else text
        size += len(part)
        if size > MAX_RENDERED_CHARACTERS:
            raise RenderedTooLarge(
                f"The prompt with its values has more than {MAX_RENDERED_CHARACTERS:,} characters."
            )
        written.append(part)
    return "".join(written)


def _parts(body: str) -> Iterator[tuple[bool, str]]:
    """The body cut up: whether a part is a variable, and its name or else its text."""
    end = open_braces = 0
    for match in _PART.finditer(body):
        yield False, body[end : match.start()]
        end = match.end()
        if match.lastindex == _VARIABLE:
            yield True, match[_VARIABLE]
        elif match.lastindex == _OPEN:
            open_braces += 1
            yield False, "{"
        else:
            yield False, "}" if open_braces else "}}"
            open_braces -= open_braces > 0
    yield False, body[end:]


def _single_braces(body: str) -> Iterator[int]:
    """Where a brace stands that is neither of a variable nor of a pair that gives one brace."""
    end = open_braces = 0
    for match in _PART.finditer(body):
        yield from _braces(body, end, match.start())
        end = match.end()
        if match.lastindex == _OPEN:
            open_braces += 1
        elif match.lastindex == _CLOSE and open_braces:
            open_braces -= 1
        elif match.lastindex == _CLOSE:
            yield from (match.start(), match.start() + 1)
    yield from _braces(body, end, len(body))


def _braces(body: str, start: int, end: int) -> Iterator[int]:
    return (match.start() for match in _BRACE.finditer(body, start, end))


def _beside(body: str, at: int) -> str:
    """A loose brace with the word at it, by which it is found again."""
    if body[at] == "{":
        pair = _ALMOST_VARIABLE.match(body, at)
        return pair[0] if pair else _BEHIND.findall(body[at : at + _MOST_SHOWN])[0]
    return str(_BEFORE.findall(body[max(0, at + 1 - _MOST_SHOWN) : at + 1])[0])


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise MissingValue(f"The variable '{name}' of the prompt has no value.", param=name)
    return values[name]
