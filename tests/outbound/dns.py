"""A real name server on loopback that answers each question as its script says, and its client."""

import asyncio
import contextlib
import socket
import struct
from ipaddress import ip_address

A, CNAME, AAAA = 1, 5, 28
NXDOMAIN, SERVFAIL = 3, 2
SILENCE = None
TTL_S = 0
HEADER = struct.Struct("!6H")
RECORD = struct.Struct("!HHIH")


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def read_name(packet, at):
    """Give the name at a position, and the position behind it; pointers are followed."""
    labels, behind = [], None
    while packet[at]:
        if packet[at] >= 0xC0:
            behind = behind or at + 2
            at = struct.unpack_from("!H", packet, at)[0] & 0x3FFF
            continue
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels), behind or at + 1


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP. A name's script is a list of answers, one a look-up, the last for ever.

    An answer is a list of addresses and names (which become CNAMEs), a response code, or SILENCE.
    """

    def __init__(self, scripts):
        self.scripts = scripts
        self.asked = []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_):
        self._transport.close()

    def connection_made(self, transport):
        pass

    def datagram_received(self, packet, sender):
        number = HEADER.unpack_from(packet)[0]
        name, end = read_name(packet, HEADER.size)
        kind = struct.unpack_from("!H", packet, end)[0]
        # A look-up is two questions; the first of them moves the script on.
        script = self.scripts[name]
        if kind == A:
            self.asked.append(name)
        turn = self.asked.count(name) - 1
        answer = script[min(turn, len(script) - 1)]
        if answer is SILENCE:
            return
        code, records = (answer, []) if isinstance(answer, int) else (0, answer)
        said = [record for part in records if (record := self._record(name, part, kind))]
        head = HEADER.pack(number, 0x8180 | code, 1, len(said), 0, 0)
        question = packet[HEADER.size : end + 4]
        self._transport.sendto(head + question + b"".join(said), sender)

    def _record(self, name, part, kind):
        try:
            address = ip_address(part)
        except ValueError:
            target = encoded(part)
            return encoded(name) + RECORD.pack(CNAME, 1, TTL_S, len(target)) + target
        if kind != (A if address.version == 4 else AAAA):
            return b""
        packed = address.packed
        return encoded(name) + RECORD.pack(kind, 1, TTL_S, len(packed)) + packed

    def lookup(self):
        """Give a `Lookup` that asks this server, over the wire, every time."""

        async def look_up(host):
            answers = [await _ask(self.port, host, kind) for kind in (A, AAAA)]
            found = [address for part in answers for address in part]
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return found

        return look_up


class _Question(asyncio.DatagramProtocol):
    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, packet, _):
        self.answer.set_result(packet)


async def _ask(port, host, kind):
    loop = asyncio.get_running_loop()
    transport, question = await loop.create_datagram_endpoint(
        _Question, remote_addr=("127.0.0.1", port)
    )
    with contextlib.closing(transport):
        head = HEADER.pack(4711, 0x0100, 1, 0, 0, 0)
        transport.sendto(head + encoded(host) + struct.pack("!2H", kind, 1))
        packet = await question.answer
    _, flags, _, count, _, _ = HEADER.unpack_from(packet)
    if flags & 0xF == SERVFAIL:
        raise socket.gaierror(socket.EAI_AGAIN, "the name server failed")
    _, at = read_name(packet, HEADER.size)
    at += 4
    found = []
    for _ in range(count):
        _, at = read_name(packet, at)
        record, _, _, size = RECORD.unpack_from(packet, at)
        at += RECORD.size
        if record == kind:
            found.append(str(ip_address(packet[at : at + size])))
        at += size
    return found
