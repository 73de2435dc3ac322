"""The GPT3 Proxy's configuration file: what it may say, and what refuses the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aieye.access.cipher import Cipher
from aieye.access.config_file import KEY_PLACE, Gpt3, read_config
from aieye.settings import Settings, SettingsError

KEY = "sk-canary-4f1a9c77d2-plain"
SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyz"
NEWER_KEY = "zyxwvutsrqponmlkjihgfedcba9876543210"
OPENAI = "https://api.openai.com/v1"


def read(file: Path, text: str | bytes, *keys: str) -> Gpt3 | None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(settings(file.parent, config_file=file), Cipher(keys or [SECRET_KEY]))


def settings(directory: Path, **more: Any) -> Settings:
    """Nothing of the outer environment counts."""
    return Settings(_env_file=None, data_dir=directory, **more)  # type: ignore[call-arg] # pydantic-settings' own argument


def section(**fields: Any) -> str:
    return json.dumps({"gpt3": fields})


def sealed(place: str = KEY_PLACE, secret_key: str = SECRET_KEY, key: str = KEY) -> str:
    return f"encrypted:{Cipher([secret_key]).seal(key, place=place)}"


def test_a_folder_is_no_configuration_file() -> None:
    with pytest.raises(SettingsError, match="AIEYE_CONFIG_FILE: /: Is a directory"):
        read_config(settings(Path("/tmp"), config_file=Path("/")), Cipher([SECRET_KEY]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def test_the_section_gives_a_key_and_an_address(file: Path) -> None:
    assert read(file, section(key=KEY)) == Gpt3(KEY, OPENAI)
    given = section(key=KEY, openAIHost="https://api.openai.com/", openAIAPIVersion="/v1/")
    assert read(file, given) == Gpt3(KEY, OPENAI)
    elsewhere = section(key=KEY, openAIHost="http://127.0.0.1:9000/openai", openAIAPIVersion="v2")
    assert read(file, elsewhere) == Gpt3(KEY, "http://127.0.0.1:9000/openai/v2")
    assert read(file, section(key=sealed())) == Gpt3(KEY, OPENAI)
    assert read(file, b"\xef\xbb\xbf" + section(key=KEY).encode()) == Gpt3(KEY, OPENAI)
    assert KEY not in repr(read(file, section(key=KEY)))


def test_a_key_under_an_older_secret_key_opens_and_is_known_to_be_stale(file: Path) -> None:
    found = read(file, section(key=sealed()), NEWER_KEY, SECRET_KEY)
    assert found == Gpt3(KEY, OPENAI, is_stale=True)


def test_other_sections_are_none_of_ours(file: Path) -> None:
    assert read(file, '{"security": {"enable": false}, "host": 1}') is None
    assert read(file, "{}") is None
    assert read(file, '{"gpt3": null}') is None


def test_a_file_that_is_not_there_is_a_fault_only_where_it_was_named(tmp_path: Path) -> None:
    cipher = Cipher([SECRET_KEY])
    assert read_config(settings(tmp_path), cipher) is None
    named = settings(tmp_path, config_file=tmp_path / "nothing.json")
    with pytest.raises(SettingsError, match=r"AIEYE_CONFIG_FILE: nothing\.json"):
        read_config(named, cipher)
    with pytest.raises(SettingsError, match="AIEYE_CONFIG_FILE"):
        read_config(settings(tmp_path, config_file=tmp_path), cipher)


WRONG: list[tuple[str | bytes, str]] = [
    (f'{{"gpt3": {{\n  "key": "{KEY}",\n}}}}', "line 3, column 1"),
    (f'{{"gpt3": {{"key": "{KEY}" "openAIHost": 1}}}}', "line 1, column"),
    ("", "line 1, column 1"),
    (b"\xff\xfe", "UTF-8"),
    ("[" * 100_000, "JSON"),
    (" " * (2**20 + 1), "larger"),
    (f'["{KEY}"]', "object"),
    (f'{{"gpt3": "{KEY}"}}', "gpt3: should be an object"),
    (section(), "gpt3.key: is required"),
    (section(key=None), "gpt3.key: is required"),
    (section(key=[KEY]), "gpt3.key: should be text"),
    (section(key=""), "gpt3.key"),
    (section(key=f"{KEY} x"), "gpt3.key"),
    (section(key=f"{KEY}\n"), "gpt3.key"),
    (section(key="encrypted:7E7fhr1bFaA1TQlh4ZdB"), "gpt3.key: does not open"),
    (section(key="encrypted:"), "gpt3.key: does not open"),
    (section(key=sealed(secret_key=NEWER_KEY)), "gpt3.key: does not open"),
    (section(key=sealed(place="provider_keys|1|x")), "gpt3.key: does not open"),
    (section(key=sealed()[:-3] + "AA="), "gpt3.key: does not open"),
    (section(key=sealed(key="sk with spaces")), "gpt3.key"),
    (section(key=KEY, openAIHost=f"ftp://{KEY}"), "gpt3.openAIHost"),
    (section(key=KEY, openAIHost=f"http://user:{KEY}@localhost"), "gpt3.openAIHost"),
    (section(key=KEY, openAIHost="http://169.254.169.254"), "gpt3.openAIHost"),
    (section(key=KEY, openAIHost=5), "gpt3.openAIHost: should be text"),
    (section(key=KEY, openAIAPIVersion=1), "gpt3.openAIAPIVersion: should be text"),
    (section(key=KEY, openAiHost="https://a.example"), "gpt3.openAiHost: is no field"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_names_the_variable_and_the_field_and_never_the_value(
    file: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read(file, text)
    message = str(refused.value)
    assert message.startswith("AIEYE_CONFIG_FILE: ")
    assert said in message
    assert "canary" not in message
    assert "7E7fhr1b" not in message
