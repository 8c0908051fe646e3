"""A service of another version than this client, or none at all: said in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from offload import __version__


def told(server: str, root: Mapping[str, Any] | None) -> str:
    """Say what is behind a failure that looks like a misunderstanding; nothing if nothing is.

    Args:
        server: its address.
        root: what it says at `/`; None if that is no JSON object.
    """
    if root is None or root.get("name") != "Offload":
        return f"What answers at {server} does not look like an Offload service."
    version = str(root.get("version"))[:50]
    theirs, ours = _numbers(version), _numbers(__version__)
    if theirs == ours or not theirs:
        return ""
    age = "older" if theirs < ours else "newer"
    return f"The service is {age} than this client: version {version}, and this is {__version__}."


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d{1,9}(?:\.\d{1,9}){0,3}", version)
    return tuple(map(int, found[0].split("."))) if found else ()
