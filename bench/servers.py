"""The servers of one run: made when a case first needs them, ended all together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import load
from bench.gateway import Gateway, Setup, prepare, serving
from bench.load import Bodies, Load
from bench.machine import SERVER_CORE
from bench.probe import Latencies, sorted_latencies
from bench.processes import Child, free_port, python, running
from bench.upstream import (
    Events,
    Nginx,
    Upstream,
    check_calls,
    running_events,
    running_nginx,
    settled_calls,
)

_WARM_SECONDS = 1
# Blocks that ask an upstream for each answer.
_ASKING = ("forward", "stream")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a measurement takes, and how many are made of each figure (the median counts)."""

    seconds: float
    rounds: int

    def medians(self, measures: Mapping[str, Callable[[], float]]) -> dict[str, float]:
        """Take the measures in turns, so that a slow minute of the machine meets all of them."""
        found: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(self.rounds):
            for name, measure in measures.items():
                found[name].append(measure())
        return {name: statistics.median(values) for name, values in found.items()}

    def latencies(self, measures: Mapping[str, Callable[[], Latencies]]) -> dict[str, Latencies]:
        """The same for latencies, all rounds together."""
        found: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(self.rounds):
            for name, measure in measures.items():
                found[name].extend(measure().ms)
        return {name: sorted_latencies(values) for name, values in found.items()}


class Servers:
    """What the cases measure with. Idle servers cost nothing that could be measured."""

    def __init__(self, directory: Path, pace: Pace, stack: ExitStack) -> None:
        self.directory = directory
        self.pace = pace
        self._stack = stack
        self._blocks: dict[str, tuple[int, Child]] = {}
        self._sites = 0

    @cached_property
    def nginx(self) -> Nginx:
        """The fast upstream for JSON."""
        return self._stack.enter_context(running_nginx(self.directory / "nginx"))

    @cached_property
    def events(self) -> Events:
        """The streaming upstream, with all events at once."""
        return self._stack.enter_context(running_events(self.directory / "events"))

    @cached_property
    def gateway(self) -> Gateway:
        """The gateway with everything on, in front of nginx."""
        return self._stack.enter_context(self.started(self.setup("gateway")))

    @cached_property
    def streaming(self) -> Gateway:
        """The gateway with everything on, in front of the streaming upstream."""
        return self._stack.enter_context(self.started(self.setup("streaming", self.events)))

    def setup(self, name: str, upstream: Upstream | None = None, **changes: Any) -> Setup:
        """A gateway's setup; in front of nginx unless another upstream is given."""
        return Setup(name, upstream or self.nginx, **changes)

    @contextmanager
    def started(self, setup: Setup) -> Iterator[Gateway]:
        """A gateway on a new data directory."""
        with serving(prepare(setup, self.new_directory(setup.name))) as gateway:
            yield gateway

    def new_directory(self, name: str) -> Path:
        """A directory that is not there yet."""
        self._sites += 1
        return self.directory / f"{name}-{self._sites}"

    def block(self, name: str) -> int:
        """The port of a raw block."""
        return self._block(name)[0]

    def block_child(self, name: str) -> Child:
        """The process of a raw block."""
        return self._block(name)[1]

    def _block(self, name: str) -> tuple[int, Child]:
        if name not in self._blocks:
            port = free_port()
            child = self._stack.enter_context(
                running(
                    python("bench.blocks", name, str(port), self._upstream_of(name).base_url),
                    core=SERVER_CORE,
                    directory=self.directory / "blocks",
                    name=name,
                )
            )
            child.wait_for(port, "/")
            self._blocks[name] = port, child
        return self._blocks[name]

    def block_rate(self, name: str, bodies: Bodies, connections: int) -> Callable[[], float]:
        """The measure of a block's requests a second."""
        port = self.block(name)
        upstream = self._upstream_of(name) if name in _ASKING else None

        def measure() -> float:
            asked = 0 if upstream is None else settled_calls(upstream)
            sample = load.run(Load(port, bodies, connections), self.pace.seconds, self.directory)
            if upstream is not None:
                found = upstream.calls() - asked
                check_calls(found, sample.requests, in_flight=connections)
            return sample.rate

        load.run(Load(port, bodies, connections), _WARM_SECONDS, self.directory)
        return measure

    def _upstream_of(self, name: str) -> Upstream:
        return self.events if name == "stream" else self.nginx

    def rate(self, gateway: Gateway, bodies: Bodies, connections: int) -> Callable[[], float]:
        """The measure of a gateway's requests a second, every one of them accounted for."""
        is_new = bodies.kind == "unique"
        if not is_new:
            gateway.prime(bodies)
        gateway.drive(bodies, connections, _WARM_SECONDS, self.directory)

        def measure() -> float:
            return gateway.checked(
                bodies, connections, self.pace.seconds, self.directory,
                cache="miss" if is_new else "hit",
            ).rate  # fmt: skip

        return measure
