"""`aieye serve` with something taken out or looked at: `python -m bench.launch`.

`BENCH_LEDGER=off` leaves out all that the ledger does. With `BENCH_PROFILE=file` the event loop's
thread is profiled between SIGUSR1 and SIGUSR2, and the profile written to the file.
"""

from __future__ import annotations

import cProfile
import os
import signal
import sys
import time
from pathlib import Path

import aieye.app
from aieye.cli import main
from aieye.ledger.book import Book, CallRecord, Price


class _Blank(Book):
    """A book that nothing is written into."""

    def open(self, record: CallRecord) -> None:
        return None

    def settle(self, record: CallRecord) -> None:
        record.latency_us = record.elapsed_us()

    def keep_body(
        self, body_id: str, created_at: int, request: bytes | None, response: bytes | None
    ) -> None:
        return None

    def keep_price(self, price: Price) -> str:
        return price.price_id


def _offer_profile(path: Path) -> None:
    # Processor time of the loop's thread: waiting, for the disk or the other core, does not count.
    profile = cProfile.Profile(time.thread_time)

    def begin(_signal: int, _frame: object) -> None:
        profile.enable()

    def end(_signal: int, _frame: object) -> None:
        profile.disable()
        partial = path.with_suffix(".partial")
        profile.dump_stats(partial)
        partial.rename(path)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)


if __name__ == "__main__":
    if os.environ.get("BENCH_LEDGER") == "off":
        vars(aieye.app)["Book"] = _Blank
    if "BENCH_PROFILE" in os.environ:
        _offer_profile(Path(os.environ["BENCH_PROFILE"]))
    sys.argv = ["aieye", "serve"]
    main()
