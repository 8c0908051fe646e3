"""The stream of a job's events, as a client of `EventSource` reads it."""

import json
from itertools import islice

import pytest

from tests.api.answers import done


def events(http, path, last_id=None):
    """Give the events of one stream as (name, id, document)."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with http.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-cache"
        fields = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif fields and not line:
                yield fields["event"], fields.get("id"), json.loads(fields["data"])
                fields = {}


@pytest.fixture
def many(http, origin):
    """A finished job of 40 items, every fourth failed."""
    urls = [f"{origin}/{n}" if n % 4 else f"{origin}/none" for n in range(40)]
    return done(http.post("/v1/fetch?wait=20", json={"urls": urls}), "partial")


def test_items_are_told_as_they_complete_and_the_last_event_is_the_end(http, hostile):
    urls = [f"{hostile.url}/held", f"{hostile.url}/ok", f"{hostile.url}/404"]
    path = http.post("/v1/fetch", json={"urls": urls}).json()["links"]["events"]
    told = []
    stream = events(http, path)
    while sum(name == "item" for name, _, _ in told) < 2:
        told.append(next(stream))
    assert not any(document["done"] for name, _, document in told if name == "job")
    hostile.let_go()
    told += stream
    items = [(id_, item["index"], item["status"]) for name, id_, item in told if name == "item"]
    assert {index: status for _, index, status in items} == {
        0: "succeeded", 1: "succeeded", 2: "failed",
    }  # fmt: skip
    assert items[-1][1] == 0
    assert len({id_ for id_, _, _ in items}) == 3
    name, id_, job = told[-1]
    assert (name, id_, job["done"], job["status"]) == ("job", None, True, "partial")


def test_a_finished_job_is_told_from_the_beginning(http, many):
    told = list(events(http, many["links"]["events"]))
    assert [name for name, _, _ in told] == ["item"] * 40 + ["job"]
    assert sorted(item["index"] for _, _, item in told[:-1]) == list(range(40))
    shown = http.get(many["links"]["items"]).json()["items"]
    assert {item["index"]: item for _, _, item in told[:-1]} == {i["index"]: i for i in shown}


@pytest.mark.parametrize("seen", [1, 7, 39])
def test_a_resumed_stream_misses_none_and_repeats_none(http, many, seen):
    path = many["links"]["events"]
    before = list(islice(events(http, path), seen))
    after = list(events(http, path, last_id=before[-1][1]))
    assert [event for event in before + after if event[0] == "item"] == [
        event for event in events(http, path) if event[0] == "item"
    ]
    assert after[-1][2]["done"]


def test_a_stream_resumed_while_the_job_runs_goes_on_where_it_was(http, hostile):
    urls = [f"{hostile.url}/held", *[f"{hostile.url}/ok"] * 3, f"{hostile.url}/held"]
    path = http.post("/v1/fetch", json={"urls": urls}).json()["links"]["events"]
    stream = (event for event in events(http, path) if event[0] == "item")
    before = list(islice(stream, 2))
    stream.close()
    hostile.let_go()
    after = [e for e in events(http, path, last_id=before[-1][1]) if e[0] == "item"]
    assert sorted(item["index"] for _, _, item in before + after) == [0, 1, 2, 3, 4]


def test_when_all_was_told_there_is_no_need_to_come_back(http, many):
    *_, (_, last_id, _), _end = events(http, many["links"]["events"])
    response = http.get(many["links"]["events"], headers={"Last-Event-ID": last_id})
    assert (response.status_code, response.content) == (204, b"")


def test_the_stream_of_a_canceled_job_tells_of_every_item_and_ends(http, held_job):
    stream = events(http, held_job["links"]["events"])
    assert next(stream)[2]["done"] is False
    assert http.post(held_job["links"]["cancel"]).status_code == 200
    *_, first, second, end = stream
    assert [event[2]["status"] for event in (first, second)] == ["canceled"] * 2
    assert first[1] != second[1]
    assert (end[0], end[2]["status"], end[2]["done"]) == ("job", "canceled", True)


def test_the_stream_of_a_deleted_job_ends(http, held_job):
    stream = events(http, held_job["links"]["events"])
    next(stream)
    assert http.delete(held_job["links"]["self"]).status_code == 204
    assert not [document for name, _, document in stream if name == "job" and document["done"]]
