"""Providers' addresses: one written form, and those that are never called. Pure.

An address that an administrator wrote is allowed, loopback and private ones included; only
link-local and cloud metadata addresses are refused, since nothing there speaks OpenAI's API and
what does speak there hands out credentials.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aieye.errors import InvalidRequest

_METADATA_HOSTS = frozenset({"metadata.google.internal", "metadata", "instance-data"})
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
# An IPv4 address in the last 32 bits: what a translator (NAT64, RFC 6052) and old stacks send on.
_HOLDS_IPV4 = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::/96"))
# What people paste with the base URL: no provider has its API below one of these.
_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/embeddings", "/models")


class ForbiddenAddress(InvalidRequest):
    """The address is one that AI-Eye never calls."""

    code = "forbidden_address"


def normal_base_url(text: str) -> str:
    """The one form of a provider's base URL: `https://host[:port]/v1`, no slash at the end.

    A URL without a path gets OpenAI's `/v1`. Raises `InvalidRequest`, `ForbiddenAddress`.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise InvalidRequest("The base URL is not a URL.", param="base_url") from error
    name = (parts.hostname or "").rstrip(".")
    if parts.scheme not in {"http", "https"} or not name:
        raise InvalidRequest(
            "The base URL should look like https://api.openai.com/v1.", param="base_url"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidRequest(
            "The base URL takes no user name, query or fragment; keys are stored apart.",
            param="base_url",
        )
    if any(character.isspace() or not character.isprintable() for character in text.strip()):
        raise InvalidRequest("The base URL contains a control character.", param="base_url")
    if not parts.path.isascii():
        raise InvalidRequest("The base URL's path should be percent-encoded.", param="base_url")
    if parts.path.rstrip("/").endswith(_ENDPOINTS):
        raise InvalidRequest(
            "The base URL ends before the endpoint, such as https://api.openai.com/v1.",
            param="base_url",
        )
    host = _ascii_host(name)
    check_host(host)
    shown = f"[{host}]" if ":" in host else host
    standard = {"http": 80, "https": 443}[parts.scheme]
    address = shown if port in {None, standard} else f"{shown}:{port}"
    return f"{parts.scheme}://{address}{parts.path.rstrip('/') or '/v1'}"


def _ascii_host(host: str) -> str:
    """The host as it is looked up: lower case, in IDNA, other alphabets' digits as ours."""
    if ":" in host:
        return host.lower()
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError as error:
        raise InvalidRequest("The base URL's host is no host name.", param="base_url") from error


def check_host(host: str) -> None:
    """Refuse a host name or literal address that is never called (`ForbiddenAddress`)."""
    if host in _METADATA_HOSTS:
        raise ForbiddenAddress(f"{host} is a metadata service, not a provider.", param="base_url")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    check_address(address)


def check_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Refuse a resolved address that is never called (`ForbiddenAddress`)."""
    if isinstance(address, ipaddress.IPv6Address):
        address = _meant(address)
    if address.is_link_local or address.is_multicast or address in _METADATA_ADDRESSES:
        raise ForbiddenAddress(
            f"{address} is a link-local or metadata address, not a provider.", param="base_url"
        )


def _meant(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one carries, else itself."""
    if any(address in network for network in _HOLDS_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def origin(base_url: str) -> str:
    """Scheme, host and port of a base URL in normal form."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"
