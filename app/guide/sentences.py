"""What is said of a verdict."""

from __future__ import annotations

from app.guide.statistics import NOISY, Agrees, Verdict

AGREES: dict[Agrees, str] = {
    "yes": "this machine agrees",
    "no": "this machine does not agree",
    "no_difference": "no difference here",
    "too_busy": "too busy to tell",
    "nothing_said": "",
}
FEW = 2
"""Leaders that are named where there is little room."""


def sentence(verdict: Verdict, noise: float, *, alone: bool = False) -> str:
    """Say in one sentence who won and by how much, or why nobody did.

    Args:
        verdict: of a row.
        noise: as a share.
        alone: whether there was only one contender.
    """
    if alone:
        return f"{_named(verdict.leaders)}: nothing to compare it with."
    if verdict.kind == "too_busy":
        return f"Too busy to tell: the same work differed from itself by {noise:.0%}."
    if verdict.kind == "no_difference":
        return "No difference."
    ahead = f", {_times(verdict.times)} {verdict.next_best}"
    if verdict.kind == "winner":
        return f"{verdict.leaders[0]}{ahead}."
    between = "too busy to tell which" if noise > NOISY else "no difference between them"
    return f"{_named(verdict.leaders)} ({between}){ahead}."


def brief(verdict: Verdict, contenders: int) -> str:
    """Say the same where there is little room; nothing where nobody is ahead.

    Args:
        verdict: of a row.
        contenders: how many there were.
    """
    if verdict.next_best is None:
        return ""
    leaders = verdict.leaders
    named = ", ".join(leaders) if len(leaders) <= FEW else f"{len(leaders)} of {contenders} alike"
    if verdict.times is None:
        return f"{named}, ahead of {verdict.next_best}"
    return f"{named}: {_digits(verdict.times)}\u00d7 as good as {verdict.next_best}"


def _named(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _times(times: float | None) -> str:
    if times is None:
        return "ahead of"
    return f"{_digits(times)} times as good as"


def _digits(times: float) -> str:
    return f"{times:.1f}" if times < 10 else f"{times:.0f}"


def shown(value: float) -> str:
    """Write a figure with three digits that say something, and no more."""
    digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
