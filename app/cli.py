"""The commands: `serve`, `backup`, `migrate`, `demo` and the small ones.

Everything is imported at need, the settings too: help and the completion of a word need none of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import __version__
from app.errors import StorageError
from app.guide.command import guide
from app.wire.listen import CannotListen, bound

if TYPE_CHECKING:
    from app.local import Local
    from app.settings import Settings

METRICS = "OFFLOAD_METRICS_BIND"

cli = typer.Typer(
    help="Offload: file, image and URL work taken off other back ends.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.command()
def serve() -> None:
    """Start the service; every setting is an OFFLOAD_* variable (docs/settings.md)."""
    from app.configured import read_settings, refused, tell

    settings = read_settings()
    # Later: what is wrong with a setting is told without these rooms.
    from app.logs import configure_logging
    from app.nodes.folder import check_data_dir, check_with_postgres
    from app.server import Server

    configure_logging(settings.log)
    if settings.pool.executor == "interpreter" and "work" in settings.roles:
        _check_interpreters()
    if settings.api_keys_file:
        # It means «read the keys again» once the lifespan has read them; until then, nothing.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sockets = bound(settings.host, settings.port)
        address = settings.metrics.address
        metrics = bound(*address, (METRICS, METRICS)) if address else []
        if settings.database_url is None:
            check_data_dir(settings.data_dir, settings.roles)
        else:
            url = settings.database_url.get_secret_value()
            bucket = bool(settings.storage.url)
            check_with_postgres(settings.data_dir, settings.roles, url, bucket=bucket)
    except CannotListen as error:
        tell(str(error))
        raise typer.Exit(3) from None
    except StorageError as error:
        raise refused(error) from None
    server = Server(settings, partial(announce, settings), metrics)
    with suppress(SystemExit):  # uvicorn's own word for it
        server.run(sockets)
    if server.refused is not None:
        raise refused(server.refused)
    if not server.started:
        raise typer.Exit(3)
    _leave_threads_behind()


def _leave_threads_behind() -> None:
    """End the process if work is left that nothing ends: the interpreter would wait for it."""
    from app.cpu.threads import left
    from app.logs import give_streams_back

    if left(timeout_s=0.5):
        give_streams_back()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _check_interpreters() -> None:
    from app.configured import tell
    from app.cpu.interpreters import NotOffered, check_interpreters

    try:
        check_interpreters()
    except NotOffered as error:
        tell(str(error))
        raise typer.Exit(2) from None


@cli.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Where to; empty, or made.", metavar="DIR")],
) -> None:
    """Copy the data folder, consistently, whether a service runs on it or not."""
    from app.backup import back_up
    from app.configured import read_settings

    settings = read_settings()
    data_dir, bucket = settings.data_dir, settings.storage.url
    if settings.database_url is not None:
        typer.echo(
            "With OFFLOAD_DATABASE_URL, a backup is made by PostgreSQL's tools and a copy of "
            "OFFLOAD_DATA_DIR: docs/postgresql.md says in which order.",
            err=True,
        )
        raise typer.Exit(2)
    try:
        done = back_up(data_dir, folder, bytes_too=not bucket)
    except StorageError as error:
        typer.echo(error.detail, err=True)
        raise typer.Exit(3) from None
    if bucket:
        typer.echo(f"Backed up the database to {folder}. Not the bytes: they are in {bucket}.")
        return
    typer.echo(
        f"Backed up {data_dir} to {folder}: the database and {done.files} files of "
        f"{done.size_bytes} bytes, {done.copied} of them copied, the others linked."
    )
    if done.missing:
        typer.echo(
            f"{done.missing} files that records point at were missing in {data_dir}.", err=True
        )
        raise typer.Exit(1)


@cli.command()
def migrate(
    folder: Annotated[
        Path,
        typer.Option("--from", help="A data folder that no service runs on.", metavar="DIR"),
    ],
) -> None:
    """Move a data folder to the deployment that the settings name; run again, it goes on."""
    from app.configured import read_settings, refused, tell

    settings = read_settings()
    if settings.database_url is None:
        typer.echo("OFFLOAD_DATABASE_URL is to name the database that records go to.", err=True)
        raise typer.Exit(2)
    from app.logs import configure_logging, say
    from app.migrate.run import migrate as moving

    configure_logging(settings.log)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        done = asyncio.run(moving(settings, settings.database_url.get_secret_value(), folder))
    except StorageError as error:
        raise refused(error) from None
    moved = f"{done.rows} records and {done.bodies} large bodies"
    had = "had been" if done.before else "have been"
    say("migrated", f"{folder}: {moved} {had} moved.", rows=done.rows, bodies=done.bodies)
    if done.missing:
        tell(f"{done.missing} bodies that records name are missing or damaged in {folder}.")
        raise typer.Exit(1)


@cli.command()
def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Keep inputs and results in this folder.")
    ] = None,
) -> None:
    """Run one job of each kind against a service of its own, and print what came of them."""
    from app.demo import run

    raise typer.Exit(asyncio.run(run(keep)))


cli.command()(guide)


@cli.command("check-url")
def check_url(url: Annotated[str, typer.Argument(help="As a client would give it.")]) -> None:
    """Say what the address guard thinks of a URL, and why; exit code 1 if it refuses it."""
    from app.configured import read_settings
    from app.outbound.explain import explain_url

    allowed, lines = asyncio.run(explain_url(url, read_settings().fetch))
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if allowed else 1)


@cli.command("new-operation")
def new_operation(
    name: Annotated[str, typer.Argument(help="Such as thumb_sheet.")],
    where: Annotated[
        Path, typer.Option("--in", help="Folder to make the package's own in.", metavar="DIR")
    ] = Path(),
) -> None:
    """Write the smallest package with an operation of your own."""
    from app.starter import NotWritten, write_package

    try:
        folder = write_package(name, where)
    except NotWritten as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(f"Wrote {folder}; its README.md says how to install and try it.")


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def open_local() -> Local:
    """Give what the command `offload` works with where no service is named."""
    from app.configured import read_settings
    from app.local import Local

    return Local(read_settings())


def announce(settings: Settings, url: str) -> None:
    """Say where the service is, and what to type, now that it really listens."""
    from app.logs import say

    say(
        "listening",
        announcement(settings, url),
        url=url,
        data_dir=str(settings.data_dir.resolve()),
        version=__version__,
    )


def announcement(settings: Settings, url: str) -> str:
    """Say where the service listens, where its data lies, and how to try it."""
    listens = f"""
Offload {__version__} listens on {url}
Data lies in {settings.data_dir.resolve()}
"""
    if "api" not in settings.roles:
        return f"{listens}It works for others, and takes no requests but /livez and /readyz.\n"
    page = f"  {url}/  a page to drop files on\n" if settings.page else ""
    end = "wait=10&download=true"
    return f"""{listens}
In a browser:
{page}  {url}/docs  every call, to try

From a shell:
  curl -s -F file=@photo.jpg '{url}/v1/images?width=800&height=600&{end}' -o small.jpg
  curl -s -F file=@access.log '{url}/v1/compress?{end}' -o access.log.gz
  curl -s --json '{{"urls": ["https://example.com/"]}}' '{url}/v1/fetch?wait=20'
"""
