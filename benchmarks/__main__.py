"""Run the cases and print what they found as Markdown: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.bench import ROOT, Bench, Case
from benchmarks.cases import (
    codecs,
    fetch_million,
    fetch_peers,
    full_tables,
    guide,
    gzip_64mb,
    handover,
    image_12mp,
    limits,
    memory,
    migrate_million,
    nodes,
    noop,
    pictures,
    records,
    saturated,
    second_design,
)
from benchmarks.peers import found

CASES: dict[str, Case] = {
    "second-design": second_design.run,
    "gzip-64mb": gzip_64mb.run,
    "image-12mp": image_12mp.run,
    "codecs": codecs.run,
    "codecs-others": codecs.others,
    "codecs-memory": codecs.memory,
    "pictures": pictures.run,
    "fetch-peers": fetch_peers.run,
    "saturated": saturated.run,
    "memory": memory.run,
    "records": records.run,
    "handover": handover.run,
    "nodes": nodes.run,
    "wake-up": limits.wake_up,
    "watched": limits.watched,
    "submissions": limits.submissions,
    "noop": noop.run,
    "full-tables": full_tables.run,
    "fetch-million": fetch_million.run,
    "migrate-million": migrate_million.run,
    "guide": guide.run,
}
ON_REQUEST = ("fetch-million", "migrate-million", "submissions", "noop", "full-tables", "guide")
"""Not part of everything: what takes so long is run by its name."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of everything (default 3)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: proves only that it runs")
    parser.add_argument("--only", choices=CASES, action="append", help="a case; may be repeated")
    parser.add_argument("--urls", type=int, help="length of the long lists of URLs")
    parser.add_argument("--app", type=Path, default=ROOT, help="checkout of the measured service")
    parser.add_argument("--out", type=Path, help="append to this file too, e.g. RESULTS.md")
    parser.add_argument("--dir", type=Path, help="folder on the disk to be measured")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    if asked.urls is not None and asked.urls < 1:
        parser.error("--urls must be at least 1")
    if not (asked.app / "app" / "__main__.py").is_file():
        parser.error(f"--app {asked.app} is no checkout of the service")
    # An ordinary exit on SIGTERM too, so that every started process is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="offload-bench-", dir=asked.dir) as folder:
        bench = Bench(Path(folder), asked.rounds, asked.quick, asked.urls, asked.app.resolve())
        rounds = "1 round" if asked.rounds == 1 else f"medians of {asked.rounds} rounds"
        kind = "**QUICK run: the figures mean nothing**; " if asked.quick else ""
        run = f"- Run: {kind}{rounds}; client and service share the cores"
        _put(asked.out, "\n".join([*machine.described(bench), *found.described(), run, ""]))
        for name in asked.only or everything():
            bench.say(name)
            for table in CASES[name](bench):
                _put(asked.out, table.markdown())


def everything() -> list[str]:
    """Name the cases of a run that names none."""
    return [name for name in CASES if name not in ON_REQUEST]


def _put(out: Path | None, text: str) -> None:
    """Print, and append, at once: what was measured is kept if a later case fails."""
    print(text, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


if __name__ == "__main__":
    main()
