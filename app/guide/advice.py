"""The settings of this service that follow from what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from app.cpu.settings import PoolSettings
from app.guide.document import Advice, Contender, Row
from app.guide.sentences import shown
from app.guide.statistics import ENOUGH_ROUNDS, NOISY
from app.outbound.limits import FetchSettings

WORKERS_ROW = "pictures.workers.mb_per_s"
FETCH_ROW = "downloads.at-once.per_s"
PICTURES_ROW = "pictures.ways.mb_per_s"
PURE_ROW = "data.pure-python.ms"
NEEDED = ("downloads", "pictures", "data")
"""The situations that advice follows from."""
NOT_MEASURED = "Not measured in this run."
TOO_NOISY = "Rounds of the same differed too much to tell."
TOO_FEW = "Too few rounds to tell."


def advice(rows: Sequence[Row]) -> tuple[Advice, ...]:
    """Give advice on each setting, with the measurement behind it or why there is none."""
    by_key = {row.key: row for row in rows}
    return (
        _fewest(
            "OFFLOAD_POOL_WORKERS",
            f"0, one for each core: {PoolSettings().worker_count} here",
            by_key.get(WORKERS_ROW),
            "Workers",
        ),
        _fewest(
            "OFFLOAD_FETCH_CONCURRENCY",
            str(FetchSettings().concurrency),
            by_key.get(FETCH_ROW),
            "At once",
        ),
        _executor(by_key.get(PICTURES_ROW), by_key.get(PURE_ROW)),
    )


def _fewest(variable: str, default: str, row: Row | None, what: str) -> Advice:
    """Advise the least number that is as good as the best; a row's contenders are numbers."""
    if row is None:
        return _none(variable, default, NOT_MEASURED)
    if len(row.leaders) > 1 and (why := _untold(row)):
        return _none(variable, default, why, row)
    value = min(row.leaders, key=int)
    told = "; ".join(f"{one.name}: {_figure(one, row)}" for one in row.contenders)
    because = f"{what} {told}. {value} is the least that cannot be told from the best."
    if value == max((one.name for one in row.contenders), key=int):
        because += " More was not tried."
    return Advice(variable=variable, value=value, default=default, because=because, row=row.key)


def _untold(row: Row) -> str | None:
    """Say why the leaders of a row are not to be called equal, if they are not."""
    if min(len(one.rounds) for one in row.contenders) < ENOUGH_ROUNDS:
        return TOO_FEW
    return TOO_NOISY if row.noise_percent > NOISY * 100 else None


def _executor(pictures: Row | None, pure: Row | None) -> Advice:
    """Advise threads only where they win in both, because they give up what processes isolate."""
    variable, default = "OFFLOAD_POOL_EXECUTOR", PoolSettings().executor
    if pictures is None or pure is None:
        return _none(variable, default, NOT_MEASURED)
    told = "; ".join(f"{row.title}: {_both(row)}" for row in (pictures, pure))
    value = "thread" if all(_threads_win(row) for row in (pictures, pure)) else "process"
    why = (
        "Threads are ahead in both, at the price of isolation: see docs/concurrency.md."
        if value == "thread"
        else "A crash, a leak or a bomb stays in a process; threads would have to be ahead in both."
    )
    return Advice(
        variable=variable, value=value, default=default, because=f"{told}. {why}", row=pure.key
    )


def _threads_win(row: Row) -> bool:
    return "threads" in row.leaders and not any(_is_process(name) for name in row.leaders)


def _is_process(name: str) -> bool:
    return name.startswith("processes")


def _both(row: Row) -> str:
    sign = 1 if row.better == "less" else -1
    processes = [one for one in row.contenders if _is_process(one.name)]
    shown_ = [one for one in row.contenders if one.name == "threads"]
    if processes:
        shown_.append(min(processes, key=lambda one: sign * one.middle))
    return ", ".join(f"{one.name} {_figure(one, row)}" for one in shown_)


def _figure(one: Contender, row: Row) -> str:
    return f"{shown(one.middle)} {row.unit} ({shown(one.least)} to {shown(one.most)})"


def _none(variable: str, default: str, because: str, row: Row | None = None) -> Advice:
    key = None if row is None else row.key
    return Advice(variable=variable, value=None, default=default, because=because, row=key)


def env_lines(given: Sequence[Advice]) -> list[str]:
    """Write advice as lines of a `.env`; without a value, only a comment."""
    lines = []
    for one in given:
        lines.append(f"# {one.because}")
        unset = f"# {one.variable} keeps its default: {one.default}"
        lines.append(unset if one.value is None else f"{one.variable}={one.value}")
    return lines
