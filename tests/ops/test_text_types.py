"""What a file is called to those who download it: name by claim by content."""

import gzip
import io
import zipfile

import pytest

from app.ops.decompress import DecompressParams, decompress
from app.ops.extract import ExtractParams, extract
from app.ops.media_type import sniff
from app.ops.text_types import Word, called, runs_in_browsers

PROSE = b"Some words, and some more.\n"
CSS = b"/* ours */\nbody > a { color: red }\n"
TABLE = b"name;sum\nStra\xdfe;1\nWeg;2\n"  # Latin-1, as spreadsheets export it
SCRIPT = b"(function () { alert(1) })()\n"
HTML = b"<!DOCTYPE html><script>alert(1)</script>"
XML = b'<?xml version="1.0"?><a/>'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
JSON = b'{"a": 1}'
LINES = b'{"a": 1}\n{"a": 2}\n'
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
NOISE = b"\x8f\x01\xfe\x90" * 50

CASES = [
    # Content is no text: neither name nor claim says anything.
    (PDF, "a.css", "text/css", "application/pdf", "application/pdf"),
    (PDF, "a.html", "text/html", "application/pdf", "application/pdf"),
    (NOISE, "a.js", "text/javascript", "application/octet-stream", "application/octet-stream"),
    # Text that nobody calls anything.
    (PROSE, "", None, "text/plain", "text/plain"),
    (CSS, "upload", "application/octet-stream", "text/plain", "text/plain"),
    (PROSE, "a", "application/x-www-form-urlencoded", "text/plain", "text/plain"),
    (PROSE, "a", "image/png", "text/plain", "text/plain"),
    (PROSE, "a", "no media type", "text/plain", "text/plain"),
    # By name.
    (CSS, "site.CSS", None, "text/css", "text/css"),
    (CSS, "a.css", "text/plain; charset=utf-8", "text/css", "text/css"),
    (TABLE, "a.csv", None, "text/csv", "text/csv"),
    (PROSE, "README.md", "application/octet-stream", "text/markdown", "text/markdown"),
    (PROSE, "a.tar.md", None, "text/markdown", "text/markdown"),
    (b"12", "a.json", None, "application/json", "application/json"),
    (b'\xef\xbb\xbf{"a": 1}', "a.json", None, "application/json", "application/json"),
    (b"a: 1\n", "a.yml", None, "application/yaml", "application/yaml"),
    (b"WEBVTT\n", "a.vtt", None, "text/vtt", "text/vtt"),
    (PROSE, "a.unheard-of", None, "text/plain", "text/plain"),
    # By claim, which goes before the name.
    (CSS, "a", "text/css", "text/css", "text/css"),
    (CSS, "a.txt", "Text/CSS; charset=utf-8", "text/css", "text/css"),
    (TABLE, "a.css", "text/csv; header=present", "text/csv", "text/csv"),
    (PROSE, "a", "text/x-ours", "text/x-ours", "text/x-ours"),
    # JSON shows that it is JSON; only what is JSON too says more.
    (JSON, "a", None, "application/json", "application/json"),
    (JSON, "a.css", "text/css", "application/json", "application/json"),
    (JSON, "a.html", "text/html", "application/json", "application/json"),
    (JSON, "a.geojson", None, "application/geo+json", "application/geo+json"),
    (JSON, "a", "application/ld+json", "application/ld+json", "application/ld+json"),
    (LINES, "a.txt", None, "application/x-ndjson", "application/x-ndjson"),
    (JSON, "a.jsonl", None, "application/x-ndjson", "application/x-ndjson"),
    # What a browser would run: on the client's own word, whatever content shows.
    (SCRIPT, "a.js", None, "text/javascript", "text/plain"),
    (SCRIPT, "a", "application/javascript", "application/javascript", "text/plain"),
    (SCRIPT, "a", None, "text/plain", "text/plain"),
    (PROSE, "a.mjs", "text/plain", "text/javascript", "text/plain"),
    (HTML, "a.html", None, "text/html", "text/plain"),
    (HTML, "a", "text/html; charset=utf-8", "text/html", "text/plain"),
    (HTML, "a.txt", None, "text/plain", "text/plain"),
    (HTML, "a.css", "text/plain", "text/css", "text/css"),
    (HTML, "upload", None, "text/plain", "text/plain"),
    (HTML, "a.png", "image/png", "text/plain", "text/plain"),
    (SVG, "a.svg", None, "image/svg+xml", "text/plain"),
    (SVG, "a", "image/svg+xml", "image/svg+xml", "text/plain"),
    (SVG, "a.png", "image/png", "text/plain", "text/plain"),
    (PROSE, "a.svg", "image/svg+xml", "image/svg+xml", "text/plain"),
    (XML, "feed.xml", None, "text/xml", "text/plain"),
    (XML, "feed", "application/rss+xml", "application/rss+xml", "text/plain"),
    (XML, "feed", None, "text/plain", "text/plain"),
    (PROSE, "a.xhtml", None, "application/xhtml+xml", "text/plain"),
]


@pytest.mark.parametrize(("content", "name", "claimed", "own", "strangers"), CASES)
def test_name_claim_and_content_decide_together(content, name, claimed, own, strangers):
    found = sniff(content)
    assert called(found, Word(name, claimed, own=True)) == own
    assert called(found, Word(name, claimed)) == strangers


@pytest.mark.parametrize("content", [PROSE, CSS, SCRIPT, HTML, XML, SVG, JSON, PDF, NOISE, b""])
@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.js", "a.xml", "a.xhtml", "a.rss"])
@pytest.mark.parametrize(
    "claimed",
    [None, "text/html", "image/svg+xml", "application/xslt+xml", "application/x-javascript"],
)
def test_nothing_that_a_browser_runs_comes_of_a_strangers_word(content, name, claimed):
    assert not runs_in_browsers(called(sniff(content), Word(name, claimed)))


def test_the_clients_own_word_goes_before_the_origins():
    origin = Word("a.css", "text/css")
    assert called("text/plain", Word("a.csv", own=True), origin) == "text/csv"
    assert called("text/plain", Word("a", own=True), origin) == "text/css"
    assert called("text/plain", Word(None, own=True), origin) == "text/css"


def test_members_of_an_archive_are_called_by_their_names(make_work):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("site/a.css", "b.csv", "c.js", "d.html", "e.json"):
            archive.writestr(name, HTML if name == "d.html" else PROSE)
    result = extract(make_work(packed.getvalue()), ExtractParams())
    assert [output.media_type for output in result.outputs] == [
        "text/css",
        "text/csv",
        "text/plain",
        "text/plain",
        "application/json",
    ]


def test_what_was_compressed_is_called_by_the_name_that_is_left(make_work):
    for content, name, media_type in (
        (CSS, "site.css.gz", "text/css"),
        (HTML, "a.html.gz", "text/plain"),
    ):
        result = decompress(make_work(gzip.compress(content), name), DecompressParams())
        assert result.outputs[0].media_type == media_type
