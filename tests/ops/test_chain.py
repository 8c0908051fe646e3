import gzip
import hashlib
import io
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import app.ops.space
from app.errors import CATALOGUE, Refusal
from app.ops.base import Limits, Source
from app.ops.chain import run_chain
from app.ops.tasks import ChainStep, ChainTask, Finished, Refused, StoredOutput
from app.ops.worker import prepare_worker

TROUBLE = '''
"""Operations that misbehave, each in its own way."""
import errno, os, signal, subprocess, sys, time
from app.errors import FetchTimeout
from app.ops.base import Operation, Output, Params, Result

class How(Params):
    how: str = ""
    size_bytes: int = 0

class Odd(BaseException):
    def __init__(self, one, two):
        super().__init__(one)

def spin(how):
    while True:
        try:
            while True:
                pass
        except Exception:
            if how != "deaf":
                raise
            how = ""

def write(work, size_bytes):
    target = work.folder / "big"
    with target.open("wb") as file:
        for _ in range(size_bytes // 1000):
            file.write(bytes(1000))
    return Result((Output(target, "big", "x/y"),))

def fail(how):
    if how == "odd":
        raise Odd(1, 2)
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "recursion":
        fail(how)
    if how == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret/path")
    if how == "quota":
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    if how == "memory":
        raise MemoryError
    if how == "named":
        raise FetchTimeout("Too slow.", log_detail="hush", waited_s=3)
    if how == "unpicklable":
        raise FetchTimeout("Too slow.", what=lambda: 0)
    raise RuntimeError("/secret/path")

def run(work, params):
    how = params.how
    target = work.folder / "result"
    if how in ("spin", "deaf"):
        spin(how)
    if how == "finally":
        try:
            spin("")
        finally:
            sum(range(1000))
    if how == "write":
        return write(work, params.size_bytes)
    if how == "allocate":
        return len(bytearray(params.size_bytes))
    if how == "environment":
        target.write_text(repr(sorted(os.environ)))
        return Result((Output(target, "environment", "text/plain"),))
    if how == "outside":
        return Result((Output(work.source.path, "source", "x/y"),))
    if how == "missing":
        return Result((Output(target, "result", "x/y"),))
    if how == "link":
        target.symlink_to(work.source.path)
        return Result((Output(target, "result", "x/y"),))
    if how == "infinite":
        return Result(facts={"ratio": float("inf"), "parts": [float("nan"), 1.5]})
    if how == "facts":
        target.write_bytes(b"")
        return Result((Output(target, "result", "x/y"),), {"how": lambda: 0})
    if how == "none":
        return Result()
    if how == "split":
        parts = []
        for number, byte in enumerate(work.source.path.read_bytes()):
            part = work.folder / str(number)
            part.write_bytes(bytes([byte]))
            parts.append(Output(part, f"{number}.txt", "text/plain"))
        return Result(tuple(parts), {"number": number})
    if how == "fail_b" and work.source.path.read_bytes() == b"b":
        raise FetchTimeout("Not b.")
    if how == "crash_b" and work.source.path.read_bytes() == b"b":
        raise RuntimeError("/secret/b")
    if how in ("fail_b", "crash_b"):
        target.write_bytes(work.source.path.read_bytes())
        return Result((Output(target, work.source.name, "text/plain"),), {"kept": True})
    if how == "spin_b":
        if work.source.path.read_bytes() == b"b":
            spin("")
        return Result()
    fail(how)

OPERATION = Operation("trouble", "Make trouble.", How, "process", ("*/*",), run)
'''


# An alarm between the opening of a file and its `with` leaves closing it to the collector.
unclosed_is_fine = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def make_task(tmp_path):
    made = 0

    def make(content: bytes, *steps: ChainStep, limits: Limits | None = None, name="a.log"):
        nonlocal made
        made += 1
        path = tmp_path / f"source{made}"
        path.write_bytes(content)
        folder = tmp_path / f"task{made}"
        folder.mkdir()
        source = Source(path, name, "text/plain", len(content))
        return ChainTask((source,), steps, folder, limits or Limits())

    return make


@pytest.fixture
def trouble(install_plugin):
    install_plugin("offload_trouble", TROUBLE, {"trouble": "offload_trouble:OPERATION"})

    def step(how: str, **more) -> ChainStep:
        return ChainStep("trouble", {"how": how, **more})

    return step


@pytest.fixture
def pool():
    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=prepare_worker,
        initargs=(1 << 30,),
    ) as executor:
        yield executor


def picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


# -- what goes well ------------------------------------------------------------------------------


def test_the_outputs_of_one_step_are_the_sources_of_the_next(make_task):
    task = make_task(
        picture(40, 20),
        ChainStep("image", {"width": 20, "format": "webp"}),
        ChainStep("compress", {"level": "9"}),
        name="photo.png",
    )
    finished = run_chain(task)
    assert isinstance(finished, Finished)
    (output,) = finished.outputs
    assert (output.name, output.media_type) == ("photo.webp.gz", "application/gzip")
    packed = output.path.read_bytes()
    assert Image.open(io.BytesIO(gzip.decompress(packed))).size == (20, 10)
    assert output.size_bytes == len(packed)
    assert output.sha256 == hashlib.sha256(packed).hexdigest()
    assert finished.facts["image"]["width_px"] == 20
    assert finished.facts["compress"]["format"] == "gzip"


def test_only_the_last_steps_folder_remains(make_task):
    # More than is held in memory from step to step.
    task = make_task(os.urandom(2 << 20), *[ChainStep("compress", {"format": "lz4"})] * 3)
    finished = run_chain(task)
    assert [path.name for path in task.folder.iterdir()] == ["2"]
    assert finished.outputs[0].path.parent == task.folder / "2"


def test_the_source_is_only_read(make_task):
    task = make_task(b"hello", ChainStep("compress"))
    run_chain(task)
    assert task.sources[0].path.read_bytes() == b"hello"


def test_every_output_of_a_step_passes_through_the_next(make_task, trouble):
    finished = run_chain(make_task(b"abc", trouble("split"), ChainStep("compress")))
    assert [gzip.decompress(output.path.read_bytes()) for output in finished.outputs] == [
        b"a",
        b"b",
        b"c",
    ]
    assert [output.name for output in finished.outputs] == ["0.txt.gz", "1.txt.gz", "2.txt.gz"]
    assert finished.facts["trouble"] == {"number": 2}
    assert [told["name"] for told in finished.facts["compress"]["files"]] == [
        "0.txt",
        "1.txt",
        "2.txt",
    ]


def test_facts_are_json_and_have_no_number_that_it_has_not(make_task, trouble):
    finished = run_chain(make_task(b"", trouble("infinite")))
    assert finished.facts["trouble"] == {"ratio": None, "parts": [None, 1.5]}


def test_a_step_may_have_no_output(make_task, trouble):
    finished = run_chain(make_task(b"abc", trouble("none"), ChainStep("compress")))
    assert finished == Finished((), {"trouble": {}, "compress": {"files": []}})


@pytest.mark.parametrize(
    ("how", "code", "detail", "logged"),
    [
        ("fail_b", "fetch.timeout", "Not b.", ""),
        (
            "crash_b",
            "internal.operation",
            "The operation failed for a reason that only the service's log has.",
            "/secret/b",
        ),
    ],
)
def test_one_of_several_files_fails_alone(make_task, trouble, how, code, detail, logged):
    task = make_task(b"abc", trouble("split"), trouble(how), ChainStep("compress"))
    finished = run_chain(task)
    assert [gzip.decompress(output.path.read_bytes()) for output in finished.outputs] == [
        b"a",
        b"c",
    ]
    assert finished.refused == (Refusal("1.txt", code, detail),)
    assert logged in finished.log_detail
    assert [told["name"] for told in finished.facts["trouble.2"]["files"]] == ["0.txt", "2.txt"]


def test_if_all_of_several_files_fail_so_does_the_item(make_task, trouble):
    refused = run_chain(make_task(b"bbb", trouble("split"), trouble("fail_b")))
    assert (refused.code, refused.detail) == ("fetch.timeout", "Not b.")


def test_the_deadline_of_one_of_several_files_is_the_items(make_task, trouble):
    limits = Limits(time_s=0.2)
    refused = run_chain(make_task(b"abc", trouble("split"), trouble("spin_b"), limits=limits))
    assert refused.code == "limit.time"


def test_more_files_than_an_item_may_make_are_refused(make_task, trouble):
    limits = Limits(max_files=2)
    refused = run_chain(make_task(b"abc", trouble("split"), limits=limits))
    assert (refused.code, refused.detail) == (
        "limit.output",
        "The result is more than the 2 files that one item may produce.",
    )
    assert isinstance(run_chain(make_task(b"ab", trouble("split"), limits=limits)), Finished)


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("odd", "internal.operation"),
        ("exit", "internal.operation"),
        ("interrupt", "internal.operation"),
        ("recursion", "internal.operation"),
        ("runtime", "internal.operation"),
        ("outside", "internal.operation"),
        ("missing", "internal.operation"),
        ("link", "internal.operation"),
        ("facts", "internal.operation"),
        ("unpicklable", "fetch.timeout"),
        ("full", "storage.full"),
        ("quota", "storage.full"),
        ("memory", "limit.memory"),
        ("named", "fetch.timeout"),
    ],
)
def test_no_failure_is_raised_and_each_has_its_code(make_task, trouble, how, code):
    refused = run_chain(make_task(b"abc", trouble(how)))
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert refused.code in CATALOGUE
    assert "secret" not in refused.detail
    assert "Traceback" not in refused.detail
    assert pickle.loads(pickle.dumps(refused)) == refused


def test_an_unknown_failure_leaves_its_traceback_in_the_log_only(make_task, trouble):
    refused = run_chain(make_task(b"abc", trouble("runtime")))
    assert "RuntimeError: /secret/path" in refused.log_detail
    assert "Traceback" in refused.log_detail


def test_a_known_failure_keeps_both_its_voices(make_task, trouble):
    refused = run_chain(make_task(b"abc", trouble("named")))
    assert refused == Refused("fetch.timeout", "Too slow.", "hush", {"waited_s": 3})


@pytest.mark.parametrize(
    ("step", "code", "detail"),
    [
        (ChainStep("nothing"), "input.invalid", "There is no operation 'nothing'."),
        (
            ChainStep("compress", {"level": 12}),
            "input.invalid",
            "compress.level: Value error, must be from 1 to 9 for gzip, and is 12.",
        ),
        (
            ChainStep("compress", {"speed": 1}),
            "input.invalid",
            "compress.speed: Extra inputs are not permitted.",
        ),
        (ChainStep("fetch"), "input.invalid", "There is no operation 'fetch'."),
        (
            ChainStep("image"),
            "image.unsupported",
            (
                "The content is text/plain. Taken are "
                "JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, BMP and ICO."
            ),
        ),
    ],
)
def test_a_step_that_cannot_run_says_why(make_task, step, code, detail):
    refused = run_chain(make_task(b"Hello, this is a sentence.\n", step))
    assert (refused.code, refused.detail) == (code, detail)


def test_a_chain_without_steps_is_refused(make_task):
    assert run_chain(make_task(b"abc")).code == "input.invalid"


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["spin", "deaf", "finally"])
def test_work_ends_at_its_deadline(make_task, trouble, how):
    before = signal.getsignal(signal.SIGALRM)
    refused = run_chain(make_task(b"abc", trouble(how), limits=Limits(time_s=0.1)))
    assert refused.code == "limit.time"
    assert refused.extra == {"limit_s": 0.1}
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == before


@unclosed_is_fine
def test_a_deadline_at_any_moment_never_escapes(make_task):
    # From before the first step until after the last: wherever the alarm falls, there is a value.
    content = os.urandom(20_000)
    codes = set()
    for number in range(300):
        steps = [ChainStep("compress"), ChainStep("compress", {"format": "zstd"})]
        task = make_task(content, *steps, limits=Limits(time_s=number * 2e-5))
        outcome = run_chain(task)
        codes.add(outcome.code if isinstance(outcome, Refused) else "finished")
    assert "limit.time" in codes
    assert codes <= {"limit.time", "finished"}


@unclosed_is_fine
def test_a_deadline_beside_a_failure_never_escapes(make_task, trouble, monkeypatch):
    # The alarm may ring in a destructor, which Python tells of and goes on; it rings again.
    # pytest's way of telling it needs more stack than the recursion has left.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    for number in range(200):
        limits = Limits(time_s=number * 1e-5)
        outcome = run_chain(make_task(b"abc", trouble("recursion"), limits=limits))
        assert outcome.code in ("limit.time", "internal.operation")


def test_off_the_main_thread_there_is_no_alarm_and_time_is_checked_between_steps(make_task):
    outcomes = []
    tasks = [
        make_task(b"abc", ChainStep("compress")),
        make_task(b"abc", ChainStep("compress"), limits=Limits(time_s=0)),
        make_task(b"abc", ChainStep("compress"), limits=Limits(max_output_bytes=3)),
    ]
    thread = threading.Thread(target=lambda: outcomes.extend(run_chain(task) for task in tasks))
    thread.start()
    thread.join()
    assert isinstance(outcomes[0], Finished)
    assert [outcome.code for outcome in outcomes[1:]] == ["limit.time", "limit.output"]


def test_a_file_that_grows_too_large_is_stopped_while_it_grows(make_task, trouble):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    task = make_task(
        b"abc", trouble("write", size_bytes=10_000_000), limits=Limits(max_output_bytes=50_000)
    )
    assert run_chain(task).code == "limit.output"
    assert (task.folder / "0" / "big").stat().st_size <= 50_000
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before


@pytest.mark.parametrize("written", ["png", "jpeg", "webp"])
def test_a_picture_that_grows_too_large_is_stopped_too(make_task, written):
    file = io.BytesIO()
    Image.effect_noise((600, 400), 90).save(file, "PNG")
    task = make_task(
        file.getvalue(),
        ChainStep("image", {"format": written}),
        limits=Limits(max_output_bytes=9000),
    )
    assert run_chain(task).code == "limit.output"


def test_outputs_that_are_small_alone_are_counted_together(make_task, trouble):
    task = make_task(b"abcdef", trouble("split"), limits=Limits(max_output_bytes=5))
    assert run_chain(task).code == "limit.output"


# -- room ----------------------------------------------------------------------------------------

FLOOR = 1_000_000


@pytest.fixture
def disk(monkeypatch):
    """Let the disk have so many bytes free, by the given function."""

    def have(free_bytes):
        monkeypatch.setattr(app.ops.space, "free_bytes", free_bytes)

    return have


def room_of(room_bytes):
    return lambda _: FLOOR + room_bytes


def test_below_the_floor_nothing_is_begun_and_the_figures_are_told(make_task, trouble, disk):
    disk(room_of(-1))
    task = make_task(b"abc", trouble("none"), limits=Limits(min_free_bytes=FLOOR))
    refused = run_chain(task)
    assert refused.code == "storage.full"
    assert CATALOGUE[refused.code].retryable
    for said in ("OFFLOAD_BLOBS_MIN_FREE_BYTES", str(FLOOR), str(FLOOR - 1)):
        assert said in refused.detail
    assert refused.extra == {
        "free_bytes": FLOOR - 1,
        "min_free_bytes": FLOOR,
        "needed_bytes": FLOOR,
    }
    assert list(task.folder.iterdir()) == []
    disk(room_of(0))
    assert isinstance(run_chain(task), Finished)


def test_a_file_ends_where_the_room_does(make_task, trouble, disk):
    disk(room_of(50_000))
    limits = Limits(min_free_bytes=FLOOR)
    task = make_task(b"abc", trouble("write", size_bytes=10_000_000), limits=limits)
    refused = run_chain(task)
    assert refused.code == "storage.full"
    assert "OFFLOAD_BLOBS_MIN_FREE_BYTES" in refused.detail
    assert (task.folder / "0" / "big").stat().st_size <= 50_000
    # What would be too much with any disk is not the disk's fault.
    limits = Limits(min_free_bytes=FLOOR, max_output_bytes=40_000)
    task = make_task(b"abc", trouble("write", size_bytes=10_000_000), limits=limits)
    assert run_chain(task).code == "limit.output"


@pytest.mark.parametrize("written", ["png", "tiff"])
def test_a_picture_ends_where_the_room_does(make_task, disk, written):
    disk(room_of(9000))
    file = io.BytesIO()
    Image.effect_noise((600, 400), 90).save(file, "PNG")
    step = ChainStep("image", {"format": written})
    task = make_task(file.getvalue(), step, limits=Limits(min_free_bytes=FLOOR))
    assert run_chain(task).code == "storage.full"


@pytest.mark.parametrize("how", ["spin", "deaf"])
def test_work_ends_when_others_have_taken_the_room(make_task, trouble, disk, how):
    looks = iter([FLOOR + 9, FLOOR + 9])
    disk(lambda _: next(looks, FLOOR - 1))
    limits = Limits(min_free_bytes=FLOOR, time_s=600)
    refused = run_chain(make_task(b"abc", trouble(how), limits=limits))
    assert (refused.code, refused.extra["free_bytes"]) == ("storage.full", FLOOR - 1)


def test_off_the_main_thread_room_is_looked_at_whenever_work_tells(make_task, disk):
    looks = iter([FLOOR, FLOOR])
    disk(lambda _: next(looks, FLOOR - 1))
    steps = [ChainStep("compress", {"format": "lz4"})] * 2
    task = make_task(os.urandom(2 << 20), *steps, limits=Limits(min_free_bytes=FLOOR))
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run_chain(task)))
    thread.start()
    thread.join()
    assert [outcome.code for outcome in outcomes] == ["storage.full"]
    assert not (task.folder / "1").exists()  # in the middle of the first step


# -- in a worker ---------------------------------------------------------------------------------


def test_a_worker_out_of_memory_refuses_and_lives_on(make_task, trouble, pool):
    greedy = make_task(b"abc", trouble("allocate", size_bytes=4 << 30))
    assert pool.submit(run_chain, greedy).result().code == "limit.memory"
    modest = make_task(b"abc", ChainStep("compress"))
    assert isinstance(pool.submit(run_chain, modest).result(), Finished)


def test_a_worker_compresses_a_large_file_within_its_memory(make_task, pool):
    task = make_task(b"", ChainStep("compress"), ChainStep("compress", {"format": "zstd"}))
    (source,) = task.sources
    os.truncate(source.path, 64 << 20)
    task = replace(task, sources=(replace(source, size_bytes=64 << 20),))
    assert isinstance(pool.submit(run_chain, task).result(), Finished)


def test_a_worker_has_no_secrets_in_its_environment(make_task, trouble, monkeypatch):
    monkeypatch.setenv("OFFLOAD_API_KEYS", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=prepare_worker, initargs=(0,)
    ) as executor:
        task = make_task(b"abc", trouble("environment"))
        (output,) = executor.submit(run_chain, task).result().outputs
    names = output.path.read_text()
    assert "LC_ALL" in names
    assert "PATH" in names
    assert "OFFLOAD" not in names
    assert "SECRET" not in names


def test_a_worker_is_bounded_and_leaves_ctrl_c_to_the_service(pool):
    assert pool.submit(resource.getrlimit, resource.RLIMIT_AS).result() == (1 << 30, 1 << 30)
    assert pool.submit(resource.getrlimit, resource.RLIMIT_CORE).result() == (0, 0)
    assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN


def test_all_that_crosses_the_pipe_pickles():
    stored = StoredOutput(Path("a"), "a", "text/plain", 1, "00")
    for value in (
        ChainTask((Source(Path("a"), "a", "b", 1),), (ChainStep("a", {"b": 1}),), Path(), Limits()),
        Finished((stored,), {"a": {"b": 1}}),
        Refused("a", "b"),
    ):
        assert pickle.loads(pickle.dumps(value)) == value
