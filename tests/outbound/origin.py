"""A real origin on loopback that behaves as its path says, raw bytes and all."""

import asyncio
import contextlib
import gzip
import random
import re
import socket
import struct
import zlib
from email.utils import formatdate

from tests.ops.image_cases import RED, encoded, plain

BODY = random.Random(7).randbytes(1000) + b"content " * 2000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def body_of(size_bytes):
    return random.Random(size_bytes).randbytes(size_bytes)


def answer(body=BODY, status="200 OK", *headers, length=None):
    """Give the bytes of a whole response; `length` is the declared one, if it shall lie."""
    length = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunks(*pieces, end=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def coded(body, coding="gzip"):
    return answer(body, "200 OK", f"Content-Encoding: {coding}")


def redirect(location, status="302 Found"):
    return answer(b"", status, f"Location: {location}")


def raw_deflate(body):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def gzip_of_zeros(mib):
    """Pack so many MiB of zeros, as one member: the same block again and again."""
    block, checksum = bytes(1 << 20), 0
    for _ in range(mib):
        checksum = zlib.crc32(block, checksum)
    stream = zlib.compressobj(wbits=-15)
    packed = stream.compress(block) + stream.flush(zlib.Z_FULL_FLUSH)
    head, tail = gzip.compress(b"")[:10], struct.pack("<II", checksum, mib << 20)
    return head + packed * mib + raw_deflate(b"") + tail


PACKED = gzip.compress(BODY)
LATE = "Retry-After: 2"
PAGES = {
    "/ok": answer(),
    "/empty": answer(b""),
    "/chunked": CHUNKED + chunks(BODY[:10], BODY[10:]),
    "/until-close": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "/gzip": coded(PACKED),
    "/x-gzip": coded(PACKED, "x-gzip"),
    "/gzip-two-members": coded(gzip.compress(BODY[:10]) + gzip.compress(BODY[10:])),
    "/gzip-chunked": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    + chunks(*(PACKED[i : i + 1] for i in range(len(PACKED)))),
    "/deflate": coded(zlib.compress(BODY), "deflate"),
    "/deflate-raw": coded(raw_deflate(BODY), "deflate"),
    "/identity": coded(BODY, "identity"),
    "/gzip-cut": coded(PACKED[: len(PACKED) // 2]),
    "/gzip-cut-in-trailer": coded(PACKED[:-1]),
    "/gzip-cut-in-second-member": coded(PACKED + PACKED[:15]),
    "/gzip-of-nothing": coded(b""),
    "/gzip-trailing": coded(PACKED + b"garbage"),
    "/gzip-bad-checksum": coded(PACKED[:-8] + bytes(4) + PACKED[-4:]),
    "/gzip-not": coded(BODY),
    "/gzip-bomb": coded(gzip_of_zeros(200)),
    "/gzip-empty-members": coded(gzip.compress(b"") * 20_000),
    "/deflate-cut": coded(zlib.compress(BODY)[:-1], "deflate"),
    "/deflate-one-byte": coded(b"\x78", "deflate"),
    "/deflate-trailing": coded(zlib.compress(BODY) + b"x", "deflate"),
    "/br": coded(b"whatever", "br"),
    "/gzip-twice": coded(gzip.compress(PACKED), "gzip, gzip"),
    "/short": answer(BODY[:100], length=200),
    "/long": answer(BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", length=len(BODY)),
    "/chunk-cut": CHUNKED + b"64\r\nshort",
    "/chunks-without-end": CHUNKED + chunks(BODY, end=b""),
    "/chunk-size-bad": CHUNKED + b"5\r\nhello\r\nzz\r\nworld\r\n0\r\n\r\n",
    "/declares-much": answer(b"", length=10**12),
    "/declares-absurdly": answer(b"", length=10**40),
    "/declares-nonsense": answer(b"", length="-1"),
    "/declares-twice": answer(b"four", "200 OK", "Content-Length: 5"),
    "/smuggles": answer(b"0\r\n\r\n", "200 OK", "Transfer-Encoding: chunked"),
    "/garbage": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "/huge-header": answer(BODY, "200 OK", "X-Huge: " + "x" * 100_000),
    "/many-headers": answer(BODY, "200 OK", *(f"X-{n}: 1" for n in range(10_000))),
    "/206": answer(b"part", "206 Partial Content", "Content-Range: bytes 0-3/10"),
    "/204": b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "/404": answer(b"no", "404 Not Found"),
    "/500": answer(b"no", "500 Internal Server Error"),
    "/503": answer(b"no", "503 Service Unavailable"),
    "/429-for-long": answer(b"", "429 Too Many Requests", "Retry-After: 600"),
    "/to-ok": redirect("/ok"),
    "/bucket/moved": redirect("/ok", "307 Temporary Redirect"),
    "/to-ok-307": redirect("/ok", "307 Temporary Redirect"),
    "/to-spaces": redirect("/echo?a b=\xe4"),
    "/to-404": redirect("/404"),
    "/loop": redirect("/loop"),
    "/to-nowhere": answer(b"", "302 Found"),
    "/to-file": redirect("file:///etc/passwd"),
    "/to-userinfo": redirect("http://user:secret@127.0.0.1/"),
    "/to-backslash": redirect("http:\\\\127.0.0.1\\x"),
    "/to-nonsense": redirect("http://[::1?s3cret"),
    "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/to-neighbour": redirect("http://127.0.0.2/"),
    # Framing that is odd, and framing that is wrong.
    "/http-1.0-with-length": answer().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "/no-status-line": BODY,
    "/http-2": b"\0\0\x12\x04\0\0\0\0\0" + bytes(18),
    "/http-9.9": answer().replace(b"HTTP/1.1", b"HTTP/9.9", 1),
    "/status-of-four-digits": answer(BODY, "2000 OK"),
    "/status-without-digits": answer(BODY, "OK"),
    "/status-without-reason": answer(BODY, "200"),
    "/long-reason": answer(BODY, "200 " + "x" * 100_000),
    "/space-before-colon": answer(BODY, "200 OK", "X-Odd : 1"),
    "/header-without-colon": answer(BODY, "200 OK", "X-Odd"),
    "/header-with-nul": answer(BODY, "200 OK", "X-Odd: a\0b"),
    "/header-folded": answer(BODY, "200 OK", "X-Odd: a\r\n b"),
    "/header-of-high-bytes": answer(BODY, "200 OK", "X-Odd: \xe4\xff"),
    "/header-cut": b"HTTP/1.1 200 OK\r\nContent-Len",
    "/length-with-plus": answer(BODY, length=f"+{len(BODY)}"),
    "/length-in-hex": answer(BODY, length=hex(len(BODY))),
    "/length-empty": answer(BODY, length=""),
    "/length-twice-the-same": answer(BODY, "200 OK", f"Content-Length: {len(BODY)}"),
    "/chunk-extension": CHUNKED + b"4;a=b\r\nfour\r\n0\r\n\r\n",
    "/chunk-trailer": CHUNKED + chunks(BODY, end=b"0\r\nX-Sum: 1\r\n\r\n"),
    "/chunk-size-huge": CHUNKED + b"F" * 20 + b"\r\nfour\r\n0\r\n\r\n",
    "/chunk-size-negative": CHUNKED + b"-4\r\nfour\r\n0\r\n\r\n",
    "/chunk-size-too-small": CHUNKED + b"2\r\nfour\r\n0\r\n\r\n",
    "/chunk-end-cut": CHUNKED + chunks(BODY, end=b"0\r\n"),
    "/coding-of-transfer-unknown": answer(BODY, "200 OK", "Transfer-Encoding: rot13"),
    "/100-first": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
    "/103-first": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(),
    "/101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "/length-of-the-decoded": answer(PACKED, "200 OK", "Content-Encoding: gzip", length=len(BODY)),
    "/zstd": coded(b"\x28\xb5\x2f\xfd", "zstd"),
    "/identity-twice": coded(BODY, "identity, identity"),
    "/gzip-and-br": coded(PACKED, "br, gzip"),
    # Statuses.
    "/203": answer(BODY, "203 Non-Authoritative Information"),
    "/205": answer(b"", "205 Reset Content"),
    "/206-multipart": answer(
        b"--x\r\n\r\npart\r\n--x--", "206 Partial Content", "Content-Type: multipart/byteranges"
    ),
    "/300": answer(BODY, "300 Multiple Choices", "Location: /ok"),
    "/305": answer(b"", "305 Use Proxy", "Location: /ok"),
    "/401": answer(b"", "401 Unauthorized", "WWW-Authenticate: Basic"),
    "/407": answer(b"", "407 Proxy Authentication Required", "Proxy-Authenticate: Basic"),
    "/410": answer(b"", "410 Gone"),
    "/416": answer(b"", "416 Range Not Satisfiable"),
    "/429": answer(b"", "429 Too Many Requests"),
    "/502": answer(b"", "502 Bad Gateway"),
    "/504": answer(b"", "504 Gateway Timeout"),
    "/999": answer(BODY, "999 Denied"),
    # Where redirects lead.
    "/to-relative": redirect("ok"),
    "/to-query": redirect("/echo?only"),
    "/to-fragment": redirect("/ok#part"),
    "/to-dots": redirect("/a/../../../ok"),
    "/to-empty": redirect(""),
    "/to-two-places": answer(b"", "302 Found", "Location: /ok", "Location: /404"),
    "/to-data": redirect("data:text/plain,hi"),
    "/to-javascript": redirect("javascript:alert(1)"),
    "/to-ftp": redirect("ftp://127.0.0.1/x"),
    "/to-loopback-v6": redirect("http://[::1]/"),
    "/to-mapped": redirect("http://[::ffff:10.0.0.1]/"),
    "/to-nat64": redirect("http://[64:ff9b::a00:1]/"),
    "/to-6to4": redirect("http://[2002:a00:1::]/"),
    "/to-zone": redirect("http://[fe80::1%25eth0]/"),
    "/to-decimal": redirect("http://2130706433/"),
    "/to-octal": redirect("http://0177.0.0.1/"),
    "/to-hex": redirect("http://0x7f.0.0.1/"),
    "/to-short": redirect("http://127.1/"),
    "/to-zero": redirect("http://0.0.0.0/"),
    "/to-circled-digits": redirect("http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1/"),
    "/to-private": redirect("http://192.168.0.1/"),
    "/to-carrier-nat": redirect("http://100.64.0.1/"),
    "/to-odd-port": redirect("http://1.1.1.1:22/"),
    "/to-port-zero": redirect("http://127.0.0.1:0/"),
    "/to-port-too-high": redirect("http://127.0.0.1:65536/"),
    "/to-crlf": redirect("/echo?%0d%0aX-Injected:%201"),
    "/site.css": answer(b"a { color: red }", "200 OK", "Content-Type: text/css; charset=utf-8"),
    "/mark.png": answer(encoded(plain(20, 10, RED))),
    "/page.html": answer(b"<!DOCTYPE html><p>hi", "200 OK", "Content-Type: text/html"),
    "/set-cookie": answer(BODY, "200 OK", "Set-Cookie: session=1; Path=/"),
    "/typed": answer(
        BODY,
        "200 OK",
        "Content-Type: Image/PNG; charset=x",
        'ETag: "abc"',
        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
        "Content-Disposition: attachment; filename*=UTF-8''..%2F%E2%82%AC%20rates.png",
    ),
}


REST_REFUSED = {"gone": "404 Not Found", "satisfied": "416 Range Not Satisfiable"}
CUT_FIRST = {
    "weak": {"ETag": 'W/"v1"'},
    "no-etag": {"ETag": None},
    "no-ranges": {"Accept-Ranges": "none"},
    "gzip": {"Content-Encoding": "gzip"},
    "chunked": {"Content-Length": None, "Transfer-Encoding": "chunked"},
}
CUT_REST = {
    "other-etag": {"ETag": '"v2"'},
    "unsaid": {"Content-Range": None},
    "other-start": {"Content-Range": "bytes {after}-{last}/{total}"},
    "other-total": {"Content-Range": "bytes {start}-{total}/{longer}"},
    "less": {"Content-Range": "bytes {start}-{before}/{total}"},
    "changed": {"ETag": '"v2"', "Content-Range": None},
}


def cut_answer(how, start):
    """Give an answer in one of many ways, from byte `start` if one was asked for, and the size of
    its body."""
    whole = PACKED if how == "gzip" else BODY
    if start is not None and how == "changed":
        whole = BODY[::-1]
    part = start is not None and how not in ("ignored", "changed")
    body = whole[start or 0 :] if part else whole
    if part and how == "lies":
        body = body[::-1]
    total = len(whole)
    numbers = {"start": start, "after": (start or 0) + 1, "last": total - 1, "before": total - 2}
    numbers |= {"total": total, "longer": total + 1}
    lines = {"ETag": '"v1"', "Accept-Ranges": "bytes", "Content-Length": str(len(body))}
    lines |= {"Content-Range": "bytes {start}-{last}/{total}"} if part else {}
    lines |= CUT_FIRST.get(how, {}) | (CUT_REST.get(how, {}) if start is not None else {})
    said = [f"{name}: {value.format(**numbers)}" for name, value in lines.items() if value]
    status = "206 Partial Content" if part else "200 OK"
    head = "\r\n".join([f"HTTP/1.1 {status}", *said, "", ""])
    wire = chunks(body) if how == "chunked" else body
    return head.encode() + wire, len(body)


class Server:
    """A loopback server on a free port that counts its connections."""

    tls = None
    """An SSLContext, to speak TLS."""

    def __init__(self, host="127.0.0.1", port=0):
        self.connections = 0
        self._address = host, port
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, *self._address, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Cancelled at the end of the test: not a failure to be reported.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self.serve(reader, writer)
        writer.close()


class Canary(Server):
    """Nobody may ever connect to it."""

    async def serve(self, reader, writer):
        writer.write(answer(b"secret"))
        await writer.drain()


class Origin(Server):
    """Serves `PAGES` and the behaviours below, one method a path."""

    def __init__(self):
        super().__init__()
        self.requests = []
        """The raw header of each request."""
        self.sent_bytes = 0
        self.gone = asyncio.Event()
        """Set when a client leaves an endless response."""
        self.hold = asyncio.Event()
        """Lets go of the requests to /held."""
        self.unchanged = True
        """Whether /versioned is still as it was."""
        self.arrived = asyncio.Semaphore(0)
        """Released once for each request to /held."""

    def paths(self):
        return [head.split(b" ", 2)[1].decode() for head in self.requests]

    async def serve(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            path = head.split(b" ", 2)[1].decode().partition("?")[0]
            if path in PAGES:
                writer.write(PAGES[path])
            else:
                name, *rest = path.strip("/").split("/")
                await getattr(self, f"do_{name.replace('-', '_')}")(head, writer, *rest)
            await writer.drain()
            if path in ENDS or path in CLOSES or b"HTTP/1.0" in PAGES.get(path, b"")[:10]:
                return

    async def do_echo(self, head, writer):
        writer.write(answer(head))

    async def do_size(self, head, writer, size_bytes):
        writer.write(answer(body_of(int(size_bytes))))

    async def do_stops_at(self, head, writer, size_bytes):
        writer.write(answer(body_of(int(size_bytes)), length=int(size_bytes) + 1))
        await writer.drain()
        raise ConnectionAbortedError

    async def do_gzip_of(self, head, writer, size_bytes, less="0"):
        packed = gzip.compress(body_of(int(size_bytes)))
        writer.write(coded(packed[: len(packed) - int(less)]))

    async def do_chain(self, head, writer, left):
        writer.write(redirect(f"/chain/{int(left) - 1}") if int(left) else answer())

    async def do_to_port(self, head, writer, port, *rest):
        writer.write(redirect(f"http://127.0.0.1:{port}/{'/'.join(rest)}"))

    async def do_to_named(self, head, writer, host, *rest):
        writer.write(redirect(f"http://{host}:{self.port}/{'/'.join(rest)}"))

    async def do_to_named_and_close(self, head, writer, host, *rest):
        await self.do_to_named(head, writer, host, *rest)
        await writer.drain()
        raise ConnectionAbortedError

    async def do_slow_loop(self, head, writer):
        await asyncio.sleep(0.03)
        writer.write(redirect("/slow-loop"))

    async def do_to_host(self, head, writer, host):
        writer.write(redirect(f"http://{host}:{self.port}/ok"))

    async def do_dies_if_reused(self, head, writer):
        if self.connections == 1:
            raise ConnectionAbortedError
        writer.write(answer())

    async def do_flaky(self, head, writer, failures, how):
        if len(self.requests) > int(failures):
            writer.write(answer())
            return
        match how:
            case "429":
                writer.write(answer(b"", "429 Too Many Requests", LATE))
            case "date":
                late = "Retry-After: " + formatdate(0, usegmt=True)
                writer.write(answer(b"", "503 Service Unavailable", late))
            case "short":
                writer.write(PAGES["/short"])
        await writer.drain()
        raise ConnectionAbortedError

    async def do_fails(self, head, writer, times):
        """Fail as often as that, for good as far as the client can tell, then be well."""
        path = head.split(b" ", 2)[1]
        before = sum(path in earlier for earlier in self.requests) - 1
        writer.write(answer() if before >= int(times) else PAGES["/500"])

    async def do_reset(self, head, writer):
        # A linger of zero seconds makes close() send RST.
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError

    async def do_reset_in_body(self, head, writer):
        writer.write(answer(b"some", length=100))
        await writer.drain()
        await self.do_reset(head, writer)

    async def do_close(self, head, writer):
        raise ConnectionAbortedError

    async def do_stall(self, head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        await asyncio.Event().wait()

    async def do_stall_in_body(self, head, writer):
        writer.write(answer(b"some", length=100))
        await asyncio.Event().wait()

    async def do_drip(self, head, writer):
        writer.write(CHUNKED)
        await self._endlessly(writer, chunks(b"x", end=b""), pause_s=0.01)

    async def do_drip_headers(self, head, writer):
        await self._endlessly(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n", pause_s=0.01)

    async def do_endless(self, head, writer):
        writer.write(CHUNKED)
        await self._endlessly(writer, chunks(bytes(64 * 1024), end=b""))

    async def do_endless_header(self, head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await self._endlessly(writer, b"X-More: and more\r\n" * 100)

    async def do_cut(self, head, writer, how="well", cuts="1"):
        """Cut the body off, so many times; go on where asked to, in one of many ways."""
        asked = re.search(rb"(?im)^range: bytes=(\d+)-\r$", head)
        if asked:
            assert re.search(rb'(?im)^if-range: "v1"\r$', head)
        if asked and how == "busy" and len(self.requests) == 2:
            writer.write(answer(b"", "503 Service Unavailable", LATE))
            return
        if asked and how in REST_REFUSED:
            writer.write(answer(b"", REST_REFUSED[how]))
            return
        wire, left = cut_answer(how, int(asked[1]) if asked else None)
        if len(self.requests) <= int(cuts):
            # Each cut leaves half of what is left unsent.
            writer.write(wire[: len(wire) - left // 2])
            await writer.drain()
            raise ConnectionAbortedError
        writer.write(wire)

    async def do_to_tls(self, head, writer):
        writer.write(redirect(f"https://127.0.0.1:{self.port}/ok"))

    async def do_byte_by_byte(self, head, writer):
        for at in range(200):
            writer.write(answer(BODY[:100])[at : at + 1])
            await writer.drain()

    async def do_versioned(self, head, writer, how="etag", name="v1"):
        """Answer 304 to who has the version, in one of several ways."""
        lines = ["Content-Type: text/x-data"]
        if how in ("etag", "both", "other"):
            lines.append(f'ETag: "{name}"')
        if how in ("modified", "both"):
            lines.append("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT")
        asked = re.search(rb"(?im)^if-(none-match|modified-since):", head)
        if asked and how == "other":
            writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "unknown"\r\n\r\n')
        elif asked and self.unchanged:
            writer.write(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=1\r\n\r\n")
        else:
            writer.write(answer(BODY, "200 OK", *lines))

    async def do_to_versioned(self, head, writer):
        writer.write(redirect("/versioned"))

    async def do_held(self, head, writer):
        self.arrived.release()
        await self.hold.wait()
        writer.write(answer())

    async def _endlessly(self, writer, data, pause_s=0.0):
        try:
            while True:
                writer.write(data)
                self.sent_bytes += len(data)
                await writer.drain()
                await asyncio.sleep(pause_s)
        finally:
            self.gone.set()


# What declares more than it sends only shows when the connection closes.
CLOSES = {
    "/no-status-line",
    "/http-2",
    "/header-cut",
    "/length-empty",
    "/chunk-end-cut",
    "/101",
    "/length-of-the-decoded",
}
ENDS = {"/short", "/chunk-cut", "/chunks-without-end", "/declares-much", "/garbage", "/long"}
