"""The server that AIEYE_URL names, asked with the token in AIEYE_TOKEN."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from dotenv import dotenv_values

from aieye.cli.terminal import tell
from aieye.errors import AieyeError, InvalidRequest

TIMEOUT_SECONDS = 960.0


class Refused(AieyeError):
    """What the server answered was an error; `diagnostics` is what it found wrong with a pipeline."""

    type = "invalid_request_error"
    code = "refused"

    def __init__(self, status: int, body: Any) -> None:
        error = body.get("error", {}) if isinstance(body, dict) else {}
        super().__init__(str(error.get("message") or f"The server answered {status}."))
        self.status = status  # type: ignore[misc] # per answer here
        self.diagnostics: list[dict[str, Any]] = (
            body.get("diagnostics", []) if isinstance(body, dict) else []
        )


class NoServer(AieyeError):
    """Nobody answers at AIEYE_URL, or what answers is no AI-Eye."""

    status = 503
    code = "no_server"


@dataclass(frozen=True, slots=True)
class Remote:
    """A server and the token that it is called with."""

    url: str
    token: str = field(repr=False)

    def post(self, path: str, body: Any) -> Any:
        """The JSON of the answer. Raises `Refused`, `NoServer`."""
        return self.send("POST", path, body)

    def send(self, method: str, path: str, body: Any) -> Any:
        """The JSON of the answer. Raises `Refused`, `NoServer`."""
        # `serve`, which never calls another server this way, has this module loaded too.
        import urllib.error  # noqa: PLC0415
        import urllib.request  # noqa: PLC0415

        request = urllib.request.Request(  # noqa: S310 - the address is the caller's own setting
            f"{self.url}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, _json(error.read())) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise NoServer(f"{self.url}: {reason}. Is AIEYE_URL right?") from error


def find_remote() -> Remote | None:
    """The server to ask, if AIEYE_URL names one. Raises `InvalidRequest` where the token is missing."""
    given = {**dotenv_values(".env"), **os.environ}
    url = (given.get("AIEYE_URL") or "").strip().rstrip("/")
    token = (given.get("AIEYE_TOKEN") or "").strip()
    if not url:
        if token:
            _tell_of_unused_token()
        return None
    if url.endswith("/v1"):
        raise InvalidRequest("AIEYE_URL should be the server's bare address, without /v1.")
    if not url.startswith(("http://", "https://")):
        raise InvalidRequest("AIEYE_URL should begin with http:// or https://.")
    if not token:
        raise InvalidRequest("AIEYE_URL needs a token of the scope admin: set AIEYE_TOKEN.")
    return Remote(url, token)


@cache
def _tell_of_unused_token() -> None:
    """Once a command, which may look for its server several times."""
    tell(
        "AIEYE_TOKEN is not used: AIEYE_URL names no server. This is the database here, "
        "as its first administrator."
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
