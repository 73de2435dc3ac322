"""Opens connections to providers: names resolved and checked, several addresses tried, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from aieye.access.addresses import ForbiddenAddress, check_address
from aieye.gateway.connection import Connection
from aieye.gateway.faults import Unreachable

# How long the addresses of a name are believed.
_RESOLVED_SECONDS = 30.0
# The next address is tried beside a silent one after this (RFC 8305).
_NEXT_ADDRESS_SECONDS = 0.25
_NO_SUCH_NAME = {socket.EAI_NONAME, socket.EAI_NODATA}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go: `https` or `http`, a name or address, a port."""

    is_tls: bool
    host: str
    port: int

    @classmethod
    def of(cls, base_url: str) -> Origin:
        parts = urlsplit(base_url)
        is_tls = parts.scheme == "https"
        return cls(is_tls, parts.hostname or "", parts.port or (443 if is_tls else 80))

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == (443 if self.is_tls else 80)
        return host if is_usual else f"{host}:{self.port}"


class Dialer:
    """Makes connections, each within `seconds` from the look-up of the name to the handshake."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._resolved: dict[tuple[str, int], tuple[float, list[AddrInfoType]]] = {}
        self._tls: ssl.SSLContext | None = None

    async def dial(self, origin: Origin) -> Connection:
        """A new connection. Raises `Unreachable`."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._dial(origin)
        except (ForbiddenAddress, OSError, UnicodeError) as error:
            cause, more = _cause_of(error)
            place = f"{origin.host}:{origin.port}"
            raise Unreachable(cause, f"{place}, {more}" if more else place) from error

    async def _dial(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        addresses = await self._addresses(origin.host, origin.port)
        raw = await start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1, loop=loop
        )
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = await self._tls_context() if origin.is_tls else None
            _, connection = await loop.create_connection(
                lambda: Connection(loop),
                sock=raw,
                ssl=context,
                server_hostname=origin.host if origin.is_tls else None,
            )
        except BaseException:
            raw.close()
            raise
        return connection

    async def _addresses(self, host: str, port: int) -> list[AddrInfoType]:
        moment = time.monotonic()
        kept = self._resolved.get((host, port))
        if kept is not None and moment < kept[0]:
            return kept[1]
        loop = asyncio.get_running_loop()
        found: list[AddrInfoType] = list(
            await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        for *_, address in found:
            check_address(ipaddress.ip_address(str(address[0]).partition("%")[0]))
        self._resolved[host, port] = (moment + _RESOLVED_SECONDS, found)
        return found

    async def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Reading the system's certificates takes tens of milliseconds.
            context = await asyncio.to_thread(ssl.create_default_context)
            context.set_alpn_protocols(["http/1.1"])
            self._tls = context
        return self._tls


def _cause_of(error: Exception) -> tuple[str, str]:
    """Why there is no connection: in a few words without an address, and what the system adds."""
    match error:
        case ForbiddenAddress():
            return "its name stands for an address that is never called", ""
        case socket.gaierror() if error.errno in _NO_SUCH_NAME:
            return "its name is not found", ""
        case socket.gaierror():
            return "its name cannot be looked up", error.strerror or ""
        case UnicodeError():
            return "its name is none", ""
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted (TLS)", error.verify_message
        case ssl.SSLError():
            return "TLS failed", error.reason or ""
        case TimeoutError():
            return "the connection timed out", ""
        case ConnectionRefusedError():
            return "the connection is refused", ""
        case ConnectionError():
            return "the connection is closed at once", ""
    return "there is no way there", getattr(error, "strerror", None) or ""
