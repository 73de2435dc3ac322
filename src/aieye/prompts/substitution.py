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


class MissingValue(InvalidRequest):
    """A variable of the prompt has no value; `param` is its name."""

    code = "missing_value"


class RenderedTooLarge(Unprocessable):
    """The prompt with its values is larger than anything that is sent."""

    code = "prompt_too_large"


def variables(body: str) -> tuple[str, ...]:
    """The names of a prompt's variables in order of first appearance."""
    return tuple(dict.fromkeys(text for is_variable, text in _parts(body) if is_variable))


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


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise MissingValue(f"The variable '{name}' of the prompt has no value.", param=name)
    return values[name]
