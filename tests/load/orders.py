"""What clients ask for under load: one of each kind, from a seed, with what has to come of it."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from PIL import Image

from tests.load.world import World, page

Then = Literal["nothing", "cancel", "retry", "delete"]


@dataclass(frozen=True)
class Want:
    """What has to come of an item: its one result, or the code that it fails with."""

    value: Any = None
    decode: Callable[[bytes], Any] = bytes
    code: str | None = None


@dataclass
class Order:
    """One job that a client wants, and how far the client knows it to be."""

    tag: str
    path: str
    request: dict[str, Any]
    """Arguments of `httpx.Client.post`."""
    want: list[Want]
    then: Then = "nothing"
    key: str | None = None
    """The Idempotency-Key; None where the client sends no request twice."""
    hook: bool = False
    """Whether its events are told to the world."""
    put: str | None = None
    """The path to which its one result is put."""
    flaky: str | None = None
    """The page that is missing until the client has seen it fail."""
    sent: bool = False
    """Whether the client has asked for it, heard or not."""
    job_id: str | None = None
    followed: bool = False
    """Whether what is to follow was acknowledged."""
    tried: bool = False
    """Whether the client has asked for what is to follow, heard or not."""
    given_up: bool = False
    retried: bool = False
    told: list[tuple[str, int]] = field(default_factory=list)
    """The ids and indexes of `item` events, as its event stream has told them."""

    @property
    def acknowledged(self) -> bool:
        return self.job_id is not None


class Orders:
    """An endless mix. The same seed gives the same orders."""

    def __init__(self, seed: str, world: World, file_ids: list[str]) -> None:
        """Take the ids of stored files; the n-th holds `stored_text(n)`."""
        self._rng = random.Random(seed)
        self._seed = seed
        self._world = world
        self._file_ids = file_ids
        self._made = 0

    def next(self) -> Order:
        rng = self._rng
        self._made += 1
        [make] = rng.choices([make for make, _ in KINDS], [weight for _, weight in KINDS])
        order = make(self, f"{self._seed}-{self._made}")
        order.request.setdefault("params", {})["tag"] = order.tag
        # Who sends a request again has to know whether it was heard.
        if order.then != "nothing" or rng.random() < 0.7:
            order.key = f"key-{order.tag}"
            order.request.setdefault("headers", {})["Idempotency-Key"] = order.key
        return order

    # -- kinds -------------------------------------------------------------------------------

    def small(self, tag: str) -> Order:
        body = self._text(self._rng.randint(1, 4_000))
        return Order(tag, "/v1/compress", {"content": body}, [Want(body, gzip.decompress)])

    def files(self, tag: str) -> Order:
        bodies = [self._text(self._rng.randint(100, 3_000)) for _ in range(12)]
        files = [("file", (f"{n}.txt", body)) for n, body in enumerate(bodies)]
        want = [Want(body, gzip.decompress) for body in bodies]
        return Order(tag, "/v1/compress", {"files": files}, want)

    def large(self, tag: str) -> Order:
        body = self._text(self._rng.choice([66_000, 300_000, 1_500_000]))
        request = {"content": body, "params": {"level": "fast"}}
        return Order(tag, "/v1/compress", request, [Want(body, gzip.decompress)])

    def picture(self, tag: str) -> Order:
        request = {"files": {"file": ("p.jpg", picture())}, "params": {"width": 60, "height": 60}}
        return Order(tag, "/v1/images", request, [Want((60, 45), _size)])

    def urls(self, tag: str) -> Order:
        numbers = self._numbers(15)
        urls = [self._url(n) for n in numbers]
        urls += [urls[0], f"{self._world.url}/missing/1"]
        want = [Want(page(n)) for n in [*numbers, numbers[0]]] + [Want(code="fetch.status")]
        asked = {"urls": urls, "webhook": self._webhook(), "dedupe": self._rng.random() < 0.5}
        return Order(tag, "/v1/fetch", {"json": asked}, want, hook=True)

    def lines(self, tag: str) -> Order:
        numbers = self._numbers(60)
        body = "".join(f'"{self._url(n)}"\n' for n in numbers).encode()
        headers = {"Content-Type": "application/x-ndjson"}
        request = {"content": body, "headers": headers, "params": {"concurrency": 8}}
        return Order(tag, "/v1/fetch", request, [Want(page(n)) for n in numbers])

    def fetched_and_compressed(self, tag: str) -> Order:
        numbers = self._numbers(5)
        steps = [{"op": "fetch"}, {"op": "compress"}]
        asked = {"items": [{"url": self._url(n)} for n in numbers], "steps": steps}
        want = [Want(page(n), gzip.decompress) for n in numbers]
        return Order(tag, "/v1/jobs", {"json": asked}, want)

    def packed(self, tag: str) -> Order:
        bodies = [self._text(self._rng.randint(100, 3_000)) for _ in range(5)]
        files = [("file", (f"{n}.txt", body)) for n, body in enumerate(bodies)]
        whole = {f"{n}.txt": body for n, body in enumerate(bodies)}
        want = [*map(Want, bodies), Want(whole, _members)]
        request = {"files": files, "params": {"format": "zip"}}
        return Order(tag, "/v1/archive", request, want)

    def fetched_and_packed(self, tag: str) -> Order:
        numbers = self._numbers(4)
        names = [f"{n}.txt" for n in range(len(numbers))]
        items = [{"url": self._url(n), "filename": f} for n, f in zip(numbers, names, strict=True)]
        whole = dict(zip(names, map(page, numbers), strict=True))
        steps = [{"op": "fetch"}, {"op": "archive", "format": "zip"}]
        asked = {"items": items, "steps": steps, "webhook": self._webhook()}
        want = [*(Want(page(n)) for n in numbers), Want(whole, _members)]
        return Order(tag, "/v1/jobs", {"json": asked}, want, hook=True)

    def stored_and_put(self, tag: str) -> Order:
        number = self._rng.randrange(len(self._file_ids))
        put = f"/put/{tag}"
        asked = {
            "file_ids": [self._file_ids[number]],
            "webhook": self._webhook(),
            "store": {"put_url": self._world.url + put},
        }
        want = [Want(stored_text(number), gzip.decompress)]
        return Order(tag, "/v1/compress", {"json": asked}, want, hook=True, put=put)

    def canceled(self, tag: str) -> Order:
        bodies = [self._text(120_000) for _ in range(8)]
        files = [("file", (f"{n}.txt", body)) for n, body in enumerate(bodies)]
        request = {"files": files, "params": {"level": "best"}}
        want = [Want(body, gzip.decompress) for body in bodies]
        return Order(tag, "/v1/compress", request, want, then="cancel")

    def retried(self, tag: str) -> Order:
        flaky = f"/flaky/{self._rng.randrange(1, 10**6)}{self._made:06}"
        numbers = self._numbers(3)
        urls = [*map(self._url, numbers), self._world.url + flaky]
        want = [*(Want(page(n)) for n in numbers), Want(page(int(flaky.rpartition("/")[2])))]
        request = {"json": {"urls": urls}}
        return Order(tag, "/v1/fetch", request, want, then="retry", flaky=flaky)

    def deleted(self, tag: str) -> Order:
        order = self._rng.choice([Orders.files, Orders.lines, Orders.packed, Orders.large])(
            self, tag
        )
        order.then = "delete"
        return order

    # -- parts -------------------------------------------------------------------------------

    def _text(self, size_bytes: int) -> bytes:
        """Give bytes that nobody else has, and that compress somewhat."""
        words = self._rng.choices([b"alpha", b"beta", b"gamma", b"%x" % self._rng.getrandbits(64)],
                                  k=size_bytes // 5 + 1)  # fmt: skip
        return b" ".join(words)[:size_bytes]

    def _numbers(self, count: int) -> list[int]:
        return self._rng.sample(range(500), count)

    def _url(self, number: int) -> str:
        return f"{self._world.url}/page/{number}"

    def _webhook(self) -> dict[str, Any]:
        events = ["item.succeeded", "item.failed", "push.succeeded", "job.succeeded"]
        events += ["job.partial", "job.failed"]
        return {"url": f"{self._world.url}/hook", "events": events}


KINDS = [
    (Orders.small, 6),
    (Orders.files, 2),
    (Orders.large, 3),
    (Orders.picture, 2),
    (Orders.urls, 3),
    (Orders.lines, 2),
    (Orders.fetched_and_compressed, 2),
    (Orders.packed, 2),
    (Orders.fetched_and_packed, 2),
    (Orders.stored_and_put, 3),
    (Orders.canceled, 2),
    (Orders.retried, 2),
    (Orders.deleted, 2),
]


def stored_text(number: int) -> bytes:
    """Give the content of the n-th file that is stored before the load begins."""
    return b"stored %d " % number * (50 if number % 2 else 20_000)


@cache
def picture() -> bytes:
    """Give a small JPEG with detail."""
    out = io.BytesIO()
    noise = random.Random(5).randbytes(400 * 300 * 3)
    Image.frombytes("RGB", (400, 300), noise).save(out, "JPEG")
    return out.getvalue()


def _size(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def said(events: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """Read a stream of server-sent events: id, name and data of each that arrived whole."""
    found = []
    for block in events.split("\n\n")[:-1]:
        members = dict(
            line.split(": ", 1) for line in block.split("\n") if line[:1] not in ("", ":")
        )
        if "data" in members:
            found.append((members.get("id"), members["event"], json.loads(members["data"])))
    return found
