"""Sealed secrets: they open for whom, where and as they were sealed, and otherwise not at all."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.access.cipher import Cipher, SealError, provider_key_place

OLD, NEW, OTHER = "an old key of 32 characters, or so", "a new key", "somebody else's"
PLACE = provider_key_place(1, "https://api.openai.com/v1")
SECRET = "sk-canary-4f1a9c77d2"


@given(st.text(), st.text())
def test_what_was_sealed_opens_in_its_place(secret: str, place: str) -> None:
    cipher = Cipher([NEW])
    sealed = cipher.seal(secret, place=place)
    assert cipher.open(sealed, place=place) == secret
    assert sealed != cipher.seal(secret, place=place), "no nonce comes twice"


@pytest.mark.parametrize(
    "elsewhere",
    [
        provider_key_place(2, "https://api.openai.com/v1"),
        provider_key_place(1, "https://api.openai.com:444/v1"),
        provider_key_place(1, "http://api.openai.com/v1"),
        provider_key_place(11, "https://api.openai.com/v1"),
        "pepper",
        "",
    ],
)
def test_in_another_row_or_for_another_address_it_does_not_open(elsewhere: str) -> None:
    cipher = Cipher([NEW])
    with pytest.raises(SealError) as refused:
        cipher.open(cipher.seal(SECRET, place=PLACE), place=elsewhere)
    assert SECRET not in str(refused.value)


def test_every_flipped_bit_is_noticed() -> None:
    cipher = Cipher([NEW])
    head, _, payload = cipher.seal(SECRET, place=PLACE).rpartition(":")
    raw = base64.b64decode(payload)
    for index in range(len(raw) * 8):
        damaged = bytearray(raw)
        damaged[index // 8] ^= 1 << index % 8
        with pytest.raises(SealError):
            cipher.open(f"{head}:{base64.b64encode(damaged).decode()}", place=PLACE)


@given(st.text() | st.from_regex(r"v1:[0-9a-f]{8}:[A-Za-z0-9+/=]{0,60}", fullmatch=True))
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(SealError):
        Cipher([NEW]).open(text, place=PLACE)


def test_each_key_of_the_ring_opens_and_the_newest_seals() -> None:
    old, both, new = Cipher([OLD]), Cipher([NEW, OLD]), Cipher([NEW])
    before = old.seal(SECRET, place=PLACE)
    after = both.seal(SECRET, place=PLACE)
    assert both.open(before, place=PLACE) == both.open(after, place=PLACE) == SECRET
    assert (both.is_newest(before), both.is_newest(after)) == (False, True)
    assert new.open(after, place=PLACE) == SECRET
    with pytest.raises(SealError, match=r"not among\s+those"):
        new.open(before, place=PLACE)


def test_another_installations_key_opens_nothing() -> None:
    sealed = Cipher([NEW]).seal(SECRET, place=PLACE)
    with pytest.raises(SealError) as refused:
        Cipher([OTHER]).open(sealed, place=PLACE)
    assert SECRET not in str(refused.value)
    assert OTHER not in str(refused.value)
