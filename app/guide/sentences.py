"""What is said of a verdict."""

from __future__ import annotations

from app.guide.document import Measured
from app.guide.statistics import NOISY, Agrees, Untold, Verdict

AGREES: dict[Agrees, str] = {
    "yes": "this machine agrees",
    "no": "this machine does not agree",
    "no_difference": "no difference here",
    "too_noisy": "too noisy to tell",
    "too_few_rounds": "too few rounds to tell",
    "nothing_said": "",
}
BETWEEN: dict[Untold, str] = {
    "no_difference": "no difference between them",
    "too_noisy": "too noisy to tell which",
    "too_few_rounds": "too few rounds to tell which",
}
FEW = 2
"""Leaders that are named where there is little room."""


def sentence(verdict: Verdict) -> str:
    """Say in one sentence who won and by how much, or why nobody did."""
    if verdict.next_best is None:
        return _undecided(verdict)
    ahead = f", {_times(verdict.times)} {verdict.next_best}"
    if verdict.kind == "winner":
        return f"{verdict.leaders[0]}{ahead}."
    return f"{_named(verdict.leaders)} ({BETWEEN[verdict.between]}){ahead}."


def _undecided(verdict: Verdict) -> str:
    if verdict.kind == "winner":
        return f"{verdict.leaders[0]}: nothing to compare it with."
    if verdict.kind == "too_few_rounds":
        return "Too few rounds to tell."
    if verdict.kind == "too_noisy":
        return f"Too noisy to tell: rounds of the same differed by {verdict.noise * 100:.0f} %."
    if not verdict.noise:
        return "No difference."
    return f"No difference larger than that of the same from itself, {_share(verdict.noise)}."


def _share(noise: float) -> str:
    return f"{max(1.0, noise * 100):.0f} %"


def brief(verdict: Verdict, contenders: int) -> str:
    """Say the same where there is little room; nothing where nobody is ahead.

    Args:
        verdict: of a row.
        contenders: how many there were.
    """
    if verdict.next_best is None:
        return ""
    leaders = verdict.leaders
    alike = "alike" if verdict.between == "no_difference" else "not told apart"
    many = f"{len(leaders)} of {contenders} {alike}"
    named = ", ".join(leaders) if len(leaders) <= FEW else many
    if verdict.times is None:
        return f"{named}, ahead of {verdict.next_best}"
    return f"{named}: {_digits(verdict.times)}\u00d7 as good as {verdict.next_best}"


def noise_told(situation: Measured) -> str:
    """Say how noisy it was, and where that is much, what is known of why."""
    said = f"Noise: {situation.noise_percent:.0f} %."
    loud = situation.noise_percent > NOISY * 100
    return f"{said} {situation.noise_explained}" if loud else said


def _named(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _times(times: float | None) -> str:
    if times is None:
        return "ahead of"
    return f"{_digits(times)} times as good as"


def _digits(times: float) -> str:
    return f"{times:.2f}" if times < 1.1 else f"{times:.1f}" if times < 10 else f"{times:.0f}"


def shown(value: float) -> str:
    """Write a figure with three digits that say something, and no more."""
    digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
