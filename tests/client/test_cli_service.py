"""The command `offload` and its service: keys, records, faults, interruptions, the terminal."""

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.client.conftest import KEY, cutting
from tests.client.shell import made, run

# -- with a service --------------------------------------------------------------------------------


def test_a_key_is_read_from_a_file_and_never_typed(keyed, tmp_path, folder):
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "wrong").write_text("a-wrong-key-of-some-length")
    (tmp_path / "empty").write_text("")
    at = ("--server", keyed.url)
    ended = run("compress", "access.log", *at)
    assert ended.exit_code == 1
    assert "OFFLOAD_KEY" in ended.stderr
    ended = run("compress", "access.log", *at, "--key-file", tmp_path / "wrong")
    assert (ended.exit_code, "a-wrong-key" in ended.output) == (1, False)
    assert run("compress", "access.log", *at, "--key-file", tmp_path / "empty").exit_code == 2
    ended = run("compress", "access.log", *at, "--key-file", tmp_path / "key", "--tag", "keyed")
    assert ended.exit_code == 0
    ended = run("jobs", "list", *at, "--tag", "keyed", env={"OFFLOAD_KEY": KEY})
    assert ended.stdout.count("\n") == 1
    assert made(folder) == ["access.log.gz"]


def test_a_server_that_is_not_there(folder, monkeypatch):
    monkeypatch.setattr("offload.retrying.Retry.delay_s", lambda *_: None)
    ended = run("compress", "access.log", "--server", "http://127.0.0.1:1")
    assert ended.exit_code == 1
    assert "No connection to http://127.0.0.1:1" in ended.stderr
    assert "[client.connection]" in ended.stderr
    assert run("jobs", "list", "--server", "http://127.0.0.1:1").exit_code == 1
    assert run("compress", "access.log", "--server", "nonsense").exit_code == 2
    assert run("jobs", "list").exit_code == 2
    assert made(folder) == []


def test_without_a_service_and_without_its_package(folder, monkeypatch):
    monkeypatch.setattr("offload.cli.here.entry_points", lambda **_: [])
    ended = run("compress", "access.log")
    assert (ended.exit_code, made(folder)) == (2, [])
    assert "--server or OFFLOAD_SERVER" in ended.stderr


def test_a_command_that_nobody_can_be_asked_for(monkeypatch, capsys):
    monkeypatch.setattr("offload.retrying.Retry.delay_s", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run("misbehave", env={"OFFLOAD_SERVER": "http://127.0.0.1:1"})
    assert ended.value.code == 1
    assert "No connection to" in capsys.readouterr().err


def test_a_connection_that_is_cut_leaves_nothing_half(service, folder):
    noise = os.urandom(2 << 20)
    Path("noise").write_bytes(noise)
    with cutting(service.url) as proxy:
        proxy.cut_requests = [1 << 20]
        ended = run("compress", "noise", "--level", "fast", "--server", proxy.url)
        assert ended.exit_code == 0, ended.output
        assert gzip.decompress(Path("noise.gz").read_bytes()) == noise
    assert made(folder) == ["noise", "noise.gz"]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(service, folder):
    """A limit on the size of files and /dev/full fail as a full disk does, without root."""
    Path("noise").write_bytes(os.urandom(2 << 20))
    command = [sys.executable, "-m", "offload", "compress", "noise", "--server", service.url]
    limited = ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *command]
    ended = subprocess.run(limited, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.endswith("File too large. [client.output]\n")
    assert made(folder) == ["noise"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*command, "-o", "-"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.endswith("standard output: No space left on device. [client.output]\n")


def test_jobs_of_a_service(service, folder, origin):
    at = {"OFFLOAD_SERVER": service.url}
    run("fetch", f"{origin}/1", f"{origin}/none", "-o", "a/", "--tag", "shell", env=at)
    [line] = run("jobs", "list", "--tag", "shell", env=at).stdout.splitlines()
    job, status, counts, *_ = line.split("\t")
    assert (status, counts) == ("partial", "total=2 succeeded=1 failed=1")
    shown = json.loads(run("jobs", "show", job, env=at).stdout)
    assert [item["status"] for item in shown["items"]] == ["succeeded", "failed"]
    assert run("jobs", "retry", job, env=at).exit_code == 0
    ended = run("jobs", "watch", job, env=at)
    assert ended.exit_code == 1
    assert "fetch.status" in ended.stdout
    ended = run("jobs", "download", job, "-o", "got", env=at)
    assert (ended.exit_code, ended.stdout) == (1, "got/1\n")
    assert run("jobs", "download", job, "-o", "got", env=at).exit_code == 1
    assert run("jobs", "download", job, "-o", "got", "--force", env=at).stdout == "got/1\n"
    assert run("jobs", "cancel", job, env=at).stdout == f"{job}\tpartial\n"
    assert run("jobs", "delete", job, env=at).exit_code == 0
    ended = run("jobs", "show", job, env=at)
    assert (ended.exit_code, "[input.not_found]" in ended.stderr) == (1, True)
    assert run("jobs", "show", "../x", env=at).exit_code == 2


def test_files_and_deliveries_of_a_service(service, folder, text):
    at = {"OFFLOAD_SERVER": service.url}
    file, size, name = run("files", "upload", "access.log", env=at).stdout.strip().split("\t")
    assert (int(size), name) == (len(text), "access.log")
    assert file in run("files", "list", env=at).stdout
    assert json.loads(run("files", "show", file, env=at).stdout)["id"] == file
    assert run("files", "download", file, "-o", "-", env=at).stdout_bytes == text
    assert run("files", "download", file, env=at).exit_code == 1
    assert run("files", "download", file, "-o", "b", env=at).stdout == "b\n"
    assert run("files", "delete", file, env=at).exit_code == 0
    assert run("files", "show", file, env=at).exit_code == 1
    assert run("deliveries", "list", env=at).exit_code == 0
    assert run("deliveries", "replay", "msg_none", env=at).exit_code == 1


# -- operations of other packages, and who has had enough ------------------------------------------


def test_an_operation_of_another_package_has_its_command(keyed, folder, text):
    """Not a line of code for it: the service describes it."""
    at = {"OFFLOAD_SERVER": keyed.url, "OFFLOAD_KEY": KEY}
    told = run("misbehave", "--help", env=at).output
    assert "--how" in told
    assert "die_if_poison" in told
    ended = run("misbehave", "access.log", "--how", "copy", "-o", "copy", env=at)
    assert (ended.exit_code, Path("copy").read_bytes()) == (0, text)
    ended = run("misbehave", "access.log", "--how", "raise", "-o", "none", env=at)
    assert (ended.exit_code, "[internal.operation]" in ended.stderr) == (1, True)
    assert run("misbehave", "access.log").exit_code == 2
    assert made(folder) == ["copy"]


def stopped(number, plugin, *more):
    """Send a signal to the command while a worker is at its work; gives its exit code and words."""
    os.mkfifo("pipe")
    os.mkfifo("pipe.began")
    command = [sys.executable, "-m", "offload", "misbehave", "access.log", "--how", "wait"]
    with subprocess.Popen(
        [*command, "--pipe", str(Path("pipe").absolute()), *more],
        env=os.environ
        | {"PYTHONPATH": str(plugin), "OFFLOAD_POOL_WORKERS": "1"}
        | {"OFFLOAD_KEY": KEY, "OFFLOAD_LOG_FORMAT": "json"},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert Path("pipe.began").read_text()
        running.send_signal(number)
        _, said = running.communicate(timeout=30)
    return running.returncode, said


def test_who_has_had_enough_cancels_the_job(keyed, folder, plugin):
    code, said = stopped(signal.SIGINT, plugin, "--server", keyed.url)
    bearer = {"Authorization": f"Bearer {KEY}"}
    [job] = httpx.get(f"{keyed.url}/v1/jobs?limit=1", headers=bearer).json()["jobs"]
    assert (code, said) == (130, f"offload: Interrupted. Canceled: {job['id']}.\n")
    assert job["status"] == "canceled"
    assert made(folder) == []


def test_right_here_it_is_the_same_pool_of_processes(folder, monkeypatch):
    from app.cpu import CpuPool

    pools = []
    opened = CpuPool.open

    async def noting(self):
        pools.append(self)
        await opened(self)

    monkeypatch.setattr(CpuPool, "open", noting)
    assert run("image", "photo.jpg", "--width", 8).exit_code == 0
    assert [(pool.executor, pool.workers) for pool in pools] == [("process", 1)]
    assert made(folder) == ["photo-image.jpg"]


def test_nothing_goes_on_right_here_behind_ones_back(folder, plugin):
    code, said = stopped(signal.SIGTERM, plugin)
    assert (code, said) == (143, "offload: Interrupted.\n")
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["access.log", "photo.jpg", "pipe", "pipe.began"]


# -- what people see -------------------------------------------------------------------------------


def test_a_terminal_sees_how_it_goes_and_went(service, folder):

    near, far = pty.openpty()
    words = ["image", "photo.jpg", "access.log", "--width", "8", "--server", service.url]
    with subprocess.Popen(
        [sys.executable, "-m", "offload", *words],
        env=os.environ | {"TERM": "xterm", "COLUMNS": "150"},
        stderr=far,
        stdout=subprocess.PIPE,
    ) as running:
        os.close(far)
        said = b""
        while piece := _read(near):
            said += piece
        assert running.wait() == 3
        assert running.stdout.read() == b""
    os.close(near)
    text = said.decode()
    for words in ("all", "photo.jpg -> photo-image.jpg: ", "% of ", "[image.unsupported]"):
        assert words in text, text


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody writes to it any more
        return b""
