"""Where every module has its logger from, and structlog is loaded without what nobody here uses.

structlog takes rich, with it pygments, for tracebacks in colour wherever they are installed, which
they are with typer: four megabytes of every process that serves, and a thirtieth of its start.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["get_logger", "structlog"]

_ABSENT = "rich"

# `None` is what the import system takes for "is not there"; structlog then does without. A process
# that has loaded rich already, as tests have, keeps it.
_is_kept_out = _ABSENT not in sys.modules
if _is_kept_out:
    sys.modules[_ABSENT] = None  # type: ignore[assignment] # that is the import system's own form
try:
    import structlog
finally:
    if _is_kept_out:
        del sys.modules[_ABSENT]


def get_logger() -> Any:
    """A logger that gives what it is told to `configure_logs`' handler, whenever that comes."""
    return structlog.get_logger()
