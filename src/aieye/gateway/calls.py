"""What goes into the gateway and what comes out: a call and its reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aieye.access.snapshot import Grant
from aieye.cache.controls import DEFAULT, Controls
from aieye.errors import AieyeError
from aieye.gateway.wire import Header, Match
from aieye.ledger.book import CLIENT_LEFT, CallRecord

if TYPE_CHECKING:
    from aieye.gateway.exchange import Exchange


# What the ledger says of a call whose client is gone: status and error.
LEFT = (CLIENT_LEFT, "client_cancelled")


def _nothing() -> None:
    return None


@dataclass(slots=True)
class Call:
    """One client call. Its `record` is filled in as the call goes on and settled exactly once.

    `on_upstream` is called when the call is about to wait for a provider: from then on it may
    take long. A caller that loses interest cancels the task that awaits the gateway.
    """

    match: Match
    grant: Grant
    body: bytes = field(repr=False)
    record: CallRecord
    headers: tuple[Header, ...] = ()
    query: str = ""
    # Which of OpenAI's trials the client takes part in (`beta_of` its headers).
    beta: str = ""
    controls: Controls = DEFAULT
    # The key that what the body names was made with, if it names such.
    key_id: int | None = None
    on_upstream: Callable[[], None] = _nothing
    # Why the call goes to a provider, in the words of RFC 9211, 2.2.
    forwarded_for: bytes = b"miss"
    # Exchanges of other forms that ended without an answer for this call, and that it pays.
    carried: list[Exchange] = field(default_factory=list)
    # Set where the caller reads the upload itself; `body` is empty then.
    upload: Callable[[], AsyncIterator[bytes]] | None = None
    # Why the upload ended before its end, if the client was the reason.
    upload_error: AieyeError | None = None
    # What its row is marked with, beside the client's own tags.
    tags: Mapping[str, str] | None = None
    # What it means when the task is cancelled, as the ledger is to say it.
    cancelled_as: tuple[int, str] = LEFT
    # For callers that answer with something else than the reply: puts the record right before it
    # is booked, given the reply's body, or None where the call ended with an error.
    restate: Callable[[bytes | None], None] | None = None


@dataclass(slots=True)
class Reply:
    """The answer to a call: a `body`, or `chunks` that end when the call is settled.

    Whoever reads `chunks` reads them to the end or closes the iterator: that settles the call.
    """

    status: int
    headers: list[Header]
    body: bytes | None = field(default=None, repr=False)
    chunks: AsyncIterator[bytes] | None = None
    # Of the chunks, the last one that was sent.
    last_sent: bytes = field(default=b"", repr=False)
