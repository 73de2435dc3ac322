"""Which calls name a preset, and that the others are not read for it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from aieye.access.snapshot import SCOPES, Grant
from aieye.api.preset_models import PresetModels
from aieye.cache.key import read_object
from aieye.gateway.calls import Call
from aieye.gateway.relay import Relay
from aieye.gateway.wire import match
from aieye.ledger.book import CallRecord
from aieye.presets.book import PresetBook
from aieye.presets.called import Named, read_name
from aieye.presets.processing import Processing
from aieye.presets.search import Search

GRANT = Grant(
    token_id=1, token_name="", user_id=1, user="", role="user", scope=SCOPES["proxy"],
    namespace="default", cache_enabled=True, expires_at=None, key_id=None, models=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("preset/a", Named("a", None)),
        ("@preset/a", Named("a", None)),
        ("gpt-4o@preset/a", Named("a", "gpt-4o")),
        ("openai/gpt-4o@preset/a", Named("a", "openai/gpt-4o")),
        ("preset/", Named("", None)),
        ("gpt-4o", None),
        ("x/preset/a", None),
        ("presets/a", None),
        (None, None),
        (5, None),
    ],
)
def test_a_model_names_a_preset_alone_or_beside_another(model: object, named: Named | None) -> None:
    assert read_name(model) == named


def test_a_body_that_cannot_name_a_preset_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def reading(raw: bytes) -> dict[str, Any]:
        read.append(raw)
        return read_object(raw)

    monkeypatch.setattr("aieye.api.preset_models.read_object", reading)
    models = PresetModels(
        PresetBook(), cast(Processing, None), cast(Search, None), cast(Relay, None)
    )

    def asks(path: str, body: bytes) -> bool:
        call = Call(match("POST", path), GRANT, body, CallRecord("x"))
        return models.read(call) is not None

    for path, body in (
        ("/v1/chat/completions", b'{"model":"gpt-4o","messages":[]}'),
        ("/v1/chat/completions", b'{"model":"gpt-4o","messages":["a preset of mine"]}'),
        ("/v1/files", b"preset/a"),
        ("/v1/audio/transcriptions", b"preset/a"),
    ):
        assert not asks(path, body)
    assert read == []
    assert not asks("/v1/chat/completions", b'{"model":"gpt-4o","messages":["preset/a"]}')
    assert len(read) == 1
