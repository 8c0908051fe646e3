"""The page's pictures for docs/, taken anew: `make page-pictures`.

A service that has something to do is looked at in the light and in the
dark, at a desk and on a phone. WebP, by Pillow.
"""

import io
import json
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests import browser as chromium
from tests.conftest import LOOPBACK
from tests.page.visitor import Visitor
from tests.service import Service

OUT = Path(__file__).parents[2] / "docs" / "pictures"
KEYS = {"ops": {"keys": "the-key-of-the-operators", "operator": True}}
KEYS |= {name: f"the-key-of-the-{name}" for name in ("shop", "newsroom", "archive")}


def landscape(seed, size=(1800, 1200)):
    """Draw a picture as a camera might: sky, hills, a sun, and noise."""
    chance = np.random.default_rng(seed)
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    top, low = chance.uniform(90, 200, 3), chance.uniform(190, 250, 3)
    picture = top + (low - top) * y[..., None] ** 0.8
    sun = np.exp(-(((x - chance.uniform(0.2, 0.8)) ** 2 * 2.2 + (y - 0.35) ** 2) * 60))
    picture += sun[..., None] * np.array([120, 80, 10])
    for layer in range(5):
        waves = sum(
            chance.uniform(0.01, 0.05) * np.sin(x * chance.uniform(3, 40) + chance.uniform(0, 6))
            for _ in range(6)
        )
        ground = y > 0.42 + 0.11 * layer + waves
        picture[ground] = np.array([70, 110, 90]) * (1 - 0.16 * layer) + chance.uniform(-12, 12, 3)
    picture += chance.normal(0, 5, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype("uint8"))


def photo(seed):
    """Give such a picture as a JPEG."""
    out = io.BytesIO()
    landscape(seed).save(out, "JPEG", quality=93)
    return out.getvalue()


class Origin(BaseHTTPRequestHandler):
    """Answers after a while, or not well."""

    def do_GET(self):
        time.sleep(0.2)
        self.send_response(404 if "gone" in self.path else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


def busy(service, origin, photos):
    """Have clients ask for an hour's work in half a minute; the counts are then spread."""

    def client(name):
        return httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {KEYS[name]}"}, timeout=60
        )

    def some(n):
        with client(("shop", "newsroom", "archive")[n % 3]) as http:
            files = [("file", (f"IMG_{2040 + n}.jpg", photos[n % len(photos)]))]
            http.post("/v1/images?width=640&format=webp&wait=30", files=files)
            http.post(
                "/v1/compress?wait=30", files=[("file", ("access.log", b"GET / 200\n" * 999))]
            )
            urls = [f"{origin}/{n}", *[f"{origin}/gone/{n}"] * (n % 7 == 0)]
            http.post("/v1/fetch?wait=30", json={"urls": urls})
            if n % 9 == 0:
                http.post("/v1/images?wait=30", files=[("file", ("scan.jpg", b"no picture"))])
            if n % 14 == 0:
                http.post("/v1/extract?wait=30", files=[("file", ("backup.zip", b"PK\3\4 cut"))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(some, range(60)))


def spread(service):
    """Have the last minutes' counts be those of an hour, so that there is something to see."""
    chance = np.random.default_rng(3)
    minute = int(time.time()) // 60 * 60_000
    with closing(sqlite3.connect(service.data_dir / "offload.db", timeout=10)) as db, db:
        found = db.execute("SELECT code, sum(items) FROM tally GROUP BY code").fetchall()
        for back in range(1, 60):
            wave = 1 + 0.5 * np.sin(back / 7) + chance.uniform(-0.2, 0.2)
            for code, items in found:
                n = int(chance.poisson(items * wave * (0.3 if code else 0.9)))
                if n:
                    row = [minute - 60_000 * back, code, "picture", n, 40 * n, 0, 0]
                    db.execute("INSERT OR IGNORE INTO tally VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def long_work(service, origin):
    """Leave something in the queue."""
    for name, n in (("newsroom", 900), ("archive", 240)):
        headers = {"Authorization": f"Bearer {KEYS[name]}"}
        urls = [f"{origin}/{name}/{number}" for number in range(n)]
        httpx.post(f"{service.url}/v1/fetch", json={"urls": urls}, headers=headers, timeout=60)


def save(visitor, name, *, whole=False):
    """Take a picture, as a WebP of the pixels that are seen."""
    raw = OUT / f"{name}.png"
    visitor.picture(raw, whole=whole)
    with Image.open(raw) as seen:
        seen.convert("RGB").save(OUT / f"{name}.webp", quality=84, method=6)
    raw.unlink()


def take(visitor, service, origin, photos):
    """Take all of them."""
    names = ("harbour.jpg", "ridge.jpg", "meadow.jpg")
    given = dict(zip(names, photos, strict=False)) | {"notes-from-the-trip.jpg": b"no picture"}
    visitor.visit()
    visitor.one("dialog.key input").send_keys(KEYS["shop"])
    visitor.click("button", "Use this key")
    visitor.until(lambda: not visitor.all("dialog"))
    visitor.drop(given)
    visitor.one(".choose")
    visitor.click("summary", "Options")
    save(visitor, "page-choose", whole=True)
    visitor.click("button.primary", "Start")
    visitor.until(lambda: len(visitor.all(".row.succeeded")) == len(names))
    visitor.until(lambda: all(visitor.loaded(img) for img in visitor.all(".thumb img")))
    visitor.click("summary", "Recipe")
    for dark, phone in ((False, False), (True, False), (False, True)):
        visitor.emulate(dark=dark, phone=phone)
        save(visitor, f"page{'-phone' * phone}{'-dark' * dark}", whole=True)
    visitor.emulate()
    visitor.click("button", "Compare")
    visitor.until(lambda: all(visitor.loaded(img) for img in visitor.all(".frame img")))
    save(visitor, "page-compare")
    visitor.browser.execute_script(f"sessionStorage['offload.key'] = '{KEYS['ops']['keys']}'")
    long_work(service, origin)
    visitor.visit("#/status")
    visitor.until(lambda: len(visitor.all(".plot canvas")) == 2)
    for dark, phone in ((False, False), (True, False), (False, True)):
        visitor.emulate(dark=dark, phone=phone)
        visitor.browser.execute_script("dispatchEvent(new Event('resize'))")
        visitor.until(lambda: visitor.overhang() <= 0)
        save(visitor, f"status{'-phone' * phone}{'-dark' * dark}", whole=True)
    visitor.emulate()
    visitor.click("[aria-labelledby=failures-by-code] a")
    visitor.one(".told")
    save(visitor, "job", whole=True)


def main():
    """Start what is needed, and take them."""
    OUT.mkdir(exist_ok=True)
    photos = [photo(seed) for seed in (5, 11, 23)]
    env = {"OFFLOAD_API_KEYS": json.dumps(KEYS), "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}
    env |= {"OFFLOAD_POOL_WORKERS": "2", "OFFLOAD_FETCH_CONCURRENCY": "20"}
    with (
        tempfile.TemporaryDirectory() as folder,
        Service.started(Path(folder) / "data", env) as service,
        ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        busy(service, origin, photos)
        spread(service)
        browser = chromium.opened(folder)
        try:
            take(Visitor(browser, service.url), service, origin, photos)
        finally:
            browser.quit()
            server.shutdown()


if __name__ == "__main__":
    main()
