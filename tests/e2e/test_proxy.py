"""The whole service behind its operator's proxy: fetches, webhooks and pushes all go through it."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import httpx
import pytest

from tests.conftest import LOOPBACK
from tests.outbound.proxy import ConnectProxy
from tests.outbound.receiver import Receiver
from tests.service import Service

pytestmark = pytest.mark.anyio


async def test_everything_that_goes_out_goes_through_the_proxy(tmp_path: Path, origin: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ConnectProxy())
        receiver = await stack.enter_async_context(Receiver())
        env = {
            "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
            "OFFLOAD_WEBHOOKS_SECRETS": "whsec_" + base64.b64encode(bytes(32)).decode(),
            "OFFLOAD_FETCH_PROXY_URL": f"http://user:s3cret@127.0.0.1:{proxy.port}",
            # Ignored, or nothing would arrive.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "ALL_PROXY": "http://127.0.0.1:9",
        }
        service = stack.enter_context(Service.started(tmp_path / "data", env))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=60))
        to = f"http://127.0.0.1:{receiver.port}/ok"
        document = {
            "items": [{"url": f"{origin}/1", "store": {"put_url": f"{to}/put"}}],
            "webhook": {"url": f"{to}/hook"},
        }
        job = (await http.post("/v1/jobs?wait=30", json=document)).json()
        assert job["counts"]["succeeded"] == 1
        await receiver.wait_for(2)
        [put] = receiver.to("/ok/put")
        assert put.body == b"page 1"
        [hook] = receiver.to("/ok/hook")
        assert job["id"].encode() in hook.body
        # One tunnel each, at most: a connection may serve the hook after the put.
        origin_port = origin.rpartition(":")[2]
        assert set(proxy.targets) == {f"127.0.0.1:{origin_port}", f"127.0.0.1:{receiver.port}"}
        inside = {"urls": ["http://10.0.0.1/"]}
        [refused] = (await http.post("/v1/fetch?wait=30", json=inside)).json()["items"]
        assert refused["error"]["code"] == "fetch.forbidden"
        assert "s3cret" not in service.log.read_text()
