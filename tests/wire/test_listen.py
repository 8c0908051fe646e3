"""The address is taken before anything starts, and a sentence says why it cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from app.wire.listen import CannotListen, bound


def serve(folder, **settings):
    """Try to start a service that cannot; gives its exit code and what it says."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOAD_")}
    ended = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        env=own | {"OFFLOAD_DATA_DIR": str(folder / "data")} | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_taken_port_is_one_sentence_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, said = serve(tmp_path, OFFLOAD_PORT=str(port))
    assert code == 3
    assert said.startswith(f"OFFLOAD_PORT {port} is taken on 127.0.0.1")
    assert said.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "OFFLOAD_HOST 192.0.2.1 is not an address of this machine"),
        ("no-such-name.invalid", "OFFLOAD_HOST no-such-name.invalid is no address"),
    ],
)
def test_an_address_that_is_not_here_is_told(host, said):
    with pytest.raises(CannotListen, match=said):
        bound(host, 0)


def test_all_addresses_of_a_name_get_the_same_port():
    sockets = bound("localhost", 0)
    try:
        assert len({made.getsockname()[1] for made in sockets}) == 1
        with pytest.raises(ConnectionRefusedError):  # nobody is let in yet
            socket.create_connection(sockets[0].getsockname()[:2]).close()
    finally:
        for made in sockets:
            made.close()
