"""Who was not let in, one line each in the log and never more than a few: anybody can make them."""

from __future__ import annotations

import time
from collections.abc import Callable

from aieye.telemetry.loggers import get_logger

log = get_logger()

MOST_A_MINUTE = 60
DENIED = frozenset({401, 403})
_LONGEST_PATH = 200


class Denials:
    """Logs refusals of a process. The first line of a minute says how many the last one kept back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minute = 0
        self._count = 0

    def note(self, status: int, code: str | None, *, method: str, path: str, ip: str) -> None:
        """Log that a call was answered with `status` for want of rights."""
        minute = int(self._clock() // 60)
        kept_back = 0
        if minute != self._minute:
            kept_back = max(0, self._count - MOST_A_MINUTE)
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count > MOST_A_MINUTE:
            return
        more = {"kept_back": kept_back} if kept_back else {}
        log.warning(
            "access_denied", status=status, code=code, method=method, path=path[:_LONGEST_PATH],
            ip=ip, **more,
        )  # fmt: skip


denials = Denials()
