"""Request smuggling in each form that is known: behind every attack stands a request for /canary, which a server that
misjudges where the attack ends would answer. None does: the route is never called, while an honest client is served.

Each attack comes at once, and piece by piece. What is refused gets one reply, and the server ends the connection by
itself; what is legal gets just its replies."""

import re
import socket
import textwrap
from contextlib import suppress

import pytest

import poolsrv

APP = """
    local function see(ctx) return "seen" end
    for _, method in ipairs { "GET", "POST", "PUT", "HEAD", "OPTIONS" } do
        api.route(method, "/", see)
        api.route(method, "/x/*rest", see)
    end
    function api.canary.get(ctx)
        local called <close> = assert(io.open(os.getenv("CANARY"), "a"))
        called:write(ctx:header("x-from") or "?", "\\n")
        return "canary"
    end
    function api.alive.get() return "alive" end
"""

CANARY = b"GET /canary HTTP/1.1\r\nHost: test\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
PIECE_BYTES = 5  # no end of a line falls always into one piece


def head(*lines, first=b"POST / HTTP/1.1", host=b"Host: test"):
    return b"\r\n".join([first, *([host] if host else []), *lines]) + b"\r\n\r\n"


def coded(*lines, **more):
    """Ends with its last chunk for who honours a transfer coding; the canary is the next request for them."""
    return head(*lines, **more) + LAST_CHUNK + CANARY


def sized(*lines, **more):
    """Has no body for who does not see the length."""
    return head(*lines, **more) + CANARY


def chunks(body):
    """Well up to its chunks."""
    return head(b"Transfer-Encoding: chunked") + body + CANARY


LENGTH = b"Content-Length: %d" % (len(LAST_CHUNK) + len(CANARY))
CHUNKED = b"Transfer-Encoding: chunked"

# --- refused by poolsrv: one 400, whole ---

REFUSED = {
    "CL.TE": coded(b"Content-Length: 5", CHUNKED),
    "CL.TE, the length of all": coded(LENGTH, CHUNKED),
    "TE.CL": head(CHUNKED, b"Content-Length: 4") + b"%x\r\n" % len(CANARY) + CANARY + b"\r\n" + LAST_CHUNK,
    "TE.CL, the length of all": coded(CHUNKED, LENGTH),
    "TE.CL, a length of 0": coded(CHUNKED, b"Content-Length: 0"),
    "TE.TE, the second unknown": coded(CHUNKED, b"Transfer-Encoding: x"),
    "TE.TE, the first unknown": coded(b"Transfer-Encoding: x", CHUNKED),
    "TE.TE, the second identity": coded(CHUNKED, b"Transfer-encoding: identity"),
    "TE.TE, the second empty": coded(CHUNKED, b"Transfer-Encoding:"),
    "TE twice": coded(CHUNKED, CHUNKED),
    "TE in a list with itself": coded(b"Transfer-Encoding: chunked, chunked"),
    "TE behind another coding": coded(b"Transfer-Encoding: gzip, chunked"),
    "TE before another coding": coded(b"Transfer-Encoding: chunked, identity"),
    "TE with a comma behind": coded(b"Transfer-Encoding: chunked,"),
    "TE with a comma before": coded(b"Transfer-Encoding: ,chunked"),
    "TE with a parameter": coded(b"Transfer-Encoding: chunked;q=1"),
    "TE in quotes": coded(b'Transfer-Encoding: "chunked"'),
    "TE in single quotes": coded(b"Transfer-Encoding: 'chunked'"),
    "TE xchunked": coded(b"Transfer-Encoding: xchunked"),
    "TE chunkedx": coded(b"Transfer-Encoding: chunkedx"),
    "TE chunk": coded(b"Transfer-Encoding: chunk"),
    "TE identity": coded(b"Transfer-Encoding: identity"),
    "TE identity with a length": coded(b"Transfer-Encoding: identity", LENGTH),
    "TE empty": coded(b"Transfer-Encoding: "),
    "TE with a colon before its value": coded(b"Transfer-Encoding: :chunked"),
    "TE with a vertical tab before its value": coded(b"Transfer-Encoding: \x0bchunked"),
    "TE with a vertical tab behind its value": coded(b"Transfer-Encoding: chunked\x0b"),
    "TE with a form feed": coded(b"Transfer-Encoding:\x0cchunked"),
    "TE with a control character": coded(b"Transfer-Encoding: chunked\x01"),
    "TE with DEL": coded(b"Transfer-Encoding: chunked\x7f"),
    "TE with a no-break space": coded(b"Transfer-Encoding: \xa0chunked"),
    "TE with a bare CR behind its value": coded(b"Transfer-Encoding: chunked\rX: y"),
    "TE with a bare CR before its value": coded(b"Transfer-Encoding: \rchunked"),
    "TE with a space before the colon": coded(b"Transfer-Encoding : chunked"),
    "TE with a tab before the colon": coded(b"Transfer-Encoding\t: chunked"),
    "TE with a vertical tab before the colon": coded(b"Transfer-Encoding\x0b: chunked"),
    "TE with a bare CR before the colon": coded(b"Transfer-Encoding\r: chunked"),
    "TE hidden behind a bare CR": coded(b"X: y\rTransfer-Encoding: chunked"),
    "TE with a byte above 127 in its name": coded(b"Transfer-Encoding\xff: chunked"),
    "TE in HTTP/1.0": coded(CHUNKED, first=b"POST / HTTP/1.0"),
    "TE in HTTP/1.0 with a length": coded(CHUNKED, LENGTH, first=b"POST / HTTP/1.0"),
    "TE folded into another coding": coded(CHUNKED, b" , identity"),
    "CL with a space before the colon": sized(b"Content-Length : %d" % len(CANARY)),
    "CL with a tab before the colon": sized(b"Content-Length\t: %d" % len(CANARY)),
    "CL twice, the second 0": sized(b"Content-Length: %d" % len(CANARY), b"Content-Length: 0"),
    "CL twice, the first 0": sized(b"Content-Length: 0", b"Content-Length: %d" % len(CANARY)),
    "CL twice, the same": sized(b"Content-Length: 0", b"Content-Length: 0"),
    "CL twice, in other case": sized(b"Content-Length: 0", b"CONTENT-LENGTH: %d" % len(CANARY)),
    "GET with a length twice": sized(b"Content-Length: 0", b"Content-Length: %d" % len(CANARY), first=b"GET / HTTP/1.1"),
    "GET with both": coded(LENGTH, CHUNKED, first=b"GET / HTTP/1.1"),
    "no Host": sized(b"Content-Length: 0", host=None),
    "Host twice": sized(b"Host: other"),
    "Host twice, the same": sized(b"Host: test"),
    "Host with a space before the colon": sized(b"Content-Length: 0", host=b"Host : test"),
    "Host hidden behind a bare CR": sized(b"Content-Length: 0", host=b"X: y\rHost: test"),
    "Host folded": sized(b" Host: other", host=b"Host: test", first=b"POST / HTTP/1.1\r\nHost: test"),
    "absolute-form without Host": sized(first=b"GET http://test/ HTTP/1.1", host=None),
    "Upgrade to h2c with both": coded(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk",
                                      LENGTH, CHUNKED),
    "Expect with both": coded(b"Expect: 100-continue", LENGTH, CHUNKED),
    "Expect with a length twice": sized(b"Expect: 100-continue", b"Content-Length: 0", b"Content-Length: 7"),
    "a method override with both": coded(b"X-HTTP-Method-Override: GET", LENGTH, CHUNKED),
    "a control character in a value": sized(b"X: a\x01b"),
    "a control character in a name": sized(b"X\x01: a"),
    "a space in a name": sized(b"X Y: a"),
}

# Who joins folded lines with a blank sees a length or a coding where libmicrohttpd 0.9 sees none, or none where it sees one.
if poolsrv.FOLDS_REFUSED:
    REFUSED.update({
        "TE folded": coded(b"Transfer-Encoding:", b" chunked"),
        "TE folded with a tab": coded(b"Transfer-Encoding:", b"\tchunked"),
        "TE in a folded name": coded(b"Transfer: chunked", b" -Encoding"),
        "TE in a folded name, last of others": coded(b"Transfer: chunked", b" -Encoding", b"X: y"),
        "TE behind a folded line": coded(b"X: y", b" z", CHUNKED),
        "TE with a folded line of blanks": coded(CHUNKED, b"  "),
        "CL folded": sized(b"Content-Length:", b" %d" % len(CANARY)),
        "CL in a folded name": head(b"Content: 5", b" -Length") + b"abcde" + CANARY,
        "CL in a name folded twice": head(b"Content: 5", b" -Len", b" gth") + b"abcde" + CANARY,
        "CL with a folded line of blanks": sized(b"Content-Length: 0", b" "),
        "CL with a folded digit": sized(b"Content-Length: 0", b" 0"),
        "Host in a folded name": sized(b"Ho: test", b" st", host=None),
        "the first header folded": sized(b"X: y", host=b"Host: test\r\n folded"),
        "a NUL behind a length": sized(b"Content-Length: 0\x00", b"X: y"),
        "a NUL inside a length": sized(b"Content-Length: 0\x005"),
        "a NUL behind a coding": coded(b"Transfer-Encoding: chunked\x00", b"X: y"),
        "a NUL in a value": sized(b"X: y\x00z", b"Content-Length: 0"),
        "a NUL in the last value": sized(b"X: y\x00z"),
        "a NUL in the target, before a version": sized(first=b"GET /x/y\x00 HTTP/1.1 HTTP/1.1"),
        "a NUL in the target": sized(first=b"GET /x/y\x00/../../canary HTTP/1.1"),
        "a NUL behind the version": sized(first=b"GET / HTTP/1.1\x00"),
        "a header without a name": sized(b": x", b"Content-Length: 0"),
        "a header without a name, the last": sized(b": x"),
        "a header without a name, blank": sized(b": ", b"Content-Length: 0"),
        "a header without a name before a length": sized(b":x", b"Content-Length: %d" % len(CANARY)),
    })

# --- refused by the daemon: 4xx or 5xx, and the end; 0.9.75 writes the head of some of these replies twice ---

REFUSED_BY_THE_DAEMON = {
    "CL as a list": sized(b"Content-Length: 0, 0"),
    "CL as a list of two": sized(b"Content-Length: 0, %d" % len(CANARY)),
    "CL with a plus": sized(b"Content-Length: +0"),
    "CL with a minus": sized(b"Content-Length: -0"),
    "CL below zero": sized(b"Content-Length: -1"),
    "CL in hexadecimal": sized(b"Content-Length: 0x0"),
    "CL with an exponent": sized(b"Content-Length: 0e0"),
    "CL with a point": sized(b"Content-Length: 0.0"),
    "CL with a comma": sized(b"Content-Length: 0,"),
    "CL with a blank inside": sized(b"Content-Length: 0 0"),
    "CL in quotes": sized(b'Content-Length: "0"'),
    "CL empty": sized(b"Content-Length:"),
    "CL with a vertical tab": sized(b"Content-Length: \x0b0"),
    "CL with a bare CR": sized(b"Content-Length: \r0"),
    "CL beyond 64 bits": sized(b"Content-Length: 18446744073709551616"),
    "CL beyond 64 bits with a list": sized(b"Content-Length: 18446744073709551616, 0"),
    "a chunk's size beyond 64 bits": chunks(b"10000000000000000\r\nab\r\n" + LAST_CHUNK),
    "a chunk's size that wraps to 0": chunks(b"10000000000000000\r\n\r\n"),
    "a chunk's size below zero": chunks(b"-1\r\nab\r\n" + LAST_CHUNK),
    "a chunk's size of minus 0": chunks(b"-0\r\n\r\n"),
    "a chunk's size with a plus": chunks(b"+0\r\n\r\n"),
    "a chunk's size with 0x": chunks(b"0x0\r\n\r\n"),
    "a chunk's size with an underscore": chunks(b"0_2\r\nab\r\n" + LAST_CHUNK),
    "a chunk's size that is no number": chunks(b"z\r\n\r\n"),
    "a chunk without a size": chunks(b"\r\n\r\n"),
    "a chunk's size behind a blank": chunks(b" 0\r\n\r\n"),
    "a chunk's size behind a NUL": chunks(b"\x000\r\n\r\n"),
    "a chunk longer than its size": chunks(b"2\r\nabcd\r\n" + LAST_CHUNK),
    "a chunk without its end": chunks(b"2\r\nab0\r\n\r\n"),
}

# --- odd or legal: (bytes, the statuses that may come); none of them may reach the canary ---

ODD = {
    "a chunk shorter than its size": (chunks(b"40\r\nab\r\n" + LAST_CHUNK), ([], [400])),
    "a chunk's size of 64 bits": (chunks(b"ffffffffffffffff\r\nab\r\n" + LAST_CHUNK), ([], [400], [413])),
    "the canary as a chunk": (head(CHUNKED) + b"%x\r\n" % len(CANARY) + CANARY + b"\r\n" + LAST_CHUNK, ([200],)),
    "the canary as a body": (head(b"Content-Length: %d" % len(CANARY)) + CANARY, ([200],)),
    "the canary as the body of a GET": (head(b"Content-Length: %d" % len(CANARY), first=b"GET / HTTP/1.1") + CANARY,
                                        ([200],)),
    "the canary as the body of a HEAD": (head(b"Content-Length: %d" % len(CANARY), first=b"HEAD / HTTP/1.1") + CANARY,
                                         ([200],)),
    "the canary as a trailer": (head(CHUNKED) + b"2\r\nab\r\n0\r\n" + CANARY, ([200], [400])),
    "behind Connection: close": (sized(b"Connection: close"), ([200],)),
    "behind Connection: close in HTTP/1.0": (sized(first=b"POST / HTTP/1.0"), ([200],)),
    "behind 501": (sized(first=b"BREW / HTTP/1.1", host=b"Host: test\r\nConnection: close"), ([501],)),
    "in the body of an unknown method": (head(b"Content-Length: %d" % len(CANARY), first=b"BREW / HTTP/1.1") + CANARY,
                                         ([501],)),
    "in the body of what is not there": (head(b"Content-Length: %d" % len(CANARY), first=b"POST /no HTTP/1.1") + CANARY,
                                         ([404],)),
    "in the body of what is too large": (head(b"Content-Length: 99999999") + CANARY, ([413],)),
    "in the body with an Expect that is not known": (head(b"Expect: 200-ok", b"Content-Length: %d" % len(CANARY))
                                                     + CANARY, ([200], [417])),
    "in the body behind an Expect": (head(b"Expect: 100-continue", b"Content-Length: %d" % len(CANARY)) + CANARY,
                                     ([200],)),
    "in the body with Upgrade to h2c": (head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                                             b"HTTP2-Settings: AAMAAABk", b"Content-Length: %d" % len(CANARY)) + CANARY,
                                        ([200],)),
    "in the body with Upgrade to a WebSocket": (head(b"Connection: Upgrade", b"Upgrade: websocket",
                                                     b"Content-Length: %d" % len(CANARY)) + CANARY, ([200],)),
    "in the body of a CONNECT": (head(b"Content-Length: %d" % len(CANARY), first=b"CONNECT test:80 HTTP/1.1") + CANARY,
                                 ([501], [400])),
    "behind HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + CANARY, ([505], [400])),
    "behind HTTP/1.2": (sized(first=b"GET / HTTP/1.2"), ([505],)),
    "behind HTTP/2.0": (sized(first=b"GET / HTTP/2.0"), ([505], [400])),
    "behind HTTP/0.9 with a version": (sized(first=b"GET / HTTP/0.9"), ([505], [400])),
    "behind HTTP/0.9": (b"GET /\r\n" + CANARY, ([], [400], [505])),
    "behind a version in lower case": (sized(first=b"GET / http/1.1"), ([505], [400])),
    "in the target, cut by bare CRs": (b"GET /x/ HTTP/1.1\rHost: test\r\r" + CANARY, ([400],)),
    # libmicrohttpd 1.0 redirects to the target with its blanks escaped (RFC 9112, 3).
    "in the target, cut by blanks": (head(first=b"GET /x/y HTTP/1.1 GET /canary HTTP/1.1"), ([400], [301])),
    "in the target, cut by a tab": (head(first=b"GET /x/y\tGET /canary HTTP/1.1"), ([400], [301])),
    "in the target, encoded": (head(first=b"GET /x/%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0aGET%20/canary HTTP/1.1"),
                               ([200],)),
    "behind a NUL in the target": (head(first=b"GET /x/y\x00/../../canary HTTP/1.1"), ([], [200], [400], [505])),
    "by a dot segment": (head(first=b"GET /x/../canary HTTP/1.1"), ([200],)),
    "by an encoded dot segment": (head(first=b"GET /x/%2e%2e/canary HTTP/1.1"), ([200],)),
    "by an encoded slash": (head(first=b"GET /%2fcanary HTTP/1.1"), ([404],)),
    "by two slashes": (head(first=b"GET //canary HTTP/1.1"), ([404],)),
    "by headers that rewrite the target": (head(b"X-Original-URL: /canary", b"X-Rewrite-URL: /canary",
                                                first=b"GET / HTTP/1.1"), ([200],)),
    "by a method override": (head(b"X-HTTP-Method-Override: GET", first=b"OPTIONS /canary HTTP/1.1"), ([204],)),
    "TE named with an underscore": (head(b"Transfer_Encoding: chunked", b"Content-Length: %d" %
                                         (len(LAST_CHUNK) + len(CANARY))) + LAST_CHUNK + CANARY, ([200],)),
    "TE in other case, the canary in a chunk": (head(b"tRANSFER-eNCODING: cHUNKED") + b"%x\r\n" % len(CANARY) + CANARY
                                                + b"\r\n" + LAST_CHUNK, ([200],)),
    "an extension that holds the canary": (head(CHUNKED) + b"2;" + b"x=GET/canary" + b"\r\nab\r\n" + LAST_CHUNK,
                                           ([200], [400])),
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """One server for all, and an honest client beside them all. Yields: the server and who called the canary."""
    folder = tmp_path_factory.mktemp("smuggling")
    (folder / "app.lua").write_text(textwrap.dedent(APP))
    calls = folder / "calls"
    calls.touch()
    server = poolsrv.Server(folder / "app.lua", "--threads", "1", "--heavy-threads", "1", *poolsrv.STEADY,
                            "--lane", "light", env={"CANARY": str(calls)})
    with poolsrv.Probe(server, path="/alive"):
        yield server, calls
    assert calls.read_text() == ""
    server.check_end()


@pytest.fixture(params=("at once", "piece by piece"))
def send(request):
    def at_once(client, data):
        client.send(data)

    def piece_by_piece(client, data):
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), PIECE_BYTES):
            client.send(data[i:i + PIECE_BYTES])

    def run(client, data):
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have closed already
            (at_once if request.param == "at once" else piece_by_piece)(client, data)

    return run


def statuses(text):
    """Of whole replies, less 100 Continue; nothing else may stand there."""
    found = []
    while text:
        if text.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            text = text.partition(b"\r\n\r\n")[2]
            continue
        match = re.match(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n", text)
        assert match, text
        length = re.search(rb"^content-length: (\d+)\r$", match[2], re.I | re.M)
        size = int(length[1]) if length else 0
        rest = text[match.end():]
        if not rest.startswith(b"HTTP/1.") and rest:  # a reply to HEAD says a length and has no body
            assert len(rest) >= size, text
            rest = rest[size:]
        found.append(int(match[1]))
        text = rest
    return found


def uncalled(server, calls):
    assert server.get("/alive").text == "alive"
    assert calls.read_text() == ""


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_gets_one_400_and_the_end(attacked, send, name):
    server, calls = attacked
    with server.client() as client:
        send(client, REFUSED[name])
        client.at_end()
        assert statuses(client.buffer) == [400]
        assert b"\r\nconnection: close\r\n" in client.buffer.lower()
    uncalled(server, calls)


@pytest.mark.parametrize("name", REFUSED_BY_THE_DAEMON)
def test_an_attack_that_the_daemon_sees_gets_one_status_and_the_end(attacked, send, name):
    server, calls = attacked
    with server.client() as client:
        send(client, REFUSED_BY_THE_DAEMON[name])
        client.at_end()
        found = set(re.findall(rb"^HTTP/1\.[01] (\d{3}) ", client.buffer, re.M))
        assert found in ({b"400"}, {b"413"}), client.buffer
        assert b"seen" not in client.buffer
    uncalled(server, calls)


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_gets_its_own_replies_only(attacked, send, name):
    server, calls = attacked
    data, good = ODD[name]
    with server.client() as client:
        send(client, data)
        with suppress(OSError):  # it may have closed already
            client.finish_sending()
        client.at_end()
        assert statuses(client.buffer) in good, client.buffer
    uncalled(server, calls)


def test_the_canary_sings(tmp_path, serve):
    """When a request behind another does reach it, the file says so: the tests above can fail."""
    calls = tmp_path / "calls"
    server = serve(APP, env={"CANARY": str(calls)})
    with server.client() as client:
        client.send(head(b"Content-Length: 0") + CANARY)
        client.finish_sending()
        client.at_end()
        assert statuses(client.buffer) == [200, 200]
    assert calls.read_text() == "?\n"
