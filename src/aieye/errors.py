"""The one error tree: every failure that AI-Eye reports to a caller is an `AieyeError`.

A class states its HTTP status and its `code`; the domains derive their own. Two places render them:
`aieye.api.rendering` (OpenAI's error object, and the originals' shapes) and `aieye.ui` (a page).
"""

from __future__ import annotations

from typing import ClassVar


class AieyeError(Exception):
    """A failure with a meaning for the caller.

    `status` is the HTTP status, `type` and `code` fill OpenAI's error object
    (https://platform.openai.com/docs/guides/error-codes), `param` names the offending field.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers or {}


class InvalidRequest(AieyeError):
    """The request cannot be understood or breaks a rule: nothing was done."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class Unauthenticated(AieyeError):
    """No valid credentials came with the request."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param, headers={"WWW-Authenticate": "Bearer"})


class InvalidToken(Unauthenticated):
    """The token is mistyped, revoked or expired: who holds one of these learns not which."""

    def __init__(self) -> None:
        super().__init__(
            "The token is not valid, or not any more: make or roll one at /tokens of this server."
        )


class Forbidden(AieyeError):
    """The caller is known and may not do this."""

    status = 403
    type = "invalid_request_error"
    code = "permission_denied"


class NotFound(AieyeError):
    """There is no such thing, or it belongs to somebody else (the two are not told apart)."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class Conflict(AieyeError):
    """The thing exists already or is in use."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class PayloadTooLarge(AieyeError):
    """The body is larger than the configured limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMedia(AieyeError):
    """The body's type or encoding is not accepted on this route."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class Unprocessable(AieyeError):
    """The request is well formed and its values cannot be accepted."""

    status = 422
    type = "invalid_request_error"
    code = "unprocessable"


class Unavailable(AieyeError):
    """AI-Eye itself cannot serve for the moment; trying again later may work."""

    status = 503
    type = "server_error"
    code = "service_unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})
