"""Run a migration that is killed (SIGKILL) again and again, each time a moment later, to its end.

`python -m tests.e2e.killed_migrations DIR`: prints how often it was killed, and where. Each run is
a process of its own, forked from one that has everything imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.migrate import bodies, run
from app.migrate.target import Target
from app.settings import Settings

BATCH_ROWS = 3
MOST_MOMENTS = 60


def counted(moments: int, told: Callable[[str], object]) -> Callable[[str], None]:
    """Give what is called at each moment, and does not return from the last one."""
    left = moments

    def moment(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            told(name)
            os.kill(os.getpid(), signal.SIGKILL)

    return moment


def patched(moment: Callable[[str], None]) -> None:
    """Have moments before and after all that lasts, and in the middle of what writes rows."""
    for owner, name in ((Target, "begin"), (Target, "copy"), (Target, "advance"), (Target, "end")):
        around(owner, name, moment)
    copying = Target._copy

    def copy(self: Target, table: str, columns: Any, rows: Any) -> None:
        def cut() -> Any:
            for n, row in enumerate(rows):
                if n == 1:
                    moment(f"in {table}")
                yield row

        copying(self, table, columns, cut())
        moment(f"{table} before commit")

    Target._copy = copy  # type: ignore[method-assign]
    stored = bodies._stored

    async def store(*args: Any) -> bool:
        moment("before a body")
        there = await stored(*args)
        moment("after a body")
        return there

    bodies._stored = store


def around(owner: Any, name: str, moment: Callable[[str], None]) -> None:
    whole = getattr(owner, name)

    def called(*args: Any, **more: Any) -> Any:
        moment(f"before {name}")
        given = whole(*args, **more)
        moment(f"after {name}")
        return given

    setattr(owner, name, called)


def one_run(folder: Path, moments: int, told: Callable[[str], object]) -> None:
    settings = Settings()
    assert settings.database_url is not None
    run.BATCH_ROWS = run.BATCH_VALUES = BATCH_ROWS
    bodies.NOTED_EVERY = 2
    patched(counted(moments, told))
    asyncio.run(run.migrate(settings, settings.database_url.get_secret_value(), folder))


def in_a_process(folder: Path, moments: int) -> tuple[int, str]:
    """Give how a run ended, and at which moment it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            one_run(folder, moments, lambda at: os.write(writing, at.encode()))
            os._exit(0)
        finally:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as told:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told.read()


def main() -> None:
    kills: list[str] = []
    for moments in range(1, MOST_MOMENTS, 4):
        status, at = in_a_process(Path(sys.argv[1]), moments)
        if status != -signal.SIGKILL:
            break
        kills.append(at)
    print(json.dumps(kills))
    sys.exit(status)


if __name__ == "__main__":
    main()
