"""How many refusals are logged."""

from __future__ import annotations

from structlog.testing import capture_logs

from aieye.telemetry.denials import MOST_A_MINUTE, Denials


def test_a_flood_of_refusals_is_a_few_lines_and_their_number() -> None:
    moment = 6_000.0
    denials = Denials(lambda: moment)
    with capture_logs() as logs:
        for _ in range(MOST_A_MINUTE + 1_000):
            denials.note(401, "invalid_api_key", method="GET", path="/v1/models", ip="::1")
        assert len(logs) == MOST_A_MINUTE
        moment += 60
        for _ in range(2):
            denials.note(403, "permission_denied", method="GET", path="/" + "x" * 999, ip="::1")
    last, after = logs[-2:]
    assert (last["kept_back"], last["status"]) == (1_000, 403)
    assert len(last["path"]) == 200
    assert "kept_back" not in after
