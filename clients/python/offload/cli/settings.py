"""Which service, and with which key: from the environment or a file, never typed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_ADDRESS = "Address of the service."
ServerOption = Annotated[
    str | None,
    typer.Option("--server", envvar="OFFLOAD_SERVER", metavar="URL", help=_ADDRESS),
]
WorkServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="OFFLOAD_SERVER",
        metavar="URL",
        help=f"{_ADDRESS} Without one, work is done right here.",
    ),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="OFFLOAD_KEY_FILE",
        metavar="FILE",
        help="File that holds the API key; without one it is OFFLOAD_KEY.",
    ),
]
MAX_KEY_BYTES = 4096


class Usage(Exception):
    """What was typed cannot be meant: a sentence, and exit code 2."""


@dataclass(frozen=True, slots=True)
class Where:
    """A service and its key; None for right here."""

    server: str | None
    key: str | None


def where(server: str | None, key_file: Path | None) -> Where:
    """Find the service and its key.

    Raises:
        Usage: the file of the key cannot be read, or holds none.
    """
    if key_file is None:
        return Where(server or None, os.environ.get("OFFLOAD_KEY") or None)
    try:
        with key_file.open("rb") as file:
            text = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise Usage(f"The key file {key_file}: {error.strerror}.") from None
    try:
        key = text.decode().strip()
    except UnicodeDecodeError:
        key = ""
    if not key or len(text) == MAX_KEY_BYTES:
        raise Usage(f"The key file {key_file} does not hold a key.")
    return Where(server or None, key)
