"""The hash of a request's body: the same however it comes in pieces and whatever its boundary is."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.api.body_digest import BodyDigest


def digest_of(body: bytes, boundary: str | None = "B", *places: int) -> str:
    kind = "application/json" if boundary is None else f"multipart/form-data; boundary={boundary}"
    digest = BodyDigest(kind.encode())
    start = 0
    for place in sorted(place % (len(body) + 1) for place in places):
        digest.update(body[start:place])
        start = place
    digest.update(body[start:])
    return digest.finish()


def form(boundary: str, content: bytes) -> bytes:
    mark = b"--" + boundary.encode()
    return mark + b"\r\n\r\n" + content + b"\r\n" + mark + b"--\r\n"


def test_a_body_that_is_no_form_is_hashed_as_it_is() -> None:
    assert digest_of(b"--B{}", None) == sha256(b"--B{}").hexdigest()


@given(st.text("-B\0", max_size=40), st.lists(st.integers(0, 100), max_size=8))
def test_it_is_the_same_wherever_the_body_is_cut(text: str, places: list[int]) -> None:
    body = text.encode()
    assert digest_of(body, "B-B", *places) == digest_of(body, "B-B")


def test_the_boundary_does_not_count_and_all_else_does() -> None:
    one = digest_of(form("first-5f2a", b"content"), "first-5f2a")
    assert digest_of(form("second-77", b"content"), "second-77") == one
    assert digest_of(form("second-77", b"contents"), "second-77") != one


@pytest.mark.parametrize("kind", [b"", b"multipart/form-data", b"multipart/form-data; boundary="])
def test_a_form_whose_boundary_is_not_told_is_hashed_as_it_is(kind: bytes) -> None:
    digest = BodyDigest(kind)
    digest.update(b"--B")
    assert digest.finish() == sha256(b"--B").hexdigest()
