"""Headers on their way out and in: what a caller may send, and what an origin's answer tells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import unquote

import httpx

from app.errors import InvalidParameter

MAX_HEADERS = 50
MAX_VALUE_CHARS = 8000
MAX_NAME_CHARS = 200
"""Longest file name that is taken from an origin; file systems stop at 255 bytes."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", re.ASCII)
# Visible ASCII, with spaces and tabs between (RFC 9110, 5.5, without obs-text).
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?", re.ASCII)
_MEDIA_TYPE = re.compile(r"[!#$&^_.+0-9a-z-]{1,100}/[!#$&^_.+0-9a-z-]{1,100}", re.ASCII)

# None, or one name that means what it says, as nearly all are.
_PLAIN_DISPOSITION = re.compile(
    r'(?:(?:attachment|inline)(?:; ?filename=(?:"([\w][\w. -]*)"|([\w][\w.-]*)))?)?', re.ASCII
)

_CONDITIONS = frozenset(
    {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"}
)
_TELLING = frozenset(
    (
        "content-type",
        "content-length",
        "content-encoding",
        "content-language",
        "content-disposition",
        "cache-control",
        "expires",
        "age",
        "repr-digest",
    )
)
MAX_TOLD_CHARS = 500

REFUSED = frozenset(
    {
        # These frame the message, belong to the connection, or name whom it is for (RFC 9110, 7.6).
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # These decide in which form the content comes, which is checked here.
        "accept-encoding",
        "if-range",
        "range",
    }
)
"""Header names, in lower case, that a caller may not set."""


def checked(headers: Mapping[str, str] | None, what: str = "fetch") -> dict[str, str]:
    """Give a caller's headers for a `what` back if all of them may be sent.

    Raises:
        InvalidParameter: too many, a name or value that HTTP does not allow, or a name in
            `REFUSED`. The value is never repeated in the error: it may be a credential.
    """
    if headers is None:
        return {}
    if len(headers) > MAX_HEADERS:
        raise InvalidParameter(f"More than {MAX_HEADERS} headers were given for the {what}.")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise InvalidParameter(f"A header for the {what} has a name that HTTP does not allow.")
        if name.lower() in REFUSED:
            raise InvalidParameter(f"The header {name} cannot be set for the {what}.")
        if len(value) > MAX_VALUE_CHARS or not _VALUE.fullmatch(value):
            raise InvalidParameter(
                f"The header {name} for the {what} has a value that cannot be sent: it takes "
                f"visible ASCII characters, at most {MAX_VALUE_CHARS}."
            )
    return dict(headers)


def conditional(headers: Mapping[str, str]) -> bool:
    """Tell whether a caller asks conditions of its own (RFC 9110, 13.1)."""
    return any(name.lower() in _CONDITIONS for name in headers)


def telling(headers: httpx.Headers) -> dict[str, str]:
    """Give those of an answer's headers that say something about its content, none too long."""
    return {name: value[:MAX_TOLD_CHARS] for name, value in headers.items() if name in _TELLING}


def media_type(headers: httpx.Headers) -> str | None:
    """Give the media type that the origin claims, without parameters; None if none is claimed."""
    claimed = headers.get("content-type", "").partition(";")[0].strip().lower()
    return claimed if _MEDIA_TYPE.fullmatch(claimed) else None


def file_name(headers: httpx.Headers, url: httpx.URL) -> str | None:
    """Give a name for the content, from Content-Disposition (RFC 6266) or the URL's path.

    Returns:
        One path segment without control or formatting characters, at most `MAX_NAME_CHARS`: data
        for people to read, never a path to be opened. None where neither source has one.
    """
    return _segment(_disposition_name(headers)) or _segment(unquote(_last_segment(url)))


def _disposition_name(headers: httpx.Headers) -> str:
    said = headers.get("content-disposition", "")
    if (plain := _PLAIN_DISPOSITION.fullmatch(said)) is not None:
        return plain[1] or plain[2] or ""
    # The mail package reads both the plain and the extended form (RFC 8187), and bad ones too. It
    # takes 50 us.
    message = Message()
    message["content-disposition"] = said
    try:
        params = message.get_params([], "content-disposition")
        names = [value for key, value in params if key == "filename"]
        # The extended form comes as a tuple and is the better one (RFC 6266, 4.3).
        names.sort(key=lambda value: isinstance(value, str))
        return collapse_rfc2231_value(names[0]) if names else ""
    except (ValueError, LookupError):
        return ""


def _last_segment(url: httpx.URL) -> str:
    return url.raw_path.decode("ascii").partition("?")[0].rsplit("/", 1)[-1]


def _segment(name: str) -> str | None:
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    # Category C: controls, surrogates, and what turns the reading direction around.
    name = "".join(char for char in name if not unicodedata.category(char).startswith("C"))
    return name.strip(" .")[:MAX_NAME_CHARS].strip(" .") or None
