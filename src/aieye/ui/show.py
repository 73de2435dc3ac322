"""How values are written on pages: numbers, money, times, durations, sizes. Pure.

The unit stands in the header of a column where it can, so the filters `number` and `ms` have none.
Separators are narrow no-break spaces, so that a number never breaks over two lines.
"""

from __future__ import annotations

import json as _json
import re
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from markupsafe import Markup, escape

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
ELLIPSIS = "…"
UNKNOWN = "unknown"
_NANO = Decimal(10) ** 9
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_HALF_EVEN)
_CENT, _DOLLAR = Decimal("0.01"), Decimal(1)
_COMPACT = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
_SIZES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_AGES = ((86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h"), (60, "min"))
_JUST_NOW_SECONDS = 10
_CODE = re.compile(r"(?<!`)(`{1,2})([^`\n]+)\1(?!`)")


def number(value: float | None, decimals: int = 0) -> str:
    """A count with thin separators: `12 345`; nothing known is a dash."""
    if value is None:
        return "–"
    text = f"{abs(value):,.{decimals}f}".replace(",", THIN)
    return f"{MINUS}{text}" if value < 0 and text.strip("0.") else text


def compact(value: float) -> str:
    """A count in few characters, for axes and cards: `1.2 M`."""
    for size, unit in _COMPACT:
        # From where rounding would write 1000 of the smaller unit.
        if abs(value) >= size * 0.9995:
            scaled = value / size
            decimals = 0 if abs(scaled) >= 99.95 else 1
            return f"{_trimmed(scaled, decimals)}{THIN}{unit}"
    return _trimmed(value, 0 if float(value).is_integer() else 1)


def money(nano: int | None) -> str:
    """Nano-dollars as dollars: four significant digits under a cent, cents over a dollar."""
    return UNKNOWN if nano is None else dollars(Decimal(nano) / _NANO)


def dollars(amount: Decimal | None) -> str:
    """An amount of dollars, as `money` writes it; `unknown` is not `$0.00`."""
    if amount is None:
        return UNKNOWN
    size = abs(amount)
    if size == 0:
        return "$0.00"
    if size < _CENT:
        text = f"{_FOUR_DIGITS.plus(size).normalize():f}"
    elif size < _DOLLAR:
        text = f"{size:.4f}"
    else:
        text = f"{size:,.2f}".replace(",", THIN)
    return f"{MINUS if amount < 0 else ''}${text}"


def ms(milliseconds: float | None) -> str:
    """A latency without its unit, which is milliseconds: for columns of one unit."""
    if milliseconds is None:
        return "–"
    if 0 < milliseconds < 0.05:
        return "<0.1"
    return number(milliseconds, 1 if 0 < milliseconds < 10 else 0)


def duration(milliseconds: float | None) -> str:
    """A time span with its unit: ms under ten seconds, then seconds, minutes, hours."""
    if milliseconds is None:
        return "–"
    if milliseconds < 10_000:
        return f"{ms(milliseconds)}{THIN}ms"
    seconds = milliseconds / 1000
    if seconds < 100:
        return f"{seconds:.1f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest}{THIN}s"
    hours, minutes = divmod(minutes, 60)
    return f"{number(hours)}{THIN}h {minutes}{THIN}min"


def size(count: int | None) -> str:
    """A number of bytes: `1.5 MiB`."""
    if count is None:
        return "–"
    for unit_size, unit in _SIZES:
        if abs(count) >= unit_size:
            return f"{_trimmed(count / unit_size, 1)}{THIN}{unit}"
    return f"{count}{THIN}B"


def percent(share: float | None) -> str:
    """A share of one, as per cent: `12.3 %`."""
    if share is None:
        return "–"
    value = share * 100
    return f"{_trimmed(value, 0 if value >= 99.95 or value == 0 else 1)}{THIN}%"


def delta(now: float, before: float) -> str:
    """The change from `before` to `now` in per cent; empty where nothing can be compared."""
    if not before:
        return ""
    change = (now - before) / abs(before) * 100
    if abs(change) < 0.05:
        return f"0{THIN}%"
    sign = "+" if change > 0 else MINUS
    if abs(change) > 1_000:
        return f"over {sign}1000{THIN}%"
    return f"{sign}{_trimmed(abs(change), 1 if abs(change) < 10 else 0)}{THIN}%"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, or until when, in one unit: `3 min ago`, `in 2 d`."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < _JUST_NOW_SECONDS:
        return "just now"
    unit_seconds, unit = next(((one, name) for one, name in _AGES if abs(seconds) >= one), (1, "s"))
    text = f"{int(abs(seconds) // unit_seconds)}{THIN}{unit}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """The moment in `zone`; in UTC where it lies beyond the calendar there."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def absolute(moment: datetime, zone: tzinfo = UTC) -> str:
    """A moment in full with the name of its time zone: `2026-11-26 10:49:18 UTC`."""
    return f"{in_zone(moment, zone):%Y-%m-%d %H:%M:%S %Z}"


def when(
    moment: datetime | None, *, now: datetime, zone: tzinfo = UTC, never: str = "never"
) -> Markup:
    """How long ago something was, with the absolute time in the title."""
    if moment is None:
        return Markup('<span class="muted">{}</span>').format(never)
    iso = moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        iso, absolute(moment, zone), ago(moment, now)
    )


def middle(text: str, longest: int = 16) -> str:
    """A long id, shortened in its middle: both ends tell it from others."""
    if len(text) <= longest:
        return text
    head = (longest - 1 + 1) // 2
    return f"{text[:head]}{ELLIPSIS}{text[len(text) - (longest - 1 - head) :]}"


def with_code(text: str) -> Markup:
    """What somebody wrote, with what stands between backticks as code; nothing else in it is markup."""
    pieces = _CODE.split(text)
    # Of each match a split gives its two groups: the backticks, and what stands between them.
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 3 == 2 else escape(piece)
        for place, piece in enumerate(pieces)
        if place % 3 != 1
    )


def without_code(text: str) -> str:
    """The same where there can be no code: without the backticks."""
    return _CODE.sub(r"\2", text)


def json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON for people: other letters than ASCII as they are."""
    return _json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 call`, `12 calls`."""
    return f"{number(count)}{THIN}{one if count == 1 else many or one + 's'}"


def _trimmed(value: float, decimals: int) -> str:
    """`value` with at most so many decimals, and none that is zero."""
    text = f"{abs(value):,.{decimals}f}".replace(",", THIN)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{MINUS}{text}" if value < 0 and text != "0" else text
