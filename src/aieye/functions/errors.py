"""How the call of a function can fail."""

from __future__ import annotations

from aieye.errors import AieyeError


class FunctionFailed(AieyeError):
    """The function raised, ended its process, or returned what is not JSON.

    `detail` says where, as far as it is known: `custom_a.py:7, in f`.
    """

    status = 422
    type = "invalid_request_error"
    code = "function_failed"

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class FunctionTimeout(AieyeError):
    """The function took longer than it was given."""

    status = 422
    type = "invalid_request_error"
    code = "function_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took longer than {seconds:g} s")
        self.seconds = seconds


class FunctionUnavailable(FunctionFailed):
    """The function is registered no more, or its file cannot be used as it is now."""

    code = "function_unavailable"


class ArgumentRefused(FunctionFailed):
    """An argument is not what the function's annotation asks for; it was not called."""

    code = "argument_refused"
