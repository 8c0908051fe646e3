"""The command `offload`, with a service and without one: the same words, the same files."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from offload.cli.options import choices
from offload.cli.root import command_line
from PIL import Image
from typer.testing import CliRunner

from tests.client.conftest import KEY, cutting

ENVIRONMENT = {
    name: None for name in (*os.environ, "OFFLOAD_SERVER") if name.startswith("OFFLOAD_")
}


@pytest.fixture
def folder(tmp_path, monkeypatch, photo, text):
    """Somewhere with a few files, and nothing else."""
    folder = tmp_path / "there"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "photo.jpg").write_bytes(photo)
    (folder / "access.log").write_bytes(text)
    return folder


def run(*words, given=None, env=None):
    words = [str(word) for word in words]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (ENVIRONMENT | (env or {})).items():
            patched.delenv(name, raising=False)
            if value is not None:
                patched.setenv(name, value)
        return CliRunner().invoke(command_line(words), words, input=given)


@pytest.fixture(params=["a service", "right here"])
def offload_(request, service):
    """Runs the command, one way and the other."""
    env = {"OFFLOAD_SERVER": service.url} if request.param == "a service" else {}
    if not env:
        # To start a process for each call is half a second of work; one test does.
        env = {"OFFLOAD_POOL_WORKERS": "1", "OFFLOAD_POOL_EXECUTOR": "thread"}

    def called(*words, given=None, more_env=None):
        return run(*words, given=given, env=env | (more_env or {}))

    called.env = env
    called.remote = request.param == "a service"
    return called


def made(folder):
    """What is there beside the inputs."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return sorted(found - {"photo.jpg", "access.log"})


# -- both ways -------------------------------------------------------------------------------------


def test_a_photo_gets_smaller_beside_itself(offload_, folder):
    ended = offload_("image", "photo.jpg", "--width", "80")
    assert (ended.exit_code, ended.output) == (0, "")
    assert made(folder) == ["photo-image.jpg"]
    with Image.open("photo-image.jpg") as small:
        assert small.size == (80, 60)


def test_many_files_some_of_them_bad(offload_, folder, text):
    ended = offload_("image", "photo.jpg", "access.log", "none.jpg", "--width", 8, "-o", "out/")
    assert ended.exit_code == 3
    assert made(folder) == ["out/photo.jpg"]
    complaints = ended.stderr.splitlines()
    assert len(complaints) == 2
    assert "none.jpg" in complaints[0]
    assert "[image.unsupported]" in complaints[1]
    assert offload_("image", "access.log", "none.jpg").exit_code == 1


def test_folders_and_globs(offload_, folder, text):
    (folder / "logs" / "old").mkdir(parents=True)
    for name in ("logs/a.log", "logs/old/b.log"):
        (folder / name).write_bytes(text)
    refused = offload_("compress", "logs")
    assert (refused.exit_code, made(folder)) == (1, ["logs/a.log", "logs/old/b.log"])
    assert "-r takes the files in it" in refused.stderr
    ended = offload_("compress", "-r", "logs", "*.log", "-o", "packed/", "--format", "zstd")
    assert ended.exit_code == 0, ended.output
    assert made(folder)[2:] == [
        "packed/access.log.zst",
        "packed/logs/a.log.zst",
        "packed/logs/old/b.log.zst",
    ]


def test_json_is_a_line_a_file(offload_, folder):
    ended = offload_("compress", "access.log", "none", "--json")
    bad, good = (json.loads(line) for line in ended.stdout.splitlines())
    assert (good["input"], good["status"], good["error"]) == ("access.log", "succeeded", None)
    [result] = good["results"]
    assert (result["path"], result["size_bytes"]) == (
        "access.log.gz",
        Path("access.log.gz").stat().st_size,
    )
    assert good["facts"]["compress"]["format"] == "gzip"
    assert bool(good["job"]) == offload_.remote
    assert (bad["status"], bad["error"]["code"]) == ("failed", "client.input")
    assert (ended.stderr, ended.exit_code) == ("", 3)


def test_standard_input_and_output(offload_, folder, text):
    ended = offload_("compress", "-", given=text)
    assert (ended.exit_code, gzip.decompress(ended.stdout_bytes)) == (0, text)
    back = offload_("decompress", "-", "-o", "back.log", given=ended.stdout_bytes)
    assert (back.exit_code, Path("back.log").read_bytes()) == (0, text)
    ended = offload_("image", "photo.jpg", "--width", 8, "-o", "-")
    with Image.open(io.BytesIO(ended.stdout_bytes)) as small:
        assert small.width == 8
    assert made(folder) == ["back.log"]


def test_many_into_one_and_out_again(offload_, folder, text, photo):
    (folder / "in" / "deep").mkdir(parents=True)
    shutil.move("photo.jpg", "in/deep/photo.jpg")
    shutil.move("access.log", "in/access.log")
    ended = offload_("archive", "-r", "in", "-o", "all.zip", "--no-deterministic")
    assert ended.exit_code == 0, ended.output
    with zipfile.ZipFile("all.zip") as archive:
        assert sorted(archive.namelist()) == ["in/access.log", "in/deep/photo.jpg"]
    assert offload_("extract", "all.zip").exit_code == 0
    assert Path("all/in/access.log").read_bytes() == text
    assert Path("all/in/deep/photo.jpg").read_bytes() == photo
    ended = offload_("extract", "all.zip", "--list-only")
    assert ended.exit_code == 0
    assert len(json.loads(ended.stdout)["extract"]["members"]) == 2


def test_what_makes_no_file_prints_its_facts(offload_, folder):
    ended = offload_("inspect", "photo.jpg", "--digests", "md5,crc32")
    facts = json.loads(ended.stdout)["inspect"]
    assert (facts["media_type"], sorted(facts["digests"])) == ("image/jpeg", ["crc32", "md5"])


def test_nothing_is_replaced_without_force(offload_, folder):
    Path("access.log.gz").write_bytes(b"mine")
    ended = offload_("compress", "access.log")
    assert ended.exit_code == 1
    assert "access.log.gz is there already; --force replaces it." in ended.stderr
    assert Path("access.log.gz").read_bytes() == b"mine"
    assert offload_("compress", "access.log", "--force").exit_code == 0
    assert gzip.decompress(Path("access.log.gz").read_bytes()) == Path("access.log").read_bytes()
    Path("one").write_bytes(b"mine")
    assert offload_("compress", "access.log", "-o", "one").exit_code == 1
    assert made(folder) == ["access.log.gz", "one"]


def test_two_results_of_one_name_do_not_replace_each_other(offload_, folder, text):
    Path("a").mkdir()
    Path("a/access.log").write_bytes(text)
    ended = offload_("compress", "access.log", "a/access.log", "-o", "out/", "-P", 1, "--force")
    assert ended.exit_code == 3
    assert "another result of this run has that name" in ended.stderr


def test_what_cannot_be_meant_is_usage(offload_, folder, monkeypatch):
    for words in (
        ["compress", "access.log", "--level", "99"],
        ["compress", "access.log", "--nothing"],
        ["compress", "access.log", "--format", "rar"],
        ["image", "photo.jpg", "--width", "wide"],
        ["image", "photo.jpg", "--width", "99999999"],
        ["image", "photo.jpg", "access.log", "-o", "one.jpg"],
        ["image", "photo.jpg", "access.log", "-o", "-"],
        ["nothing"],
        ["jobs", "list", "--key-file", "none"],
    ):
        ended = offload_(*words)
        assert (ended.exit_code, made(folder)) in ((2, []), (1, [])), words
        # The level of a format is the operation's own to judge: only right here it is so early.
        assert ended.exit_code == 2 or (offload_.remote and words[2:3] == ["--level"]), words
        assert "Traceback" not in ended.output


def test_folders_without_permission(offload_, folder, monkeypatch):
    """Root may do all that permissions forbid: not make a folder in /sys, though."""
    ended = offload_("compress", "access.log", "-o", "/sys/offload/")
    assert (ended.exit_code, made(folder)) == (1, [])
    assert "not permitted" in ended.stderr or "denied" in ended.stderr
    Path("hidden").mkdir()
    scandir = os.scandir

    def refusing(path="."):
        if str(path).endswith("hidden"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ended = offload_("compress", "-r", "hidden", "access.log")
    assert (ended.exit_code, ended.stderr) == (
        3,
        "offload: hidden: Permission denied. [client.input]\n",
    )
    assert made(folder) == ["access.log.gz"]


def test_an_output_folder_that_is_a_file(offload_, folder):
    ended = offload_("compress", "access.log", "-o", "photo.jpg/")
    assert ended.exit_code == 1
    assert "photo.jpg" in ended.stderr
    assert made(folder) == []


def test_urls_are_fetched(offload_, folder, origin):
    env = {"OFFLOAD_FETCH_ALLOW_NETWORKS": "127.0.0.1/32"}
    Path("urls.txt").write_text(f"{origin}/1\n\n{origin}/text\nnonsense\n{origin}/none\n")
    ended = offload_("fetch", "urls.txt", f"{origin}/2", "-o", "pages/", more_env=env)
    assert ended.exit_code == 3
    assert made(folder) == ["pages/1", "pages/2", "pages/text", "urls.txt"]
    assert "nonsense is no URL" in ended.stderr
    assert "[fetch.status]" in ended.stderr
    ended = offload_("image", f"{origin}/photo.jpg", "--width", 8, "-o", "a.jpg", more_env=env)
    assert ended.exit_code == 0
    with Image.open("a.jpg") as small:
        assert small.width == 8


def test_names_that_climb_stay_inside(offload_, folder):
    with zipfile.ZipFile("bad.zip", "w") as archive:
        archive.writestr("good.txt", b"good")
        archive.writestr("../../bad.txt", b"bad")
        archive.writestr("sub/..hidden", b"odd")
    ended = offload_("extract", "bad.zip")
    assert ended.exit_code == 0
    assert "[archive.unsafe_path]" in ended.stderr
    assert made(folder) == ["bad.zip", "bad/good.txt", "bad/sub/..hidden"]
    assert not (folder.parent / "bad.txt").exists()


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
        | {"OFFLOAD_KEY": KEY},
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
    import pty

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


# -- what derives ----------------------------------------------------------------------------------


def test_every_option_of_every_operation_is_one_of_its_command():
    from app.ops.registry import load_offered

    for name, operation in load_offered().items():
        told = run(name, "--help", env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).output
        for option in operation.params.model_fields:
            assert f"--{option.replace('_', '-')}" in told, (name, option)
        assert "Examples:" in told


def test_values_are_read_as_what_they_can_be():
    operation = {
        "name": "odd",
        "params": {
            "properties": {
                "mixed": {"anyOf": [{"type": "integer"}, {"type": "boolean"}, {"enum": ["a"]}]},
                "list": {"type": "array", "items": {"type": "integer"}},
                "thing": {"$ref": "#/$defs/Thing"},
                "force": {"type": "boolean"},
            },
            "$defs": {"Thing": {"type": "object", "properties": {}}},
        },
    }
    by_name = {one.name: one for one in choices(operation, frozenset({"force"}))}
    assert [by_name["mixed"].value(text) for text in ("7", "true", "a", "-2")] == [7, True, "a", -2]
    assert by_name["list"].value(["1", "2"]) == [1, 2]
    assert by_name["list"].value(["1,2"]) == "1,2"
    assert by_name["thing"].value('{"a": [1]}') == {"a": [1]}
    assert by_name["thing"].value("{broken") == "{broken"
    [option] = by_name["force"].annotation.__metadata__
    assert option.default == "--odd-force/--no-odd-force"


def test_completion_knows_commands_and_their_options():
    def completed(typed):
        env = {"_OFFLOAD_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "1"}
        env |= {"_TYPER_COMPLETE_ARGS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
        said = subprocess.run(
            [Path(sys.executable).with_name("offload")],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return said.stdout.split()

    assert completed("offload compress --for") == ["--format", "--force"]
