"""What the project's own files promise: pins, targets, settings, and what travels in the wheel."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.+!]+)")
TARGETS = {
    *("run", "install", "test", "lint", "bench", "lock", "clean", "help"),
    *("up", "down", "logs", "psql", "backup", "restore", "create-admin"),
}


def _pins() -> dict[str, str]:
    pins: dict[str, str] = {}
    for line in (PROJECT / "constraints.txt").read_text().splitlines():
        match = PIN.fullmatch(line)
        assert match, f"not `name==version`: {line}"
        pins[canonicalize_name(match["name"])] = match["version"]
    return pins


def _requirements() -> Iterator[Requirement]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(Requirement, group)


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    assert len(_pins()) > 50


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    pins = _pins()
    wrong = [
        str(requirement)
        for requirement in _requirements()
        if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == [], "`make lock` writes the constraints anew"


def test_the_lock_file_for_node_names_no_address() -> None:
    lock = json.loads((PROJECT / "tests/node/package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_every_broad_except_says_why_it_stands_there() -> None:
    bare = []
    for path in (PROJECT / "src").rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        lines = path.read_text().splitlines()
        for number, (line, following) in enumerate(pairwise(lines), 1):
            is_broad = re.match(r"\s*except (?:Base)?Exception\b", line)
            if is_broad and "# noqa: BLE001 - " not in line and "# " not in following:
                block = "\n".join(lines[number : number + 8])
                # What is only put in order before it goes on is caught by nobody.
                if not re.search(
                    rf"^{' ' * (len(line) - len(line.lstrip()) + 4)}raise$", block, re.M
                ):
                    bare.append(f"{path.relative_to(PROJECT)}:{number}")
    assert bare == []


def test_the_promised_make_targets_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    assert set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) >= TARGETS


def test_restore_asks_for_the_file_before_it_does_anything() -> None:
    result = subprocess.run(
        ["make", "--directory", str(PROJECT), "restore"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert result.returncode == 2
    assert "file=" in result.stderr
    assert "pip" not in result.stdout


@pytest.mark.parametrize("target", ["up", "down", "logs", "psql"])
def test_without_compose_the_targets_that_need_it_say_what_to_install(target: str) -> None:
    made = subprocess.run(
        ["make", "--file", str(PROJECT / "Makefile"), target, "COMPOSE=false"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert made.returncode == 2
    assert "compose plugin" in made.stderr


@pytest.mark.parametrize(
    ("target", "ends_with", "code"),
    [("install", 0, 0), ("run", 0, 0), ("run", 130, 0), ("run", 3, 2)],
)
def test_make_says_nothing_of_its_own_unless_something_failed(
    tmp_path: Path, target: str, ends_with: int, code: int
) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "venv/.created", "venv/.installed"):
        (tmp_path / name).touch()
    program = tmp_path / "venv/bin/aieye"
    program.write_text(f"#!/bin/sh\nexit {ends_with}\n")
    program.chmod(0o755)
    made = _make(tmp_path, target, "VENV=venv")
    # Ctrl-C is how a server is ended: 130 is no failure.
    assert made.returncode == code
    assert (made.stdout + made.stderr == "") == (code == 0)


COMPOSE = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
"ps "*) echo "$CONTAINER" ;;
*"aieye backup"*) printf 'the backup' ;;
*"cat >"*) cat >"$LOG.sent" ;;
*"aieye restore"*) exit 2 ;;
esac
"""


def _make(
    directory: Path, *arguments: str, container: str = "0123456789ab"
) -> subprocess.CompletedProcess[str]:
    """Make in `directory`, with something in the place of `docker compose` that notes its calls."""
    compose = directory / "compose"
    compose.write_text(COMPOSE)
    compose.chmod(0o755)
    return subprocess.run(
        ["make", "--file", str(PROJECT / "Makefile"), f"COMPOSE={compose}", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={
            "PATH": os.environ["PATH"],
            "LOG": str(directory / "log"),
            "CONTAINER": container,
        },
        check=False,
    )


def test_where_there_are_containers_their_data_is_backed_up(tmp_path: Path) -> None:
    made = _make(tmp_path, "backup")
    file = tmp_path / made.stdout.strip()
    assert (made.returncode, file.read_text()) == (0, "the backup"), made.stderr
    assert (file.parent.name, file.stat().st_mode & 0o777) == ("backups", 0o600)


def test_where_there_are_containers_a_backup_is_brought_back_while_the_app_stands_still(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.zip").write_text("the backup")
    made = _make(tmp_path, "restore", "file=old.zip", "args=--yes")
    steps = (tmp_path / "log").read_text().splitlines()
    assert [step.split(" ")[0] for step in steps] == ["ps", "run", "stop", "run", "start"]
    assert "aieye restore /data/restore.zip --yes" in steps[3]
    assert (tmp_path / "log.sent").read_text() == "the backup"
    # A restore that was refused is an error although the app runs again.
    assert made.returncode == 2


@pytest.mark.parametrize("target", ["backup", "restore", "create-admin"])
def test_where_nothing_can_be_installed_containers_that_are_not_there_are_left_alone(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "old.zip").write_text("the backup")
    named = ["file=old.zip", "email=root@example.org"]
    # Nothing can be: the makefile is not there for the make that installs.
    made = _make(tmp_path, target, *named, container="")
    assert made.returncode != 0
    assert "install" in made.stderr
    steps = (tmp_path / "log").read_text().splitlines()
    assert [step.split(" ")[0] for step in steps] == ["ps"]


def test_where_there_are_containers_the_administrator_is_made_in_them(tmp_path: Path) -> None:
    made = _make(tmp_path, "create-admin", "email=root@example.org")
    assert made.returncode == 0, made.stderr
    assert "app aieye admin create --email root@example.org" in (tmp_path / "log").read_text()


def test_what_calls_itself_pure_is_held_to_it() -> None:
    """Every such module is in the contract of the imports that keeps it so."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    contracts = declared["tool"]["importlinter"]["contracts"]
    (pure,) = (one["source_modules"] for one in contracts if "pure core" in one["name"])
    held = tuple(name.replace("*", "aieye") for name in pure)
    calls_itself_so = []
    for file in sorted((PROJECT / "src").rglob("*.py")):
        described = ast.get_docstring(ast.parse(file.read_text())) or ""
        if re.search(r"\bPure[.:]", described):
            module = file.relative_to(PROJECT / "src").with_suffix("")
            calls_itself_so.append(".".join(module.parts).removesuffix(".__init__"))
    assert len(calls_itself_so) > 30
    loose = [
        module
        for module in calls_itself_so
        if not f"{module}.".startswith(tuple(f"{n}." for n in held))
    ]
    assert loose == []


def test_the_example_environment_shows_exactly_the_settings_that_exist() -> None:
    # Here and not above, so that the other promises are checked when the settings are broken.
    from aieye.settings import Settings  # noqa: PLC0415

    example = (PROJECT / ".env.example").read_text()
    shown = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE)
    settings = {
        str(field.validation_alias or f"AIEYE_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }
    assert sorted(shown) == sorted(settings | {"AIEYE_URL", "AIEYE_TOKEN"})


def test_the_example_environment_shows_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from aieye.settings import Settings, load_settings  # noqa: PLC0415 - see above

    for name, field in Settings.model_fields.items():
        monkeypatch.delenv(str(field.validation_alias or f"AIEYE_{name.upper()}"), raising=False)
    monkeypatch.chdir(tmp_path)
    default = load_settings()
    example = (PROJECT / ".env.example").read_text()
    # An empty secret key is no default: it is refused.
    shown = re.sub(r"^#(?=[A-Z])(?!AIEYE_SECRET_KEY=)", "", example, flags=re.MULTILINE)
    Path(".env").write_text(shown)
    assert load_settings() == default


@pytest.mark.slow
def test_the_wheel_holds_the_migrations_and_the_functions(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(tmp_path), str(PROJECT)),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("aieye-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        f"aieye/{packaged}/{path.relative_to(PROJECT / source)}"
        for source, packaged in {"migrations": "_migrations", "funcs": "_funcs"}.items()
        for path in (PROJECT / source).rglob("*.py")
    }
    assert any(name.startswith("aieye/_migrations/versions/") for name in expected)
    assert expected <= names
    assert {"aieye/py.typed", "aieye/__main__.py"} <= names
    assert not any("__pycache__" in name for name in names)


def test_migrations_are_one_line_in_the_order_of_their_numbers() -> None:
    before = "None"
    for path in sorted((PROJECT / "migrations" / "versions").glob("*.py")):
        text = path.read_text()
        assert f'revision = "{path.name[:4]}"' in text, path.name
        assert f"down_revision = {before}\n" in text, path.name
        before = f'"{path.name[:4]}"'
