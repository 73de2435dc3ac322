"""Which unsafe requests are accepted: from our own pages, or from programs that are no browser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.access import csrf
from aieye.access.csrf import find_fault, own_origins
from aieye.access.secrets import make_secret

ORIGIN = "https://eye.example.org"
TOKEN = "the-sessions-token"


def _fault(
    method: str = "POST",
    *,
    site: str | None = None,
    origin: str | None = None,
    given: str | None = TOKEN,
    expected: str | None = TOKEN,
    is_sign_in: bool = False,
) -> str | None:
    return find_fault(
        method,
        fetch_site=site,
        origin=origin,
        origins=frozenset({ORIGIN}),
        expected=expected,
        given=given,
        is_sign_in=is_sign_in,
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_looking_needs_nothing(method: str) -> None:
    assert _fault(method, site="cross-site", origin="https://evil.example", given=None) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("site", "origin"),
    [(None, None), ("same-origin", None), ("none", None), (None, ORIGIN), ("same-origin", ORIGIN)],
)
def test_our_own_page_and_a_program_pass_with_the_token(
    method: str, site: str | None, origin: str | None
) -> None:
    assert _fault(method, site=site, origin=origin) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("site", "origin"),
    [
        ("cross-site", None),
        ("same-site", None),
        ("cross-site", ORIGIN),
        ("", ORIGIN),
        (None, "https://evil.example"),
        (None, "http://eye.example.org"),
        (None, "https://eye.example.org:8443"),
        (None, "https://eye.example.org.evil.example"),
        (None, "null"),
        (None, ""),
    ],
)
def test_another_site_is_refused_even_with_the_token(
    method: str, site: str | None, origin: str | None
) -> None:
    assert _fault(method, site=site, origin=origin) == "The request comes from another site."


@pytest.mark.parametrize("given", [None, "", "another-token", TOKEN + "x", "tökén", "\ud800"])
@pytest.mark.parametrize("site", [None, "same-origin"])
def test_a_session_needs_its_own_token(given: str | None, site: str | None) -> None:
    assert _fault(site=site, given=given) is not None


@pytest.mark.parametrize("expected", [None, ""])
def test_no_token_is_never_the_expected_one(expected: str | None) -> None:
    assert _fault(given=expected, expected=expected) is not None


def test_a_program_signs_in_without_a_token() -> None:
    assert _fault(given=None, expected=None, is_sign_in=True) is None


@pytest.mark.parametrize(("site", "origin"), [("same-origin", None), (None, ORIGIN)])
def test_a_browser_signs_in_with_its_forms_token_only(site: str | None, origin: str | None) -> None:
    assert _fault(site=site, origin=origin, is_sign_in=True) is None
    assert _fault(site=site, origin=origin, given=None, is_sign_in=True) is not None


def test_another_site_signs_nobody_in() -> None:
    assert _fault(site="cross-site", is_sign_in=True) is not None


@pytest.mark.parametrize(
    ("public_url", "origins"),
    [
        ("https://Eye.example.org", {"https://eye.example.org"}),
        ("https://eye.example.org:443/under/a/path", {"https://eye.example.org"}),
        ("http://10.0.0.7:8000", {"http://10.0.0.7:8000"}),
        ("http://[fd00::1]:8000", {"http://[fd00::1]:8000"}),
        (
            "http://127.0.0.1:8000",
            {"http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"},
        ),
        ("http://localhost", {"http://127.0.0.1", "http://localhost", "http://[::1]"}),
    ],
)
def test_our_origins_are_those_of_the_public_url(public_url: str, origins: set[str]) -> None:
    assert own_origins(public_url) == origins


def test_a_token_looks_different_in_each_page_and_is_known_again() -> None:
    token = make_secret()
    shown = {csrf.mask(token) for _ in range(20)}
    assert len(shown) == 20
    assert not any(token in one for one in shown)
    assert {csrf.unmask(one) for one in shown} == {token}
    # Scripts send the cookie's token as it is.
    assert csrf.unmask(token) == token


@given(st.text(max_size=100))
def test_what_is_no_token_stays_what_it_is_and_breaks_nothing(text: str) -> None:
    csrf.unmask(text)
    assert csrf.unmask(csrf.mask(text)) in {text, csrf.unmask(text)}
