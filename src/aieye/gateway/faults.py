"""What can go wrong between the gateway and a provider."""

from __future__ import annotations

from aieye.errors import AieyeError


class UpstreamError(AieyeError):
    """The provider could not be reached or broke off."""

    status = 502
    type = "upstream_error"
    code = "upstream_error"


class Unreachable(UpstreamError):
    """No connection: refused, no such name, TLS failure, or no answer to the connection attempt."""

    code = "upstream_unreachable"


class BrokenOff(UpstreamError):
    """The connection ended, or spoke no proper HTTP, before the answer was complete."""

    code = "upstream_broken"


class UpstreamTimeout(UpstreamError):
    """The provider was silent for too long."""

    status = 504
    code = "upstream_timeout"
