"""The one time range of a page, as it stands in its URL. Pure.

`range=24h` is a window that ends now, `since=…&until=…` a fixed one (`until` may be left out), and
`tz=utc` shows times in UTC instead of the browser's zone. Everything else keeps out of the URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aieye.access.texts import FIRST_YEAR, LAST_YEAR
from aieye.errors import InvalidRequest

# The names in the URL, with what people read.
RANGES: Mapping[str, tuple[timedelta, str]] = {
    "15m": (timedelta(minutes=15), "15 minutes"),
    "1h": (timedelta(hours=1), "1 hour"),
    "6h": (timedelta(hours=6), "6 hours"),
    "24h": (timedelta(hours=24), "24 hours"),
    "7d": (timedelta(days=7), "7 days"),
    "30d": (timedelta(days=30), "30 days"),
}
DEFAULT = "24h"
RANGE_PARAMETERS = ("range", "since", "until", "tz")
_LONGEST_ZONE = 64


@dataclass(frozen=True, slots=True)
class Range:
    """`since <= time < until`; `name` is that of a window that ends now, None for a fixed one."""

    since: datetime
    until: datetime
    name: str | None
    zone: tzinfo
    # What of the URL made it, so that links keep it.
    query: Mapping[str, str]
    # What is wrong with the range that was asked for, where this is another.
    fault: str = ""

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()

    @property
    def before(self) -> tuple[datetime, datetime]:
        """The period of the same length before this one, for comparison."""
        return self.since - (self.until - self.since), self.since

    @property
    def label(self) -> str:
        """What the range is called: `Last 24 hours`, or both ends."""
        if self.name is not None:
            return f"Last {RANGES[self.name][1]}"
        ends = (self.since.astimezone(self.zone), self.until.astimezone(self.zone))
        return " – ".join(f"{end:%Y-%m-%d %H:%M}" for end in ends)

    @property
    def compared(self) -> str:
        """What a change is against."""
        if self.name is not None:
            return f"against the {RANGES[self.name][1]} before"
        return "against the same time before"

    @property
    def is_utc(self) -> bool:
        return self.query.get("tz") == "utc"

    @property
    def zone_name(self) -> str:
        """The zone as people know it: `UTC`, `CET`."""
        return f"{self.until.astimezone(self.zone):%Z}"


def read_range(
    params: Mapping[str, str], *, now: datetime, zone: tzinfo = UTC, default: str = DEFAULT
) -> Range:
    """The range that the query parameters `params` ask for. Raises `InvalidRequest`.

    A time without a zone, as forms send it, is one in `zone`.
    """
    query = {name: params[name] for name in RANGE_PARAMETERS if params.get(name)}
    shown = UTC if query.get("tz") == "utc" else zone
    if "since" not in query:
        if "until" in query:
            raise InvalidRequest("A range with an end needs its beginning too.", param="since")
        name = query.get("range", default)
        if name not in RANGES:
            raise InvalidRequest("There is no such time range: choose one.", param="range")
        return Range(now - RANGES[name][0], now, name, shown, query)
    query.pop("range", None)
    since = _moment("since", query["since"], shown)
    until = _moment("until", query["until"], shown) if "until" in query else now
    if until <= since:
        raise InvalidRequest("The range should end after it begins.", param="until")
    return Range(since, until, None, shown, query)


def shown_range(
    params: Mapping[str, str], *, now: datetime, zone: tzinfo = UTC, default: str = DEFAULT
) -> Range:
    """The range for a page: where the one asked for is none, the usual one with what is wrong."""
    try:
        return read_range(params, now=now, zone=zone, default=default)
    except InvalidRequest as error:
        kept = {"tz": params.get("tz", "")}
        usual = read_range(kept, now=now, zone=zone, default=default)
        return replace(usual, fault=error.message)


def find_zone(name: str | None) -> tzinfo:
    """The time zone of this name, such as `Europe/Berlin`; UTC when nobody knows it."""
    if not name or len(name) > _LONGEST_ZONE:
        return UTC
    try:
        return ZoneInfo(name)
    # A name that is a directory, or is none that a file could have.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _moment(name: str, text: str, zone: tzinfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        end = {"since": "beginning", "until": "end"}[name]
        raise InvalidRequest(
            f"The {end} should be a time such as 2026-11-20T12:00.", param=name
        ) from error
