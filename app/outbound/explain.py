"""What the guard thinks of a URL, and why, for its operator: clients are not told that much."""

from __future__ import annotations

from collections.abc import Iterator

from app.errors import FetchForbidden, FetchNameError, FetchUrlInvalid
from app.outbound.guard import Guard, SystemLookup
from app.outbound.limits import FetchSettings
from app.outbound.proxy import Proxy


async def explain_url(url: str, settings: FetchSettings) -> tuple[bool, list[str]]:
    """Judge a URL as a fetch would, without any connection but to the system's resolver.

    The proxy, where one is set, is named and not asked. A redirect, or a later answer of the
    name's servers, may lead elsewhere: each of them is judged again when it is met.

    Returns:
        Whether it would be tried, and the reasons line by line.
    """
    lookup = SystemLookup(threads=1)
    try:
        return await _explain(url, Guard(settings, lookup), settings.proxy)
    finally:
        lookup.close()


async def _explain(url: str, guard: Guard, proxy: Proxy | None) -> tuple[bool, list[str]]:
    try:
        target = guard.check_url(url)
    except (FetchUrlInvalid, FetchForbidden) as error:
        return False, [f"refused: {error.detail}", *_reason(error.log_detail)]
    lines = [f"url      {target.url}", f"host     {target.host}", f"port     {target.port}"]
    if proxy:
        lines.append(f"proxy    {proxy}")
    try:
        verdicts = await guard.explain(target)
    except FetchNameError as error:
        return False, [*lines, f"refused: {error.detail}", *_reason(error.log_detail)]
    width = max(len(verdict.address) for verdict in verdicts)
    for verdict in verdicts:
        word = "allowed" if verdict.allowed else "refused"
        lines.append(f"address  {verdict.address:<{width}}  {word}: {verdict.rule}")
    if all(verdict.allowed for verdict in verdicts):
        return True, [*lines, "allowed"]
    return False, [*lines, "refused: every address of a host must be allowed"]


def _reason(log_detail: str) -> Iterator[str]:
    if log_detail:
        yield f"reason   {log_detail}"
