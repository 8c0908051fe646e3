"""Slips in how a body is sent, told from what came: what a client meant, and how that is written.

A body with the type of a form, which `curl -d` and `--data-binary` give to anything, is a file like
every other one, unless it is a form indeed, or the JSON document of a request.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from app.api.nearest import shown
from app.errors import InvalidParameter, MissingInput, UnsupportedBody
from app.ops.jsontext import MAX_CHARACTERS

FORM = "application/x-www-form-urlencoded"
JSON_ONLY = frozenset({"urls", "url", "file_ids", "file_id"})
"""Names of inputs that only a JSON document can hold, as people guess them."""

_LOOKED_AT_BYTES = 4 << 10
_PAIR = rb"[\w.\[\]-]{1,64}=[^&\s]*"
_FORM = re.compile(rb"%b(?:&%b)*" % (_PAIR, _PAIR), re.ASCII)
_DOCUMENT = re.compile(rb'\s*\{\s*"(?:urls|file_ids|items|steps)"\s*:')
_AS_A_FILE = "If it is the file itself, send `Content-Type: application/octet-stream`."


def check_form(first: bytes, known: Collection[str]) -> None:
    """Refuse a body of the type `FORM` that is no file, by its first bytes.

    `known` are the names that a form may have here: with others, it is somebody's file.

    Raises `UnsupportedBody`.
    """
    head = first[:_LOOKED_AT_BYTES]
    if _DOCUMENT.match(head):
        raise UnsupportedBody(
            "This is JSON with the Content-Type of a form: send `Content-Type: application/json` "
            f"(`curl --json` does). {_AS_A_FILE}"
        )
    if len(first) > _LOOKED_AT_BYTES or not _FORM.fullmatch(head):
        return
    if re.match(rb"[\w.-]+=@", head):
        raise UnsupportedBody(
            f"`{shown(head.decode(errors='replace'))}` came as text, and no file: `curl -d` sends "
            "what stands there. A file is sent with `-F file=@name` or `-T name`."
        )
    names = {pair.partition(b"=")[0].decode() for pair in head.split(b"&")}
    if not names <= {"file", *JSON_ONLY, *known}:
        return
    raise UnsupportedBody(
        "A form of this type can hold no file: send multipart/form-data (`curl -F`), or the file "
        f"itself with the options in the query. {_AS_A_FILE}"
    )


def check_fields(fields: Iterable[tuple[str, str]], known: Collection[str], *, files: int) -> None:
    """Refuse a form whose inputs came as text. `known` are the names of fields that it may have.

    Raises:
        InvalidParameter: a field holds what only JSON can.
        MissingInput: there is no file, and a field that seems to have been one.
    """
    for name, value in fields:
        if name in known:
            continue
        if name in JSON_ONLY:
            raise InvalidParameter(
                f"`{name}` is no field of a form: send URLs and stored files as JSON, "
                '`{"urls": […]}` or `{"file_ids": […]}`, with `Content-Type: application/json`.'
            )
        if not files and len(value) < MAX_CHARACTERS:
            said = shown(value)
            told = f"`{said}`" if value and said.isprintable() else "text" if value else "nothing"
            raise MissingInput(
                f"The form has no file: `{shown(name)}` came as {told}. With curl, "
                f"a file takes an @: `-F {shown(name)}=@name`."
            )


def no_files(door: str, kind: str) -> UnsupportedBody:
    """Give what a door that takes URLs refuses every other body with."""
    came = f"{kind} came" if kind else "there is no Content-Type"
    return UnsupportedBody(
        f"{door} takes URLs, and {came}: send `"
        '{"urls": ["https://…"]}` as application/json (`curl --json`), or a URL a line as '
        "text/plain or application/x-ndjson."
    )


def no_job(kind: str) -> UnsupportedBody:
    """Give what `POST /v1/jobs` refuses a body with that it cannot read."""
    came = f"{kind} came" if kind else "there is no Content-Type"
    return UnsupportedBody(
        f"A job is sent as application/json (`curl --json`), as multipart/form-data with a `job` "
        f"field and files, or as text/plain or application/x-ndjson with a URL a line; "
        f"{came}."
    )
