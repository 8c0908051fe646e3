"""Keys, whose is what, and the starts that are refused."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import httpx
import pytest

from tests.api.answers import done, problem
from tests.service import Service, served_within

KEYS = {"shop": "a-long-secret-of-the-shop", "bank": "another-one-of-the-bank"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A service that others can reach, and that asks for keys."""
    env = {
        "OFFLOAD_API_KEYS": json.dumps(KEYS),
        "OFFLOAD_HOST": "0.0.0.0",
    }
    with Service.started(tmp_path_factory.mktemp("guarded"), env) as running:
        yield running


@pytest.fixture(scope="module")
def clients(guarded):
    """Clients by the name of their key; None has none."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                httpx.Client(
                    base_url=guarded.url,
                    headers={"Authorization": f"Bearer {KEYS[name]}"} if name else {},
                    timeout=30,
                )
            )
            for name in (None, *KEYS)
        }


@pytest.fixture
def client(clients):
    """Give a client by the name of its key."""
    return lambda name=None: clients[name]


def serve(data_dir, *before, **env):
    own = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOAD_")}
    return subprocess.run(
        [*before, sys.executable, "-m", "app", "serve"],
        env=own | {"OFFLOAD_PORT": "0", "OFFLOAD_DATA_DIR": str(data_dir), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "given",
    [None, "Bearer wrong", "Bearer", "Basic c2hvcDp4", "Bearer " + KEYS["shop"] + "x",
     "Bearer " + KEYS["shop"][:-1], KEYS["shop"], b"Bearer \xe9"],
)  # fmt: skip
@pytest.mark.parametrize("request_line", ["GET /v1/jobs", "POST /v1/compress", "GET /v1/files/x"])
def test_without_the_right_key_it_is_401(client, request_line, given):
    headers = {} if given is None else {"Authorization": given}
    method, path = request_line.split()
    content = b"x" if method == "POST" else None
    response = client().request(method, path, headers=headers, content=content)
    problem(response, 401, "input.unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not any(key in response.text for key in KEYS.values())


def test_every_path_of_work_and_data_asks_for_a_key(client):
    document = client().get("/openapi.json").json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if operation.get("security") and method != "head":
                url = path.replace("{", "").replace("}", "")
                response = client().request(method, url)
                problem(response, 401, "input.unauthorized")
            else:
                assert method == "head" or path in {
                    "/livez", "/readyz", "/v1/operations", "/v1/limits",
                }  # fmt: skip


def test_a_refused_upload_is_refused_before_it_is_read(client, guarded):
    problem(client().post("/v1/files", content=bytes(1 << 20)), 401, "input.unauthorized")
    assert not list((guarded.data_dir / "blobs" / "objects").rglob("*/*"))


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_asks_for_no_key(client, path):
    assert client().get(path).status_code == 200


def test_the_right_key_works_whatever_the_case_of_its_scheme(client):
    done(client("shop").post("/v1/compress?wait=20", content=b"x"))
    headers = {"Authorization": f"bearer {KEYS['bank']}"}
    assert client().get("/v1/jobs", headers=headers).status_code == 200


def test_what_is_one_clients_is_not_there_for_the_other(client):
    shop, bank = client("shop"), client("bank")
    job = done(shop.post("/v1/compress?wait=20&tag=mine", content=b"secret"))
    stored = shop.post("/v1/files", content=b"secret").json()
    links = job["links"]
    for response in (
        bank.get(links["self"]),
        bank.get(links["items"]),
        bank.get(links["events"]),
        bank.post(links["cancel"]),
        bank.delete(links["self"]),
        bank.get(f"/v1/files/{stored['id']}"),
        bank.get(stored["href"]),
        bank.get(job["items"][0]["results"][0]["href"]),
        bank.delete(f"/v1/files/{stored['id']}"),
        bank.post("/v1/compress", json={"file_ids": [stored["id"]]}),
    ):
        problem(response, 404, "input.not_found")
    assert bank.head(stored["href"]).status_code == 404
    assert job["id"] not in bank.get("/v1/jobs?limit=200").text
    assert [found["id"] for found in shop.get("/v1/jobs?tag=mine").json()["jobs"]] == [job["id"]]
    assert shop.get(links["self"]).json() == job
    assert shop.get(stored["href"]).content == b"secret"


def test_a_strangers_answer_is_the_same_as_that_for_what_never_was(client):
    path = client("shop").post("/v1/compress", content=b"x").headers["Location"]
    job_id = path.rpartition("/")[2]
    unknown = f"job_{'0' * 32}"
    strange = client("bank").get(path).json()
    never = client("bank").get(f"/v1/jobs/{unknown}").json()
    assert json.dumps(strange).replace(job_id, unknown) == json.dumps(never)


def test_idempotency_keys_are_each_clients_own(client):
    key = {"Idempotency-Key": "the-same"}
    made = [
        client(name).post("/v1/compress", content=name.encode(), headers=key)
        for name in ("shop", "bank")
    ]
    assert [response.status_code for response in made] == [202, 202]
    assert made[0].json()["id"] != made[1].json()["id"]


# -- refused starts ----------------------------------------------------------------------------


def test_it_does_not_listen_for_others_without_keys(tmp_path):
    refused = serve(tmp_path / "data", OFFLOAD_HOST="0.0.0.0")
    assert refused.returncode == 2
    assert "OFFLOAD_HOST is 0.0.0.0" in refused.stderr
    assert "OFFLOAD_API_KEYS" in refused.stderr
    assert "OFFLOAD_ALLOW_ANONYMOUS" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "data").exists()


def test_it_listens_for_others_without_keys_when_told_to(tmp_path, client):
    env = {
        "OFFLOAD_HOST": "0.0.0.0",
        "OFFLOAD_ALLOW_ANONYMOUS": "true",
        "OFFLOAD_ROLES": "api",
    }
    with Service.started(tmp_path / "data", env) as own:
        assert own.url.startswith("http://127.0.0.1:")
        assert client().get(f"{own.url}/v1/jobs").status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        {
            "OFFLOAD_PORT": "http",
            "OFFLOAD_UPLOAD_MAX_BYTES": "100MB",
            "OFFLOAD_FETCH_ALLOW_NETWORKS": '["10.0.0.0/33"]',
            "OFFLOAD_LOG_FORMAT": "xml",
        },
        {"OFFLOAD_API_KEYS": "not json"},
        {"OFFLOAD_UPLOAD_MAX_BYTE": "1"},
    ],
)
def test_every_bad_setting_is_named_in_a_sentence(tmp_path, bad):
    refused = served_within(tmp_path / "data", bad)
    assert refused.exit_code == 2, refused.stderr
    assert all(variable in refused.stderr for variable in bad), refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_bad_key_is_not_shown_in_the_refusal(tmp_path):
    refused = serve(tmp_path / "data", OFFLOAD_API_KEYS='{"shop": ["hunter2"]}')
    assert refused.returncode == 2
    assert "hunter2" not in refused.stderr + refused.stdout


def test_a_second_service_on_the_same_data_is_refused(guarded, client):
    refused = serve(guarded.data_dir)
    assert refused.returncode == 3
    assert f"Another service runs on OFFLOAD_DATA_DIR {guarded.data_dir}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert client().get("/readyz").status_code == 200


# -- without keys, from a browser ------------------------------------------------------------------


def from_page(client, method, site, origin="https://elsewhere.example", **headers):
    """Ask as a page's form does, that needs no leave from us."""
    said = {"Sec-Fetch-Site": site, "Origin": origin, **headers}
    return client.request(method, "/v1/compress", content=b"a", headers=said)


def test_without_keys_no_page_of_another_site_has_anything_done(http):
    problem(from_page(http, "POST", "cross-site"), 403, "input.cross_site")
    for site in ("same-origin", "same-site", "none"):
        assert from_page(http, "POST", site).status_code == 202
    # A link to us from somewhere is nothing bad.
    assert http.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_the_key_says_enough(client):
    assert from_page(client("shop"), "POST", "cross-site").status_code == 202


def test_pages_of_named_origins_may(tmp_path):
    env = {"OFFLOAD_CORS_ORIGINS": "https://app.example"}
    with Service.started(tmp_path, env) as running, httpx.Client(base_url=running.url) as own:
        assert from_page(own, "POST", "cross-site", "https://app.example").status_code == 202
        problem(from_page(own, "POST", "cross-site"), 403, "input.cross_site")
