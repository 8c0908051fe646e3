"""The service as its operator sees it, over HTTP."""

import json

import httpx
import pytest

from app import __version__
from tests.api.answers import done, problem
from tests.conftest import LOOPBACK
from tests.service import Service

OPS, SHOP = "the-key-of-the-operators", "the-key-of-the-shop"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    keys = {"ops": {"keys": OPS, "operator": True}, "shop": SHOP, "bank": {"keys": [SHOP + "2"]}}
    env = {"OFFLOAD_API_KEYS": json.dumps(keys), "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}
    with Service.started(tmp_path_factory.mktemp("service"), env) as running:
        yield running


def client(service, key):
    return httpx.Client(
        base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=30
    )


def test_only_an_operator_sees_the_service_and_the_jobs_of_others(keyed):
    with client(keyed, OPS) as ops, client(keyed, SHOP) as shop, client(keyed, SHOP + "2") as bank:
        problem(httpx.get(f"{keyed.url}/v1/service"), 401, "input.unauthorized")
        for other in (shop, bank):
            problem(other.get("/v1/service"), 403, "input.forbidden")
        files = [("file", ("a.txt", b"a" * 5000)), ("file", ("b.txt", b"no archive"))]
        job = done(shop.post("/v1/compress?wait=20", files=files))
        bad = done(shop.post("/v1/extract?wait=20", files=files[1:]), "failed")
        code = bad["items"][0]["error"]["code"]

        seen = ops.get("/v1/service").json()
        assert seen["version"] == __version__
        assert (seen["unfinished_items"], seen["work"]) == (0, [])
        assert [lane["lane"] for lane in seen["lanes"]] == ["cpu", "io"]
        [node] = seen["nodes"]
        assert node["roles"] == ["api", "work"]
        assert (node["version"], node["workers"]) == (__version__, 1)
        assert 0 < node["disk_free_bytes"] <= node["disk_total_bytes"]
        assert 0 < node["process_memory_bytes"] < node["memory_total_bytes"]
        throughput = seen["throughput"]
        assert [sum(throughput[name]) for name in ("succeeded", "failed")] == [2, 1]
        assert {len(throughput[n]) for n in ("succeeded", "failed", "worked_ms")} == {60}
        assert [(f["code"], f["items"], f["job_id"]) for f in seen["failures"]] == [
            (code, 1, bad["id"])
        ]
        assert {one["job_id"] for one in seen["slowest"]} <= {job["id"], bad["id"]}
        assert {(one["client"], one["code"]) for one in seen["slowest"]} == {
            ("shop", None),
            ("shop", code),
        }
        assert seen["deliveries"]["pending"] == seen["deliveries"]["dead"] == 0

        # A job with its whole story; what it is made of stays its client's.
        path = f"/v1/jobs/{job['id']}"
        assert ops.get(path).json()["id"] == job["id"]
        assert len(ops.get(f"{path}/items").json()["items"]) == 2
        assert ops.get("/v1/jobs").json()["jobs"] == []
        problem(ops.get(job["items"][0]["results"][0]["href"]), 404, "input.not_found")
        problem(bank.get(path), 404, "input.not_found")


def test_an_operator_sees_and_replays_the_deliveries_of_others(keyed):
    with client(keyed, OPS) as ops, client(keyed, SHOP) as shop, client(keyed, SHOP + "2") as bank:
        hook = json.dumps({"url": "http://127.0.0.1:1/hook", "secret": "whsec_" + "A" * 32})
        form = {"webhook": hook}
        job = done(shop.post("/v1/compress?wait=20", files={"file": ("a", b"a")}, data=form))
        deliveries = f"/v1/webhooks/deliveries?job={job['id']}"
        [one] = ops.get(deliveries).json()["deliveries"]
        assert one["job_id"] == job["id"]
        assert bank.get(deliveries).json()["deliveries"] == []
        replay = f"/v1/webhooks/deliveries/{one['id']}/replay"
        assert ops.post(replay).status_code == 202
        problem(bank.post(replay), 404, "input.not_found")
        deliveries = ops.get("/v1/service").json()["deliveries"]
        assert deliveries["pending"] + deliveries["sending"] == 1


def test_without_keys_everybody_is_one(http):
    assert http.get("/v1/service").status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {"keys": OPS, "operator": "yes"},
        {"keys": OPS, "admin": True},
        {"operator": True},
        {"keys": [], "operator": True},
    ],
)
def test_a_mark_that_is_none_is_refused(given):
    from app.keys import client_keys

    with pytest.raises(ValueError, match=r"operator|keys") as refused:
        client_keys({"ops": given})
    assert OPS not in str(refused.value)
