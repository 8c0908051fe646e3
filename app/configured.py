"""What the commands are configured by: reads the settings, and tells the operator what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from pydantic import ValidationError

from app.api.nearest import nearest
from app.api.sentences import Judged, complaint
from app.errors import StorageError
from app.logs import complain
from app.settings import Settings, json_wanted, unknown_variables, variables

PREFIX = "OFFLOAD_"


def read_settings() -> Settings:
    """Read the environment; end with a sentence per bad variable, not with a traceback."""
    try:
        if not (unknown := unknown_variables()):
            return Settings()
        for name in unknown:
            # What all begin with would make all of them alike.
            known = [variable.removeprefix(PREFIX) for variable in variables()]
            meant = nearest(name.removeprefix(PREFIX), known)
            said = f"; did you mean {PREFIX}{meant}?" if meant else "."
            tell(f"There is no setting {name}{said}")
    except ValidationError as error:
        for sentence in dict.fromkeys(map(_of_a_variable, error.errors())):
            tell(sentence)
    tell("docs/settings.md lists every variable.")
    raise typer.Exit(2)


def _of_a_variable(error: Mapping[str, Any]) -> str:
    place, what = complaint(error, Judged(Settings))
    named = [part.upper() for part in place if isinstance(part, str)]
    return f"{PREFIX}{'_'.join(named)}: {what}" if named else what


def refused(error: StorageError) -> typer.Exit:
    """Say in a sentence why the service does not start; gives what ends the process."""
    tell(f"{error.detail} {error.log_detail}".strip())
    return typer.Exit(3)


def tell(sentence: str) -> None:
    """Complain in the format that the operator has asked for."""
    complain(sentence, as_json=json_wanted())
