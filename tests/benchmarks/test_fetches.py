"""The measurements of fetching: an origin that counts, fetchers that are checked, verdicts."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks import __main__ as program
from benchmarks import fetches, processes, services
from benchmarks.cases import fetch_million, fetch_peers
from benchmarks.cases.fetch_million import Story
from benchmarks.cases.fetch_peers import OURS, Bodies, Measured
from benchmarks.course import Course, Poll, Sample
from benchmarks.origin import COUNTS, Origin
from benchmarks.origin import Bodies as Served
from benchmarks.peers import fetchers
from benchmarks.peers.fetchers import CURL, TUTORIAL, Fetcher, Spent
from benchmarks.peers.tools import Tool
from benchmarks.wire import Connection


def of_origin(*targets):
    """GET these of an origin that has just begun."""

    async def get():
        loop = asyncio.get_running_loop()
        served = Served()
        server = await loop.create_server(lambda: Origin(served), "127.0.0.1", 0)
        async with server, Connection(server.sockets[0].getsockname()[1]) as connection:
            return [(await connection.get(target, keep=True)).body for target in targets]

    return asyncio.run(get())


def test_origin_gives_each_url_a_body_of_its_size():
    targets = ("/0/0/16", "/0/1/16", "/0/2/4000", "/0/3/8000000", "/0/2")
    bodies = of_origin(*targets)
    assert [len(body) for body in bodies] == [16, 16, 4000, 8_000_000, 4000]
    assert len(set(bodies)) == len(bodies)
    assert all(body.isalnum() for body in bodies)


def test_origin_counts_what_was_asked_for_again():
    *_, told = of_origin("/0/0/16", "/0/7/16", "/0/7/16", "/0/7/16", COUNTS.decode())
    assert json.loads(told) == {"requests": 4, "urls": 2, "repeated_urls": 1}


@pytest.fixture
def origin(tmp_path):
    with services.origin(tmp_path) as origin:
        yield origin


@pytest.mark.parametrize("fetcher", fetchers.ALL, ids=lambda fetcher: fetcher.name)
def test_fetcher_brings_every_body_and_leaves_nothing(fetcher, origin, tmp_path):
    if not fetcher.installed:
        pytest.skip(f"{fetcher.name} is not installed")
    before = set(tmp_path.iterdir())
    spent = fetchers.fetched(fetcher, tmp_path, fetches.urls_of(origin.port, 20), 4000)
    assert 0 < spent.seconds < 60
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"fetchers.log"}


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([4, 4], "2 files for 3 URLs, 2 of them whole"),
        ([4, 3, 4], "3 files for 3 URLs, 2 of them whole"),
        ([4, 4, 4, 1], "4 files for 3 URLs, 3 of them whole"),
    ],
    ids=["missing", "short", "one more"],
)
def test_files_that_are_not_all_there_are_told(sizes, said, tmp_path):
    for number, size in enumerate(sizes):
        (tmp_path / str(number)).write_bytes(bytes(size))
    with pytest.raises(RuntimeError, match=said):
        fetchers.check_files("curl", tmp_path, 3, 4)


def test_fetcher_that_fails_says_why(tmp_path):
    command = ("sh", "-c", "echo no such host >&2; exit 6")
    failing = Fetcher("sh", lambda *_: command, Tool("sh", ("sh",)))
    with pytest.raises(RuntimeError, match=r"sh ended with 6:\nno such host"):
        fetchers.fetched(failing, tmp_path, ["http://127.0.0.1:9/0/0"], 4000)


def test_cpu_of_a_group_has_that_of_its_ended_children():
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); "
        "print('done', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        (sys.executable, "-c", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == b"done\n"
        assert processes.members(process.pid) == [process.pid]
        assert processes.cpu_s(process.pid) >= 0.2
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.members(process.pid) == []  # a zombie runs no more


def bodies(**seconds):
    runs = {
        name: [Measured(Spent(taken, 1.0, peak_bytes), 0.1)]
        for name, (taken, peak_bytes) in seconds.items()
    }
    return Bodies(100, 4000, runs)


def raced(ours_s, *, peak_mb=100, curl_s=None, tutorial_s=6.0):
    measured = {OURS: (ours_s, peak_mb * 1_000_000), TUTORIAL.name: (tutorial_s, 0)}
    if curl_s is not None:
        measured[CURL.name] = (curl_s, 0)
    return bodies(**measured)


MET, MISSED, UNMEASURED = "- met:", "- **NOT met**:", "- **not measured**:"


@pytest.mark.parametrize(
    ("small", "large", "starts"),
    [
        (raced(2, curl_s=1), raced(10, curl_s=8, peak_mb=132), [MET, MET, MET, MET]),
        (raced(2.1, curl_s=1), raced(10, curl_s=8), [MISSED, MET, MISSED, MET]),
        (raced(2, curl_s=1), raced(10, curl_s=7.9), [MET, MISSED, MET, MET]),
        (raced(2, curl_s=1), raced(10, curl_s=8, peak_mb=133), [MET, MET, MET, MISSED]),
        (raced(2), raced(10), [UNMEASURED, UNMEASURED, MET, MET]),
    ],
    ids=["all met", "slow on small", "slow on large", "memory grows", "no curl"],
)
def test_verdicts_of_the_race(small, large, starts):
    said = fetch_peers.verdicts(small, large)
    assert len(said) == len(starts)
    assert all(line.startswith(start) for line, start in zip(said, starts, strict=True))


def story(**changes):
    told = {
        "count": 2000,
        "idle_bytes": 90_000_000,
        "peaks_bytes": [120_000_000, 139_000_000],
        "finished_at_kill": 1000,
        "job": {"counts": {"succeeded": 2000, "failed": 0, "canceled": 0}},
        "counts": {"requests": 2016 + 9, "urls": 2016, "repeated_urls": 9},
    }
    return Story(**told | changes)


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({}, [MET, MET, MET]),
        ({"counts": {"requests": 2026, "urls": 2016}}, [MET, MISSED, MET]),
        ({"counts": {"requests": 2015, "urls": 2015}}, [MISSED, MET, MET]),
        ({"job": {"counts": {"succeeded": 1999}}}, [MISSED, MET, MET]),
        ({"peaks_bytes": [140_000_000, 100_000_000]}, [MET, MET, MISSED]),
    ],
    ids=["all met", "1 % repeated", "one never fetched", "one failed", "memory grows"],
)
def test_verdicts_of_the_million(changes, starts):
    said = fetch_million.verdicts(story(**changes))
    assert len(said) == len(starts)
    assert all(line.startswith(start) for line, start in zip(said, starts, strict=True))


def test_course_is_cut_into_slices():
    course = Course()
    course.samples = [Sample(1, 50_000_000, 80_000_000, 0), Sample(120, 60_000_000, 90_000_000, 5)]
    course.polls = [Poll(1, 4.0, 10), Poll(9, 6.0, 30), Poll(119, 8.0, 100)]
    rows = course.table("course", ()).rows
    assert rows[0] == ["10 s", "30", "3", "50", "80", "0", "2", "4.0", "6.0", "6.0"]
    assert rows[1] == ["20 s", "30", "0", "", "", "", "0", "", "", ""]
    assert rows[-1] == ["120 s", "100", "7", "60", "90", "0", "1", "8.0", "8.0", "8.0"]


def test_disk_use_is_of_blocks_not_of_lengths(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a", "below/b"):
        (tmp_path / name).write_bytes(b"x" * 5000)
    files, taken_bytes = fetch_million.on_disk(tmp_path)
    assert files == 2
    assert taken_bytes >= 10_000
    assert taken_bytes % 512 == 0


def test_what_takes_an_hour_is_run_only_by_its_name():
    assert "fetch-million" in program.CASES
    long = {"fetch-million", "migrate-million", "submissions", "noop", "full-tables", "guide"}
    assert set(program.everything()) == set(program.CASES) - long
