"""The command `offload`: operations, records, and what other packages add."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

import typer

from offload import __version__
from offload.cli.commands import command, described

COMMANDS = "offload.commands"
"""Group of entry points, each a `typer.Typer` whose commands stand beside these."""
HELP = """Offload: file, picture and URL work.

With --server or OFFLOAD_SERVER a service does it, else it is done right here.

\b
Examples:
  offload image photo.jpg --width 800
  offload compress -r logs/ -o packed/ --format zstd
  offload archive *.pdf -o all.zip
  offload fetch urls.txt -o pages/ --server http://127.0.0.1:8000
  offload jobs list

\b
Exit codes: 0 all went well, 1 failed, 2 cannot be meant, 3 some failed, 130 interrupted.
"""


def command_line(words: Sequence[str]) -> typer.Typer:
    """Put together what is needed for these words: what is not named is not loaded."""
    app = typer.Typer(
        name="offload",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    asked = _asked(words)
    known = described()
    for operation in known:
        if asked in (None, operation["name"]):
            _add(app, operation)
    from offload.cli.records import deliveries, files, jobs

    for name, group in (("jobs", jobs), ("files", files), ("deliveries", deliveries)):
        app.add_typer(group, name=name)
    if asked in {"jobs", "files", "deliveries", *(one["name"] for one in known)}:
        return app
    taken = {info.name for info in app.registered_commands}
    for point in entry_points(group=COMMANDS):
        more: typer.Typer = point.load()
        app.registered_commands += more.registered_commands
        app.registered_groups += more.registered_groups
    if asked is not None and asked not in _names(app):
        for operation in _others(words):
            if operation["name"] not in taken:
                _add(app, operation)
    if "version" not in _names(app):
        app.command()(version)
    return app


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _add(app: typer.Typer, operation: Any) -> None:
    app.command(operation["name"], no_args_is_help=True)(command(operation))


def _names(app: typer.Typer) -> set[str]:
    named = (
        info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands
    )
    return {name.replace("_", "-") for name in named}


def _asked(words: Sequence[str]) -> str | None:
    """Give the command that is named; None for help, and for the completion of its name."""
    if "_OFFLOAD_COMPLETE" in os.environ:
        words = os.environ.get("_TYPER_COMPLETE_ARGS", "").split()[1:]
        if len(words) < 2:  # the first is still being typed
            return None
    first = words[0] if words else "-"
    return None if first.startswith("-") else first


def _others(words: Sequence[str]) -> list[dict[str, Any]]:
    """Give the operations of the service that is named, or of this machine."""
    from offload.cli import here
    from offload.cli.asking import operations_of
    from offload.cli.settings import Usage

    try:
        server = _server_in(words)
        return operations_of(server, words) if server else here.found().operations()
    except Usage:
        return []
    except typer.Exit as error:  # why has been told, and there is no command yet to end
        raise SystemExit(error.exit_code) from None


def _server_in(words: Sequence[str]) -> str | None:
    """Find the service among words that are not understood yet."""
    if "--local" in words:
        return None
    for n, word in enumerate(words):
        if word == "--server" and n + 1 < len(words):
            return words[n + 1]
        if word.startswith("--server="):
            return word.partition("=")[2]
    return os.environ.get("OFFLOAD_SERVER") or None
