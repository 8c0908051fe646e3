"""Which peers there are on this machine."""

from __future__ import annotations

from benchmarks.peers import servers, tools


def described() -> list[str]:
    """Give the lines for the head of a run: the versions, and what is missing and how to get it."""
    versions = {**tools.versions(), **servers.versions()}
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [f"- Peers: {found or 'none'}"]
    missing = [*tools.missing(), *servers.missing()]
    if missing:
        ways = ["`make bench-peers` installs all of them"]
        if packages := tools.missing_packages():
            ways.append(f"`apt-get install {' '.join(packages)}` the command line tools")
        lines.append(f"- **Missing, and so skipped: {', '.join(missing)}.** {'; '.join(ways)}.")
    return lines
