"""Whether an unsafe request with a session comes from our own pages or from another site. Pure.

Two checks, both of which must pass: where the browser says the request comes from (Fetch Metadata,
else Origin; https://www.w3.org/TR/fetch-metadata/), and a token that is bound to the session.
Programs such as curl send neither header; they have no cookies of somebody else to misuse.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TOKEN_HEADER = "x-csrftoken"  # noqa: S105 - a name, not a secret
TOKEN_FIELD = "csrf_token"  # noqa: S105
# As `aieye.access.secrets.make_secret` makes them.
_TOKEN_BYTES = 32
# `none` is the person's own doing, such as a reload; no site can cause it.
_OWN_SITES = frozenset({"same-origin", "none"})


def find_fault(
    method: str,
    *,
    fetch_site: str | None,
    origin: str | None,
    origins: frozenset[str],
    expected: str | None,
    given: str | None,
    is_sign_in: bool = False,
) -> str | None:
    """Why the request is refused, for its sender to read; None when it is accepted.

    `fetch_site` and `origin` are the headers `Sec-Fetch-Site` and `Origin`, `origins` our own ones
    (`own_origins`), `expected` the session's token and `given` the request's. A sign-in has no
    session yet: its token is that of the form's cookie, and only browsers need one.
    """
    if method in SAFE_METHODS:
        return None
    if not _is_own(fetch_site, origin, origins):
        return "The request comes from another site."
    if is_sign_in and fetch_site is None and origin is None:
        return None
    if not expected or not given:
        return f"The request has no CSRF token (header X-CSRFToken or field {TOKEN_FIELD})."
    if not hmac.compare_digest(_encode(expected), _encode(unmask(given))):
        return "The CSRF token is not this session's: load the page again."
    return None


def is_foreign(
    method: str, *, fetch_site: str | None, origin: str | None, origins: frozenset[str]
) -> bool:
    """Whether a browser sends an unsafe request on another site's behalf."""
    return method not in SAFE_METHODS and not _is_own(fetch_site, origin, origins)


def mask(token: str) -> str:
    """A token as a page holds it: another one each time, so that compressing it tells nothing (BREACH).

    What is no token of ours stays as it is.
    """
    plain = _decode(token)
    if len(plain) != _TOKEN_BYTES:
        return token
    pad = secrets.token_bytes(_TOKEN_BYTES)
    return _encode64(pad + _xor(pad, plain))


def unmask(given: str) -> str:
    """The token behind a masked one; a token that is not masked is itself."""
    both = _decode(given)
    if len(both) != 2 * _TOKEN_BYTES:
        return given
    return _encode64(_xor(both[:_TOKEN_BYTES], both[_TOKEN_BYTES:]))


def own_origins(public_url: str) -> frozenset[str]:
    """The origins of our own pages; the loopback address has several names."""
    parts = urlsplit(public_url)
    host = (parts.hostname or "").lower()
    hosts = ("localhost", "127.0.0.1", "[::1]") if _is_loopback(host) else (_shown(host),)
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, standard} else f":{parts.port}"
    return frozenset(f"{parts.scheme}://{host}{port}" for host in hosts)


def _is_own(fetch_site: str | None, origin: str | None, origins: frozenset[str]) -> bool:
    if fetch_site is not None:
        return fetch_site.lower() in _OWN_SITES
    return origin is None or origin.lower() in origins


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _encode(token: str) -> bytes:
    # As bytes: `compare_digest` refuses text with other than ASCII characters.
    return token.encode("utf-8", "surrogatepass")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _encode64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """The bytes of a base64url text; none where it is not one."""
    try:
        return base64.b64decode(
            _encode(text) + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
        )
    except binascii.Error:
        return b""
