"""What Prometheus is told: over real HTTP, by two processes of one deployment."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.api.answers import done
from tests.service import Service, refused

TEXT = b"what is compressed " * 1_000
Samples = dict[str, list[tuple[dict[str, str], float]]]


def scraped(service: Service) -> Samples:
    """Ask a service for its metrics; gives by name the labels and values."""
    port = re.search(r"metrics_listen .*port=(\d+)", service.log.read_text())
    assert port is not None
    answer = httpx.get(f"http://127.0.0.1:{port[1]}/metrics")
    assert answer.status_code == 200
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    [only] = [v for told, v in found[name] if told == labels]
    return only


@dataclass
class Pair:
    """A process that takes requests and one that works, after some of both."""

    api: Service
    work: Service


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("metrics")
    env = {"OFFLOAD_METRICS_BIND": "127.0.0.1:0"}
    api = Service(folder / "data", env | {"OFFLOAD_ROLES": "api"})
    try:
        # Beside the folder is the log of the one, so the other has a link to the folder.
        (folder / "same").symlink_to(folder / "data")
        with (
            Service.started(folder / "same", env | {"OFFLOAD_ROLES": "work"}) as work,
            httpx.Client(base_url=api.url, timeout=60) as http,
        ):
            files = [("files", (f"{n}.txt", TEXT)) for n in range(3)]
            done(http.post("/v1/compress?wait=50", files=files))
            done(http.post("/v1/images?wait=50", content=TEXT), "failed")
            done(http.post("/v1/fetch?wait=50", json={"urls": ["http://127.0.0.1/"]}), "failed")
            http.get("/v1/jobs")
            http.get("/v1/jobs/of-nobody")
            http.get("/nowhere")
            yield Pair(api, work)
    finally:
        api.stop()


def test_each_process_counts_what_it_has_done_itself(pair: Pair) -> None:
    api, work = scraped(pair.api), scraped(pair.work)
    asked = "offload_http_requests_total"
    assert value(api, asked, route="/v1/jobs", method="GET", status="2xx") == 1
    assert value(api, asked, route="/v1/jobs/{job_id}", method="GET", status="4xx") == 1
    assert value(api, asked, route="other", method="GET", status="4xx") == 1
    assert value(api, "offload_http_request_duration_seconds_count", route="/v1/jobs") == 1
    # It waited for a job: how long says nothing of the service.
    assert value(api, asked, route="/v1/compress", method="POST", status="2xx") == 1
    assert value(api, "offload_http_request_duration_seconds_count", route="/v1/compress") == 0
    for op in ("compress", "image", "fetch"):
        assert value(api, "offload_jobs_accepted_total", op=op) == 1
    assert "offload_items_finished_total" not in api
    assert "offload_workers" not in api

    ended = "offload_items_finished_total"
    assert value(work, ended, op="compress", outcome="succeeded", code="") == 3
    assert value(work, ended, op="image", outcome="failed", code="image.unsupported") == 1
    assert value(work, ended, op="fetch", outcome="failed", code="fetch.forbidden") == 1
    assert value(work, "offload_fetch_total", outcome="fetch.forbidden") == 1
    assert value(work, "offload_item_input_bytes_total", op="compress") == 3 * len(TEXT)
    assert 0 < value(work, "offload_item_output_bytes_total", op="compress") < 3 * len(TEXT)
    assert value(work, "offload_item_duration_seconds_count", op="compress") == 3
    assert value(work, "offload_item_wait_seconds_sum", op="compress") > 0
    assert value(work, "offload_jobs_finished_total", state="succeeded") == 1
    assert value(work, "offload_jobs_finished_total", state="failed") == 2
    assert value(work, "offload_workers", state="idle") == 1
    for found in (api, work):
        assert value(found, "offload_db_transaction_duration_seconds_count") > 0
        assert value(found, "offload_disk_free_bytes") > 0


def test_of_the_deployment_all_say_the_same(pair: Pair) -> None:
    told = [
        {name: said for name, said in scraped(one).items() if "_deployment_" in name}
        for one in (pair.api, pair.work)
    ]
    assert told[0] == told[1]
    assert value(told[0], "offload_deployment_nodes", role="api") == 1
    assert value(told[0], "offload_deployment_nodes", role="work") == 1
    assert value(told[0], "offload_deployment_queue_chunks", lane="cpu") == 0


def test_nothing_else_is_there(pair: Pair) -> None:
    port = re.search(r"metrics_listen .*port=(\d+)", pair.api.log.read_text())
    assert port is not None
    base = f"http://127.0.0.1:{port[1]}"
    assert httpx.get(f"{base}/v1/jobs").status_code == 404
    assert httpx.post(f"{base}/metrics").status_code == 404
    assert httpx.head(f"{base}/metrics").status_code == 200
    assert httpx.get(f"{pair.api.url}/metrics").status_code == 404


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = refused(tmp_path / "data", {"OFFLOAD_METRICS_BIND": f"127.0.0.1:{port}"})
    assert told.startswith(f"OFFLOAD_METRICS_BIND {port} is taken on 127.0.0.1")


# -- what is delivered to look at them -------------------------------------------------------------

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOK = (DEPLOY.parent / "docs" / "metrics.md").read_text()
OF_PROMETHEUS = {"instance", "job"}
"""Labels that it gives to whatever it scrapes."""


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Give all PromQL by where it stands, with Grafana's variables as Grafana would fill them."""
    asked = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            asked[f"{panel['title']} {target['refId']}"] = text
    scaled = yaml.safe_load((DEPLOY / "k8s" / "work-scaling.yaml").read_text())["spec"]
    for number, trigger in enumerate(scaled["triggers"]):
        asked[f"autoscaling {number}"] = trigger["metadata"]["query"]
    return asked


def parts(query: str) -> list[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(promql_parser.parse(query), found.append)
    return found


@pytest.fixture(scope="module")
def exposed(pair: Pair) -> Samples:
    both: Samples = {}
    for one in (pair.api, pair.work):
        for name, samples in scraped(one).items():
            both.setdefault(name, []).extend(samples)
    return both


@pytest.mark.parametrize("where", queries())
def test_alerts_and_dashboard_ask_for_what_there_is(where: str, exposed: Samples) -> None:
    found = parts(queries()[where])
    selectors = [part for part in found if isinstance(part, promql_parser.VectorSelector)]
    assert selectors
    known = set(OF_PROMETHEUS)
    for selector in selectors:
        samples = exposed[selector.name]
        labels = {label for told, _ in samples for label in told} | OF_PROMETHEUS
        known |= labels
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels
            values = {told.get(matcher.name) for told, _ in samples}
            if matcher.op == promql_parser.MatchOp.Equal:
                assert matcher.value in values or re.fullmatch("[1-5]xx", matcher.value)
    for part in found:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            assert set(part.modifier.labels) <= known


def test_what_is_of_the_deployment_is_never_summed() -> None:
    for where, query in queries().items():
        for part in parts(query):
            if isinstance(part, promql_parser.AggregateExpr) and "deployment" in str(part.expr):
                assert str(part.op) == "max", where


def test_each_alert_and_each_metric_is_explained(exposed: Samples) -> None:
    names = [rule["alert"] for rule in rules()]
    assert re.findall(r"^\| `(Offload\w+)` \|", RUNBOOK, re.MULTILINE) == names
    own = {name for name in exposed if name.startswith("offload_")}
    told = {re.sub(r"_(bucket|sum|count)$", "", name) for name in own}
    assert set(re.findall(r"`(offload_\w+[a-z])`", RUNBOOK)) == told


def test_every_link_and_label_of_a_rule_is_there(exposed: Samples) -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        by = {
            label
            for part in parts(rule["expr"])
            if isinstance(part, promql_parser.AggregateExpr) and part.modifier
            for label in part.modifier.labels
        }
        assert used <= by | OF_PROMETHEUS
