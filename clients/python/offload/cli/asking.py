"""A service, asked for its records; what goes wrong is a sentence and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from offload.cli.settings import Usage, where
from offload.cli.showing import complain

if TYPE_CHECKING:
    from offload._sync.client import Client

FAILED, USAGE, INTERRUPTED = 1, 2, 130


@contextmanager
def service(server: str | None, key_file: Path | None) -> Iterator[Client]:
    """Have the service that is named, and end the command in order whatever happens."""
    from offload._sync.client import Client
    from offload.errors import OffloadError

    try:
        found = where(server, key_file)
        if found.server is None:
            raise Usage("Name the service with --server or OFFLOAD_SERVER.")
        with Client(found.server, key=found.key) as client:
            yield client
    except OffloadError as error:
        complain(f"{error.detail} {error.hint}".strip() + f" [{error.code}]")
        raise typer.Exit(FAILED) from None
    except (Usage, ValueError) as error:
        complain(str(error))
        raise typer.Exit(USAGE) from None
    except FileExistsError as error:
        complain(f"{error.filename2 or error.filename} is there already; --force replaces it.")
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{error.filename or 'standard output'}: {error.strerror}.")
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        complain("Interrupted.")
        raise typer.Exit(INTERRUPTED) from None


def operations_of(server: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """Give the operations of a service, with the key that `words` lead to."""
    key_file = next((b for a, b in pairwise(words) if a == "--key-file"), None)
    with service(server, Path(key_file) if key_file else None) as client:
        return [dict(one) for one in client.operations()]
