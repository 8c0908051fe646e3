"""docs/operating.md's nginx, as it stands there, in front of any number of services."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.s3 import free_ports

PAGE = (Path(__file__).parents[1] / "docs" / "operating.md").read_text()
[SITE] = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
SERVER = "    server 127.0.0.1:8000;\n"
# What surrounds a site in Debian's nginx.conf, with everything in a folder of its own.
MAIN = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/1; scgi_temp_path {folder}/2; uwsgi_temp_path {folder}/3;
    {site}
}}
"""


@contextmanager
def running(folder: Path, site: str, *urls: str) -> Iterator[str]:
    """Have it pass on to these services, in turn; gives its own URL."""
    [port] = free_ports(1)
    assert site.count("listen 80;") == site.count(SERVER) == 1
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    servers = [SERVER.replace("127.0.0.1:8000", url.removeprefix("http://")) for url in urls]
    site = site.replace(SERVER, "".join(servers))
    with started(folder, MAIN.format(folder=folder, site=site), port) as url:
        yield url


@contextmanager
def started(folder: Path, conf: str, port: int) -> Iterator[str]:
    """Run it by a whole configuration that has it listen on this port; gives its URL."""
    if NGINX is None:
        assert not os.environ.get("NGINX_REQUIRED"), "nginx is not installed"
        pytest.skip("nginx is not installed")
    (folder / "nginx.conf").write_text(conf)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=log
        )
    try:
        _wait(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    with socket.socket() as knocking:
        while knocking.connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
