"""Plans drawn."""

from __future__ import annotations

import time

from aieye.pipeline.checking import check_valid
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.plan import lower
from aieye.pipeline.steps import Callee
from aieye.ui.plan_picture import MOST_NODES, Picture, describe, draw, picture_of
from tests.unit.pipeline.runs import Definitions

CATALOGUE = {
    name: Definition(name, "function", tuple(Parameter(one) for one in given), number)
    for number, (name, given) in enumerate({"f": "a", "g": "ab"}.items(), 1)
}


def picture(text: str) -> Picture:
    tree, analysis = check_valid(text, CATALOGUE)
    return picture_of(lower(tree, analysis, Callee))


def boxes(text: str) -> list[tuple[str, list[str]]]:
    """Each box with the labels of those that lead into it."""
    nodes = picture(text).nodes
    return [(one.label, [nodes[source].label for source in one.sources]) for one in nodes]


def test_calls_are_boxes_behind_what_they_need() -> None:
    assert boxes("g(f(x), 1)") == [("x", []), ("f", ["x"]), ("g", ["f"]), ("result", ["g"])]


def test_what_only_hands_values_on_is_not_drawn_but_its_ways_are() -> None:
    assert boxes("f([f(x).title, {k: y}])")[-2] == ("f", ["f", "y"])


def test_a_called_pipeline_leads_on_by_its_result() -> None:
    plan = Definitions(pipelines={"digest": "param text; same(text)"}).plan("wrap(digest(text))")
    ways = [(one.label, list(one.sources)) for one in picture_of(plan).nodes]
    assert ways == [("text", []), ("same", [0]), ("wrap", [1]), ("result", [2])]


def test_branches_that_may_not_be_taken_are_marked() -> None:
    nodes = picture("if(x, f(y), g(y, 1))").nodes
    choice = next(one for one in nodes if one.label == "if")
    assert {nodes[one].label for one in choice.maybe} == {"f", "g"}
    assert "plan-maybe" in draw(picture("if(x, f(y), g(y, 1))"), title="plan")


def test_a_huge_plan_is_drawn_in_part_and_at_once() -> None:
    text = "f(" * 60 + "x" + ")" * 60
    wide = f"[{', '.join(f'f({i})' for i in range(1_900))}]"
    began = time.process_time()
    found = picture(wide)
    drawn = draw(found, title=describe(found))
    assert (len(found.nodes), found.left_out) == (MOST_NODES + 1, 1_900 - MOST_NODES)
    assert len(drawn) < 100_000
    assert picture(text).left_out == 0
    assert time.process_time() - began < 5


def test_names_are_texts_in_the_picture() -> None:
    found = Picture([*picture("f(x)").nodes], 0)
    assert "<script" not in draw(found, title="<script>")
    assert 'aria-label="The plan: f; takes x"' in draw(found, title=describe(found))
