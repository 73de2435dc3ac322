"""Prometheus' text of what `aieye.telemetry.metrics` has counted. Loaded by the first scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from aieye.telemetry.metrics import LATENCY_BOUNDS, Metrics, Series, SeriesKey, Watched

NANO = 1_000_000_000
_LABELS = ("endpoint", "status", "cache", "provider")
_MODEL_LABELS = ("provider", "model")
_TOKENS: Mapping[str, Callable[[Series], int]] = {
    "input": lambda series: series.tokens_input,
    "cached": lambda series: series.tokens_cached,
    "output": lambda series: series.tokens_output,
    "reasoning": lambda series: series.tokens_reasoning,
}


def expose(metrics: Metrics) -> tuple[bytes, str]:
    """The text format of all figures, and its media type."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    return generate_latest(registry), CONTENT_TYPE_LATEST


def merge(texts: Mapping[str, bytes]) -> tuple[bytes, str]:
    """The texts of several workers as one, each sample with its worker's name."""
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for found in text_string_to_metric_families(text.decode()):
            family = families.setdefault(
                found.name, Metric(found.name, found.documentation, found.type)
            )
            for sample in found.samples:
                labels = {**sample.labels, "worker": worker}
                family.add_sample(sample.name, labels, sample.value)
    registry = CollectorRegistry()
    registry.register(_Merged(families.values()))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Collector(Collector):
    """Makes the families anew at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        # With a description the registry does not collect once just to learn the names.
        return []

    def collect(self) -> Iterator[Metric]:
        found = self._metrics.series()
        yield _requests(found)
        yield _durations(found)
        yield _tokens(found)
        yield _sums(
            "aieye_cost_dollars", "What calls cost.", found, lambda series: series.cost_nano / NANO
        )
        yield _sums(
            "aieye_saved_dollars",
            "What cached answers would have cost.",
            found,
            lambda series: series.saved_nano / NANO,
        )
        yield _sums(
            "aieye_unpriced_requests",
            "Calls whose cost is unknown.",
            found,
            lambda series: series.unpriced,
        )
        for watched in self._metrics.watched.values():
            yield _figure(watched)


def _added(
    found: list[tuple[SeriesKey, Series]],
    labels: tuple[str, ...],
    amount: Callable[[Series], float],
) -> dict[tuple[str, ...], float]:
    """The sum of `amount` over the series that agree in `labels`."""
    sums: dict[tuple[str, ...], float] = {}
    for key, series in found:
        values = tuple(str(getattr(key, label)) for label in labels)
        sums[values] = sums.get(values, 0) + amount(series)
    return sums


def _requests(found: list[tuple[SeriesKey, Series]]) -> Metric:
    family = CounterMetricFamily("aieye_requests", "Calls that have ended.", labels=_LABELS)
    for values, calls in _added(found, _LABELS, lambda series: series.calls).items():
        family.add_metric(values, calls)
    return family


def _durations(found: list[tuple[SeriesKey, Series]]) -> Metric:
    family = HistogramMetricFamily(
        "aieye_request_duration_seconds", "How long calls took.", labels=("endpoint", "cache")
    )
    merged: dict[tuple[str, str], tuple[list[int], int]] = {}
    for key, series in found:
        bins, total = merged.get((key.endpoint, key.cache), ([0] * len(series.bins), 0))
        bins = [one + other for one, other in zip(bins, series.bins, strict=True)]
        merged[key.endpoint, key.cache] = (bins, total + series.latency_us)
    for labels, (bins, total) in merged.items():
        family.add_metric(labels, _cumulative(bins), total / 1_000_000)
    return family


def _cumulative(bins: list[int]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    count = 0
    for bound, calls in zip((*map(str, LATENCY_BOUNDS), "+Inf"), bins, strict=True):
        count += calls
        buckets.append((bound, count))
    return buckets


def _tokens(found: list[tuple[SeriesKey, Series]]) -> Metric:
    family = CounterMetricFamily(
        "aieye_tokens",
        "Tokens used; cached ones are among the input, reasoning ones among the output.",
        labels=(*_MODEL_LABELS, "kind"),
    )
    for kind, amount in _TOKENS.items():
        for values, tokens in _added(found, _MODEL_LABELS, amount).items():
            family.add_metric((*values, kind), tokens)
    return family


def _sums(
    name: str,
    documentation: str,
    found: list[tuple[SeriesKey, Series]],
    amount: Callable[[Series], float],
) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=_MODEL_LABELS)
    for values, total in _added(found, _MODEL_LABELS, amount).items():
        family.add_metric(values, total)
    return family


def _figure(watched: Watched) -> Metric:
    make = CounterMetricFamily if watched.is_counter else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(
        watched.name, watched.documentation, labels=[watched.label] if watched.label else []
    )
    value = watched.read()
    if isinstance(value, Mapping):
        for label, number in value.items():
            family.add_metric([label], number)
    else:
        family.add_metric([], value)
    return family
