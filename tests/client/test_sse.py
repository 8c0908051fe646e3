"""Events of a stream that is cut anywhere and taken up again: each is told, and once."""

import pytest
from offload.sse import Parser

TOLD = [b"event: item\r\ndata: a\r\nid: 1\r\n\r\n", b"id: 2\ndata: b\n\n", b"data: c\nid: 3\n\n"]


def stream_behind(last_id: str | None) -> bytes:
    return b": hello\n\n" + b"".join(TOLD[int(last_id or 0) :])


@pytest.mark.parametrize("cut", range(len(stream_behind(None)) + 1))
def test_each_event_is_told_once_wherever_the_stream_is_cut(cut):
    parser = Parser()
    told = [message.data for message in parser.feed(stream_behind(None)[:cut])]
    parser.begin()
    rest = stream_behind(parser.last_id)
    told += [
        message.data for place in range(len(rest)) for message in parser.feed(rest[place:][:1])
    ]
    assert told == ["a", "b", "c"]
    assert parser.last_id == "3"


def test_an_event_without_an_id_has_that_of_the_one_before_it():
    messages = list(Parser().feed(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\n"))
    assert [(message.data, message.id) for message in messages] == [
        ("a", "1"), ("b", "1"), ("c", "2"),
    ]  # fmt: skip
