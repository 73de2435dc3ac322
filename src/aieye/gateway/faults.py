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

    def __init__(self, cause: str, detail: str) -> None:
        """`cause` is for everybody; `detail` names the address, which only administrators may see."""
        super().__init__(f"The provider cannot be reached: {cause}.")
        self.cause = cause
        self.detail = detail


class BrokenOff(UpstreamError):
    """The connection ended, or spoke no proper HTTP, before the answer was complete."""

    code = "upstream_broken"


class UpstreamTimeout(UpstreamError):
    """The provider was silent for too long."""

    status = 504
    code = "upstream_timeout"
