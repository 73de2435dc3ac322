"""What was asked through presets is counted by version: by name, by id, in pipelines, by searches."""

from __future__ import annotations

import pytest

from aieye.access.audit import SYSTEM
from aieye.db.tables import PresetUse
from aieye.ledger.queries.holders import Use
from aieye.ledger.queries.uses import uses_of, uses_of_versions
from aieye.presets.models import Preset
from aieye.presets.service import update_preset
from tests.fakes.chat import MODEL
from tests.fakes.upstream import FakeUpstream, realistic
from tests.faults.harness import Json, both_databases
from tests.faults.house import House

pytestmark = pytest.mark.live

BRIEF: Json = {"model": MODEL, "messages": [{"role": "system", "content": "Be brief."}]}


async def totals(house: House, preset: Preset) -> Use:
    """What the ledger's rows of a preset's come to."""
    rows = [
        row for row in await house.gateway.rows() if (row.tags or {}).get("preset") == preset.uid
    ]
    unpriced = sum(row.cost_nano is None for row in rows)
    cost = sum(row.cost_nano or 0 for row in rows)
    return Use(len(rows), unpriced, cost, sum(row.saved_nano or 0 for row in rows))


@both_databases
async def test_each_version_has_its_calls_and_what_they_cost(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    gateway = house.gateway
    brief = await gateway.add_preset("brief", "chat", BRIEF)
    pair = await gateway.add_preset(
        "pair", "completion", {"engine_id": MODEL, "prompt": ["x", "y"]}
    )
    films = await gateway.add_preset(
        "films", "search", {"engine_id": "text-embedding-3-small", "documents": ["one", "two"]}
    )
    asked = {"model": "preset/brief", "messages": [{"role": "user", "content": "Why?"}]}
    for _ in range(2):
        assert (await gateway.ask(asked)).status_code == 200
    await house.value("brief(x)", x="Ada")
    await gateway.ask({"model": "preset/pair", "prompt": "Hi"}, path="/v1/completions")
    await gateway.ask({"_id": pair.uid, "text": "Ho"}, path="/_saga/gpt3/process")
    await gateway.ask({**asked, "model": "preset/films"})
    async with gateway.state.database.write() as session:
        await update_preset(
            session, brief.uid, {"config": {**BRIEF, "temperature": 0.5}}, actor=SYSTEM
        )
    await gateway.state.directory.refresh()
    await gateway.ask(asked)
    # Nobody's preset.
    await gateway.ask({**asked, "model": MODEL})
    rows = await gateway.rows()
    presets = (brief, pair, films)
    async with gateway.state.database.read() as session:
        found = await uses_of(session, PresetUse, [one.id for one in presets], since=0)
        versions = await uses_of_versions(session, PresetUse, brief.id, [1, 2, 3], since=0)
        later = await uses_of(session, PresetUse, [brief.id], since=2**40)
    assert found == {one.id: await totals(house, one) for one in presets}
    assert [found[one.id].calls for one in presets] == [4, 4, 2]
    assert len(rows) == 11
    assert (versions[1].calls, versions[2].calls, 3 in versions) == (3, 1, False)
    assert versions[1].saved_nano > 0
    assert versions[1].cost_nano + versions[2].cost_nano == found[brief.id].cost_nano
    assert later == {}
