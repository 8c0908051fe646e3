"""The whole of it: every situation in turn, then what follows, also after an interrupt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from app import __version__
from app.guide.advice import advice
from app.guide.conductor import Heard, measure
from app.guide.document import Guide
from app.guide.machine import machine
from app.guide.situations import About
from app.guide.terminal import Watcher


def run(situations: Sequence[About], seconds: float, watcher: Watcher) -> Guide:
    """Measure; an interrupt ends it early, with what was found until then.

    Args:
        situations: at least one.
        seconds: about how long all of it may take.
        watcher: told how far it is.
    """
    made_at, began_s = datetime.now(UTC), time.monotonic()
    found_machine = machine()
    heard = list[Heard]()
    complete = False
    with suppress(KeyboardInterrupt):
        parts = sum(about.share for about in situations)
        for about in situations:
            share_s = seconds * about.share / parts
            watcher.begin(about.title, share_s)
            heard.append(Heard(about))
            measure(about, share_s, heard[-1], watcher.now)
        complete = True
    measured = tuple(one.measured() for one in heard)
    return Guide(
        offload=__version__,
        made_at=made_at,
        took_s=round(time.monotonic() - began_s, 1),
        asked_s=seconds,
        complete=complete,
        machine=found_machine,
        situations=measured,
        advice=advice([row for one in measured for row in one.rows]),
    )
