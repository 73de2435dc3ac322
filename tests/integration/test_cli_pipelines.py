"""`aieye check`, `fmt`, `explain` and `run`: without a database, embedded, and at a server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import aieye, aieye_forked
from tests.live import LiveServer, LiveServers

GOOD = "uppercase(s)\n"
MISSPELT = "uppercase(\n  s=lenght(x))\n"


# -- texts -------------------------------------------------------------------------------------


def test_a_mistake_is_shown_with_its_line_a_caret_and_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(GOOD)
    (tmp_path / "triage.pipeline").write_text(MISSPELT)
    assert aieye(tmp_path, "check", "good.txt").code == 0
    ended = aieye(tmp_path, "check", "good.txt", "triage.pipeline")
    assert ended.code == 2
    assert (
        "triage.pipeline:2:5: error[E201]: unknown function, prompt or pipeline 'lenght'; "
        "did you mean 'length'?\n"
        "  2 |   s=lenght(x))\n"
        "    |     ^^^^^^\n"
    ) in ended.err
    assert "only the built-in functions are known" in ended.err
    assert not (tmp_path / "data").exists()
    assert aieye(tmp_path, "check", "none.txt").code == 2


def test_texts_are_written_canonically(tmp_path: Path) -> None:
    file, broken = tmp_path / "p.txt", tmp_path / "broken.txt"
    file.write_text("f( x,y = 1 ,)")
    broken.write_text("f(")
    checked = aieye(tmp_path, "fmt", "--check", "p.txt")
    assert (checked.code, file.read_text()) == (1, "f( x,y = 1 ,)")
    assert "p.txt would be changed" in checked.err
    assert aieye(tmp_path, "fmt", "p.txt").code == 0
    assert file.read_text() == "f(x, y=1)\n"
    assert aieye(tmp_path, "fmt", "--check", "p.txt").code == 0
    refused = aieye(tmp_path, "fmt", "broken.txt")
    assert (refused.code, "E102" in refused.err, broken.read_text()) == (2, True, "f(")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "p", "--arg", "x"), "write it as NAME=VALUE"),
        (("run", "p", "--cache", "never"), "--cache should be one of"),
        (("explain", "p", "--arg", "=x"), "write it as NAME=VALUE"),
    ],
)
def test_what_is_said_wrongly_is_a_usage_error(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = aieye(tmp_path, *arguments)
    assert (ended.code, said in ended.err) == (2, True), ended.err


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = aieye(tmp_path, "check", "file/p.txt")
    assert (ended.code, "file/p.txt: Not a directory" in ended.err) == (2, True), ended.err


def test_a_server_that_is_not_there_or_not_let_in_is_told(tmp_path: Path) -> None:
    away = {"AIEYE_URL": "http://127.0.0.1:9", "AIEYE_TOKEN": "aie_x"}
    ended = aieye(tmp_path, "run", "p", **away)
    assert (ended.code, "Is AIEYE_URL right?" in ended.err) == (3, True)
    for odd in ("a b?x\n", "x" * 5_000):
        for command in ("run", "explain"):
            ended = aieye(tmp_path, command, odd, **away)
            assert (ended.code, "Is AIEYE_URL right?" in ended.err) == (3, True), ended.err
    ended = aieye(tmp_path, "run", "p", AIEYE_URL="http://127.0.0.1:9")
    assert (ended.code, "AIEYE_TOKEN" in ended.err) == (2, True)
    ended = aieye(tmp_path, "run", "p", AIEYE_URL="127.0.0.1:9")
    assert (ended.code, "http://" in ended.err) == (2, True)


# -- a server, and none ------------------------------------------------------------------------


def _post(server: LiveServer, token: str, resource: str, body: Mapping[str, Any]) -> None:
    request = urllib.request.Request(
        f"{server.base_url}/api/v1/{resource}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201


@pytest.mark.live
def test_a_pipeline_runs_at_a_server_and_without_one(
    start_server: LiveServers, tmp_path: Path
) -> None:
    server = start_server(arguments=["--demo"])
    here = {"AIEYE_DATA_DIR": str(server.data_dir)}
    made = aieye_forked(tmp_path, "token", "create", "ci", "--scope", "admin", "--json", **here)
    token = json.loads(made.out)["token"]
    _post(
        server, token, "prompts",
        {"name": "prompt_buddy", "body": "Hey {buddy}", "model": "gpt-4o-mini"},
    )  # fmt: skip
    _post(server, token, "pipelines", {"name": "greet", "source": "uppercase(prompt_buddy(who))"})
    _post(server, token, "pipelines", {"name": "pair", "source": "[a, b]"})
    there = {"AIEYE_URL": server.base_url, "AIEYE_TOKEN": token}

    missed = aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ada", "--cache", "only", **there)
    assert (missed.code, "E505" in missed.err, missed.out) == (5, True, "")
    first = aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ada", **there)
    assert first.code == 0, first.err
    assert first.out == first.out.upper() != ""
    (tmp_path / "a.txt").write_text("of a file")
    assert (
        aieye_forked(tmp_path, "run", "x/../pair", "--arg", "a=1", "--arg", "b=2", **there).code
        == 2
    )
    pair = aieye_forked(tmp_path, "run", "pair", "--arg", "a=@a.txt", "--arg", "b=x=y", **there)
    assert json.loads(pair.out) == ["of a file", "x=y"]
    shown = aieye_forked(tmp_path, "explain", "greet", "--arg", "who=Ada", "--json", **there)
    assert json.loads(shown.out)["steps"][0]["cache"] == "hit"
    table = aieye_forked(tmp_path, "explain", "greet", **there)
    assert table.out.splitlines()[1].split()[0] == "prompt_buddy"
    (tmp_path / "fed.txt").write_text("prompt_buddy(uppercase(x))")
    fed = aieye(tmp_path, "explain", "fed.txt", **there)
    assert "prompt_buddy: its text depends on what `uppercase` returns" in fed.err
    (tmp_path / "text.txt").write_text("prompt_bud(x)")
    wrong = aieye_forked(tmp_path, "explain", "text.txt", **there)
    assert (wrong.code, wrong.err.partition(": error[E201]")[0]) == (2, "text.txt:1:1")
    assert "^^^^^^^^^^" in wrong.err
    assert aieye_forked(tmp_path, "check", "text.txt", **there).code == 2
    assert aieye_forked(tmp_path, "check", "text.txt", **here).code == 2
    missing = aieye_forked(tmp_path, "run", "pair", "--arg", "a=x", **there)
    assert (missing.code, "E507" in missing.err) == (2, True)
    assert aieye_forked(tmp_path, "run", "none", **there).code == 2

    busy = aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ada", **here)
    assert (busy.code, "AIEYE_URL" in busy.err) == (2, True)
    server.terminate()
    replay = aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ada", "--cache", "only", **here)
    assert (replay.code, replay.out, replay.err) == (0, first.out, "")
    unused = aieye_forked(
        tmp_path, "run", "pair", "--arg", "a=1", "--arg", "b=2", **here, AIEYE_TOKEN="aie_x"
    )
    assert "AIEYE_TOKEN is not used" in unused.err
    whole = json.loads(
        aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ada", "--json", **here).out
    )
    assert (whole["value"], whole["steps"][0]["cache"]) == (first.out.rstrip("\n"), "hit")
    unasked = aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ada", "--arg", "hwo=x", **here)
    assert (unasked.code, "not asked for: 'hwo'" in unasked.err) == (2, True)
    missed = aieye_forked(tmp_path, "run", "greet", "--arg", "who=Ben", "--cache", "only", **here)
    assert missed.code == 5


@pytest.mark.live
def test_a_text_is_saved_at_a_server_and_without_one(
    start_server: LiveServers, tmp_path: Path
) -> None:
    server = start_server(arguments=["--demo"])
    here = {"AIEYE_DATA_DIR": str(server.data_dir)}
    made = aieye_forked(tmp_path, "token", "create", "ci", "--scope", "admin", "--json", **here)
    there = {"AIEYE_URL": server.base_url, "AIEYE_TOKEN": json.loads(made.out)["token"]}
    file = tmp_path / "two.pipeline"
    file.write_text("[uppercase(who), other]\n")
    saved = aieye_forked(tmp_path, "save", "two.pipeline", "--tag", "x", **there)
    assert (saved.code, "Saved two, version 1; version 1 runs" in saved.err) == (0, True), saved.err
    file.write_text("[uppercase(who)]\n")
    assert "Saved two, version 2" in aieye_forked(tmp_path, "save", "two.pipeline", **there).err
    file.write_text("[uppercase(who), 2]\n")
    assert "Saved two, version 3" in aieye_forked(tmp_path, "save", "two.pipeline", **here).err
    file.write_text("upercase(who)")
    for place in (here, there):
        refused = aieye_forked(tmp_path, "save", "two.pipeline", **place)
        assert (refused.code, "two.pipeline:1:1: error[E201]" in refused.err) == (2, True)
    (tmp_path / "1.txt").write_text("[who]")
    assert "--name" in aieye_forked(tmp_path, "save", "1.txt", **there).err
    unasked = aieye_forked(tmp_path, "run", "two", "--arg", "who=x", "--arg", "hwo=y", **there)
    assert (unasked.code, unasked.out, "not asked for: 'hwo'" in unasked.err) == (2, "", True)
