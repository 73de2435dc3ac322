"""The command line, on both databases: what it makes, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.config_file import KEY_PLACE
from aieye.access.directory import Directory
from aieye.access.passwords import verify_password
from aieye.access.snapshot import Grant, Snapshot
from aieye.access.tokens import update_token
from aieye.cli import main
from aieye.cli.tokens import parse_expiry
from aieye.db.engine import Database
from aieye.db.exclusive import ServeLock
from aieye.db.tables import AuditEntry, RegisteredFunction, User
from aieye.errors import InvalidRequest
from aieye.settings import Settings
from tests.servers import DatabaseKind

OLD_KEY, NEW_KEY = "old-0123456789abcdefghijklmnopqrstuv", "new-0123456789abcdefghijklmnopqrstuv"
SECRET, OTHER_SECRET = "sk-canary-command-line-1", "sk-canary-command-line-2"
PASSWORD = "a quiet river at dawn"
OLD_TOKEN = "0123456789abcdef0123456789abcdef01234567"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Aieye = Callable[..., Ended]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """No setting of the outer environment, and an empty directory to work in."""
    for name in (*Settings.model_fields, "url", "token"):
        monkeypatch.delenv(f"AIEYE_{name.upper()}", raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIEYE_SECRET_KEY", OLD_KEY)
    # What `serve` does to its whole process must not be done to that of the tests.
    monkeypatch.setattr("aieye.telemetry.configure_logs", lambda: None)
    monkeypatch.setattr("aieye.collector.rest_while_starting", lambda: None)
    handler = signal.getsignal(signal.SIGTERM)
    mask = os.umask(0o022)
    yield monkeypatch
    os.umask(mask)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def aieye(bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str) -> Aieye:
    """Runs a command on the database: `aieye("token", "create", "ci", stdin="…")`."""
    bare.setenv("AIEYE_DATABASE_URL", database_url)
    return lambda *arguments, stdin="": _invoke(bare, capsys, arguments, stdin)


def _invoke(
    patch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    stdin: str,
) -> Ended:
    patch.setattr(sys, "argv", ["aieye", *arguments])
    patch.setattr(sys, "stdin", io.StringIO(stdin))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Ended(int(ended.value.code or 0), captured.out, captured.err)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _within(url: str, look: Callable[[Database], Coroutine[Any, Any, Result]]) -> Result:
    database = Database(url)
    try:
        return await look(database)
    finally:
        await database.close()


def _rows(url: str, table: Any) -> list[Any]:
    async def look(database: Database) -> list[Any]:
        async with database.read() as session:
            return list(await session.scalars(select(table).order_by(table.id)))

    return _run(_within(url, look))


def disable(url: str, token_id: int) -> None:
    """Disable a token, as its page does."""

    async def change(database: Database) -> None:
        async with database.write() as session:
            await update_token(session, token_id, {"disabled": True}, actor=SYSTEM)

    _run(_within(url, change))


def _snapshot(url: str, *keys: str) -> Snapshot:
    """What a server that starts now knows."""

    async def look(database: Database) -> Snapshot:
        directory = Directory(database, Cipher(keys or (OLD_KEY,)))
        await directory.start()
        return directory.current

    return _run(_within(url, look))


def _grant(url: str, secret: str, *keys: str) -> Grant | None:
    async def look(database: Database) -> Grant | None:
        directory = Directory(database, Cipher(keys or (OLD_KEY,)))
        await directory.start()
        return directory.find_grant(secret)

    return _run(_within(url, look))


# -- people -----------------------------------------------------------------------------------


def test_the_first_administrator_inherits_the_tokens_made_before(
    aieye: Aieye, database_url: str
) -> None:
    secret = aieye("token", "create", "early").out.strip()
    made = aieye("admin", "create", "--email", " Root@Example.org", stdin=f"{PASSWORD}\n")
    assert (made.code, made.out) == (0, "")
    assert "root@example.org" in made.err
    grant = _grant(database_url, secret)
    assert grant is not None
    assert (grant.user, grant.role) == ("root@example.org", "administrator")
    (user,) = _rows(database_url, User)
    assert asyncio.run(verify_password(PASSWORD, user.password_hash))


def test_further_administrators_and_users_are_made_beside_the_first(
    aieye: Aieye, database_url: str
) -> None:
    for command in (
        ("admin", "create", "--email", "root@example.org"),
        ("admin", "create", "--email", "two@example.org", "--name", "Two"),
        ("user", "create", "--email", "ada@example.org"),
    ):
        assert aieye(*command, stdin=PASSWORD).code == 0
    users = _rows(database_url, User)
    assert [(user.name, user.role) for user in users] == [
        ("", "administrator"),
        ("Two", "administrator"),
        ("", "user"),
    ]


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        ("nobody", PASSWORD, "not an e-mail address"),
        ("root@example.org", "short", "at least 10 characters"),
        ("root@example.org", "", "No password was given"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_wrong_person_is_refused_in_one_line(
    aieye: Aieye, email: str, password: str, said: str
) -> None:
    ended = aieye("admin", "create", "--email", email, stdin=password)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_the_same_person_twice_is_refused(aieye: Aieye) -> None:
    aieye("user", "create", "--email", "ada@example.org", stdin=PASSWORD)
    ended = aieye("user", "create", "--email", "ADA@example.org", stdin=PASSWORD)
    assert ended.code == 2
    assert "already" in ended.err


# -- providers and keys -----------------------------------------------------------------------


def test_a_provider_and_its_key_are_stored_and_the_key_is_never_shown(
    aieye: Aieye, database_url: str
) -> None:
    said = [
        aieye("provider", "add", "local", "--base-url", "http://127.0.0.1:9000"),
        aieye("key", "add", "local", "--name", "first", stdin=f"{SECRET}\n"),
        aieye("key", "add", "local", stdin=OTHER_SECRET),
    ]
    assert [ended.code for ended in said] == [0, 0, 0]
    assert "canary" not in repr(said)
    provider = _snapshot(database_url).providers["local"]
    assert provider.base_url == "http://127.0.0.1:9000/v1"
    assert [(key.name, key.secret) for key in provider.keys] == [
        ("first", SECRET),
        ("default", OTHER_SECRET),
    ]
    acts = [(entry.actor, entry.action) for entry in _rows(database_url, AuditEntry)]
    assert acts == [
        ("command line", action) for action in ("provider.create", "key.create", "key.create")
    ]


@pytest.mark.parametrize(
    ("command", "stdin", "said"),
    [
        (("key", "add", "nobody"), SECRET, "aieye provider add nobody"),
        (("key", "add", "nobody"), "", "nothing was given on stdin"),
        (("provider", "add", "Bad Name", "--base-url", "https://a.example"), "", "name"),
        (("provider", "add", "demo", "--base-url", "https://a.example"), "", "simulated"),
        (("provider", "add", "x", "--base-url", "http://169.254.169.254"), "", "metadata"),
        (("provider", "add", "x"), "", "--base-url"),
        (("token", "create", "t", "--scope", "all"), "", "scope"),
        (("token", "create", "t", "--user", "no@example.org"), "", "aieye user create"),
        (("token", "create", "t", "--expires", "soon"), "", "30d"),
        (("token", "create", "t", "--expires", "2020-01-01"), "", "--expires should lie"),
        (("provider", "add", "x", "--base-url", "http://a/v1/chat/completions"), "", "endpoint"),
        (("demo-upstream", "--port", "99999"), "", "65535"),
        (("token", "create", "t", "--import", "too-short"), "", "40"),
        (("token", "revoke", "nothing"), "", "no token nothing"),
        (("restore", "missing.zip"), "", "missing.zip"),
        (("nonsense",), "", "nonsense"),
        (("serve", "--port", "70000"), "", "AIEYE_PORT"),
        (("serve", "--workers", "2", "--demo"), "", ""),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_cannot_be_done_ends_with_2_and_says_why(
    aieye: Aieye, command: tuple[str, ...], stdin: str, said: str
) -> None:
    ended = aieye(*command, stdin=stdin)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "canary" not in ended.err


def test_after_a_rotation_the_newest_key_alone_opens_everything(
    aieye: Aieye, bare: pytest.MonkeyPatch, database_url: str
) -> None:
    aieye("provider", "add", "local", "--base-url", "http://127.0.0.1:9000")
    aieye("key", "add", "local", stdin=SECRET)
    token = aieye("token", "create", "t").out.strip()
    bare.setenv("AIEYE_SECRET_KEY", f"{NEW_KEY},{OLD_KEY}")
    ended = aieye("key", "rotate")
    assert ended.code == 0
    # How far it is, and what came of it: the provider's key and the tokens' pepper.
    assert "2 of 2 (100 %)" in ended.err
    assert "Sealed 2 secrets anew" in ended.err
    (key,) = _snapshot(database_url, NEW_KEY).providers["local"].keys
    assert key.secret == SECRET
    assert _grant(database_url, token, NEW_KEY) is not None
    assert "Sealed 0 secrets" in aieye("key", "rotate").err


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_encrypted_key_is_for_the_configuration_file_alone(aieye: Aieye) -> None:
    ended = aieye("key", "encrypt", stdin=f"{SECRET}\n")
    assert ended.code == 0
    sealed = ended.out.strip().removeprefix("encrypted:")
    assert Cipher([OLD_KEY]).open(sealed, place=KEY_PLACE) == SECRET


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_rotation_says_what_to_do_with_the_configuration_files_key(
    aieye: Aieye, bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    bare.setenv("AIEYE_CONFIG_FILE", str(file))
    sealed = aieye("key", "encrypt", stdin=SECRET).out.strip()
    file.write_text(json.dumps({"gpt3": {"key": sealed}}))
    aieye("token", "create", "t")
    assert "config.json" not in aieye("key", "rotate").err
    bare.setenv("AIEYE_SECRET_KEY", f"{NEW_KEY},{OLD_KEY}")
    told = aieye("key", "rotate").err
    assert "config.json is still sealed under an older secret key" in told
    assert sealed not in told
    file.write_text(
        json.dumps({"gpt3": {"key": aieye("key", "encrypt", stdin=SECRET).out.strip()}})
    )
    assert "config.json" not in aieye("key", "rotate").err
    bare.setenv("AIEYE_SECRET_KEY", "another-installations-0123456789abcdefghijkl")
    refused = aieye("serve", "--port", "0")
    assert refused.code == 2
    assert "AIEYE_CONFIG_FILE: gpt3.key: does not open" in refused.err
    assert sealed not in refused.err


def test_what_serves_by_default_is_said_and_can_be_changed(aieye: Aieye) -> None:
    first = aieye("provider", "add", "first", "--base-url", "http://127.0.0.1:9000")
    assert "go to the simulated provider" in first.err
    given = aieye("key", "add", "first", stdin=SECRET)
    assert "now go to first; the simulated provider answers no more" in given.err
    aieye("provider", "add", "second", "--base-url", "http://127.0.0.1:9001")
    assert "go to first" in aieye("provider", "default", "second").err
    listed = json.loads(aieye("provider", "list", "--json").out)
    assert [(one["name"], one["keys"], one["default"]) for one in listed] == [
        ("first", 1, True),
        ("second", 0, False),
    ]
    given = aieye("key", "add", "second", stdin=OTHER_SECRET)
    assert "now go to second, no longer to first" in given.err
    assert "now go to first" in aieye("provider", "default", "first").err
    again = aieye("key", "add", "second", "--name", "spare", stdin=SECRET)
    assert "tried after the provider's other keys: default" in again.err
    assert "go to first, as before" in again.err
    assert aieye("provider", "default", "nobody").code == 2


def test_providers_and_keys_are_removed_after_a_yes(aieye: Aieye, database_url: str) -> None:
    aieye("provider", "add", "first", "--base-url", "http://127.0.0.1:9000")
    aieye("key", "add", "first", stdin=SECRET)
    aieye("provider", "add", "second", "--base-url", "http://127.0.0.1:9001")
    aieye("key", "add", "second", stdin=OTHER_SECRET)
    refused = aieye("key", "remove", "1", stdin="n\n")
    assert (refused.code, refused.err[:38]) == (3, "Remove the key default of first (id 1)")
    assert [one["id"] for one in json.loads(aieye("key", "list", "--json").out)] == [1, 2]
    gone = aieye("key", "remove", "1", "--yes")
    assert "Removed the key default of first." in gone.err
    assert "now go to second, no longer to first" in gone.err
    gone = aieye("provider", "remove", "second", stdin="y\n")
    assert (gone.code, "No provider holds a key any more" in gone.err) == (0, True)
    assert [one["name"] for one in json.loads(aieye("provider", "list", "--json").out)] == ["first"]
    # Nobody is asked about what is not there.
    for arguments in (("provider", "remove", "second"), ("key", "remove", "1")):
        for asked in ((), ("--yes",)):
            none = aieye(*arguments, *asked, stdin="y\n")
            assert (none.code, none.err[:17]) == (2, "Error: There is n"), none.err
            assert "?" not in none.err
    acts = [entry.action for entry in _rows(database_url, AuditEntry)]
    assert acts[-2:] == ["key.delete", "provider.delete"]


def test_lists_are_small_tables_or_json_and_show_no_secret(aieye: Aieye, database_url: str) -> None:
    aieye("provider", "add", "local", "--base-url", "http://127.0.0.1:9000")
    aieye("key", "add", "local", stdin=SECRET)
    secret = aieye("token", "create", "ci", "--expires", "2099-01-01").out.strip()
    old = json.loads(aieye("token", "create", "old", "--json").out)["id"]
    aieye("token", "create", "gone")
    aieye("token", "revoke", "gone")
    disable(database_url, old)
    table = aieye("token", "list").out.splitlines()
    assert table[0].split() == ["id", "name", "prefix", "user", "scope", "state", "expires_at"]
    states = [(line.split()[1], line.split()[-2], line.split()[-1]) for line in table[1:]]
    assert states == [("ci", "active", "2099-01-01T00:00:00+00:00"), ("old", "disabled", "-")]
    (key,) = json.loads(aieye("key", "list", "--json").out)
    assert (key["provider"], key["name"], key["active"]) == ("local", "default", True)
    shown = [
        aieye(group, "list", *options)
        for group in ("token", "key")
        for options in ((), ("--json",))
    ]
    assert secret not in repr(shown)
    assert SECRET not in repr(shown)


# -- tokens -----------------------------------------------------------------------------------


def test_a_tokens_secret_is_all_that_is_on_stdout(aieye: Aieye, database_url: str) -> None:
    ended = aieye("token", "create", "ci")
    assert ended.code == 0
    secret = ended.out.removesuffix("\n")
    assert secret.startswith("aie_")
    assert secret not in ended.err
    grant = _grant(database_url, secret)
    assert grant is not None
    assert (grant.token_name, grant.scope, grant.expires_at) == ("ci", 1, None)


def test_a_token_is_printed_as_json_for_scripts(aieye: Aieye, database_url: str) -> None:
    printed = json.loads(aieye("token", "create", "ci", "--scope", "admin", "--json").out)
    assert list(printed) == ["id", "name", "token"]
    grant = _grant(database_url, printed["token"])
    assert grant is not None
    assert (grant.token_id, grant.token_name, grant.scope) == (printed["id"], "ci", 3)


def test_a_token_belongs_to_whom_it_is_made_for(aieye: Aieye, database_url: str) -> None:
    aieye("admin", "create", "--email", "root@example.org", stdin=PASSWORD)
    aieye("user", "create", "--email", "ada@example.org", stdin=PASSWORD)
    owners = []
    for options in ((), ("--user", "Ada@example.org", "--expires", "30d")):
        grant = _grant(database_url, aieye("token", "create", "t", *options).out.strip())
        assert grant is not None
        owners.append((grant.user, grant.expires_at is not None))
    assert owners == [("root@example.org", False), ("ada@example.org", True)]


def test_an_old_token_goes_on_working(aieye: Aieye, database_url: str) -> None:
    ended = aieye("token", "create", "old", "--import", OLD_TOKEN)
    assert (ended.code, ended.out.strip()) == (0, OLD_TOKEN)
    assert _grant(database_url, OLD_TOKEN) is not None
    assert aieye("token", "create", "again", "--import", OLD_TOKEN).code == 2


@pytest.mark.parametrize("by", ["id", "name", "prefix"])
def test_a_revoked_token_opens_nothing(aieye: Aieye, database_url: str, by: str) -> None:
    kept = json.loads(aieye("token", "create", "kept", "--json").out)
    made = json.loads(aieye("token", "create", "ci", "--json").out)
    named = {"id": str(made["id"]), "name": "ci", "prefix": made["token"][:12]}[by]
    assert aieye("token", "revoke", named).code == 0
    assert _grant(database_url, made["token"]) is None
    assert _grant(database_url, kept["token"]) is not None


def test_which_of_several_tokens_is_meant_has_to_be_said(aieye: Aieye, database_url: str) -> None:
    made = [json.loads(aieye("token", "create", "ci", "--json").out) for _ in range(2)]
    ended = aieye("token", "revoke", "ci")
    assert ended.code == 2
    assert all(str(token["id"]) in ended.err for token in made)
    assert all(_grant(database_url, token["token"]) for token in made)


def test_of_several_tokens_of_a_name_the_one_that_lives_is_meant(
    aieye: Aieye, database_url: str
) -> None:
    made = [json.loads(aieye("token", "create", "ci", "--json").out) for _ in range(3)]
    aieye("token", "revoke", str(made[0]["id"]))
    ended = aieye("token", "revoke", "ci")
    assert str(made[0]["id"]) not in ended.err.split("[")[1]
    disable(database_url, made[1]["id"])
    assert aieye("token", "revoke", "ci").code == 0
    assert _grant(database_url, made[2]["token"]) is None
    # Then the one that is disabled, since no other is left.
    assert f"(id {made[1]['id']})" in aieye("token", "revoke", "ci").err
    assert aieye("token", "revoke", "ci").code == 2


def test_of_several_disabled_tokens_of_a_name_none_is_ended_by_chance(
    aieye: Aieye, database_url: str
) -> None:
    made = [json.loads(aieye("token", "create", "ci", "--json").out) for _ in range(2)]
    for token in made:
        disable(database_url, token["id"])
    ended = aieye("token", "revoke", "ci")
    assert ended.code == 2
    assert all(str(token["id"]) in ended.err.split("[")[1] for token in made)
    assert f"(id {made[0]['id']})" in aieye("token", "revoke", str(made[0]["id"])).err
    assert f"(id {made[1]['id']})" in aieye("token", "revoke", "ci").err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("30d", datetime(2026, 12, 31, 12, tzinfo=UTC)),
        ("12h", datetime(2026, 12, 2, tzinfo=UTC)),
        ("2W", datetime(2026, 12, 15, 12, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T08:00:00+02:00", datetime(2027, 1, 31, 6, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_a_span_or_a_moment(given: str, expected: datetime) -> None:
    assert parse_expiry(given, datetime(2026, 12, 1, 12, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    "given", ["", "d", "0d", "-1d", "1y", "30 days", "99999999d", "2027-13-01"]
)
def test_anything_else_is_no_expiry(given: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_expiry(given, datetime.now(UTC) + timedelta(0))


# -- the database -----------------------------------------------------------------------------


def test_commands_make_the_database_that_is_not_there_yet(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_database_url: str
) -> None:
    bare.setenv("AIEYE_DATABASE_URL", empty_database_url)
    assert "was brought to revision" in _invoke(bare, capsys, ("migrate",), "").err
    assert "is at revision" in _invoke(bare, capsys, ("migrate",), "").err
    assert _invoke(bare, capsys, ("token", "create", "t"), "").code == 0


def test_a_command_that_makes_the_database_says_so_and_which(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_database_url: str
) -> None:
    bare.setenv("AIEYE_DATABASE_URL", empty_database_url)
    place = make_url(empty_database_url).database or "?"
    made = _invoke(bare, capsys, ("token", "create", "t"), "")
    assert made.code == 0
    assert "There is no database yet" in made.err
    assert place in made.err
    assert "no database" not in _invoke(bare, capsys, ("token", "create", "t"), "").err


@pytest.mark.parametrize(
    "command",
    [
        ("token", "revoke", "1"),
        ("token", "list"),
        ("key", "rotate"),
        ("key", "list"),
        ("provider", "list"),
        ("provider", "default", "openai"),
        ("backup",),
    ],
)
def test_a_command_about_what_is_there_makes_nothing_where_nothing_is(
    bare: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    bare.delenv("AIEYE_SECRET_KEY")
    ended = _invoke(bare, capsys, command, "")
    assert ended.code == (3 if command == ("backup",) else 2)
    assert f"no database at {tmp_path}/data/aieye.db" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_backup_brings_tokens_and_keys_back(
    aieye: Aieye, database_url: str, tmp_path: Path
) -> None:
    aieye("provider", "add", "local", "--base-url", "http://127.0.0.1:9000")
    aieye("key", "add", "local", stdin=SECRET)
    token = aieye("token", "create", "t").out.strip()
    saved = aieye("backup")
    assert saved.code == 0
    file = saved.out.strip()
    assert (tmp_path / file).parent == tmp_path / "backups"
    assert "secret key is NOT in the backup" in saved.err
    assert "(100 %)" in saved.err
    _forget_everything(database_url)
    restored = aieye("restore", file, "--yes")
    assert (restored.code, restored.out) == (0, "")
    assert "(100 %)" in restored.err
    assert "revoked since the backup works again" in restored.err
    assert "Warning" not in restored.err
    assert _grant(database_url, token) is not None
    assert _snapshot(database_url).providers["local"].keys[0].secret == SECRET


def _forget_everything(url: str) -> None:
    async def look(database: Database) -> None:
        async with database.write() as session:
            for table in ("tokens", "provider_keys", "providers", "installation_secrets"):
                await session.execute(text(f"DELETE FROM {table}"))

    _run(_within(url, look))


@pytest.mark.parametrize(
    ("answer", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 3), ("\n", 3), ("", 2)]
)
def test_a_restore_asks_before_it_replaces_anything(
    aieye: Aieye, database_url: str, answer: str, code: int
) -> None:
    token = aieye("token", "create", "before the backup").out.strip()
    file = aieye("backup").out.strip()
    later = aieye("token", "create", "after the backup").out.strip()
    ended = aieye("restore", file, stdin=answer)
    assert ended.code == code
    assert "Replace EVERYTHING" in ended.err
    assert _grant(database_url, token) is not None
    assert (_grant(database_url, later) is None) == (code == 0)


def test_a_restore_tells_when_its_secret_key_is_not_here(
    aieye: Aieye, bare: pytest.MonkeyPatch
) -> None:
    aieye("token", "create", "t")
    file = aieye("backup").out.strip()
    bare.setenv("AIEYE_SECRET_KEY", NEW_KEY)
    assert "another secret key" in aieye("restore", file, "--yes").err
    bare.delenv("AIEYE_SECRET_KEY")
    ended = aieye("restore", file, "--yes")
    assert "There is no secret key" in ended.err
    assert not Path("data/secret.key").exists()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_nothing_is_restored_under_a_running_server(aieye: Aieye, database_url: str) -> None:
    file = aieye("backup").out.strip()
    with ServeLock(Path(make_url(database_url).database or "")):
        ended = aieye("restore", file, "--yes")
        asked = aieye("restore", file, stdin="y\n")
    assert (ended.code, asked.code) == (2, 2)
    assert "stop it first" in ended.err
    # Nobody is asked for what is refused anyway.
    assert "Replace EVERYTHING" not in asked.err


@pytest.mark.parametrize(
    "command", [("migrate",), ("token", "create", "t"), ("backup",), ("serve", "--port", "0")]
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_database_that_cannot_be_used_is_one_line_and_a_3(
    aieye: Aieye,
    bare: pytest.MonkeyPatch,
    database_kind: DatabaseKind,
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"this is no database" * 500)
    for url in (
        f"sqlite+aiosqlite:///{damaged}",
        "postgresql+asyncpg://nobody:canary-password@127.0.0.1:1/none",
    ):
        if command[0] == "serve" and url.startswith("postgresql"):
            # A server waits for its database to come (tests/crash/test_database_away.py).
            continue
        bare.setenv("AIEYE_DATABASE_URL", url)
        ended = aieye(*command)
        assert (ended.code, ended.out) == (3, ""), url
        assert ended.err.startswith("Error: ")
        assert "canary" not in ended.err


# -- the whole command ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AIEYE_SECRET_KEY": "changeme"}, "AIEYE_SECRET_KEY"),
        ({"AIEYE_HOST": "0.0.0.0"}, "AIEYE_PUBLIC_URL"),
        ({"AIEYE_CACHE_DEFAULT": "canary-perhaps"}, "AIEYE_CACHE_DEFAULT"),
        ({"AIEYE_WORKERS": "2", "AIEYE_DATABASE_URL": ""}, "PostgreSQL"),
        ({"AIEYE_ADMIN_EMAIL": "a@b.c", "AIEYE_ADMIN_PASSWORD": "canary"}, "AIEYE_ADMIN_PASSWORD"),
        ({"OPENAI_API_KEY": "sk canary"}, "OPENAI_API_KEY"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_wrong_setting_refuses_to_start_naming_the_variable(
    aieye: Aieye, bare: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        bare.setenv(name, value)
    ended = aieye("serve", "--port", "0")
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "canary" not in ended.err


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://eye.example.org", True),
        ("http://10.0.0.7:8000", True),
        ("https://eye.example.org", False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
    ],
)
def test_a_public_address_without_tls_is_a_warning(
    aieye: Aieye, bare: pytest.MonkeyPatch, url: str, is_warned: bool
) -> None:
    bare.setenv("AIEYE_PUBLIC_URL", url)
    # Something else stops this start, after the warning.
    bare.setenv("OPENAI_API_KEY", "sk canary")
    ended = aieye("serve", "--port", "0")
    assert ended.code == 2
    assert ("AIEYE_PUBLIC_URL is plain http" in ended.err) == is_warned


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_unknown_variable_is_a_warning_with_what_was_probably_meant(
    aieye: Aieye, bare: pytest.MonkeyPatch
) -> None:
    bare.setenv("AIEYE_CACHE_DEFALT", "off")
    bare.setenv("AIEYE_SECRET_KEY_FILE", "/nowhere/else/secret.key")
    # Something else stops this start, after the warning.
    bare.setenv("OPENAI_API_KEY", "sk canary")
    ended = aieye("serve", "--port", "0")
    assert "AIEYE_CACHE_DEFALT is not a setting" in ended.err
    assert "Did you mean AIEYE_CACHE_DEFAULT?" in ended.err


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_setting_that_has_no_effect_yet_is_a_warning(
    aieye: Aieye, bare: pytest.MonkeyPatch
) -> None:
    bare.setenv("AIEYE_REDIS_URL", "redis://localhost")
    Path(".env").write_text("AIEYE_SAGA_OPEN=true\nAIEYE_URL=\n")
    bare.setenv("OPENAI_API_KEY", "sk canary")
    warnings = aieye("serve", "--port", "0").err.splitlines()[:-1]
    assert [line.split()[1] for line in warnings] == ["AIEYE_REDIS_URL"]
    assert all("no effect" in line for line in warnings)


@pytest.mark.parametrize("given", ["version", "--version"])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_version_is_told_either_way(aieye: Aieye, given: str) -> None:
    assert aieye(given).out == "aieye 0.1.0\n"


def test_help_and_version_load_neither_database_nor_framework() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['aieye', 'version']\n"
        "from aieye.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'sqlalchemy', 'fastapi', 'uvicorn', 'aiohttp', 'alembic'}\n"
        "    print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["aieye 0.1.0", "[]"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_command_works_beside_a_server(aieye: Aieye, database_url: str) -> None:
    path = make_url(database_url).database or ""
    with ServeLock(Path(path)):
        assert aieye("token", "create", "t").code == 0
        assert aieye("backup").code == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_file_that_cannot_be_written_is_one_line_and_a_3(aieye: Aieye) -> None:
    Path("file").touch()
    ended = aieye("backup", "--directory", "file/backups")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "Error: file/backups: Not a directory\n"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_a_command_writes_is_its_owners_alone(
    aieye: Aieye, bare: pytest.MonkeyPatch, database_kind: DatabaseKind
) -> None:
    bare.setenv("AIEYE_DATABASE_URL", "")
    assert aieye("token", "create", "t").code == 0
    assert aieye("backup").code == 0
    written = [*Path("data").rglob("*"), *Path("backups").rglob("*")]
    assert {"aieye.db"} < {path.name for path in written}
    assert [path for path in written if path.stat().st_mode & 0o077] == []


# -- functions ---------------------------------------------------------------------------------


def test_functions_are_registered_from_the_files(aieye: Aieye, database_url: str) -> None:
    Path("funcs").mkdir()
    Path("funcs/custom_a.py").write_text("def greet(buddy):\n    return f'Hi, {buddy}'\n")
    made = aieye("funcs", "sync")
    assert made.code == 0, made.err
    (added,) = made.out.splitlines()
    assert {"greet,", "uppercase"} < set(added.removeprefix("added: ").split(" "))
    again = aieye("funcs", "sync")
    assert (again.code, again.out) == (0, "")
    assert again.err == "Everything is registered as it is.\n"
    rows = {row.name: row.file for row in _rows(database_url, RegisteredFunction)}
    assert rows["greet"] == "custom_a.py"
    entries = [row for row in _rows(database_url, AuditEntry) if row.action == "function.sync"]
    assert [row.actor for row in entries] == ["command line"] * 2


def test_a_file_that_fails_is_named_and_makes_the_exit_code_2(aieye: Aieye) -> None:
    Path("funcs").mkdir()
    Path("funcs/builtins.py").write_text("def one():\n    return 1\n")
    Path("funcs/custom_a.py").write_text("def good(x):\n    return x\n")
    Path("funcs/custom_b.py").write_text("import os\n\ndef bad(:\n")
    made = aieye("funcs", "sync")
    assert (made.code, made.out) == (2, "added: good, one\n")
    failed = "Warning: custom_b.py:3: SyntaxError: invalid syntax\n"
    assert made.err == failed
    again = aieye("funcs", "sync")
    assert (again.code, again.out) == (2, "")
    assert again.err == f"{failed}All else is registered as it is.\n"
    Path("funcs/custom_b.py").unlink()
    Path("funcs/custom_a.py").write_text("def other(x):\n    return x\n")
    Path("funcs/builtins.py").write_text("def one():\n    return 11\n")
    made = aieye("funcs", "sync")
    assert (made.code, made.err) == (0, "")
    assert made.out == "added: other\nchanged: one\nremoved: good\n"
