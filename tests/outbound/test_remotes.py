"""Objects of buckets that the operator named, fetched through the guarded client."""

import base64
import random
import re

import obstore
import pytest
from obstore.store import S3Store

from app.errors import (
    FetchForbidden,
    FetchRedirectError,
    FetchStatusError,
    FetchUrlInvalid,
    InvalidParameter,
    RemoteUnknown,
)
from app.ops.fetch import FetchParams
from app.outbound.fetch import Fetcher, FetchSettings
from app.outbound.remotes import Remotes, read_remotes, remotes_of
from app.outbound.terms import Terms, Unchanged
from tests.s3 import KEY, SECRET, bucket_of, shared_s3, storage

pytestmark = pytest.mark.anyio

IN = "s3://tests/remote/in"
LOOPBACK = ["127.0.0.0/8"]
ODD = "a#b?c%20d e+é&=~'(x)*![y]{z}|^`.txt"
CONTENT = b"what is in it"
BIG = random.Random(3).randbytes(6 << 20)
ACCOUNT = base64.b64encode(b"k" * 32).decode()


def options(url, **more):
    return {
        "endpoint": url,
        "region": "us-east-1",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
    } | more


def remote(url, place=IN, **more):
    return {"url": place, "options": options(url), "allow_networks": LOOPBACK} | more


@pytest.fixture(scope="module")
def bucket():
    found = bucket_of(storage(shared_s3(), IN))
    obstore.put(found, ODD, CONTENT)
    obstore.put(found, "big.bin", BIG)
    obstore.put(bucket_of(storage(shared_s3(), "s3://tests/remote")), "inner", b"out of reach")
    assert isinstance(found, S3Store)
    return found


@pytest.fixture
async def fetch(anyio_backend, bucket, save):
    url = shared_s3()
    wrong = options(url, secret_access_key="not-the-secret")
    table = remotes_of(
        {
            "media": remote(url),
            "shop": remote(url, f"{IN}/shop", clients=["shop"]),
            "wrong": remote(url, "s3://tests/wrong", options=wrong),
            "closed": remote(url, "s3://tests/closed", allow_networks=[]),
        }
    )
    async with Fetcher(FetchSettings(timeout_s=20), Remotes(table)) as fetcher:

        async def fetch(url, headers=None, **terms):
            return await fetcher.fetch(url, FetchParams(), headers, save, Terms(**terms))

        fetch.fetcher = fetcher
        yield fetch


@pytest.mark.parametrize(("name", "content"), [(ODD, CONTENT), ("big.bin", BIG)])
async def test_an_object_is_fetched_by_its_name_as_it_is(fetch, name, content):
    fetched = await fetch(f"{IN}/{name}")
    assert fetched.body == content
    # Never what is signed: it opens the object for whoever sees it.
    assert fetched.facts["final_url"] == f"{IN}/{name}"
    assert fetched.facts["name"] == name
    assert "Signature" not in repr(fetched.facts)


async def test_only_what_is_newer_is_asked_for(fetch):
    known = (await fetch(f"{IN}/big.bin")).facts
    assert isinstance(await fetch(f"{IN}/big.bin", known=known), Unchanged)


@pytest.mark.parametrize(
    "url",
    [
        "s3://tests/remote/inner",
        "s3://tests/remote/input",
        "s3://tests/remote/in",
        "s3://other/in/x",
        "gs://tests/remote/in/x",
        "az://tests/x",
    ],
)
async def test_only_what_the_operator_named_is_reached(fetch, url):
    with pytest.raises(RemoteUnknown):
        await fetch(url)


async def test_a_remote_is_for_the_clients_that_it_names(fetch, bucket):
    obstore.put(bucket, "shop/x", b"the shop's")
    found = fetch.fetcher.remotes.find(f"{IN}/shop/x", "shop")
    assert found.remote.name == "shop"  # what covers most closely
    # The other one covers it too, and is everybody's.
    assert fetch.fetcher.remotes.find(f"{IN}/shop/x", "bank").remote.name == "media"
    with pytest.raises(RemoteUnknown):
        fetch.fetcher.remotes.named("shop", "bank")


@pytest.mark.parametrize(
    "name", ["", "/x", "x/", "a//b", ".", "../x", "a/../../x", "a\0", "x" * 1025]
)
async def test_a_name_leads_where_it_says(fetch, name):
    with pytest.raises(FetchUrlInvalid):
        await fetch(f"{IN}/{name}")


async def test_what_the_bucket_says_is_told(fetch):
    with pytest.raises(FetchStatusError) as missing:
        await fetch(f"{IN}/nothing")
    assert missing.value.detail == "The origin answered with status 404, NoSuchKey."
    assert missing.value.extra["bucket_code"] == "NoSuchKey"
    with pytest.raises(FetchStatusError) as refused:
        await fetch("s3://tests/wrong/x")
    assert refused.value.extra["http_status"] == 403


async def test_the_guard_stands_before_a_bucket_too(fetch):
    with pytest.raises(FetchForbidden):
        await fetch("s3://tests/closed/x")


async def test_a_client_adds_no_headers(fetch):
    with pytest.raises(InvalidParameter):
        await fetch(f"{IN}/big.bin", headers={"x-amz-request-payer": "requester"})


async def test_a_redirect_is_not_followed(origin, save):
    table = remotes_of({"media": remote(origin.url, "s3://bucket")})
    async with Fetcher(FetchSettings(), Remotes(table)) as fetcher:
        with pytest.raises(FetchRedirectError, match="region or endpoint"):
            await fetcher.fetch("s3://bucket/moved", FetchParams(), None, save)


async def test_google_and_azure_are_signed_for_as_well():
    table = remotes_of(
        {
            "azure": {
                "url": "az://box/in",
                "options": {"account_name": "shop", "account_key": ACCOUNT},
            }
        }
    )
    found = Remotes(table).find("az://box/in/a b", "")
    assert (await found.signed("PUT")).startswith(
        "https://shop.blob.core.windows.net/box/in/a%20b?"
    )
    assert found.put_headers == {"x-ms-blob-type": "BlockBlob"}
    assert remotes_of({"google": {"url": "gs://box"}})["google"].place == ("gs://box", "")


MISTAKES = {
    "[": "this is not JSON",
    "[]": "this is not a JSON object",
    '{"a b": {"url": "s3://bucket"}}': "a remote's name has",
    '{"a": {}}': "a.url: Field required",
    '{"a": {"url": "https://bucket"}}': "a.url: write s3://bucket/prefix",
    '{"a": {"url": "s3://bucket/../x"}}': "a.url: an object's name",
    '{"a": {"url": "s3://bucket/{x}"}}': "a.url: a prefix has no braces",
    '{"a": {"url": "s3://bucket", "secret": "S3CR3T"}}': "a.secret: Extra inputs",
    '{"a": {"url": "s3://bucket", "allow_networks": ["x"]}}': "a.allow_networks.0: Input is not",
    '{"a": {"url": "s3://bucket", "options": {"endpont": "S3CR3T"}}}': (
        "a.options: Configuration key: 'endpont' is not valid"
    ),
}


@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_told_without_a_secret(given):
    with pytest.raises(ValueError, match=f"^{re.escape(MISTAKES[given])}") as mistake:
        remotes_of(given)
    assert "S3CR3T" not in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_a_secret_is_not_shown():
    table = remotes_of({"a": remote("http://127.0.0.1:1")})
    assert SECRET not in repr(table) + repr(Remotes(table)) + table["a"].model_dump_json()


def test_a_file_may_have_them(tmp_path):
    path = tmp_path / "remotes.json"
    path.write_text('{"a": {"url": "s3://bucket/x/"}}')
    assert read_remotes(path)["a"].url == "s3://bucket/x"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"remotes\.json: this is not JSON"):
        read_remotes(path)
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_remotes(tmp_path / "none")
