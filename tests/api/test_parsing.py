"""Documents from outside: what they are read as, and what reading them may cost."""

import json

import pytest
from pydantic import BaseModel, ConfigDict, Field

from app.api import documents
from app.api.documents import parse
from app.api.inputs import DoorInput, JobInput
from app.api.problems import MAX_ERRORS
from app.errors import EmptyBody, InvalidParameter, MalformedBody, OffloadError, TooManyItems
from app.ops.jsontext import MAX_CHARACTERS
from tests.api.answers import problem

MIB = 1 << 20
BOM = b"\xef\xbb\xbf"
JSON = "application/json"
A_FILE = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n'


class Box(BaseModel):
    """Something with every kind of member."""

    model_config = ConfigDict(extra="allow")

    names: list[str] = []
    few: list[int] = Field(default=[], max_length=3)
    metadata: dict[str, object] = {}
    size: int = 0


def both_ways(document, **how):
    """Read a document as the small one that it is, and as a large one."""
    text = document.encode() if isinstance(document, str) else document
    spaces = b" " * 40_000
    outcomes = []
    ways = [text, [text[:5], text[5:]], [text, spaces]]
    if not text.startswith(BOM):
        ways.append([spaces, text])
    for given in ways:
        try:
            outcomes.append(parse(Box, given, **how))
        except OffloadError as error:
            outcomes.append((type(error), error.extra.get("errors")))
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    return outcomes[0]


def test_a_document_is_the_same_however_large_it_is():
    said = {
        "names": ["", "ü€𝄞", "\\", '"', "a" * 1000],
        "few": [1, 2, 3],
        "metadata": {"a": [{"b": None}, 1.5, -3, True, "\U0001f600"]},
        "size": 2**40,
        "more": {"deep": [[[]]]},
    }
    for ascii_only in (True, False):
        for indent in (None, 2):
            text = json.dumps(said, ensure_ascii=ascii_only, indent=indent)
            read = both_ways(text)
            assert read.model_dump() == said
            assert both_ways(BOM + text.encode()) == read


def test_of_members_with_one_name_the_last_one_counts():
    assert both_ways('{"names": ["a"], "size": 1, "names": ["b"], "size": 2}').names == ["b"]
    assert both_ways('{"names": 5, "names": ["b"]}').names == ["b"]


@pytest.mark.parametrize(
    "text",
    [
        b"nope", b"{", b"{}{}", b"{} x", b"[1,]", b'{"a"}', b'{"a":}', b'{"a":1,}',
        b'{"names":[,]}', b'{"names":["a"', b'{"names":["a",]}', b'{"names":["a" "b"]}',
        b'{"a":01}',
        b'{"a":+1}', b'{"a":.5}', b'{"a":1.}', b'{"a":"\t"}', b'{"a":"\\x"}', b'{"a":"\\u12"}',
        b"{'a':1}", b"{a:1}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}',
        b'{"a":-1e999}', b'{"a":%s}' % (b"9" * 21), b'{"a":"\\ud800"}', b'{"\\udfff":1}',
        b'{"names":["\\ud800x"]}', b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"names":["\xc3"]}',
        b'{"a":%s%s}' % (b"[" * 66, b"]" * 66), b'{"a":%s' % (b"[" * 5000), b"\xff\xfe{\x00}\x00",
        b'{"a":tru}', b'{"a":1}\x00',
    ],
)  # fmt: skip
def test_what_is_no_json_that_everybody_reads_is_malformed(text):
    kind, _ = both_ways(text)
    assert kind is MalformedBody


@pytest.mark.parametrize("text", ["", " \r\n\t "])
def test_a_document_that_was_announced_is_there(text):
    assert both_ways(text)[0] is EmptyBody


@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"', "true"])
def test_a_document_is_an_object(text):
    assert both_ways(text)[0] is InvalidParameter


@pytest.mark.parametrize(
    ("text", "loc"),
    [
        ('{"names": ["a", 5]}', ["names", 1]),
        ('{"names": [%s5]}' % ('"a",' * 300), ["names", 300]),
        ('{"few": [1, 2, "x"]}', ["few", 2]),
        ('{"size": "x"}', ["size"]),
        ('{"names": "x"}', ["names"]),
        ('{"names": {"0": "x"}}', ["names"]),
    ],
)
def test_what_does_not_fit_is_located(text, loc):
    kind, errors = both_ways(text)
    assert kind is InvalidParameter
    assert [error["loc"] for error in errors] == [loc]


def test_a_list_is_as_long_as_it_may_be():
    names = ["a" * n for n in range(100)] * 10
    large = json.dumps({"names": names, "few": [1, 2, 3]}).encode()
    assert parse(Box, large, max_items=1000).names == names
    with pytest.raises(TooManyItems) as found:
        parse(Box, large, max_items=999)
    assert found.value.extra["max_items"] == 999
    with pytest.raises(TooManyItems):
        parse(Box, json.dumps({"names": names, "few": [1, 2, 3, 4]}))


def test_no_value_is_longer_than_one_may_be():
    longest = "x" * (MAX_CHARACTERS - 2)
    text = json.dumps({"names": ["a", longest], "more": longest})
    assert parse(Box, text).names[1] == longest
    for document in ({"names": ["a", longest + "x"]}, {"more": longest + "x"}):
        with pytest.raises(InvalidParameter, match="longer than"):
            parse(Box, json.dumps(document))


# What 16 MB can be filled with: before and after, and what is repeated between.
FILLS = {
    "numbers in urls": ("/v1/fetch", b'{"urls":[', b"1,", b"1]}"),
    "strings in urls": ("/v1/fetch", b'{"urls":[', b'"a",', b'"a"]}'),
    "objects in urls": ("/v1/fetch", b'{"urls":[', b'{"a":1},', b"1]}"),
    "lists in urls": ("/v1/fetch", b'{"urls":[', b"[],", b"1]}"),
    "numbers in a URL": ("/v1/fetch", b'{"urls":[[', b"1,", b"1]]}"),
    "strings in file_ids": ("/v1/compress", b'{"file_ids":[', b'"a",', b'"a"]}'),
    "objects in items": ("/v1/jobs", b'{"items":[', b'{"a":1},', b"1]}"),
    "keys in an item": ("/v1/jobs", b'{"items":[{', b'"a":1,', b'"a":1}]}'),
    "objects in steps": ("/v1/jobs", b'{"steps":[', b'{"op":1},', b"1]}"),
    "depth in metadata": ("/v1/fetch", b'{"metadata":{"a":', b"[", b""),
    "depth at once": ("/v1/fetch", b"", b"[", b""),
    "lists in metadata": ("/v1/fetch", b'{"metadata":{"a":[', b"[],", b"1]}}"),
    "keys": ("/v1/fetch", b"{", b'"a":1,', b'"a":1}'),
    "keys of a job": ("/v1/jobs", b"{", b'"a":1,', b'"a":1}'),
    "one string": ("/v1/fetch", b'{"urls":["', b"x", b'"]}'),
    "one key": ("/v1/fetch", b'{"', b"x", b'":1}'),
    "one number": ("/v1/fetch", b'{"max_bytes":', b"1", b"}"),
    "white space": ("/v1/fetch", b"", b" ", b"1"),
    "numbers in accept_types": ("/v1/fetch", b'{"accept_types":[', b"1,", b"1]}"),
    "objects in variants": ("/v1/images", b'{"variants":[', b'{"a":1},', b"1]}"),
    "numbers in an endpoint": ("/v1/webhooks/test", b'{"events":[', b"1,", b"1]}"),
}


@pytest.mark.parametrize("case", FILLS)
def test_large_documents_of_nothing_get_small_answers(http, case):
    path, before, unit, after = FILLS[case]
    body = before + unit * ((8 * MIB - 100) // len(unit)) + after
    response = http.post(path, content=body, headers={"Content-Type": JSON})
    assert response.status_code in (400, 413, 422)
    assert len(response.content) < 4_000
    found = problem(response, response.status_code, response.json()["code"])
    assert len(found.get("errors", [])) <= MAX_ERRORS


@pytest.mark.parametrize("case", [case for case in FILLS if FILLS[case][0] == "/v1/jobs"])
def test_so_do_large_fields_of_a_form(http, case):
    _, before, unit, after = FILLS[case]
    document = before + unit * ((MIB - 100) // len(unit)) + after
    job = b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n' + document + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = http.post("/v1/jobs", content=A_FILE + job, headers=headers)
    assert response.status_code in (400, 422)
    assert len(response.content) < 4_000


def test_twenty_errors_are_told_and_the_others_counted(http):
    given = {"urls": [1] * 500}
    found = problem(http.post("/v1/fetch", json=given), 422, "input.invalid")
    assert len(found["errors"]) == MAX_ERRORS
    assert found["more_errors"] > 0
    given = {"urls": ["http://a/"]} | {f"unknown{n}": 1 for n in range(100)}
    found = problem(http.post("/v1/fetch", json=given), 422, "input.invalid")
    assert len(found["errors"]) == MAX_ERRORS
    assert found["more_errors"] == 100 - MAX_ERRORS


def test_names_from_outside_are_cut(http):
    given = {"urls": ["http://a/"], "x" * 50_000: 1}
    response = http.post("/v1/fetch", json=given)
    problem(response, 422, "input.invalid")
    assert len(response.content) < 2_000


@pytest.mark.parametrize("model", [DoorInput, JobInput])
def test_no_piece_is_larger_than_one_value_may_be(monkeypatch, model):
    """Whatever a document holds: this is what keeps the event loop and the memory free."""
    largest = 0
    read = documents.value_at

    def watched(text, *where):
        nonlocal largest
        largest = max(largest, len(text))
        return read(text, *where)

    monkeypatch.setattr(documents, "value_at", watched)
    for _, before, unit, after in FILLS.values():
        body = before + unit * (MIB // len(unit)) + after
        with pytest.raises(OffloadError):
            parse(model, body)
    assert 0 < largest < 2 * MAX_CHARACTERS
