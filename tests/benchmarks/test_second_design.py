"""The second design's table: every subject runs, whatever fails is told, whose CPU it was is so."""

import subprocess
import sys
from contextlib import nullcontext

import pytest

from benchmarks import __main__ as program
from benchmarks import fetches, processes, services
from benchmarks.bench import Bench
from benchmarks.cases import second_design
from benchmarks.contest import COLUMNS, NAIVE, OURS, Contest, Measured, held
from benchmarks.processes import Cpu
from benchmarks.requirements import MS, Requirement


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, rounds=1, quick=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Run both services once: starting them for each subject would take longer than the rest."""
    folder = tmp_path_factory.mktemp("services")
    settings = fetches.SETTINGS | {"OFFLOAD_UPLOAD_MAX_FILES": "5000"}
    bench = Bench(folder, rounds=1, quick=True)
    with services.naive(folder) as naive, services.offload(bench, settings) as offload:
        yield {"naive": naive, "offload": offload}


@pytest.fixture
def started(running, monkeypatch):
    for name, service in running.items():
        monkeypatch.setattr(services, name, lambda *_, service=service: nullcontext(service))


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("subject", second_design.SUBJECTS)
def test_subject_measures_ours_beside_every_peer_that_is_installed(subject, bench):
    contests = list(second_design.SUBJECTS[subject](bench))
    assert contests
    for found in contests:
        assert set(found.failures.values()) <= {"it is not installed"}
        [ours] = found.runs[OURS]
        assert ours.count > 0
        assert ours.cpu.first_s + ours.cpu.others_s > 0
        assert all(len(row) == len(COLUMNS) for row in found.rows())
    works = {required.work for required in second_design.REQUIRED}
    assert works & {found.work for found in contests}


def measured(seconds=1.0, count=10, **more):
    return Measured(count, seconds, Cpu(0.05, {7: 0.04, 8: 0.01}, 0.2), 0.03, **more)


def test_contender_that_fails_takes_no_other_with_it(bench):
    calls = []

    def failing():
        calls.append(1)
        raise ExceptionGroup("of a load", [RuntimeError("Answered 500,\nnot 200: a | b")])

    rounds = Bench(bench.folder, rounds=3, quick=True)
    found = held(rounds, "work", {NAIVE: failing, OURS: measured}, {"ipx": "it is not installed"})
    assert len(calls) == 1
    assert len(found.runs[OURS]) == 3
    assert [row[:2] for row in found.rows()] == [
        [f"work: {OURS}", "10.0"],
        ["work: ipx", "**failed**: it is not installed"],
        [f"work: {NAIVE}", "**failed**: RuntimeError: Answered 500, not 200: a / b"],
    ]


def test_subject_that_breaks_off_takes_nothing_with_it(bench, monkeypatch):
    def breaks_off(_):
        yield Contest("first", {OURS: [measured()]}, {})
        raise RuntimeError("A service did not start.")

    subjects = {
        "broken": breaks_off,
        "whole": lambda _: [Contest("last", {OURS: [measured()]}, {})],
    }
    monkeypatch.setattr(second_design, "SUBJECTS", subjects)
    required, found = second_design.run(bench)
    assert [row[:2] for row in found.rows] == [
        [f"first: {OURS}", "10.0"],
        [f"broken: {OURS}", "**failed**: RuntimeError: A service did not start."],
        [f"last: {OURS}", "10.0"],
    ]
    assert all(row[-1] == "**not measured**" for row in required.rows)


def test_row_tells_whose_cpu_a_piece_of_work_took():
    ours = measured(latencies_ms=[1.0, 3.0], peak_bytes=50_000_000)
    found = Contest("work", {NAIVE: [measured(seconds=0.5)], OURS: [ours]}, {})
    theirs, row = found.rows()
    assert dict(zip(COLUMNS, row, strict=True)) == {
        "work, contender": f"work: {OURS}",
        "/s": "10.0",
        "ours to it": "",
        "p50 ms": "1.00",
        "p99 ms": "3.00",
        "first process ms": "5.00",
        "by thread ms": "4.00 + 1.00",
        "others ms": "20.00",
        "client ms": "3.00",
        "cores": "0.28",
        "peak MB": "50",
        "spread": "0%",
    }
    assert theirs[:5] == [f"work: {NAIVE}", "20.0", "0.50x", "", ""]


@pytest.mark.parametrize(
    ("p50_ms", "verdict"),
    [(7.0, "**NOT met**"), (6.0, "met"), (3.0, "met, and beyond")],
)
def test_verdict_of_a_bound_from_above(p50_ms, verdict):
    required = Requirement(
        "p50", "work", 6, 3, lambda held: held.latency_ms(OURS, 50), MS, at_most=True
    )
    found = Contest("work", {OURS: [measured(latencies_ms=[p50_ms])]}, {})
    assert required.row({"work": found}) == [
        *("p50", "at most 6.00 ms", "3.00 ms", f"{p50_ms:.2f} ms", "5.00", verdict)
    ]


@pytest.mark.parametrize(
    ("gain_s", "verdict"), [(4.1, "**NOT met**"), (4.0, "met"), (2.0, "met, and beyond")]
)
def test_verdict_of_a_bound_from_below(gain_s, verdict):
    required = Requirement("rate", "work", 0.5, 1.0, lambda held: held.gain(NAIVE))
    runs = {NAIVE: [measured(seconds=2.0)], OURS: [measured(seconds=gain_s)]}
    assert required.row({"work": Contest("work", runs, {})})[-1] == verdict


@pytest.mark.parametrize("lost", [NAIVE, OURS])
def test_what_was_not_measured_is_not_met(lost):
    required = Requirement("rate", "work", 0.5, 1.0, lambda held: held.gain(NAIVE))
    runs = {name: [measured()] for name in (NAIVE, OURS) if name != lost}
    row = required.row({"work": Contest("work", runs, {lost: "it is not installed"})})
    assert row[-1] == f"**not measured**: {lost} failed or is missing"


BURN = "import time\nwhile time.process_time() < {}: pass"


def test_cpu_is_told_by_process_and_by_thread():
    script = f"""
import subprocess, sys, threading, time
def burn():
    until = time.thread_time() + 0.2
    while time.thread_time() < until: pass
    done.set(); threading.Event().wait()
done = threading.Event()
threading.Thread(target=burn, daemon=True).start()
done.wait()
subprocess.run([sys.executable, "-c", {BURN.format(0.3)!r}])
print("done", flush=True); sys.stdin.read()
"""
    with subprocess.Popen(
        (sys.executable, "-c", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == b"done\n"
        used = processes.cpu(process.pid)
        main, other = used.threads_s.values()
        assert next(iter(used.threads_s)) == process.pid
        assert other >= 0.15
        assert main < used.first_s
        assert used.others_s >= 0.25
        assert used.since(used) == Cpu(0.0, dict.fromkeys(used.threads_s, 0.0), 0.0)
        process.stdin.close()


def test_cpu_of_children_has_the_ended_and_the_running_and_no_service():
    before = processes.cpu_of_children()
    subprocess.run((sys.executable, "-c", BURN.format(0.2)), check=True)
    ended = processes.cpu_of_children().since(before).others_s
    assert ended >= 0.2
    goes_on = f"{BURN.format(0.2)}\nimport sys; print('done', flush=True); sys.stdin.read()"
    for own_group in (False, True):
        before = processes.cpu_of_children()
        with subprocess.Popen(
            (sys.executable, "-c", goes_on),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=own_group,
        ) as process:
            assert process.stdout.readline() == b"done\n"
            assert (processes.cpu_of_children().since(before).others_s >= 0.15) != own_group
            process.stdin.close()


SERVICE = """
import os, socket, sys
with socket.create_server(("127.0.0.1", int(os.environ["OFFLOAD_PORT"]))) as server:
    print(os.getcwd(), flush=True)
    while True:
        server.accept()[0].close()
"""


def test_service_is_that_of_the_checkout_that_was_named(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "app").mkdir(parents=True)
    (checkout / "app" / "__init__.py").touch()
    (checkout / "app" / "__main__.py").write_text(SERVICE)
    bench = Bench(tmp_path, rounds=1, quick=True, app=checkout)
    with services.offload(bench):
        pass
    assert (tmp_path / "offload.log").read_text() == f"{checkout}\n"


def test_interpreter_is_the_checkouts_own_if_it_has_one(tmp_path):
    assert services.interpreter(tmp_path) == sys.executable
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert services.interpreter(tmp_path) == str(own)


def test_folder_without_a_service_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--app", str(tmp_path)])
    with pytest.raises(SystemExit):
        program.main()
    assert "is no checkout of the service" in capsys.readouterr().err
