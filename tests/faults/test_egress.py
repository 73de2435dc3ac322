"""Where calls go: to the provider that was set, proven by its certificate, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aieye.access import addresses
from aieye.gateway import dial
from tests.fakes.upstream import FakeUpstream, chat_answer, json_answer
from tests.faults.harness import (
    MODEL,
    PROVIDER_KEY,
    Gateway,
    StartGateway,
    asked,
    both_forms,
    error_code,
    question,
    text_of,
)

pytestmark = pytest.mark.live

DOWN = f"down/{MODEL}"
# Stands for the metadata service in these tests: an address where somebody may really listen.
FORBIDDEN = "127.0.0.2"


# -- certificates ----------------------------------------------------------------------------------


@dataclass
class Front:
    """TLS in front of a provider: how many handshakes began, and how many ended well."""

    port: int = 0
    hellos: int = 0
    connections: int = 0


def certificate(directory: Path, *, address: str, days: int = 1) -> Path:
    """A self-signed certificate and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a provider")])
    until = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=30))
        .not_valid_after(until)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = directory / f"{address}-{days}.pem"
    file.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@contextlib.asynccontextmanager
async def behind_tls(upstream: FakeUpstream, file: Path) -> AsyncIterator[Front]:
    """`upstream` with this certificate in front of it."""
    front = Front()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def hello(*_: object) -> None:
        front.hellos += 1

    context.sni_callback = hello

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        front.connections += 1
        back, forth = await asyncio.open_connection("127.0.0.1", upstream.port)
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context) as server:
        front.port = server.sockets[0].getsockname()[1]
        yield front


@both_forms
async def test_a_provider_whose_certificate_is_trusted_is_called_over_tls(
    gateway: Gateway, upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:  # fmt: skip
    file = certificate(tmp_path, address="127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with behind_tls(upstream, file) as front:
        await gateway.add_provider("down", f"https://127.0.0.1:{front.port}/v1", "sk-down-012345")
        answer = await gateway.ask(asked("Over TLS?", form, model=DOWN))

    assert (front.hellos, front.connections) == (1, 1)
    assert text_of(answer) == "Over TLS?"
    assert upstream.requests[0].key == "sk-down-012345"


@pytest.mark.parametrize("fault", ["self-signed", "for another address", "expired"])
async def test_a_provider_that_cannot_prove_who_it_is_never_gets_the_key(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, fault: str,
) -> None:  # fmt: skip
    address = "127.0.0.9" if fault == "for another address" else "127.0.0.1"
    file = certificate(tmp_path, address=address, days=-1 if fault == "expired" else 1)
    if fault != "self-signed":
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with behind_tls(upstream, file) as front:
        await gateway.add_provider("down", f"https://127.0.0.1:{front.port}/v1", "sk-down-012345")
        answer = await gateway.ask(question(model=DOWN))

    assert front.hellos >= 1
    assert (front.connections, upstream.requests) == (0, [])
    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")
    assert "its certificate is not trusted (TLS)" in answer.text
    row = await gateway.row()
    assert row.attempts[0]["detail"].startswith(f"127.0.0.1:{front.port}, ")
    assert (row.cost_nano, row.cost_state) == (0, "exact")


# -- what the environment would have it do ---------------------------------------------------------


async def test_neither_proxies_of_the_environment_nor_a_netrc_change_a_call(
    start_gateway: StartGateway, upstream: FakeUpstream, other: FakeUpstream, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, other.origin)
        monkeypatch.setenv(name.lower(), other.origin)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password canary-of-the-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with aiohttp.ClientSession(trust_env=True) as trusting:
        await trusting.get(f"{upstream.origin}/v1/models")
    (lured,) = other.requests
    assert lured.header("authorization") == "Basic ZXZlOmNhbmFyeS1vZi10aGUtbmV0cmM="

    gateway = await start_gateway()
    await gateway.ask(question())
    await gateway.ask(question(stream=True, seed=1))
    await gateway.get("/v1/models")
    upstream.script(json_answer(200, {"id": "file-1", "object": "file"}))
    await gateway.client.post("/v1/files", files={"file": b"x"}, data={"purpose": "batch"})

    assert other.requests == [lured]
    assert [request.key for request in upstream.requests] == [PROVIDER_KEY] * 4


# -- addresses that are never called ---------------------------------------------------------------


@dataclass
class Decoy:
    """Somebody listens on the forbidden address, and counts who comes."""

    port: int
    connections: int = 0


@pytest.fixture
async def decoy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Decoy]:
    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        writer.close()

    async with await asyncio.start_server(accept, FORBIDDEN, 0) as server:
        found = Decoy(server.sockets[0].getsockname()[1])
        yield found


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    known = addresses._METADATA_ADDRESSES | {ipaddress.ip_address(FORBIDDEN)}
    monkeypatch.setattr(addresses, "_METADATA_ADDRESSES", known)


@pytest.mark.parametrize(
    "host",
    ["2130706434", "0x7f000002", "0177.0.0.2", "127.2", "[::ffff:127.0.0.2]", "１２７.0.0.2"],
)
async def test_a_forbidden_address_is_not_connected_to_however_it_is_written(
    gateway: Gateway, decoy: Decoy, quick_retries: None, no_circuit: None,
    monkeypatch: pytest.MonkeyPatch, host: str,
) -> None:  # fmt: skip
    await gateway.add_provider("down", f"http://{host}:{decoy.port}/v1", "sk-down-0123456789")
    await gateway.ask(question("While it is allowed?", model=DOWN))
    reached = decoy.connections
    assert reached >= 1, "the address does not lead there"
    forbid(monkeypatch)
    monkeypatch.setattr(dial, "_RESOLVED_SECONDS", 0)
    gateway.state.gateway.client._dialer._resolved.clear()

    answer = await gateway.ask(question("And now?", model=DOWN))

    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")
    assert decoy.connections == reached


async def test_a_name_that_is_bound_to_a_forbidden_address_later_is_not_followed(
    gateway: Gateway, upstream: FakeUpstream, decoy: Decoy, quick_retries: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    forbid(monkeypatch)
    monkeypatch.setattr(dial, "_RESOLVED_SECONDS", 0)
    real, looked_up = socket.getaddrinfo, []

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "provider.invalid":
            return real(host, *args, **kwargs)
        looked_up.append(host)
        where = ("127.0.0.1", upstream.port) if len(looked_up) == 1 else (FORBIDDEN, decoy.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where)]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    await gateway.add_provider(
        "down", f"http://provider.invalid:{upstream.port}/v1", "sk-down-0123"
    )
    upstream.script(json_answer(200, {"id": "x", "choices": []}, {"Connection": "close"}))
    upstream.default = chat_answer("Never.")

    first = await gateway.ask(question("One", model=DOWN))
    second = await gateway.ask(question("Two", model=DOWN))

    assert first.status_code == 200
    assert len(looked_up) >= 2
    assert (second.status_code, error_code(second)) == (502, "upstream_unreachable")
    assert (len(upstream.requests), decoy.connections) == (1, 0)
