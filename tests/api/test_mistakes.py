"""What people get wrong, each with the very sentence that it is answered with: `mistakes.txt`.

A row is a request, a line with its body, and a line with the answer: status, code and `detail`. A
body is `raw` (sent as it stands, without a Content-Type), `json`, `urlencoded` (as `curl -d` sends
anything), or `form`: multipart as `curl -F` makes it. Without that line there is none.
"""

import http.client
import itertools
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.answers import problem

TYPES = {"json": "application/json", "urlencoded": "application/x-www-form-urlencoded"}


def rows():
    text = Path(__file__).with_name("mistakes.txt").read_text()
    for row in text.strip().split("\n\n"):
        request, *body, answer = row.split("\n")
        status, code, sentence = answer.strip().split(" ", 2)
        yield request, *(body or [""]), int(status), code, sentence


def form_of(parts):
    """Give what `curl -F` would make of these parts; files have other content than their name."""
    files, fields = [], {}
    for part in parts.split():
        name, _, value = part.partition("=")
        if value.startswith("@"):
            files.append((name, (value[1:], b"content")))
        else:
            fields[name] = (None, value)
    return {"files": [*files, *fields.items()]}


def ask(client, method, url, body):
    kind, _, content = body.strip().partition(" ")
    if kind == "form":
        return client.request(method, url, **form_of(content))
    if kind:
        headers = {"Content-Type": TYPES[kind]} if kind in TYPES else {}
        return client.request(method, url, content=content.encode(), headers=headers)
    # httpx tells of a body of no bytes, where curl and browsers tell of none.
    address = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.putrequest(method, url)
    connection.endheaders()
    answer = connection.getresponse()
    told = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    connection.close()
    return told


ROWS = list(rows())


@pytest.mark.parametrize(
    ("request_line", "body", "status", "code", "sentence"),
    ROWS,
    ids=[" ".join(row[:2]) for row in ROWS],
)
def test_a_mistake_is_answered_with_a_sentence_that_helps(
    http, request_line, body, status, code, sentence
):
    method, url = request_line.split(" ")
    found = problem(ask(http, method, url, body), status, code)
    assert found["detail"] == sentence


def test_there_are_many_of_them_and_no_two_are_one():
    assert len(ROWS) >= 50
    assert len({row[:2] for row in ROWS}) == len(ROWS)
    doors = {url.split("?")[0] for url, *_ in itertools.chain(ROWS)}
    assert len(doors) > 15
