"""Hosts of their own for nodes: network namespaces on a bridge. Only root can make them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

NETWORK = "10.77.0"
HERE, DATABASE = f"{NETWORK}.1", f"{NETWORK}.2"
"""This machine's addresses on the bridge; the second one is where the nodes look for records."""
NOBODY = "02:00:00:00:00:99"


class Hosts:
    """Each node's host, by the node's name."""

    def __init__(self) -> None:
        self._tag = f"of{os.getpid() % 100_000}"
        self._names: list[str] = []
        self.has_latency = False
        """Whether the kernel delays what the hosts send; else somebody else has to."""

    def address(self, name: str) -> str:
        return f"{NETWORK}.{10 + self._names.index(name)}"

    def within(self, name: str) -> Sequence[str]:
        """Give the command that runs something on a node's host."""
        return ("ip", "netns", "exec", self._host(name))

    def _host(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def make(self, names: Sequence[str], latency_ms: int) -> None:
        _ip("link", "add", self._tag, "type", "bridge")
        for address in (HERE, DATABASE):
            _ip("addr", "add", f"{address}/24", "dev", self._tag)
        _ip("link", "set", self._tag, "up")
        for name in names:
            self._names.append(name)
            host, end = self._host(name), f"{self._tag}v{len(self._names)}"
            _ip("netns", "add", host)
            _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", host)
            _ip("link", "set", end, "master", self._tag, "up")
            _ip("-n", host, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host, "link", "set", device, "up")
            self.has_latency = _delayed(end, latency_ms)

    def cut_from_database(self, name: str) -> None:
        """Have what a host sends to the database get lost, without a word to anybody."""
        _ip("-n", self._host(name), "neigh", "replace", DATABASE, "lladdr", NOBODY,
            "nud", "permanent", "dev", "eth0")  # fmt: skip

    def heal(self, name: str) -> None:
        _ip("-n", self._host(name), "neigh", "del", DATABASE, "dev", "eth0")

    def remove(self) -> None:
        """Leave none of it behind; what was never made is not missed."""
        for name in self._names:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._host(name))
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._tag)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


def _delayed(device: str, latency_ms: int) -> bool:
    asked = ["tc", "qdisc", "add", "dev", device, "root", "netem", "delay", f"{latency_ms}ms"]
    try:
        return subprocess.run(asked, check=False, capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def made(names: Sequence[str], latency_ms: int) -> Iterator[Hosts]:
    """Have a host for each of these nodes while the context is open."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root, and iproute2")
    hosts = Hosts()
    try:
        try:
            hosts.make(names, latency_ms)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield hosts
    finally:
        hosts.remove()
