"""What the service tells of itself: logs without secrets, the request's id, metrics, loop lag."""

from aieye.telemetry.denials import DENIED, denials
from aieye.telemetry.lag import LoopLag
from aieye.telemetry.logs import configure_logs, request_id
from aieye.telemetry.redaction import held_secrets, hide_secrets, redact
from aieye.telemetry.requests import RequestId

__all__ = [
    "DENIED",
    "LoopLag",
    "RequestId",
    "configure_logs",
    "denials",
    "held_secrets",
    "hide_secrets",
    "redact",
    "request_id",
]
