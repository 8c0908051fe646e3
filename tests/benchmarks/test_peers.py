"""The benchmarks' peers: what is locked, and what is said of one that is missing."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from benchmarks.bench import Bench
from benchmarks.cases import codecs
from benchmarks.load import Load
from benchmarks.peers import bare_lock, found, servers, tools
from benchmarks.peers.tools import Tool
from benchmarks.race import Raced, raced

PEERS = Path(tools.__file__).parent
NPM_LOCK = PEERS / "ipx" / "package-lock.json"
PIP_LOCK = PEERS / "thumbor" / "requirements.txt"


@pytest.mark.parametrize("lock", [NPM_LOCK, PIP_LOCK], ids=lambda path: path.name)
def test_lock_names_no_address(lock):
    assert "://" not in lock.read_text()


def test_every_npm_package_is_locked_by_digest():
    packages = json.loads(NPM_LOCK.read_text())["packages"]
    del packages[""]  # the project itself
    # What a package brings inside of itself has its digest.
    locked = [package for package in packages.values() if not package.get("inBundle")]
    assert locked
    assert all(package["integrity"].startswith("sha512-") for package in locked)


def test_every_pip_package_is_locked_by_digest():
    requirements = re.split(r"\n(?=\S)", PIP_LOCK.read_text().strip())
    assert any(requirement.startswith("thumbor==") for requirement in requirements)
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_lock_is_bared_of_addresses_and_keeps_the_rest():
    package = {"version": "1", "integrity": "sha512-x"}
    said = {"funding": {"url": "https://a"}, "resolved": "https://b", "deprecated": "see https://c"}
    lock = json.dumps({"lockfileVersion": 3, "packages": {"a": package | said}})
    assert json.loads(bare_lock.bare(lock)) == {"lockfileVersion": 3, "packages": {"a": package}}


def test_missing_peers_are_named_with_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "IPX", tmp_path / "ipx")
    _, line = found.described()
    assert "pigz, igzip, zstd" in line
    assert "ipx" in line
    assert "make bench-peers" in line
    assert "apt-get install pigz isal zstd xz-utils bzip2 lbzip2 lz4 brotli curl aria2" in line


def test_tool_that_fails_fails_the_load(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    failing = tools.compressing(Tool("false", ("false",)), source, tmp_path)
    with pytest.raises(RuntimeError, match=r"false exited with 1\."):
        asyncio.run(failing(0))
    assert list(tmp_path.iterdir()) == [source]


def test_contenders_take_turns_in_every_round(tmp_path):
    bench = Bench(tmp_path, rounds=2, quick=True)
    order = []

    def run_of(name):
        def run(clients):
            order.append((name, clients))
            return Load([1000.0 / clients], 1.0 if name == "a" else 2.0, 0.0)

        return run

    race = raced(bench, {"a": run_of("a"), "b": run_of("b")}, (1, 4), "work")
    assert order == [("a", 1), ("b", 1), ("b", 1), ("a", 1), ("a", 4), ("b", 4), ("b", 4), ("a", 4)]
    assert race.gain("a", "b", 1) == 2.0
    assert race.p50_ms("a", 4) == 250.0


PAIR = codecs.REQUIRED[0]


def outcome(our_ratio, their_ratio, our_seconds):
    theirs, ours = [Load([1000.0], 1.2, 0.0)], [Load([1000.0], our_seconds, 0.0)]
    race = Raced({1: {PAIR.tool.name: theirs, PAIR.ours: ours}})
    return codecs.Outcome(PAIR, our_ratio, their_ratio, race)


@pytest.mark.parametrize(
    ("our_ratio", "our_seconds", "start"),
    [
        (5.0, 1.0, "- met:"),
        (5.0, 1.01, "- **NOT met**:"),
        (4.999, 1.0, "- **NOT met**:"),
    ],
    ids=["fast and dense", "slower than required", "less dense"],
)
def test_verdict_asks_for_speed_and_ratio(our_ratio, our_seconds, start):
    assert codecs.verdict_of(outcome(our_ratio, 5.0, our_seconds)).startswith(start)


def test_missing_tool_is_no_success():
    said = codecs.verdict_of(outcome(5.0, None, 1.0))
    assert said.startswith("- **not measured**: gzip balanced")
    assert said.endswith("pigz is not installed.")
