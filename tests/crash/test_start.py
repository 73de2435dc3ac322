"""Starting from the command line: the first time, again, with something wrong, and twice."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from aieye.settings import SettingsError, load_settings
from tests.crash.conftest import Aieye
from tests.fakes.recorded import RecordedDemo
from tests.installation import Installation, query
from tests.live import LiveServer, LiveServers
from tests.tools import not_run

LINK = re.compile(r"http://\S+/setup\?token=\S+")
TOKEN = re.compile(r"aie_\w{8}_\w{43}_\w{6}")
CANARY = "wrong-value-canary-0815"


def _curl_command(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip().startswith("curl ")]
    assert len(lines) == 1, output
    return lines[0].strip()


def _ask(server: LiveServer, token: str, question: str = "Hello") -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
    return httpx.post(
        f"{server.base_url}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )


def test_the_first_start_prints_a_link_a_token_and_a_curl_line_that_works(
    start_server: LiveServers,
) -> None:
    if shutil.which("curl") is None:
        not_run("the printed curl line", "curl")
    server = start_server()
    output = server.output()
    (link,) = set(LINK.findall(output))
    (token,) = set(TOKEN.findall(output))
    assert "simulated" in output.lower()
    result = subprocess.run(
        ["sh", "-c", _curl_command(output)],
        env={"PATH": server.environment["PATH"], "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    answer = json.loads(result.stdout)
    assert answer["object"] == "chat.completion"
    assert "simulated" in answer["choices"][0]["message"]["content"].lower()
    page = httpx.get(link, trust_env=False)
    assert page.status_code == 200
    assert "password" in page.text.lower()
    assert token not in page.text
    # The simulated provider costs nothing and has no row.
    file = f"sqlite+aiosqlite:///{server.data_dir / 'aieye.db'}"
    assert query(file, "SELECT cost_nano, cost_state FROM calls") == [(None, "unknown")]
    assert query(file, "SELECT count(*) FROM providers") == [(0,)]


def test_what_is_made_at_the_first_start_is_told_once(
    start_server: LiveServers,
) -> None:
    server = start_server()
    token = TOKEN.search(server.output())
    assert token is not None
    assert server.terminate() == 0
    first = len(server.output())
    server.start()
    again = server.output()[first:]
    assert TOKEN.findall(again) == []
    assert "curl " not in again
    assert _ask(server, token[0]).status_code == 200
    assert stat.S_IMODE((server.data_dir / "secret.key").stat().st_mode) == 0o600


def test_the_key_of_the_environment_is_stored_and_used(
    start_server: LiveServers, provider: RecordedDemo
) -> None:
    key = "sk-key-of-the-environment-4711"
    environment = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": provider.base_url}
    server = start_server(environment)
    output = server.output()
    token = TOKEN.search(output)
    assert token is not None
    assert key not in output
    assert "SIMULATED" not in output
    assert _ask(server, token[0]).status_code == 200
    assert [seen.header("authorization") for seen in provider.seen] == [f"Bearer {key}"]
    assert key.encode() not in (server.data_dir / "aieye.db").read_bytes()
    # It is stored: without the variable it goes on, and it is not stored twice.
    server.terminate()
    for variable in environment:
        del server.environment[variable]
    server.start()
    assert _ask(server, token[0], "Again").status_code == 200
    assert provider.seen[-1].header("authorization") == f"Bearer {key}"
    file = f"sqlite+aiosqlite:///{server.data_dir / 'aieye.db'}"
    assert query(file, "SELECT count(*) FROM provider_keys") == [(1,)]
    assert query(file, "SELECT name FROM providers") == [("openai",)]


def test_the_key_may_stand_in_a_dotenv_file(
    start_server: LiveServers, provider: RecordedDemo
) -> None:
    server = start_server.prepare()
    server.directory.mkdir(parents=True)
    (server.directory / ".env").write_text(
        f"OPENAI_API_KEY=sk-from-the-file-0815\nOPENAI_BASE_URL={provider.base_url}\n"
    )
    server.start()
    token = TOKEN.search(server.output())
    assert token is not None
    assert _ask(server, token[0]).status_code == 200
    assert provider.seen[-1].header("authorization") == "Bearer sk-from-the-file-0815"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_demo_is_forced_beside_a_real_provider(
    installation: Installation, start_server: LiveServers, provider: RecordedDemo
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment, arguments=["--demo"])
    assert _ask(server, token.secret).status_code == 200
    assert provider.seen == []
    assert "SIMULATED" in server.output()


def test_the_environments_administrator_needs_no_link(start_server: LiveServers) -> None:
    password = "a-long-enough-password-4711"
    server = start_server(
        {"AIEYE_ADMIN_EMAIL": "ada@example.org", "AIEYE_ADMIN_PASSWORD": password}
    )
    assert LINK.findall(server.output()) == []
    assert password not in server.output()
    answer = httpx.post(
        f"{server.base_url}/login",
        json={"email": "ada@example.org", "password": password},
        trust_env=False,
    )
    assert answer.status_code < 400
    assert "sessionid" in answer.headers["set-cookie"]


# ----------------------------------------------------------------------------------- wrong settings

WRONG = {
    "AIEYE_PORT": [CANARY, "704711"],
    "AIEYE_WORKERS": ["0", "4711"],
    "AIEYE_DATA_DIR": ["", __file__],
    "AIEYE_DATABASE_URL": [
        f"mysql://root:{CANARY}@localhost/x",
        CANARY,
        f"postgresql+asyncpg://root:{CANARY}@localhost:{CANARY}/x",
        "sqlite+aiosqlite://",
    ],
    "AIEYE_REDIS_URL": [CANARY],
    "AIEYE_PUBLIC_URL": [
        f"ftp://{CANARY}",
        f"http://localhost:{CANARY}",
        f"http://root:{CANARY}@localhost",
        f"http://[{CANARY}",
    ],
    "AIEYE_TRUSTED_PROXIES": [CANARY, "10.0.0.0/4711"],
    "AIEYE_SECRET_KEY": ["", CANARY, "changeme", "x" * 60],
    "AIEYE_CACHE_DEFAULT": [CANARY],
    "AIEYE_CACHE_TTL": ["-4711", "4711" * 5],
    "AIEYE_CACHE_MEMORY_BYTES": ["12 parsecs4711", "47110000 GiB"],
    "AIEYE_LEDGER_DURABILITY": [CANARY],
    "AIEYE_LEDGER_RETENTION_DAYS": ["-4711", "4711" * 3],
    "AIEYE_STREAM_USAGE": [CANARY],
    "AIEYE_CONNECT_TIMEOUT": ["-4711", "nan", "inf", "4711e300"],
    "AIEYE_MAX_JSON_BYTES": [CANARY],
    "AIEYE_HOST": ["0.0.0.0"],
    "AIEYE_SAGA_OPEN": [CANARY],
    "OPENAI_BASE_URL": [CANARY],
}
# Named by the variable that is to be set instead.
INSTEAD = {"AIEYE_HOST": "AIEYE_PUBLIC_URL"}


# One of each kind of fault is put to a whole `aieye serve`, which takes a second.
SERVED = {
    "AIEYE_PORT": CANARY,
    "AIEYE_SECRET_KEY": CANARY,
    "AIEYE_HOST": "0.0.0.0",
    "OPENAI_BASE_URL": f"http://169.254.169.254/{CANARY}",
    "OPENAI_API_KEY": f"{CANARY}\n x",
}


def _assert_named(said: str, name: str) -> None:
    assert INSTEAD.get(name, name) in said
    assert CANARY not in said
    assert "4711" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", SERVED)
def test_a_wrong_setting_refuses_the_start_and_names_itself_but_not_its_value(
    aieye: Aieye, name: str
) -> None:
    environment = {"AIEYE_PORT": "0", name: SERVED[name]}
    if name == "OPENAI_BASE_URL":
        environment["OPENAI_API_KEY"] = "sk-right-key-0123456789"
    result = aieye("serve", environment=environment, timeout=60)
    assert result.returncode == 2, result.stdout + result.stderr
    _assert_named(result.stdout + result.stderr, name)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_every_wrong_value_names_its_variable_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    _assert_named(str(refused.value), name)


def test_an_unknown_variable_is_a_warning_with_a_suggestion(start_server: LiveServers) -> None:
    server = start_server({"AIEYE_CACHE_TLT": CANARY})
    assert "AIEYE_CACHE_TLT" in server.output()
    assert "AIEYE_CACHE_TTL" in server.output()
    assert CANARY not in server.output()


# ---------------------------------------------------------------------------------------- two of them


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_second_server_on_one_sqlite_file_is_refused(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    first = start_server(installation.environment)
    second = start_server.prepare(installation.environment)
    second.launch()
    assert second.wait(timeout_seconds=60) not in {0, 1}
    assert "running" in second.output()
    assert "Traceback" not in second.output()
    assert _ask(first, token.secret).status_code == 200
    # A crash leaves no lock behind.
    first.kill()
    second.start()
    assert _ask(second, token.secret).status_code == 200


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_taken_port_is_said_in_one_line(
    installation: Installation, start_server: LiveServers, aieye: Aieye
) -> None:
    server = start_server(installation.environment)
    result = aieye("serve", environment={"AIEYE_PORT": str(server.port)}, timeout=60)
    assert result.returncode == 3
    assert str(server.port) in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_damaged_database_is_refused_and_restore_is_named(
    installation: Installation, start_server: LiveServers
) -> None:
    content = bytearray(installation.file.read_bytes())
    content[:100] = b"\xff" * 100
    installation.file.write_bytes(content)
    server = start_server.prepare(installation.environment)
    server.launch()
    assert server.wait(timeout_seconds=60) == 3
    assert "aieye restore" in server.output()
    assert "Traceback" not in server.output()
    assert installation.file.read_bytes() == bytes(content)
