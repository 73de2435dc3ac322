"""`make soak`: mixed calls for as many minutes as asked, then what must hold of memory, sockets,
tasks and money. 0: all of it does; 1: something does not, and it is said what."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.crash.ledger import assert_intact, assert_recorded, assert_sums_agree, states
from tests.fakes.upstream import FakeUpstream
from tests.installation import Installation
from tests.live import LiveServer, LiveServers
from tests.servers import DATABASE_KINDS, Databases
from tests.soak.process import PROGRAM, Sample, growth, sample
from tests.soak.provider import Told, troubled
from tests.soak.traffic import Traffic

# What catalogue row 165 allows, and what an allocator does by itself in a short run.
MOST_GROWTH, SURE_BYTES = 0.05, 16 * 2**20
# After the last client is gone: longer than an idle connection to a provider is kept.
QUIET_SECONDS = 60.0
SAMPLES = 60


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--database", choices=DATABASE_KINDS, default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aieye-soak-")))
        (directory / "databases").mkdir()
        databases = Databases(directory / "databases", stack)
        installation = Installation(stack.enter_context(databases.migrated(options.database)))
        servers = LiveServers(directory)
        try:
            faults = asyncio.run(_soak(servers, installation, options))
        except BaseException:
            servers.close()
            raise
        servers.close()
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    print("soak: something is wrong" if faults else "soak: all holds")
    return 1 if faults else 0


async def _soak(
    servers: LiveServers, installation: Installation, options: argparse.Namespace
) -> list[str]:
    chance = random.Random(options.seed)
    token = installation.add_token()
    async with FakeUpstream(troubled(chance)) as upstream:
        installation.add_provider(upstream.base_url, "sk-soak-0123456789abcdef")
        server = servers.prepare(
            {**installation.environment, "AIEYE_CACHE_MEMORY_BYTES": str(4 * 2**20)}
        )
        server.program = PROGRAM
        await asyncio.to_thread(server.start)
        told = Told(upstream)
        traffic = Traffic(server.base_url, token, chance, clients=options.clients)
        before = await asyncio.to_thread(sample, server, 0.0)
        samples = await _run(server, traffic, told, options.minutes * 60)
        faults = [*_of_memory(samples), *await _of_quiet(server, before)]
        told.read(everything=True)
        code = await asyncio.to_thread(server.terminate)
        if code != 0 or "Traceback" in server.output():
            faults.append(f"the server ended with {code}; its log:\n{server.output()[-4000:]}")
        print(f"{len(traffic.finished)} answers seen whole; {dict(traffic.kinds)}")
        print(f"{told.requests} requests at the provider; {dict(upstream.fired)}")
        return [*faults, *_of_ledger(installation, traffic, told)]


async def _run(server: LiveServer, traffic: Traffic, told: Told, seconds: float) -> list[Sample]:
    """Let the clients call for so long, and look at the server meanwhile."""
    running = asyncio.create_task(traffic.run())
    started = time.monotonic()
    samples: list[Sample] = []
    while (at := time.monotonic() - started) < seconds and not running.done():
        samples.append(one := await asyncio.to_thread(sample, server, at))
        told.read()
        print(
            f"{at:7.0f} s  {one.resident_bytes / 2**20:6.1f} MiB  {one.sockets} sockets  "
            f"{one.tasks} tasks  {len(traffic.finished)} answers",
            flush=True,
        )
        await asyncio.wait({running}, timeout=max(seconds / SAMPLES, 1))
    traffic.stop()
    await running
    return samples


# -- what must hold ----------------------------------------------------------------------------


def _of_memory(samples: list[Sample]) -> Iterator[str]:
    if len(samples) < 8:
        yield "the run was too short to tell whether the memory grows"
        return
    share = growth(samples)
    print(f"memory grew by {share:.1%} from the second quarter to the last")
    if share > MOST_GROWTH and share * samples[-1].resident_bytes > SURE_BYTES:
        yield f"the memory grew by {share:.1%}"


async def _of_quiet(server: LiveServer, before: Sample) -> list[str]:
    """Once nobody calls any more, sockets and tasks are as few as they were at the beginning."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        after = await asyncio.to_thread(sample, server, 0.0)
        many = [
            f"{getattr(after, name)} {name} are left, {getattr(before, name)} there were"
            for name in ("sockets", "tasks")
            if getattr(after, name) > getattr(before, name)
        ]
        if not many or time.monotonic() > deadline:
            return many
        await asyncio.sleep(1)


def _of_ledger(installation: Installation, traffic: Traffic, told: Told) -> Iterator[str]:
    checks: tuple[Callable[[], None], ...] = (
        lambda: assert_recorded(installation, traffic.finished),
        lambda: assert_sums_agree(installation),
        lambda: assert_intact(installation),
        lambda: _assert_paid_once(installation, told),
    )
    for check in checks:
        try:
            check()
        except AssertionError as error:
            yield str(error)
    if set(states(installation)) != {"done"}:
        yield f"calls are left in the states {dict(states(installation))}"


def _assert_paid_once(installation: Installation, told: Told) -> None:
    """What the rows say was paid is what the provider told, and nothing that it told is missing."""
    paid = installation.query(
        "SELECT upstream_request_id, cost_nano FROM calls WHERE cost_nano > 0"
        " AND cost_state = 'exact' AND endpoint = 'chat/completions'"
    )
    twice = {name for name, count in Counter(name for name, _ in paid).items() if count > 1}
    assert not twice, f"paid twice: {sorted(twice)[:5]}"
    wrong = [
        (name, cost) for name, cost in paid if name in told.usages and cost != _price(told, name)
    ]
    assert not wrong, f"{len(wrong)} costs are not what the provider told, such as {wrong[0]}"
    missing = told.heard - {name for name, _ in paid}
    assert not missing, f"{len(missing)} usages were not paid, such as {min(missing)}"


def _price(told: Told, name: str) -> int:
    """What gpt-4o-mini costs, in nano-dollars."""
    usage = told.usages[name]
    return int(usage["prompt_tokens"]) * 150 + int(usage["completion_tokens"]) * 600


if __name__ == "__main__":
    sys.exit(main())
