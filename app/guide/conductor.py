"""Has each situation measured in a process of its own, and takes down what that tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.guide.bench import PYTHON
from app.guide.document import Contender, Measured, Missing, Row
from app.guide.noise import Noise, explained, together
from app.guide.sentences import brief, sentence
from app.guide.situations import About
from app.guide.statistics import Judge, Spread, agrees, judged
from app.served import tail

LEAST_PATIENCE_S = 300.0
LOG, WORK = "child.log", "work"
"""What the process says beside its results, and the folder that it works in."""
GRACE_S = 2.0
"""From SIGTERM to SIGKILL."""
PATIENCE = 4
"""How many times its seconds a situation may take before it is ended, if that is more."""


@dataclass(slots=True)
class Heard:
    """What the process of a situation has told so far."""

    about: About
    began_s: float = field(default_factory=time.monotonic)
    took_s: float = 0.0
    noise: list[Noise] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    complete: bool = False

    def measured(self) -> Measured:
        """Judge it."""
        noise = together(self.noise or [Noise(0, 0, 0, 0)])
        return Measured(
            key=self.about.key,
            title=self.about.title,
            guide_says=self.about.guide_says,
            explained=self.about.explained,
            noise_percent=round(noise.noise * 100, 1),
            others_percent=round(noise.others * 100, 1),
            stolen_percent=round(noise.stolen * 100, 1),
            held_up_percent=round(noise.held_up * 100, 1),
            noise_explained=explained(noise) if self.noise else "",
            took_s=round(self.took_s, 2),
            complete=self.complete,
            rows=tuple(
                row for case in self.cases for row in rows(self.about.key, case, noise.noise)
            ),
            missing=tuple(self.missing),
        )


def measure(about: About, seconds: float, heard: Heard, now: Callable[[str], None]) -> None:
    """Measure a situation; nothing of it runs any more when this returns, or raises.

    Args:
        about: which.
        seconds: about how long.
        heard: takes what is found, also if this is interrupted.
        now: told what runs.
    """
    patience_s = max(LEAST_PATIENCE_S, PATIENCE * seconds)
    try:
        with (
            tempfile.TemporaryDirectory(
                prefix="offload-guide-", ignore_cleanup_errors=True
            ) as made,
            _process(about.key, seconds, Path(made)) as process,
            _patience(process, patience_s),
        ):
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            for line in process.stdout:
                _hear(json.loads(line), heard, now)
            process.wait()
            last_words = tail(Path(made) / LOG, 1)
    except OSError as error:
        why = f"no process and no folder for it could be had: {error.strerror or error}"
        heard.missing.append(Missing(what="all of it", why=why))
        return
    finally:
        heard.took_s = time.monotonic() - heard.began_s
    if not heard.complete:
        overdue = f"it had not ended after {patience_s:.0f} s"
        why = overdue if heard.took_s >= patience_s else _how_it_ended(process, last_words)
        heard.missing.append(Missing(what="the rest", why=why))


def _hear(told: dict[str, Any], heard: Heard, now: Callable[[str], None]) -> None:
    if "now" in told:
        now(told["now"])
    elif "noise" in told:
        heard.noise.append(Noise(**told["noise"]))
    elif "case" in told:
        heard.cases.append(told["case"])
    elif "missing" in told:
        heard.missing.append(Missing(**told["missing"]))
    else:
        heard.complete = True


def _how_it_ended(process: subprocess.Popen[str], last_words: str) -> str:
    if process.returncode == -signal.SIGKILL:
        return "its process was killed, as the kernel does where memory is short"
    said = f": {last_words}" if last_words else ""
    return f"its process ended with {process.returncode}{said}"


@contextmanager
def _process(key: str, seconds: float, made: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the process in a group of its own: an interrupt of the terminal does not reach it."""
    (made / WORK).mkdir()
    arguments = (key, str(seconds), str(os.getpid()), os.fspath(made / WORK))
    with (made / LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*PYTHON, "-m", "app.guide.child", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process)
        if process.stdout is not None:
            process.stdout.close()


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process with all that it has started; of its group nothing runs when this returns.

    SIGTERM first, which multiprocessing's tracker of semaphores outlives until it has tidied up.
    """
    end_s = time.monotonic() + GRACE_S
    with suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < end_s:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _patience(process: subprocess.Popen[str], patience_s: float) -> Iterator[None]:
    """Have the process killed when it takes too long: reading what it says then ends."""
    timer = threading.Timer(patience_s, end_group, [process])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def rows(situation: str, case: dict[str, Any], machine_noise: float) -> Iterator[Row]:
    """Make a row of each figure of a case.

    Args:
        situation: its key.
        case: as `Bench.race` tells it.
        machine_noise: as a share.
    """
    for figure in case["figures"]:
        rounds = {
            name: tuple(sample[figure["key"]] for sample in samples)
            for name, samples in case["samples"].items()
        }
        spreads = {name: Spread.of(of) for name, of in rounds.items()}
        in_race = {name: of for name, of in rounds.items() if name in case["judged"]}
        if not in_race:
            continue
        verdict = judged(in_race, Judge(figure["better"], figure["exact"], machine_noise))
        yield Row(
            key=f"{situation}.{case['key']}.{figure['key']}",
            title=case["title"],
            work=case["work"],
            figure=figure["label"],
            unit=figure["unit"],
            better=figure["better"],
            noise_percent=round(verdict.noise * 100, 1),
            contenders=tuple(
                Contender(
                    name=name,
                    judged=name in in_race,
                    rounds=tuple(round(one, 3) for one in of),
                    least=round(spreads[name].least, 3),
                    middle=round(spreads[name].middle, 3),
                    most=round(spreads[name].most, 3),
                )
                for name, of in rounds.items()
            ),
            verdict=verdict.kind,
            leaders=verdict.leaders,
            next_best=verdict.next_best,
            times=None if verdict.times is None else round(verdict.times, 2),
            recommended=tuple(case["recommended"]),
            agrees=agrees(verdict, case["recommended"]),
            sentence=sentence(verdict),
            brief=brief(verdict, len(in_race)),
        )
