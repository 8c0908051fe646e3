"""TLS to PostgreSQL as the URL asks for it: with a CA of one's own, and not with another."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_postgres import LARGE, compressed, refused
from tests.postgres import NOBODY, Server, running
from tests.s3 import free_ports
from tests.service import Service

DAYS = "2"


@dataclass
class Encrypted:
    """A server that speaks TLS, with the authority that signed for it, and another one."""

    server: Server
    port: int
    authority: Path
    stranger: Path

    def url(self, database: str, **more: str) -> str:
        asked = "&".join(f"{name}={value}" for name, value in more.items())
        return f"postgresql://postgres@localhost:{self.port}/{database}?{asked}"


def programs() -> Path:
    """Give a server's programs that know TLS: those of the wheel do not."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found or shutil.which("openssl") is None:
        pytest.skip("no PostgreSQL with TLS is installed: Debian's postgresql, and openssl")
    return found[-1].parent


def authority(folder: Path, name: str) -> Path:
    made = folder / f"{name}.crt"
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", DAYS, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key",
             "-out", made)  # fmt: skip
    return made


def signed(folder: Path, by: Path, host: str) -> tuple[Path, Path]:
    """Give a key and a certificate for a host."""
    key, asked, made, names = (folder / f"server.{end}" for end in ("key", "csr", "crt", "ext"))
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={host}", "-keyout", key, "-out", asked)  # fmt: skip
    names.write_text(f"subjectAltName=DNS:{host}")
    _openssl("x509", "-req", "-in", asked, "-CA", by, "-CAkey", by.with_suffix(".key"),
             "-CAcreateserial", "-days", DAYS, "-extfile", names, "-out", made)  # fmt: skip
    key.chmod(0o600)
    return key, made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Encrypted]:
    found = programs()
    [port] = free_ports(1)
    with running(programs=found, listen_addresses="127.0.0.1", port=str(port)) as server:
        by, stranger = authority(server.folder, "authority"), authority(server.folder, "stranger")
        for path in signed(server.folder, by, "localhost"):
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        told = {"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}
        for name, value in told.items():
            server.execute(f"ALTER SYSTEM SET {name} = '{server.folder / value}'")
        server.execute("ALTER SYSTEM SET ssl = on")
        server.execute("SELECT pg_reload_conf()")
        yield Encrypted(server, port, by, stranger)


@pytest.mark.short
def test_a_server_is_held_to_the_certificate_that_the_url_asks_for(
    encrypted: Encrypted, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    database = encrypted.server.new_database()
    trusted = encrypted.url(database, sslmode="verify-full", sslrootcert=str(encrypted.authority))
    with (
        Service.started(tmp_path / "data", {"OFFLOAD_DATABASE_URL": trusted}) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        job = compressed(http, LARGE, b"small " * 99)
        assert http.get(f"/v1/jobs/{job}?wait=30").json()["status"] == "succeeded"
        found = encrypted.server.execute(
            "SELECT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            f"WHERE datname = '{database}'"
        )
        assert {ssl for ssl, _ in found} == {True}
    wrong = {
        "another authority": {"sslrootcert": str(encrypted.stranger)},
        "another host": {"sslrootcert": str(encrypted.authority), "host": "127.0.0.1"},
    }
    for more in wrong.values():
        url = encrypted.url(database, sslmode="verify-full", **more)
        said = refused(tmp_path / "data", {"OFFLOAD_DATABASE_URL": url})
        [line] = said.splitlines()
        assert line.startswith("The database of OFFLOAD_DATABASE_URL cannot be used: ")
        assert "certificate" in line
    tell(f"{len(found)} connections, all {found[0][1]}, verify-full; refused: {', '.join(wrong)}")
