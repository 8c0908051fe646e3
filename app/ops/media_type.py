"""Media type by content: what a file is, whatever it is called."""

from __future__ import annotations

import codecs
import re
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

# Of these the database says nothing else, whatever follows in 64 bytes, unless they name a tar's
# first member. To find that out it takes 70 to 260 us, and of JSON and HTML 300 to 1,900.
_AT_ONCE = re.compile(
    rb"(?P<image_png>\x89PNG\r\n\x1a\n\0\0\0\rIHDR)|(?P<image_jpeg>\xff\xd8\xff)"
    rb"|(?P<image_gif>GIF8[79]a)|(?P<image_webp>RIFF.{4}WEBPVP8)|(?P<application_pdf>%PDF-)"
    rb"|(?P<application_gzip>\x1f\x8b\x08[\0-\x1f].{4}[\0\2\4][\0-\x0d\xff])",
    re.DOTALL,
)
_AT_ONCE_BYTES = 64
# It takes HTML with a comma in its first line for CSV where the other lines have as many.
_HTML = re.compile(rb"<!doctype html[^,\n]*(\n|\Z)", re.IGNORECASE)
_TAR_CHECKSUM = slice(148, 156)
_TAR_MAGIC = slice(257, 262)

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
    return _at_a_glance(head) or _by_all_rules(head)


def _at_a_glance(head: bytes) -> str | None:
    """Give what takes the database long, and is plain to see; None where it is to be asked."""
    signed = _AT_ONCE.match(head)
    if signed is not None and len(head) >= _AT_ONCE_BYTES and not _may_be_tar(head):
        return str(signed.lastgroup).replace("_", "/")
    if _begins_long_json(head):
        return "application/json"
    if signed is not None or not _is_utf8_text(head):
        return None
    if _reads_like_prose(head):
        return TEXT
    return "text/html" if _HTML.match(head) else None


def _by_all_rules(head: bytes) -> str:
    found = _ask(head)
    if found != UNKNOWN:
        return found
    unsigned = TEXT if _reads_like_old_text(head) else UNKNOWN
    return next((name for magic, name in _SIGNATURES if head.startswith(magic)), unsigned)


def _may_be_tar(head: bytes) -> bool:
    """Tell that its header's magic or checksum (POSIX ustar) says that it is one."""
    checksum = head[_TAR_CHECKSUM]
    try:
        told = int(checksum.strip(b" \0"), 8)
    except ValueError:
        told = -1
    summed = sum(head[:512]) - sum(checksum) + 8 * ord(" ") if told >= 0 else 0
    return summed == told or head[_TAR_MAGIC] == b"ustar"


def _is_utf8_text(head: bytes) -> bool:
    if head.translate(None, _TEXT_BYTES):
        return False
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reads_like_prose(text: bytes) -> bool:
    """Tell that a text begins with a word, a number or a space.

    The database comes to the same, or guesses at a programming language, after it has tried
    every rule that it has: 1 ms, which a small file's whole way into the store does not take.
    """
    begins = text[:1].isalnum() or text[:1].isspace()
    return begins and text.lstrip()[:1] not in (b"<", b"{", b"[", b"%")


def _reads_like_old_text(head: bytes) -> bool:
    """Tell that this is text of one byte a character, most of it ASCII: a table in Latin-1."""
    return not head.translate(None, _TEXT_BYTES) and sum(byte < 0x80 for byte in head) >= (
        _ASCII_SHARE * len(head)
    )


def _without_cut_character(head: bytes) -> bytes:
    """Drop a UTF-8 character that the cut has split: the database would call the text binary."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(head[-4:])
    held, _ = decoder.getstate()
    return head[: len(head) - len(held)]


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


def _begins_long_json(text: bytes) -> bool:
    # The database calls JSON only what parses whole: of a longer document it guesses at what its
    # strings are about, or says that it is text.
    if len(text) < HEAD_BYTES - 3 or text.lstrip()[:1] not in (b"{", b"["):
        return False
    from pydantic_core import from_json

    try:
        return bool(from_json(text, allow_partial=True, allow_inf_nan=False, cache_strings=False))
    except ValueError:
        return False
