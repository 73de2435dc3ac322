"""Settings beyond single values: files that cannot be read, and names that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from aieye.settings import Settings, SettingsError, load_settings, unknown_variables


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the outer environment, and an empty directory to work in."""
    for name, field in Settings.model_fields.items():
        monkeypatch.delenv(str(field.validation_alias or f"AIEYE_{name.upper()}"), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("AIEYE_PROT", "AIEYE_PORT"),
        ("aieye_cache_defalt", "AIEYE_CACHE_DEFAULT"),
        ("AIEYE_TOKN", "AIEYE_TOKEN"),
        # What resembles nothing is not explained by the prefix that all names share.
        ("AIEYE_FOO", None),
    ],
)
def test_an_unknown_variable_comes_with_the_name_that_was_probably_meant(
    monkeypatch: pytest.MonkeyPatch, given: str, meant: str | None
) -> None:
    monkeypatch.setenv(given, "1")
    assert unknown_variables() == {given: meant}


def test_unknown_variables_are_looked_for_in_the_dotenv_file_too() -> None:
    Path(".env").write_text("AIEYE_PROT=1\nOTHER=1\n")
    assert unknown_variables() == {"AIEYE_PROT": "AIEYE_PORT"}


def test_a_line_of_the_dotenv_file_that_says_nothing_is_refused_by_its_number() -> None:
    Path(".env").write_text("# A remark.\nAIEYE_PORT=1\n\ngarbage line\n")
    with pytest.raises(SettingsError, match=r"^The file \.env, line 4: should be NAME=value\.$"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CACHE_DEFAULT", "maybe", "should be on or off"),
        ("CACHE_TTL", "1h", "should be a number of seconds"),
        ("IDLE_TIMEOUT", "2m", "should be a number of seconds"),
        ("PIPELINE_TIMEOUT", "0", "Input should be greater than 0"),
        ("PIPELINE_MODEL_TIMEOUT", "86401", "Input should be less than or equal to 86400"),
        ("PIPELINE_FUNCTION_TIMEOUT", "inf", "Input should be a finite number"),
        ("PIPELINE_MAP_ITEMS", "100001", "Input should be less than or equal to 100000"),
        ("SECRET_KEY", "short", "is too short"),
        ("SECRET_KEY", "", "is empty"),
        ("SECRET_KEY", "changeme", "is a sample"),
        ("SECRET_KEY", "a" * 40, "has too few different"),
    ],
)
def test_a_wrong_value_is_told_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"AIEYE_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert refused.value.message.startswith(f"AIEYE_{name}: {said}")


@pytest.mark.parametrize(("word", "meant"), [("On", True), ("1", True), ("no", False)])
def test_a_switch_takes_the_words_that_people_write(
    monkeypatch: pytest.MonkeyPatch, word: str, meant: bool
) -> None:
    monkeypatch.setenv("AIEYE_CACHE_DEFAULT", word)
    assert load_settings().cache_default is meant


def test_a_dotenv_file_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8 text"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "AIEYE_SECRET_KEY_FILE: keys: Is a directory"),
        (b"", "AIEYE_SECRET_KEY_FILE: is empty"),
        (b"too short 12345", "AIEYE_SECRET_KEY_FILE: is too short"),
        (b"\xff\xfe" * 40, "AIEYE_SECRET_KEY_FILE: is not text"),
    ],
)
def test_a_key_file_that_holds_no_key_is_refused(content: bytes | None, said: str) -> None:
    file = Path("keys")
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load_settings(secret_key_file=file).secret_keys()
    assert refused.value.message.startswith(said)


def test_a_data_directory_that_cannot_be_made_is_named() -> None:
    Path("file").touch()
    with pytest.raises(SettingsError, match=r"AIEYE_DATA_DIR: secret\.key: Not a directory"):
        load_settings(data_dir=Path("file/data")).secret_keys()


def test_a_missing_key_file_is_made_for_its_owner_alone_and_kept() -> None:
    settings = load_settings()
    keys = settings.secret_keys()
    assert Path("data/secret.key").stat().st_mode & 0o777 == 0o600
    assert (settings.secret_keys(), len(keys), len(keys[0])) == (keys, 1, 64)
