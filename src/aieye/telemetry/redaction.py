"""Secrets out of whatever is about to be logged: by the form they have and by the name they bear.

A log line is where secrets leak when something else went wrong (an exception that quotes a header,
a URL with a key in it), so this stands at the log's own end and trusts no caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "[redacted]"
_DEEPEST = 6
# Shorter ones would tear holes into ordinary words.
_SHORTEST_SECRET = 8

_HEADERS = r"(?:proxy-)?authorization|(?:set-)?cookie"
_NAMES = (
    r"pass(?:word|wd|phrase)|(?:client[_-])?secret(?:[_-]key)?|(?:x-)?api[_-]?key|sessionid|"
    r"(?:x-)?csrf[_-]?token|(?:access|refresh|auth|id)[_-]token"
)
# In turn: a named value in quotes, a header's whole line, a named word; then values known by form.
_RULES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (
            rf"""\b({_HEADERS}|{_NAMES})(\\*["']?\s*[:,=]\s*b?\\*["'])[^"'\\]+""",
            rf"\1\2{REDACTED}",
        ),
        (rf"""\b({_HEADERS})(\s*[:=]\s*)[^\s"'\\][^\r\n"']*""", rf"\1\2{REDACTED}"),
        (rf"""\b({_NAMES})(\s*[:=]\s*)[^\s"',;&\\]+""", rf"\1\2{REDACTED}"),
        (r"""\b(bearer\s+)[^\s"',;\\]+""", rf"\1{REDACTED}"),
        (r"""(://[^\s/@:"']{0,100}:)[^\s"'<>]{0,500}@""", rf"\1{REDACTED}@"),
        (r"""([?&]key=)[^\s&"']+""", rf"\1{REDACTED}"),
        # Public tokens and providers' keys, JSON web tokens, old tokens (40 hex digits), and what
        # `secrets.token_urlsafe(32)` makes: cookies and set-up links.
        (r"\baie_\w+|\b(?:sk|pk|rk)-[\w-]{6,}|\b(?:gsk|xai|hf|r8)[_-]\w{16,}", REDACTED),
        (r"\bAIza[\w-]{30,}|\beyJ[\w-]{8,1000}\.[\w-]+\.[\w-]*", REDACTED),
        (r"(?<![\w-])[0-9a-f]{40}(?![\w-])", REDACTED),
        (r"(?<![\w-])(?-i:(?=[\w-]*[0-9])(?=[\w-]*[A-Z]))[\w-]{43}(?![\w-])", REDACTED),
    )
)
_SECRET_NAME = re.compile(
    rf"^(?:{_HEADERS}|{_NAMES}|token|sealed)$|password|secret|authorization|cookie", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_known: list[re.Pattern[str]] = []
_held: list[bytes] = []


def hide_secrets(secrets: Iterable[str]) -> None:
    """From now on take exactly these out of every log line, whatever their form; they replace
    those of the call before. Meant for the providers' keys that the process holds; "" is none."""
    # The longest first: of two where one begins the other, nothing may be left over.
    texts = sorted(set(secrets) - {""}, key=len)[::-1]
    _held[:] = [text.encode() for text in texts]
    _known.clear()
    if texts:
        _known.append(re.compile("|".join(re.escape(text) for text in texts)))


def held_secrets() -> list[bytes]:
    """What `hide_secrets` was given last, the longest first: for who keeps bodies."""
    return _held


def redact(text: str) -> str:
    """`text` with everything that is or looks like a secret replaced."""
    for pattern in _known:
        text = pattern.sub(REDACTED, text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def escape_controls(text: str, *, keep: str = "") -> str:
    """`text` on one line: control characters as Python writes them, but those in `keep`."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def scrub(value: Any, depth: int = 0) -> Any:
    """A log field fit to be written: plain values, redacted; other objects by their `repr`.

    Values under a secret's name are replaced whole, in mappings and in pairs as ASGI has headers.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode("latin-1"))
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {scrub(str(name)): _named(name, item, depth) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
        return _items(list(value), depth)
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    return redact(_described(value))


def _items(values: list[Any], depth: int) -> list[Any]:
    if len(values) == 2 and isinstance(values[0], str | bytes):
        return [scrub(values[0]), _named(values[0], values[1], depth)]
    return [scrub(value, depth + 1) for value in values]


def _named(name: object, value: Any, depth: int) -> Any:
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    if value is not None and _SECRET_NAME.search(text):
        return REDACTED
    return scrub(value, depth + 1)


def _described(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - anyone's __repr__, and a log line must not fail
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
