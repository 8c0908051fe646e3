"""What explains noise: who had the processors, by what the kernel has counted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.guide import processors
from app.guide.noise import FEWEST, Noise, explained, measured, together
from app.guide.processors import Processors

OTHERS = "Taken from the processors meanwhile: 31 % by other processes"


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (Noise(0.4, 0.31, 0, 0), f"{OTHERS}."),
        (Noise(0.4, 0.31, 0.05, 0.1), f"{OTHERS}, 5 % by the hypervisor, 10 % by this"),
        (Noise(0.4, 0.01, 0, 0), "Nothing else ran here: the machine itself varies"),
    ],
)
def test_it_is_said_what_is_known(noise: Noise, said: str) -> None:
    assert explained(noise).startswith(said)


def test_the_noisiest_counts_with_all_that_was_taken_until_the_end() -> None:
    found = together([Noise(0.5, 0.2, 0.9, 0), Noise(0.1, 0.7, 0.03, 0.02)])
    assert found == Noise(0.5, 0.2, 0.03, 0.02)


def test_what_the_kernel_counts_is_told_by_who_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "STAT", tmp_path / "stat")
    monkeypatch.setattr(processors, "GROUP", tmp_path / "cpu.stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    # user nice system idle iowait irq softirq steal guest guest_nice
    (tmp_path / "stat").write_text(
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 0 50 7 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n"
        "cpu2 5 5 5 5 5 5 5 5 0 0\nintr 12\n"
    )
    before = replace(Processors.now(), at_s=10, own_s=1)
    (tmp_path / "stat").write_text(
        "cpu0 500 100 100 90 9 50 50 100 0 0\ncpu1 0 0 0 0 0 0 0 100 0 0\n"
        "cpu2 900 0 0 0 0 0 0 900 0 0\n"
    )
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nthrottled_usec 1000000\n")
    shares = replace(Processors.now(), at_s=20, own_s=5).since(before)
    # Of 20 s on two processors: 7 s busy, 4 of them by this process; 2 s stolen; 1 s held back.
    assert (shares.others, shares.stolen, shares.held_up) == (0.15, 0.1, 0.05)


def test_this_machine_can_be_measured() -> None:
    found = measured(0, Processors.now())
    assert FEWEST > 0
    assert found.noise >= 0
    assert all(0 <= share <= 1 for share in (found.others, found.stolen, found.held_up))
