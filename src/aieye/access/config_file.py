"""The configuration file of the GPT3 Proxy: the section `gpt3` and the provider that it names.

`{"gpt3": {"key": …, "openAIHost": "https://api.openai.com", "openAIAPIVersion": "v1"}}`; other
sections are none of ours. The key is plain, or what `aieye key encrypt` made of it. At each start it
is stored, sealed, in the provider `gpt3`, to which the models of `/_saga` go that name no provider.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.addresses import normal_base_url
from aieye.access.cipher import Cipher, SealError
from aieye.access.environment import Source, keep_provider
from aieye.access.texts import check_provider_secret
from aieye.errors import AieyeError
from aieye.program import program
from aieye.settings import Settings, SettingsError

PROVIDER: Final = "gpt3"
KEY_PLACE: Final = "config|gpt3.key"
"""What the file's key is sealed for: nowhere else does it open."""

ENCRYPTED: Final = "encrypted:"
_VARIABLE: Final = "AIEYE_CONFIG_FILE"
_HOST: Final = "https://api.openai.com"
_VERSION: Final = "v1"
_FIELDS: Final = ("key", "openAIHost", "openAIAPIVersion")
_MOST_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Gpt3:
    """What the section says. `is_stale`: the key is sealed under an older secret key."""

    key: str = field(repr=False)
    base_url: str
    is_stale: bool = False


def read_config(settings: Settings, cipher: Cipher) -> Gpt3 | None:
    """The section; None where there is none. Raises `SettingsError`, never with a value of the file."""
    path = settings.config_file
    if not path.exists() and "config_file" not in settings.model_fields_set:
        return None
    section = _section(path)
    if section is None:
        return None
    for name in section:
        if name not in _FIELDS:
            raise _wrong(f"gpt3.{name[:40]}", f"is no field; there are {', '.join(_FIELDS)}")
    key = _text(section, "key", None)
    host = _text(section, "openAIHost", _HOST)
    version = _text(section, "openAIAPIVersion", _VERSION).strip("/")
    secret = _opened(cipher, key) if key.startswith(ENCRYPTED) else key
    try:
        check_provider_secret(secret)
    except AieyeError as error:
        raise _wrong("gpt3.key", error.message) from error
    try:
        base_url = normal_base_url("/".join(filter(None, (host.rstrip("/"), version))))
    except AieyeError as error:
        raise _wrong("gpt3.openAIHost", error.message) from error
    sealed = key.removeprefix(ENCRYPTED)
    return Gpt3(secret, base_url, key != sealed and not cipher.is_newest(sealed))


async def keep_config_provider(
    session: AsyncSession, cipher: Cipher, gpt3: Gpt3 | None
) -> tuple[str, ...]:
    """Make the provider `gpt3` what the file says; gives what the operator should know.

    Without the section it stays as it was, unused by `/_saga`: another process may have the file.
    """
    if gpt3 is None:
        return ()
    source = Source(PROVIDER, "config file", "the configuration file", _VARIABLE)
    return await keep_provider(session, cipher, source, gpt3.key, gpt3.base_url)


def advice_after_rotation(settings: Settings, cipher: Cipher) -> str | None:
    """What to say of the file's key once everything else is sealed anew; None for nothing."""
    try:
        gpt3 = read_config(settings, cipher)
    except SettingsError as error:
        return error.message
    if gpt3 is None or not gpt3.is_stale:
        return None
    return (
        f"The key in {settings.config_file.name} is still sealed under an older secret key: replace "
        f"it with what `{program()} key encrypt` makes of it before you take that one away."
    )


def _section(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SettingsError(f"{_VARIABLE}: {path.name} is larger than {_MOST_BYTES:,} bytes.")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{_VARIABLE}: {path.name} is not JSON: {error.msg} "
            f"(line {error.lineno}, column {error.colno})."
        ) from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise SettingsError(f"{_VARIABLE}: {path.name} is not JSON in UTF-8.") from error
    except OSError as error:
        raise SettingsError(f"{_VARIABLE}: {path.name or path}: {error.strerror}.") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{_VARIABLE}: {path.name} should hold a JSON object.")
    section = document.get("gpt3")
    if section is not None and not isinstance(section, dict):
        raise _wrong("gpt3", "should be an object")
    return section


def _text(section: dict[str, Any], name: str, default: str | None) -> str:
    value = section.get(name, default)
    if value is None:
        raise _wrong(f"gpt3.{name}", "is required")
    if not isinstance(value, str):
        raise _wrong(f"gpt3.{name}", "should be text")
    return value


def _opened(cipher: Cipher, key: str) -> str:
    try:
        return cipher.open(key.removeprefix(ENCRYPTED), place=KEY_PLACE)
    except SealError as error:
        raise _wrong(
            "gpt3.key",
            "does not open: it was sealed with a secret key that is none of AIEYE_SECRET_KEY or "
            "AIEYE_SECRET_KEY_FILE (another installation's, or another program's), or is damaged. "
            f"Put in what `{program()} key encrypt` makes of the plain key here",
        ) from error


def _wrong(place: str, message: str) -> SettingsError:
    return SettingsError(f"{_VARIABLE}: {place}: {message.rstrip('.')}.")
