import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidParameter
from app.outbound.headers import MAX_HEADERS, MAX_NAME_CHARS, checked, file_name, media_type

URL = httpx.URL("http://a.test/")


def name(disposition, url="http://a.test/"):
    headers = {} if disposition is None else {"content-disposition": disposition.encode()}
    return file_name(httpx.Headers(headers), httpx.URL(url))


def test_ordinary_headers_are_sent_as_given():
    given_headers = {"Authorization": "Bearer a.b-c", "X-Empty": "", "Cookie": "a=1; b=2"}
    assert checked(given_headers) == given_headers
    assert checked(None) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"Host": "internal"},
        {"HOST": "internal"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "close"},
        {"Upgrade": "h2c"},
        {"Expect": "100-continue"},
        {"Accept-Encoding": "gzip"},
        {"Range": "bytes=0-1"},
        {"Proxy-Authorization": "Basic x"},
        {"X": "secret\r\nHost: internal"},
        {"X": "secret\n"},
        {"X": "secret\x00"},
        {"X": " secret"},
        {"X": "secret\xe9"},
        {"X": "secret" * 2000},
        {"": "secret"},
        {"X Y": "secret"},
        {"X:": "secret"},
        {"X\r\nY": "secret"},
        {"X\n": "secret"},
        {"Host ": "secret"},
        {f"X-{number}": "" for number in range(MAX_HEADERS + 1)},
    ],
)
def test_a_header_that_would_change_the_message_is_refused_without_repeating_it(bad):
    with pytest.raises(InvalidParameter) as refusal:
        checked(bad)
    assert "secret" not in refusal.value.detail + refusal.value.log_detail


@pytest.mark.parametrize(
    ("disposition", "url", "expected"),
    [
        (None, "http://a.test/", None),
        (None, "http://a.test/a/b.png?c=d.gif", "b.png"),
        (None, "http://a.test/a%20b%2fc.png", "c.png"),
        (None, "http://a.test/%2e%2e", None),
        (None, "http://a.test/a/", None),
        ("attachment; filename=a.txt", "http://a.test/b", "a.txt"),
        ('attachment; filename="a b.txt"', "http://a.test/b", "a b.txt"),
        ("attachment; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt", "http://a.test/", "€.txt"),
        ('attachment; filename="../../etc/passwd"', "http://a.test/", "passwd"),
        ('attachment; filename="C:\\\\Windows\\\\x.dll"', "http://a.test/", "x.dll"),
        ('attachment; filename="a\u202etxt.exe"', "http://a.test/", "atxt.exe"),
        ("attachment; filename*=UTF-8''a%00%0d%0ab", "http://a.test/", "ab"),
        ("attachment; filename*=no-such-charset''x", "http://a.test/", "x"),
        ('attachment; filename=".."', "http://a.test/b", "b"),
        ("inline", "http://a.test/b", "b"),
        (";;;=", "http://a.test/b", "b"),
    ],
)
def test_a_name_is_one_plain_segment(disposition, url, expected):
    assert name(disposition, url) == expected


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"])))
def test_no_disposition_breaks_the_reader(text):
    for disposition in (text, f"attachment; filename={text}", f"attachment; filename*={text}"):
        found = name(disposition)
        assert found is None or (found.isprintable() or " " in found or not found.isascii())
        assert found is None or (len(found) <= MAX_NAME_CHARS and not set(found) & set("/\\\r\n\0"))


@given(
    st.from_regex(r'(attachment|inline); ?filename=("[\w .-]{0,9}"?|[\w. -]{0,9})', fullmatch=True)
)
def test_a_plain_disposition_is_read_as_any_other(text):
    # With a space more, no shorter way is taken.
    assert name(text) == name(text.replace(";", " ;", 1))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("text/html; charset=utf-8", "text/html"),
        ("Image/SVG+XML", "image/svg+xml"),
        ("", None),
        ("html", None),
        ("text/html, text/plain", None),
        ("text/<script>", None),
    ],
)
def test_a_media_type_is_one_or_none(header, expected):
    assert media_type(httpx.Headers({"content-type": header})) == expected
