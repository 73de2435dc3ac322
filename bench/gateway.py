"""The gateway under test: the real `aieye serve` on a data directory of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench import load
from bench.ledger import booked, check_booked, mark
from bench.load import Bodies, Load, Sample
from bench.machine import SERVER_CORE
from bench.messages import EVENTS
from bench.probe import Latencies, ask, measure
from bench.processes import Child, NotMeasured, clean_environment, free_port, python, running
from bench.upstream import Upstream, check_calls, settled_calls

Cache = Literal["hit", "miss"]
# A preloaded cache is larger than the default limit: throwing entries out is not what is measured.
_STORE_BYTES = 64 * 2**30
_PROFILE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Setup:
    """How a gateway is set up: everything on, on SQLite, unless it says otherwise."""

    name: str
    upstream: Upstream
    database_url: str | None = None
    has_ledger: bool = True
    is_strict: bool = True
    memory_bytes: int | None = None
    profile: Path | None = None

    def environment(self, directory: Path, port: int) -> dict[str, str]:
        """The settings, as the environment has them."""
        found = {
            "AIEYE_PORT": str(port),
            "AIEYE_DATA_DIR": str(directory / "data"),
            "AIEYE_CACHE_STORE_BYTES": str(_STORE_BYTES),
            "OPENAI_API_KEY": "sk-bench-0123456789abcdefghij",
            "OPENAI_BASE_URL": self.upstream.base_url,
        }
        if self.database_url is not None:
            found["AIEYE_DATABASE_URL"] = self.database_url
        if self.memory_bytes is not None:
            found["AIEYE_CACHE_MEMORY_BYTES"] = str(self.memory_bytes)
        if not (self.is_strict and self.has_ledger):
            found["AIEYE_LEDGER_DURABILITY"] = "relaxed"
        if not self.has_ledger:
            found |= {"AIEYE_LEDGER_BODIES": "off", "BENCH_LEDGER": "off"}
        if self.profile is not None:
            found["BENCH_PROFILE"] = str(self.profile)
        return found

    @property
    def command(self) -> list[str]:
        is_plain = self.has_ledger and self.profile is None
        return python("aieye", "serve") if is_plain else python("bench.launch")


@dataclass(frozen=True, slots=True)
class Site:
    """A data directory with a migrated database and a token; a gateway may be started on it."""

    setup: Setup
    directory: Path
    port: int
    token: str = field(repr=False)

    @property
    def database_url(self) -> str:
        return self.setup.database_url or f"sqlite+aiosqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        return self.directory / "data" / "aieye.db"


def prepare(setup: Setup, directory: Path) -> Site:
    """Make the database, and a token with the command that people use for it."""
    directory.mkdir(parents=True)
    port = free_port()
    done = subprocess.run(
        python("aieye", "token", "create", "bench", "--scope", "admin", "--json"),
        cwd=directory,
        env=clean_environment(directory, setup.environment(directory, port)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotMeasured(f"`aieye token create` failed:\n{done.stdout}{done.stderr}")
    return Site(setup, directory, port, json.loads(done.stdout)["token"])


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is ready."""

    site: Site
    child: Child
    start_seconds: float

    def latencies(
        self,
        bodies: Bodies,
        seconds: float,
        *,
        cache: Cache,
        until: Literal["whole", "first event"] = "whole",
    ) -> Latencies:
        """Latencies at one connection, each answer seen to be a hit or a miss."""
        return measure(
            self.site.port, bodies, seconds, token=self.site.token, until=until, cache=cache
        )

    def drive(self, bodies: Bodies, connections: int, seconds: float, directory: Path) -> Sample:
        """Put load on it."""
        return load.run(
            Load(self.site.port, bodies, connections, self.site.token), seconds, directory
        )

    def checked(
        self, bodies: Bodies, connections: int, seconds: float, directory: Path, *, cache: Cache
    ) -> Sample:
        """Put load on it, and see that each answer was a hit or a miss, and booked with a price."""
        self.see(bodies, cache)
        asked = settled_calls(self.site.setup.upstream)
        since = mark()
        sample = self.drive(bodies, connections, seconds, directory)
        check_calls(
            self.site.setup.upstream.calls() - asked,
            0 if cache == "hit" else sample.requests,
            in_flight=0 if cache == "hit" else connections,
        )
        if self.site.setup.has_ledger:
            check_booked(
                self.site.database_url, since, cache=cache, calls=sample.requests,
                in_flight=connections,
            )  # fmt: skip
        elif booked(self.site.database_url, since).total:
            raise NotMeasured("The ledger was to be off and has booked calls.")
        self.see(bodies, cache)
        return sample

    def prime(self, bodies: Bodies) -> None:
        """See that the cache has the body that is sent again and again."""
        self._ask(bodies)

    def see(self, bodies: Bodies, cache: Cache) -> None:
        """Ask once, and see that the answer is whole and came from where it should."""
        answer = self._ask(bodies)
        head, _, body = answer.partition(b"\r\n\r\n")
        found = {line.lower() for line in head.split(b"\r\n")}
        if b"x-aieye-cache: %b" % cache.encode() not in found:
            raise NotMeasured(f"An answer should have been a {cache}:\n{head.decode('latin-1')}")
        if b"text/event-stream" in head and body.count(b"data: ") != EVENTS:
            raise NotMeasured(f"A stream has {body.count(b'data: ')} events, not {EVENTS}.")

    def post(self, path: str, body: object) -> Any:
        """The JSON of the answer to a request that is made once."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.site.port}{path}",
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.site.token}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise NotMeasured(f"{path}: {error.code} {error.read()!r}") from error

    def _ask(self, bodies: Bodies) -> bytes:
        return ask(self.site.port, bodies, token=self.site.token)


@contextmanager
def serving(site: Site) -> Iterator[Gateway]:
    """Start a gateway on a site and wait until it is ready."""
    started = time.perf_counter()
    with running(
        site.setup.command,
        core=SERVER_CORE,
        directory=site.directory,
        name="aieye",
        environment=site.setup.environment(site.directory, site.port),
    ) as child:
        child.wait_for(site.port, "/readyz")
        yield Gateway(site, child, time.perf_counter() - started)


@contextmanager
def profiled(gateway: Gateway) -> Iterator[None]:
    """Profile what happens in the block; the profile is where the setup says, after it."""
    path = gateway.site.setup.profile
    if path is None:
        raise NotMeasured("This gateway was not started for a profile.")
    gateway.child.process.send_signal(signal.SIGUSR1)
    yield
    gateway.child.process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + _PROFILE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise NotMeasured("The profile was not written.")
        time.sleep(0.05)
