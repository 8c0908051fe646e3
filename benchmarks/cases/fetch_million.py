"""A million URLs as one upload, with a kill -9 of the service when half of them are done.

Run once, whatever the rounds: it takes as long as a million durable files take. What the origin
counts tells how much of the finished work was done again after the restart.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import fetches, memory, processes, services
from benchmarks.bench import Bench, Table, verdict
from benchmarks.course import Course, Sampled, database_bytes, polled
from benchmarks.exchanges import checked
from benchmarks.origin import COUNTS
from benchmarks.services import Service
from benchmarks.wire import Connection, Upload

BODY_BYTES = 16
WARM_UP = 16
"""URLs beyond the list, by which the service gets ready."""
LINES_AT_ONCE = 1_000
POLL_EVERY_S = 0.1
END_POLLS = 200
STALL_S = 120
"""Without one item more in so many seconds, it is given up."""
LIMIT_S = 4 * 3600
"""No run takes longer, whatever went wrong."""
ORPHANS_S = 30
"""How long the killed service's children may go on."""
REPEATED = 0.01
FLAT_MB = 50
"""As much as the API process may grow under a huge upload (case `memory`)."""
MB = 1e6


@dataclass(slots=True)
class Story:
    """What happened, in seconds from the beginning unless it says otherwise."""

    count: int
    course: Course = field(default_factory=Course)
    idle_bytes: int = 0
    uploaded_s: float = 0.0
    killed_s: float = 0.0
    orphans_s: float = 0.0
    """How long after the kill the last child was gone."""
    listening_s: float = 0.0
    done_s: float = 0.0
    finished_at_kill: int = 0
    peaks_bytes: list[int] = field(default_factory=list)
    """Of the API process, in each of its two lives."""
    job: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """What the origin counted."""
    end_polls_ms: list[float] = field(default_factory=list)
    database_bytes: int = 0
    files: int = 0
    disk_bytes: int = 0

    @property
    def repeats(self) -> int:
        """Requests beyond one for each URL, those that were cut off by the kill included."""
        return self.counts["requests"] - self.counts["urls"]


def run(bench: Bench) -> list[Table]:
    story = Story(bench.urls or bench.size(1_000_000, 2_000))
    with (
        services.origin(bench.folder) as origin,
        tempfile.TemporaryDirectory(dir=bench.folder, prefix="data-") as data,
    ):
        asyncio.run(asyncio.wait_for(_told(bench, story, origin, Path(data)), LIMIT_S))
    course = f"fetch-million: the course of {story.count} URLs"
    notes = (
        f"The service was killed at {story.killed_s:.0f} s and listened again at"
        f" {story.listening_s:.0f} s. Memory is the most of the samples in a slice, one a second;"
        " the database's is the last. Until the upload's end another job is polled, every 0.1 s."
    )
    return [_summary(story), story.course.table(course, [notes])]


async def _told(bench: Bench, story: Story, origin: Service, data: Path) -> None:
    urls = fetches.urls_of(origin.port, story.count + WARM_UP, BODY_BYTES)
    port = services.free_port()
    with services.offload_on(bench, data, port, fetches.SETTINGS) as service:
        await _until_half(bench, story, service, data, urls)
        os.kill(service.pid, signal.SIGKILL)
        story.killed_s = story.course.now_s
        await _orphans_gone(service.pid)
        story.orphans_s = story.course.now_s - story.killed_s
    with services.offload_on(bench, data, port, fetches.SETTINGS) as service:
        story.listening_s = story.course.now_s
        await _to_the_end(bench, story, service, data)
        story.database_bytes = database_bytes(data)
        story.files, story.disk_bytes = on_disk(data)
    async with Connection(origin.port) as connection:
        story.counts = (await connection.get(COUNTS.decode(), keep=True)).json()


async def _until_half(
    bench: Bench, story: Story, service: Service, data: Path, urls: Sequence[str]
) -> None:
    """Upload the list while another job is polled, then poll until half of it is done."""
    course = story.course
    async with Connection(service.port) as connection, Connection(service.port) as uploading:
        warm = await submitted(connection, listed(urls[story.count :]))
        await polled_until(connection, warm, lambda job: bool(job["done"]))
        story.idle_bytes = memory.rss_bytes(service.pid)
        upload_of_all = listed(urls[: story.count])
        course.started = time.monotonic()
        with Sampled(course, service.pid, data):
            upload = asyncio.create_task(submitted(uploading, upload_of_all))
            await polled_until(
                connection, warm, lambda _: upload.done(), lambda ms, _: course.note(ms, 0)
            )
            story.job = await upload
            story.uploaded_s = course.now_s
            bench.say(f"uploaded in {story.uploaded_s:.0f} s")
            job = await polled_until(
                connection, story.job, lambda job: over(job) >= story.count // 2, course.note
            )
        story.finished_at_kill = over(job)
        if job["done"]:
            raise RuntimeError("It was done before it could be killed: give it more URLs.")
        story.peaks_bytes.append(memory.peak_rss_bytes(service.pid))
    bench.say(f"{story.finished_at_kill} done: killed")


async def _to_the_end(bench: Bench, story: Story, service: Service, data: Path) -> None:
    """Poll until all is done, and then some more."""
    course = story.course
    async with Connection(service.port) as connection:
        with Sampled(course, service.pid, data):
            story.job = await polled_until(
                connection, story.job, lambda job: bool(job["done"]), course.note
            )
        story.done_s = course.now_s
        bench.say("done")
        for _ in range(END_POLLS):
            took_ms, _ = await _poll(connection, story.job)
            story.end_polls_ms.append(took_ms)
    story.peaks_bytes.append(memory.peak_rss_bytes(service.pid))


def listed(urls: Sequence[str]) -> Upload:
    """Write a list of URLs as NDJSON."""
    pieces = tuple(
        "".join(f'"{url}"\n' for url in urls[start : start + LINES_AT_ONCE]).encode()
        for start in range(0, len(urls), LINES_AT_ONCE)
    )
    return Upload("application/x-ndjson", pieces)


async def submitted(connection: Connection, upload: Upload) -> dict[str, Any]:
    """Upload a list; give the job as it was answered."""
    made = checked(await connection.request("POST", "/v1/fetch", upload, keep=True), 202)
    job: dict[str, Any] = made.json()
    return job


async def polled_until(
    connection: Connection,
    job: dict[str, Any],
    until: Callable[[dict[str, Any]], bool],
    note: Callable[[float, int], None] = lambda _ms, _done: None,
) -> dict[str, Any]:
    """Poll a job, noting each poll and how many items were over, until it is as it should be.

    Raises:
        RuntimeError: nothing more got done for a long time, although it goes on.
    """
    done, since = -1, time.monotonic()
    while True:
        took_ms, job = await _poll(connection, job)
        note(took_ms, over(job))
        if until(job):
            return job
        if over(job) != done or job["done"]:
            done, since = over(job), time.monotonic()
        if time.monotonic() - since > STALL_S:
            raise RuntimeError(f"Stuck for {STALL_S} s with {job['counts']}.")
        await asyncio.sleep(POLL_EVERY_S)


async def _poll(connection: Connection, job: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    answer = checked(await connection.get(job["links"]["self"], keep=True), 200)
    return (time.perf_counter() - started) * 1000, answer.json()


def over(job: dict[str, Any]) -> int:
    """Count a job's items that are over, however they ended."""
    counts = job["counts"]
    return int(counts["succeeded"] + counts["failed"] + counts["canceled"])


async def _orphans_gone(group: int) -> None:
    """Wait until nothing of a killed service runs any more: its children have to notice."""
    async with asyncio.timeout(ORPHANS_S):
        while processes.members(group):  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(0.01)


def on_disk(folder: Path) -> tuple[int, int]:
    """Count the files below a folder, and the bytes that they take on the disk."""
    files = taken_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            files += 1
            taken_bytes += (Path(parent) / name).lstat().st_blocks * 512
    return files, taken_bytes


def _summary(story: Story) -> Table:
    course, fetching_s = story.course, story.done_s - story.uploaded_s
    before = story.uploaded_s
    polls = {
        "while the list came in (of another job)": [
            poll.took_ms for poll in course.polls if poll.at_s <= before
        ],
        "while it was fetched": [poll.took_ms for poll in course.polls if poll.at_s > before],
        "at the end, all done": story.end_polls_ms,
    }
    api_mb = [peak / MB for peak in story.peaks_bytes]
    rows = [
        ["upload", f"{story.uploaded_s:.1f} s, {story.count / story.uploaded_s:.0f} URLs/s"],
        ["whole, restart included", f"{story.done_s:.1f} s"],
        ["fetching, restart included", f"{story.count / fetching_s:.0f} items/s"],
        ["children gone after kill -9", f"{story.orphans_s:.2f} s"],
        ["listening again after kill -9", f"{story.listening_s - story.killed_s:.2f} s"],
        ["requests to the origin beyond one for each URL", f"{story.repeats}"],
        ["API process idle", f"{story.idle_bytes / MB:.0f} MB"],
        [
            "API process at most, before and after the restart",
            f"{api_mb[0]:.0f}, {api_mb[1]:.0f} MB",
        ],
        ["whole tree at most", f"{max(s.tree_bytes for s in course.samples) / MB:.0f} MB"],
        ["database at the end", f"{story.database_bytes / MB:.0f} MB"],
        ["data folder at the end", f"{story.disk_bytes / MB:.0f} MB in {story.files} files"],
    ]
    rows += [
        [f"poll p50, p99, max {when}", f"{', '.join(polled(took_ms)[1:])} ms"]
        for when, took_ms in polls.items()
    ]
    title = f"fetch-million: one job of {story.count} URLs of {BODY_BYTES} bytes"
    notes = (
        "One run. API process: resident, by the kernel's count; tree: the processes' proportional"
        " set sizes, summed up, once a second. Each body is a file of its own, and so takes a"
        " block of the disk. The requests beyond one for each URL are those of the URLs that were"
        " under way at the kill, if nothing that was finished was fetched again."
    )
    return Table(title, ("what", "measured"), rows, [notes, "", *verdicts(story)])


def verdicts(story: Story) -> list[str]:
    """Say whether what is required holds."""
    succeeded = story.job["counts"]["succeeded"]
    urls = story.counts["urls"] - WARM_UP
    share = story.repeats / story.finished_at_kill
    grown_mb = (max(story.peaks_bytes) - story.idle_bytes) / MB
    return [
        verdict(
            "every URL is fetched, and succeeds",
            f"{urls} fetched, {succeeded} succeeded",
            met=succeeded == urls == story.count,
        ),
        verdict(
            f"a restart in the middle repeats less than {REPEATED:.0%} of what was finished",
            f"{story.repeats} requests, {share:.2%} of {story.finished_at_kill}",
            met=share < REPEATED,
        ),
        verdict(
            f"memory flat: the API process grows by less than {FLAT_MB} MB over idle",
            f"{grown_mb:.0f} MB",
            met=grown_mb < FLAT_MB,
        ),
    ]
