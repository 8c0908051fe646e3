"""Whose key is it: clients and their API keys, from a variable or from a file that may change."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import signal
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from pydantic import SecretStr

from app import written
from app.logs import Sparingly

log = structlog.get_logger(__name__)

MIN_KEY_CHARS = 16
MAX_KEY_CHARS = 256
KEY = re.compile(rf"[!-~]{{{MIN_KEY_CHARS},{MAX_KEY_CHARS}}}")
MAX_CLIENT_CHARS = 100
MAX_KEYS = 4
"""Of one client: the new one and the old ones, while its programs change over."""
MAX_CLIENTS = 1000
"""The keys of all of them are compared at every request."""


class Client(NamedTuple):
    """What was given out to a client."""

    keys: tuple[SecretStr, ...]
    operator: bool = False
    """Whether it may see the whole service, and the jobs and deliveries of all clients."""


ClientKeys = dict[str, Client]
"""The clients by name."""


def client_keys(given: object) -> ClientKeys:
    """Take clients with a key or a list of keys each, or the JSON text of that.

    An operator's are in an object, `{"keys": ..., "operator": true}`; anybody's may be.

    Raises:
        ValueError: it is not that; the text says why, and has nothing of a key.
    """
    document = _document(given) if isinstance(given, str) else given
    if not isinstance(document, dict) or len(document) > MAX_CLIENTS:
        raise ValueError(f"this is not a JSON object of at most {MAX_CLIENTS} clients")
    seen: set[str] = set()
    return {client: _client_of(client, own, seen) for client, own in document.items()}


def _client_of(client: str, given: object, seen: set[str]) -> Client:
    if isinstance(given, Client):
        return given
    said = given if isinstance(given, dict) else {"keys": given}
    operator = said.get("operator", False)
    if not isinstance(operator, bool) or not {"keys"} <= said.keys() <= {"keys", "operator"}:
        raise ValueError(f"{client!r} has to have `keys` and, for an operator, `operator`: true")
    return Client(_keys_of(client, said["keys"], seen), operator)


def _keys_of(client: str, given: object, seen: set[str]) -> tuple[SecretStr, ...]:
    if not (isinstance(client, str) and 1 <= len(client) <= MAX_CLIENT_CHARS):
        raise ValueError(f"a client's name has 1 to {MAX_CLIENT_CHARS} characters")
    keys = given if isinstance(given, list | tuple) else [given]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ValueError(f"{client!r} has to have 1 to {MAX_KEYS} keys")
    for key in keys:
        # What a header carries without quoting (RFC 9110, 5.5), and no blank at which it would end.
        if not (isinstance(key, str) and KEY.fullmatch(key)):
            raise ValueError(
                f"{client!r} has a key that is not {MIN_KEY_CHARS} to {MAX_KEY_CHARS} visible "
                "ASCII characters, without blanks"
            )
        if key in seen:
            raise ValueError(f"{client!r} has a key that was given out already")
        seen.add(key)
    return tuple(SecretStr(str(key)) for key in keys)


def _document(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        # Its own text names the place, and nothing of the content.
        raise ValueError(f"this is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("this is not JSON: too deep") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a client is named twice; write its keys as a list")
    return found


def read_keys(path: Path) -> ClientKeys:
    """Read a file of keys: a JSON object like OFFLOAD_API_KEYS, with one client at least.

    Raises:
        ValueError: it cannot be read, or is not that; the text says why, and has nothing of a key.
    """
    keys = written.read(path, client_keys)
    if not keys:
        # Emptied by accident, it would open the service to everybody.
        raise ValueError(f"{path}: there is no client in it")
    return keys


class Keyring:
    """The keys that hold now."""

    def __init__(self, keys: ClientKeys, path: Path | None = None) -> None:
        """Take keys, or the file that has them.

        Raises:
            ValueError: see `read_keys`.
        """
        self._path = path
        self._refusals = Sparingly()
        self._take(read_keys(path) if path else keys)

    def _take(self, keys: ClientKeys) -> None:
        self._keys = tuple(
            (name, key.get_secret_value().encode())
            for name, client in keys.items()
            for key in client.keys
        )
        self._operators = frozenset(name for name, client in keys.items() if client.operator)

    @property
    def clients(self) -> int:
        """How many clients there are; none means that no key is asked for."""
        return len({client for client, _ in self._keys})

    def is_operator(self, client: str) -> bool:
        """Tell whether the operator has marked a client as one of its own."""
        return client in self._operators

    def client_of(self, given: bytes) -> str | None:
        """Name the client whose key this is; in the same time whichever fits, or none."""
        found = None
        for client, key in self._keys:
            if hmac.compare_digest(given, key):
                found = client
        return found

    def tell_refused(self, peer: str) -> None:
        """Log that a request from this address had no key that fits; not more than now and then."""
        if (before := self._refusals.held_back()) is not None:
            log.warning("key_refused", peer=peer, held_back=before)

    def read_again(self) -> None:
        """Take the file's keys as they are now; a file that cannot be used changes nothing."""
        if self._path is None:
            return
        try:
            self._take(read_keys(self._path))
        except ValueError as error:
            log.error("api_keys_kept", detail=str(error))  # noqa: TRY400 - a trace says no more
        else:
            log.info("api_keys_read", clients=self.clients, keys=len(self._keys))

    def read_again_on_hangup(self) -> None:
        """Read the file now, and whenever SIGHUP comes while the running event loop is open.

        Without a file, that signal keeps its meaning: it ends the process.
        """
        if self._path is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.read_again)
            self.read_again()
