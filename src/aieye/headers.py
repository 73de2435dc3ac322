"""What every response says for safety, and whose address a request really comes from. Pure ASGI.

Neither touches bodies, so that streams pass through unbuffered.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from aieye.errors import PayloadTooLarge

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
# Makes the answer that says an error.
Render: TypeAlias = Callable[[Scope, PayloadTooLarge], Awaitable[App]]
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Set in the state of a request's scope when the server stops while its answer is under way.
STOPPING = "stopping"

# No inline code or style, nothing from elsewhere, in no frame.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "object-src 'none'; frame-ancestors 'none'"
)
_ALWAYS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")
_NOT_KEPT = (b"cache-control", b"no-store")


class SecurityHeaders:
    """Adds the headers to all responses of `app`, errors included.

    A response that says nothing about caching is not to be stored. `is_https` is whether people
    reach the service by https: browsers then are told never to use http.
    """

    def __init__(self, app: App, *, is_https: bool) -> None:
        self._app = app
        self._added = (*_ALWAYS, _HTTPS_ONLY) if is_https else _ALWAYS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._extended(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _extended(self, headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        present = {name.lower() for name, _ in headers}
        added = [header for header in self._added if header[0] not in present]
        if b"cache-control" not in present:
            added.append(_NOT_KEPT)
        return [*headers, *added]


class TrustedProxies:
    """The networks of `AIEYE_TRUSTED_PROXIES`, separated by commas; `*` is everybody."""

    def __init__(self, text: str) -> None:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        self._everybody = "*" in parts
        self._networks: tuple[Network, ...] = tuple(
            ipaddress.ip_network(part, strict=False) for part in parts if part != "*"
        )

    def __bool__(self) -> bool:
        return self._everybody or bool(self._networks)

    def __contains__(self, address: Address) -> bool:
        return self._everybody or any(address in network for network in self._networks)


class ClientAddress:
    """Sets the scope's client to the one that `client_ip` finds, for all that `app` does."""

    def __init__(self, app: App, trusted: TrustedProxies) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trusted and scope["type"] == "http":
            port = (scope.get("client") or ("", 0))[1]
            scope["client"] = (client_ip(scope, self._trusted), port)
        await self._app(scope, receive, send)


def client_ip(scope: Scope, trusted: TrustedProxies) -> str:
    """The client's address; "" when there is none, as on a Unix socket.

    `X-Forwarded-For` is read from the right, and only as far as trusted proxies wrote it: what
    stands left of the first other address may be the client's own invention.
    """
    peer = (scope.get("client") or ("",))[0]
    address = _parse(peer)
    if not trusted or address is None:
        return str(peer)
    for text in _forwarded(scope):
        if address not in trusted or (before := _parse(text)) is None:
            break
        address = before
    return str(address)


def find_disbelieved(scope: Scope, trusted: TrustedProxies) -> str | None:
    """The peer that says for whom it asks without being trusted, if this one does: a proxy that
    `AIEYE_TRUSTED_PROXIES` leaves out, whose clients all count as one, or a client's invention."""
    client = (scope.get("client") or ("",))[0]
    address = _parse(client)
    if address is None or address in trusted:
        return None
    said = [_parse(text) for text in _forwarded(scope)]
    # Where the header was believed, it is where the client's address comes from.
    return str(address) if said and address not in said else None


def _forwarded(scope: Scope) -> Iterator[str]:
    """The entries of all `X-Forwarded-For` headers, from the right."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for line in reversed(lines):
        yield from reversed(line.decode("latin-1").split(","))


def _parse(text: str) -> Address | None:
    """An address, with or without a port; IPv4 in IPv6's clothes is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class BodyLimit:
    """Refuses bodies over a size, as soon as that is known, before anybody holds them.

    `longest` gives the limit in bytes for a path, None where the application counts for itself;
    `render` makes the refusal's answer. What `app` reads in excess of a declared length does not
    exist; a body without one is counted as it comes.
    """

    def __init__(self, app: App, longest: Callable[[str], int | None], render: Render) -> None:
        self._app = app
        self._longest = longest
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._longest(scope["path"])
        if limit is None:
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
            await self._refuse(scope, receive, send, limit)
            return
        size = 0
        is_over = is_begun = False

        async def counted() -> Message:
            nonlocal size, is_over
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                is_over = True
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal is_begun
            # Whatever the application makes of the broken reading, 413 is what it was.
            if not is_over or is_begun:
                is_begun = True
                await send(message)

        with suppress(_TooLargeError):
            await self._app(scope, counted, noted)
        if is_over and not is_begun:
            await self._refuse(scope, receive, send, limit)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        error = PayloadTooLarge(
            f"The body is larger than the {limit} bytes allowed here.",
            headers={"Connection": "close"},
        )
        answer = await self._render(scope, error)
        await answer(scope, receive, send)


class _TooLargeError(Exception):
    """The body has outgrown the limit."""
