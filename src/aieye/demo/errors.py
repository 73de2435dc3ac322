"""The error answers, in the shape and mostly in the words of OpenAI's."""

from __future__ import annotations

from typing import Any

# Statuses with a type or a code of their own: (type, code, message).
_FAULTS = {
    401: ("invalid_request_error", "invalid_api_key", "Simulated: incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "Simulated: the model does not exist."),
    429: ("requests", "rate_limit_exceeded", "Simulated: rate limit. Please try again in 1s."),
    503: ("server_error", "overloaded", "Simulated: the engine is currently overloaded."),
}


class ProviderError(Exception):
    """An error answer of the simulated provider, in the shape of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        error = {"message": message, "type": kind, "param": param, "code": code}
        self.body: dict[str, Any] = {"error": error}


def missing(param: str) -> ProviderError:
    """A required field is not there."""
    message = f"Missing required parameter: '{param}'."
    return ProviderError(400, message, param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str) -> ProviderError:
    """A field has a value of another JSON type than the expected one."""
    message = f"Invalid type for '{param}': expected {expected}."
    return ProviderError(400, message, param=param, code="invalid_type")


def invalid(param: str, message: str, code: str = "invalid_value") -> ProviderError:
    """A field has a value of the right type that is not allowed."""
    return ProviderError(400, f"Invalid '{param}': {message}", param=param, code=code)


def fault(status: int) -> ProviderError:
    """The error that `sim-error-<status>` asks for."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    kind, code, message = _FAULTS.get(status, (kind, None, f"Simulated error {status}."))
    headers = (("retry-after", "1"),) if status == 429 else ()
    return ProviderError(status, message, kind=kind, code=code, headers=headers)
