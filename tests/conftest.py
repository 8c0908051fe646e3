"""Fixtures that several folders share: a real service, a real origin, real files."""

from __future__ import annotations

import io
import random
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certifi
import httpx
import pytest
from PIL import Image

from tests.service import Service

LOOPBACK = '["127.0.0.1/32"]'

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority for TLS: to read all there are is 0.1 s for each client and service."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    file = tmp_path_factory.mktemp("authority") / "one.pem"
    file.write_text(first + end)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", str(file))
        patched.delenv("SSL_CERT_DIR", raising=False)
        yield


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as they found it."""
    env = {
        "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
        "OFFLOAD_POOL_WORKERS": "0",
        "OFFLOAD_UPLOAD_MAX_BYTES": str(8 << 20),
        "OFFLOAD_UPLOAD_MAX_FILES": "50",
        "OFFLOAD_UPLOAD_STALL_TIMEOUT_S": "0.5",
    }
    with Service.started(tmp_path_factory.mktemp("service"), env) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A 1600 by 1200 JPEG with detail everywhere."""
    noise = Image.effect_noise((1600, 1200), 40).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=85)
    return out.getvalue()


@pytest.fixture(scope="session")
def text() -> bytes:
    """Some 200 kB that compress well."""
    words = random.Random(7).choices(["alpha", "beta", "gamma", "delta", "42"], k=40_000)
    return " ".join(words).encode()


class _OriginHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pages: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.pages.get(self.path)
        self.send_response(200 if body is not None else 404)
        body = body or b"no"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def origin(photo: bytes, text: bytes) -> Iterator[str]:
    """The URL of a well-behaved origin; the hostile one is `tests/outbound/origin.py`."""
    pages = {"/photo.jpg": photo, "/text": text} | {f"/{n}": b"page %d" % n for n in range(1000)}
    handler = type("Handler", (_OriginHandler,), {"pages": pages})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def plugin() -> Path:
    """A folder with an installed distribution whose operations misbehave on demand."""
    return Path(__file__).parent / "plugin"
