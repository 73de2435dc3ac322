"""What calls cost, checked against the package's own slow arithmetic."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import genai_prices
import orjson
import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice, StartDateConstraint
from hypothesis import given
from hypothesis import strategies as st

from aieye.gateway.usage import MAX_TOKENS, Usage, UsageExtras, normalise_usage
from aieye.ledger.pricing import (
    MAX_NANO,
    CompiledPrice,
    PriceBook,
    PriceOverride,
    Rates,
    breakdown,
    format_usd,
    parse_usd,
)

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"


def price(model: str, *, at: datetime = AT, tier: str | None = None) -> CompiledPrice:
    found = PriceBook().price_for("openai", OPENAI, model, at, tier)
    assert found is not None
    return found


def reference_nano(
    provider: str,
    model: str,
    usage: Usage,
    *,
    at: datetime = AT,
    tier: str | None = None,
    cached_audio: int = 0,
) -> int:
    """Return the cost by `genai_prices.calc_price`, rounded half up to nano-dollars."""
    extras = usage.extras or UsageExtras()
    stated = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "input_audio_tokens": usage.input_audio,
        "input_image_tokens": usage.input_image,
        "output_audio_tokens": usage.output_audio,
        "output_image_tokens": usage.output_image,
        "output_reasoning_tokens": usage.reasoning,
        "output_citation_tokens": extras.citation,
        "web_searches": extras.searches,
        "audio_seconds": extras.audio_ms / 1000,
        "input_audio_seconds": extras.audio_ms / 1000,
        "input_characters": extras.characters,
    }
    result = genai_prices.calc_price(
        genai_prices.Usage(
            cache_audio_read_tokens=cached_audio,
            cache_image_read_tokens=0,
            **{name: value for name, value in stated.items() if value},
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context={"service_tier": tier} if tier else None,
    )
    return int((result.total_price * 10**9).to_integral_value(ROUND_HALF_UP))


# -- golden figures ---------------------------------------------------------------------------

GOLDEN: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "gpt-4o", {"prompt_tokens": 2006, "completion_tokens": 301}),
    (
        "openai",
        "gpt-4o-2024-08-06",
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920},
        },
    ),
    ("openai", "gpt-4o-mini", {"prompt_tokens": 1, "completion_tokens": 1}),
    ("openai", "gpt-3.5-turbo-1106", {"prompt_tokens": 77, "completion_tokens": 3}),
    ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x", {"prompt_tokens": 9, "completion_tokens": 9}),
    (
        "openai",
        "o3",
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 64},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
    ),
    ("openai", "gpt-5.4", {"input_tokens": 272_000, "output_tokens": 10, "total_tokens": 272_010}),
    ("openai", "gpt-5.4", {"input_tokens": 272_001, "output_tokens": 10, "total_tokens": 272_011}),
    ("openai", "text-embedding-3-small", {"prompt_tokens": 8, "total_tokens": 8}),
    (
        "openai",
        "gpt-audio",
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"audio_tokens": 60, "text_tokens": 40},
            "completion_tokens_details": {"audio_tokens": 40, "text_tokens": 10},
        },
    ),
    (
        "openai",
        "gpt-4o-transcribe",
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 2, "audio_tokens": 12},
            "output_tokens": 45,
            "total_tokens": 59,
        },
    ),
    ("openai", "whisper-1", {"type": "duration", "seconds": 8.47}),
    ("groq", "whisper-large-v3", {"type": "duration", "seconds": 3}),
    (
        "openai",
        "gpt-image-1.5",
        {
            "input_tokens": 50,
            "output_tokens": 4200,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens_details": {"text_tokens": 40, "image_tokens": 4160},
        },
    ),
    (
        "anthropic",
        "claude-3-5-haiku-latest",
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3000,
            "output_tokens": 5,
            "server_tool_use": {"web_search_requests": 2},
        },
    ),
    (
        "deepseek",
        "deepseek-chat",
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        },
    ),
    (
        "perplexity",
        "sonar-deep-research",
        {
            "prompt_tokens": 33,
            "completion_tokens": 7163,
            "citation_tokens": 20016,
            "num_search_queries": 18,
            "reasoning_tokens": 73997,
        },
    ),
    ("perplexity", "sonar", {"prompt_tokens": 33, "completion_tokens": 71}),
    ("azure", "gpt-4o", {"prompt_tokens": 33, "completion_tokens": 71}),
    ("openrouter", "openai/gpt-4o", {"prompt_tokens": 33, "completion_tokens": 71}),
]


@pytest.mark.parametrize(("provider", "model", "raw"), GOLDEN, ids=[g[1] for g in GOLDEN])
def test_costs_equal_the_packages_to_the_nano_dollar(
    provider: str, model: str, raw: dict[str, Any]
) -> None:
    usage = normalise_usage(raw)
    assert usage is not None
    assert not usage.anomaly
    found = PriceBook().price_for(provider, "", model, AT)
    assert found is not None
    assert found.cost_nano(usage) == reference_nano(provider, model, usage)


def test_a_known_call_costs_what_the_price_list_says() -> None:
    usage = Usage(input=1000, output=100, cached=400)
    assert price("gpt-4o").cost_nano(usage) == 600 * 2500 + 400 * 1250 + 100 * 10_000


@pytest.mark.parametrize("provider", providers, ids=lambda p: p.id)
def test_every_text_price_of_the_package_is_compiled_faithfully(provider: Any) -> None:
    book = PriceBook()
    usage = Usage(input=300_123, output=4567, cached=1234, cache_write=56, reasoning=78)
    for model in provider.models:
        found = book.price_for(provider.id, "", model.id, AT)
        cost = None if found is None else found.cost_nano(usage)
        if cost is not None:
            reference = reference_nano(provider.id, model.id, usage)
            # A rate such as $0.08333... has no exact pico-dollars: 0.4 of one a token is lost.
            assert abs(cost - reference) <= 1, model.id


def test_cached_audio_is_what_of_the_cache_is_not_text() -> None:
    usage = Usage(input=100, cached=70, input_audio=60)
    reference = reference_nano("openai", "gpt-realtime", usage, cached_audio=30)
    assert price("gpt-realtime").cost_nano(usage) == reference


@pytest.mark.parametrize("tier", ["flex", "priority", "fast", "default", "of the future"])
def test_a_service_tier_has_its_own_price_where_the_package_has_one(tier: str) -> None:
    usage = Usage(input=1000, output=100, cached=400)
    reference = reference_nano("openai", "gpt-5", usage, tier=tier)
    assert price("gpt-5", tier=tier).cost_nano(usage) == reference


def test_a_flexible_call_is_cheaper_and_another_price() -> None:
    standard, flex = price("gpt-5"), price("gpt-5", tier="flex")
    usage = Usage(input=1000, output=100)
    assert flex.cost_nano(usage) == (standard.cost_nano(usage) or 0) // 2
    assert flex.price_id != standard.price_id


def test_a_long_prompt_makes_all_its_tokens_dearer() -> None:
    tiered = price("gpt-5.4")
    below, above = (tiered.cost_nano(Usage(input=n)) for n in (272_000, 272_001))
    assert below == 272_000 * 2500
    assert above == 272_001 * 5000


# -- unknown is not free ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "origin", "model"),
    [
        ("openai", OPENAI, "no-such-model"),
        ("openai", OPENAI, ""),
        ("openai", OPENAI, "gpt-4o" * 100),
        ("home", "http://10.0.0.7:8000/v1", "gpt-4o"),
        ("my-openai", "http://10.0.0.7:8000/v1", "gpt-4o"),
        ("relay", "https://api.openai.com.evil.net", "gpt-4o"),
        ("demo", OPENAI, "gpt-4o"),
        ("Demo", "http://127.0.0.1:5000", "gpt-4o"),
        ("groq", "https://api.groq.com", "gpt-4o"),
        ("cerebras", "https://api.cerebras.ai", "qwen-3-coder-480b"),
        ("mistral", "https://api.mistral.ai", "mistral-ocr-latest"),
    ],
)
def test_what_no_source_prices_has_no_price(name: str, origin: str, model: str) -> None:
    assert PriceBook().price_for(name, origin, model, AT) is None


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("text-embedding-3-small", Usage(input=5, output=1)),
        ("whisper-1", Usage(input=5)),
        ("whisper-1", Usage()),
        ("tts-1", Usage(output=7)),
        ("gpt-4o", Usage(extras=UsageExtras(audio_ms=1000))),
    ],
)
def test_a_unit_without_a_rate_makes_the_cost_unknown(model: str, usage: Usage) -> None:
    assert price(model).cost_nano(usage) is None


def test_audio_tokens_without_a_rate_of_their_own_cost_what_text_costs() -> None:
    assert price("gpt-4o").cost_nano(Usage(input=10, input_audio=4)) == 10 * 2500


def test_speech_is_billed_by_the_character() -> None:
    assert price("tts-1").cost_nano(Usage(extras=UsageExtras(characters=7))) == 7 * 15_000


def test_a_transcription_that_states_tokens_too_is_billed_by_the_hour_alone() -> None:
    usage = Usage(input=8, output=30, extras=UsageExtras(audio_ms=3_600_000))
    by_hour = CompiledPrice("p", "m", "override", Rates(), audio_hour=360_000_000_000)
    assert by_hour.cost_nano(usage) == 360_000_000


def test_a_model_whose_name_says_free_is_free_and_not_unknown() -> None:
    free = next(
        (p.id, m.id)
        for p in providers
        for m in p.models
        if m.id.endswith(":free") and isinstance(m.prices, ModelPrice) and not vars(m.prices)
    )
    found = PriceBook().price_for(free[0], "", free[1], AT)
    assert found is not None
    assert found.cost_nano(Usage(input=5, output=5)) == 0


# -- which provider ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "model", "provider"),
    [
        ("https://api.openai.com", "gpt-4o", "openai"),
        ("https://API.openai.com:443/v1/", "GPT-4o", "openai"),
        ("https://api.together.xyz/v1", "openai/gpt-oss-120b", "together"),
        ("https://api.anthropic.com", "claude-3-5-haiku-latest", "anthropic"),
        ("https://openrouter.ai/api/v1", "openai/gpt-4o", "openrouter"),
        ("https://acme.openai.azure.com/openai/v1", "gpt-4o", "azure"),
        ("https://api.groq.com/openai/v1", "whisper-large-v3", "groq"),
        ("https://api.mistral.ai", "mistral-small-latest", "mistral"),
        ("https://api.deepseek.com", "deepseek-chat", "deepseek"),
        ("https://api.x.ai/v1", "grok-4.20", "x-ai"),
        ("https://api.moonshot.cn/v1", "kimi-k2.5", "moonshotai"),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "gemini-2.5-pro",
            "google",
        ),
    ],
)
def test_a_provider_is_known_by_its_address_whatever_it_is_called(
    origin: str, model: str, provider: str
) -> None:
    found = PriceBook().price_for("main", origin, model, AT)
    assert found is not None
    assert found.provider == provider
    assert found.source == f"genai-prices {genai_prices.__version__}"


def test_at_an_unknown_address_a_name_that_is_exactly_a_known_providers_prices() -> None:
    found = PriceBook().price_for("OpenAI", "http://127.0.0.1:9999", "gpt-4o", AT)
    assert found is not None
    assert (found.provider, found.model) == ("openai", "gpt-4o")


def test_the_address_decides_over_the_name() -> None:
    assert PriceBook().price_for("openai", "https://api.groq.com", "gpt-4o", AT) is None


# -- dates ------------------------------------------------------------------------------------

DATED = [
    (provider.id, model.id, conditional.constraint.start_date)
    for provider in providers
    for model in provider.models
    if isinstance(model.prices, list)
    for conditional in model.prices
    if isinstance(conditional.constraint, StartDateConstraint)
]


@pytest.mark.parametrize(("provider", "model", "day"), DATED[:: max(1, len(DATED) // 25)])
def test_one_book_follows_a_price_across_the_day_it_changes(
    provider: str, model: str, day: Any
) -> None:
    book = PriceBook()
    usage = Usage(input=1000, output=1000, cached=10)
    change = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for minutes in (-60, -1, 0, 1, 60 * 24 * 365, -1, 0):
        at = change + timedelta(minutes=minutes)
        found = book.price_for(provider, "", model, at)
        assert found is not None
        assert found.cost_nano(usage) == reference_nano(provider, model, usage, at=at)
        if minutes == 0:
            assert found.effective_from == change


def test_one_book_follows_a_price_that_changes_with_the_hour() -> None:
    book = PriceBook()
    usage = Usage(input=1000, output=1000, cached=10)
    costs = set()
    for minutes in range(0, 3 * 24 * 60, 10):
        at = AT.astimezone(timezone(timedelta(hours=9))) + timedelta(minutes=minutes)
        found = book.price_for("deepseek", "", "deepseek-chat", at)
        assert found is not None
        cost = found.cost_nano(usage)
        assert cost == reference_nano("deepseek", "deepseek-chat", usage, at=at)
        costs.add(cost)
    assert len(costs) > 1


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        PriceBook().price_for("openai", OPENAI, "gpt-4o", AT.replace(tzinfo=None))


# -- overrides --------------------------------------------------------------------------------


def override(model: str = "gpt-4o", rate: str = "1", **changes: Any) -> PriceOverride:
    given_: dict[str, Any] = {
        "model": model,
        "effective_from": AT - timedelta(days=1),
        "input": Decimal(rate),
        "output": Decimal(rate),
        **changes,
    }
    return PriceOverride(**given_)


def input_rate(book: PriceBook, model: str = "gpt-4o", at: datetime = AT) -> int | None:
    found = book.price_for("openai", OPENAI, model, at)
    return None if found is None else found.rates.input


def test_an_override_wins_over_the_package() -> None:
    found = PriceBook([override(rate="7")]).price_for("openai", OPENAI, "gpt-4o", AT)
    assert found is not None
    assert (found.source, found.rates.input) == ("override", 7_000_000)
    assert found.effective_from == AT - timedelta(days=1)


def test_an_override_prices_a_model_that_no_package_knows() -> None:
    book = PriceBook([override("llama-*", rate="0.05")])
    found = book.price_for("home", "http://10.0.0.7", "Llama-3.3", AT)
    assert found is not None
    assert found.cost_nano(Usage(input=1)) == 50


DATED_NAME = "gpt-4o-2024-08-06"


@pytest.mark.parametrize(
    ("overrides", "served", "rate"),
    [
        # In turn: the served name's override, the asked one's for a dated name, the package.
        ([override(DATED_NAME, "7"), override("gpt-4o", "8")], DATED_NAME, 7_000_000),
        ([override("gpt-4o", "8")], DATED_NAME, 8_000_000),
        ([override("gpt-4o", "8")], "gpt-4o-0806", 8_000_000),
        ([override("gpt-4o", "8")], "gpt-4o-mini", 150_000),
        ([override("gpt-4", "8")], DATED_NAME, 2_500_000),
        ([], DATED_NAME, 2_500_000),
        # A served name without any price: the asked one's override, then its package price.
        ([override("gpt-4o", "8")], "our-own-tune", 8_000_000),
        ([], "our-own-tune", 2_500_000),
    ],
)
def test_the_asked_name_prices_a_dated_one_and_one_without_a_price(
    overrides: list[PriceOverride], served: str, rate: int
) -> None:
    asked = overrides[-1].model if overrides else "gpt-4o"
    found = PriceBook(overrides).price_for("openai", OPENAI, served, AT, asked=asked)
    assert found is not None
    assert found.rates.input == rate


def test_an_override_that_begins_later_prices_the_dated_name_from_then_on() -> None:
    later = AT + timedelta(days=1)
    book = PriceBook([override("gpt-4o", "8", effective_from=later)])
    rates = []
    for at in (AT, later, AT):
        found = book.price_for("openai", OPENAI, DATED_NAME, at, asked="gpt-4o")
        assert found is not None
        rates.append(found.rates.input)
    assert rates == [2_500_000, 8_000_000, 2_500_000]


def test_an_override_of_zero_is_free_and_not_unknown() -> None:
    found = PriceBook([override(rate="0")]).price_for("home", "", "gpt-4o", AT)
    assert found is not None
    assert found.cost_nano(Usage(input=1000, output=1000)) == 0


def test_the_simulated_provider_is_never_priced_not_even_by_an_override() -> None:
    assert PriceBook([override("*")]).price_for("demo", OPENAI, "gpt-4o", AT) is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (override(rate="2", provider="OpenAI"), override(rate="1")),
        (override("*", rate="2", provider="openai"), override(rate="1")),
        (override(rate="2"), override("gpt-*", rate="1")),
        (override("gpt-4*", rate="2"), override("gpt-*", rate="1")),
        (
            override(rate="2", effective_from=AT - timedelta(hours=1)),
            override(rate="1", effective_from=AT - timedelta(hours=2)),
        ),
        (override(rate="2", effective_from=AT), override(rate="1")),
        (override(rate="2"), override(rate="1", effective_from=AT + timedelta(seconds=1))),
        (override(rate="2"), override(rate="1", provider="groq")),
        (override(rate="2"), override("gpt-4o-mini", rate="1")),
    ],
    ids=[
        "provider given",
        "provider before model",
        "exact model",
        "longer start",
        "newest",
        "from its first moment",
        "in effect",
        "of this provider",
        "of this model",
    ],
)
def test_the_override_that_fits_best_wins(better: PriceOverride, worse: PriceOverride) -> None:
    assert input_rate(PriceBook([better, worse])) == 2_000_000
    assert input_rate(PriceBook([worse, better])) == 2_000_000


def test_one_book_follows_overrides_as_they_take_effect() -> None:
    later = AT + timedelta(hours=1)
    book = PriceBook(
        [override(rate="1", effective_from=AT), override(rate="2", effective_from=later)]
    )
    package_rate = 2_500_000
    seconds = {-1: package_rate, 0: 1_000_000, 3599: 1_000_000, 3600: 2_000_000, -2: package_rate}
    for offset, rate in seconds.items():
        assert input_rate(book, at=AT + timedelta(seconds=offset)) == rate


def test_an_override_without_a_cached_rate_bills_cached_tokens_as_input() -> None:
    book = PriceBook([override(rate="3", cache_write=Decimal("4"))])
    found = book.price_for("openai", OPENAI, "gpt-4o", AT)
    assert found is not None
    assert found.cost_nano(Usage(input=10, cached=5, cache_write=1)) == 9 * 3000 + 4000


def test_an_override_without_an_output_rate_leaves_calls_with_output_unknown() -> None:
    book = PriceBook([override(output=None)])
    found = book.price_for("openai", OPENAI, "gpt-4o", AT)
    assert found is not None
    assert found.cost_nano(Usage(input=10)) == 10_000
    assert found.cost_nano(Usage(input=10, output=1)) is None


def test_a_price_a_request_alone_leaves_tokens_unbilled() -> None:
    book = PriceBook([override(input=None, output=None, per_request=Decimal("0.01"))])
    found = book.price_for("openai", OPENAI, "gpt-4o", AT)
    assert found is not None
    assert found.cost_nano(Usage(input=10, output=10)) == 10_000_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"model": "gpt*4"},
        {"input": Decimal("-1")},
        {"output": Decimal("NaN")},
        {"output": Decimal("1e9")},
        {"input": None, "output": None},
        {"effective_from": datetime(2026, 1, 1)},
    ],
)
def test_a_wrong_override_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        override(**wrong)


# -- arithmetic -------------------------------------------------------------------------------

SOME = st.integers(0, 200_000)
USAGES = st.builds(
    lambda plain, cached, written, output: Usage(
        input=plain + cached + written, output=output, cached=cached, cache_write=written
    ),
    SOME,
    SOME,
    SOME,
    SOME,
)
PRICES = st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-audio", "o3", "gpt-5.4", "gpt-image-1.5"])


def cost(model: str, usage: Usage) -> int:
    nano = price(model).cost_nano(usage)
    assert type(nano) is int
    assert 0 <= nano <= MAX_NANO
    return nano


@given(st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-audio", "o3"]), USAGES, USAGES)
def test_costs_add_up_within_rounding(model: str, one: Usage, other: Usage) -> None:
    both = Usage(
        input=one.input + other.input,
        output=one.output + other.output,
        cached=one.cached + other.cached,
        cache_write=one.cache_write + other.cache_write,
    )
    assert abs(cost(model, one) + cost(model, other) - cost(model, both)) <= 1


@given(PRICES, USAGES, SOME, SOME)
def test_more_tokens_never_cost_less(model: str, usage: Usage, more_in: int, more_out: int) -> None:
    more = Usage(
        input=usage.input + more_in,
        output=usage.output + more_out,
        cached=usage.cached,
        cache_write=usage.cache_write,
    )
    assert cost(model, more) >= cost(model, usage)


COUNT = st.integers(-(2**70), 2**70) | st.integers(0, MAX_TOKENS) | st.floats() | st.text()
DETAILS = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"]), COUNT
)


@given(
    PRICES,
    st.fixed_dictionaries(
        {"prompt_tokens": COUNT, "completion_tokens": COUNT},
        optional={
            "total_tokens": COUNT,
            "prompt_tokens_details": DETAILS,
            "completion_tokens_details": DETAILS,
            "citation_tokens": COUNT,
            "num_search_queries": COUNT,
        },
    ),
)
def test_no_usage_that_a_provider_makes_up_costs_less_than_nothing(
    model: str, raw: dict[str, Any]
) -> None:
    usage = normalise_usage(raw)
    assert usage is not None
    cost(model, usage)


def test_even_an_inconsistent_usage_costs_no_less_than_nothing() -> None:
    assert cost("gpt-4o", Usage(input=0, cached=1000)) == 0


@pytest.mark.parametrize(("tokens", "nano"), [(1, 0), (4, 0), (5, 1), (14, 1), (15, 2)])
def test_a_cost_is_rounded_half_up_once(tokens: int, nano: int) -> None:
    tenth_of_a_nano = CompiledPrice("p", "m", "override", Rates(input=100, cached=100))
    assert tenth_of_a_nano.cost_nano(Usage(input=tokens)) == nano
    assert tenth_of_a_nano.cost_nano(Usage(input=tokens, cached=tokens // 2)) == nano


# -- identity and memory ----------------------------------------------------------------------


def test_the_same_price_has_the_same_id_in_every_process_and_another_price_another() -> None:
    assert price("gpt-4o").price_id == price("gpt-4o").price_id
    assert price("gpt-4o").price_id != price("gpt-4o-mini").price_id
    made = CompiledPrice("p", "m", "override", Rates(input=1))
    assert made.price_id == "f8fd6f4a526d5796"


def test_a_price_is_written_down_as_json_with_its_tiers_and_its_source() -> None:
    written = orjson.loads(orjson.dumps(price("gpt-5.4").as_json()))
    assert written["price_id"] == price("gpt-5.4").price_id
    assert written["unit"] == "pico-usd"
    assert written["rates"]["input"] == 2_500_000
    assert written["tiers"][0]["above"] == 272_000
    assert written["tiers"][0]["rates"]["input"] == 5_000_000
    assert written["source"].startswith("genai-prices ")


def test_a_price_is_compiled_once_for_a_model() -> None:
    book = PriceBook()
    first = book.price_for("openai", OPENAI, "gpt-4o", AT)
    assert book.price_for("openai", OPENAI, "gpt-4o", AT + timedelta(minutes=1)) is first


def test_models_that_clients_make_up_do_not_fill_the_memory() -> None:
    book = PriceBook(memo_limit=10)
    for number in range(50):
        assert book.price_for("openai", OPENAI, f"made-up-{number}", AT) is None
        assert book.price_for("openai", OPENAI, "gpt-4o", AT) is not None
    assert len(book._memo) == 10


def test_prices_come_without_the_network_and_only_when_asked_for() -> None:
    script = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from datetime import UTC, datetime
from aieye.ledger.pricing import PriceBook
book = PriceBook()
assert not [name for name in sys.modules if name.startswith(("genai_prices", "asyncio"))]
assert not book.is_loaded()
book.load()
assert book.is_loaded()
price = book.price_for("openai", "https://api.openai.com", "gpt-4o", datetime.now(UTC))
assert price is not None
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# -- dollars as text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (10**9, "1"),
        (1_500_000_000, "1.5"),
        (100 * 10**9, "100"),
        (123_456_789, "0.123456789"),
        (-250_000_000, "-0.25"),
        (MAX_NANO, "9223372036.854775807"),
    ],
)
def test_dollars_are_written_without_exponent_or_idle_zeros(nano: int, text: str) -> None:
    assert format_usd(nano) == text
    assert parse_usd(text) == nano


@given(st.integers(-MAX_NANO, MAX_NANO))
def test_dollars_as_text_are_read_back_exactly(nano: int) -> None:
    assert parse_usd(format_usd(nano)) == nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [(" 0.10 ", 10**8), ("+2", 2 * 10**9), ("0.0000000005", 1), ("0.00000000049", 0)],
)
def test_dollars_are_read_with_rounding_half_up(text: str, nano: int) -> None:
    assert parse_usd(text) == nano


@pytest.mark.parametrize("text", ["", ".", "1.", "1e3", "NaN", "1,5", "--1", "$1", "٣", "9" * 13])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dollars"):
        parse_usd(text)


def test_the_lines_of_a_bill_add_up_to_the_cost() -> None:
    price = CompiledPrice(
        provider="openai", model="m", source="override",
        rates=Rates(input=1_000_000, cached=500_000, cache_write=1_250_000, input_audio=9_000_000,
                    output=4_000_000, reasoning=5_000_000),
        tiers=((1_000, Rates(input=2_000_000, cached=1_000_000, output=8_000_000,
                             reasoning=8_000_000)),),
        request=7_000_000, search=10_000_000_000,
    )  # fmt: skip
    kept = orjson.loads(orjson.dumps(price.as_json()))
    for usage in (
        Usage(input=900, cached=100, input_audio=50, output=80, reasoning=30),
        Usage(input=5_000, cached=400, output=80, extras=UsageExtras(searches=2)),
        Usage(),
    ):
        lines = breakdown(kept, usage)
        assert sum(line.cost_nano or 0 for line in lines) == price.cost_nano(usage)
    assert breakdown(kept, Usage(output=1, output_image=1))[-2].rate_pico is None
