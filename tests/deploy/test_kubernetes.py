"""deploy/k8s: valid, in accord with itself, and about settings, ports and paths that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from app.blobs.base import StorageSettings
from app.cpu import PoolSettings
from app.main import create_app
from app.records.sight import LOOKED_AT
from app.server import CUT_S, GRACEFUL_S
from app.settings import Settings, variables

FOLDER = Path(__file__).parents[2] / "deploy" / "k8s"
KUBERNETES = ("1.34.0", "1.37.0")
"""The oldest that has `preStop.sleep` for good, and the newest that there is a schema of."""
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FOUND: list[tuple[str, dict[str, Any]]] = [
    (path.name, document)
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]
UNIT_BYTES = {"Mi": 1 << 20, "Gi": 1 << 30}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Name(Strict):
    name: str


class Trigger(Strict):
    type: str
    metric_type: str
    metadata: dict[str, str]
    """KEDA takes no numbers here."""


class Fallback(Strict):
    failure_threshold: int
    replicas: int


class ScaledObjectSpec(Strict):
    """As keda.sh/v1alpha1 has it, as far as it is used: no library carries its schema."""

    scale_target_ref: Name
    min_replica_count: int
    max_replica_count: int
    polling_interval: int
    cooldown_period: int
    fallback: Fallback
    triggers: list[Trigger]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d for _, d in FOUND if d["kind"] == kind}


DEPLOYMENTS = of_kind("Deployment")


def pod(role: str) -> dict[str, Any]:
    return DEPLOYMENTS[f"offload-{role}"]["spec"]["template"]["spec"]


def container(role: str) -> dict[str, Any]:
    [only] = pod(role)["containers"]
    return only


def size_bytes(said: str) -> int:
    return int(said[:-2]) * UNIT_BYTES[said[-2:]]


def environment(role: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(role)["env"]} | of_kind("ConfigMap")[
        "offload"
    ]["data"]


def settings(role: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    secret = of_kind("Secret")["offload"]["stringData"]
    env = environment(role) | secret | {"OFFLOAD_API_KEYS": '{"shop": "a-key-of-some-length"}'}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return Settings(host="0.0.0.0", data_dir=Path("/data"))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(d, id=f"{file}-{d['kind']}")
        for file, d in FOUND
        if "keda" not in d["apiVersion"]
    ],
)
def test_every_manifest_is_valid(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_a_manifest_that_is_not_valid_would_be_found() -> None:
    broken = json.loads(json.dumps(DEPLOYMENTS["offload-api"]))
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


def test_kustomize_has_all_but_the_examples() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == {f for f in files if ".example." not in f}
    names = [(d["kind"], d["metadata"]["name"]) for _, d in FOUND]
    assert len(names) == len(set(names))


def test_nobody_asks_kubernetes_for_anything() -> None:
    assert not any("Role" in d["kind"] for _, d in FOUND)
    for role in ("api", "work"):
        assert pod(role)["automountServiceAccountToken"] is False
        assert pod(role)["serviceAccountName"] in of_kind("ServiceAccount")


@pytest.mark.parametrize("role", ["api", "work"])
def test_nodes_have_settings_that_there_are(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = of_kind("Secret")["offload"]["stringData"]
    named = {*environment(role), *secret}
    assert {name for name in named if name.startswith("OFFLOAD_")} <= variables().keys()
    # Kubernetes' own OFFLOAD_PORT, for the Service of that name, would not be one.
    assert pod(role)["enableServiceLinks"] is False
    assert settings(role, monkeypatch).roles == (role,)
    assert settings(role, monkeypatch).shared
    assert "://offload@" in secret["OFFLOAD_DATABASE_URL"], "a password that everybody knows"
    assert json.loads(secret["OFFLOAD_API_KEYS"]) == {"shop": ""}
    assert not secret["AWS_SECRET_ACCESS_KEY"]
    assert container(role)["envFrom"] == [
        {"configMapRef": {"name": "offload"}},
        {"secretRef": {"name": "offload"}},
    ]


@pytest.mark.parametrize("role", ["api", "work"])
def test_probes_ask_what_there_is(role: str, tmp_path: Path) -> None:
    one = container(role)
    paths = {route.path for route in create_app(Settings(data_dir=tmp_path)).routes}  # type: ignore[attr-defined]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert one[probe]["httpGet"]["path"] in paths
        assert one[probe]["httpGet"]["port"] == "http"
    # What asks for the database must not end a node that cannot help its absence.
    assert one["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert one["startupProbe"]["httpGet"]["path"] == "/livez"
    assert one["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"name": "http", "containerPort": Settings().port} in one["ports"]
    [port] = of_kind("Service")["offload"]["spec"]["ports"]
    assert port["targetPort"] == "http"


@pytest.mark.parametrize("role", ["api", "work"])
def test_a_stop_takes_no_longer_than_it_may(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before_s = container(role).get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    drain_s = settings(role, monkeypatch).drain_timeout_s
    needed_s = before_s.get("seconds", 0) + max(GRACEFUL_S + 2 * CUT_S, drain_s + 1)
    assert pod(role)["terminationGracePeriodSeconds"] >= needed_s + 5
    assert bool(before_s) == (role == "api")


@pytest.mark.parametrize("role", ["api", "work"])
def test_containers_are_shut_in(role: str) -> None:
    image = (FOLDER.parents[1] / "Dockerfile").read_text()
    whole, own = pod(role)["securityContext"], container(role)["securityContext"]
    assert f"USER {whole['runAsUser']}:{whole['runAsGroup']}\n" in image
    assert whole["runAsNonRoot"] is True
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {one["name"]: one["mountPath"] for one in container(role)["volumeMounts"]}
    assert mounts == {"data": "/data", "tmp": "/tmp"}
    assert re.search(r"OFFLOAD_DATA_DIR=(\S+)", image)[1] == mounts["data"]  # type: ignore[index]
    assert {volume["name"] for volume in pod(role)["volumes"]} == mounts.keys()


def test_who_works_has_the_memory_and_the_disk_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings("work", monkeypatch)
    limit = size_bytes(container("work")["resources"]["limits"]["memory"])
    assert wanted.pool.workers == int(container("work")["resources"]["requests"]["cpu"])
    assert limit >= wanted.pool.workers * PoolSettings().memory_bytes + (512 << 20)
    [disk] = [v["emptyDir"]["sizeLimit"] for v in pod("work")["volumes"] if v["name"] == "data"]
    assert wanted.storage.cache_bytes < StorageSettings().cache_bytes
    assert size_bytes(disk) >= 2 * wanted.storage.cache_bytes


def test_what_selects_pods_finds_them() -> None:
    labels = {name: d["spec"]["template"]["metadata"]["labels"] for name, d in DEPLOYMENTS.items()}
    for name, one in DEPLOYMENTS.items():
        assert one["spec"]["selector"]["matchLabels"] == labels[name]
        budget = of_kind("PodDisruptionBudget")[name]["spec"]
        assert budget["selector"]["matchLabels"] == labels[name]
        assert budget["maxUnavailable"] == 1
        # An autoscaler says how many; applying the Deployment again must not.
        assert "replicas" not in one["spec"]
    assert of_kind("Service")["offload"]["spec"]["selector"] == labels["offload-api"]
    [rule] = of_kind("Ingress")["offload"]["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "offload", "port": {"name": "http"}}


def test_the_ingress_lets_through_what_the_proxy_of_operating_md_does() -> None:
    page = (FOLDER.parents[1] / "docs" / "operating.md").read_text()
    told = of_kind("Ingress")["offload"]["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    assert told[f"{prefix}body-size"] == "0"
    for what in ("request-buffering", "buffering"):
        assert told[prefix + what] == "off"
        assert f"proxy_{what.replace('-', '_')} off;" in page
    for what in ("read-timeout", "send-timeout"):
        assert f"proxy_{what.replace('-', '_')} {told[prefix + what]}s;" in page


def test_autoscalers_scale_what_there_is() -> None:
    [hpa] = of_kind("HorizontalPodAutoscaler").values()
    assert hpa["spec"]["scaleTargetRef"]["name"] == "offload-api"
    assert hpa["spec"]["minReplicas"] == 2
    [scaled] = of_kind("ScaledObject").values()
    spec = ScaledObjectSpec.model_validate(scaled["spec"])
    assert spec.scale_target_ref.name == "offload-work"
    assert spec.min_replica_count == 2
    # That there are such metrics is seen in tests/e2e/test_metrics.py.
    assert {trigger.metadata["threshold"] for trigger in spec.triggers} == {"250"}
    assert 250 * spec.max_replica_count < LOOKED_AT  # of more it is not told how many


@pytest.mark.parametrize("role", ["api", "work"])
def test_prometheus_is_told_where_the_metrics_are(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = DEPLOYMENTS[f"offload-{role}"]["spec"]["template"]["metadata"]["annotations"]
    bound = settings(role, monkeypatch).metrics.address
    assert bound is not None
    assert told == {"prometheus.io/scrape": "true", "prometheus.io/port": str(bound[1])}
    assert {"name": "metrics", "containerPort": bound[1]} in container(role)["ports"]
    [public] = of_kind("Service")["offload"]["spec"]["ports"]
    assert public["targetPort"] != "metrics"
