"""`python -m bench`: measure, print the table, and keep it under `bench/.work/`."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import machine
from bench.cases import CASES, PROFILES
from bench.processes import ROOT, NotMeasured
from bench.profiles import profile
from bench.report import Line, Result, save, table
from bench.servers import Pace, Servers

WORK = ROOT / "bench" / ".work"
USUAL, QUICK = Pace(seconds=4, rounds=3), Pace(seconds=2, rounds=1)
CANNOT_RUN = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for. 0: all was measured, whatever came out; 3: cannot run."""
    options = _parser().parse_args(arguments)
    if faults := machine.faults():
        print("\n".join(faults), file=sys.stderr)
        return CANNOT_RUN
    # Whoever ends this ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    # The benchmark itself, wrk and the upstreams: all of them beside the server under test.
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    WORK.mkdir(exist_ok=True)
    pace = QUICK if options.quick else USUAL
    if options.seconds:
        pace = Pace(options.seconds, pace.rounds)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
    try:
        with ExitStack() as stack:
            servers = Servers(directory, pace, stack)
            if options.profile:
                _profile(servers, options.profile)
                return 0
            return _measure(servers, options.only or list(CASES))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seconds a figure, taken once")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes")
    parser.add_argument(
        "--only", action="append", choices=CASES, metavar="CASE",
        help=f"only this case (may be repeated): {', '.join(CASES)}",
    )  # fmt: skip
    parser.add_argument(
        "--profile", choices=PROFILES, metavar="CASE",
        help=f"profile the gateway instead of measuring it: {', '.join(PROFILES)}",
    )  # fmt: skip
    return parser


def _measure(servers: Servers, names: Sequence[str]) -> int:
    found = machine.describe(servers.directory)
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    print(
        f"{servers.pace.seconds:g} s a measurement, the median of {servers.pace.rounds}, server on "
        f"core {machine.SERVER_CORE}, load and upstream on core {machine.LOAD_CORE}\n"
    )
    results: list[Result] = []
    for name in names:
        results += _run(servers, name)
        # Kept after each case: a run that is broken off leaves what it has.
        save(WORK / "results.json", found, results)
    print(f"\n{table(results)}\n\nSaved: {(WORK / 'results.json').relative_to(ROOT)}")
    if faults := [result for result in results if isinstance(result, Line) and result.is_fault]:
        print(f"{len(faults)} of the cases could NOT be measured: see {_INVALID}.", file=sys.stderr)
        return 1
    return 0


def _run(servers: Servers, name: str) -> list[Result]:
    """One case. What cannot be measured is said loudly and does not keep the others from it."""
    print(f"{name} …", end=" ", flush=True)
    started = time.monotonic()
    results: list[Result] = []
    try:
        results.extend(CASES[name](servers))
    except NotMeasured as error:
        print(f"\n{_INVALID}: {name}: {error}", file=sys.stderr)
        results.append(Line(name, str(error).splitlines()[0], is_fault=True))
    print(f"{time.monotonic() - started:.0f} s", flush=True)
    return results


def _profile(servers: Servers, name: str) -> None:
    path = WORK / f"{name}.pstats"
    print(profile(servers, name, *PROFILES[name], path))
    print(f"Saved: {path.relative_to(ROOT)}")


_INVALID = "!!! INVALID"

if __name__ == "__main__":
    sys.exit(main())
