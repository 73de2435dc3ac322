"""Whether a provider takes a key: one cheap question, and what was answered, in its own words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from aieye.access.audit import Actor, record
from aieye.access.cipher import Cipher, provider_key_place
from aieye.access.provider_keys import get_key
from aieye.access.snapshot import KeyInfo
from aieye.db.engine import Database
from aieye.db.rows import get_living
from aieye.db.tables import Provider
from aieye.errors import Conflict
from aieye.gateway.client import Head, UpstreamClient
from aieye.gateway.deadline import Deadline
from aieye.gateway.faults import Unreachable, UpstreamError
from aieye.gateway.retry import KEY_REFUSED

Result = Literal["works", "refused", "unreachable", "trouble"]

# Whoever clicks waits for it.
SECONDS = 10.0
_MOST_BYTES = 8 * 2**20
_LONGEST_WORDS = 300
_QUESTION = "/models"


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of asking for the models.

    `refused`: the provider does not take the key; `trouble`: it answered otherwise than with models.
    `status` is None where nothing was answered; `models` is how many there are, where it works.
    """

    result: Result
    status: int | None
    message: str
    models: int | None
    latency_ms: int


async def probe_key(
    database: Database, cipher: Cipher, client: UpstreamClient, key_id: int, *, actor: Actor
) -> Probe:
    """Ask the key's provider for its models with it, switched on or not; the audit tells of it.

    Raises `Conflict` for a key that was sealed under another secret, `NotFound`.
    """
    async with database.read() as session:
        row = await get_key(session, key_id)
        provider = await get_living(session, Provider, row.provider_id)
    if row.sealed is None:
        raise Conflict("This key has no secret any more.")
    secret = cipher.open(row.sealed, place=provider_key_place(row.id, provider.base_url))
    found = await ask(client, provider.base_url, KeyInfo(row.id, provider.id, row.name, secret))
    async with database.write() as session:
        record(
            session, actor, "key.test", "key", row.id,
            provider=provider.name, name=row.name, result=found.result, status=found.status,
        )  # fmt: skip
    return found


async def ask(client: UpstreamClient, base_url: str, key: KeyInfo) -> Probe:
    """Ask for the models, once. Raises nothing that a provider can bring about."""
    began = time.monotonic()
    status: int | None = None
    try:
        with Deadline(SECONDS, "answer", SECONDS):
            head = Head.of("GET", base_url, _QUESTION, _headers(key))
            response = await client.open(head, None)
            try:
                status = response.status
                body = await response.read(_MOST_BYTES, lambda: None)
            except BaseException:
                response.close()
                raise
            response.release()
    except UpstreamError as error:
        result: Result = "unreachable" if status is None else "trouble"
        return Probe(result, status, _said(error), None, _since(began))
    return _judge(status, key.taken_out_of(body), _since(began))


def _said(error: UpstreamError) -> str:
    """What went wrong. Whoever tests a key administers, and may know where it goes."""
    if not isinstance(error, Unreachable):
        return error.message
    return f"{error.cause[0].upper()}{error.cause[1:]} ({error.detail})."


def _headers(key: KeyInfo) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "aieye",
        "Authorization": f"Bearer {key.secret}",
    }


def _judge(status: int, body: bytes, latency_ms: int) -> Probe:
    answer = _parse(body)
    if 200 <= status < 300:
        data = answer.get("data") if isinstance(answer, dict) else answer
        if not isinstance(data, list):
            said = "It answered, but not with a list of models: is the base URL right?"
            return Probe("trouble", status, said, None, latency_ms)
        return Probe("works", status, "", len(data), latency_ms)
    words = _words(answer) or body[:2_000].decode("utf-8", "replace")
    shown = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    result: Result = "refused" if status in KEY_REFUSED else "trouble"
    return Probe(result, status, shown[:_LONGEST_WORDS], None, latency_ms)


def _words(answer: Any) -> str:
    """What the error says, in the shapes that providers have."""
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    return error if isinstance(error, str) else ""


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
