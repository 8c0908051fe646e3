"""Media type by content: what a file is, whatever it is called."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pure_magic_rs import MagicDb

HEAD_BYTES = 4096
"""How much of a file's beginning `sniff` looks at."""

UNKNOWN = "application/octet-stream"

TEXT = "text/plain"
_TEXT_BYTES = bytes([*b"\t\n\r\f\x1b", *range(0x20, 0x7F), *range(0x80, 0x100)])
_ASCII_SHARE = 0.7

# Signatures that the database knows by name but gives no media type, with their IANA names.
_SIGNATURES = (
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"\x00asm", "application/wasm"),
    (b"OggS", "application/ogg"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"\xff\xfe", TEXT),
    (b"\xfe\xff", TEXT),
)


def sniff(head: bytes) -> str:
    """Tell the media type of the file that begins with `head`.

    Safe to call from several threads. Never raises on content.

    Args:
        head: the first bytes of the file: all of them, or the first `HEAD_BYTES`.

    Returns:
        An IANA name without parameters where there is one (`image/png`, `application/gzip`,
        `text/plain`), the customary one elsewhere (`application/x-tar`), and
        `application/octet-stream` for what is empty or not known.
    """
    head = bytes(head[:HEAD_BYTES])
    if not head:
        return UNKNOWN
    if len(head) == HEAD_BYTES:
        head = _without_cut_character(head)
    if _reads_like_prose(head):
        return TEXT
    found = _ask(head)
    if found == UNKNOWN:
        unsigned = TEXT if _reads_like_old_text(head) else UNKNOWN
        return next((name for magic, name in _SIGNATURES if head.startswith(magic)), unsigned)
    if found == TEXT and _begins_long_json(head):
        return "application/json"
    return found


def _reads_like_prose(head: bytes) -> bool:
    """Tell that this is UTF-8 text which begins with a word, a number or a space.

    The database comes to the same, or guesses at a programming language, after it has tried
    every rule that it has: 1 ms, which a small file's whole way into the store does not take.
    """
    if not (head[:1].isalnum() or head[:1].isspace()) or head.translate(None, _TEXT_BYTES):
        return False
    if head.lstrip()[:1] in (b"<", b"{", b"[", b"%"):
        return False
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reads_like_old_text(head: bytes) -> bool:
    """Tell that this is text of one byte a character, most of it ASCII: a table in Latin-1."""
    return not head.translate(None, _TEXT_BYTES) and sum(byte < 0x80 for byte in head) >= (
        _ASCII_SHARE * len(head)
    )


def _without_cut_character(head: bytes) -> bytes:
    """Drop a UTF-8 character that the cut has split: the database would call the text binary."""
    for back in range(1, min(4, len(head)) + 1):
        byte = head[-back]
        if byte < 0x80:
            return head
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return head[:-back] if needed > back else head
    return head


def _ask(head: bytes) -> str:
    try:
        return str(_database().best_magic_buffer(head).mime_type)
    except ValueError:
        return UNKNOWN
    except BaseException as error:
        # A panic in Rust arrives as a BaseException of a class that cannot be imported. None
        # came up in 50,000 mutated heads, but a file must not be able to end a worker.
        if type(error).__name__ == "PanicException":
            return UNKNOWN
        raise


_LOADING = threading.Lock()


def _database() -> MagicDb:
    # Threads that come first together would each load it: 13 MiB, and each keeps its own.
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> MagicDb:
    # Some 35 ms and a few MiB, so only a process that sniffs pays.
    from pure_magic_rs import MagicDb

    return MagicDb()


def _begins_long_json(head: bytes) -> bool:
    # The database calls JSON only what parses whole, so a document longer than the head comes
    # back as plain text.
    if len(head) < HEAD_BYTES - 3 or head.lstrip()[:1] not in (b"{", b"["):
        return False
    from pydantic_core import from_json

    try:
        return bool(from_json(head, allow_partial=True))
    except ValueError:
        return False
