"""What pipelines asked prompts for is counted by version, what functions ask and caches answer too."""

from __future__ import annotations

import pytest

from aieye.db.tables import PromptUse
from aieye.ledger.queries.holders import Use
from aieye.ledger.queries.uses import uses_of, uses_of_versions
from tests.faults.harness import both_databases
from tests.faults.house import House

pytestmark = pytest.mark.live


@both_databases
async def test_each_version_has_its_calls_and_what_they_cost(house: House) -> None:
    prompt = await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.value("prompt_buddy(x)", x="Ada")
    await house.value("prompt_buddy(x)", x="Ada")
    await house.value("hello(x)", x="Grace")
    await house.admin.patch("/api/v1/prompts/prompt_buddy", json={"body": "Hello {buddy}"})
    await house.value("prompt_buddy(x)", x="Ada")
    rows = await house.gateway.rows(4)
    async with house.gateway.state.database.read() as session:
        found = await uses_of_versions(session, PromptUse, prompt["id"], [1, 2, 3], since=0)
        total = await uses_of(session, PromptUse, [prompt["id"], 99], since=0)
        later = await uses_of(session, PromptUse, [prompt["id"]], since=2**40)
    assert (found[1].calls, found[2].calls, 3 in found) == (3, 1, False)
    costs = [row.cost_nano or 0 for row in rows]
    assert (found[1].cost_nano, found[2].cost_nano) == (sum(costs[:3]), costs[3])
    assert found[1].saved_nano == rows[1].saved_nano
    assert costs[1] == 0 < costs[0]
    assert total == {prompt["id"]: Use(4, 0, sum(costs), rows[1].saved_nano or 0)}
    assert later == {}
