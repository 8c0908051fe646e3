"""What one worker process holds at most while it works: the share of memory that scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import exchanges, load, memory, services
from benchmarks.bench import Bench, Table, verdict
from benchmarks.exchanges import Exchange
from benchmarks.memory import Peak

MB = 1e6
CODEC_MB = 64
"""Required of every codec, whatever the size of its input; its block buffers come on top."""
FLAT_MB = 16
"""What is taken for flat, from the middle size to the largest: noise of the allocator."""
PICTURE_MB = 150
"""Required of a picture of 12 megapixels, all that the process has included."""

_NOTE = "Over idle counts mapped files too; anonymous is all that is no file's, idle included."

_LIMITS = {"OFFLOAD_UPLOAD_MAX_BYTES": str(1 << 30)}


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of the worker that held most, in 10^6 bytes."""

    idle_mb: float
    """Resident before, in a service that has just started and warmed its workers."""
    peak_mb: float
    """Resident at most, mapped files included, by the kernel's own count."""
    anonymous_mb: float
    """The same without files, sampled: what the system cannot take back."""

    @property
    def over_idle_mb(self) -> float:
        """What the work itself took."""
        return self.peak_mb - self.idle_mb


def held(bench: Bench, exchange: Exchange, clients: int, count: int) -> Held:
    """Start a service, let it work, and give what its heaviest worker held meanwhile."""
    with services.offload(bench, _LIMITS) as service:
        workers = sorted(memory.children(service.pid))
        idle = max(map(memory.rss_bytes, workers))
        for pid in workers:
            memory.forget_peak(pid)
        with Peak(lambda: max(map(memory.anonymous_bytes, workers))) as anonymous:
            load.run(service.port, exchange, clients, count=count)
        if sorted(memory.children(service.pid)) != workers:
            raise RuntimeError("A worker was replaced, and its peak went with it.")
        peak = max(map(memory.peak_rss_bytes, workers))
    return Held(idle / MB, peak / MB, anonymous.bytes / MB)


def of_codecs(bench: Bench, settings: Sequence[str], inputs: Mapping[int, bytes]) -> Table:
    """Send inputs of growing size, one at a time, each to a service of its own."""
    rows, notes = [], []
    for setting in settings:
        found = []
        for size_bytes, data in inputs.items():
            bench.say(f"memory of a worker: {setting}, {size_bytes >> 20} MiB")
            exchange = exchanges.put(f"/v1/compress?{setting}", [data], "a")
            found.append(held(bench, exchange, clients=1, count=1))
        name = setting.replace("format=", "").replace("&level=", " ")
        rows.append([name, f"{found[0].idle_mb:.0f}"])
        for one in found:
            rows[-1] += [f"{one.over_idle_mb:.0f}", f"{one.anonymous_mb:.0f}"]
        notes.append(_codec_verdict(name, [one.over_idle_mb for one in found]))
    notes = [_NOTE, "", *notes]
    columns = ["format and level", "idle MB"]
    for size_bytes in inputs:
        columns += [f"{size_bytes >> 20} MiB: over idle MB", "anonymous MB"]
    return Table("codecs: memory of one worker process, one file of logs", columns, rows, notes)


def _codec_verdict(name: str, over_idle_mb: Sequence[float]) -> str:
    *_, middle, largest = over_idle_mb
    requirement = f"{name}: at most {CODEC_MB} MB over idle and block buffers, flat in the size"
    measured = f"{max(over_idle_mb):.0f} MB, all buffers included; {largest - middle:+.0f} MB"
    measured += " from the middle to the largest input"
    met = max(over_idle_mb) <= CODEC_MB and largest - middle <= FLAT_MB
    return verdict(requirement, measured, met=met)


def of_pictures(bench: Bench, loads: Mapping[str, tuple[Exchange, int, int]]) -> Table:
    """Put each load, of so many clients and requests, on a service of its own."""
    rows, notes = [], []
    for name, (exchange, clients, count) in loads.items():
        bench.say(f"memory of a worker: {name}")
        found = held(bench, exchange, clients, count)
        figures = (found.idle_mb, found.peak_mb, found.over_idle_mb, found.anonymous_mb)
        rows.append([name, *(f"{figure:.0f}" for figure in figures)])
        requirement = f"{name}: a worker peaks at {PICTURE_MB} MB at most"
        met = found.peak_mb <= PICTURE_MB
        notes.append(verdict(requirement, f"{found.peak_mb:.0f} MB", met=met))
    notes = [_NOTE, "", *notes]
    columns = ("load", "idle MB", "peak MB", "over idle MB", "anonymous MB")
    return Table("pictures: memory of the worker process that held most", columns, rows, notes)
