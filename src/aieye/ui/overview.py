"""Overview: what a period came to beside the one before, over time, and who and what had most of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast, get_args
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.snapshot import DEMO_ID, DEMO_PROVIDER
from aieye.ledger.periods import before, cut
from aieye.ledger.queries import UsageFilters, names_of
from aieye.ledger.queries.overview import MOST_LAYERS, Overview, overview
from aieye.ledger.queries.period_sums import TOPS, Amounts, Measure, add_up
from aieye.ui import charts, show
from aieye.ui.bars import bar_names, bar_ticks
from aieye.ui.charts import Series
from aieye.ui.colours import Colours, find_colours
from aieye.ui.links import Here
from aieye.ui.ranges import Range
from aieye.ui.session import Visitor

WORDS = {"model": "Models", "token": "Tokens", "user": "Users", "provider": "Providers",
         "pipeline": "Pipelines"}  # fmt: skip
MEASURES: Mapping[str, str] = {"cost": "Spend", "requests": "Requests", "tokens": "Tokens"}
MOST_SHOWN = 5
_TEXTS = ("model", "pipeline")
_LONGEST = 200
_MOST_PARTIAL = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What the URL asks for: a measure (whether it names one is `is_chosen`), what to stack by, and
    what calls must have."""

    measure: Measure
    stack_by: str
    values: Mapping[str, str]
    is_chosen: bool = True

    @property
    def filters(self) -> UsageFilters:
        return UsageFilters(
            **{
                name: value if name in _TEXTS else int(value)  # type: ignore[arg-type] # by its name
                for name, value in self.values.items()
            }
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One of the largest: `value` as filters name it, its name, and its part of the whole.

    `value` is None for what is together in one row, which no filter names.
    """

    value: str | None
    name: str
    amounts: Amounts
    share: float
    colour: int


@dataclass(frozen=True, slots=True)
class Top:
    """The largest of one kind, and the rest, so that the parts make up the whole."""

    kind: str
    word: str
    rows: Sequence[Row]


def read_asked(here: Here, *, is_administrator: bool) -> Asked:
    """What the URL asks for; what it asks wrongly is as if it were not there."""
    kinds = [kind for kind in TOPS if kind != "user" or is_administrator]
    measure, stack_by = here.get("measure"), here.get("by")
    values = {kind: here.get(kind) for kind in kinds if _is_value(kind, here.get(kind))}
    return Asked(
        cast(Measure, measure) if measure in get_args(Measure) else "cost",
        stack_by if stack_by in kinds else "model",
        values,
        is_chosen=measure in get_args(Measure),
    )


def _is_value(kind: str, text: str) -> bool:
    if kind in _TEXTS:
        return 0 < len(text) <= _LONGEST and text.isprintable()
    return text.isascii() and text.isdigit() and len(text) < 10


async def page_values(visitor: Visitor) -> dict[str, Any]:
    """What the template shows."""
    period = visitor.range()
    asked = read_asked(visitor.here, is_administrator=visitor.is_administrator)
    state = visitor.state
    state.ahead.expect(visitor.owner_id)
    moment = int(visitor.now.timestamp())
    until = int(period.until.timestamp())
    this = cut(int(period.since.timestamp()), until, now=moment)
    async with state.database.read() as session:
        look = partial(
            overview,
            session,
            state.periods,
            this=this,
            before=before(this, until, now=moment),
            stack_by=asked.stack_by,
            filters=asked.filters,
            owner_id=visitor.owner_id,
            now=moment,
        )
        found = await look(measure=asked.measure)
        if found.whole.amounts.calls and not (asked.is_chosen or found.whole.amounts.cost_nano):
            # Where nothing has a price, what it cost is not the first thing to show.
            asked = replace(asked, measure="requests")
            found = await look(measure=asked.measure)
        # Whoever sees only own calls learns no name by asking for a number.
        named = asked.values if visitor.is_administrator else {}
        names = await _names(session, found, named, is_demo=state.directory.is_demo)
    colours = await find_colours(
        state.database, _shown(found), is_administrator=visitor.is_administrator
    )
    chips = [
        (kind, WORDS[kind].removesuffix("s"), names.of(kind, value))
        for kind, value in asked.values.items()
    ]
    return {
        "period": period,
        "asked": asked,
        "chips": chips,
        "found": found,
        "now_amounts": found.whole.amounts,
        "former": found.before,
        "cards": _cards(found),
        "tops": _tops(found, asked, names, colours, is_administrator=visitor.is_administrator),
        "chart": _chart(found, asked, names, colours[asked.stack_by], period, visitor.here),
        "kinds": [kind for kind in TOPS if kind != "user" or visitor.is_administrator],
        "words": WORDS,
        "measures": MEASURES,
        "api_path": _api_path(period, asked),
    }


@dataclass(frozen=True, slots=True)
class _Names:
    """What values are called."""

    by_kind: Mapping[str, Mapping[int, str]]

    def of(self, kind: str, value: object) -> str:
        if kind in _TEXTS:
            return str(value)
        number = int(str(value))
        return self.by_kind[kind].get(number) or f"{kind} {number}"


async def _names(
    session: AsyncSession, found: Overview, named: Mapping[str, str], *, is_demo: bool
) -> _Names:
    by_kind: dict[str, dict[int, str]] = {}
    for kind in ("token", "user", "provider"):
        ids = {int(value) for value, _ in found.tops[kind][: max(MOST_SHOWN, MOST_LAYERS)]}
        if kind in named:
            ids.add(int(named[kind]))
        by_kind[kind] = await names_of(session, kind, ids)
    if is_demo:
        by_kind["provider"][DEMO_ID] = DEMO_PROVIDER
    return _Names(by_kind)


def _cards(found: Overview) -> Mapping[str, Markup]:
    """The line of each card, over the bars of the chart."""
    # The first and the last bar show a part of their time: a line would fall there for no reason.
    bars = found.bars[1:-1] if len(found.bars) > _MOST_PARTIAL else found.bars
    if not any(bar.amounts.calls for bar in bars):
        bars = found.bars
    lines: dict[str, list[float]] = {
        "spend": [bar.amounts.cost_nano for bar in bars],
        "saved": [bar.amounts.saved_nano for bar in bars],
        "requests": [bar.amounts.calls for bar in bars],
        "tokens": [bar.amounts.tokens for bar in bars],
        "errors": [bar.amounts.errors for bar in bars],
        "p50": [bar.p50_ms or 0 for bar in bars],
        "p95": [bar.p95_ms or 0 for bar in bars],
        "hits": [bar.amounts.hit_rate or 0 for bar in bars],
    }
    return {name: charts.sparkline(values) for name, values in lines.items()}


def _shown(found: Overview) -> Mapping[str, Sequence[str]]:
    """What the chart and the lists may show of each kind: the same, so that both have one colour."""
    return {
        kind: [str(value) for value, _ in values[:MOST_LAYERS]]
        for kind, values in found.tops.items()
    }


def _tops(
    found: Overview, asked: Asked, names: _Names, colours: Colours, *, is_administrator: bool
) -> Sequence[Top]:
    whole = found.whole.amounts.by(asked.measure)
    tops = []
    for kind in TOPS:
        values = found.tops[kind]
        if not values or (kind == "user" and not is_administrator):
            continue
        listed = [
            (str(value), names.of(kind, value), amounts, colours[kind][str(value)])
            for value, amounts in values[:MOST_SHOWN]
        ]
        rows = [
            Row(value, name, amounts, amounts.by(asked.measure) / whole if whole else 0.0, colour)
            for value, name, amounts, colour in (*listed, *_rest(found, kind))
        ]
        tops.append(Top(kind, WORDS[kind], rows))
    return tops


def _rest(found: Overview, kind: str) -> Iterator[tuple[None, str, Amounts, int]]:
    """What the largest of a kind leave over: smaller ones, and calls that have none."""
    others = [amounts for _, amounts in found.tops[kind][MOST_SHOWN:]]
    if others:
        yield None, f"{len(others)} more", add_up(others), 0
    if found.without[kind].calls:
        yield None, _without_word(found, kind), found.without[kind], 0


def _without_word(found: Overview, kind: str) -> str:
    """What those are that have no value: the simulated provider is written as none is, but it says
    something."""
    amounts = found.without[kind]
    if kind != "provider" or not amounts.tokens:
        return f"no {kind}"
    return f"{DEMO_PROVIDER} or none" if amounts.errors else DEMO_PROVIDER


def _chart(
    found: Overview,
    asked: Asked,
    names: _Names,
    colours: Mapping[str, int],
    period: Range,
    here: Here,
) -> Mapping[str, Any]:
    """The arguments of `charts.stacked` and `charts.data_table`."""
    this = found.cut
    kind, series = asked.stack_by, []
    for layer in found.layers:
        values = [float(amounts.by(asked.measure)) for amounts in layer.amounts]
        if layer.value is None:
            series.append(Series(_left_over(found, kind), values, colour=0))
        else:
            name = names.of(kind, layer.value)
            link = here(**{kind: str(layer.value)})
            series.append(Series(name, values, link, colours[str(layer.value)]))
    return {
        "buckets": bar_names(this, period),
        "series": _apart(series),
        "title": f"{MEASURES[asked.measure]} by {kind}",
        "write": _write_cost if asked.measure == "cost" else show.compact,
        "ticks": bar_ticks(this, period),
    }


def _write_cost(value: float) -> str:
    return show.money(round(value))


def _left_over(found: Overview, kind: str) -> str:
    is_rest = len(found.tops[kind]) >= len(found.layers)
    return "all others" if is_rest else _without_word(found, kind)


def _apart(series: Sequence[Series]) -> Sequence[Series]:
    """Layers of one name, such as two tokens that are called alike, told apart."""
    seen: dict[str, int] = {}
    told = []
    for one in series:
        seen[one.name] = seen.get(one.name, 0) + 1
        name = one.name if seen[one.name] == 1 else f"{one.name} ({seen[one.name]})"
        told.append(Series(name, one.values, one.href, one.colour))
    return told


def _api_path(period: Range, asked: Asked) -> str:
    query = {"since": f"{period.since:%Y-%m-%dT%H:%M:%SZ}", "group_by": asked.stack_by}
    if period.name is None:
        query["until"] = f"{period.until:%Y-%m-%dT%H:%M:%SZ}"
    for kind, value in asked.values.items():
        query[kind if kind in _TEXTS else f"{kind}_id"] = value
    return f"/api/v1/usage?{urlencode(query)}"
