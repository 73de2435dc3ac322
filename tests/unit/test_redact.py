"""What is taken out of bodies before they are kept, and what is left as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from aieye.access.snapshot import KeyInfo
from aieye.gateway.dispatch import clean_reason
from aieye.ledger.redact import hide_imported, redact
from aieye.telemetry import hide_secrets

OLD_TOKEN = b"a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"
PUBLIC_TOKEN = b"aie_0a1B2c3D_abcdefghijklmnopqrstuvwxyz_Q1w2E3"
KEY = "gsk_plain0words1as2a3key"
AROUND = ("%s", '{"content":"it is %s."}', '{"content":"it is:\\n%s\\n"}', "key=%s;")


@pytest.fixture
def held() -> Iterator[None]:
    """The process holds `KEY`, and a longer one that begins alike."""
    hide_secrets([KEY, KEY + "-2", "sk-a-held-key"])
    yield
    hide_secrets(())


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(
    "secret", [OLD_TOKEN, PUBLIC_TOKEN, b"sk-proj-0123456789ab"], ids=["old", "public", "key"]
)
def test_what_looks_like_a_token_or_a_key_is_not_kept(secret: bytes, around: str) -> None:
    assert redact(around.encode() % secret) == around.encode() % b"[redacted]"


@pytest.mark.parametrize("place", range(60))
def test_an_old_token_is_found_wherever_it_lies(place: int) -> None:
    body = b"." * place + OLD_TOKEN + b"." * 7
    assert redact(body) == b"." * place + b"[redacted]" + b"." * 7


@pytest.fixture
def imported() -> Iterator[None]:
    """Tokens that people chose are known by their ends."""
    hide_imported([("Open", "same"), ("Open", "2026"), ("Quit", "same")])
    yield
    hide_imported(())


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("end", [b"same", b"2026"])
def test_imported_tokens_are_not_kept_whatever_letters_they_have(around: str, end: bytes) -> None:
    token = b"Open" + b"SesameOfTheFortyThieves123456789" + end
    assert len(token) == 40
    assert redact(around.encode() % token) == around.encode() % b"[redacted]"


@pytest.mark.usefixtures("imported")
def test_other_long_words_are_no_imported_tokens() -> None:
    body = b"Open" + b"x" * 32 + b"door Shut" + b"x" * 32 + b"same Open" + b"x" * 31 + b"same"
    assert redact(body) == body


def test_a_token_that_is_known_no_more_is_a_word_like_any_other() -> None:
    word = b"Open" + b"SesameOfTheFortyThieves123456789" + b"same"
    assert redact(word) is word


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("secret", [KEY, KEY + "-2", "sk-a-held-key"])
def test_keys_that_the_process_holds_are_not_kept_whatever_their_form(
    secret: str, around: str
) -> None:
    assert redact((around % secret).encode()) == (around % "[redacted]").encode()


def test_a_key_that_is_held_no_more_is_a_text_like_any_other() -> None:
    assert redact(KEY.encode()) == KEY.encode()


def test_a_reason_is_kept_without_the_key_it_was_given_for_though_it_is_held_no_more() -> None:
    key = KeyInfo(id=1, provider_id=1, name="a key", secret="plain-words-as-a-key")
    assert clean_reason("The key plain-words-as-a-key is bad.", key) == "The key [redacted] is bad."


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "body",
    [
        b"a task-management-system for the facade of a decade",
        b"0193a5c2b4d87c3e9f10a2b3c4d5e6f7",
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"[0.0123456789,-0.9876543210,1.0000000000000000000,2.3]",
    ],
)
def test_ordinary_bodies_are_kept_byte_for_byte(body: bytes) -> None:
    assert redact(body) is body


@pytest.mark.usefixtures("held")
def test_a_look_at_a_small_body_takes_microseconds() -> None:
    body = b'{"messages":[{"content":"%s"}]}' % (b"the quick brown fox jumps over it " * 60)
    took = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(1_000):
            redact(body)
        took.append(time.process_time() - started)
    # 7 ms on an idle machine; the patterns alone would take 100 ms.
    assert min(took) < 0.05, took
