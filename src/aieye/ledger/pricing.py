"""What a call costs, in integers. Pure.

A `PriceBook` finds the price of a model at a provider at a time: an administrator's override first,
then the prices that the package genai-prices keeps, dated and offline. What it finds is compiled
once into a `CompiledPrice`, integer pico-dollars (1e-12 $) a token, which multiplies and rounds
half up to nano-dollars (1e-9 $) once, at the end. A price or a rate that is not known gives None,
never 0: an unknown cost must not look like a free call.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

import orjson

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

NANO_PER_USD: Final = 10**9
MAX_NANO: Final = 2**63 - 1
"""The most that a 64-bit column holds: nine thousand million dollars for one call."""

MAX_MODEL_CHARACTERS: Final = 256
"""A longer model name has no price: names come from clients and are kept in memory."""

SIMULATED_PROVIDERS: Final = frozenset({"demo", "simulated"})
"""Names of providers that cost nothing real: nothing prices their calls, not even an override."""

_PICO_PER_NANO: Final = 1000
_MS_PER_HOUR: Final = 3_600_000
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class MeteredExtras(Protocol):
    """What is billed beside tokens; see `aieye.gateway.usage.UsageExtras`."""

    @property
    def citation(self) -> int: ...
    @property
    def searches(self) -> int: ...
    @property
    def audio_ms(self) -> int: ...
    @property
    def characters(self) -> int: ...


class Metered(Protocol):
    """The counts that a price is applied to; see `aieye.gateway.usage.Usage`.

    Stated here, since the ledger stands below the gateway and imports nothing of it.
    """

    @property
    def input(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def cached(self) -> int: ...
    @property
    def cache_write(self) -> int: ...
    @property
    def reasoning(self) -> int: ...
    @property
    def input_audio(self) -> int: ...
    @property
    def input_image(self) -> int: ...
    @property
    def output_audio(self) -> int: ...
    @property
    def output_image(self) -> int: ...
    @property
    def extras(self) -> MeteredExtras | None: ...


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-dollars a token by kind; None where the kind has no price.

    A kind without a rate of its own has that of the kind it is part of, as in genai-prices: cached
    text without a cached rate is input, audio without an audio rate is text. So None is left only
    where the whole side has no price.
    """

    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    input_audio: int | None = None
    cached_audio: int | None = None
    input_image: int | None = None
    cached_image: int | None = None
    output: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    output_image: int | None = None
    citation: int | None = None
    text: tuple[int, int, int, int | None] | None = field(init=False, repr=False, compare=False)
    """Input, cached, cache write and output, when nothing else matters to a call in text."""

    def __post_init__(self) -> None:
        text = None
        if (
            self.input is not None
            and self.cached is not None
            and self.cache_write is not None
            and self.reasoning == self.output
        ):
            text = (self.input, self.cached, self.cache_write, self.output)
        object.__setattr__(self, "text", text)


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """The price of one model at one provider: integers, ready to multiply.

    `rates` hold up to and including `tiers[0][0]` input tokens; each tier `(above, rates)` holds
    for a call with more input tokens than `above`, and then for all tokens of the call.
    """

    provider: str
    model: str
    """The model or pattern that matched, as its source names it."""
    source: str
    """Where the price is from: `genai-prices <version>` or `override`."""
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    effective_from: datetime | None = None
    request: int | None = None
    """Pico-dollars a request."""
    search: int | None = None
    """Pico-dollars a search of the web. Without it searches are not billed: providers that report
    them and have no rate include them."""
    audio_hour: int | None = None
    """Pico-dollars an hour of audio."""
    character: int | None = None
    """Pico-dollars a character that is spoken."""
    min_audio_ms: int = 0
    """The shortest length of audio that is billed, in milliseconds."""
    price_id: str = field(init=False)
    """A short hash of all of the above: rows refer to the price they were billed by."""
    first_tier: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content = orjson.dumps(self._content(), option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        object.__setattr__(self, "price_id", digest)
        object.__setattr__(self, "first_tier", self.tiers[0][0] if self.tiers else MAX_NANO)

    def cost_nano(self, usage: Metered) -> int | None:
        """Return the cost of a call in nano-dollars, rounded half up; None when it is not known.

        It is not known when the call used a kind of unit that has no rate. The result is never
        negative and never above `MAX_NANO`; within a tier it is monotone in every count that adds
        to the whole, and the sum of two calls' costs differs from the cost of their sum by one
        nano-dollar at most, but for the fee of the request.
        """
        tokens = usage.input
        rates = self.rates if tokens <= self.first_tier else self._rates_above(tokens)
        if (
            rates.text is None
            or usage.extras is not None
            or usage.input_audio
            or usage.output_audio
            or usage.input_image
            or usage.output_image
        ):
            return self._cost_of_kinds(usage, rates)
        input_rate, cached_rate, write_rate, output_rate = rates.text
        cached = usage.cached
        written = usage.cache_write
        pico = (tokens - cached - written) * input_rate + cached * cached_rate
        if written:
            pico += written * write_rate
        if output := usage.output:
            if output_rate is None:
                return None
            pico += output * output_rate
        if self.request is not None:
            pico += self.request
        return _nano(pico)

    def as_json(self) -> dict[str, object]:
        """Return the price as JSON values: rates are pico-dollars a unit, absent when unknown."""
        return {"price_id": self.price_id, "unit": "pico-usd", **self._content()}

    def _content(self) -> dict[str, object]:
        content: dict[str, object] = {
            "provider": self.provider,
            "model": self.model,
            "source": self.source,
            "effective_from": self.effective_from and self.effective_from.isoformat(),
            "rates": _rates_json(self.rates),
            "tiers": [{"above": above, "rates": _rates_json(r)} for above, r in self.tiers],
            "request": self.request,
            "search": self.search,
            "audio_hour": self.audio_hour,
            "character": self.character,
            "min_audio_ms": self.min_audio_ms or None,
        }
        return {name: value for name, value in content.items() if value not in (None, [])}

    def _rates_above(self, tokens: int) -> Rates:
        """Return the rates of the highest tier below a number of input tokens."""
        rates = self.rates
        for above, tier in self.tiers:
            if tokens <= above:
                break
            rates = tier
        return rates

    def _cost_of_kinds(self, usage: Metered, rates: Rates) -> int | None:
        """Return the cost of a call with more than text in it, or at a price that has no text."""
        extras = usage.extras
        audio_ms = extras.audio_ms if extras else 0
        pico = self.request or 0
        billed = self.request is not None
        if rates.input is not None or rates.output is not None:
            of_tokens = _pico_of_tokens(usage, rates)
            if of_tokens is None:
                return None
            pico += of_tokens
            # The audio of a call may be stated as tokens and as seconds, and be billed as either.
            billed = billed or not audio_ms or usage.input > 0 or usage.output > 0
        if extras and extras.searches and self.search is not None:
            pico += extras.searches * self.search
        if extras and extras.characters and self.character is not None:
            pico += extras.characters * self.character
            billed = True
        if audio_ms and self.audio_hour is not None:
            billed_ms = max(audio_ms, self.min_audio_ms)
            return _nano(pico * _MS_PER_HOUR + self.audio_hour * billed_ms, _MS_PER_HOUR)
        return _nano(pico) if billed else None


def _nano(pico: int, parts: int = 1) -> int:
    """Return pico-dollars (or that many parts of one) in nano-dollars, half up, within bounds."""
    divisor = parts * _PICO_PER_NANO
    nano = (pico + divisor // 2) // divisor
    if nano > MAX_NANO:
        return MAX_NANO
    return nano if nano > 0 else 0


def _pico_of_tokens(usage: Metered, rates: Rates) -> int | None:
    """Return what the tokens of a call cost, by kind; None when a kind has no rate.

    Providers say how many input tokens were cached, not of which kind: text is taken first, then
    image, then audio.
    """
    text = max(0, usage.input - usage.input_audio - usage.input_image)
    written = min(usage.cache_write, text)
    cached = min(usage.cached, text - written)
    cached_image = min(usage.cached - cached, usage.input_image)
    cached_audio = min(usage.cached - cached - cached_image, usage.input_audio)
    citation = usage.extras.citation if usage.extras else 0
    rest = max(0, usage.output - usage.output_audio - usage.output_image - citation)
    reasoning = min(usage.reasoning, rest)
    pico = 0
    for count, rate in (
        (text - written - cached, rates.input),
        (cached, rates.cached),
        (written, rates.cache_write),
        (usage.input_image - cached_image, rates.input_image),
        (cached_image, rates.cached_image),
        (usage.input_audio - cached_audio, rates.input_audio),
        (cached_audio, rates.cached_audio),
        (rest - reasoning, rates.output),
        (reasoning, rates.reasoning),
        (usage.output_image, rates.output_image),
        (usage.output_audio, rates.output_audio),
        (citation, rates.citation),
    ):
        if count:
            if rate is None:
                return None
            pico += count * rate
    return pico


def _rates_json(rates: Rates) -> dict[str, int]:
    return {
        name: value for name, value in asdict(rates).items() if name != "text" and value is not None
    }


# -- an administrator's prices ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price that an administrator set, in dollars a million tokens and dollars a request.

    `model` is a name or, with a trailing `*`, the start of one; letter case does not matter.
    `provider` is the name of one of our providers, None for all. `effective_from` is aware. It
    replaces the package's price whole: without `cached_input` or `cache_write` such tokens cost
    `input`; without `output` a call that has output has no known cost, unless `per_request` is the
    only price. ValueError when it has no price at all, or a wrong one.
    """

    model: str
    effective_from: datetime
    provider: str | None = None
    input: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    output: Decimal | None = None
    per_request: Decimal | None = None

    def __post_init__(self) -> None:
        if not self.model or "*" in self.model[:-1]:
            raise ValueError("model is a name, or the start of one and a `*`")
        if self.effective_from.tzinfo is None:
            raise ValueError("effective_from needs a time zone")
        rates = {name: getattr(self, name) for name in _OVERRIDE_RATES}
        if all(rate is None for rate in rates.values()):
            raise ValueError("a price needs at least one rate")
        for name, rate in rates.items():
            if rate is not None and not (rate.is_finite() and 0 <= rate <= _MAX_RATE):
                raise ValueError(f"{name} is not a price")

    def applies_to(self, provider: str, model: str) -> bool:
        """Say whether it prices a model at a provider, both given in lower case."""
        if self.provider is not None and self.provider.lower() != provider:
            return False
        pattern = self.model.lower()
        return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern

    def rank(self) -> tuple[bool, bool, int, datetime]:
        """Order overrides that apply: a provider's own, then an exact model, then the longest
        start of one, then the newest."""
        return (
            self.provider is not None,
            not self.model.endswith("*"),
            len(self.model),
            self.effective_from,
        )

    def compiled(self, provider: str) -> CompiledPrice:
        """Return the price to bill a provider's calls by."""
        request = self.per_request
        tokens = {"input": self.input, "output": self.output}
        tokens |= {"cached": self.cached_input, "cache_write": self.cache_write}
        return CompiledPrice(
            provider=provider,
            model=self.model,
            source="override",
            rates=_rates({kind: _pico(rate) for kind, rate in tokens.items() if rate is not None}),
            effective_from=self.effective_from,
            request=None if request is None else _pico(request, units=1),
        )


_OVERRIDE_RATES: Final = ("input", "cached_input", "cache_write", "output", "per_request")
_MAX_RATE: Final = 1_000_000


def _pico(usd: Decimal, *, units: int = 1_000_000) -> int:
    """Return dollars for so many units as pico-dollars for one, rounded half up.

    Prices have six decimals at most for a million tokens, so this is exact but for the few that a
    provider derives by division.
    """
    return int((usd * 10**12 / units).to_integral_value(ROUND_HALF_UP))


def _rates(known: Mapping[str, int]) -> Rates:
    """Return rates in which each kind without a rate has the one of the kind it is part of."""

    def first(*kinds: str) -> int | None:
        return next((known[kind] for kind in kinds if kind in known), None)

    return Rates(
        input=first("input"),
        cached=first("cached", "input"),
        cache_write=first("cache_write", "input"),
        input_audio=first("input_audio", "input"),
        cached_audio=first("cached_audio", "input_audio", "cached", "input"),
        input_image=first("input_image", "input"),
        cached_image=first("cached_image", "input_image", "cached", "input"),
        output=first("output"),
        reasoning=first("reasoning", "output"),
        output_audio=first("output_audio", "output"),
        output_image=first("output_image", "output"),
        citation=first("citation", "output"),
    )


# -- the price book ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A price, or that there is none, and the time for which that was found."""

    starts_at: datetime
    ends_at: datetime
    price: CompiledPrice | None


class PriceBook:
    """Finds prices and remembers them. Not to be shared between threads."""

    def __init__(self, overrides: Sequence[PriceOverride] = (), *, memo_limit: int = 4096) -> None:
        # The best comes last, so that of equals the one that was given last wins.
        self._overrides = sorted(overrides, key=PriceOverride.rank)
        self._memo: dict[tuple[str, str, str, str | None], _Span] = {}
        self._memo_limit = memo_limit

    @staticmethod
    def load() -> None:
        """Load the package's prices, which is otherwise done by the first look-up that needs them.

        Takes 30 to 250 ms and 4 to 25 MB, by what was imported before and whether it is compiled,
        once a process: worth a thread of its own in a server. Never uses the network.
        """
        _load_package()

    @staticmethod
    def is_loaded() -> bool:
        """Say whether the package's prices are in memory."""
        return _load_package.cache_info().currsize > 0

    def price_for(
        self,
        provider_name: str,
        provider_origin: str,
        model: str,
        at: datetime,
        service_tier: str | None = None,
    ) -> CompiledPrice | None:
        """Return the price of a model at one of our providers at an aware time; None if unknown.

        An override that is in effect wins. Else the provider is known by its origin (a URL: the
        patterns are the package's), or by its name when that is exactly a provider's id there,
        which prices a test or a relay that is named `openai` on purpose. A private server that
        happens to serve `gpt-4o` has no price: its owner pays for hardware, not for tokens.
        `service_tier` is the one that served the call; tiers without a price of their own have the
        standard one.
        """
        key = (provider_name, provider_origin, model, service_tier)
        span = self._memo.get(key)
        if span is not None and span.starts_at <= at < span.ends_at:
            return span.price
        if not 0 < len(model) <= MAX_MODEL_CHARACTERS:
            return None
        name = provider_name.strip().lower()
        if name in SIMULATED_PROVIDERS:
            return None
        span = self._find(name, provider_origin, model.lower(), at, service_tier)
        if key not in self._memo and len(self._memo) >= self._memo_limit:
            del self._memo[next(iter(self._memo))]
        self._memo[key] = span
        return span.price

    def _find(
        self, provider: str, origin: str, model: str, at: datetime, service_tier: str | None
    ) -> _Span:
        """Find a price and how long it holds."""
        if at.tzinfo is None:
            raise ValueError("a price is asked for at an aware time")
        at = at.astimezone(UTC)
        applicable = [o for o in self._overrides if o.applies_to(provider, model)]
        changes = [o.effective_from for o in applicable]
        in_effect = [o for o in applicable if o.effective_from <= at]
        if in_effect:
            price: CompiledPrice | None = in_effect[-1].compiled(provider)
        else:
            price, package_changes = _package_price(provider, origin, model, at, service_tier)
            changes += package_changes
        return _Span(
            starts_at=max((c for c in changes if c <= at), default=_LONG_AGO),
            ends_at=min((c for c in changes if c > at), default=_NEVER),
            price=price,
        )


# -- the package ------------------------------------------------------------------------------

_KIND_OF_PRICE: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cached_image",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_citation_mtok": "citation",
}

# genai-prices has this rule in code, not in its data. https://console.groq.com/docs/speech-to-text
_GROQ_WHISPER: Final = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
_GROQ_MIN_AUDIO_MS: Final = 10_000

_Prices = dict[str, "Decimal | TieredPrices"]


@dataclass(frozen=True, slots=True)
class _Package:
    """What is used of genai-prices: its data and which of it a provider's address means."""

    providers: list[Provider]
    patterns: list[tuple[re.Pattern[str], Provider]]
    dated: type[StartDateConstraint]
    daily: type[TimeOfDateConstraint]
    source: str

    def find_provider(self, name: str, origin: str) -> Provider | None:
        """Return the provider at an origin, else the one whose id is exactly the name."""
        address = origin.strip().lower().rstrip("/")
        for pattern, provider in self.patterns:
            match = pattern.match(address)
            # The patterns have no end: `api.openai.com` must not match `api.openai.com.evil.net`.
            if match and (match[0][-1:] in "/." or address[match.end() :][:1] in ("", "/", ":")):
                return provider
        return next((p for p in self.providers if p.id == name), None)


@cache
def _load_package() -> _Package:
    """Load the package's prices: from its own files, never from the network.

    The package's own look-up is passed by: it keeps every model name it ever found.
    """
    import genai_prices  # noqa: PLC0415 - see above
    from genai_prices.data import providers  # noqa: PLC0415
    from genai_prices.types import (  # noqa: PLC0415
        StartDateConstraint,
        TimeOfDateConstraint,
    )

    return _Package(
        providers=providers,
        patterns=[(re.compile(p.api_pattern), p) for p in providers],
        dated=StartDateConstraint,
        daily=TimeOfDateConstraint,
        source=f"genai-prices {genai_prices.__version__}",
    )


def _package_price(
    name: str, origin: str, model_ref: str, at: datetime, service_tier: str | None
) -> tuple[CompiledPrice | None, list[datetime]]:
    """Return the package's price, and the times around `at` when it may be another."""
    package = _load_package()
    provider = package.find_provider(name, origin)
    if provider is None:
        return None, []
    model = provider.find_model(model_ref, all_providers=package.providers)
    if model is None:
        return None, []
    prices, effective_from = _prices_at(provider, model, at, service_tier)
    price = _compile(provider.id, model.id, prices, effective_from, package.source)
    return price, list(_changes_around(model, at))


def _prices_at(
    provider: Provider, model: ModelInfo, at: datetime, service_tier: str | None
) -> tuple[_Prices, datetime | None]:
    """Return a model's prices by key and, if they are dated, since when they hold.

    The rules are the package's: the last price whose condition holds, else the first; then, for
    the provider's own models, the first variant of the tier that has the key.
    """
    since: datetime | None = None
    standard = model.prices
    if isinstance(standard, list):
        conditional = next(
            (c for c in reversed(standard) if c.constraint is None or c.constraint.active(at)),
            standard[0],
        )
        if isinstance(conditional.constraint, _load_package().dated):
            since = _midnight(conditional.constraint.start_date)
        standard = conditional.prices
    prices = _stated(standard)
    if service_tier is not None and any(own is model for own in provider.models):
        overrides: _Prices = {}
        for variant in model.price_variants or ():
            active = variant.constraint is None or variant.constraint.active(at)
            if active and variant.when == {"service_tier": service_tier}:
                overrides = _stated(variant.prices) | overrides
        prices |= overrides
    return prices, since


def _stated(prices: object) -> _Prices:
    """Return the prices that a `ModelPrice` states; it keeps them as plain attributes."""
    return {key: value for key, value in vars(prices).items() if value is not None}


def _changes_around(model: ModelInfo, at: datetime) -> Iterator[datetime]:
    """Yield the nearest times, before and after, when another of a model's prices may hold."""
    package = _load_package()
    conditions = [c.constraint for c in model.prices] if isinstance(model.prices, list) else []
    conditions += [v.constraint for v in model.price_variants or ()]
    for condition in conditions:
        if isinstance(condition, package.dated):
            yield _midnight(condition.start_date)
        elif isinstance(condition, package.daily):
            for day in (at.date() + timedelta(days=days) for days in (-1, 0, 1)):
                for moment in (condition.start_time, condition.end_time):
                    yield datetime.combine(day, moment, moment.tzinfo or UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _compile(
    provider: str, model: str, prices: _Prices, effective_from: datetime | None, source: str
) -> CompiledPrice | None:
    """Compile a model's prices; None when the package states none that applies to a call here.

    It states none for some models that are free and for some that it does not know. Only a name
    with OpenRouter's `:free` says which.
    """
    tokens = {kind: prices[key] for key, kind in _KIND_OF_PRICE.items() if key in prices}
    if not prices and model.endswith(":free"):
        tokens = {"input": Decimal(0), "output": Decimal(0)}
    request = _unit_price(prices, ("requests_kcount",), units=1000)
    audio_hour = _unit_price(prices, ("input_audio_hours", "audio_hours"), units=1)
    character = _unit_price(prices, ("input_mchars",), units=1_000_000)
    if not tokens and request is None and audio_hour is None and character is None:
        return None
    starts = sorted({t.start for price in tokens.values() for t in getattr(price, "tiers", ())})
    return CompiledPrice(
        provider=provider,
        model=model,
        source=source,
        rates=_rates_at(tokens, None),
        tiers=tuple((start, _rates_at(tokens, start)) for start in starts),
        effective_from=effective_from,
        request=request,
        search=_unit_price(prices, ("web_searches_kcount",), units=1000),
        audio_hour=audio_hour,
        character=character,
        min_audio_ms=_GROQ_MIN_AUDIO_MS if provider == "groq" and model in _GROQ_WHISPER else 0,
    )


def _rates_at(tokens: _Prices, start: int | None) -> Rates:
    """Return the rates of the tier that begins above `start` input tokens, or of the base."""

    def rate(price: Decimal | TieredPrices) -> Decimal:
        if isinstance(price, Decimal):
            return price
        tiers = [] if start is None else [t for t in price.tiers if t.start <= start]
        return tiers[-1].price if tiers else price.base

    return _rates({kind: _pico(rate(price)) for kind, price in tokens.items()})


def _unit_price(prices: _Prices, keys: Iterable[str], *, units: int) -> int | None:
    """Return the first of some prices, in pico-dollars a unit. None of these has tiers."""
    for key in keys:
        price = prices.get(key)
        if isinstance(price, Decimal):
            return _pico(price, units=units)
    return None


# -- dollars as text --------------------------------------------------------------------------

_USD = re.compile(r"([+-]?)(\d{1,12})(?:\.(\d{1,30}))?", re.ASCII)


def format_usd(nano: int) -> str:
    """Return nano-dollars as a decimal text of dollars: no exponent, no zeros at the end."""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    text = f"{dollars}.{rest:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


def parse_usd(text: str) -> int:
    """Return a decimal text of dollars in nano-dollars, rounded half up (away from zero).

    Raises ValueError for anything but digits with an optional sign and point.
    """
    match = _USD.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an amount of dollars")
    sign, dollars, rest = match.groups(default="")
    digits = rest.ljust(10, "0")
    nano = int(dollars) * NANO_PER_USD + int(digits[:9]) + (digits[9] >= "5")
    return -nano if sign == "-" else nano
