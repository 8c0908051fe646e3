"""docs/scaling.md: what it names is there, its figures are true, a backup made by it restores."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import obstore

from app.nodes.node import DEAD_AFTER_S
from app.settings import Settings, variables
from app.stores.postgres import READERS
from app.stores.postgres_link import PATIENCE_S
from app.stores.postgres_schema import newest
from tests.api.answers import done
from tests.e2e.test_bucket import LARGE, env, stored
from tests.postgres import Server, binaries, running
from tests.s3 import bucket_of, shared_s3, storage
from tests.service import Service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_everything_that_is_named_exists() -> None:
    named = set(re.findall(r"OFFLOAD_[A-Z_]+[A-Z]", "".join(PAGE.split("$OFFLOAD_DATABASE_URL"))))
    assert len(named) > 8
    assert named <= variables().keys()
    paths = set(re.findall(r"`((?:tests|deploy|app)/[\w/.]+)`", PAGE))
    paths |= {f"docs/{link}" for link in re.findall(r"\]\(([\w./]+)", PAGE)}
    paths.discard("deploy/scaled.env")  # deploy/secrets.sh writes it
    assert len(paths) > 15
    for path in paths:
        assert (ROOT / path).exists(), path
    code = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    events = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| log \|(.*?)\|", PAGE, re.MULTILINE)))
    assert len(events) == 7
    for event in events:
        assert f'"{event}"' in code


def test_its_figures_are_those_of_the_code() -> None:
    assert PAGE.count(f"{DEAD_AFTER_S:.0f} s") == 2
    assert f"for up to {PATIENCE_S:.0f} s, and none twice" in PAGE
    assert f"`storage.unavailable` after {PATIENCE_S:.0f} s" in PAGE
    assert READERS + 1 == 3
    assert "a node that takes requests has three at most" in PAGE
    assert Settings().jobs.retention_s == 86_400
    files = (ROOT / "app" / "stores" / "sql" / "postgres").glob("*_*.sql")
    assert newest() == max(int(path.name[:4]) for path in files)


def test_its_figures_of_one_process_stand_in_the_results() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    [run] = re.findall(
        r"^## (2026-11-27, the second design: after)\n.*?commit ed22fe1",
        results,
        re.MULTILINE | re.DOTALL,
    )
    assert run in PAGE
    section = results.partition(f"## {run}")[2].partition("\n## ")[0]
    for what, rate in {
        "1 KB compressed, 32 in flight: Offload": "225",
        "files of 1 KB, sent with their job: Offload": "1,782",
        "URLs of 4 KB: Offload": "846",
        "2 MP to 400x300, 16 in flight: Offload": "75",
        "12 MP to 800x600, 16 in flight: Offload": "21",
    }.items():
        [measured] = re.findall(rf"^\| {re.escape(what)} \| ([\d.]+) \|", section, re.MULTILINE)
        assert f"{float(measured):,.0f}" == rate
        assert f"| {rate} |" in PAGE


def test_a_backup_that_is_made_by_it_restores_by_it(tmp_path: Path) -> None:
    backup, restore = (next(s for s in SHELL if word in s) for word in ("pg_dump", "pg_restore"))
    here, there = f"s3://tests/backed-{os.getpid()}", f"s3://tests/restored-{os.getpid()}"
    with running() as server:
        database = server.new_database()
        old = dict(env(shared_s3(), here)) | {"OFFLOAD_DATABASE_URL": server.url(database)}
        with (
            Service.started(tmp_path / "old", old) as service,
            httpx.Client(base_url=service.url, timeout=60) as http,
        ):
            paths = [stored(http, LARGE), stored(http, b"small")]
            job = done(http.post("/v1/compress?wait=50", content=b"text" * 999))
        run(backup, server, old, tmp_path)
        copied(here, there)
        restored = {
            "OFFLOAD_DATABASE_URL": server.url("offload"),
            "OFFLOAD_STORAGE_URL": there,
        }
        run(restore, server, old | restored, tmp_path)
        with (
            Service.started(tmp_path / "new", old | restored) as service,
            httpx.Client(base_url=service.url, timeout=60) as http,
        ):
            assert [http.get(path).content for path in paths] == [LARGE, b"small"]
            assert done(http.get(job["links"]["self"]))["items"] == job["items"]


def run(lines: str, server: Server, settings: dict[str, str], folder: Path) -> None:
    """Run those lines that are PostgreSQL's."""
    own = "\n".join(line for line in lines.splitlines() if not line.startswith("aws "))
    shell = {"PATH": f"{binaries()}:{os.defpath}", "SERVER_URL": server.url("postgres")}
    done = subprocess.run(
        ["sh", "-euc", own], check=False, capture_output=True, cwd=folder, env=shell | settings
    )
    assert done.returncode == 0, done.stderr.decode()


def copied(here: str, there: str) -> None:
    """Do what `aws s3 sync` does."""
    old, new = (bucket_of(storage(shared_s3(), bucket)) for bucket in (here, there))
    names = [meta["path"] for page in obstore.list(old) for meta in page]
    assert "name" in names
    for name in names:
        obstore.put(new, name, obstore.get(old, name).bytes())
    assert urlsplit(there).path != urlsplit(here).path
