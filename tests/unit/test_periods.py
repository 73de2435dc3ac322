"""How a period is cut for its chart."""

from __future__ import annotations

import pytest

from aieye.ledger.periods import cut

NOON = 1_795_694_400


@pytest.mark.parametrize("seconds", [900, 3_600, 86_400, 7 * 86_400, 30 * 86_400])
def test_the_second_that_is_running_belongs_to_a_period_that_goes_on(seconds: int) -> None:
    for moment in (NOON, NOON + 1, NOON + 59):
        this = cut(moment - seconds, moment, now=moment)
        assert this.since <= moment < this.until
        assert this.until - moment <= this.step


def test_a_period_that_is_over_ends_where_it_ended() -> None:
    assert cut(NOON - 7_200, NOON - 3_600, now=NOON).until == NOON - 3_600
