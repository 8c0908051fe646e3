"""The process that measures a situation.

`python -m app.guide.child SITUATION SECONDS PARENT_PID FOLDER`; the folder is empty, and removed
by who started it.

What it finds it says on standard output, a JSON object a line: `now` (what runs), `noise`
(`noise.Noise`), `case`, `missing`, and at the end `end`. It leads a group, in which is all that it
starts.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from app.guide import noise
from app.guide.bench import Bench
from app.guide.processors import Processors
from app.guide.race import FAILURES
from app.guide.situations import BY_KEY
from app.orphans import die_with_parent

NOISE_SHARE = 0.04
"""Of a situation's time, before it and after it each."""
NOISE_MOST_S = 0.4


def main(key: str, seconds: float, parent_pid: int, folder: Path) -> None:
    """Measure, and tell."""
    die_with_parent(parent_pid)
    told = _own_output()

    def tell(what: dict[str, Any]) -> None:
        told.write(json.dumps(what) + "\n")
        told.flush()

    began = Processors.now()
    noise_s = min(NOISE_MOST_S, seconds * NOISE_SHARE)
    tell({"now": "Measuring the noise"})
    tell({"noise": asdict(noise.measured(noise_s, began))})
    try:
        bench = Bench(folder, seconds - 2 * noise_s, tell)
        import_module(f"app.guide.situations.{key}").measure(bench)
    except FAILURES as error:
        why = f"this machine refused it: {str(error) or type(error).__name__}"
        tell({"missing": {"what": BY_KEY[key].title, "why": why}})
    tell({"noise": asdict(noise.measured(noise_s, began))})
    tell({"end": True})


def _own_output() -> TextIO:
    """Give standard output, and let what anybody else prints there go to standard error."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return told


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
