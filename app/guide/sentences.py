"""What is said of a verdict."""

from __future__ import annotations

from app.guide.statistics import NOISY, Agrees, Verdict

AGREES: dict[Agrees, str] = {
    "yes": "this machine agrees",
    "no": "this machine does not agree",
    "no_difference": "no difference on this machine",
    "too_busy": "too busy to tell",
    "nothing_said": "",
}


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


def _named(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _times(times: float | None) -> str:
    if times is None:
        return "ahead of"
    shown = f"{times:.1f}" if times < 10 else f"{times:.0f}"
    return f"{shown} times as good as"


def shown(value: float) -> str:
    """Write a figure with three digits that say something, and no more."""
    digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
