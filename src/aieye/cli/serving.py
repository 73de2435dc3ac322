"""`aieye serve` and `aieye demo-upstream`."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aieye.cli.terminal import tell, warn
from aieye.errors import AieyeError, InvalidRequest

if TYPE_CHECKING:
    from aieye.access.setup import FirstStart
    from aieye.access.snapshot import ProviderInfo
    from aieye.settings import Settings

BACKLOG = 2_048
GRACE_SECONDS = 30


class CannotListen(AieyeError):
    """The address is taken, or not this machine's."""

    status = 503
    code = "cannot_listen"


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; several need PostgreSQL.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Answer with simulated models.")] = False,
) -> None:
    """Start the server."""
    from aieye.collector import rest_while_starting
    from aieye.settings import load_settings

    rest_while_starting()
    settings = load_settings(host=host, port=port, workers=workers)
    if demo and settings.workers > 1:
        raise InvalidRequest("--demo serves with one process: leave out --workers.")
    _warn_of_variables()
    if settings.is_readable_on_the_way:
        warn(
            "AIEYE_PUBLIC_URL is plain http: passwords, sessions and tokens can be read on their way. "
            "Put TLS in front of the service and give its https address."
        )
    signal.signal(signal.SIGTERM, _leave)
    with ExitStack() as stack:
        lock(settings, stack)
        listener = stack.enter_context(listen(settings.host, settings.port))
        bound: int = listener.getsockname()[1]
        settings = load_settings(host=host, port=bound, workers=workers)
        _run(settings, listener, demo=demo)


def demo_upstream(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 9_000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the simulated provider alone, for tests and for a look."""
    import asyncio

    try:
        asyncio.run(_serve_demo(host, port))
    except OSError as error:
        raise CannotListen(_why(host, port, error, "--host", "--port")) from error


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `CannotListen`."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = _why(host, port, error, "--host or AIEYE_HOST", "--port or AIEYE_PORT")
        raise CannotListen(why) from error


def _why(host: str, port: int, error: OSError, other_host: str, other_port: str) -> str:
    """What to say of it, and where another address is given."""
    # What there is no address for is another host's matter; all else is mostly the port's.
    other = other_host if isinstance(error, socket.gaierror) else other_port
    reason = error.strerror or error
    return f"Cannot listen on {host}, port {port}: {reason}. Give another with {other}."


def _run(settings: Settings, listener: socket.socket, *, demo: bool) -> None:
    """Prepare the database, then serve until a signal ends it."""
    import asyncio

    from aieye.cli.first import prepare
    from aieye.cli.waiting import until_there
    from aieye.db.migrate import migrate
    from aieye.telemetry import configure_logs

    configure_logs()
    until_there(partial(migrate, settings.database), listener)
    # Before any worker starts, so that one process makes and tells what a first start makes, and
    # so that a wrong setting is one line here and not a failed start over there.
    first, default = asyncio.run(prepare(settings))
    if settings.workers > 1:
        _run_workers(settings, listener, first, default)
    else:
        _run_alone(settings, listener, first, demo=demo)


def _run_alone(
    settings: Settings, listener: socket.socket, first: FirstStart, *, demo: bool
) -> None:
    import uvicorn

    from aieye.app import create_app
    from aieye.cli.first import announce
    from aieye.collector import watch_what_comes

    def started(_: FirstStart, default: ProviderInfo | None) -> None:
        watch_what_comes()
        announce(settings, first, default, is_demo_forced=demo)

    app = create_app(settings, demo=demo, announce=started)
    server = uvicorn.Server(uvicorn.Config(app, **_server_options()))
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


def _run_workers(
    settings: Settings, listener: socket.socket, first: FirstStart, default: ProviderInfo | None
) -> None:
    import tempfile

    import uvicorn

    from aieye.cli.first import announce
    from aieye.cli.workers import Workers
    from aieye.telemetry.colleagues import VARIABLE

    # Workers read the settings themselves; what the command line said is to hold for them too.
    os.environ.update(
        AIEYE_HOST=settings.host, AIEYE_PORT=str(settings.port), AIEYE_WORKERS=str(settings.workers)
    )
    config = uvicorn.Config(
        "aieye.app:worker_app", factory=True, workers=settings.workers, **_server_options()
    )
    announce(settings, first, default)
    with tempfile.TemporaryDirectory(prefix="aieye-") as shared:
        os.environ[VARIABLE] = shared
        Workers(config, sockets=[listener]).run()


def _server_options() -> dict[str, Any]:
    return {
        "loop": "uvloop",
        "http": "aieye.api.half_open:Connection",
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        # Whom to believe about the client's address is AIEYE_TRUSTED_PROXIES' to say.
        "proxy_headers": False,
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def lock(settings: Settings, stack: ExitStack) -> None:
    """One server on a SQLite file, for as long as it runs."""
    if settings.is_sqlite:
        from pathlib import Path

        from sqlalchemy.engine import make_url

        from aieye.db.exclusive import ServeLock

        database = make_url(settings.database).database
        stack.enter_context(ServeLock(Path(database or "aieye.db")))


def _warn_of_variables() -> None:
    from aieye.settings import idle_variables, unknown_variables

    for name in idle_variables():
        warn(f"{name} is not used yet and has no effect.")
    for name, meant in unknown_variables().items():
        hint = f" Did you mean {meant}?" if meant else ""
        warn(f"{name} is not a setting and has no effect.{hint}")


async def _serve_demo(host: str, port: int) -> None:
    import asyncio

    from aieye.demo import serve_demo

    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    server = await serve_demo(host, port)
    tell("The simulated provider takes any key and answers on:")
    typer.echo(server.base_url)
    try:
        await told_to_stop.wait()
    finally:
        await server.close()


def _leave(_signal: int, _frame: object) -> None:
    """Being told to stop is a good end. While it serves, uvicorn drains first and then is here."""
    raise SystemExit(0)
