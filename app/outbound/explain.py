"""What the guard thinks of a URL, and why, for its operator: clients are not told that much."""

from __future__ import annotations

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
    lookup = SystemLookup()
    try:
        return await _explain(url, Guard(settings, lookup), settings.proxy)
    finally:
        lookup.close()


async def _explain(url: str, guard: Guard, proxy: Proxy | None) -> tuple[bool, list[str]]:
    lines: list[str] = []
    try:
        target = guard.check_url(url)
        lines += [f"url      {target.url}", f"host     {target.host}", f"port     {target.port}"]
        if proxy:
            lines.append(f"proxy    {proxy}")
        verdicts = await guard.explain(target)
    except (FetchUrlInvalid, FetchForbidden, FetchNameError) as error:
        lines.append(f"refused: {error.detail}")
        if error.log_detail:
            lines.append(f"reason   {error.log_detail}")
        return False, lines
    width = max(map(len, verdicts))
    for address, (allowed, rule) in verdicts.items():
        lines.append(f"address  {address:<{width}}  {'allowed' if allowed else 'refused'}: {rule}")
    if all(allowed for allowed, _ in verdicts.values()):
        return True, [*lines, "allowed"]
    return False, [*lines, "refused: every address of a host must be allowed"]
