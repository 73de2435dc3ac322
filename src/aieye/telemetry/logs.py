"""Logs: one JSON object a line on stderr, or for a person at a terminal. Nothing secret in either.

structlog's loggers, the standard library's and uvicorn's all end in one handler, where exceptions
become text, secrets go out and control characters are escaped. The event loop's thread writes.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

from aieye.telemetry.loggers import structlog
from aieye.telemetry.redaction import escape_controls, scrub

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# The request (`req_…`) in whose course something is logged; every line then bears it.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# What they say below this level is of no use in service: httpx, for one, tells whole addresses.
_QUIET = ("httpx", "httpcore", "aiosqlite", "alembic", "asyncio", "aiohttp.access")
_TRACES = frozenset({"exception", "stack"})


def configure_logs(
    *, level: int = logging.INFO, stream: TextIO | None = None, as_json: bool | None = None
) -> None:
    """Send all logs of the process to `stream` (stderr). Call it again to change that.

    `as_json` is True for lines of JSON, False for a terminal; None: what the stream is.
    """
    target = stream or sys.stderr
    is_json = not target.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _Handler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                scrub_event,
                *_renderers(is_json),
            ],
        )
    )
    _route_everything_to(handler, level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def scrub_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that redacts every field, the traceback's text included."""
    scrubbed: EventDict = scrub(event)
    return scrubbed


def _renderers(is_json: bool) -> list[Processor]:
    if is_json:
        # The standard library's encoder writes ASCII only, so that nothing breaks a line.
        return [structlog.processors.JSONRenderer(), _escape_delete]
    return [
        _escape_fields,
        structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback, colors=sys.stderr.isatty()
        ),
    ]


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event


def _escape_delete(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return str(line).replace("\x7f", "\\u007f")


def _escape_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """For the terminal, where a traceback alone has several lines."""
    return {
        escape_controls(name): (
            escape_controls(value, keep="\n\t" if name in _TRACES else "")
            if isinstance(value, str)
            else value
        )
        for name, value in event.items()
    }


def _route_everything_to(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class _Handler(logging.StreamHandler[TextIO]):
    """Unlike its base it does not print a record that cannot be formatted: that may be secret."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        error = sys.exc_info()[0]
        line = {
            "event": "log_record_failed",
            "logger": record.name,
            "place": f"{record.filename}:{record.lineno}",
            "reason": error.__name__ if error else "unknown",
        }
        self.stream.write(json.dumps(line) + "\n")
