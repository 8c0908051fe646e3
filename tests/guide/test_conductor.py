"""A process that does not measure to its end is told of in a sentence; what it found is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.guide import conductor
from app.guide.conductor import Heard, measure
from app.guide.situations import BY_KEY

SYNCHRONOUS = BY_KEY["synchronous"]


def missing(heard: Heard) -> list[tuple[str, str]]:
    return [(one.what, one.why) for one in heard.measured().missing]


def test_one_that_fails_says_why_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    nothing = replace(SYNCHRONOUS, key="nothing")
    heard = Heard(nothing)
    measure(nothing, 0.1, heard, lambda _: None)
    error = "ModuleNotFoundError: No module named 'app.guide.situations.nothing'"
    assert missing(heard) == [("the rest", f"its process ended with 1: {error}")]
    assert len(heard.noise) == 1
    assert capfd.readouterr() == ("", "")


def test_one_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conductor, "LEAST_PATIENCE_S", 0)
    monkeypatch.setattr(conductor, "PATIENCE", 0)
    heard = Heard(SYNCHRONOUS)
    measure(SYNCHRONOUS, 0.1, heard, lambda _: None)
    assert missing(heard) == [("the rest", "it had not ended after 0 s")]


def test_without_a_folder_for_it_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conductor.tempfile, "tempdir", "/nowhere")
    heard = Heard(SYNCHRONOUS)
    measure(SYNCHRONOUS, 0.1, heard, lambda _: None)
    why = "no process and no folder for it could be had: No such file or directory"
    assert missing(heard) == [("all of it", why)]
