"""Signed links whose answers say what a file is called, read by a server that checks them."""

from __future__ import annotations

from datetime import timedelta

import httpx
import obstore
import pytest

from app.api.download import disposition
from app.blobs.bucket import keys_of, store_of
from app.blobs.links import saying
from tests.s3 import KEY, SECRET, bucket_of, shared_s3, storage

MADE = {KEY: SECRET}


def link(key: str = "a b/é~'(1)*.bin") -> str:
    bucket = bucket_of(storage(shared_s3(), "s3://tests/links"))
    obstore.put(bucket, key, b"content")
    signed: str = obstore.sign(bucket, "GET", key, timedelta(seconds=60))
    return signed


@pytest.mark.parametrize("name", ["a.txt", "two words & more=é+%.tar.gz", "\U0001f600"])
def test_the_answer_says_what_it_is_told_to(name: str) -> None:
    said = {"content-disposition": disposition(name), "content-type": "text/x-mine; charset=utf-8"}
    answer = httpx.get(saying(link(), MADE, said))
    assert (answer.status_code, answer.content) == (200, b"content")
    assert {header: answer.headers[header] for header in said} == said
    part = httpx.get(saying(link(), MADE, said), headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"ont")


def test_nobody_else_makes_it_say_something() -> None:
    said = {"content-disposition": disposition("a.txt")}
    made = saying(link(), MADE, said)
    assert httpx.get(made.replace("a.txt", "b.exe")).status_code == 403
    assert httpx.get(saying(link(), {KEY: "wrong"}, said)).status_code == 403
    assert SECRET not in made


def test_what_a_role_has_signed_stays_as_it_is() -> None:
    for signed in (link(), "https://shop.blob.core.windows.net/box/x?sp=r&sig=abc"):
        assert saying(signed, {}, {"content-type": "text/plain"}) == signed


def test_keys_are_those_of_the_options_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its-secret")
    wanted = storage("http://127.0.0.1:9")
    assert keys_of(store_of(wanted)) == MADE
    bare = wanted.model_copy(update={"options": {"region": "us-east-1"}})
    assert keys_of(store_of(bare)) == {"of-the-environment": "its-secret"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert keys_of(store_of(bare)) == {}
