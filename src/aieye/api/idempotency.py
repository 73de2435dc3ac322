"""`Idempotency-Key`: a POST that is sent twice is done once, and answered twice with the same bytes.

The key counts for one token and path, for 24 hours. What is stored is the answer as it went out, a
stream included; a failure that passes (408, 409, 425, 429, 5xx) is not stored, so that the client may
try again with the same key. An upload is hashed while it goes up, so what its key stands for is only
known at its end: until then any other one with the key is told that it is under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import delete, select

from aieye.api.body_digest import BodyDigest
from aieye.db.batches import Target
from aieye.db.dialects import insert_for
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.tables import Call as CallRow
from aieye.db.tables import IdempotentCall
from aieye.db.types import now, to_micros
from aieye.errors import Conflict, InvalidRequest, Unprocessable
from aieye.gateway.calls import Call
from aieye.gateway.replay import HIT, usd
from aieye.gateway.service import Gateway
from aieye.gateway.wire import header
from aieye.ledger.book import EXACT, CallRecord

LIFETIME_SECONDS = 24 * 3600
MOST_STORED_BYTES = 16 * 2**20
# What an answer's headers say of the call that it was given to, and not of the answer.
_OF_ONE_CALL = frozenset(
    {"content-length", "x-request-id", "x-aieye-cache", "cache-status", "age", "x-aieye-cost-usd",
     "x-aieye-saved-usd"}
)  # fmt: skip
# What the rows of both calls say alike.
_REPEATED = (
    "model_asked", "model", "is_stream", "error", "provider_id", "key_id", "price_id", "body_id",
    "tags", "tokens_input", "tokens_cached", "tokens_output", "tokens_reasoning",
)  # fmt: skip
# Besides 5xx: what may well be otherwise the next time.
_PASSING = frozenset({408, 409, 425, 429})
_LONGEST_KEY = 255
_LONGEST_PATH = 200
_COLUMNS = (
    "token_id", "path", "key", "body_digest", "call_id", "status", "headers", "body", "created_at",
)  # fmt: skip
ANSWERS = Target(
    IdempotentCall.__table__,  # type: ignore[arg-type] # declared as FromClause, is a Table
    _COLUMNS,
    ("token_id", "path", "key"),
    "replace",
)
Place = tuple[int, str, str]
Answer = Callable[[Call, Any], Awaitable[None]]


class KeyReused(Unprocessable):
    """The key was used for another body."""

    code = "idempotency_key_reused"


class KeyInFlight(Conflict):
    """The call that the key stands for is still under way."""

    code = "idempotency_key_in_flight"


class Idempotency:
    """Claims keys, keeps answers and gives them again."""

    def __init__(
        self, database: Database, writer: GroupWriter, gateway: Gateway, *, most_seconds: float
    ) -> None:
        self._database = database
        self._writer = writer
        self._gateway = gateway
        # A claim older than any call can be was left by a process that died.
        self._most_seconds = most_seconds
        self._own: set[Place] = set()

    async def answer(self, call: Call, path: str, key: bytes, send: Any, answer: Answer) -> None:
        """Answer `call` under its key: from the store, or by `answer`, keeping what goes out.

        Raises `KeyReused`, `KeyInFlight`, and whatever `answer` does.
        """
        assert call.grant.token_id is not None, "all callers of /v1 have a token"
        place = (call.grant.token_id, _short(path.removesuffix("/")), _checked(key))
        digest = BodyDigest(header(call.headers, b"content-type") or b"")
        if (upload := call.upload) is not None:
            call.upload = lambda: digest.over(upload())
        else:
            digest.update(call.body)
            digest.is_whole = True
        known = digest.finish() if upload is None else None
        stored = await self._claim(place, known, call.record.id)
        if stored is not None:
            if upload is not None:
                async for _ in digest.over(upload()):
                    pass
            if stored.body_digest != digest.finish():
                raise _reused()
            await self._replay(call, stored, send)
            return
        self._own.add(place)
        recorder = _Recorder(send, self._store(place, digest, call), call, digest)
        try:
            await answer(call, recorder.send)
        finally:
            self._own.discard(place)
            if not recorder.is_stored:
                await self._release(place)

    async def _claim(self, place: Place, digest: str | None, call_id: str) -> IdempotentCall | None:
        """Make the key this call's, or find the answer that it already has.

        `digest` is None where the body is still to come.
        """
        values = dict(zip(("token_id", "path", "key"), place, strict=True))
        insert = insert_for(is_sqlite=self._database.is_sqlite)
        statement = (
            insert(IdempotentCall)
            .values(**values, body_digest=digest or "", call_id=call_id, created_at=now())
            .on_conflict_do_nothing()
        )
        async with self._database.write() as session:
            row = await session.scalar(select(IdempotentCall).filter_by(**values).with_for_update())
            if row is not None and self._is_stale(row, place):
                await session.delete(row)
                await session.flush()
                row = None
            if row is None:
                result = await session.execute(statement)
                if result.rowcount:  # type: ignore[attr-defined] # a DML result has it
                    return None
                row = await session.scalar(select(IdempotentCall).filter_by(**values))
        if row is None or row.status is None:
            if row is not None and digest is not None and row.body_digest != digest:
                raise _reused()
            raise KeyInFlight("The call with this Idempotency-Key is still under way.")
        return row

    def _is_stale(self, row: IdempotentCall, place: Place) -> bool:
        age = (now() - row.created_at).total_seconds()
        if row.status is not None:
            return age > LIFETIME_SECONDS
        if place in self._own:
            return False
        # With one process, a claim that is not this process's own is nobody's.
        return self._database.is_sqlite or age > self._most_seconds

    def _store(
        self, place: Place, digest: BodyDigest, call: Call
    ) -> Callable[[int, list[tuple[bytes, bytes]], bytes], Awaitable[None]]:
        async def store(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
            texts = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
            row = (
                *place, digest.finish(), call.record.id, status, orjson.dumps(texts).decode(), body,
                to_micros(now()),
            )  # fmt: skip
            self._writer.put(ANSWERS, place, row)
            await self._writer.durable()

        return store

    async def _release(self, place: Place) -> None:
        token_id, path, key = place
        async with self._database.write() as session:
            await session.execute(
                delete(IdempotentCall).filter_by(token_id=token_id, path=path, key=key)
            )

    async def _replay(self, call: Call, stored: IdempotentCall, send: Any) -> None:
        record = call.record
        async with self._database.read() as session:
            _fill(record, await session.get(CallRow, stored.call_id))
        record.token_id, record.user_id = call.grant.token_id, call.grant.user_id
        record.cache, record.status = "hit", stored.status
        self._gateway.settle(call)
        await self._gateway.durable(call)
        body = stored.body or b""
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in stored.headers or ()
            if name not in _OF_ONE_CALL
        ]
        headers += [
            (b"x-request-id", record.request_id.encode()), HIT, (b"cache-status", b"aieye; hit"),
            (b"content-length", b"%d" % len(body)), (b"idempotency-replayed", b"true"),
        ]  # fmt: skip
        if record.saved_nano is not None:
            headers.append((b"x-aieye-saved-usd", usd(record.saved_nano)))
        await send({"type": "http.response.start", "status": stored.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _fill(record: CallRecord, first: CallRow | None) -> None:
    """Book the answer as given again: nothing paid, and saved what the first call came to."""
    record.cost_nano, record.cost_state = 0, EXACT
    if first is None:
        return
    for name in _REPEATED:
        setattr(record, name, getattr(first, name))
    if first.cost_nano is not None:
        record.saved_nano = first.cost_nano + (first.saved_nano or 0)


class _Recorder:
    """Passes an answer on and stores it before its last message."""

    def __init__(
        self, send: Any, store: Callable[..., Awaitable[None]], call: Call, digest: BodyDigest
    ) -> None:
        self._call = call
        self._digest = digest
        self._send = send
        self._store = store
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self.is_stored = False

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
        else:
            part = message.get("body", b"")
            self._size += len(part)
            if self._size <= MOST_STORED_BYTES:
                self._parts.append(part)
            if not message.get("more_body", False) and self._is_final():
                await self._store(self._status, self._headers, b"".join(self._parts))
                self.is_stored = True
        await self._send(message)

    def _is_final(self) -> bool:
        if self._status < 300 and self._call.record.error is not None:
            # A stream that broke off after its beginning.
            return False
        if not self._digest.is_whole:
            # Answered before all of the upload was there: nobody knows what it was.
            return False
        is_passing = self._status >= 500 or self._status in _PASSING
        return not is_passing and self._size <= MOST_STORED_BYTES


def _short(path: str) -> str:
    """The path as the column takes it; a long one by its hash."""
    return path if len(path) <= _LONGEST_PATH else sha256(path.encode()).hexdigest()


def _checked(key: bytes) -> str:
    text = key.decode("latin-1").strip()
    if not text or len(text) > _LONGEST_KEY or not (text.isascii() and text.isprintable()):
        raise InvalidRequest(
            f"An Idempotency-Key has 1 to {_LONGEST_KEY} printable ASCII characters."
        )
    return text


def _reused() -> KeyReused:
    return KeyReused("This Idempotency-Key was used for a request with another body.")
