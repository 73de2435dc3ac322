"""The filters of calls as they stand in a URL: read, shown as chips, told to the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from aieye.db.rows import LARGEST_ID
from aieye.ledger.queries import CallFilters
from aieye.ui.ranges import Range

CACHES = ("hit", "miss", "shared", "bypass", "refresh")
_LONGEST = 200
_NANO = 10**9
_MOST_MS, _MOST_USD = 10**9, Decimal(10**6)


class _Wrong(ValueError):
    """What is wrong with a value, for whoever typed it."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the URL asks for. `typed` is each filter as it was given, `faults` what is wrong with
    those that were left out, `chips` the others by parameter: label and value."""

    filters: CallFilters
    typed: Mapping[str, str]
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def applied(self) -> Sequence[tuple[str, str, str]]:
        """The filters that hold: parameter, label, value as it was given."""
        return [
            (name, label, self.typed[name])
            for name, (label, _) in _FILTERS.items()
            if name in self.typed and name not in self.faults
        ]

    def within(self, period: Range) -> CallFilters:
        """The filters, and the time range of the page. A range that ends now has no end: calls go
        on coming in while the page is there."""
        until = None if period.name is not None else period.until
        return replace(self.filters, since=period.since, until=until)

    def api_path(self, period: Range) -> str:
        """The list at the administrators' API with the same filters."""
        query: list[tuple[str, str]] = []
        for name, _, value in self.applied:
            if name == "status" and not value.isdigit():
                # The API has classes of statuses.
                query.append(("status_class", "5xx" if value == "failed" else value))
            elif name == "stream":
                query.append(("stream", "true" if value == "yes" else "false"))
            else:
                query.append((_API_NAMES.get(name, name), value))
        query.append(("since", _iso(period.since)))
        if period.name is None:
            query.append(("until", _iso(period.until)))
        return f"/api/v1/calls?{urlencode(query)}"


def read_filters(params: Mapping[str, str]) -> Filtered:
    """The filters that query parameters ask for; a wrong one is told in `faults` and left out."""
    typed = {name: params[name].strip() for name in _FILTERS if params.get(name, "").strip()}
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, text in typed.items():
        try:
            if len(text) > _LONGEST or not text.isprintable():
                raise _Wrong(f"This should be printable and at most {_LONGEST} characters long.")
            found |= _FILTERS[name][1](text)
        except _Wrong as wrong:
            faults[name] = str(wrong)
    return Filtered(CallFilters(**found), typed, faults)


def _text(column: str) -> Callable[[str], dict[str, Any]]:
    return lambda text: {column: text}


def _id(column: str, should_be: str = "the number of one") -> Callable[[str], dict[str, Any]]:
    def read(text: str) -> dict[str, Any]:
        if not (text.isascii() and text.isdigit() and int(text[:20]) <= LARGEST_ID):
            raise _Wrong(f"This should be {should_be}.")
        return {column: int(text)}

    return read


def _status(text: str) -> dict[str, Any]:
    if text == "failed":
        return {"has_failed": True}
    if len(text) == 3 and text[0] in "12345" and text[1:] == "xx":
        return {"status_class": int(text[0])}
    if text.isascii() and text.isdigit() and 100 <= int(text[:4]) <= 599:
        return {"status": int(text)}
    raise _Wrong("This should be a status such as 429, a class such as 4xx, or failed.")


def _cache(text: str) -> dict[str, Any]:
    if text not in CACHES:
        raise _Wrong(f"This should be one of {', '.join(CACHES)}.")
    return {"cache": text}


def _stream(text: str) -> dict[str, Any]:
    if text not in {"yes", "no"}:
        raise _Wrong("This should be yes or no.")
    return {"is_stream": text == "yes"}


def _tag(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise _Wrong("This should be a name and its value, such as team=search.")
    return {"tag": (name, value)}


def _latency(text: str) -> dict[str, Any]:
    return {"latency_from_us": int(_number(text, Decimal(_MOST_MS), "milliseconds") * 1000)}


def _cost(text: str) -> dict[str, Any]:
    return {"cost_from_nano": int(_number(text, _MOST_USD, "dollars") * _NANO)}


def _number(text: str, most: Decimal, unit: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value <= most):
        raise _Wrong(f"This should be a number of {unit}.")
    return value


# By parameter: its label, and what of `CallFilters` its text stands for.
_FILTERS: Mapping[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "q": ("Text", _text("text")),
    "status": ("Status", _status),
    "model": ("Model", _text("model")),
    "token": ("Token", _id("token_id")),
    "user": ("User", _id("user_id")),
    "provider": ("Provider", _id("provider_id", "the name or the number of one")),
    "key": ("Key", _id("key_id")),
    "cache": ("Cache", _cache),
    "stream": ("Streamed", _stream),
    "endpoint": ("Endpoint", _text("endpoint")),
    "pipeline": ("Pipeline", _text("pipeline")),
    "run": ("Run", _text("run_id")),
    "tag": ("Tag", _tag),
    "latency": ("Latency over, ms", _latency),
    "cost": ("Cost over, $", _cost),
}
LABELS: Mapping[str, str] = {name: label for name, (label, _) in _FILTERS.items()}
_API_NAMES = {
    "q": "text", "token": "token_id", "user": "user_id", "provider": "provider_id",
    "key": "key_id", "run": "run_id", "latency": "min_latency_ms", "cost": "min_cost_usd",
}  # fmt: skip


def _iso(moment: Any) -> str:
    return str(moment.isoformat(timespec="seconds")).replace("+00:00", "Z")
