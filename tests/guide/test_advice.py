"""Advice follows from rows, and the lines of `--env` are settings."""

from __future__ import annotations

from typing import Any

import pytest

from app.guide.advice import FETCH_ROW, PICTURES_ROW, PURE_ROW, WORKERS_ROW, advice, env_lines
from app.guide.conductor import rows
from app.guide.document import Row
from app.settings import Settings, variables


def row(key: str, better: str = "more", noise: float = 0.02, **rounds: float) -> Row:
    """Give a row whose contenders had five rounds around these, of so much noise."""
    situation, case_key, figure = key.split(".")
    around = [1 + noise * by for by in (-0.5, -0.25, 0, 0.25, 0.5)]
    case: dict[str, Any] = {
        "key": case_key,
        "title": key,
        "work": "work",
        "figures": [{"key": figure, "label": "f", "unit": "1/s", "better": better, "exact": False}],
        "judged": list(rounds),
        "recommended": [],
        "samples": {
            name.lstrip("n"): [{figure: value * by} for by in around]
            for name, value in rounds.items()
        },
    }
    case["judged"] = list(case["samples"])
    [made] = rows(situation, case, 0)
    return made


WORKERS = row(WORKERS_ROW, n1=10, n2=19.9, n3=20, n4=19.8)
FETCH = row(FETCH_ROW, n8=100, n32=400, n64=399, n128=401)


def values(*given: Row) -> dict[str, str | None]:
    return {one.variable: one.value for one in advice(given)}


def test_the_least_number_that_is_as_good_as_the_best() -> None:
    found = values(WORKERS, FETCH)
    assert found["OFFLOAD_POOL_WORKERS"] == "2"
    assert found["OFFLOAD_FETCH_CONCURRENCY"] == "32"


def test_each_advice_tells_the_measurement_behind_it() -> None:
    workers, fetch, _ = advice([WORKERS, FETCH])
    assert workers.because.startswith("Workers 1: 10 1/s (9.90 to 10.1); 2: 19.9 1/s")
    assert (workers.row, fetch.row) == (WORKERS_ROW, FETCH_ROW)


def test_where_the_largest_is_the_best_it_is_said_that_more_was_not_tried() -> None:
    rising = advice([WORKERS, row(FETCH_ROW, n8=100, n32=400)])
    assert [one.because.endswith("More was not tried.") for one in rising] == [False, True, False]


def test_threads_are_advised_only_where_they_win_both() -> None:
    pictures = {"threads": 30.0, "processes, 1 a trip": 20.0}
    slow, fast = (
        row(PURE_ROW, "less", threads=100, processes=50),
        row(PURE_ROW, "less", threads=40, processes=50),
    )
    ahead = row(PICTURES_ROW, **pictures)
    tied = row(PICTURES_ROW, **(pictures | {"threads": 20.0}))
    assert values(ahead, fast)["OFFLOAD_POOL_EXECUTOR"] == "thread"
    assert values(ahead, slow)["OFFLOAD_POOL_EXECUTOR"] == "process"
    assert values(tied, fast)["OFFLOAD_POOL_EXECUTOR"] == "process"


def test_nothing_is_advised_without_a_measurement_or_by_noise() -> None:
    assert set(values().values()) == {None}
    for rounds in ({"n1": 10, "n2": 11}, {"n1": 1, "n2": 10, "n3": 11}):
        workers = advice([row(WORKERS_ROW, noise=0.8, **rounds)])[0]
        assert workers.value is None
        assert workers.because == "Rounds of the same differed too much to tell."
    assert "# OFFLOAD_POOL_WORKERS keeps its default" in "\n".join(env_lines([workers]))


def test_the_lines_are_read_by_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = row(PICTURES_ROW, **{"threads": 30, "processes, 1 a trip": 20})
    given = advice([WORKERS, FETCH, ahead, row(PURE_ROW, "less", threads=40, processes=50)])
    lines = [line for line in env_lines(given) if not line.startswith("#")]
    pairs = dict(line.split("=") for line in lines)
    assert pairs.keys() == {one.variable for one in given}
    for name, value in pairs.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.pool.workers, settings.fetch.concurrency) == (2, 32)
    assert settings.pool.executor == "thread"


def test_what_is_advised_are_settings() -> None:
    assert {one.variable for one in advice([])} <= variables().keys()
