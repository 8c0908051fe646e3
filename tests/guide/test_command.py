"""`offload guide` as a user has it, with next to no time: what it says, writes and leaves."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.guide.conductor import Heard
from app.guide.document import Guide
from app.guide.pools import cores
from app.guide.situations import BY_KEY, About

OFFLOAD = Path(sys.executable).with_name("offload")
CHEAP = {"web", "downloads", "pictures", "compression"}
TINY = ("--seconds", "0.1")


def environment(folder: Path, **more: str) -> dict[str, str]:
    # A setting of the caller's own service must not change what is measured.
    return os.environ | {"TMPDIR": str(folder), "OFFLOAD_POOL_WORKERS": "7"} | more


def guide(
    folder: Path, *arguments: str, before: Callable[[], None] | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run it in a folder that is its folder for temporary files too."""
    (folder / "temporary").mkdir(exist_ok=True)
    return subprocess.run(
        [OFFLOAD, "guide", *TINY, *arguments],
        env=environment(folder / "temporary", **more),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        preexec_fn=before,
    )


def missing(found: Guide, words: str) -> list[str]:
    """Give why what these words name was not measured."""
    return [one.why for of in found.situations for one in of.missing if words in one.what]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of most situations, and the folder that it was run in.

    The others are in other tests: `data` on one core, `synchronous` interrupted, `background`
    in tests/torture.
    """
    folder = tmp_path_factory.mktemp("whole")
    return folder, guide(folder, "--only", ",".join(sorted(CHEAP)))


@pytest.fixture
def written(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> Guide:
    return Guide.model_validate_json((whole[0] / "guide.json").read_text())


def test_all_is_measured_and_nothing_is_left_but_the_two_files(
    whole: tuple[Path, subprocess.CompletedProcess[str]], written: Guide
) -> None:
    folder, ended = whole
    assert (ended.returncode, ended.stderr.count("Traceback")) == (0, 0), ended.stderr
    assert {path.name for path in folder.iterdir()} == {"guide.html", "guide.json", "temporary"}
    assert list((folder / "temporary").iterdir()) == []
    assert [one.key for one in written.situations] == [key for key in BY_KEY if key in CHEAP]
    assert all(one.complete and one.rows for one in written.situations), ended.stderr


def test_the_table_tells_of_each_row(
    whole: tuple[Path, subprocess.CompletedProcess[str]], written: Guide
) -> None:
    printed = " ".join(whole[1].stdout.replace("│", " ").split())
    for situation in written.situations:
        assert situation.title in printed
        for row in situation.rows:
            assert row.contenders[0].name[:20] in printed


def test_each_figure_has_its_rounds_and_lies_among_them(written: Guide) -> None:
    for situation in written.situations:
        for row in situation.rows:
            assert {one.name for one in row.contenders} >= {*row.leaders, *row.recommended}
            for one in row.contenders:
                assert one.least == min(one.rounds) <= one.middle <= max(one.rounds) == one.most


def test_on_one_core_with_little_memory_the_rest_is_measured_and_what_is_not_is_told(
    tmp_path: Path,
) -> None:
    shim = tmp_path / "python3.14t"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    ended = guide(
        tmp_path,
        *("--only", "pictures,data", "--json"),
        before=little,
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    assert (ended.returncode, ended.stderr.count("Traceback")) == (0, 0), ended.stderr
    found = Guide.model_validate_json(ended.stdout)
    assert found.machine.cores == 1
    assert missing(found, "pictures")[0].startswith("it takes 240 MiB of memory, ")
    [pure] = (row for row in found.situations[1].rows if "pure-python" in row.key)
    names = {one.name for one in pure.contenders}
    assert names >= {"one by one", "threads", "processes", "threads, without the lock"}
    if sys.version_info < (3, 14):
        assert "they come with Python 3.14" in missing(found, "subinterpreters")[0]
    else:
        assert "subinterpreters" in names


def little() -> None:
    """Leave a process one core and little memory."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))


def test_a_folder_that_cannot_be_written_is_told_first_and_the_rest_is_done(
    tmp_path: Path,
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with patch("app.guide.run.measure", side_effect=heard):
        told = CliRunner().invoke(cli, ["guide", "--out", str(tmp_path / "taken")])
    assert told.exit_code == 1
    assert told.stderr.startswith(
        f"guide.html and guide.json cannot be written to {tmp_path}/taken: File exists. "
    )
    assert "* a 1 ms 1 to 1 b 2 ms 2 to 2 a, 2.0 times as good as b." in " ".join(
        told.stdout.split()
    )


def test_env_prints_lines_of_an_env_file_and_measures_what_they_follow_from(
    tmp_path: Path,
) -> None:
    measured = list[str]()

    def measure(about: About, _seconds: float, heard: Heard, _now: object) -> None:
        measured.append(about.key)
        heard.complete = True

    with patch("app.guide.run.measure", side_effect=measure):
        told = CliRunner().invoke(cli, ["guide", "--env", "--out", str(tmp_path)])
    assert told.exit_code == 0
    assert measured == ["downloads", "pictures", "data"]
    lines = told.stdout.splitlines()
    assert lines[:2] == [
        "# Not measured in this run.",
        f"# OFFLOAD_POOL_WORKERS keeps its default: 0, one for each core: {cores()} here",
    ]
    assert all(line.startswith("# ") for line in lines)
    # Nothing was measured, and so there is nothing to show.
    assert list(tmp_path.iterdir()) == []


def heard(_about: object, _seconds: float, heard: Heard, _now: object) -> None:
    """Stand for the process that measures."""
    figure = {"key": "ms", "label": "time", "unit": "ms", "better": "less", "exact": False}
    heard.cases.append(
        {
            "key": "case",
            "title": "A case",
            "work": "work",
            "figures": [figure],
            "judged": ["a", "b"],
            "recommended": [],
            "samples": {"a": [{"ms": 1}], "b": [{"ms": 2}]},
        }
    )
    heard.complete = True


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def group(leader: int) -> list[int]:
    """Give the processes of a group that run."""
    running = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended since
                continue
            if int(state[2]) == leader and state[0] != "Z":
                running.append(int(entry.name))
    return running


def test_an_interrupt_leaves_what_was_measured_and_no_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [OFFLOAD, "guide", "--only", "synchronous,data", "--seconds", "1", "--json"],
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stderr is not None
        titles = [BY_KEY[key].title for key in ("synchronous", "data")]
        said = [running.stderr.readline() for _ in titles]
        assert [line.partition(" (")[0] for line in said] == titles
        [child] = children_of(running.pid)
        assert group(child)
        os.killpg(running.pid, signal.SIGINT)
        stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stderr == (
        "Written: guide.html\nWritten: guide.json\n"
        "Interrupted: what had been measured until then is above.\n"
    )
    assert group(child) == []
    part = Guide.model_validate(json.loads(stdout))
    assert [one.complete for one in part.situations] == [True, False]
    assert not part.complete
    assert {path.name for path in tmp_path.iterdir()} == {"guide.html", "guide.json"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "web,nothing"], "--only: there is no situation 'nothing'; there are web,"),
        (["--quick", "--seconds", "9"], "--quick and --seconds both say how long"),
        (["--json", "--env"], "--json and --env both say what to print"),
    ],
)
def test_a_slip_is_told_in_a_sentence(arguments: Sequence[str], sentence: str) -> None:
    told = CliRunner().invoke(cli, ["guide", *arguments])
    assert told.exit_code == 2
    assert told.stderr.startswith(sentence)
