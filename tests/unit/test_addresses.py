"""Providers' addresses: what an administrator may write, and what is never called all the same."""

from __future__ import annotations

import ipaddress

import pytest

from aieye.access.addresses import ForbiddenAddress, check_address, normal_base_url, origin
from aieye.errors import InvalidRequest

METADATA = "169.254.169.254"
NEVER_CALLED = (
    *(METADATA, "169.254.0.1", "100.100.100.200", "192.0.0.192", "224.0.0.1", "fe80::1"),
    *("fe80::1%eth0", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"),
    *("2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe", "64:ff9b::169.254.169.254", "::169.254.169.254"),
)
# Set by an administrator, who may run a model at home.
CALLED = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "8.8.8.8"),
    *("::1", "fd12::1", "2606:4700::1111", "::ffff:10.0.0.1", "64:ff9b::808:808"),
)


@pytest.mark.parametrize("text", NEVER_CALLED)
def test_an_address_where_credentials_are_handed_out_is_refused(text: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_address(ipaddress.ip_address(text))
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(ForbiddenAddress):
        normal_base_url(f"http://{host}/v1")


@pytest.mark.parametrize("text", CALLED)
def test_loopback_private_and_public_addresses_are_an_administrators_to_choose(text: str) -> None:
    check_address(ipaddress.ip_address(text))
    host = f"[{text}]" if ":" in text else text
    assert normal_base_url(f"http://{host}:8080/v1") == f"http://{host}:8080/v1"


@pytest.mark.parametrize(
    "host",
    ["metadata.google.internal", "METADATA.google.internal.", "metadata", "１６９.254.169.254"],
)
def test_a_name_of_a_metadata_service_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(ForbiddenAddress):
        normal_base_url(f"http://{host}/v1")


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "//x/v1", "ftp://x/v1", "file:///etc/passwd", "gopher://x", "javascript:x"),
        *("http://", "http:///v1", "http://user:pass@x/v1", "http://user@x/v1", "http://x/?key=1"),
        *(
            "http://x/#a",
            "http://x:99999",
            "http://x:-1",
            "http://x:y",
            "http://[::1",
            "http://x/\0",
        ),
        *("http://x/a\r\nHost: y", "http://x /v1", "http://x/\u202e", "http://@x/v1"),
        *("http://x/v1/chat/completions", "http://x/v1/models/", "http://x/v1/completions"),
        *("http://x/é", "http://a..b/v1", "http://" + "x" * 64 + "/v1", "http://..."),
    ],
)
def test_what_is_no_plain_http_address_is_refused_with_its_field(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        normal_base_url(url)
    assert refused.value.param == "base_url"


@pytest.mark.parametrize(
    "written, normal",
    [
        ("HTTPS://API.OpenAI.com:443/v1/", "https://api.openai.com/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("http://localhost.:80", "http://localhost/v1"),
        ("http://x:443/v1", "http://x:443/v1"),
        ("https://x/a/b//", "https://x/a/b"),
        ("https://BÜCHER.example/v1", "https://xn--bcher-kva.example/v1"),
        ("http://１２７.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://my_model:8080", "http://my_model:8080/v1"),
    ],
)
def test_an_address_has_one_written_form(written: str, normal: str) -> None:
    assert normal_base_url(written) == normal == normal_base_url(normal)
    assert normal.startswith(origin(normal))
