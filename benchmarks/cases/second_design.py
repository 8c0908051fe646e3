"""The second design's whole table in one run: each kind of work beside who else does it.

Only public HTTP is used, so that the service of any checkout can be measured (`--app`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from benchmarks import contest, requirements
from benchmarks.bench import Bench, Table
from benchmarks.contest import BARE, NAIVE, OURS, Contest
from benchmarks.peers.fetchers import CURL, TUTORIAL
from benchmarks.requirements import EACH_S, MB, MS, Requirement
from benchmarks.subjects import large, lists, small

Subject = Callable[[Bench], Iterable[Contest]]
"""Gives each contest when it is over, so that one that breaks off takes none of those with it."""

SUBJECTS: Mapping[str, Subject] = {
    "small jobs": small.jobs,
    "items": small.items,
    "polls": small.polls,
    "small URLs": lists.small_urls,
    "large URLs": lists.large_urls,
    "uploads": large.uploads,
    "photographs": large.photographs,
    "snapshots": large.snapshots,
    "gzip": large.gzip_fast,
    "long list": lists.long_list,
}

IN_FLIGHT = f"{small.SMALL}, {small.MANY} in flight"
PHOTOGRAPHS = {count: f"{large.PHOTOGRAPHS}, {count} in flight" for count in large.IN_FLIGHT}


def _to(name: str) -> Callable[[Contest], float]:
    return lambda held: held.gain(name)


def _rate(held: Contest) -> float:
    return held.rate(OURS)


def _latency_ms(percent: float) -> Callable[[Contest], float]:
    return lambda held: held.latency_ms(OURS, percent)


REQUIRED = (
    Requirement("small jobs, 32 in flight, to the tutorial", IN_FLIGHT, 0.5, 1.0, _to(NAIVE)),
    Requirement("the same, p99", IN_FLIGHT, 200, None, _latency_ms(99), MS, at_most=True),
    Requirement(
        "one in flight, p50", f"{small.SMALL}, 1 in flight", 6, 3, _latency_ms(50), MS, at_most=True
    ),
    Requirement("items of one job, stored before", small.STORED, 2500, 6500, _rate, EACH_S),
    Requirement("items of one job, sent with it", small.SENT, 2500, 6500, _rate, EACH_S),
    Requirement("URLs of 4 KB, to the tutorial", lists.SMALL, 3, None, _to(TUTORIAL.name)),
    Requirement("URLs of 4 KB", lists.SMALL, 1000, 1500, _rate, EACH_S),
    Requirement("100 URLs of 8 MB, to curl", lists.LARGE, 0.6, 0.8, _to(CURL.name)),
    Requirement(
        "a poll, CPU of the API",
        small.POLLS,
        0.5,
        0.35,
        lambda held: held.first_ms(OURS),
        MS,
        at_most=True,
    ),
    Requirement("64 MiB uploaded, to a bare app that counts", large.UPLOADS, 0.5, 0.7, _to(BARE)),
    *(
        Requirement(f"12 MP JPEG, {count} in flight, to ipx", work, 0.95, 1.05, _to(large.IPX))
        for count, work in PHOTOGRAPHS.items()
    ),
    Requirement("2 MP JPEG, 16 in flight, to the tutorial", large.SNAPSHOTS, 0.9, 1.0, _to(NAIVE)),
    Requirement("gzip fast, 4 in flight, to igzip", large.GZIP, 0.45, None, _to(large.IGZIP)),
    Requirement(
        "a long list, peak of the API",
        lists.LONG,
        110,
        None,
        lambda held: held.peak_mb(OURS),
        MB,
        at_most=True,
    ),
)

_COUNTED = (
    "CPU is that of a piece of work. First process: of Offload the API, of the tutorial and bare"
    " FastAPI their server, of a fetcher itself. By thread: its main thread and then the busiest"
    " others, of the first round; threads that have ended are not among them. Others: workers, or"
    " the tools and the bare library's processes. Client: who asks; where URLs are fetched, the"
    " origin. Cores: how many all these kept busy. Peak: resident memory of the first process."
)
_STORED = (
    "Offload's inputs, results and records are on disk, synced. The tutorial and ipx keep nothing,"
    " bare FastAPI counts the bytes of an upload and answers a GET with a constant, fetchers and"
    " tools write files and sync none; ipx and pyvips read their pictures from a folder."
)


def run(bench: Bench) -> list[Table]:
    contests: dict[str, Contest] = {}
    for name, subject in SUBJECTS.items():
        try:
            for each in subject(bench):
                contests[each.work] = each
                for row in each.rows():
                    bench.say(" | ".join(row))
        except Exception as error:  # noqa: BLE001 - the other subjects are to be measured
            bench.say(f"{name} failed: {contest.reason(error)}")
            contests[name] = contest.failed(name, error)
    rows = [row for each in contests.values() for row in each.rows()]
    return [
        requirements.table("second-design: what is required", REQUIRED, contests),
        Table("second-design: who did what", contest.COLUMNS, rows, [_STORED, "", _COUNTED]),
    ]
