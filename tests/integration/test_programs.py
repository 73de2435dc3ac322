"""What a run is made of: a saved pipeline with all that it calls, as it is when the run begins.

The services themselves, over both databases: without the API, and with changes at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, select

from aieye.access import users
from aieye.access.audit import SYSTEM, Actor
from aieye.db.engine import Database
from aieye.db.tables import Pipeline
from aieye.errors import NotFound
from aieye.pipeline import service as pipelines
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.models import SavedPipeline
from aieye.pipeline.program import Program, load_program
from aieye.prompts import service as prompts
from aieye.prompts.content import Content
from aieye.prompts.models import SavedPrompt

FUNCTIONS = {"upper": Definition("upper", "function", (Parameter("s", Type("str")),), 1)}


class Store:
    """A database with two users who save things."""

    def __init__(self, database: Database, ada: Actor, ben: Actor) -> None:
        self.database = database
        self.ada = ada
        self.ben = ben

    async def prompt(self, name: str, body: str, *, actor: Actor | None = None) -> SavedPrompt:
        content = Content(body, "gpt-4o-mini")
        async with self.database.write() as session:
            return await prompts.create_prompt(
                session, name=name, content=content, shared=True, actor=actor or self.ada
            )

    async def edit_prompt(self, prompt: SavedPrompt, **changes: Any) -> None:
        given = prompts.PromptChanges(**changes)  # type: ignore[typeddict-item] # the test names its fields
        async with self.database.write() as session:
            await prompts.update_prompt(session, prompt.id, given, actor=SYSTEM, force=True)

    async def save(
        self, name: str, source: str, *, actor: Actor | None = None, **more: Any
    ) -> SavedPipeline:
        async with self.database.write() as session:
            return await pipelines.create_pipeline(
                session, FUNCTIONS, name=name, source=source, actor=actor or self.ada, **more
            )

    async def edit(self, pipeline: SavedPipeline, **changes: Any) -> SavedPipeline:
        given = pipelines.PipelineChanges(**changes)  # type: ignore[typeddict-item] # the test names its fields
        async with self.database.write() as session:
            return await pipelines.update_pipeline(
                session, FUNCTIONS, pipeline.id, given, actor=SYSTEM, force=True
            )

    async def load(self, pipeline: SavedPipeline, **more: Any) -> Program:
        async with self.database.read() as session:
            row = await session.scalar(select(Pipeline).where(Pipeline.id == pipeline.id))
            assert row is not None
            return await load_program(session, FUNCTIONS, row, **more)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = Database(database_url)
    actors = []
    for name in ("ada", "ben"):
        async with database.write() as session:
            user = await users.create_user(
                session, email=f"{name}@example.org", password_hash=None, actor=SYSTEM
            )
            actors.append(Actor(user.id, user.email, "user"))
    yield Store(database, *actors)
    await database.close()


async def test_a_program_holds_all_that_is_called_however_deep(store: Store) -> None:
    greet = await store.prompt("greet", "Hey {buddy}")
    ask = await store.prompt("ask", "{x} or {y}?")
    inner = await store.save("inner", "greet(who)")
    middle = await store.save("middle", "ask(inner(a), inner(b))")
    program = await store.load(await store.save("outer", "upper(middle(a=ask(1, 2), b=c))"))
    assert set(program.pipelines) == {inner.id, middle.id}
    assert set(program.prompts) == {greet.id, ask.id}
    assert [one.name for one in program.main.analysis.arguments] == ["c"]
    assert [one.name for one in program.pipelines[middle.id].analysis.arguments] == ["a", "b"]
    assert program.prompts[greet.id].content.body == "Hey {buddy}"
    called = [binding.definition for _, binding in sorted(program.main.analysis.bindings.items())]
    assert [(one.kind, one.id) for one in called] == [
        ("function", 1),
        ("pipeline", middle.id),
        ("prompt", ask.id),
    ]


async def test_what_was_bound_stays_bound_to_the_same_names(store: Store) -> None:
    two = await store.prompt("two", "{x} vs {y}")
    saved = await store.save("p", "map(two, [1], y=2)")
    outer = await store.save("q", "two(1, 2)")

    async def bound(pipeline: SavedPipeline, at: int) -> tuple[str, ...]:
        return (await store.load(pipeline)).main.analysis.bindings[at].parameters

    assert (await bound(outer, 0), await bound(saved, 4)) == (("x", "y"), ("x", "y"))
    await store.edit_prompt(two, body="{y} vs {x}", name="pair")
    assert (await bound(outer, 0), await bound(saved, 4)) == (("x", "y"), ("x", "y"))
    program = await store.load(outer)
    assert program.prompts[two.id].content.body == "{y} vs {x}"
    assert program.main.analysis.bindings[0].definition.name == "pair"


async def test_types_and_defaults_of_params_are_as_they_were_saved(store: Store) -> None:
    source = (
        'param a: dict[str, list[int]?] = {"k": [1]};\nparam b: str?;\nparam c = -0.5;\nupper(b)'
    )
    saved = await store.save("typed", source)
    assert (await store.load(saved)).main.analysis.arguments == (
        Parameter(
            "a",
            Type("dict", (Type("str"), Type("list", (Type("int"),), is_nullable=True))),
            is_required=False,
            default={"k": [1]},
        ),
        Parameter("b", Type("str", is_nullable=True)),
        Parameter("c", None, is_required=False, default=-0.5),
    )
    caller = await store.save("caller", "typed(b=x)")
    definition = (await store.load(caller)).main.analysis.bindings[0].definition
    assert definition.required == {"b"}


async def test_a_version_can_be_asked_for_and_else_the_one_that_runs_is_meant(
    store: Store,
) -> None:
    saved = await store.save("p", "upper(one)")
    await store.edit(saved, source="upper(two)")

    async def asks(**more: Any) -> list[str]:
        found = (await store.load(saved, **more)).main.analysis.arguments
        return [one.name for one in found]

    assert (await asks(), await asks(version=1)) == (["two"], ["one"])
    async with store.database.write() as session:
        await pipelines.label_version(
            session, FUNCTIONS, saved.id, "production", 1, actor=store.ada
        )
    assert (await asks(), await asks(version=2)) == (["one"], ["two"])
    with pytest.raises(NotFound):
        await asks(version=3)


async def test_a_pipeline_runs_with_its_owners_rights_whoever_calls_it(store: Store) -> None:
    secret = await store.prompt("secret", "{x}")
    await store.edit_prompt(secret, shared=False)
    inner = await store.save("inner", "secret(x)", shared=True)
    outer = await store.save("outer", "inner(x)", actor=store.ben)
    assert set((await store.load(outer)).prompts) == {secret.id}
    with pytest.raises(InvalidPipeline):
        await store.save("direct", "secret(x)", actor=store.ben)
    await store.edit(inner, shared=False)
    with pytest.raises(InvalidPipeline, match="the pipeline 'inner' is gone, or not shared"):
        await store.load(outer)


async def test_what_is_wrong_inside_is_told_with_the_pipelines_name(store: Store) -> None:
    gone = await store.prompt("gone", "{x}")
    await store.save("inner", "gone(x)")
    outer = await store.save("outer", "inner(x)")
    async with store.database.write() as session:
        await prompts.delete_prompt(session, gone.id, actor=SYSTEM, force=True)
    with pytest.raises(InvalidPipeline) as refused:
        await store.load(outer)
    (found,) = refused.value.diagnostics
    assert (found.code, found.line) == ("E201", None)
    assert found.message == "in 'inner': the prompt 'gone' is gone, or not shared any more"


async def test_a_program_is_read_with_few_statements(store: Store) -> None:
    for number in range(5):
        await store.prompt(f"prompt_{number}", "{x}")
    calls = ", ".join(f"prompt_{number}(x)" for number in range(5))
    saved = await store.save("p", f"[{calls}]")
    statements: list[str] = []
    engine = store.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    program = await store.load(saved)
    assert len(program.prompts) == 5
    assert len([one for one in statements if one.startswith("SELECT")]) <= 6


async def test_two_changes_at_once_never_close_a_circle(store: Store) -> None:
    a = await store.save("a", "upper(x)")
    b = await store.save("b", "upper(x)")
    for _ in range(3):
        results = await asyncio.gather(
            store.edit(a, source="b(x)"), store.edit(b, source="a(x)"), return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, InvalidPipeline)]
        assert len(refused) == 1, results
        assert refused[0].diagnostics[0].code == "E205"
        await asyncio.gather(store.edit(a, source="upper(x)"), store.edit(b, source="upper(x)"))


async def test_of_two_who_want_a_name_at_once_one_gets_it(store: Store) -> None:
    results = await asyncio.gather(
        *(store.save("wanted", "upper(x)", actor=one) for one in (store.ada, store.ben)),
        store.prompt("wanted", "{x}"),
        return_exceptions=True,
    )
    failed = [one for one in results if isinstance(one, Exception)]
    assert [getattr(one, "code", one) for one in failed] == ["name_taken"] * 2
