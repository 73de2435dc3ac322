"""What every response says, and whose address a request comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from aieye.headers import (
    CONTENT_SECURITY_POLICY,
    ClientAddress,
    SecurityHeaders,
    TrustedProxies,
    client_ip,
    find_disbelieved,
)


async def _headers(*given: tuple[bytes, bytes], is_https: bool = False) -> dict[bytes, bytes]:
    """What goes out when the application answers with the headers `given`."""
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": list(given)})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Any) -> None:
        sent.append(message)

    await SecurityHeaders(app, is_https=is_https)({"type": "http"}, None, send)  # type: ignore[arg-type] # nothing is received
    assert sent[1] == {"type": "http.response.body", "body": b"x"}
    assert len(sent[0]["headers"]) == len(dict(sent[0]["headers"]))
    return dict(sent[0]["headers"])


async def test_every_response_forbids_frames_sniffing_referrers_and_storing() -> None:
    headers = await _headers((b"content-type", b"text/html"))
    assert headers == {
        b"content-type": b"text/html",
        b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
        b"referrer-policy": b"no-referrer",
        b"cross-origin-opener-policy": b"same-origin",
        b"cache-control": b"no-store",
    }


def test_the_policy_allows_no_inline_code() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


async def test_what_the_application_said_stands() -> None:
    headers = await _headers((b"Cache-Control", b"public"), (b"Referrer-Policy", b"origin"))
    assert headers[b"Cache-Control"] == b"public"
    assert headers[b"Referrer-Policy"] == b"origin"
    assert b"cache-control" not in headers


async def test_only_https_is_told_to_stay_https() -> None:
    assert b"strict-transport-security" not in await _headers()
    assert b"strict-transport-security" in await _headers(is_https=True)


def _scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    return {"type": "http", "client": peer and (peer, 1234), "headers": headers}


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "expected"),
    [
        ("", "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.0/8", "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.0/8", "10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8, fd00::/8", "fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("*", "203.0.113.9", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.0/8", None, ["198.51.100.1"], ""),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(
    trusted: str, peer: str | None, forwarded: Sequence[str], expected: str
) -> None:
    assert client_ip(_scope(peer, *forwarded), TrustedProxies(trusted)) == expected


@pytest.mark.parametrize(
    ("trusted", "client", "forwarded", "expected"),
    [
        ("", "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.0/8", "203.0.113.9", ["198.51.100.1, nonsense"], "203.0.113.9"),
        ("10.0.0.0/8", "203.0.113.9", [], None),
        # The client as a trusted proxy told it, and that proxy when what it says means nothing.
        ("10.0.0.0/8", "198.51.100.1", ["6.6.6.6, 198.51.100.1"], None),
        ("10.0.0.0/8", "10.0.0.1", ["nonsense"], None),
        ("", None, ["198.51.100.1"], None),
    ],
)
def test_a_proxy_that_is_not_trusted_is_found(
    trusted: str, client: str | None, forwarded: Sequence[str], expected: str | None
) -> None:
    assert find_disbelieved(_scope(client, *forwarded), TrustedProxies(trusted)) == expected


async def test_the_application_sees_the_clients_own_address() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"])

    async def nothing(*_: Any) -> Any:
        return None

    wrapped = ClientAddress(app, TrustedProxies("10.0.0.0/8"))
    await wrapped(_scope("10.0.0.1", "198.51.100.1"), nothing, nothing)
    await wrapped(_scope("203.0.113.9", "198.51.100.1"), nothing, nothing)
    assert seen == [("198.51.100.1", 1234), ("203.0.113.9", 1234)]
