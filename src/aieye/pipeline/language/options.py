"""The options of a call, a closed set: `@(timeout=30, retries=2, cache="off", model="gpt-5")`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aieye.pipeline.language.findings import Finding
from aieye.pipeline.language.nodes import Call, Float, Int, Option, Str
from aieye.pipeline.language.suggest import did_you_mean

CACHE_MODES: Final = ("use", "refresh", "off", "only")
MAX_RETRIES: Final = 5
MAX_TIMEOUT: Final = 24 * 3600
"""Seconds; the clocks of processes hold no number however large."""

_WITHOUT: Final = ("if", "try")


def check_options(call: Call) -> Iterator[Finding]:
    """E206 for each unknown option, E401 for each value that its option does not take.

    `if` and `try` make no call that an option could say anything of.
    """
    for option in call.options:
        name = option.name
        if call.name in _WITHOUT:
            yield _useless(option, call.name)
        elif name not in _RULES:
            yield _unknown(option)
        elif not _RULES[name][0](option):
            yield _wrong(option)


def _useless(option: Option, callee: str) -> Finding:
    return Finding(
        *("E206", option.start, option.start + len(option.name)),
        lambda: f"'{callee}' takes no option '{option.name}'",
        hint="give it to a call inside",
    )


def _unknown(option: Option) -> Finding:
    name = option.name
    return Finding(
        *("E206", option.start, option.start + len(name)),
        lambda: f"unknown option '{name}'{did_you_mean(name, _RULES)}",
    )


def _wrong(option: Option) -> Finding:
    name, value = option.name, option.value
    return Finding(
        *("E401", value.start, value.end), lambda: f"option '{name}' takes {_RULES[name][1]}"
    )


def _is_timeout(option: Option) -> bool:
    return isinstance(option.value, Int | Float) and 0 < option.value.value <= MAX_TIMEOUT


def _is_retries(option: Option) -> bool:
    return isinstance(option.value, Int) and 0 <= option.value.value <= MAX_RETRIES


def _is_cache(option: Option) -> bool:
    return isinstance(option.value, Str) and option.value.value in CACHE_MODES


def _is_model(option: Option) -> bool:
    return isinstance(option.value, Str) and option.value.value != ""


_RULES: Final[dict[str, tuple[Callable[[Option], bool], str]]] = {
    "timeout": (_is_timeout, f"a positive number of seconds, {MAX_TIMEOUT:,} at most"),
    "retries": (_is_retries, f"an integer from 0 to {MAX_RETRIES}"),
    "cache": (_is_cache, "one of " + ", ".join(f'"{mode}"' for mode in CACHE_MODES)),
    "model": (_is_model, "the name of a model"),
}

NAMES: Final = frozenset(_RULES)
