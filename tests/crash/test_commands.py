"""Commands beside a running server: tokens, secret keys, backup and restore, end to end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from aieye.access.cipher import Cipher, provider_key_place
from tests.crash.conftest import PROVIDER_KEY, Aieye, command_environment
from tests.fakes.recorded import RecordedDemo
from tests.installation import SECRET_KEY, Installation, Made, query, table_names
from tests.live import LiveServer, LiveServers
from tests.servers import DatabaseKind, Databases

KEYS = [f"sk-one-of-many-keys-{number:04}" for number in range(160)]
NEW_SECRET_KEY = "another-secret-key-9876543210-zyxwvutsrqponm"
CHAT = "/v1/chat/completions"
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@dataclass
class Running:
    """A server with a client of it."""

    server: LiveServer
    installation: Installation
    client: httpx.Client

    @property
    def environment(self) -> dict[str, str]:
        """What a command beside the server is given."""
        return self.installation.environment

    def ask(self, token: Made, question: str = "Hello") -> httpx.Response:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
        return self.client.post(CHAT, json=body, headers=token.headers)


@pytest.fixture
def running(installation: Installation, start_server: LiveServers) -> Iterator[Running]:
    server = start_server(installation.environment)
    with httpx.Client(base_url=server.base_url, trust_env=False, timeout=20) as client:
        yield Running(server, installation, client)


def _until_refused(running: Running, token: Made, seconds: float) -> float:
    """For how long it was let in: up to when it was asked for the last time that it was."""
    started, let_in = time.monotonic(), 0.0
    while (asked := time.monotonic()) and running.ask(token).status_code != 401:
        let_in = asked - started
        assert let_in < seconds, "it is still let in"
        time.sleep(0.02)
    return let_in


# ----------------------------------------------------------------------------------------- tokens


def test_tokens_go_on_working_after_a_restart_and_after_a_crash(running: Running) -> None:
    token = running.installation.add_token()
    running.server.terminate()
    running.server.start()
    assert running.ask(token).status_code == 200
    running.server.kill()
    running.server.start()
    assert running.ask(token).status_code == 200


def test_tokens_are_made_imported_and_revoked_beside_a_running_server(
    running: Running, aieye: Aieye
) -> None:
    result = aieye("token", "create", "ci", "--json", environment=running.environment)
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert set(made) == {"id", "name", "token"}
    token = Made(made["id"], made["token"])
    old = "0123456789abcdef0123456789abcdef01234567"
    result = aieye("token", "create", "old", "--import", old, environment=running.environment)
    assert result.returncode == 0, result.stderr
    time.sleep(1)
    assert running.ask(token).status_code == 200
    assert running.ask(Made(0, old)).headers["x-aieye-cache"] == "hit"
    result = aieye("token", "revoke", "old", environment=running.environment)
    assert result.returncode == 0, result.stderr
    assert _until_refused(running, Made(0, old), 1.0) < 1.0
    # Not even from the cache, and not on another route.
    legacy = running.client.post(
        "/api/cache/v1/chat/completions/",
        json={"model": "x"},
        headers={"Authorization": f"Bearer {old}"},
    )
    assert legacy.status_code == 401
    assert running.ask(token).status_code == 200
    _revoke_over_the_api(running)
    _revoke_in_flight(running)


def _revoke_over_the_api(running: Running) -> None:
    """Refused at once in the process that does it."""
    admin = running.installation.add_token("admin")
    tokens = [running.installation.add_token(name=f"token {number}") for number in range(6)]
    time.sleep(1)
    for number, token in enumerate(tokens):
        assert running.ask(token).status_code == 200
        path = f"/api/v1/tokens/{token.id}"
        if number % 2:
            answer = running.client.delete(path, headers=admin.headers)
        else:
            answer = running.client.patch(path, json={"disabled": True}, headers=admin.headers)
        assert answer.status_code == 200, answer.text
        assert running.ask(token).status_code == 401


def _revoke_in_flight(running: Running) -> None:
    """A call that ends after the revocation does not bring the token back."""
    admin, token = running.installation.add_token("admin"), running.installation.add_token()
    time.sleep(1)
    body = {
        "model": "sim-slow-100-long-10",
        "messages": [{"role": "user", "content": "slow"}],
        "stream": True,
    }
    with running.client.stream("POST", CHAT, json=body, headers=token.headers) as stream:
        pieces = stream.iter_raw()
        next(pieces)
        answer = running.client.delete(f"/api/v1/tokens/{token.id}", headers=admin.headers)
        assert answer.status_code == 200
        assert running.ask(token).status_code == 401
        # What was begun before is finished.
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
    assert running.ask(token).status_code == 401


# ------------------------------------------------------------------------------------- secret keys


def test_after_rotation_tokens_and_provider_keys_work_under_the_new_key_alone(
    running: Running, aieye: Aieye, provider: RecordedDemo
) -> None:
    token = running.installation.add_token()
    running.server.terminate()
    sealed = running.installation.query("SELECT sealed FROM provider_keys ORDER BY id")
    both = {**running.environment, "AIEYE_SECRET_KEY": f"{NEW_SECRET_KEY},{SECRET_KEY}"}
    running.server.environment.update(both)
    running.server.start()
    assert running.ask(token, "before").status_code == 200
    result = aieye("key", "rotate", environment=both)
    assert result.returncode == 0, result.stderr
    assert running.ask(token, "meanwhile").status_code == 200
    assert running.installation.query("SELECT sealed FROM provider_keys ORDER BY id") != sealed
    again = aieye("key", "rotate", environment=both)
    assert again.returncode == 0
    running.server.terminate()
    running.server.environment["AIEYE_SECRET_KEY"] = NEW_SECRET_KEY
    running.server.start()
    assert running.ask(token, "after").status_code == 200
    assert {seen.header("authorization") for seen in provider.seen} == {f"Bearer {PROVIDER_KEY}"}
    # The old key alone opens nothing any more.
    running.server.terminate()
    running.server.environment["AIEYE_SECRET_KEY"] = SECRET_KEY
    running.server.launch()
    _assert_clear_failure(running.server)


@on_sqlite
def test_a_rotation_that_is_killed_leaves_every_secret_readable(
    installation: Installation, tmp_path: Path, aieye: Aieye
) -> None:
    provider_id = installation.add_provider("http://127.0.0.1:1/v1", KEYS[0], name="many")
    installation.add_keys(provider_id, KEYS[1:])
    both = {**installation.environment, "AIEYE_SECRET_KEY": f"{NEW_SECRET_KEY},{SECRET_KEY}"}
    sealed = set(installation.query("SELECT sealed FROM provider_keys"))
    for told in (1, 2, 4):
        process = subprocess.Popen(
            [sys.executable, "-m", "aieye", "key", "rotate"],
            cwd=tmp_path,
            env=command_environment(tmp_path, both),
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        # It tells how far it is: killed at the beginning, and between its transactions.
        for _ in range(told):
            process.stderr.readline()
        process.kill()
        process.communicate()
        _assert_all_keys_open(installation, f"{NEW_SECRET_KEY},{SECRET_KEY}")
    result = aieye("key", "rotate", environment=both)
    assert result.returncode == 0, result.stderr
    assert sealed.isdisjoint(installation.query("SELECT sealed FROM provider_keys"))
    _assert_all_keys_open(installation, NEW_SECRET_KEY)


def _assert_all_keys_open(installation: Installation, secret_keys: str) -> None:
    cipher = Cipher(secret_keys.split(","))
    rows = installation.query(
        "SELECT k.id, k.sealed, p.base_url FROM provider_keys k"
        " JOIN providers p ON p.id = k.provider_id WHERE p.name = 'many'"
    )
    opened = {cipher.open(sealed, place=provider_key_place(id_, url)) for id_, sealed, url in rows}
    assert opened == set(KEYS)


def test_a_wrong_secret_key_is_a_clear_failure_and_changes_nothing(
    running: Running, aieye: Aieye
) -> None:
    token = running.installation.add_token()
    running.server.terminate()
    before = _export(running.installation.database_url)
    running.server.environment["AIEYE_SECRET_KEY"] = NEW_SECRET_KEY
    running.server.launch()
    _assert_clear_failure(running.server)
    wrong = {**running.environment, "AIEYE_SECRET_KEY": NEW_SECRET_KEY}
    for arguments in (("token", "create", "x"), ("key", "rotate")):
        result = aieye(*arguments, environment=wrong)
        assert result.returncode not in {0, 1}, arguments
        assert "Traceback" not in result.stderr
    assert _export(running.installation.database_url) == before
    running.server.environment["AIEYE_SECRET_KEY"] = SECRET_KEY
    running.server.start()
    assert running.ask(token).status_code == 200


@on_sqlite
def test_a_lost_key_file_is_a_clear_failure_and_no_new_one_is_made_in_silence(
    start_server: LiveServers, empty_database_url: str
) -> None:
    server = start_server({"AIEYE_DATABASE_URL": empty_database_url})
    server.terminate()
    (server.data_dir / "secret.key").unlink()
    server.launch()
    _assert_clear_failure(server)


def _assert_clear_failure(server: LiveServer) -> None:
    start = len(server.output())
    assert server.wait(timeout_seconds=20) not in {0, 1}
    said = server.output()[min(start, len(server.output())) :] or server.output()
    assert re.search(r"secret key|AIEYE_SECRET_KEY", said, re.IGNORECASE), said
    assert "Traceback" not in said
    assert SECRET_KEY not in said
    assert NEW_SECRET_KEY not in said


# ------------------------------------------------------------------------------ backup and restore


def _export(url: str) -> dict[str, list[str]]:
    """All rows of all tables, less those that only say that a process lives."""
    return {
        table: sorted(repr(row) for row in query(url, f"SELECT * FROM {table}"))
        for table in table_names(url)
        if table not in {"instances", "alembic_version"}
    }


def test_backup_and_restore_bring_everything_back_that_was_lost_in_between(
    running: Running,
    aieye: Aieye,
    tmp_path: Path,
    databases: Databases,
    database_kind: DatabaseKind,
) -> None:
    token, revoked = running.installation.add_token(), running.installation.add_token(name="later")
    time.sleep(1)
    for number in range(5):
        assert running.ask(token, f"question {number}").status_code == 200
    time.sleep(0.5)
    result = aieye("backup", environment=running.environment)
    assert result.returncode == 0, result.stderr
    file = tmp_path / result.stdout.strip()
    assert file.is_file()
    at_backup = _export(running.installation.database_url)
    # Life goes on after it.
    assert running.ask(token, "after the backup").status_code == 200
    assert aieye("token", "revoke", "later", environment=running.environment).returncode == 0
    if database_kind == "sqlite":
        # Not under a running server.
        refused = aieye("restore", str(file), "--yes", environment=running.environment)
        assert refused.returncode not in {0, 1}
        assert "Traceback" not in refused.stderr
    assert running.server.terminate() == 0
    # Everything is lost.
    with databases.empty(database_kind) as lost:
        environment = {**running.environment, "AIEYE_DATABASE_URL": lost}
        nobody = aieye("restore", str(file), environment=environment)
        assert nobody.returncode == 2, nobody.stderr
        no = aieye("restore", str(file), environment=environment, stdin="n\n")
        assert no.returncode != 0
        assert "Nothing was changed" in no.stderr
        yes = aieye("restore", str(file), environment=environment, stdin="y\n")
        assert yes.returncode == 0, yes.stderr
        assert _export(lost) == at_backup
        running.server.environment["AIEYE_DATABASE_URL"] = lost
        running.server.start()
        assert running.ask(token, "question 1").headers["x-aieye-cache"] == "hit"
        assert running.ask(token, "after the restore").status_code == 200
        # As it says: what was revoked since the backup works again.
        assert "revoke" in yes.stderr
        assert running.ask(revoked).status_code == 200
        running.server.terminate()


@on_sqlite
def test_a_damaged_backup_changes_nothing(running: Running, aieye: Aieye, tmp_path: Path) -> None:
    file = tmp_path / aieye("backup", environment=running.environment).stdout.strip()
    content = bytearray(file.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 8] = bytes(byte ^ 0xFF for byte in content[middle : middle + 8])
    file.write_bytes(content)
    running.server.terminate()
    before = _export(running.installation.database_url)
    for damaged in (file, tmp_path / "nothing.zip"):
        result = aieye("restore", str(damaged), "--yes", environment=running.environment)
        assert result.returncode not in {0, 1}
        assert "Traceback" not in result.stderr
    assert _export(running.installation.database_url) == before
    running.server.start()


# --------------------------------------------------------------------------------------- providers


@on_sqlite
def test_a_provider_and_its_key_are_added_beside_a_running_server(
    empty_database_url: str, start_server: LiveServers, aieye: Aieye, provider: RecordedDemo
) -> None:
    environment = {"AIEYE_DATABASE_URL": empty_database_url, "AIEYE_SECRET_KEY": SECRET_KEY}
    server = start_server(environment)
    token = re.search(r"aie_\w{8}_\w{43}_\w{6}", server.output())
    assert token is not None
    added = aieye(
        "provider", "add", "openai", "--base-url", provider.base_url, environment=environment
    )
    assert added.returncode == 0, added.stderr
    secret = "sk-key-from-the-command-line-0815"
    stored = aieye("key", "add", "openai", environment=environment, stdin=f"{secret}\n")
    assert stored.returncode == 0, stored.stderr
    assert secret not in stored.stdout + stored.stderr
    time.sleep(1)
    with httpx.Client(base_url=server.base_url, trust_env=False) as client:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
        answer = client.post(CHAT, json=body, headers={"Authorization": f"Bearer {token[0]}"})
    assert answer.status_code == 200
    assert provider.seen[-1].header("authorization") == f"Bearer {secret}"
