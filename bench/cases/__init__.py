"""The cases, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from bench.cases.calls import blocks, forwarded, hits, latency, litellm
from bench.cases.common import (
    FORWARD_CONNECTIONS,
    HIT_CONNECTIONS,
    SAME,
    STREAM_CONNECTIONS,
    UNIQUE,
    UNIQUE_STREAM,
)
from bench.cases.conditions import ledger, on_postgresql, relaxed, sizes, start
from bench.cases.functions import functions
from bench.cases.pipelines import language, pipelines
from bench.cases.presets import presets
from bench.cases.runs import runs
from bench.cases.searches import searches
from bench.cases.streams import paced, streaming
from bench.load import Bodies
from bench.report import Result
from bench.servers import Servers

Case = Callable[[Servers], Iterator[Result]]

CASES: Mapping[str, Case] = MappingProxyType(
    {
        "blocks": blocks,
        "hits": hits,
        "forwarded": forwarded,
        "litellm": litellm,
        "latency": latency,
        "streaming": streaming,
        "paced": paced,
        "ledger": ledger,
        "start": start,
        "relaxed": relaxed,
        "postgresql": on_postgresql,
        "sizes": sizes,
        "functions": functions,
        "language": language,
        "pipelines": pipelines,
        "searches": searches,
        "presets": presets,
        "runs": runs,
    }
)
# The load of those that can be profiled.
PROFILES: Mapping[str, tuple[Bodies, int]] = MappingProxyType(
    {
        "hits": (SAME, HIT_CONNECTIONS),
        "forwarded": (UNIQUE, FORWARD_CONNECTIONS[-1]),
        "streaming": (UNIQUE_STREAM, STREAM_CONNECTIONS),
    }
)
