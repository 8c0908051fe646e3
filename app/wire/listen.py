"""Takes the address to listen on, before anything else is begun."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(Exception):
    """The address cannot be had; the message names the setting."""


def bound(
    host: str, port: int, settings: tuple[str, str] = ("OFFLOAD_HOST", "OFFLOAD_PORT")
) -> list[socket.socket]:
    """Give a socket for each address that `host` stands for, bound and not yet listening.

    `settings` are the names of those two, for messages.

    So nobody is let in before the service can answer, and the port is taken from now on. With port
    0 all of them get the same free one.

    Raises:
        CannotListen: the port is taken or not for this user, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"{settings[0]} {host} is no address: {error.strerror}.") from error
    sockets: list[socket.socket] = []
    elsewhere: OSError | None = None
    with ExitStack() as undo:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            here = address[0], sockets[0].getsockname()[1] if sockets else port, *address[2:]
            try:
                made = undo.enter_context(socket.socket(family, kind, protocol))
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind(here)
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise CannotListen(_why(error, host, here[1], settings)) from error
                elsewhere = error  # «localhost» has an address of IPv6 where the machine has none
            else:
                sockets.append(made)
        if not sockets and elsewhere is not None:
            raise CannotListen(_why(elsewhere, host, port, settings)) from elsewhere
        undo.pop_all()
    return sockets


def _why(error: OSError, host: str, port: int, settings: tuple[str, str]) -> str:
    of_host, of_port = settings
    if error.errno == errno.EADDRINUSE:
        return (
            f"{of_port} {port} is taken on {host}: another program listens there. Set another "
            "port, or 0 for a free one."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{of_port} {port} is not for this user: below 1024, it takes a privilege."
    if error.errno in NOT_HERE:
        return f"{of_host} {host} is not an address of this machine."
    return f"{of_host} {host}, {of_port} {port} cannot be listened on: {error.strerror}."
