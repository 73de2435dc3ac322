"""Metrics that cost a call about a microsecond: plain integers, turned into Prometheus' families
only when somebody scrapes. All methods belong to the event loop's thread.

Labels are bounded whatever clients send: endpoints from a list, models that are known and at most
100 of them; everything else is `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

OTHER = "other"
MOST_MODELS = 100
MOST_SERIES = 5_000
# Upper bounds of the latency histogram, in seconds.
LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_BOUNDS_US = tuple(round(bound * 1_000_000) for bound in LATENCY_BOUNDS)
# Names refused as unknown are remembered, up to this many, so that the question is cheap.
_MOST_REFUSED = 1_000

_GROUPS = (
    "assistants", "audio", "batches", "chat", "completions", "containers", "conversations", "edits",
    "embeddings", "evals", "files", "fine_tuning", "images", "models", "moderations", "realtime",
    "responses", "threads", "uploads", "vector_stores", "videos",
)  # fmt: skip
_ENDPOINTS = {
    **{name: name for name in _GROUPS},
    **{
        name: name
        for name in (
            "chat/completions", "audio/speech", "audio/transcriptions", "audio/translations",
            "images/generations", "images/edits", "images/variations",
        )
    },
}  # fmt: skip

# A figure read when somebody scrapes; with a label, by its values.
Reading = Callable[[], float | Mapping[str, float]]


class Observed(Protocol):
    """What is counted of a call; `aieye.ledger.book.CallRecord` has it."""

    endpoint: str
    provider_id: int | None
    model: str | None
    status: int | None
    cache: str
    latency_us: int | None
    tokens_input: int | None
    tokens_cached: int | None
    tokens_output: int | None
    tokens_reasoning: int | None
    cost_nano: int | None
    saved_nano: int | None

    def elapsed_us(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """The labels of a series of calls."""

    endpoint: str
    status: str
    cache: str
    provider: str
    model: str


@dataclass(slots=True)
class Series:
    """What the calls of one combination of labels add up to."""

    bins: list[int]
    calls: int = 0
    unpriced: int = 0
    latency_us: int = 0
    tokens_input: int = 0
    tokens_cached: int = 0
    tokens_output: int = 0
    tokens_reasoning: int = 0
    cost_nano: int = 0
    saved_nano: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """A figure that another part of the service keeps."""

    name: str
    documentation: str
    label: str | None
    is_counter: bool
    read: Reading


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self._models: dict[str | None, str] = {None: ""}
        self._refused: set[str] = set()
        self._series: dict[tuple[str, int, str, str, str], Series] = {}
        self.watched: dict[str, Watched] = {}
        self.in_flight = 0
        # Whether a name is a model's and not just anyone's text: the app knows, from the prices.
        self.knows_model: Callable[[str], bool] = lambda _name: False
        # The providers' names by their ids, replaced as the directory changes.
        self.providers: Mapping[int | None, str] = {}
        self.watch("aieye_requests_in_flight", "Calls under way.", lambda: self.in_flight)

    def began(self) -> None:
        """A call has come in. `ended` follows, whatever becomes of it."""
        self.in_flight += 1

    def ended(self, call: Observed) -> None:
        """Count a call that is over."""
        self.in_flight -= 1
        latency = call.elapsed_us() if call.latency_us is None else call.latency_us
        series = self._find(call)
        series.calls += 1
        series.latency_us += latency
        series.bins[bisect_left(_BOUNDS_US, latency)] += 1
        if call.tokens_input is not None:
            series.tokens_input += call.tokens_input
            series.tokens_cached += call.tokens_cached or 0
            series.tokens_output += call.tokens_output or 0
            series.tokens_reasoning += call.tokens_reasoning or 0
        if call.cost_nano is None:
            series.unpriced += 1
        else:
            series.cost_nano += call.cost_nano
        series.saved_nano += call.saved_nano or 0

    def watch(
        self,
        name: str,
        documentation: str,
        read: Reading,
        *,
        label: str | None = None,
        is_counter: bool = False,
    ) -> None:
        """Show what `read` gives at each scrape: a number, or by the values of `label`."""
        self.watched[name] = Watched(name, documentation, label, is_counter, read)

    def series(self) -> list[tuple[SeriesKey, Series]]:
        """Everything counted, by its labels."""
        return [(_key(*labels), found) for labels, found in self._series.items()]

    def render(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its media type."""
        # Only who is scraped pays for loading the library.
        from aieye.telemetry.exposition import expose  # noqa: PLC0415

        return expose(self)

    def _find(self, call: Observed) -> Series:
        endpoint = _ENDPOINTS.get(call.endpoint) or _group(call.endpoint)
        model = self._models.get(call.model)
        if model is None:
            model = self._model(call.model or "")
        provider = self.providers.get(call.provider_id, "")
        key = (endpoint, (call.status or 0) // 100, call.cache, provider, model)
        found = self._series.get(key)
        return self._add(key) if found is None else found

    def _add(self, key: tuple[str, int, str, str, str]) -> Series:
        if len(self._series) >= MOST_SERIES:
            key = (OTHER, key[1], OTHER, OTHER, OTHER)
        return self._series.setdefault(key, Series([0] * (len(_BOUNDS_US) + 1)))

    def _model(self, name: str) -> str:
        if name in self._refused or len(self._models) > MOST_MODELS:
            return OTHER
        if self.knows_model(name):
            self._models[name] = name
            return name
        if len(self._refused) >= _MOST_REFUSED:
            self._refused.clear()
        self._refused.add(name)
        return OTHER


def _key(endpoint: str, status: int, cache: str, provider: str, model: str) -> SeriesKey:
    return SeriesKey(endpoint, f"{status}xx" if status else "none", cache, provider, model)


def _group(endpoint: str) -> str:
    """The label of an endpoint that names a thing: `files` for `files/file-1/content`."""
    path = endpoint.strip("/").removeprefix("v1/")
    return _ENDPOINTS.get(path) or _ENDPOINTS.get(path.partition("/")[0], OTHER)
