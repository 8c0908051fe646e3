"""What a text is: by its content, and where that does not tell, by what it is called.

Nothing in a stylesheet's bytes says that it is one, so among texts the media type that came with
the file decides, and after that its name. Two words are not the same, though:

- the *client's own*: the name and Content-Type of what it uploads, `filename` of a URL that it
  submits. It may call its text anything.
- a *stranger's*: what an origin answers, the end of a URL, the names in an archive, a name that
  is left when a suffix is taken off. It may call a text anything that a browser does not run.

A text that a browser would run (HTML, SVG, any XML, JavaScript) is called so only on the client's
own word, even where content shows what it is: whoever opens a stored result, or a copy of it in
a bucket, must not run what somebody else wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.ops.media_type import TEXT, UNKNOWN

# One table for every machine: neither the system's list nor the one of this Python.
_BY_EXTENSION = {
    **dict.fromkeys(("txt", "text", "log", "conf", "ini"), TEXT),
    "css": "text/css",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    **dict.fromkeys(("md", "markdown"), "text/markdown"),  # RFC 7763
    **dict.fromkeys(("json", "map"), "application/json"),
    "geojson": "application/geo+json",
    "jsonld": "application/ld+json",
    "webmanifest": "application/manifest+json",
    **dict.fromkeys(("ndjson", "jsonl"), "application/x-ndjson"),
    **dict.fromkeys(("js", "mjs", "cjs"), "text/javascript"),  # RFC 9239
    **dict.fromkeys(("html", "htm"), "text/html"),
    **dict.fromkeys(("xhtml", "xht"), "application/xhtml+xml"),
    **dict.fromkeys(("xml", "xsd", "xsl"), "text/xml"),  # as the database calls it
    "svg": "image/svg+xml",
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "gpx": "application/gpx+xml",
    "kml": "application/vnd.google-earth.kml+xml",
    "vtt": "text/vtt",
    "srt": "application/x-subrip",
    "ics": "text/calendar",
    "vcf": "text/vcard",
    **dict.fromkeys(("yaml", "yml"), "application/yaml"),  # RFC 9512
    "toml": "application/toml",
    "sql": "application/sql",
}

_RUNS = re.compile(
    r"text/(html|xml|xsl|.*(java|ecma|j|live)script.*)"
    r"|application/(xml|xml-dtd|.*(java|ecma)script.*)|[^/]*/.*\+xml"
)
"""What browsers execute (the MIME Sniffing Standard's HTML, XML and JavaScript types)."""

_TEXTUAL = re.compile(
    r"text/.*|application/(.*\+)?((x-)?(json|yaml|javascript|sql|toml|ndjson|subrip)|xml|graphql)"
)
_TOKEN = re.compile(r"[!#$&^_.+0-9a-z-]{1,100}/[!#$&^_.+0-9a-z-]{1,100}", re.ASCII)
_JSON = re.compile(r"application/(.*\+)?(x-nd)?json")


def runs_in_browsers(media_type: str) -> bool:
    """Tell whether a browser that gets this type would run what is in it."""
    return _RUNS.fullmatch(media_type) is not None


def is_textual(media_type: str) -> bool:
    """Tell whether a media type is of those that no signature tells from other text."""
    return _TEXTUAL.fullmatch(media_type) is not None


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody calls a file."""

    name: str | None = None
    """A file name, of which the extension counts."""
    claimed: str | None = None
    """A Content-Type, parameters and all. It goes before the name."""
    own: bool = False
    """Whether it is the client's."""

    def types(self) -> Iterator[str]:
        """Give the kinds of text that are named; `text/plain` as a Content-Type names none."""
        claimed = (self.claimed or "").partition(";")[0].strip().lower()
        if claimed not in (TEXT, UNKNOWN) and _TOKEN.fullmatch(claimed) and _is_text(claimed):
            yield claimed
        extension = PurePosixPath(self.name or "").suffix.lower().removeprefix(".")
        if extension in _BY_EXTENSION:
            yield _BY_EXTENSION[extension]


def called(found: str, *words: Word) -> str:
    """Tell a file's media type from what its content says and what it is called.

    Content that is no text is what it is, whatever it is called; so is what reads as JSON, of
    which only a type that is JSON too may say more. Any other text is what the first of `words`
    says that names a kind of text, else what its content looks like. Of what a browser would run,
    only the client's own words are taken; else it is `text/plain`.

    Args:
        found: what `sniff` says.
        words: the weightiest first.
    """
    if not _is_text(found):
        return found
    for word in words:
        for named in word.types():
            fits = _JSON.fullmatch(named) or not _JSON.fullmatch(found)
            if fits and (word.own or not runs_in_browsers(named)):
                return named
    return TEXT if runs_in_browsers(found) else found


def _is_text(media_type: str) -> bool:
    return is_textual(media_type) or runs_in_browsers(media_type)
