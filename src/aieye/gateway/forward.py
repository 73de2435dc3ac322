"""One attempt at passing a call on: the request as it goes up, the answer as it begins to come."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aieye.access.snapshot import KeyInfo
from aieye.gateway.calls import Call
from aieye.gateway.client import Head, UpstreamClient, UpstreamResponse
from aieye.gateway.deadline import Deadline
from aieye.gateway.dispatch import Outcome
from aieye.gateway.faults import BrokenOff
from aieye.gateway.multipart import find_model, replace_model
from aieye.gateway.routing import Candidate
from aieye.gateway.upload import Upload
from aieye.gateway.upstream import MOST_ANSWER_BYTES
from aieye.gateway.wire import MULTIPART, header, request_headers
from aieye.settings import Settings

_REST = "the rest of the answer"
Body = bytes | AsyncIterator[bytes] | None


class Forward:
    """Opens answers for the dispatcher, as `Upstream` does for questions to a model."""

    def __init__(self, client: UpstreamClient, settings: Settings) -> None:
        self._client = client
        self._first_byte_seconds = settings.first_byte_timeout
        # The first byte of the answer to an upload comes after the last one of the upload.
        self._upload_seconds = max(settings.first_byte_timeout, settings.upstream_timeout)
        self._idle_seconds = settings.idle_timeout

    async def open(
        self,
        call: Call,
        candidate: Candidate,
        key: KeyInfo,
        seconds: float,
        *,
        query: str,
        upload: Upload | None,
    ) -> Outcome:
        """Send `call` and wait for the head of the answer; read the answer whole if it is JSON.

        `seconds` is what is left of the call's whole time. Raises `UpstreamError` and its kin.
        """
        head, body = _request(call, candidate, key, query, upload)
        first = self._first_byte_seconds if upload is None else self._upload_seconds
        with Deadline(first, "first byte", seconds) as deadline:
            response = await self._client.open(head, body)
            try:
                return await self._read(candidate, key, response, deadline)
            except BaseException:
                response.close()
                raise

    async def _read(
        self, candidate: Candidate, key: KeyInfo, response: UpstreamResponse, deadline: Deadline
    ) -> Outcome:
        outcome = Outcome(candidate, key, response.status, response.headers)
        if 300 <= response.status < 400:
            raise BrokenOff("The provider answered with a redirect, which is never followed.")
        kind = header(response.headers, b"content-type") or b""
        if response.status < 300 and not kind.startswith(b"application/json"):
            outcome.response = response
            return outcome
        deadline.extend(self._idle_seconds, _REST)
        body = await response.read(
            MOST_ANSWER_BYTES, lambda: deadline.extend(self._idle_seconds, _REST)
        )
        outcome.body = key.taken_out_of(body)
        response.release()
        return outcome


def _request(
    call: Call, candidate: Candidate, key: KeyInfo, query: str, upload: Upload | None
) -> tuple[Head, Body]:
    headers = request_headers(call.headers) | {
        "authorization": f"Bearer {key.secret}",
        "accept-encoding": "identity",
        "user-agent": "aieye",
    }
    endpoint, path = call.match.endpoint, call.match.path
    body: Body = call.body or None
    if upload is not None:
        body = upload.read()
        length = header(call.headers, b"content-length")
        if length is not None:
            headers["content-length"] = length.decode("latin-1")
    elif endpoint.name == "models/{model}":
        path = f"/models/{candidate.model}"
    elif endpoint.kind == MULTIPART and candidate.model is not None:
        place = find_model(header(call.headers, b"content-type") or b"", call.body)
        if place is not None and place.model != candidate.model:
            body = replace_model(call.body, place, candidate.model)
    return Head.of(endpoint.method, candidate.provider.base_url, path, headers, query), body
