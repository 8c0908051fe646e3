"""Multipart bodies of very many parts: bounded in number, and read a few at a time."""

import asyncio

import httpx
import pytest

from app.api.ingest import MAX_FIELDS
from app.api.multipart import SLICE_BYTES, MultipartReader
from tests.api.answers import problem

KIND = "multipart/form-data; boundary=b"


def body(*heads, content=b"x"):
    parts = (
        b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (h, content) for h in heads
    )
    return b"".join([*parts, b"--b--\r\n"])


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [1000, 64 << 10, 1 << 20])
async def test_the_event_loop_has_its_turn_between_small_parts(at_once):
    sent = body(*(b'name="n%d"' % n for n in range(1000)))
    turns, going = 0, True

    async def others():
        nonlocal turns
        while going:
            turns += 1
            await asyncio.sleep(0)

    async def chunks():
        for start in range(0, len(sent), at_once):
            await asyncio.sleep(0)
            yield sent[start : start + at_once]

    running = asyncio.create_task(others())
    reader = MultipartReader(KIND, chunks())
    most, count, before = 0, 0, 0
    async for _ in reader.parts():
        count += 1
        if turns != before:
            most, count, before = max(most, count), 0, turns
    going = False
    await running
    assert 0 < max(most, count) <= SLICE_BYTES // 50


@pytest.mark.parametrize("head", [b'name="n"', b'name="f"; filename=""'])
def test_more_parts_than_a_form_has_are_refused(service, head):
    sent = body(*[head] * (MAX_FIELDS + 1))
    answer = httpx.post(f"{service.url}/v1/compress", content=sent, headers={"Content-Type": KIND})
    assert problem(answer, 422, "limit.items")["detail"].startswith(f"More than {MAX_FIELDS} ")
