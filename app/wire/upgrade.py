"""Wishes for another protocol, which nobody gets here (RFC 9110 section 7.8: they may be ignored).

Java's HttpClient sends `Upgrade: h2c` with every request, and a body behind it.
"""

from __future__ import annotations

UPGRADE_HEADERS = (b"upgrade", b"connection", b"http2-settings")


def head_without_upgrade(begins: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Write a request's head anew without the wish.

    Args:
        begins: the request line, without its end.
        headers: names in small letters, and values, as the parser gave them.
    """
    connection = b",".join(value for name, value in headers if name == b"connection")
    options = [option.strip().lower() for option in connection.split(b",")]
    kept = [option for option in options if option and option not in UPGRADE_HEADERS]
    lines = [begins]
    lines += [b"%s: %s" % pair for pair in headers if pair[0] not in UPGRADE_HEADERS]
    if kept:
        lines.append(b"connection: " + b", ".join(kept))
    return b"\r\n".join([*lines, b"", b""])
