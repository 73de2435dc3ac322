"""Secrets at rest: AES-256-GCM, bound to where they belong. Pure.

A sealed text is `v1:<key id>:<base64 of nonce and ciphertext>`. What it belongs to (the table, the
row and, for a provider's key, the provider's address) goes in as associated data, so that a sealed
text moved to another row or another address does not open. There may be several secret keys, newest
first: the newest seals, any opens.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aieye.errors import AieyeError

_VERSION = "v1"
_NONCE_BYTES = 12


class SealError(AieyeError):
    """A sealed secret does not open: another secret key, another place, or damage."""

    status = 500
    code = "sealed"


class Cipher:
    """Seals and opens under the installation's secret keys (`keys`, newest first)."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ring = {_key_id(key): AESGCM(_derive(key)) for key in keys}
        self.key_id = next(iter(self._ring))

    @property
    def count(self) -> int:
        """How many secret keys there are: more than one while they are changed."""
        return len(self._ring)

    def seal(self, secret: str, *, place: str) -> str:
        """Seal `secret` for `place`, which names what it belongs to."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ring[self.key_id].encrypt(nonce, secret.encode(), place.encode())
        return f"{_VERSION}:{self.key_id}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, place: str) -> str:
        """What `seal` was given. Raises `SealError`, which never tells the secret."""
        version, _, rest = sealed.partition(":")
        key_id, _, payload = rest.partition(":")
        if version != _VERSION:
            raise SealError("A stored secret has an unknown form.")
        if key_id not in self._ring:
            raise SealError(
                f"A stored secret was sealed under the secret key {key_id}, which is not among "
                "those of AIEYE_SECRET_KEY or AIEYE_SECRET_KEY_FILE. Bring back the key that was "
                "in use then (data/secret.key, unless set otherwise)."
            )
        try:
            raw = base64.b64decode(payload, validate=True)
            return (
                self._ring[key_id]
                .decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode())
                .decode()
            )
        except (InvalidTag, ValueError) as error:
            raise SealError("A stored secret is damaged or belongs elsewhere.") from error

    def is_newest(self, sealed: str) -> bool:
        """Whether `sealed` is under the newest key, so that rotation may pass it over."""
        return sealed.startswith(f"{_VERSION}:{self.key_id}:")


def provider_key_place(key_id: int, base_url: str) -> str:
    """Where a provider's key belongs: its row and the address it may be sent to."""
    return f"provider_keys|{key_id}|{base_url}"


def _derive(key: str) -> bytes:
    return hashlib.sha256(b"aieye sealing key\0" + key.encode()).digest()


def _key_id(key: str) -> str:
    return hashlib.sha256(b"aieye key id\0" + key.encode()).hexdigest()[:8]
