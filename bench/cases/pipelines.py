"""Pipelines without a server: texts read and checked, and steps that do nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from math import inf

import uvloop

from aieye.pipeline.evaluator import evaluate
from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.plan import lower
from aieye.pipeline.steps import Plan
from bench import orchestrators
from bench.language import (
    DEEP,
    SIBLING_SECONDS,
    SIBLINGS,
    TYPICAL,
    Nothing,
    callee,
    catalogue,
    chain,
    large,
)
from bench.report import Line, Result, Row, Target
from bench.servers import Servers
from bench.timing import BATCH_SECONDS, least_seconds

_ROUND_SECONDS = 0.1


def language(servers: Servers) -> Iterator[Result]:
    """Texts into trees, and trees against two hundred names."""
    names = catalogue()

    def check() -> None:
        assert analyse(parse(TYPICAL), names).is_valid

    yield _row(servers, "parse, 70 bytes, 3 calls", "µs", lambda: parse(TYPICAL), 30, 15)
    yield _row(servers, "parse and check, 200 names", "µs", check, 200, 80)
    for name, is_valid in (("accepted", True), ("refused", False)):
        text = large(is_valid=is_valid)

        def read(text: str = text) -> None:
            with suppress(InvalidPipeline):
                parse(text)

        yield _row(servers, f"parse, 64 KiB, {name}", "ms", read, 60, 20)


def pipelines(servers: Servers) -> Iterator[Result]:
    """Steps that do nothing, trace on, and siblings that wait; two other frameworks beside."""
    for name, callee_name, at_least, aim in (
        ("an inline step", "upper", 20, 8),
        ("an async step that does nothing", "wait", 80, 40),
    ):
        plan = _plan(chain(callee_name))
        figures = _figures(servers, partial(_step_seconds, plan))
        yield Row(name, figures * 1e6, "µs", target=Target(at_least, aim, is_ceiling=True))
    siblings = ", ".join(f"wait('{number}')" for number in range(SIBLINGS))
    plan = _plan(f"[{siblings}]")
    waited = _figures(servers, lambda: _seconds_of_runs(plan, Nothing(SIBLING_SECONDS)))
    name = f"{SIBLINGS} siblings of {SIBLING_SECONDS * 1e3:.0f} ms"
    yield Row(name, waited * 1e3, "ms", target=Target(115, 104, is_ceiling=True))
    python = orchestrators.find()
    for peer in orchestrators.PACKAGES:
        seconds = None
        if python is not None:
            seconds = orchestrators.step_seconds(python, peer, DEEP, servers.directory)
        if seconds is None:
            yield Line(peer, orchestrators.how(peer))
        else:
            yield Row(f"a step of {peer} that does nothing", seconds * 1e6, "µs")


def _plan(text: str) -> Plan:
    pipeline = parse(text)
    return lower(pipeline, analyse(pipeline, catalogue()), callee)


def _step_seconds(plan: Plan) -> float:
    return _seconds_of_runs(plan) / DEEP


def _seconds_of_runs(plan: Plan, steps: Nothing | None = None) -> float:
    """How long one run takes on uvloop: the least of many batches, as `least_seconds`."""
    runner = steps or Nothing()

    async def several() -> float:
        least, end = inf, time.perf_counter() + _ROUND_SECONDS
        while (started := time.perf_counter()) < end:
            count = 0
            while (passed := time.perf_counter() - started) < BATCH_SECONDS:
                await evaluate(plan, {}, runner)
                count += 1
            least = min(least, passed / count)
        return least

    return uvloop.run(several())


def _row(
    servers: Servers, name: str, unit: str, work: Callable[[], object], at_least: float, aim: float
) -> Row:
    scale = {"µs": 1e6, "ms": 1e3}[unit]
    seconds = _figures(servers, lambda: least_seconds(work, _ROUND_SECONDS))
    return Row(name, seconds * scale, unit, target=Target(at_least, aim, is_ceiling=True))


def _figures(servers: Servers, measure: Callable[[], float]) -> float:
    """The median of as many rounds as everything is measured in, after one that warms up."""
    measure()
    return servers.pace.medians({"ours": measure})["ours"]
